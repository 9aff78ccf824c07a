// SPDX-License-Identifier: Apache-2.0
#include "quire/pager/internal/store_gate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace quire::internal {
namespace {

// Method: those inside count up and down again; whoever shuts it must never see them half way, and
//         two who shut it must never be there together.
TEST(StoreGateTest, NobodyIsInsideWhileItIsShut) {
  constexpr int kEntries = 20'000;
  constexpr int kShuts = 2'000;
  StoreGate gate;
  std::atomic<int> inside{0};
  std::atomic<int> shutters{0};
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kEntries; ++i) {
        const InsideGate entered(&gate);
        ++inside;
        failures += shutters.load() == 0 ? 0 : 1;
        --inside;
      }
    });
  }
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kShuts; ++i) {
        gate.shut();
        failures += ++shutters == 1 && inside.load() == 0 ? 0 : 1;
        --shutters;
        gate.open();
      }
    });
  }
  std::ranges::for_each(threads, &std::thread::join);
  EXPECT_EQ(failures.load(), 0);
}

TEST(StoreGateTest, WhoIsInsideMayLeaveAShutGateAndNobodyEntersIt) {
  StoreGate gate;
  gate.enter();
  std::atomic<bool> is_shut{false};
  std::atomic<bool> has_entered{false};
  std::thread cutter([&] {
    gate.shut();
    is_shut = true;
  });
  gate.leave();
  cutter.join();
  EXPECT_TRUE(is_shut.load());
  std::thread storer([&] {
    const InsideGate entered(&gate);
    has_entered = true;
  });
  EXPECT_FALSE(has_entered.load());
  gate.open();
  storer.join();
  EXPECT_TRUE(has_entered.load());
}

TEST(StoreGateTest, NoGateHoldsNobodyUp) {
  const InsideGate entered(nullptr);
}

}  // namespace
}  // namespace quire::internal
