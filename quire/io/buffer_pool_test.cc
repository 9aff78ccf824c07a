// SPDX-License-Identifier: Apache-2.0
#include "quire/io/buffer_pool.h"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "quire/sys/call.h"
#include "quire/sys/huge_pages.h"

namespace quire {
namespace {

TEST(BufferPoolTest, BuffersAreAlignedDisjointAndWritable) {
  for (const std::uint64_t buffer_bytes : {4_KiB, 256_KiB, 4_MiB}) {
    const auto pool = BufferPool::make({.buffer_bytes = buffer_bytes, .buffer_count = 5}).value();
    std::vector<BufferPool::Buffer> buffers;
    std::set<std::uint32_t> indices;
    for (int i = 0; i < 5; ++i) {
      buffers.push_back(pool->take());
      const std::span<std::byte> bytes = buffers.back().bytes();
      ASSERT_EQ(bytes.size(), buffer_bytes);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(bytes.data()) % buffer_bytes, 0U);
      EXPECT_EQ(bytes.data(), pool->memory().data() + buffers.back().index() * buffer_bytes);
      std::memset(bytes.data(), i, bytes.size());
      indices.insert(buffers.back().index());
    }
    EXPECT_EQ(indices.size(), 5U);
    for (std::size_t i = 0; i < buffers.size(); ++i) {
      EXPECT_EQ(buffers[i].bytes().front(), static_cast<std::byte>(i));
      EXPECT_EQ(buffers[i].bytes().back(), static_cast<std::byte>(i));
    }
    EXPECT_FALSE(pool->try_take().has_value());
    buffers.clear();
    EXPECT_EQ(pool->free_count(), 5U);
    pool->check_invariants();
  }
}

TEST(BufferPoolTest, TheBufferGivenBackLastIsTakenFirst) {
  const auto pool = BufferPool::make({.buffer_bytes = 4_KiB, .buffer_count = 3}).value();
  BufferPool::Buffer first = pool->take();
  BufferPool::Buffer second = pool->take();
  const std::uint32_t index = first.index();
  first = BufferPool::Buffer();
  EXPECT_EQ(pool->take().index(), index);
}

TEST(BufferPoolTest, AMovedBufferIsGivenBackOnce) {
  const auto pool = BufferPool::make({.buffer_bytes = 4_KiB, .buffer_count = 2}).value();
  {
    BufferPool::Buffer buffer = pool->take();
    BufferPool::Buffer other = std::move(buffer);
    EXPECT_EQ(pool->free_count(), 1U);
    other = pool->take();  // The one it held goes back.
    EXPECT_EQ(pool->free_count(), 1U);
    pool->check_invariants();
  }
  EXPECT_EQ(pool->free_count(), 2U);
}

// Goal:   takers wait while all are out, and two never hold the same buffer.
// Method: more threads than buffers; each marks its buffer and finds its mark still there.
TEST(BufferPoolTest, TakersWaitForTheirTurn) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 2000;
  const auto pool = BufferPool::make({.buffer_bytes = 4_KiB, .buffer_count = 2}).value();
  std::array<int, kThreads> disturbed{};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&pool, &disturbed, t] {
        for (int round = 0; round < kRounds; ++round) {
          const BufferPool::Buffer buffer = pool->take();
          const auto mark = static_cast<std::byte>(t + 1);
          buffer.bytes().front() = mark;
          std::this_thread::yield();
          disturbed.at(static_cast<std::size_t>(t)) += buffer.bytes().front() == mark ? 0 : 1;
        }
      });
    }
  }
  EXPECT_EQ(disturbed, (std::array<int, kThreads>{}));
  EXPECT_EQ(pool->free_count(), 2U);
  pool->check_invariants();
}

