// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/latency_histogram.h"

#include <cmath>

namespace quire::compare {

double LatencyHistogram::value_of(std::size_t bucket) noexcept {
  if (bucket < 2 * kSubBuckets) {
    return static_cast<double>(bucket);
  }
  const std::size_t shift = bucket / kSubBuckets - 1;
  const std::size_t base = bucket - kSubBuckets * shift;
  return std::ldexp(static_cast<double>(base) + 0.5, static_cast<int>(shift));
}

double LatencyHistogram::quantile_ns(double share) const noexcept {
  if (count_ == 0) {
    return 0;
  }
  const auto rank = static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(count_)));
  std::uint64_t below = 0;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    below += buckets_[i];
    if (below >= std::max<std::uint64_t>(rank, 1)) {
      return std::min(value_of(i), static_cast<double>(max_));
    }
  }
  return static_cast<double>(max_);
}

Latency LatencyHistogram::summary() const noexcept {
  return {.operations = count_,
          .p50_ns = quantile_ns(0.5),
          .p90_ns = quantile_ns(0.9),
          .p99_ns = quantile_ns(0.99),
          .p999_ns = quantile_ns(0.999),
          .max_ns = static_cast<double>(max_)};
}

}  // namespace quire::compare
