// SPDX-License-Identifier: Apache-2.0
//
// linearizability: whether what several threads saw of an object could have been seen if their
// operations had happened one after the other, each at one moment between its call and its return.
//
//   thread 0    |--- push 1 ---|         |-- pop: 1 --|
//   thread 1           |----- pop: empty -----|              e.g. pop: empty, push 1, pop: 1
//
//   HistoryRecorder<QueueModel> recorder(threads);
//   in thread i:  recorder.record(i, Push{1}, [&] { return queue.push(1); });
//   afterwards:   EXPECT_TRUE(is_linearizable<QueueModel>(recorder.history()))
//                     << describe<QueueModel>(recorder.history());
//
// A model is the object's meaning in a few obvious lines:
//   struct Model {
//     struct State;           the default one is the initial one
//     struct Input, Output;
//     // Whether the operation may happen in that state with that output; if so, changes the state.
//     // Nothing as output: any will do. (The lock() of what is locked may not happen: it waits.)
//     static bool happens(State&, const Input&, const std::optional<Output>&);
//     static std::string describe(const State&), describe(const Input&), describe(const Output&);
//   };
// Two states with one description are the same.
//
// Source: Wing, Gong, "Testing and Verifying Concurrent Objects" (1993): a search through the
//         orders that respect real time; Lowe, "Testing for Linearizability" (2017): what was
//         reached before, the same operations done and the same state, is not searched again.
//         Deviation: operations that never returned (their process was killed) may have happened,
//         at any time after their call, or not at all.
// Cost:          exponential in the number of operations that overlap; histories are small.
// Thread-safety: record() from its own thread; the rest when all are done.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "quire/base/check.h"

namespace quire::testing {

inline constexpr std::uint64_t kNeverReturned = std::numeric_limits<std::uint64_t>::max();

// One operation of a history. Times are those of one clock for all threads.
template <typename Model>
struct Operation {
  unsigned thread = 0;
  typename Model::Input input;
  std::optional<typename Model::Output> output = {};  // Nothing: it never returned.
  std::uint64_t called = 0;
  std::uint64_t returned = kNeverReturned;
};

template <typename Model>
using History = std::vector<Operation<Model>>;

// The bits of a word stand for the operations.
inline constexpr std::size_t kHistoryOperationsMax = 64;

template <typename Model>
class HistoryRecorder {
 public:
  explicit HistoryRecorder(unsigned threads) : operations_(threads) {}

  // Runs the operation, which returns the model's Output, in that thread's name.
  template <typename Function>
  void record(unsigned thread, typename Model::Input input, Function&& function) {
    History<Model>& own = operations_[thread];
    own.push_back({.thread = thread, .input = std::move(input), .called = clock_.fetch_add(1)});
    own.back().output = function();
    own.back().returned = clock_.fetch_add(1);
  }

  // Of all threads, in the order of their calls.
  [[nodiscard]] History<Model> history() const {
    History<Model> all;
    for (const History<Model>& own : operations_) {
      all.insert(all.end(), own.begin(), own.end());
    }
    std::sort(all.begin(), all.end(),
              [](const auto& a, const auto& b) { return a.called < b.called; });
    return all;
  }

 private:
  std::atomic<std::uint64_t> clock_{0};
  std::vector<History<Model>> operations_;
};

// The search: from one order of some operations to one with one more.
template <typename Model>
class LinearizabilityCheck {
 public:
  // REQUIRES: at most kHistoryOperationsMax operations.
  explicit LinearizabilityCheck(const History<Model>& history) : history_(history) {
    QUIRE_CHECK_LE(history.size(), kHistoryOperationsMax);
  }

  [[nodiscard]] bool run() { return search(0, {}); }

 private:
  using Done = std::uint64_t;
  using State = typename Model::State;

  [[nodiscard]] static bool has(Done done, std::size_t i) { return (done >> i & 1U) != 0; }

  // Until when one more operation must have begun: nobody waiting to be ordered had returned yet.
  [[nodiscard]] std::uint64_t horizon(Done done) const {
    std::uint64_t first_return = kNeverReturned;
    for (std::size_t i = 0; i < history_.size(); ++i) {
      if (!has(done, i)) {
        first_return = std::min(first_return, history_[i].returned);
      }
    }
    return first_return;
  }

  [[nodiscard]] bool search(Done done, const State& state) {
    const std::uint64_t last_call = horizon(done);
    if (last_call == kNeverReturned) {
      return true;  // What is left never returned, and need not have happened.
    }
    if (!is_new(done, state)) {
      return false;
    }
    for (std::size_t i = 0; i < history_.size() && history_[i].called < last_call; ++i) {
      State next = state;
      if (!has(done, i) && Model::happens(next, history_[i].input, history_[i].output) &&
          search(done | Done{1} << i, next)) {
        return true;
      }
    }
    return false;
  }

  [[nodiscard]] bool is_new(Done done, const State& state) {
    return reached_.emplace(done, Model::describe(state)).second;
  }

  const History<Model>& history_;
  std::set<std::pair<Done, std::string>> reached_;
};

// REQUIRES: at most kHistoryOperationsMax operations, in the order of their calls.
template <typename Model>
[[nodiscard]] bool is_linearizable(const History<Model>& history) {
  return LinearizabilityCheck<Model>(history).run();
}

// One line for each operation.
template <typename Model>
[[nodiscard]] std::string describe(const History<Model>& history) {
  std::string text = "not linearizable:\n";
  for (const Operation<Model>& operation : history) {
    text += std::string(4 + 4 * operation.thread, ' ') + "[" + std::to_string(operation.called) +
            ", " + (operation.output ? std::to_string(operation.returned) : "never") + "] thread " +
            std::to_string(operation.thread) + ": " + Model::describe(operation.input) +
            (operation.output ? " -> " + Model::describe(*operation.output) : "") + "\n";
  }
  return text;
}

}  // namespace quire::testing
