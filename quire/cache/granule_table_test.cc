// SPDX-License-Identifier: Apache-2.0
#include "quire/cache/granule_table.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <thread>
#include <utility>

#include "quire/sys/call.h"

namespace quire {
namespace {

using State = GranuleState;
using Entry = GranuleTable::Entry;

void enter(GranuleTable& table, std::uint64_t granule) {
  if (table.enter(granule) == Entry::kMustCharge) {
    EXPECT_TRUE(table.enter_charged(granule));
  }
}

TEST(GranuleTableTest, DirtyGranulesAreCountedByLeaf) {
  GranuleTable table = GranuleTable::make(3 * GranuleTable::kLeafGranules).value();
  for (const std::uint64_t granule : {0U, 7U, 512U, 1024U}) {
    enter(table, granule);
    ASSERT_TRUE(table.begin_fill(granule));
    table.finish_fill(granule, granule == 512 ? State::kClean : State::kDirty);
  }
  EXPECT_EQ(table.dirty_count(), 3U);
  EXPECT_EQ(table.dirty_in_leaf(100), 2U);
  EXPECT_EQ(table.dirty_in_leaf(600), 0U);
  EXPECT_EQ(table.dirty_in_leaf(1535), 1U);
  ASSERT_TRUE(table.begin_store(512));
  table.finish_store(512);
  EXPECT_EQ(table.dirty_in_leaf(600), 1U);
  table.check_invariants();
}

TEST(GranuleTableTest, TablesCountWhatIsDirtyInOneTotal) {
  std::atomic<std::uint64_t> total{0};
  GranuleTable tables[] = {GranuleTable::make(1).value(), GranuleTable::make(1).value()};
  for (GranuleTable& table : tables) {
    table.count_dirty_in(total);
    enter(table, 0);
    ASSERT_TRUE(table.begin_fill(0));
    table.finish_fill(0, State::kDirty);
  }
  EXPECT_EQ(total.load(), 2U);
  GranuleTable moved = std::move(tables[0]);
  ASSERT_TRUE(moved.begin_discard(0));
  moved.finish_evict(0);
  EXPECT_EQ(total.load(), 1U);
  EXPECT_EQ(tables[1].dirty_count(), 1U);
}

TEST(GranuleTableTest, ATableWithoutGranulesIsOne) {
  const GranuleTable table = GranuleTable::make(0).value();
  EXPECT_EQ(table.next_in_use(0), 0U);
  table.check_invariants();
}

TEST(GranuleTableTest, TooManyGranulesAreRefused) {
  EXPECT_EQ(GranuleTable::make(UINT64_MAX).error().code(), std::errc::not_enough_memory);
  const sys::FaultPlan plan({.call = sys::Call::kMap, .error = ENOMEM});
  EXPECT_EQ(GranuleTable::make(1).error().code(), std::errc::not_enough_memory);
}

// --- Leaves --------------------------------------------------------------------------------------

TEST(GranuleTableTest, ALeafIsChargedOnceAndGivenBackWhenNobodyUsesIt) {
  GranuleTable table = GranuleTable::make(2 * GranuleTable::kLeafGranules).value();
  EXPECT_EQ(table.enter(3), Entry::kMustCharge);
  EXPECT_TRUE(table.enter_charged(3));
  EXPECT_EQ(table.enter(4), Entry::kEntered);
  EXPECT_FALSE(table.enter_charged(5));  // Somebody else was first.
  EXPECT_EQ(table.leaves_in_use(), 1U);
  EXPECT_EQ(table.metadata_bytes(), GranuleTable::kLeafBytes);
  EXPECT_FALSE(table.begin_give_back(3));
  for (const std::uint64_t granule : {3U, 4U, 5U}) {
    table.leave(granule);
  }
  EXPECT_FALSE(table.begin_give_back(600));  // Unused.
  ASSERT_TRUE(table.begin_give_back(9));
  EXPECT_FALSE(table.begin_give_back(9));
  EXPECT_EQ(table.enter(9), Entry::kLeaving);
  EXPECT_EQ(table.word(9).bits, 0U);
  table.finish_give_back(9);
  EXPECT_EQ(table.enter(9), Entry::kMustCharge);
  EXPECT_EQ(table.leaves_in_use(), 0U);
}

TEST(GranuleTableTest, WhoIsChargedWaitsForALeafThatIsLeaving) {
  GranuleTable table = GranuleTable::make(1).value();
  enter(table, 0);
  table.leave(0);
  ASSERT_TRUE(table.begin_give_back(0));
  std::thread other([&] { EXPECT_TRUE(table.enter_charged(0)); });
  EXPECT_EQ(table.leaves_in_use(), 1U);  // The one that is leaving.
  table.finish_give_back(0);
  other.join();
  EXPECT_EQ(table.leaves_in_use(), 1U);
}

TEST(GranuleTableTest, NotesLiveAsLongAsTheirLeaf) {
  GranuleTable table = GranuleTable::make(10).value();
  table.set_note(3, 77);  // Unused: there is no place for it.
  EXPECT_EQ(table.note(3), 0U);
  enter(table, 0);
  EXPECT_EQ(table.note(3), 0U);
  table.set_note(3, 77);
  EXPECT_EQ(table.note(3), 77U);
  EXPECT_EQ(table.word(3).bits, 0U);
  table.leave(0);
  ASSERT_TRUE(table.begin_give_back(0));
  table.finish_give_back(0);
  EXPECT_EQ(table.note(3), 0U);
  enter(table, 0);
  EXPECT_EQ(table.note(3), 0U);
}

TEST(GranuleTableTest, NotesGoAlsoWhereTheKernelKeepsTheMemory) {
  GranuleTable table = GranuleTable::make(10).value();
  enter(table, 0);
  table.set_note(3, 77);
  table.leave(0);
  ASSERT_TRUE(table.begin_give_back(0));
  {
    const sys::FaultPlan plan({.call = sys::Call::kAdviseMemory, .error = EINVAL});
    table.finish_give_back(0);
    EXPECT_EQ(plan.hits(), 1U);
  }
  enter(table, 0);
  EXPECT_EQ(table.note(3), 0U);
}

TEST(GranuleTableTest, WalksFindTheLeavesInUse) {
  constexpr std::uint64_t kLeaf = GranuleTable::kLeafGranules;
  GranuleTable table = GranuleTable::make(100 * kLeaf + 1).value();
  EXPECT_EQ(table.next_in_use(0), table.granule_count());
  enter(table, 3 * kLeaf + 5);
  enter(table, 100 * kLeaf);
  EXPECT_EQ(table.next_in_use(0), 3 * kLeaf);
  EXPECT_EQ(table.next_in_use(3 * kLeaf + 200), 3 * kLeaf + 200);
  EXPECT_EQ(table.next_in_use(4 * kLeaf), 100 * kLeaf);
  EXPECT_EQ(table.next_in_use(100 * kLeaf + 1), table.granule_count());
}

}  // namespace
}  // namespace quire
