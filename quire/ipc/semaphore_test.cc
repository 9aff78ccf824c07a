// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/semaphore.h"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <set>
#include <system_error>
#include <thread>
#include <vector>

#include "quire/base/prng.h"
#include "quire/ipc/internal/shared_object_test.h"
#include "quire/testing/seed.h"

namespace quire::ipc {
namespace {

using internal::SharedObject;
using std::chrono::milliseconds;

constexpr WaitOptions kNoWait{.timeout = milliseconds(0)};

TEST(SemaphoreTest, EachUnitIsHeldOnceAndGivenBack) {
  constexpr SemaphoreOptions kThree{.units = 3};
  const SharedObject shared(Semaphore::object("pool", kThree));
  Semaphore one(shared.join(), kThree);
  Semaphore other(shared.join(), kThree);
  EXPECT_EQ(one.free_units(), 3U);
  {
    std::vector<Permit> permits;
    std::set<std::uint32_t> units;
    for (Semaphore* semaphore : {&one, &other, &one}) {
      permits.push_back(semaphore->acquire().value());
      EXPECT_FALSE(permits.back().owner_died());
      units.insert(permits.back().unit());
    }
    EXPECT_EQ(units, (std::set<std::uint32_t>{0, 1, 2}));
    EXPECT_EQ(one.free_units(), 0U);
    EXPECT_FALSE(other.try_acquire().has_value());
    for (const WaitPolicy policy :
         {WaitPolicy::kSpin, WaitPolicy::kSpinThenSleep, WaitPolicy::kSleep}) {
      const auto refused = other.acquire({.policy = policy, .timeout = milliseconds(1)});
      ASSERT_FALSE(refused.has_value());
      EXPECT_EQ(refused.error().code(), std::errc::timed_out);
    }
    const std::uint32_t unit = permits[0].unit();
    EXPECT_FALSE(one.holder(unit).is_nobody());
    permits[0].release();
    permits[0].release();
    EXPECT_TRUE(one.holder(unit).is_nobody());
    EXPECT_EQ(other.acquire(kNoWait).value().unit(), unit);
  }
  EXPECT_EQ(one.free_units(), 3U);
}

// Goal:   a unit protects what belongs to it, between members and threads of one member.
// Method: several threads use plain counters, one for each unit (also under ThreadSanitizer).
TEST(SemaphoreTest, NobodyMeetsAnotherInAUnit) {
  constexpr SemaphoreOptions kTwo{.units = 2};
  constexpr int kThreads = 4;
  constexpr int kRounds = 10'000;
  const SharedObject shared(Semaphore::object("pool", kTwo));
  Semaphore common(shared.join(), kTwo);
  std::array<std::uint64_t, 2> counts{};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      Semaphore own(shared.join(), kTwo);
      Semaphore& semaphore = i < 2 ? common : own;
      for (int round = 0; round < kRounds; ++round) {
        const Permit permit = semaphore.acquire({.policy = WaitPolicy::kSleep}).value();
        ++counts[permit.unit()];
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(counts[0] + counts[1], std::uint64_t{kThreads} * kRounds);
  EXPECT_EQ(common.free_units(), 2U);
}

TEST(SemaphoreTest, NoPatternOfBytesMakesItCrashOrHang) {
  constexpr SemaphoreOptions kSeven{.units = 7};
  const SharedObject shared(Semaphore::object("pool", kSeven));
  Semaphore semaphore(shared.join(), kSeven);
  Prng prng(testing::test_seed());
  for (int round = 0; round < 2000; ++round) {
    for (std::byte& byte : shared.bytes()) {
      byte = static_cast<std::byte>(prng());
    }
    std::optional<Permit> permit = semaphore.try_acquire();
    for (std::byte& byte : shared.bytes()) {
      byte = static_cast<std::byte>(prng());
    }
    if (permit) {
      EXPECT_LT(permit->unit(), 7U);
      permit->release();
    }
    EXPECT_LE(semaphore.free_units(), 7U);
    static_cast<void>(semaphore.acquire(kNoWait));
  }
}

}  // namespace
}  // namespace quire::ipc
