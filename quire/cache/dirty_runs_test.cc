// SPDX-License-Identifier: Apache-2.0
#include "quire/cache/dirty_runs.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <vector>

#include "quire/base/prng.h"
#include "quire/testing/seed.h"

namespace quire {
namespace {

std::vector<GranuleRun> runs_of(std::vector<std::uint64_t> granules, std::uint64_t count_max) {
  std::vector<GranuleRun> runs(granules.size());
  runs.resize(make_runs(granules, count_max, runs));
  return runs;
}

using Runs = std::vector<GranuleRun>;

TEST(DirtyRunsTest, NeighboursAreJoinedWhateverTheirOrder) {
  EXPECT_EQ(runs_of({9, 3, 4, 20, 5, 21}, 100), (Runs{{3, 3}, {9, 1}, {20, 2}}));
}

TEST(DirtyRunsTest, ARunIsCutAtItsLimit) {
  EXPECT_EQ(runs_of({0, 1, 2, 3, 4}, 2), (Runs{{0, 2}, {2, 2}, {4, 1}}));
  EXPECT_EQ(runs_of({0, 1, 2}, 1), (Runs{{0, 1}, {1, 1}, {2, 1}}));
}

TEST(DirtyRunsTest, AGranuleNamedTwiceCountsOnce) {
  EXPECT_EQ(runs_of({7, 7, 8, 7, 8}, 100), (Runs{{7, 2}}));
  EXPECT_EQ(runs_of({5, 5}, 1), (Runs{{5, 1}}));
}

TEST(DirtyRunsTest, NothingGivesNothingAndTheLastGranuleOfAllIsOne) {
  EXPECT_EQ(runs_of({}, 4), Runs{});
  EXPECT_EQ(runs_of({UINT64_MAX, 0}, 4), (Runs{{0, 1}, {UINT64_MAX, 1}}));
}

// Goal:   whatever the granules, the runs name exactly them, in order, none above the limit, and
//         none that could have been joined with the one before.
// Method: random granules from ranges so narrow that neighbours and doubles are common.
TEST(DirtyRunsPropertyTest, RunsAreTheFewestThatNameTheSameGranules) {
  Prng prng(testing::test_seed());
  for (int round = 0; round < 2000; ++round) {
    std::vector<std::uint64_t> granules(prng.below(200));
    const std::uint64_t span = 1 + prng.below(400);
    for (std::uint64_t& granule : granules) {
      granule = prng.below(span);
    }
    const std::uint64_t count_max = 1 + prng.below(round % 2 == 0 ? 8 : 1000);
    std::set<std::uint64_t> left(granules.begin(), granules.end());
    GranuleRun before{};
    for (const GranuleRun& run : runs_of(granules, count_max)) {
      ASSERT_GT(run.count, 0U);
      ASSERT_LE(run.count, count_max);
      ASSERT_GE(run.first, before.first + before.count);
      ASSERT_TRUE(run.first > before.first + before.count || before.count == count_max ||
                  before.count == 0);
      for (std::uint64_t i = 0; i < run.count; ++i) {
        ASSERT_EQ(left.erase(run.first + i), 1U) << "granule " << run.first + i;
      }
      before = run;
    }
    ASSERT_TRUE(left.empty());
  }
}

}  // namespace
}  // namespace quire
