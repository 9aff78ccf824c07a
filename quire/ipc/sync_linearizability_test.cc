// SPDX-License-Identifier: Apache-2.0
//
// Small histories of Mutex, Semaphore and Event, each by several participants, have an order that
// explains them. Threads give way at random at every step in shared memory.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "quire/ipc/event.h"
#include "quire/ipc/internal/shared_object_test.h"
#include "quire/ipc/mutex.h"
#include "quire/ipc/semaphore.h"
#include "quire/testing/interleave.h"
#include "quire/testing/linearizability.h"
#include "quire/testing/seed.h"

namespace quire::ipc {
namespace {

using internal::SharedObject;
using testing::HistoryRecorder;
using testing::is_linearizable;

constexpr unsigned kThreads = 3;
constexpr int kRounds = 300;

constexpr WaitOptions kSleep{.policy = WaitPolicy::kSleep};

// Runs body(thread, recorder) in threads, and looks at the history, kRounds times.
template <typename Model, typename MakeBody>
void expect_linearizable(MakeBody make_body) {
  for (int round = 0; round < kRounds; ++round) {
    HistoryRecorder<Model> recorder(kThreads);
    auto body = make_body();
    testing::run_together(kThreads, testing::test_seed() + static_cast<std::uint64_t>(round),
                          [&](unsigned thread) { body(thread, recorder); });
    ASSERT_TRUE(is_linearizable<Model>(recorder.history())) << describe<Model>(recorder.history());
  }
}

struct MutexModel {
  enum class Call { kLock, kTryLock, kUnlock };
  struct State {
    std::optional<unsigned> owner;
  };
  struct Input {
    Call call;
    unsigned thread;
  };
  using Output = bool;  // Whether it was done.

  static bool happens(State& state, const Input& input, const std::optional<Output>& output) {
    const bool is_mine = state.owner == input.thread;
    const bool is_done = input.call == Call::kUnlock ? is_mine : !state.owner;
    if (input.call == Call::kLock && !is_done) {
      return false;  // It waits.
    }
    if (is_done) {
      state.owner = input.call == Call::kUnlock ? std::nullopt : std::optional(input.thread);
    }
    return !output || *output == is_done;
  }
  static std::string describe(const State& state) {
    return state.owner ? std::to_string(*state.owner) : "free";
  }
  static std::string describe(const Input& input) {
    return input.call == Call::kLock ? "lock" : input.call == Call::kTryLock ? "try" : "unlock";
  }
  static std::string describe(const Output& output) { return output ? "done" : "refused"; }
};

TEST(SyncLinearizabilityTest, HistoriesOfAMutexHaveAnOrder) {
  using Call = MutexModel::Call;
  expect_linearizable<MutexModel>([] {
    auto shared = std::make_shared<SharedObject>(Mutex::object("lock"));
    return [shared](unsigned thread, HistoryRecorder<MutexModel>& recorder) {
      Mutex mutex(shared->join());
      for (int i = 0; i < 3; ++i) {
        bool is_locked = false;
        const Call call =
            (thread + static_cast<unsigned>(i)) % 2 == 0 ? Call::kLock : Call::kTryLock;
        recorder.record(thread, {.call = call, .thread = thread}, [&] {
          is_locked =
              call == Call::kLock ? mutex.lock(kSleep).has_value() : mutex.try_lock().has_value();
          return is_locked;
        });
        // Also when it is not ours: that must be refused.
        recorder.record(thread, {.call = Call::kUnlock, .thread = thread},
                        [&] { return mutex.unlock().has_value(); });
      }
    };
  });
}

constexpr SemaphoreOptions kTwo{.units = 2};

struct SemaphoreModel {
  struct State {
    std::array<bool, kTwo.units> is_held{};
  };
  struct Input {
    enum class Call { kAcquire, kTry, kRelease } call;
    std::uint32_t unit = 0;  // Of a release.
  };
  using Output = std::optional<std::uint32_t>;  // The unit.

  static bool happens(State& state, const Input& input, const std::optional<Output>& output) {
    if (input.call == Input::Call::kRelease) {
      state.is_held.at(input.unit) = false;
      return true;
    }
    if (!output->has_value()) {
      return input.call == Input::Call::kTry;  // Units are looked at one after the other.
    }
    return !std::exchange(state.is_held.at(**output), true);
  }
  static std::string describe(const State& state) {
    return {state.is_held[0] ? '1' : '0', state.is_held[1] ? '1' : '0'};
  }
  static std::string describe(const Input& input) {
    return input.call == Input::Call::kAcquire ? "acquire"
           : input.call == Input::Call::kTry   ? "try"
                                               : "release " + std::to_string(input.unit);
  }
  static std::string describe(const Output& output) {
    return output ? std::to_string(*output) : "none";
  }
};

TEST(SyncLinearizabilityTest, HistoriesOfASemaphoreHaveAnOrder) {
  using Call = SemaphoreModel::Input::Call;
  expect_linearizable<SemaphoreModel>([] {
    auto shared = std::make_shared<SharedObject>(Semaphore::object("pool", kTwo));
    return [shared](unsigned thread, HistoryRecorder<SemaphoreModel>& recorder) {
      Semaphore semaphore(shared->join(), kTwo);
      for (int i = 0; i < 3; ++i) {
        std::optional<Permit> permit;
        const bool waits = (thread + static_cast<unsigned>(i)) % 2 == 0;
        recorder.record(thread, {.call = waits ? Call::kAcquire : Call::kTry},
                        [&]() -> SemaphoreModel::Output {
                          if (waits) {
                            permit.emplace(semaphore.acquire(kSleep).value());
                          } else if (auto tried = semaphore.try_acquire()) {
                            permit.emplace(std::move(*tried));
                          }
                          return permit ? std::optional(permit->unit()) : std::nullopt;
                        });
        if (permit) {
          recorder.record(thread, {.call = Call::kRelease, .unit = permit->unit()},
                          [&]() -> SemaphoreModel::Output {
                            permit->release();
                            return std::nullopt;
                          });
        }
      }
    };
  });
}

struct EventModel {
  struct State {
    bool is_set = false;
  };
  enum class Input { kSet, kReset, kLook };
  using Output = bool;  // What was seen.

  static bool happens(State& state, const Input& input, const std::optional<Output>& output) {
    if (input == Input::kLook) {
      return !output || *output == state.is_set;
    }
    state.is_set = input == Input::kSet;
    return true;
  }
  static std::string describe(const State& state) { return state.is_set ? "set" : "unset"; }
  static std::string describe(const Input& input) {
    return input == Input::kSet ? "set" : input == Input::kReset ? "reset" : "look";
  }
  static std::string describe(const Output& output) { return output ? "yes" : "no"; }
};

TEST(SyncLinearizabilityTest, HistoriesOfAnEventHaveAnOrder) {
  using Input = EventModel::Input;
  expect_linearizable<EventModel>([] {
    auto shared = std::make_shared<SharedObject>(Event::object("event"));
    return [shared](unsigned thread, HistoryRecorder<EventModel>& recorder) {
      Event event(shared->join());
      for (unsigned i = 0; i < 5; ++i) {
        const auto input = static_cast<Input>((thread + i) % 3);
        recorder.record(thread, input, [&] {
          if (input == Input::kLook) {
            return event.is_set();
          }
          input == Input::kSet ? event.set() : event.reset();
          return true;
        });
      }
    };
  });
}

}  // namespace
}  // namespace quire::ipc
