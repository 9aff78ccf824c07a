// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/event.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "quire/base/prng.h"
#include "quire/ipc/internal/shared_object_test.h"
#include "quire/testing/seed.h"

namespace quire::ipc {
namespace {

using internal::SharedObject;
using std::chrono::milliseconds;

constexpr WaitOptions kNoWait{.timeout = milliseconds(0)};

TEST(EventTest, ASetEventIsWaitedForByNobodyAndAnUnsetOneByAll) {
  const SharedObject shared(Event::object("event"));
  Event event(shared.join());
  EXPECT_FALSE(event.is_set());
  for (const WaitPolicy policy :
       {WaitPolicy::kSpin, WaitPolicy::kSpinThenSleep, WaitPolicy::kSleep}) {
    EXPECT_FALSE(event.wait({.policy = policy, .timeout = milliseconds(0)}));
    EXPECT_FALSE(event.wait({.policy = policy, .timeout = milliseconds(1)}));
  }
  event.set();
  event.set();
  EXPECT_TRUE(event.is_set());
  EXPECT_TRUE(event.wait());
  EXPECT_TRUE(event.wait(kNoWait));
  event.reset();
  event.reset();
  EXPECT_FALSE(event.is_set());
  EXPECT_FALSE(event.wait(kNoWait));
}

// Goal:   what was written before set() is seen after wait() (under ThreadSanitizer, too).
TEST(EventTest, WhatHappenedBeforeItIsSeenAfterIt) {
  constexpr int kRounds = 500;
  const SharedObject there(Event::object("event"));
  const SharedObject back(Event::object("event"));
  int value = 0;  // Not atomic: the events are what makes it right.
  std::thread other([&] {
    Event told(there.join());
    Event tell(back.join());
    for (int round = 1; round <= kRounds; ++round) {
      ASSERT_TRUE(told.wait());
      told.reset();
      ASSERT_EQ(value, 2 * round - 1);
      ++value;
      tell.set();
    }
  });
  Event tell(there.join());
  Event told(back.join());
  for (int round = 1; round <= kRounds; ++round) {
    ++value;
    tell.set();
    ASSERT_TRUE(told.wait());
    told.reset();
    ASSERT_EQ(value, 2 * round);
  }
  other.join();
}

TEST(EventTest, NoPatternOfBytesMakesItCrashOrHang) {
  const SharedObject shared(Event::object("event"));
  Event event(shared.join());
  Prng prng(testing::test_seed());
  for (int round = 0; round < 5000; ++round) {
    for (std::byte& byte : shared.bytes()) {
      byte = static_cast<std::byte>(prng());
    }
    static_cast<void>(event.wait({.policy = WaitPolicy::kSleep, .timeout = milliseconds(0)}));
    event.set();
    EXPECT_TRUE(event.wait(kNoWait));
    event.reset();
    EXPECT_FALSE(event.wait(kNoWait));
  }
}

}  // namespace
}  // namespace quire::ipc
