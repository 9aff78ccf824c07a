// SPDX-License-Identifier: Apache-2.0
//
// Small histories of the rings have an order that explains them. Threads give way at random at
// every step in shared memory.
#include <gtest/gtest.h>

#include <deque>
#include <optional>
#include <string>

#include "quire/ipc/mpsc_ring.h"
#include "quire/ipc/segment.h"
#include "quire/ipc/spsc_ring.h"
#include "quire/testing/interleave.h"
#include "quire/testing/linearizability.h"
#include "quire/testing/seed.h"

namespace quire::ipc {
namespace {

using testing::HistoryRecorder;
using testing::is_linearizable;

constexpr int kRounds = 300;
constexpr std::uint64_t kCapacity = 2;

// Whether pop() may find nothing although something was pushed: with many writers, while one that
// claimed an earlier place has not come to its end.
enum class EmptyMeans { kEmpty, kEmptyOrBehindAClaim };

template <EmptyMeans kEmpty>
struct QueueModel {
  struct State {
    std::deque<int> values;
  };
  struct Input {
    std::optional<int> push = {};  // Nothing: pop.
  };
  using Output = std::optional<int>;  // What was taken. Of a push, 1: there was room.

  static bool happens(State& state, const Input& input, const std::optional<Output>& output) {
    QUIRE_CHECK(output.has_value());  // Everything returned.
    if (input.push) {
      const bool has_room = state.values.size() < kCapacity;
      if (has_room) {
        state.values.push_back(*input.push);
      }
      return output->has_value() == has_room;
    }
    if (!output->has_value()) {
      return state.values.empty() || kEmpty == EmptyMeans::kEmptyOrBehindAClaim;
    }
    const bool is_first = !state.values.empty() && state.values.front() == **output;
    if (is_first) {
      state.values.pop_front();
    }
    return is_first;
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
  static std::string describe(const Output& output) {
    return output ? std::to_string(*output) : "none";
  }
};

// In thread 0 the reader pops, in the others writers push; a history for each round.
template <typename Ring, EmptyMeans kEmpty>
void expect_linearizable(unsigned writers) {
  using Model = QueueModel<kEmpty>;
  Layout layout;
  layout.add(Ring::object("ring", {.capacity = kCapacity, .type = "int"}));
  for (int round = 0; round < kRounds; ++round) {
    const Segment segment = Segment::make_anonymous(layout).value();
    auto reader = Ring::reader(segment, "ring").value();
    auto writer = Ring::writer(segment, "ring").value();
    HistoryRecorder<Model> recorder(1 + writers);
    const auto body = [&](unsigned thread) {
      for (int i = 1; i <= 4; ++i) {
        if (thread == 0) {
          recorder.record(thread, {}, [&] {
            int value = 0;
            return reader.try_pop(value) ? std::optional(value) : std::nullopt;
          });
        } else {
          const int value = static_cast<int>(thread) * 10 + i;
          recorder.record(thread, {.push = value},
                          [&] { return writer.try_push(value) ? std::optional(1) : std::nullopt; });
        }
      }
    };
    testing::run_together(1 + writers, testing::test_seed() + static_cast<std::uint64_t>(round),
                          body);
    ASSERT_TRUE(is_linearizable<Model>(recorder.history())) << describe<Model>(recorder.history());
  }
}

TEST(RingsLinearizabilityTest, HistoriesOfOneWriterAndOneReaderHaveAnOrder) {
  expect_linearizable<SpscRing<int>, EmptyMeans::kEmpty>(1);
}

TEST(RingsLinearizabilityTest, HistoriesOfManyWritersHaveAnOrder) {
  expect_linearizable<MpscRing<int>, EmptyMeans::kEmptyOrBehindAClaim>(2);
}

}  // namespace
}  // namespace quire::ipc
