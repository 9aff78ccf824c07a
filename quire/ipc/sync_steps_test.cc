// SPDX-License-Identifier: Apache-2.0
//
// Mutex, Event and Semaphore whose users are killed or stopped at every step they take in shared
// memory.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <string_view>
#include <system_error>
#include <thread>
#include <vector>

#include "quire/ipc/event.h"
#include "quire/ipc/internal/shared_object_test.h"
#include "quire/ipc/mutex.h"
#include "quire/ipc/semaphore.h"
#include "quire/testing/ipc_steps.h"

namespace quire::ipc {
namespace {

using internal::SharedObject;
using std::chrono::milliseconds;
using testing::at_every_step;
using testing::AtStep;
using testing::SteppedChild;
using testing::StepRound;

constexpr WaitOptions kNoWait{.timeout = milliseconds(0)};
constexpr WaitOptions kSleepShortly{.policy = WaitPolicy::kSleep, .timeout = milliseconds(1)};
constexpr WaitOptions kSleep{.policy = WaitPolicy::kSleep};

// What a mutex protects: both are the same whenever nobody is inside.
struct Twins {
  std::atomic<std::uint64_t> first;
  std::atomic<std::uint64_t> second;
};

using SharedMutex = std::shared_ptr<SharedObject>;

SharedMutex make_mutex() {
  return std::make_shared<SharedObject>(Mutex::object("lock"), sizeof(Twins));
}

// Counts both up, repairs what a dead one left. Nothing is wrong unless a death is reported.
int count_once(const SharedMutex& shared, const WaitOptions& options = {}) {
  Mutex mutex(shared->join());
  auto& twins = shared->extra<Twins>();
  const Result<Ownership> locked = mutex.lock(options);
  if (!locked) {
    return locked.error().code() == std::errc::timed_out ? 0 : 1;
  }
  if (*locked == Ownership::kOwnerDied) {
    twins.second = twins.first.load();
    if (!mutex.mark_consistent().has_value()) {
      return 2;
    }
  }
  if (twins.first != twins.second) {
    return 3;
  }
  ++twins.first;
  QUIRE_IPC_STEP("test.between");
  ++twins.second;
  return mutex.unlock().has_value() ? 0 : 4;
}

// Others go on, and find nothing wrong that they were not told of.
void expect_sound(const SharedMutex& shared) {
  EXPECT_EQ(count_once(shared), 0);
  EXPECT_EQ(count_once(shared), 0);
  EXPECT_EQ(shared->extra<Twins>().first, shared->extra<Twins>().second);
}

void leave_locked(const SharedMutex& shared) {
  testing::Child child([&]() -> int {
    Mutex mutex(shared->join());
    const bool is_locked = mutex.lock().has_value();
    ++shared->extra<Twins>().first;
    _exit(is_locked ? 0 : 1);
  });
  ASSERT_EQ(child.join().exit_code, 0);
}

bool has_step(const std::vector<std::string>& steps, std::string_view step) {
  return std::find(steps.begin(), steps.end(), step) != steps.end();
}

TEST(MutexStepsTest, WhoeverIsKilledAnywhereTheOthersGoOn) {
  const auto steps = at_every_step(AtStep::kKill, [] {
    const SharedMutex shared = make_mutex();
    return StepRound{.body = [shared] { return count_once(shared); },
                     .check = [shared](SteppedChild&) { expect_sound(shared); }};
  });
  EXPECT_TRUE(has_step(steps, "mutex.lock.taken"));
  EXPECT_TRUE(has_step(steps, "mutex.unlock.freed"));
}

TEST(MutexStepsTest, WhoeverIsKilledWhileHeTakesOverAndRepairsTheOthersGoOn) {
  const auto steps = at_every_step(AtStep::kKill, [] {
    const SharedMutex shared = make_mutex();
    leave_locked(shared);
    return StepRound{.body = [shared] { return count_once(shared); },
                     .check = [shared](SteppedChild&) { expect_sound(shared); }};
  });
  EXPECT_TRUE(has_step(steps, "mutex.lock.taken_over"));
  EXPECT_TRUE(has_step(steps, "mutex.mark_consistent.done"));
}

// Goal:   one that waits and dies takes nobody's turn.
// Method: the mutex is held; who waits is killed at each step; then it is given back.
TEST(MutexStepsTest, WhoeverIsKilledWhileHeWaitsTheOthersGoOn) {
  const auto steps = at_every_step(AtStep::kKill, [] {
    const SharedMutex shared = make_mutex();
    auto holder = std::make_shared<Mutex>(shared->join());
    holder->lock().value();
    return StepRound{.body = [shared] { return count_once(shared, kSleepShortly); },
                     .check =
                         [shared, holder](SteppedChild&) {
                           EXPECT_FALSE(holder->owner().is_nobody());
                           EXPECT_TRUE(holder->unlock().has_value());
                           expect_sound(shared);
                         }};
  });
  EXPECT_TRUE(has_step(steps, "mutex.lock.announced"));
  EXPECT_TRUE(has_step(steps, "mutex.lock.woken"));
}

// Goal:   an owner that dies between unlocking and waking leaves nobody asleep.
// Method: somebody has announced that he sleeps when the owner unlocks and is killed at each step.
//         The sleeper waits without end; that it comes back is the test.
TEST(MutexStepsTest, WhoeverIsKilledWhileHeUnlocksASleeperGoesOn) {
  const auto steps = at_every_step(AtStep::kKill, [] {
    const SharedMutex shared = make_mutex();
    auto go_on = std::make_shared<testing::Signal>();
    auto announced = std::make_shared<testing::Signal>();
    auto sleeper = std::make_shared<testing::Child>([=] {
      go_on->wait();
      const testing::StepVisitor tell([&](const char* step) {
        if (step == std::string_view("mutex.lock.announced")) {
          announced->raise();
        }
      });
      return count_once(shared, kSleep);
    });
    return StepRound{.body =
                         [=] {
                           Mutex mutex(shared->join());
                           mutex.lock().value();
                           go_on->raise();
                           announced->wait();
                           return mutex.unlock().has_value() ? 0 : 1;
                         },
                     .check =
                         [=](SteppedChild&) {
                           go_on->raise();  // For one that died before it could.
                           EXPECT_EQ(sleeper->join().exit_code, 0);
                           expect_sound(shared);
                         }};
  });
  EXPECT_TRUE(has_step(steps, "mutex.unlock.freed"));
  EXPECT_TRUE(has_step(steps, "mutex.unlock.woken"));
}

TEST(MutexStepsTest, WhoeverIsKilledWhileHeReclaimsTheOthersCanToo) {
  at_every_step(AtStep::kKill, [] {
    const SharedMutex shared = make_mutex();
    leave_locked(shared);
    Mutex mutex(shared->join());
    static_cast<void>(mutex.lock());
    mutex.unlock().value();  // Not repaired: lost.
    return StepRound{.body =
                         [shared] {
                           Mutex reclaimed(shared->join());
                           if (!reclaimed.reclaim().has_value()) {
                             return 1;
                           }
                           shared->extra<Twins>().second = shared->extra<Twins>().first.load();
                           reclaimed.mark_consistent().value();
                           return reclaimed.unlock().has_value() ? 0 : 1;
                         },
                     .check =
                         [shared](SteppedChild&) {
                           Mutex other(shared->join());
                           if (other.reclaim().has_value()) {
                             shared->extra<Twins>().second = shared->extra<Twins>().first.load();
                             other.mark_consistent().value();
                             other.unlock().value();
                           }
                           expect_sound(shared);
                         }};
  });
}

// Goal:   a stopped process is not robbed, whatever it was about to do, and finishes unharmed.
TEST(MutexStepsTest, WhoeverIsStoppedAnywhereKeepsWhatHeHasAndOthersDoNotHang) {
  at_every_step(AtStep::kStop, [] {
    const SharedMutex shared = make_mutex();
    return StepRound{.body = [shared] { return count_once(shared); },
                     .check =
                         [shared](SteppedChild& child) {
                           EXPECT_EQ(count_once(shared, kNoWait), 0);
                           EXPECT_EQ(count_once(shared, kSleepShortly), 0);
                           if (child.was_reached()) {
                             child.resume();
                           }
                           EXPECT_EQ(child.end().exit_code, 0);
                           expect_sound(shared);
                           EXPECT_EQ(Mutex(shared->join()).deaths(), 0U);
                         }};
  });
}

// --- Event ---------------------------------------------------------------------------------------

// Goal:   whoever waits when set() comes is released by it, even if reset() follows at once.
// Method: two processes tell that they have announced themselves; then it is set for a moment,
//         once. Whoever missed it would wait for ever.
TEST(EventStepsTest, EverybodyWhoWaitsIsReleasedByOneSetEvenIfItIsResetAtOnce) {
  const SharedObject shared(Event::object("event"));
  testing::Signal announced;
  const auto body = [&] {
    Event event(shared.join());
    const testing::StepVisitor tell([&, is_first = true](const char* step) mutable {
      if (is_first && step == std::string_view("wait_point.wait.announced")) {
        is_first = false;
        announced.raise();
      }
    });
    return event.wait(kSleep) ? 0 : 1;
  };
  testing::Child one(body);
  testing::Child two(body);
  announced.wait();
  announced.wait();
  Event event(shared.join());
  event.set();
  event.reset();
  EXPECT_EQ(one.join().exit_code, 0);
  EXPECT_EQ(two.join().exit_code, 0);
}

// Goal:   a death between setting and waking leaves nobody asleep for ever.
// Method: somebody sleeps; who sets is killed at each step. Then either the event is set and the
//         sleeper returns, or it is not, and the next set() does it.
TEST(EventStepsTest, WhoeverIsKilledWhileHeSetsItOthersAreReleased) {
  const auto steps = at_every_step(AtStep::kKill, [] {
    auto shared = std::make_shared<SharedObject>(Event::object("event"));
    auto announced = std::make_shared<testing::Signal>();
    auto sleeper = std::make_shared<testing::Child>([=] {
      Event event(shared->join());
      const testing::StepVisitor tell([&](const char* step) {
        if (step == std::string_view("wait_point.wait.announced")) {
          announced->raise();
        }
      });
      return event.wait(kSleep) ? 0 : 1;
    });
    announced->wait();
    return StepRound{.body =
                         [shared] {
                           Event(shared->join()).set();
                           return 0;
                         },
                     .check =
                         [shared, sleeper](SteppedChild&) {
                           Event event(shared->join());
                           if (!event.is_set()) {
                             event.set();
                           }
                           EXPECT_EQ(sleeper->join().exit_code, 0);
                           EXPECT_TRUE(event.wait(kNoWait));
                         }};
  });
  EXPECT_TRUE(has_step(steps, "wait_point.wake.numbered"));
  EXPECT_TRUE(has_step(steps, "wait_point.wake.woken"));
}

TEST(EventStepsTest, WhoeverIsKilledOrStoppedWhileHeWaitsOthersAreReleased) {
  for (const AtStep action : {AtStep::kKill, AtStep::kStop}) {
    const auto steps = at_every_step(action, [] {
      auto shared = std::make_shared<SharedObject>(Event::object("event"));
      return StepRound{
          .body = [shared] { return Event(shared->join()).wait(kSleepShortly) ? 1 : 0; },
          .check =
              [shared](SteppedChild&) {
                Event event(shared->join());
                EXPECT_FALSE(event.wait(kSleepShortly));
                event.set();
                EXPECT_TRUE(event.wait(kSleep));
              }};
    });
    EXPECT_TRUE(has_step(steps, "wait_point.wait.announced"));
    EXPECT_TRUE(has_step(steps, "wait_point.wait.woken"));
  }
}

// --- Semaphore -----------------------------------------------------------------------------------

constexpr SemaphoreOptions kTwo{.units = 2};

// Everything comes back: all units can be held at once, whoever died.
void expect_whole(const SharedObject& shared) {
  Semaphore semaphore(shared.join(), kTwo);
  std::vector<Permit> permits;
  for (std::uint32_t i = 0; i < kTwo.units; ++i) {
    permits.push_back(semaphore.acquire(kSleep).value());
  }
  EXPECT_NE(permits[0].unit(), permits[1].unit());
  EXPECT_FALSE(semaphore.try_acquire().has_value());
  permits.clear();
  EXPECT_EQ(semaphore.free_units(), kTwo.units);
}

int hold_both(const SharedObject& shared) {
  Semaphore semaphore(shared.join(), kTwo);
  const Result<Permit> first = semaphore.acquire(kSleepShortly);
  const Result<Permit> second = semaphore.acquire(kSleepShortly);
  return first.has_value() && second.has_value() ? 0 : 1;
}

TEST(SemaphoreStepsTest, WhoeverIsKilledAnywhereHisUnitsComeBack) {
  const auto steps = at_every_step(AtStep::kKill, [] {
    auto shared = std::make_shared<SharedObject>(Semaphore::object("pool", kTwo));
    return StepRound{.body = [shared] { return hold_both(*shared); },
                     .check = [shared](SteppedChild&) { expect_whole(*shared); }};
  });
  EXPECT_TRUE(has_step(steps, "semaphore.acquire.taken"));
  EXPECT_TRUE(has_step(steps, "semaphore.release.freed"));
}

TEST(SemaphoreStepsTest, WhoeverIsKilledWhileHeRecoversTheUnitsOfTheDeadTheyComeBack) {
  const auto steps = at_every_step(AtStep::kKill, [] {
    auto shared = std::make_shared<SharedObject>(Semaphore::object("pool", kTwo));
    testing::Child dead([&]() -> int {
      Semaphore semaphore(shared->join(), kTwo);
      const Permit permits[] = {semaphore.acquire().value(), semaphore.acquire().value()};
      _exit(static_cast<int>(permits[0].unit() == permits[1].unit()));
    });
    EXPECT_EQ(dead.join().exit_code, 0);
    return StepRound{.body = [shared] { return hold_both(*shared); },
                     .check = [shared](SteppedChild&) { expect_whole(*shared); }};
  });
  EXPECT_TRUE(has_step(steps, "semaphore.abandoned"));
}

TEST(SemaphoreStepsTest, WhoeverIsKilledWhileHeWaitsNothingIsMissing) {
  const auto steps = at_every_step(AtStep::kKill, [] {
    auto shared = std::make_shared<SharedObject>(Semaphore::object("pool", kTwo));
    auto holder = std::make_shared<Semaphore>(shared->join(), kTwo);
    auto permits = std::make_shared<std::vector<Permit>>();
    permits->push_back(holder->acquire().value());
    permits->push_back(holder->acquire().value());
    return StepRound{.body = [shared] { return 1 - hold_both(*shared); },
                     .check =
                         [shared, holder, permits](SteppedChild&) {
                           EXPECT_FALSE(holder->try_acquire().has_value());
                           permits->clear();
                           expect_whole(*shared);
                         }};
  });
  EXPECT_TRUE(has_step(steps, "wait_point.wait.announced"));
}

TEST(SemaphoreStepsTest, WhoeverIsStoppedKeepsHisUnitsAndGivesThemBack) {
  at_every_step(AtStep::kStop, [] {
    auto shared = std::make_shared<SharedObject>(Semaphore::object("pool", kTwo));
    return StepRound{.body = [shared] { return hold_both(*shared); },
                     .check =
                         [shared](SteppedChild& child) {
                           {
                             Semaphore semaphore(shared->join(), kTwo);
                             const std::uint32_t free = semaphore.free_units();
                             std::vector<Permit> permits;
                             while (auto permit = semaphore.try_acquire()) {
                               EXPECT_FALSE(permit->owner_died());
                               permits.push_back(std::move(*permit));
                             }
                             EXPECT_EQ(permits.size(), free);
                           }
                           if (child.was_reached()) {
                             child.resume();
                           }
                           EXPECT_EQ(child.end().exit_code, 0);
                           expect_whole(*shared);
                         }};
  });
}

}  // namespace
}  // namespace quire::ipc
