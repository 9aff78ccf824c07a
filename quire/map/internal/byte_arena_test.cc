// SPDX-License-Identifier: Apache-2.0
#include "quire/map/internal/byte_arena.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "quire/base/prng.h"
#include "quire/sys/call.h"
#include "quire/testing/seed.h"

namespace quire::internal {
namespace {

void fill(std::span<std::byte> room, std::size_t count, std::byte value) {
  std::memset(room.data(), std::to_integer<int>(value), count);
}

bool is_filled(std::span<const std::byte> entry, std::byte value) {
  return std::ranges::all_of(entry, [&](std::byte byte) { return byte == value; });
}

// Goal:   entries of any sizes, grown while being written or not, keep their bytes to the end.
// Method: each entry is filled with its own value; all are compared after every kind of step.
TEST(ByteArenaTest, EntriesNeverMoveAndNeverTouch) {
  struct Expected {
    std::span<const std::byte> entry;
    std::byte value;
  };
  constexpr int kEntries = 2000;
  for (const std::size_t alignment : {1UL, 16UL, 4096UL}) {
    Prng random(testing::test_seed());
    ByteArena arena(alignment);
    std::vector<Expected> entries;
    for (int i = 0; i < kEntries; ++i) {
      arena.expect(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(kEntries - i));
      const std::uint64_t asked = 1 + random.below(random.below(50) == 0 ? 600'000 : 2000);
      const auto value = static_cast<std::byte>(i % 251);
      std::span<std::byte> room = arena.room(asked).value();
      ASSERT_GE(room.size(), asked);
      fill(room, asked, value);
      std::uint64_t used = asked;
      if (random.below(10) == 0) {
        used = asked + random.below(10 * asked);
        room = arena.enlarge(asked, used).value();
        ASSERT_TRUE(is_filled(room.first(asked), value));
        fill(room, used, value);
      }
      used = random.below(20) == 0 ? 0 : random.below(used + 1);
      const std::span<const std::byte> entry = arena.commit(used);
      ASSERT_EQ(entry.size(), used);
      ASSERT_EQ(reinterpret_cast<std::uintptr_t>(entry.data()) % alignment, 0U);
      entries.push_back({entry, value});
    }
    arena.trim();
    std::uint64_t used_bytes = 0;
    for (const Expected& expected : entries) {
      ASSERT_TRUE(is_filled(expected.entry, expected.value));
      used_bytes += expected.entry.size();
    }
    EXPECT_GE(arena.held_bytes(), used_bytes);
  }
}

TEST(ByteArenaTest, TrimmedItHoldsAtMostAPageMoreThanItsEntriesPerChunk) {
  for (const std::uint64_t count : {1U, 100U, 3000U, 20'000U}) {
    ByteArena arena(16);
    for (std::uint64_t i = 0; i < count; ++i) {
      arena.expect(i, count - i);
      fill(arena.room(1025).value(), 1024, std::byte{1});
      static_cast<void>(arena.commit(1024));
    }
    arena.trim();
    EXPECT_GE(arena.held_bytes(), count * 1024);
    EXPECT_LE(arena.held_bytes(), count * 1024 + count * 1024 / 100 + 8192) << count;
  }
}

TEST(ByteArenaTest, RoomThatIsNeverCommittedIsGivenBack) {
  ByteArena arena(16);
  ASSERT_TRUE(arena.room(100'000).has_value());
  arena.trim();
  EXPECT_EQ(arena.held_bytes(), 0U);
  ASSERT_TRUE(arena.room(10).has_value());  // And it goes on.
  EXPECT_EQ(arena.commit(10).size(), 10U);
}

TEST(ByteArenaTest, WithoutPopulateItWorksAndAsksOnce) {
  const sys::FaultPlan plan(
      {.call = sys::Call::kAdviseMemory, .times = UINT64_MAX, .error = EINVAL});
  ByteArena arena(16);
  for (int i = 0; i < 1000; ++i) {
    fill(arena.room(1000).value(), 1000, std::byte{3});
    ASSERT_TRUE(is_filled(arena.commit(1000), std::byte{3}));
  }
  EXPECT_EQ(plan.count(sys::Call::kAdviseMemory), 1U);
}

TEST(ByteArenaTest, ARefusedChunkIsAnErrorAndTheEntriesBeforeItStay) {
  ByteArena arena(16);
  fill(arena.room(100).value(), 100, std::byte{5});
  const std::span<const std::byte> entry = arena.commit(100);
  {
    const sys::FaultPlan plan({.call = sys::Call::kMap, .times = UINT64_MAX, .error = ENOMEM});
    EXPECT_EQ(arena.room(10'000'000).error().value, ENOMEM);
    const std::span<std::byte> room = arena.room(10).value();
    fill(room, 10, std::byte{6});
    EXPECT_EQ(arena.enlarge(10, 10'000'000).error().value, ENOMEM);
    EXPECT_TRUE(is_filled(room, std::byte{6}));
  }
  EXPECT_TRUE(is_filled(entry, std::byte{5}));
  EXPECT_TRUE(arena.room(10'000'000).has_value());
}

TEST(ByteArenaTest, AnImpossibleAmountIsAnErrorOfTheKernel) {
  ByteArena arena(16);
  EXPECT_EQ(arena.room(std::uint64_t{1} << 62).error().value, ENOMEM);
}

TEST(ByteArenaTest, ReleaseReportsARefusedUnmap) {
  ByteArena arena(16);
  ASSERT_TRUE(arena.room(10).has_value());
  static_cast<void>(arena.commit(10));
  const sys::FaultPlan plan({.call = sys::Call::kUnmap, .error = EINVAL});
  EXPECT_EQ(arena.release().error().value, EINVAL);
  EXPECT_EQ(arena.held_bytes(), 0U);
}

}  // namespace
}  // namespace quire::internal
