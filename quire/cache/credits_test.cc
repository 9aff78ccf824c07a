// SPDX-License-Identifier: Apache-2.0
#include "quire/cache/credits.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "quire/base/prng.h"
#include "quire/testing/seed.h"

namespace quire {
namespace {

using Use = Credits::Use;

// Long enough that only a wake that was lost lets it run out.
constexpr std::uint64_t kForeverMs = 60'000;

std::uint64_t taken(const Credits& credits) {
  return credits.taken_bytes(Use::kPages) + credits.taken_bytes(Use::kBuffers) +
         credits.taken_bytes(Use::kMetadata);
}

TEST(CreditsTest, AllOfItOrNothing) {
  Credits credits(100);
  EXPECT_TRUE(credits.try_take(Use::kPages, 60));
  EXPECT_FALSE(credits.try_take(Use::kBuffers, 41));
  EXPECT_EQ(credits.free_bytes(), 40U);
  EXPECT_EQ(credits.taken_bytes(Use::kBuffers), 0U);
  EXPECT_TRUE(credits.try_take(Use::kBuffers, 40));
  EXPECT_TRUE(credits.try_take(Use::kMetadata, 0));
  EXPECT_EQ(credits.free_bytes(), 0U);
  credits.give_back(Use::kPages, 60);
  credits.give_back(Use::kBuffers, 40);
  EXPECT_EQ(credits.free_bytes(), credits.budget_bytes());
  EXPECT_EQ(credits.taken_bytes_max(), 100U);
}

TEST(CreditsTest, TheMostEverTakenIsRemembered) {
  Credits credits(100);
  EXPECT_EQ(credits.taken_bytes_max(), 0U);
  ASSERT_TRUE(credits.try_take(Use::kPages, 70));
  credits.give_back(Use::kPages, 50);
  ASSERT_TRUE(credits.try_take(Use::kMetadata, 10));
  EXPECT_EQ(credits.taken_bytes_max(), 70U);
}

TEST(CreditsDeathTest, GivingBackWhatWasTakenForAnotherUseIsABug) {
  Credits credits(100);
  ASSERT_TRUE(credits.try_take(Use::kPages, 10));
  EXPECT_DEATH(credits.give_back(Use::kBuffers, 10), "before >= bytes");
}

// Goal:   the bound holds at every instant, and nothing is lost or made.
// Method: eight threads take and give back at random. Each counts what it holds in a sum of its
//         own, after taking and before giving back, so that the sum never runs ahead of the truth.
TEST(CreditsTest, EightThreadsNeverHoldMoreThanTheBudget) {
  constexpr std::uint64_t kBudget = 1000;
  constexpr int kThreads = 8;
  constexpr int kSteps = 20'000;
  Credits credits(kBudget);
  std::atomic<std::uint64_t> held{0};
  std::atomic<std::uint64_t> held_max{0};
  std::atomic<std::uint64_t> refused{0};
  const auto work = [&](std::uint64_t seed) {
    Prng prng(seed);
    for (int step = 0; step < kSteps; ++step) {
      const Use use = static_cast<Use>(prng.below(3));
      const std::uint64_t bytes = prng.below(kBudget / 2);
      if (!credits.try_take(use, bytes)) {
        refused.fetch_add(1);
        continue;
      }
      const std::uint64_t now = held.fetch_add(bytes) + bytes;
      std::uint64_t most = held_max.load();
      while (most < now && !held_max.compare_exchange_weak(most, now)) {
      }
      std::this_thread::yield();
      held.fetch_sub(bytes);
      credits.give_back(use, bytes);
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back(work, testing::test_seed() + static_cast<std::uint64_t>(i));
  }
  std::ranges::for_each(threads, &std::thread::join);
  EXPECT_LE(held_max.load(), kBudget);
  EXPECT_LE(held_max.load(), credits.taken_bytes_max());
  EXPECT_LE(credits.taken_bytes_max(), kBudget);
  EXPECT_GT(refused.load(), 0U);
  EXPECT_EQ(credits.free_bytes(), kBudget);
  EXPECT_EQ(taken(credits), 0U);
}

TEST(CreditsTest, WaitingEndsWhenTheTimeIsOver) {
  Credits credits(10);
  EXPECT_FALSE(credits.await_more(credits.generation(), 0));
}

TEST(CreditsTest, WhatWasGivenBackBeforeTheWaitEndsIt) {
  Credits credits(10);
  ASSERT_TRUE(credits.try_take(Use::kPages, 10));
  const std::uint32_t ticket = credits.generation();
  credits.give_back(Use::kPages, 10);
  EXPECT_TRUE(credits.await_more(ticket, kForeverMs));
}

TEST(CreditsTest, AWakeForAnotherReasonEndsTheWait) {
  Credits credits(10);
  const std::uint32_t ticket = credits.generation();
  std::thread closer([&] { credits.wake_all(); });
  EXPECT_TRUE(credits.await_more(ticket, kForeverMs));
  closer.join();
}

// Goal:   no wake is lost.
// Method: six threads share room for one; each waits whenever it is refused. A lost wake lets the
//         last one wait until its time runs out.
TEST(CreditsTest, ThreadsThatWaitAllGetTheirTurn) {
  Credits credits(1);
  std::atomic<int> lost{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&] {
      for (int step = 0; step < 2000; ++step) {
        std::uint32_t ticket = credits.generation();
        while (!credits.try_take(Use::kPages, 1)) {
          lost += credits.await_more(ticket, kForeverMs) ? 0 : 1;
          ticket = credits.generation();
        }
        credits.give_back(Use::kPages, 1);
      }
    });
  }
  std::ranges::for_each(threads, &std::thread::join);
  EXPECT_EQ(lost.load(), 0);
  EXPECT_EQ(credits.free_bytes(), 1U);
}

}  // namespace
}  // namespace quire