TEST(BufferPoolTest, ItsMemoryIsInHugePagesWhereTheyAreGranted) {
  const std::string setting = sys::transparent_huge_page_setting(sys::HugePageUse::kAnonymous);
  const auto pool = BufferPool::make({.buffer_bytes = 1_MiB, .buffer_count = 8}).value();
  EXPECT_EQ(pool->huge_bytes(), sys::huge_bytes_in(pool->memory()).value());
  if (setting == "never" || setting == "unknown") {
    EXPECT_EQ(pool->huge_bytes(), 0U);
    EXPECT_NE(pool->explain().find(setting), std::string::npos) << pool->explain();
  } else if (pool->huge_bytes() == pool->memory().size()) {
    EXPECT_EQ(pool->explain(), "8 buffers of 1.0 MiB in huge pages");
  } else {
    GTEST_SKIP() << "huge pages: memory is in pieces: " << pool->explain();
  }
}

TEST(BufferPoolTest, HugePagesAreCountedWithoutPagemapScanToo) {
  const auto pool = BufferPool::make({.buffer_bytes = 1_MiB, .buffer_count = 4}).value();
  const std::uint64_t scanned = sys::huge_bytes_in(pool->memory()).value();
  const sys::FaultPlan plan({.call = sys::Call::kControl, .error = ENOTTY});
  EXPECT_EQ(sys::huge_bytes_in(pool->memory()).value(), scanned);
  EXPECT_EQ(plan.hits(), 1U);
}

TEST(BufferPoolTest, WhatCannotBeIsRefusedBeforeMemoryIsTouched) {
  const sys::FaultPlan plan({});
  for (const BufferPoolOptions options :
       {BufferPoolOptions{.buffer_bytes = 5000}, BufferPoolOptions{.buffer_bytes = 512},
        BufferPoolOptions{.buffer_bytes = 0}, BufferPoolOptions{.buffer_count = 0},
        BufferPoolOptions{.buffer_bytes = std::uint64_t{1} << 63, .buffer_count = 4}}) {
    const auto made = BufferPool::make(options);
    ASSERT_FALSE(made.has_value());
    EXPECT_EQ(made.error().code(), Errc::kOutOfRange) << made.error().message();
  }
  const auto huge = BufferPool::make({.buffer_bytes = 1_GiB, .buffer_count = 60'000});
  ASSERT_FALSE(huge.has_value());
  EXPECT_EQ(huge.error().code(), Errc::kLimit) << huge.error().message();
  EXPECT_EQ(plan.count(sys::Call::kMap), 0U);
}

TEST(BufferPoolTest, FailedCallsAreErrorsOrMakeNoDifference) {
  {
    const sys::FaultPlan plan({.call = sys::Call::kMap, .error = ENOMEM});
    const auto made = BufferPool::make({.buffer_bytes = 4_KiB, .buffer_count = 1});
    ASSERT_FALSE(made.has_value());
    EXPECT_EQ(made.error().code(), std::errc::not_enough_memory);
  }
  // The first is about huge pages; the second touches: before 5.14 it is done by hand.
  for (std::uint64_t nth = 1; nth <= 3; ++nth) {
    const sys::FaultPlan plan({.call = sys::Call::kAdviseMemory, .nth = nth, .error = EINVAL});
    const auto made = BufferPool::make({.buffer_bytes = 4_KiB, .buffer_count = 8});
    ASSERT_TRUE(made.has_value()) << nth;
    EXPECT_EQ((*made)->memory()[5], std::byte{0});
  }
  const sys::FaultPlan plan({.call = sys::Call::kAdviseMemory, .nth = 2, .error = ENOMEM});
  EXPECT_FALSE(BufferPool::make({.buffer_bytes = 4_KiB, .buffer_count = 8}).has_value());
}

TEST(BufferPoolDeathTest, APoolThatGoesBeforeItsBuffersIsABug) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  EXPECT_DEATH(
      {
        auto pool = BufferPool::make({.buffer_bytes = 4_KiB, .buffer_count = 1}).value();
        const BufferPool::Buffer buffer = pool->take();
        pool.reset();
      },
      "free_count");
}

}  // namespace
}  // namespace quire
