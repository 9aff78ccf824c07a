// SPDX-License-Identifier: Apache-2.0
//
// bus_guard: a load or store of mapped memory that fails is a return value, not the end.
//
// The kernel answers an access to a mapped page that it cannot provide (the file was truncated, the
// disk is full behind a hole, the device reported an error) with SIGBUS. run_guarded() runs a
// function and comes back early, with the address, when such an access hits its region:
//
//   thread:   frame C  ->  frame B  ->  frame A          (innermost first; one per run_guarded)
//             region c     region b     region a
//   SIGBUS at an address in b: the handler jumps to B's return point; C is dropped on the way.
//   SIGBUS in none of them:    the action that SIGBUS had before ours gets it, as if we were
//   absent.
//
// Before all that a resolver, when one is set, may provide the page (userfaultfd's SIGBUS mode):
// the handler then returns, and the instruction is repeated as if nothing had happened. Only what
// it declines goes on to the frames and to the previous action. While it works every signal that
// does not come from an instruction is blocked, so that no handler of the program runs inside of
// it.
//
// The handler is installed once per process, at the first use, with SA_SIGINFO, SA_NODEFER,
// SA_ONSTACK, and a mask that blocks the signals named above. The entry saves no signal mask
// (sigsetjmp without one: no system call); a fault sets the mask back to what the interrupted code
// had, whoever was called before us.
//
// The previous action is honoured: a function is called with its mask blocked and with
// SA_RESETHAND; SIG_DFL is restored and the instruction repeated, so that the core dump shows
// it; SIG_IGN ignores a SIGBUS that was sent, and kills on one that was raised, like the kernel.
// (Only its stack may differ: ours is the alternate stack where the thread has one.)
// Whoever installs a handler after ours gets the signal first and must pass on what is not his,
// with the mask that sigaction gives for ours: his own is in force then.
//
// Safety: a fault leaves the function by siglongjmp. No destructor between the faulting access and
// run_guarded() runs, so the function must own nothing: no lock, no allocation, no open file, no
// std::string or std::vector of its own. Copy out, compute, return plain values. An exception is
// fine: it passes through and takes the frame along.
// The signal must not be blocked: the kernel kills a thread that raises a blocked SIGBUS. This is
// checked at each thread's first use; do not block SIGBUS after it.
// A system call that meets such a page raises nothing: it fails with EFAULT.
//
// Thread-safety: any thread, any number at once, nested to any depth; install and remove as stated.
// Cost:          without a fault about ten nanoseconds, no system call, no allocation; a thread's
//                first use one system call more, the process's first use three.
// Kernel:        any; which access it was is known on x86-64 only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "quire/base/result.h"

namespace quire::sys {

enum class BusCause : std::uint8_t {
  kNoBacking,   // BUS_ADRERR: no page: past the file's end, no space for it, or a failed read.
  kMisaligned,  // BUS_ADRALN: alignment checking is on and the address is odd.
  kHardware,    // BUS_MCEERR_AR: the memory itself is broken (or was declared so).
  kOther,
};

enum class BusAccess : std::uint8_t { kUnknown, kLoad, kStore };

struct BusFault {
  std::uintptr_t address = 0;  // For a guard, inside of its region.
  BusCause cause = BusCause::kOther;
  BusAccess access = BusAccess::kUnknown;
};

// Installs the handler; nothing happens when it is installed already. Guards call this by
// themselves: only a program that wants to fix the order of handlers needs it.
[[nodiscard]] Result<void> install_guard_handler();

// Gives SIGBUS back the action it had, exactly. The next guard installs the handler again.
// REQUIRES: no guard is running in any thread.
// Errors:   kChanged when another handler was installed after ours: it may pass signals on to us;
//           kFailed while a resolver is set.
[[nodiscard]] Result<void> remove_guard_handler();

// Makes this thread ready for run_guarded(): the handler is there and SIGBUS is not blocked.
// Cost:   two loads when it is, as it is from the second time on.
// Errors: kFailed when SIGBUS is blocked in this thread; those of install_guard_handler().
[[nodiscard]] Result<void> prepare_guard();

// Asked about each access that the kernel refused, in the thread that made it, before anybody else.
// True: the page is there now, or it is worth another try. False: not mine.
// Runs as a signal handler, maybe on an alternate stack of MINSIGSTKSZ and a few KiB: no
// allocation, no lock that other code of this thread may hold, small frames. errno is kept for it.
using BusResolver = bool (*)(const BusFault& fault) noexcept;

// One for the process; null for none. Installs the handler.
// When it is taken away, a thread may still be running it.
// Errors: those of install_guard_handler().
[[nodiscard]] Result<void> set_bus_resolver(BusResolver resolver);

// Whether this thread blocks SIGBUS: its first fault that a resolver should answer would kill it.
[[nodiscard]] bool is_bus_blocked() noexcept;

// A function and its argument, without owning either.
struct GuardedCall {
  void (*run)(void* argument) = nullptr;
  void* argument = nullptr;
};

// Runs `call` to its end, or to the first access in `region` that the kernel refuses.
// REQUIRES: prepare_guard() has succeeded in this thread.
[[nodiscard]] std::optional<BusFault> run_guarded(std::span<const std::byte> region,
                                                  GuardedCall call);

}  // namespace quire::sys
