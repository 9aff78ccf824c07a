// SPDX-License-Identifier: Apache-2.0
#include "quire/cache/slot_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>
#include <vector>

#include "quire/base/units.h"
#include "quire/sys/call.h"
#include "quire/testing/nth_fault.h"
#include "quire/testing/process.h"

namespace quire {
namespace {

// Long enough that only a wake that was lost lets it run out.
constexpr std::uint64_t kForeverMs = 60'000;

TEST(SlotPoolTest, SlotsAreAlignedDisjointAndWritable) {
  const auto pool = SlotPool::make({.slot_bytes = 8_KiB, .slot_count = 3}).value();
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(pool->bytes(0).data()) % 2_MiB, 0U);
  std::vector<std::uint32_t> slots;
  for (int i = 0; i < 3; ++i) {
    slots.push_back(pool->try_take().value());
    const std::span<std::byte> bytes = pool->bytes(slots.back());
    ASSERT_EQ(bytes.size(), 8_KiB);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(bytes.data()) % 4_KiB, 0U);
    std::memset(bytes.data(), i, bytes.size());
  }
  for (int i = 0; i < 3; ++i) {
    const std::span<std::byte> bytes = pool->bytes(slots[static_cast<std::size_t>(i)]);
    EXPECT_EQ(bytes.front(), static_cast<std::byte>(i));
    EXPECT_EQ(bytes.back(), static_cast<std::byte>(i));
  }
  EXPECT_FALSE(pool->try_take().has_value());
  EXPECT_FALSE(pool->take(0).has_value());
  pool->check_invariants();
  std::ranges::for_each(slots, [&](std::uint32_t slot) { pool->give_back(slot); });
  EXPECT_EQ(pool->free_count(), 3U);
  pool->check_invariants();
}

TEST(SlotPoolTest, TheMemoryIsTouchedWhenThePoolIsMade) {
  const auto pool = SlotPool::make({.slot_bytes = 64_KiB, .slot_count = 40}).value();
  std::array<unsigned char, 40 * 16> resident{};
  ASSERT_TRUE(sys::page_residency(pool->bytes(0).data(), 40 * 64_KiB, resident));
  EXPECT_TRUE(std::ranges::all_of(resident, [](unsigned char page) { return (page & 1) != 0; }));
}

TEST(SlotPoolTest, ASlotGivenBackTwiceIsABug) {
  const auto pool = SlotPool::make({.slot_bytes = 4_KiB, .slot_count = 2}).value();
  EXPECT_DEATH(pool->give_back(0), "compare_exchange");
  EXPECT_DEATH(pool->give_back(2), "slot < slot_count_");
}

TEST(SlotPoolTest, MoreThanTheAddressSpaceIsRefused) {
  const auto pool = SlotPool::make({.slot_bytes = 1_TiB, .slot_count = 1'000'000});
  ASSERT_FALSE(pool.has_value());
  EXPECT_EQ(pool.error().code(), std::errc::not_enough_memory);
}

TEST(SlotPoolTest, EachCallThatFailsIsAnErrorOrDoesNotMatter) {
  for (const sys::Call call : {sys::Call::kMap, sys::Call::kAdviseMemory}) {
    testing::fail_each_nth(sys::name_of(call), [&](testing::NthFault& fault) {
      const sys::FaultPlan plan({.call = call, .nth = fault.nth, .error = ENOMEM});
      const auto pool = SlotPool::make({.slot_bytes = 4_KiB, .slot_count = 2});
      fault.was_hit = plan.hits() > 0;
      if (pool.has_value()) {
        pool.value()->bytes(1).back() = std::byte{1};
      } else {
        EXPECT_TRUE(fault.was_hit);
        EXPECT_EQ(pool.error().code(), std::errc::not_enough_memory);
      }
    });
  }
}

// Goal:   the copy of a pool that a forked child has harms nobody: what lies at its addresses there
//         is not its own, and what was out stays out.
TEST(SlotPoolTest, TheCopyInAForkedChildUnmapsNothing) {
  auto pool = SlotPool::make({.slot_bytes = 4_KiB, .slot_count = 2}).value();
  const std::uint32_t slot = pool->try_take().value();
  testing::Child child([&] {
    const sys::Outcome<sys::Address> other =
        sys::map_pages({.length_bytes = 4_KiB,
                        .protection = sys::Protection::kReadWrite,
                        .visibility = sys::Visibility::kPrivate,
                        .fixed_address = pool->bytes(slot).data()});
    pool.reset();
    **other = std::byte{1};
    return 7;
  });
  EXPECT_EQ(child.join().exit_code, 7);
  pool->give_back(slot);
}

// Goal:   no two threads hold one slot, and no wake is lost.
// Method: more threads than slots; each marks its slot with plain stores, which ThreadSanitizer
//         watches, and finds its mark unchanged before it gives the slot back.
TEST(SlotPoolTest, ThreadsShareFewSlotsWithoutMeetingInOne) {
  constexpr int kThreads = 8;
  const auto pool = SlotPool::make({.slot_bytes = 4_KiB, .slot_count = 3}).value();
  std::atomic<int> lost{0};
  std::atomic<int> met{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, mark = static_cast<std::byte>(i)] {
      for (int step = 0; step < 40'000; ++step) {
        const std::optional<std::uint32_t> slot = pool->take(kForeverMs);
        if (!slot) {
          lost.fetch_add(1);
          continue;
        }
        const std::span<std::byte> bytes = pool->bytes(*slot);
        bytes.front() = mark;
        bytes.back() = mark;
        met.fetch_add(bytes.front() == mark && bytes.back() == mark ? 0 : 1);
        pool->give_back(*slot);
      }
    });
  }
  std::ranges::for_each(threads, &std::thread::join);
  EXPECT_EQ(lost.load(), 0);
  EXPECT_EQ(met.load(), 0);
  EXPECT_EQ(pool->free_count(), 3U);
  pool->check_invariants();
}

}  // namespace
}  // namespace quire
