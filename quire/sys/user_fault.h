// SPDX-License-Identifier: Apache-2.0
//
// user_fault: userfaultfd: page faults of a range are answered by this process.
//
//   UserFault faults = open_user_fault({.delivery = FaultDelivery::kMessages})
//   faults.watch(view, length)                    a MAP_SHARED mapping of a memfd
//       load or store of an absent page    -->  message (or SIGBUS)  -->  copy_in() or zero_in()
//       store to a protected page          -->  message (or SIGBUS)  -->  allow_writes()
//
// What is watched is MISSING and WRITE-PROTECT faults of shared memory: a page that was taken out
// of the view only (unmap_from_view()) but is still in the memfd is mapped again by the kernel
// without a word, and keeps its protection.
//
// Permissions, tried in this order: /dev/userfaultfd; userfaultfd(2) as root, with CAP_SYS_PTRACE
// or vm.unprivileged_userfaultfd=1; userfaultfd(2) for faults of user code only. access() tells
// which it became.
//
// System calls that meet such a page: with FaultDelivery::kMessages and full access they wait like
// loads; with kSignals, or with user-mode access only, they fail with EFAULT.
//
// Safety: closing or unwatching while a thread waits for an answer gives it a page of zeros, which
//         also enters the memfd: unmap the view first. A page that is there already answers
//         nobody: copy_in() and friends stop at it (EEXIST), and wake() must follow.
// Thread-safety: every const member from any thread, also in a signal handler: none allocates or
//                locks.
// Errors:        Outcome with the kernel's errno. EAGAIN (the address space is changing) is tried
//                again inside.
// Kernel:        5.19 (write protection of shared memory).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "quire/base/result.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/memory.h"
#include "quire/sys/outcome.h"

namespace quire::sys {

// How a fault is told.
enum class FaultDelivery : std::uint8_t {
  kMessages,  // The thread sleeps; a message can be read from fd().
  kSignals,   // The thread gets SIGBUS at the instruction, and repeats it on return.
};

// What the process was allowed.
enum class FaultAccess : std::uint8_t {
  kFull,      // Faults of user code and of system calls.
  kUserMode,  // Of user code only: system calls get EFAULT.
};

struct UserFaultOptions {
  FaultDelivery delivery = FaultDelivery::kMessages;
};

struct FaultMessage {
  std::byte* address = nullptr;  // The very byte, where the kernel tells it (5.18); in the page.
  bool is_store = false;
  bool is_protected = false;  // The page is there, and stores to it are watched.
};

// Whether what was installed may be stored to at once.
enum class Installed : std::uint8_t { kWritable, kProtected };

class UserFault {
 public:
  UserFault() = default;

  // MISSING and write protection of [address, address + length): a shared mapping of a memfd.
  // Errors: EINVAL for a mapping of a file on disk; EBUSY when another one watches it; ENOMEM.
  Outcome<void> watch(Address address, std::uint64_t length_bytes) const noexcept;
  // Safety: see above. Waiting threads are woken by nobody.
  Outcome<void> unwatch(Address address, std::uint64_t length_bytes) const noexcept;

  // Fills absent pages of the view from `from`, wakes who waits for them, and returns the bytes
  // filled: fewer than asked for when a page was there already (it and what follows are not
  // touched; nobody who waits for it is woken).
  // Errors: EFAULT past the memfd's end; ENOMEM; ENOSPC; ESRCH. Pages before it may be filled.
  Outcome<std::uint64_t> copy_in(Address to, std::span<const std::byte> from,
                                 Installed installed) const noexcept;
  // The same with zeros; writable.
  Outcome<std::uint64_t> zero_in(Address to, std::uint64_t length_bytes) const noexcept;
  // From now on stores to these pages fault, also to pages that are absent and come later.
  // One system call; the page tables below the range are built where they are missing.
  Outcome<void> protect(Address address, std::uint64_t length_bytes) const noexcept;
  // Stores may go on; who waits is woken.
  Outcome<void> allow_writes(Address address, std::uint64_t length_bytes) const noexcept;
  // Everybody who waits in the range looks again.
  Outcome<void> wake(Address address, std::uint64_t length_bytes) const noexcept;
  // Accesses get SIGBUS (BUS_MCEERR_AR, or BUS_ADRERR where the kernel was built without
  // CONFIG_MEMORY_FAILURE), system calls EFAULT. unmap_from_view() ends it.
  // Errors: EEXIST for a page, or a protection of one, that is there. Kernel: 6.6.
  Outcome<void> poison(Address address, std::uint64_t length_bytes) const noexcept;

  // Takes messages that are there, 64 at most, 0 when there is none: never blocks. (fd() is
  // readable while there are some.)
  Outcome<std::size_t> read_messages(std::span<FaultMessage> into) const noexcept;

  [[nodiscard]] int fd() const noexcept { return descriptor_.get(); }
  [[nodiscard]] bool is_open() const noexcept { return descriptor_.get() >= 0; }
  [[nodiscard]] FaultAccess access() const noexcept { return access_; }
  [[nodiscard]] FaultDelivery delivery() const noexcept { return delivery_; }
  [[nodiscard]] bool can_poison() const noexcept { return can_poison_; }
  // "/dev/userfaultfd", "userfaultfd(2)", "userfaultfd(2), user mode only: EPERM ..."
  [[nodiscard]] const std::string& explain() const noexcept { return explanation_; }

 private:
  friend Result<UserFault> open_user_fault(const UserFaultOptions& options);

  Descriptor descriptor_;
  FaultAccess access_ = FaultAccess::kFull;
  FaultDelivery delivery_ = FaultDelivery::kMessages;
  bool can_poison_ = false;
  std::string explanation_;
};

// Errors: kUnsupported where it is forbidden altogether or too old; the message names what each
//         rung of the ladder said, and the sysctl, device permission or seccomp rule to change.
[[nodiscard]] Result<UserFault> open_user_fault(const UserFaultOptions& options);

// Takes pages out of views, not out of the memfd: who touches them next maps them again. One system
// call and one TLB flush for all of them where the kernel allows it (process_madvise on oneself,
// 6.14), one each otherwise.
Outcome<void> unmap_from_view(std::span<const std::span<std::byte>> ranges) noexcept;

// Which pages of a view are mapped, asked of /proc/self/pagemap: PAGEMAP_SCAN (6.7), or the file's
// words before. Always about the process that opened it: after fork() the child opens its own.
class PageScan {
 public:
  [[nodiscard]] static Outcome<PageScan> open() noexcept;

  // Sets present[i] for each mapped page i of the range, and clears the others.
  // REQUIRES: present.size() covers the pages of the range (checked). Allocates nothing.
  Outcome<void> present(Address address, std::uint64_t length_bytes,
                        std::span<bool> present) const noexcept;

 private:
  PageScan(Descriptor descriptor, bool has_scan) noexcept
      : descriptor_(std::move(descriptor)), has_scan_(has_scan) {}

  Descriptor descriptor_;
  bool has_scan_ = false;
};

}  // namespace quire::sys
