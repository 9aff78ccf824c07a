// SPDX-License-Identifier: Apache-2.0
//
// page_lock: keeps mapped bytes in memory, and says beforehand whether the kernel will allow it.
//
// mlock() fails with a bare ENOMEM or EPERM. preflight_lock() looks first: how much may be locked,
// how much is, whether a capability lifts the limit, whether the machine and the cgroup have the
// memory at all; and its Error names the limit, its value, and how to raise it.
//
// PageLock owns a lock as an object: unlocked when it is destroyed. Kernel locks do not nest: two
// PageLocks over one page are undone by the first that goes, so lock a range once.
//
// Thread-safety: preflight from any thread; a PageLock belongs to one thread at a time.
// Kernel:        RLIMIT_MEMLOCK is per process; a cgroup has no lock limit of its own, but locked
//                pages count in its memory and cannot be reclaimed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "quire/base/result.h"
#include "quire/base/units.h"
#include "quire/sys/limits.h"
#include "quire/sys/memory.h"

namespace quire {

using sys::LockMode;  // kNow reads everything in first; kOnFault locks what is touched later.

// Whether `bytes` more may be locked: within RLIMIT_MEMLOCK and what is locked already (unless
// CAP_IPC_LOCK lifts it), and within the memory of the machine and of the cgroup.
// Errors: kLimit, naming the limit that stands in the way, its value and the ways to raise it.
[[nodiscard]] Result<void> preflight_lock(std::uint64_t bytes, const sys::ProcessLimits& process,
                                          const sys::MemoryLimits& memory);
// The same with the limits of now.
[[nodiscard]] Result<void> preflight_lock(std::uint64_t bytes);

class PageLock {
 public:
  // Locks the pages that `mapped` touches. An empty span locks nothing.
  // REQUIRES: mapped stays mapped until the lock is gone; unmapping unlocks as well.
  // Errors:   kLimit as preflight_lock(); kFault when a page cannot be read in (end of file, I/O
  //           error); nothing is locked then.
  // Blocks:   kNow reads what is not resident.
  [[nodiscard]] static Result<PageLock> lock(std::span<const std::byte> mapped,
                                             LockMode mode = LockMode::kNow);

  PageLock() = default;
  PageLock(PageLock&& other) noexcept : pages_(std::exchange(other.pages_, {})) {}
  PageLock& operator=(PageLock&& other) noexcept;
  ~PageLock();

  // The whole pages that are locked; empty when nothing is.
  [[nodiscard]] std::span<const std::byte> pages() const noexcept { return pages_; }

  // Unlocks and reports. A second call does nothing.
  // Errors: ENOMEM when the range is no longer mapped: it is unlocked all the same.
  Result<void> unlock();

 private:
  explicit PageLock(std::span<const std::byte> pages) noexcept : pages_(pages) {}

  std::span<const std::byte> pages_;
};

}  // namespace quire
