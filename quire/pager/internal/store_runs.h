// SPDX-License-Identifier: Apache-2.0
//
// StoreRuns: how many granules to hand to a store at once. A fault for each page that is stored to
// is dear; a page that is made dirty and never stored to is written in vain. So a store that goes
// on where an earlier one's stretch ended gets twice as many, and every other one a single granule.
//
//   stores at      7   8   9 10   11 12 13 14   ...        900   3
//   granules       1   2 (8,9)    4 (10-13)     8 ... 64     1   1
//
// A commit protects everything again, also what was handed over and not reached yet, and would
// write that once more each time. So a stretch that goes on behind a commit begins with as many as
// there were between the two before: who commits every sixteen gets sixteen.
//
// Thread-safety: every member from any thread, also where a fault is being served.
// Cost:          a few comparisons under a lock; no allocation.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "quire/sys/futex.h"

namespace quire::internal {

class StoreRuns {
 public:
  static constexpr std::uint64_t kGranulesMax = 64;

  // For a store to a granule that traps: how many, from it on, may be handed over.
  std::uint64_t count_at(std::uint64_t granule) noexcept {
    const sys::FutexLockGuard guard(lock_);
    const std::uint64_t commits = commits_;
    Run* run = std::ranges::find_if(
        runs_, [&](const Run& some) { return goes_on(some, granule, commits); });
    if (run == runs_.end()) {
      run = &runs_[replaced_++ % runs_.size()];
      *run = {.first = granule, .count = 1, .commits = commits};
    } else if (run->commits == commits) {
      run->count = std::min(2 * run->count, kGranulesMax);
    } else {
      *run = {.first = granule,
              .count = std::min(granule - run->first, kGranulesMax),
              .commits = commits};
    }
    run->next = granule + run->count;
    return run->count;
  }

  // Everything is protected from here on.
  void note_commit() noexcept {
    const sys::FutexLockGuard guard(lock_);
    ++commits_;
  }

  // The stretch that was to end at `expected` ended earlier: memory was short.
  void cut(std::uint64_t expected, std::uint64_t actual) noexcept {
    const sys::FutexLockGuard guard(lock_);
    if (Run* run = std::ranges::find(runs_, expected, &Run::next); run != runs_.end()) {
      run->next = actual;
    }
  }

 private:
  struct Run {
    std::uint64_t first = ~std::uint64_t{0};  // Since the last commit.
    std::uint64_t next = ~std::uint64_t{0};
    std::uint64_t count = 1;
    std::uint64_t commits = 0;  // So many had been before its last stretch.
  };
  [[nodiscard]] static bool goes_on(const Run& run, std::uint64_t granule,
                                    std::uint64_t commits) noexcept {
    return run.commits == commits ? granule == run.next
                                  : granule > run.first && granule <= run.next;
  }

  sys::FutexLock lock_;
  std::array<Run, 8> runs_ QUIRE_GUARDED_BY(lock_){};
  std::uint64_t replaced_ QUIRE_GUARDED_BY(lock_) = 0;
  std::uint64_t commits_ QUIRE_GUARDED_BY(lock_) = 0;
};

}  // namespace quire::internal
