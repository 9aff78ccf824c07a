// SPDX-License-Identifier: Apache-2.0
#include "quire/io/internal/batch_plan.h"

#include <gtest/gtest.h>

#include <vector>

#include "quire/base/prng.h"
#include "quire/testing/seed.h"

namespace quire::internal {
namespace {

std::byte g_memory[1 << 16];

ReadRange range(std::uint64_t offset_bytes, std::size_t length_bytes) {
  return {.offset_bytes = offset_bytes, .into = std::span(g_memory).first(length_bytes)};
}

std::vector<PlannedRequest> plan(const std::vector<ReadRange>& ranges, CoalesceLimits limits) {
  std::vector<RangeKey> keys;
  std::vector<PlannedRequest> requests;
  sort_ranges(ranges, keys);
  coalesce(ranges, keys, 0, limits, requests);
  return requests;
}

TEST(BatchPlanTest, NeighboursBecomeOneRequestAndStrangersDoNot) {
  const auto requests = plan({range(100'000, 10), range(0, 100), range(150, 100), range(251, 1)},
                             {.gap_bytes_max = 50, .request_bytes_max = 1000});
  ASSERT_EQ(requests.size(), 2U);
  EXPECT_EQ(requests[0].offset_bytes, 0U);
  EXPECT_EQ(requests[0].length_bytes, 252U);
  EXPECT_EQ(requests[0].count, 3U);
  EXPECT_EQ(requests[1].offset_bytes, 100'000U);
}

TEST(BatchPlanTest, GapOfOneByteTooManyDivides) {
  EXPECT_EQ(plan({range(0, 10), range(60, 10)}, {50, 1000}).size(), 1U);
  EXPECT_EQ(plan({range(0, 10), range(61, 10)}, {50, 1000}).size(), 2U);
}

TEST(BatchPlanTest, RequestDoesNotGrowBeyondItsLimit) {
  EXPECT_EQ(plan({range(0, 50), range(50, 50)}, {0, 100}).size(), 1U);
  EXPECT_EQ(plan({range(0, 50), range(50, 51)}, {0, 100}).size(), 2U);
}

TEST(BatchPlanTest, LaterKeysAddRequestsAndLeaveTheEarlierOnesAlone) {
  const std::vector<ReadRange> ranges{range(0, 10), range(10, 10), range(20, 10)};
  std::vector<RangeKey> keys;
  sort_ranges(ranges, keys);
  std::vector<PlannedRequest> requests;
  coalesce(ranges, std::span(keys).first(1), 0, {100, 1000}, requests);
  coalesce(ranges, keys, 1, {100, 1000}, requests);
  ASSERT_EQ(requests.size(), 2U);
  EXPECT_EQ(requests[0].length_bytes, 10U);
  EXPECT_EQ(requests[1].first, 1U);
  EXPECT_EQ(requests[1].length_bytes, 20U);
}

TEST(BatchPlanTest, LargeRangeIsARequestOfItsOwn) {
  const auto requests = plan({range(0, 5000), range(5000, 5000)}, {0, 100});
  ASSERT_EQ(requests.size(), 2U);
  EXPECT_EQ(requests[0].length_bytes, 5000U);
}

TEST(BatchPlanTest, EmptyRangesAskForNothing) {
  EXPECT_TRUE(plan({range(0, 0), range(77, 0)}, {4096, 4096}).empty());
}

TEST(BatchPlanTest, ShareEndsWhereTheReadEnded) {
  const PlannedRequest request{.offset_bytes = 1000, .length_bytes = 300, .first = 0, .count = 2};
  EXPECT_EQ(share_of(request, 300, range(1100, 100)), 100U);
  EXPECT_EQ(share_of(request, 150, range(1100, 100)), 50U);
  EXPECT_EQ(share_of(request, 100, range(1100, 100)), 0U);
  EXPECT_EQ(share_of(request, 0, range(1100, 100)), 0U);
}

// Goal:   every range lies whole in the request that counts it, and in no other.
// Method: random ranges, overlapping and repeated, against random limits.
TEST(BatchPlanTest, EveryRangeLiesInExactlyOneRequest) {
  Prng prng(testing::test_seed());
  for (int round = 0; round < 300; ++round) {
    std::vector<ReadRange> ranges;
    for (std::uint64_t i = prng.below(60); i > 0; --i) {
      ranges.push_back(range(prng.below(100'000), prng.below(3000)));
    }
    const CoalesceLimits limits{prng.below(2000), 1 + prng.below(8000)};
    std::vector<RangeKey> keys;
    std::vector<PlannedRequest> requests;
    sort_ranges(ranges, keys);
    coalesce(ranges, keys, 0, limits, requests);
    std::size_t next = 0;
    for (const PlannedRequest& request : requests) {
      ASSERT_EQ(request.first, next);
      next += request.count;
      ASSERT_TRUE(request.count == 1 || request.length_bytes <= limits.request_bytes_max);
      for (std::size_t i = request.first; i < next; ++i) {
        const ReadRange& wanted = ranges[keys[i].index];
        ASSERT_GE(wanted.offset_bytes, request.offset_bytes);
        ASSERT_LE(wanted.offset_bytes + wanted.into.size(),
                  request.offset_bytes + request.length_bytes);
      }
    }
    ASSERT_EQ(next, keys.size());
  }
}

}  // namespace
}  // namespace quire::internal
