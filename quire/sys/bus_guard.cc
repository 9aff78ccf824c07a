// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/bus_guard.h"

#include <setjmp.h>
#include <signal.h>
#include <ucontext.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

#include "quire/base/check.h"
#include "quire/base/mutex.h"
#include "quire/sys/call.h"
#include "quire/sys/internal/signal_set.h"
#include "quire/sys/outcome.h"

namespace quire::sys {
namespace {

struct GuardFrame;

// Initial-exec: the first access from the handler must not make the dynamic linker allocate.
[[gnu::tls_model("initial-exec")]] constinit thread_local GuardFrame* t_innermost = nullptr;
[[gnu::tls_model("initial-exec")]] constinit thread_local bool t_is_ready = false;

// One run_guarded() on this thread's stack, linked to the one around it.
// Invariants: t_innermost leads through every live frame of the thread, innermost first.
struct GuardFrame {
  explicit GuardFrame(std::span<const std::byte> region) noexcept
      : begin(reinterpret_cast<std::uintptr_t>(region.data())),
        end(begin + region.size()),
        outer(t_innermost) {
    t_innermost = this;
    std::atomic_signal_fence(std::memory_order_seq_cst);  // Linked before any guarded access.
  }
  ~GuardFrame() {
    std::atomic_signal_fence(std::memory_order_seq_cst);  // Unlinked after the last one.
    t_innermost = outer;
  }
  GuardFrame(const GuardFrame&) = delete;
  GuardFrame& operator=(const GuardFrame&) = delete;

