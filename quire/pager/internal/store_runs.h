// SPDX-License-Identifier: Apache-2.0
//
// StoreRuns: how many granules to hand to a store at once. A fault for each page that is stored to
// is dear; a page that is made dirty and never stored to is written in vain. So a store that goes
// on where an earlier one's stretch ended gets twice as many, and every other one a single granule.
//
//   stores at      7   8   9 10   11 12 13 14   ...        900   3
//   granules       1   2 (8,9)    4 (10-13)     8 ... 64     1   1
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
    Run* run = std::ranges::find(runs_, granule, &Run::next);
    if (run == runs_.end()) {
      run = &runs_[replaced_++ % runs_.size()];
      run->count = 1;
    } else {
      run->count = std::min(2 * run->count, kGranulesMax);
    }
    run->next = granule + run->count;
    return run->count;
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
    std::uint64_t next = ~std::uint64_t{0};
    std::uint64_t count = 1;
  };

  sys::FutexLock lock_;
  std::array<Run, 8> runs_ QUIRE_GUARDED_BY(lock_){};
  std::uint64_t replaced_ QUIRE_GUARDED_BY(lock_) = 0;
};

}  // namespace quire::internal
