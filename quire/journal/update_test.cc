// SPDX-License-Identifier: Apache-2.0
#include "quire/journal/update.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace quire {
namespace {

class Cut {
 public:
  explicit Cut(UpdateGate& gate) : gate_(gate) {
    gate_.begin_shut();
    gate_.await_empty();
  }
  ~Cut() { gate_.open(); }
  Cut(const Cut&) = delete;
  Cut& operator=(const Cut&) = delete;

 private:
  UpdateGate& gate_;
};

TEST(UpdateTest, WithoutAGateItHoldsUpNothing) {
  const Update update(nullptr);
  EXPECT_TRUE(UpdateGate::require_outside("commit", "file"));
}

TEST(UpdateTest, ItsThreadIsInsideUntilTheLastOneEnds) {
  UpdateGate gate;
  UpdateGate other;
  {
    const Update update(&gate);
    {
      const Update second(&other);
    }
    const Result<void> refused = UpdateGate::require_outside("commit", "state.bin");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code(), Errc::kFailed);
    EXPECT_NE(refused.error().message().find("state.bin"), std::string::npos);
    std::thread([] { EXPECT_TRUE(UpdateGate::require_outside("commit", "file")); }).join();
  }
  EXPECT_TRUE(UpdateGate::require_outside("commit", "file"));
}

TEST(UpdateTest, ACutWaitsForThoseUnderWay) {
  UpdateGate gate;
  std::atomic<int> step{0};
  std::thread updater([&] {
    const Update update(&gate);
    step = 1;
    while (step != 2) {
      std::this_thread::yield();
    }
    step = 3;
  });
  while (step != 1) {
    std::this_thread::yield();
  }
  gate.begin_shut();
  std::thread cutter([&] {
    gate.await_empty();
    EXPECT_EQ(step, 3);
    gate.open();
  });
  step = 2;
  updater.join();
  cutter.join();
}

TEST(UpdateTest, WhoCannotWaitIsWokenOnceByTheLastOne) {
  std::atomic<int> wakes{0};
  UpdateGate gate([](void* count) noexcept { ++*static_cast<std::atomic<int>*>(count); }, &wakes);
  gate.enter();
  gate.enter();
  gate.begin_shut();
  EXPECT_FALSE(gate.is_empty_or_wakes());
  gate.leave();
  EXPECT_EQ(wakes, 0);
  gate.leave();
  EXPECT_EQ(wakes, 1);
  EXPECT_TRUE(gate.is_empty_or_wakes());
  gate.open();
  const Update after(&gate);
  EXPECT_EQ(wakes, 1);
}

TEST(UpdateTest, WhileACutIsTakenNobodyBegins) {
  UpdateGate gate;
  std::atomic<bool> has_begun{false};
  std::thread updater;
  {
    const Cut cut(gate);
    updater = std::thread([&] {
      const Update update(&gate);
      has_begun = true;
    });
    for (int i = 0; i < 1000; ++i) {
      std::this_thread::yield();
      ASSERT_FALSE(has_begun);
    }
  }
  updater.join();
  EXPECT_TRUE(has_begun);
}

// Goal:   two threads that are inside of each other's awaited gate do not wait for each other.
// Method: each begins an update of its own gate; both gates are being shut; each begins one of the
//         other's.
TEST(UpdateTest, WhoHasOneMayBeginOthersWhileCutsWait) {
  std::array<UpdateGate, 2> gates;
  std::atomic<int> inside{0};
  std::atomic<int> shut{0};
  const auto update_both = [&](std::size_t own) {
    const Update first(&gates[own]);
    ++inside;
    while (shut != 2) {
      std::this_thread::yield();
    }
    const Update second(&gates[1 - own]);
    const Update again(&gates[own]);
  };
  std::thread one([&] { update_both(0); });
  std::thread two([&] { update_both(1); });
  while (inside != 2) {
    std::this_thread::yield();
  }
  for (UpdateGate& gate : gates) {
    gate.begin_shut();
    ++shut;
  }
  std::vector<std::thread> cutters;  // A cut does not depend on another one.
  for (UpdateGate& gate : gates) {
    cutters.emplace_back([&] {
      gate.await_empty();
      gate.open();
    });
  }
  for (std::thread& cutter : cutters) {
    cutter.join();
  }
  one.join();
  two.join();
}

// Goal:   an update may wait for who is about to begin one, though a cut waits for it.
// Method: it waits for a mutex that is held around the beginning of the other one.
TEST(UpdateTest, OneMayWaitForWhoBeginsAnother) {
  UpdateGate gate;
  std::mutex mutex;
  std::atomic<int> step{0};
  std::thread one([&] {
    const Update update(&gate);
    step = 1;
    while (step != 2) {
      std::this_thread::yield();
    }
    const std::lock_guard lock(mutex);
  });
  while (step != 1) {
    std::this_thread::yield();
  }
  gate.begin_shut();
  std::thread two([&] {
    const std::lock_guard lock(mutex);
    step = 2;
    const Update update(&gate);
  });
  gate.await_empty();
  gate.open();
  one.join();
  two.join();
}

// Goal:   updates that overlap each other without end, each longer than the first one's patience,
//         do not keep a cut away for ever.
TEST(UpdateTest, CutsComeThoughLongUpdatesOverlap) {
  UpdateGate gate;
  std::atomic<bool> is_over{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      while (!is_over) {
        const Update update(&gate);
        const auto begun = std::chrono::steady_clock::now();
        while (std::chrono::steady_clock::now() - begun < std::chrono::milliseconds(4)) {
          std::this_thread::yield();
        }
      }
    });
  }
  for (int i = 0; i < 20; ++i) {
    const Cut cut(gate);
  }
  is_over = true;
  for (std::thread& thread : threads) {
    thread.join();
  }
}

TEST(UpdateTest, CutsFindWholeUpdatesOnly) {
  constexpr std::size_t kThreads = 3;
  constexpr int kCuts = 2000;
  struct Pair {
    std::uint64_t first = 0;
    std::uint64_t second = 0;
  };
  UpdateGate gate;
  std::array<Pair, kThreads> pairs{};
  std::atomic<bool> is_over{false};
  std::vector<std::thread> threads;
  for (Pair& pair : pairs) {
    threads.emplace_back([&] {
      while (!is_over) {
        const Update update(&gate);
        ++pair.first;
        if (pair.first % 64 == 0) {
          std::this_thread::yield();  // In the middle.
        }
        ++pair.second;
      }
    });
  }
  for (int i = 0; i < kCuts; ++i) {
    {
      const Cut cut(gate);
      for (const Pair& pair : pairs) {
        ASSERT_EQ(pair.first, pair.second);
      }
    }
    std::this_thread::yield();
  }
  is_over = true;
  for (std::thread& thread : threads) {
    thread.join();
  }
}

}  // namespace
}  // namespace quire
