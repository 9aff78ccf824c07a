// SPDX-License-Identifier: Apache-2.0
//
// LatencyHistogram: how long each of many operations took, in a fixed amount of memory, to 1.6 %.
//
//   value       0 .. 63    64 .. 127   128 .. 255   256 .. 511   ...   2^39 .. 2^40 - 1, and above
//   buckets     64 of 1    32 of 2     32 of 4      32 of 8      ...   32 of 2^34
//
// Each power of two is divided into 32 buckets of equal width: the middle of a bucket is at most
// 1/64 away from whatever fell into it. The largest value is kept exactly.
//
// Source:        the bucket scheme of HdrHistogram (Tene), with one significant digit in base 32.
// Invariants:    count() is the sum of the buckets.
// Thread-safety: one thread at a time.
// Cost:          9 KiB; add() is a shift and an increment.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>

#include "quire/compare/report.h"

namespace quire::compare {

class LatencyHistogram {
 public:
  static constexpr int kSubBits = 5;     // 32 buckets per power of two.
  static constexpr int kValueBits = 40;  // 2^40 ns are 18 minutes: no round lasts that long.
  static constexpr std::size_t kSubBuckets = std::size_t{1} << kSubBits;
  static constexpr std::size_t kBuckets = kSubBuckets * (kValueBits - kSubBits + 1);

  void add(std::uint64_t nanoseconds) noexcept {
    ++buckets_[bucket_of(nanoseconds)];
    ++count_;
    max_ = std::max(max_, nanoseconds);
  }

  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  [[nodiscard]] std::uint64_t max_ns() const noexcept { return max_; }
  // The value that `share` of the operations took at most, 0 < share <= 1. 0 without operations.
  [[nodiscard]] double quantile_ns(double share) const noexcept;
  [[nodiscard]] Latency summary() const noexcept;

  // Values beyond the last bucket fall into it.
  [[nodiscard]] static constexpr std::size_t bucket_of(std::uint64_t value) noexcept {
    const std::uint64_t bounded = std::min(value, (std::uint64_t{1} << kValueBits) - 1);
    // Shift until the value has kSubBits + 1 bits: the top one is then implied by the shift.
    const int shift = std::max(0, static_cast<int>(std::bit_width(bounded)) - kSubBits - 1);
    return kSubBuckets * static_cast<std::size_t>(shift) +
           static_cast<std::size_t>(bounded >> shift);
  }
  // The middle of a bucket.
  [[nodiscard]] static double value_of(std::size_t bucket) noexcept;

 private:
  std::array<std::uint32_t, kBuckets> buckets_{};
  std::uint64_t count_ = 0;
  std::uint64_t max_ = 0;
};

}  // namespace quire::compare
