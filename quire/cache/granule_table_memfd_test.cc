// SPDX-License-Identifier: Apache-2.0
//
// A granule table in a memfd, as another process reads it: by offset, without a mapping.
#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "quire/cache/granule_table.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"

namespace quire {
namespace {

constexpr std::uint64_t kGranules = std::uint64_t{1} << 30;
constexpr std::uint64_t kSome = 5 * GranuleTable::kLeafGranules + 3;

GranuleWord word_in_memfd(const GranuleTable& table, std::uint64_t granule) {
  GranuleWord word;
  EXPECT_EQ(sys::read_at(table.memfd(), std::as_writable_bytes(std::span(&word.bits, 1)),
                         granule * GranuleTable::kCellBytes)
                .value(),
            sizeof word.bits);
  return word;
}

std::uint64_t allocated_bytes(const GranuleTable& table) {
  return sys::file_status(table.memfd())->allocated_bytes;
}

TEST(GranuleTableMemfdTest, APrivateTableHasNone) {
  EXPECT_EQ(GranuleTable::make(10).value().memfd(), -1);
}

// Goal:   from the instant in which stores are let in until they are in the store, the memfd says
//         so; before and after it does not.
TEST(GranuleTableMemfdTest, OthersSeeWhatMayBeNewer) {
  GranuleTable table = GranuleTable::make(kGranules, TableBacking::kMemfd).value();
  EXPECT_EQ(allocated_bytes(table), 0u);
  ASSERT_TRUE(table.enter_charged(kSome));
  const auto may_be_newer = [&] { return word_in_memfd(table, kSome).may_be_newer(); };
  EXPECT_FALSE(may_be_newer());
  ASSERT_TRUE(table.begin_fill(kSome));
  EXPECT_FALSE(may_be_newer());
  table.open_fill(kSome);
  EXPECT_TRUE(may_be_newer());
  table.finish_fill(kSome, GranuleState::kDirty);
  EXPECT_TRUE(may_be_newer());
  ASSERT_EQ(table.begin_write(kSome), GranuleTable::BeginWrite::kProtect);
  table.written_protected(kSome);
  EXPECT_TRUE(may_be_newer());
  EXPECT_EQ(table.finish_write(kSome, true), GranuleState::kClean);
  EXPECT_FALSE(may_be_newer());
  ASSERT_TRUE(table.begin_store(kSome));
  EXPECT_TRUE(may_be_newer());
  table.finish_store(kSome);
  EXPECT_TRUE(may_be_newer());
  table.leave(kSome);
  table.check_invariants();
}

// Goal:   giving back a leaf gives back its memory, and forgets its notes.
TEST(GranuleTableMemfdTest, GivingBackALeafPunchesAHole) {
  GranuleTable table = GranuleTable::make(kGranules, TableBacking::kMemfd).value();
  ASSERT_TRUE(table.enter_charged(kSome));
  table.set_note(kSome, 17);
  table.leave(kSome);
  const std::uint64_t before = allocated_bytes(table);
  EXPECT_GE(before, GranuleTable::kLeafBytes);
  ASSERT_TRUE(table.begin_give_back(kSome));
  table.finish_give_back(kSome);
  EXPECT_EQ(allocated_bytes(table), before - GranuleTable::kLeafBytes);
  ASSERT_TRUE(table.enter_charged(kSome));
  EXPECT_EQ(table.note(kSome), 0u);
  table.leave(kSome);
}

TEST(GranuleTableMemfdTest, MovingTakesTheMemfdAlong) {
  GranuleTable table = GranuleTable::make(10, TableBacking::kMemfd).value();
  const int memfd = table.memfd();
  const GranuleTable moved = std::move(table);
  EXPECT_EQ(moved.memfd(), memfd);
}

}  // namespace
}  // namespace quire
