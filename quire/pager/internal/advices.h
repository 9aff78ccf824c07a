// SPDX-License-Identifier: Apache-2.0
//
// Advices: what was said about ranges of an area, looked up at each miss.
//
//   kNormal is the absence of advice: advising it cuts a hole into what was said before.
//   kOverwrite is about granules that are absent, and over for those that come in: their next
//   absence is an eviction, after which they hold what was stored to them.
//
// Invariants:    ranges are sorted, do not overlap, and are at most PagedArea::kAdvicesMax.
// Thread-safety: any thread, also where a fault is being served: a fixed array under a lock without
//                allocation.
// Cost:          at(): one load while nothing was ever advised, else O(log n) under the lock.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "quire/base/units.h"
#include "quire/pager/pager_options.h"
#include "quire/sys/futex.h"

namespace quire::internal {

class Advices {
 public:
  static constexpr std::size_t kMax = 256;

  // False: there would be more than kMax ranges; nothing has changed.
  [[nodiscard]] bool set(ByteRange range, Pattern pattern) noexcept;
  // kOverwrite is over for the range; for more than it where there is no room for the parts.
  void end_overwriting(ByteRange range) noexcept;
  [[nodiscard]] Pattern at(std::uint64_t offset_bytes) const noexcept;
  // Whether all of the range has this advice.
  [[nodiscard]] bool covers(ByteRange range, Pattern pattern) const noexcept;

 private:
  struct Item {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    Pattern pattern = Pattern::kNormal;
  };
  [[nodiscard]] std::size_t find(std::uint64_t offset_bytes) const noexcept QUIRE_REQUIRES(lock_);
  [[nodiscard]] bool is_overwritten(ByteRange range) const noexcept QUIRE_REQUIRES(lock_);
  bool append(Item item) noexcept QUIRE_REQUIRES(lock_);
  void adopt_scratch() noexcept QUIRE_REQUIRES(lock_);

  mutable sys::FutexLock lock_;
  std::atomic<bool> is_any_{false};
  std::size_t count_ QUIRE_GUARDED_BY(lock_) = 0;
  std::array<Item, kMax> items_ QUIRE_GUARDED_BY(lock_){};
  std::array<Item, kMax> scratch_ QUIRE_GUARDED_BY(lock_){};
  std::size_t scratch_count_ QUIRE_GUARDED_BY(lock_) = 0;
};

}  // namespace quire::internal
