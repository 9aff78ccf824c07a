// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/latency_histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "quire/base/prng.h"
#include "quire/testing/seed.h"

namespace quire::compare {
namespace {

using testing::test_seed;

// A value whose size is drawn first: all powers of two are as likely.
std::uint64_t any_latency(Prng& prng) {
  return prng() >> (24 + prng.below(40));
}

TEST(LatencyHistogramTest, BucketsFollowEachOtherWithoutGap) {
  std::size_t last = LatencyHistogram::bucket_of(0);
  EXPECT_EQ(last, 0u);
  for (std::uint64_t value = 1; value < 1 << 16; ++value) {
    const std::size_t bucket = LatencyHistogram::bucket_of(value);
    ASSERT_TRUE(bucket == last || bucket == last + 1) << value;
    last = bucket;
  }
  EXPECT_EQ(LatencyHistogram::bucket_of(~std::uint64_t{0}), LatencyHistogram::kBuckets - 1);
}

TEST(LatencyHistogramTest, BucketStandsForItsValuesWithinOneSixtyFourth) {
  Prng prng(test_seed());
  for (int i = 0; i < 100'000; ++i) {
    const std::uint64_t value = any_latency(prng);
    const double stands = LatencyHistogram::value_of(LatencyHistogram::bucket_of(value));
    ASSERT_LE(std::abs(stands - static_cast<double>(value)), static_cast<double>(value) / 64)
        << value;
  }
}

// Goal:   quantiles are those of the sorted values, but for the width of a bucket.
// Method: the model sorts.
TEST(LatencyHistogramTest, QuantilesAgreeWithSorting) {
  Prng prng(test_seed());
  LatencyHistogram histogram;
  std::vector<std::uint64_t> values;
  for (int i = 0; i < 5000; ++i) {
    values.push_back(any_latency(prng));
    histogram.add(values.back());
  }
  std::sort(values.begin(), values.end());
  for (const double share : {0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 1.0}) {
    const auto rank = static_cast<std::size_t>(std::ceil(share * 5000)) - 1;
    const auto exact = static_cast<double>(values[rank]);
    EXPECT_NEAR(histogram.quantile_ns(share), exact, exact / 64 + 0.5) << share;
  }
  EXPECT_EQ(histogram.max_ns(), values.back());
  EXPECT_EQ(histogram.count(), 5000u);
}

TEST(LatencyHistogramTest, SummaryOfNothingIsZero) {
  const Latency summary = LatencyHistogram().summary();
  EXPECT_EQ(summary.operations, 0u);
  EXPECT_EQ(summary.p99_ns, 0);
}

TEST(LatencyHistogramTest, NoQuantileIsAboveTheLargestValue) {
  LatencyHistogram histogram;
  histogram.add(1'000'001);
  EXPECT_LE(histogram.quantile_ns(0.5), 1'000'001);
  EXPECT_EQ(histogram.summary().max_ns, 1'000'001);
}

}  // namespace
}  // namespace quire::compare
