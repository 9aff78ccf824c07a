// SPDX-License-Identifier: Apache-2.0
#include "quire/testing/linearizability.h"

#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <thread>

#include "quire/testing/interleave.h"

namespace quire::testing {
namespace {

// A word that is written and read.
struct RegisterModel {
  struct State {
    int value = 0;
  };
  struct Input {
    std::optional<int> write = {};  // Nothing: read.
  };
  using Output = int;  // What was read; of a write, 0.

  static bool happens(State& state, const Input& input, const std::optional<Output>& output) {
    if (input.write) {
      state.value = *input.write;
      return true;
    }
    return !output || *output == state.value;
  }
  static std::string describe(const State& state) { return std::to_string(state.value); }
  static std::string describe(const Input& input) {
    return input.write ? "write " + std::to_string(*input.write) : "read";
  }
  static std::string describe(const Output& output) { return std::to_string(output); }
};

constexpr RegisterModel::Input kRead{};
constexpr RegisterModel::Input write(int value) {
  return {.write = value};
}

using Registers = History<RegisterModel>;

TEST(LinearizabilityTest, NothingAndOneAfterTheOtherAreFine) {
  EXPECT_TRUE(is_linearizable<RegisterModel>({}));
  EXPECT_TRUE(
      is_linearizable<RegisterModel>({{.input = kRead, .output = 0, .called = 0, .returned = 1},
                                      {.input = write(1), .output = 0, .called = 2, .returned = 3},
                                      {.input = kRead, .output = 1, .called = 4, .returned = 5}}));
}

TEST(LinearizabilityTest, WhatOverlapsMayHappenInEitherOrder) {
  for (const int seen : {0, 1}) {
    EXPECT_TRUE(is_linearizable<RegisterModel>(
        {{.thread = 0, .input = write(1), .output = 0, .called = 0, .returned = 3},
         {.thread = 1, .input = kRead, .output = seen, .called = 1, .returned = 2}}));
  }
}

TEST(LinearizabilityTest, AStaleReadIsFound) {
  const Registers history{{.thread = 0, .input = write(1), .output = 0, .called = 0, .returned = 1},
                          {.thread = 1, .input = kRead, .output = 0, .called = 2, .returned = 3}};
  EXPECT_FALSE(is_linearizable<RegisterModel>(history));
  EXPECT_EQ(describe<RegisterModel>(history),
            "not linearizable:\n"
            "    [0, 1] thread 0: write 1 -> 0\n"
            "        [2, 3] thread 1: read -> 0\n");
}

// The example of Herlihy and Wing: two readers agree on an order.
TEST(LinearizabilityTest, ReadersWhoSeeAWriteComeAndGoAreFound) {
  const auto history = [](int second) {
    return Registers{{.thread = 0, .input = write(1), .output = 0, .called = 0, .returned = 9},
                     {.thread = 1, .input = kRead, .output = 1, .called = 1, .returned = 2},
                     {.thread = 2, .input = kRead, .output = second, .called = 3, .returned = 4}};
  };
  EXPECT_TRUE(is_linearizable<RegisterModel>(history(1)));
  EXPECT_FALSE(is_linearizable<RegisterModel>(history(0)));
}

TEST(LinearizabilityTest, WhatNeverReturnedMayHaveHappenedOrNot) {
  for (const int seen : {0, 1}) {
    EXPECT_TRUE(is_linearizable<RegisterModel>(
        {{.thread = 0, .input = write(1), .called = 0},
         {.thread = 1, .input = kRead, .output = seen, .called = 1, .returned = 2}}));
  }
  EXPECT_FALSE(is_linearizable<RegisterModel>(
      {{.thread = 1, .input = kRead, .output = 1, .called = 0, .returned = 1},
       {.thread = 0, .input = write(1), .called = 2}}));  // Not before its call.
}

// A queue, and one whose push() is not one step: two may choose the same place.
struct QueueModel {
  static constexpr std::size_t kPlaces = 8;
  struct State {
    std::deque<int> values;
  };
  struct Input {
    std::optional<int> push = {};  // Nothing: pop.
  };
  using Output = int;  // What was taken, 0: it was empty. Of a push, 1: there was room.

  static bool happens(State& state, const Input& input, const std::optional<Output>& output) {
    Output actual = 0;
    if (input.push) {
      actual = state.values.size() < kPlaces ? 1 : 0;
      if (actual != 0) {
        state.values.push_back(*input.push);
      }
    } else if (!state.values.empty()) {
      actual = state.values.front();
      state.values.pop_front();
    }
    return !output || *output == actual;
  }
  static std::string describe(const State& state) {
    std::string text;
    for (const int value : state.values) {
      text += std::to_string(value) + " ";
    }
    return text;
  }
  static std::string describe(const Input& input) {
    return input.push ? "push " + std::to_string(*input.push) : "pop";
  }
  static std::string describe(const Output& output) { return std::to_string(output); }
};

class BrokenQueue {
 public:
  int push(int value) {
    const std::size_t tail = tail_.load();
    perturb();
    values_[tail % values_.size()] = value;
    perturb();
    tail_ = tail + 1;  // Whoever chose the same place is overwritten.
    return 1;
  }
  int pop() {
    const std::size_t head = head_.load();
    perturb();
    if (head == tail_.load()) {
      return 0;
    }
    const int value = values_[head % values_.size()];
    perturb();
    head_ = head + 1;
    return value;
  }

 private:
  std::array<std::atomic<int>, 64> values_{};
  std::atomic<std::size_t> head_{0};
  std::atomic<std::size_t> tail_{0};
};

// Goal:   a structure that is wrong is found out.
// Method: several threads use a queue without a lock until a history has no explanation.
TEST(LinearizabilityTest, ABrokenQueueIsFoundOut) {
  constexpr unsigned kThreads = 3;
  constexpr int kRoundsMax = 20'000;
  for (int round = 0; round < kRoundsMax; ++round) {
    BrokenQueue queue;
    HistoryRecorder<QueueModel> recorder(kThreads);
    run_together(kThreads, static_cast<std::uint64_t>(round), [&](unsigned thread) {
      for (int i = 0; i < 2; ++i) {
        const int value = static_cast<int>(thread) * 10 + i + 1;
        recorder.record(thread, {.push = value}, [&] { return queue.push(value); });
        recorder.record(thread, {}, [&] { return queue.pop(); });
      }
    });
    if (!is_linearizable<QueueModel>(recorder.history())) {
      return;
    }
  }
  FAIL() << kRoundsMax << " histories of a queue without a lock, and all are fine";
}

}  // namespace
}  // namespace quire::testing
