// SPDX-License-Identifier: Apache-2.0
#include "quire/testing/crash_disk.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "quire/testing/seed.h"

namespace quire::testing {
namespace {

using Bytes = std::vector<std::byte>;

// By the bytes, one after the other: gcc 12 believes that comparing vectors reads past their end.
struct InOrder {
  bool operator()(const Bytes& a, const Bytes& b) const {
    return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end(),
                                        [](std::byte x, std::byte y) { return x < y; });
  }
};
using States = std::set<Bytes, InOrder>;

Bytes sectors(std::size_t count, int value) {
  return {count * 512, static_cast<std::byte>(value)};
}

// All that a store can be after a crash at the last point, in some tries.
States last_states(const CrashDisk& disk, CrashDisk::Loss loss, std::size_t store = 0) {
  CrashDisk::Walk walk(disk);
  while (walk.advance()) {
  }
  Prng random(test_seed());
  States states;
  for (int i = 0; i < 200; ++i) {
    states.insert(walk.crash(loss, random).at(store));
  }
  return states;
}

TEST(CrashDiskTest, WhatIsNotFlushedMayBeLost) {
  CrashDisk disk({sectors(2, 0)});
  ASSERT_TRUE(disk.store(0)->write(0, sectors(1, 1)).has_value());
  EXPECT_EQ(last_states(disk, CrashDisk::Loss::kNothing).size(), 1U);
  EXPECT_EQ(last_states(disk, CrashDisk::Loss::kUnflushed), (States{sectors(2, 0)}));
  EXPECT_EQ(last_states(disk, CrashDisk::Loss::kOperations).size(), 2U);
  ASSERT_TRUE(disk.store(0)->sync(Durability::kData).has_value());
  for (const auto loss : {CrashDisk::Loss::kUnflushed, CrashDisk::Loss::kTorn}) {
    EXPECT_EQ(last_states(disk, loss), (States{disk.contents()[0]}));
  }
}

TEST(CrashDiskTest, AFlushOfOneStoreIsNoneOfAnother) {
  CrashDisk disk({sectors(1, 0), sectors(1, 0)});
  ASSERT_TRUE(disk.store(0)->write(0, sectors(1, 1)).has_value());
  ASSERT_TRUE(disk.store(1)->write(0, sectors(1, 1)).has_value());
  ASSERT_TRUE(disk.store(1)->sync(Durability::kData).has_value());
  EXPECT_EQ(last_states(disk, CrashDisk::Loss::kUnflushed, 0), (States{sectors(1, 0)}));
  EXPECT_EQ(last_states(disk, CrashDisk::Loss::kUnflushed, 1), (States{sectors(1, 1)}));
}

TEST(CrashDiskTest, ADurableWriteIsThereAndLeavesOlderOnesInDoubt) {
  CrashDisk disk({sectors(3, 0)});
  ASSERT_TRUE(disk.store(0)->write(0, sectors(2, 1)).has_value());
  ASSERT_TRUE(disk.durable_store(0)->write(512, sectors(1, 2)).has_value());
  for (const Bytes& state : last_states(disk, CrashDisk::Loss::kOperations)) {
    EXPECT_EQ(state[512], std::byte{2});
  }
  EXPECT_EQ(last_states(disk, CrashDisk::Loss::kOperations).size(), 2U);
}

TEST(CrashDiskTest, SectorsAreLostEachForItselfAndTornOnDemand) {
  CrashDisk disk({sectors(4, 0)});
  ASSERT_TRUE(disk.store(0)->write(0, sectors(4, 1)).has_value());
  std::size_t torn = 0;
  for (const Bytes& state : last_states(disk, CrashDisk::Loss::kSectors)) {
    for (std::size_t at = 0; at < state.size(); at += 512) {
      torn += state[at] != state[at + 511] ? 1 : 0;
    }
  }
  EXPECT_EQ(torn, 0U);
  EXPECT_EQ(last_states(disk, CrashDisk::Loss::kSectors).size(), 16U);
  EXPECT_GT(last_states(disk, CrashDisk::Loss::kTorn).size(), 16U);
}

TEST(CrashDiskTest, AMarkCountsFromTheOperationBeforeItOn) {
  CrashDisk disk({sectors(1, 0)});
  ASSERT_TRUE(disk.store(0)->write(0, sectors(1, 1)).has_value());
  disk.mark(7);
  ASSERT_TRUE(disk.store(0)->sync(Durability::kData).has_value());
  CrashDisk::Walk walk(disk);
  std::vector<std::uint64_t> marks;
  while (walk.advance()) {
    marks.push_back(walk.mark());
  }
  // The write under way, and done; the flush under way, and done.
  EXPECT_EQ(marks, (std::vector<std::uint64_t>{0, 0, 7, 7}));
}

TEST(CrashDiskTest, ADiskThatForgetsFlushesLosesWhatWasFlushed) {
  CrashDisk disk({sectors(1, 0)}, {.forgets_flushes = true});
  ASSERT_TRUE(disk.store(0)->write(0, sectors(1, 1)).has_value());
  ASSERT_TRUE(disk.store(0)->sync(Durability::kData).has_value());
  EXPECT_EQ(last_states(disk, CrashDisk::Loss::kUnflushed), (States{sectors(1, 0)}));
}

}  // namespace
}  // namespace quire::testing