  const std::uintptr_t begin;
  const std::uintptr_t end;
  GuardFrame* const outer;
  sigjmp_buf return_point;
  // Written by the handler between the two returns of sigsetjmp, hence volatile.
  volatile std::uintptr_t fault_address = 0;
  volatile BusCause fault_cause = BusCause::kOther;
  volatile BusAccess fault_access = BusAccess::kUnknown;
};

// What SIGBUS did before us. Written under the mutex before `g_is_installed` is set.
Mutex g_mutex;
struct sigaction g_previous{};
std::atomic<bool> g_is_installed{false};
std::atomic<bool> g_previous_is_spent{false};  // It had SA_RESETHAND and has run.

std::atomic<BusResolver> g_resolver{nullptr};

static_assert(std::atomic<bool>::is_always_lock_free, "the handler must not meet a lock");
static_assert(std::atomic<BusResolver>::is_always_lock_free, "the handler must not meet a lock");

BusCause cause_of(int code) noexcept {
  switch (code) {
    case BUS_ADRERR: return BusCause::kNoBacking;
    case BUS_ADRALN: return BusCause::kMisaligned;
    case BUS_MCEERR_AR: return BusCause::kHardware;
    default: return BusCause::kOther;
  }
}

BusAccess access_of([[maybe_unused]] const void* context) noexcept {
#if defined(__x86_64__)
  constexpr greg_t kPageFaultWrite = 2;  // Bit 1 of the page fault's error code.
  const greg_t error = static_cast<const ucontext_t*>(context)->uc_mcontext.gregs[REG_ERR];
  return (error & kPageFaultWrite) != 0 ? BusAccess::kStore : BusAccess::kLoad;
#else
  return BusAccess::kUnknown;
#endif
}

// The signal mask of the interrupted code.
const sigset_t* mask_before(const void* context) noexcept {
  return &static_cast<const ucontext_t*>(context)->uc_sigmask;
}

// Raised by an instruction of this thread, as opposed to sent by kill(2) or by the memory scrubber.
bool is_synchronous(const siginfo_t& info) noexcept {
  return info.si_code > 0 && info.si_code != BUS_MCEERR_AO;
}

// The first and last address the kernel may mean. Broken memory is reported by block.
struct FaultSpan {
  std::uintptr_t first = 0;
  std::uintptr_t last = 0;
};

FaultSpan span_of(const siginfo_t& info) noexcept {
  const auto address = reinterpret_cast<std::uintptr_t>(info.si_addr);
  if (info.si_code != BUS_MCEERR_AR) {
    return {address, address};
  }
  const std::uintptr_t mask = (std::uintptr_t{1} << info.si_addr_lsb) - 1;
  return {address & ~mask, address | mask};
}

GuardFrame* innermost_holding(FaultSpan fault) noexcept {
  GuardFrame* frame = t_innermost;
  while (frame != nullptr && (fault.last < frame->begin || fault.first >= frame->end)) {
    frame = frame->outer;
  }
  return frame;
}

void restore_default_action() noexcept {
  struct sigaction action{};
  action.sa_handler = SIG_DFL;
  ::sigaction(SIGBUS, &action, nullptr);
}

// SIG_DFL and SIG_IGN, done by hand. A raised signal comes again when the instruction is repeated,
// which happens on return; a sent one must be sent again.
void chain_to_kernel(const siginfo_t& info, bool ignores) noexcept {
  if (is_synchronous(info)) {
    restore_default_action();
  } else if (!ignores) {
    restore_default_action();
    ::raise(SIGBUS);
  }
}

// Hands the signal to the action that was there before, with that action's own rules.
void chain(int signal, siginfo_t* info, void* context) noexcept {
  const bool is_spent = (static_cast<unsigned>(g_previous.sa_flags) & SA_RESETHAND) != 0 &&
                        g_previous_is_spent.exchange(true, std::memory_order_acq_rel);
  if (is_spent || g_previous.sa_handler == SIG_DFL || g_previous.sa_handler == SIG_IGN) {
    chain_to_kernel(*info, !is_spent && g_previous.sa_handler == SIG_IGN);
    return;
  }
  // The mask the kernel would have given it. Returning from our handler restores the one before.
  sigset_t mask;
  sigorset(&mask, mask_before(context), &g_previous.sa_mask);
  if ((g_previous.sa_flags & SA_NODEFER) == 0) {
    sigaddset(&mask, signal);
  }
  pthread_sigmask(SIG_SETMASK, &mask, nullptr);
  if ((g_previous.sa_flags & SA_SIGINFO) != 0) {
    g_previous.sa_sigaction(signal, info, context);
  } else {
    g_previous.sa_handler(signal);
  }
}

// Asks the resolver. Errno is the interrupted code's, which goes on where it was.
bool resolve(const BusFault& fault) noexcept {
  // Acquire pairs with the release in set_bus_resolver(): what it works on is seen whole.
  const BusResolver resolver = g_resolver.load(std::memory_order_acquire);
  if (resolver == nullptr) {
    return false;
  }
  const int saved_errno = errno;
  const bool is_resolved = resolver(fault);
  errno = saved_errno;
  return is_resolved;
}

// Async-signal-safe throughout: thread-local pointers, atomics, sigaction, pthread_sigmask, raise.
void on_bus_error(int signal, siginfo_t* info, void* context) {
  if (is_synchronous(*info)) {
    const FaultSpan fault = span_of(*info);
    if (resolve({.address = fault.first,
                 .cause = cause_of(info->si_code),
                 .access = access_of(context)})) {
      return;
    }
    if (GuardFrame* frame = innermost_holding(fault)) {
      frame->fault_address = std::max(fault.first, frame->begin);
      frame->fault_cause = cause_of(info->si_code);
      frame->fault_access = access_of(context);
      t_innermost = frame;  // Drops the frames inside it.
      // Ours to undo what our own action, a handler installed after ours, or a sanitizer's, blocked
      // on the way here.
      pthread_sigmask(SIG_SETMASK, mask_before(context), nullptr);
      siglongjmp(frame->return_point, 1);
    }
  }
  chain(signal, info, context);
}

bool is_ours(const struct sigaction& action) noexcept {
  return (action.sa_flags & SA_SIGINFO) != 0 && action.sa_sigaction == on_bus_error;
}

// sigaction(SIGBUS) behind the door.
Outcome<void> change_action(const struct sigaction* action, struct sigaction* old) noexcept {
  const CallSite site = CallSite::enter(Call::kSignal);
  if (site.error != 0) {
    return refuse(site.error);
  }
  return ::sigaction(SIGBUS, action, old) == 0 ? Outcome<void>() : refuse_with_errno();
}

Result<void> or_error(const Outcome<void>& outcome) {
  if (!outcome) {
    return fail(to_error(outcome.error(), "sigaction", "SIGBUS"));
  }
  return {};
}

// Whether this thread could receive a SIGBUS at all.
Result<void> check_signal_mask() {
  const CallSite site = CallSite::enter(Call::kSignal);
  if (site.error != 0) {
    return fail(to_error(Errno{site.error}, "pthread_sigmask", "SIGBUS"));
  }
  if (is_bus_blocked()) {
    return fail(make_error(Errc::kFailed, "guarded", "SIGBUS",
                           "the signal is blocked in this thread, and the kernel kills a thread "
                           "that raises a blocked SIGBUS",
                           "unblock it first: pthread_sigmask(SIG_UNBLOCK, {SIGBUS})"));
  }
  return {};
}

Result<void> install_locked() QUIRE_REQUIRES(g_mutex) {
  if (g_is_installed.load(std::memory_order_relaxed)) {
    return {};
  }
  // Known before the handler can run, which needs it. (Installing tells it too, but afterwards.)
  QUIRE_TRY(or_error(change_action(nullptr, &g_previous)));
  g_previous_is_spent.store(false, std::memory_order_relaxed);
  struct sigaction action{};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
  action.sa_mask = internal::asynchronous_signals();
  QUIRE_TRY(or_error(change_action(&action, nullptr)));
  // Release pairs with the acquire in prepare_guard().
  g_is_installed.store(true, std::memory_order_release);
  return {};
}

}  // namespace

Result<void> install_guard_handler() {
  const MutexLock lock(g_mutex);
  return install_locked();
}

Result<void> remove_guard_handler() {
  const MutexLock lock(g_mutex);
  if (!g_is_installed.load(std::memory_order_relaxed)) {
    return {};
  }
  if (g_resolver.load(std::memory_order_relaxed) != nullptr) {
    return fail(make_error(Errc::kFailed, "remove_guard_handler", "SIGBUS",
                           "a resolver is set, and the pages it provides would kill the process",
                           "close what is paged first"));
  }
  struct sigaction current{};
  QUIRE_TRY(or_error(change_action(nullptr, &current)));
  if (!is_ours(current)) {
    return fail(make_error(Errc::kChanged, "remove_guard_handler", "SIGBUS",
                           "another handler was installed after quire's and may pass signals on "
                           "to it",
                           "remove that handler first"));
  }
  struct sigaction previous = g_previous;
  if (g_previous_is_spent.load(std::memory_order_relaxed)) {
    previous.sa_handler = SIG_DFL;
  }
  QUIRE_TRY(or_error(change_action(&previous, nullptr)));
  g_is_installed.store(false, std::memory_order_release);
  return {};
}

Result<void> set_bus_resolver(BusResolver resolver) {
  const MutexLock lock(g_mutex);
  if (resolver != nullptr) {
    QUIRE_TRY(install_locked());
  }
  // Release pairs with the acquire in resolve().
  g_resolver.store(resolver, std::memory_order_release);
  return {};
}

bool is_bus_blocked() noexcept {
  sigset_t mask;
  return pthread_sigmask(SIG_BLOCK, nullptr, &mask) == 0 && sigismember(&mask, SIGBUS) == 1;
}

Result<void> prepare_guard() {
  // Acquire pairs with the release in install_guard_handler().
  if (t_is_ready && g_is_installed.load(std::memory_order_acquire)) [[likely]] {
    return {};
  }
  QUIRE_TRY(check_signal_mask());
  QUIRE_TRY(install_guard_handler());
  t_is_ready = true;
  return {};
}

std::optional<BusFault> run_guarded(std::span<const std::byte> region, GuardedCall call) {
  QUIRE_DCHECK(t_is_ready);
  GuardFrame frame(region);
  if (sigsetjmp(frame.return_point, 0) != 0) {
    return BusFault{
        .address = frame.fault_address, .cause = frame.fault_cause, .access = frame.fault_access};
  }
  call.run(call.argument);
  return std::nullopt;
}

}  // namespace quire::sys
