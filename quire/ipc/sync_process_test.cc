// SPDX-License-Identifier: Apache-2.0
//
// Mutex and Semaphore between processes, of which some are killed or stopped. (Children that have
// threads of their own: apart from the tests for ThreadSanitizer, which forbids that.)
#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "quire/ipc/internal/shared_object_test.h"
#include "quire/ipc/mutex.h"
#include "quire/ipc/semaphore.h"
#include "quire/testing/process.h"

namespace quire::ipc {
namespace {

using internal::SharedObject;
using std::chrono::milliseconds;

constexpr WaitOptions kNoWait{.timeout = milliseconds(0)};

SharedObject make_mutex() {
  return SharedObject(Mutex::object("lock"));
}

template <typename T>
bool failed_with(const T& result, std::errc code) {
  return !result.has_value() && result.error().code() == code;
}

// Locks in a process that ends with it.
void leave_locked(const SharedObject& shared) {
  testing::Child child([&] {
    Mutex mutex(shared.join());
    if (!mutex.lock().has_value()) {
      return 1;
    }
    _exit(0);  // No destructor: as if it were killed.
  });
  ASSERT_EQ(child.join().exit_code, 0);
}

TEST(MutexProcessTest, ADeathInsideIsReportedToTheNextWhoCanRepair) {
  const SharedObject shared = make_mutex();
  leave_locked(shared);
  Mutex mutex(shared.join());
  {
    MutexHold hold = mutex.hold().value();
    EXPECT_TRUE(hold.owner_died());
    EXPECT_TRUE(hold.mark_consistent().has_value());
  }
  EXPECT_EQ(mutex.deaths(), 1U);
  EXPECT_EQ(mutex.lock().value(), Ownership::kClean);
  mutex.unlock().value();
}

TEST(MutexProcessTest, ATryFindsTheDeadOwnerToo) {
  const SharedObject shared = make_mutex();
  leave_locked(shared);
  Mutex mutex(shared.join());
  EXPECT_EQ(mutex.try_lock(), Ownership::kOwnerDied);
  EXPECT_TRUE(mutex.mark_consistent().has_value());
  EXPECT_TRUE(mutex.unlock().has_value());
}

TEST(MutexProcessTest, ADeathWhileRepairingIsReportedToTheNext) {
  const SharedObject shared = make_mutex();
  leave_locked(shared);
  leave_locked(shared);  // Was told, and died before it could repair.
  Mutex mutex(shared.join());
  EXPECT_EQ(mutex.lock().value(), Ownership::kOwnerDied);
  EXPECT_EQ(mutex.deaths(), 2U);
  EXPECT_TRUE(mutex.mark_consistent().has_value());
  EXPECT_TRUE(mutex.unlock().has_value());
}

TEST(MutexProcessTest, WhatNobodyRepairedIsLostUntilItIsReclaimed) {
  const SharedObject shared = make_mutex();
  leave_locked(shared);
  Mutex mutex(shared.join());
  EXPECT_EQ(mutex.lock().value(), Ownership::kOwnerDied);
  EXPECT_TRUE(mutex.unlock().has_value());
  Mutex other(shared.join());
  for (Mutex* each : {&mutex, &other}) {
    EXPECT_TRUE(failed_with(each->lock(), std::errc::state_not_recoverable));
    EXPECT_FALSE(each->try_lock().has_value());
  }
  EXPECT_TRUE(other.reclaim().has_value());
  EXPECT_TRUE(failed_with(mutex.reclaim(), std::errc::operation_not_permitted));
  EXPECT_TRUE(failed_with(mutex.lock(kNoWait), std::errc::timed_out));
  EXPECT_TRUE(other.mark_consistent().has_value());
  EXPECT_TRUE(other.unlock().has_value());
  EXPECT_EQ(mutex.lock().value(), Ownership::kClean);
  mutex.unlock().value();
}

// Goal:   nobody who is alive is robbed, and those who wait can leave.
// Method: the owner is stopped inside; then it goes on and finds itself the owner.
TEST(MutexProcessTest, AStoppedOwnerKeepsTheMutexAndOthersTimeOut) {
  const SharedObject shared = make_mutex();
  testing::Signal locked;
  testing::Signal go_on;
  testing::Child owner([&] {
    Mutex mutex(shared.join());
    mutex.lock().value();
    locked.raise();
    go_on.wait();
    return mutex.unlock().has_value() ? 0 : 1;
  });
  locked.wait();
  owner.kill(SIGSTOP);
  Mutex mutex(shared.join());
  for (const WaitPolicy policy :
       {WaitPolicy::kSpin, WaitPolicy::kSpinThenSleep, WaitPolicy::kSleep}) {
    EXPECT_TRUE(failed_with(mutex.lock({.policy = policy, .timeout = milliseconds(2)}),
                            std::errc::timed_out));
    EXPECT_FALSE(mutex.try_lock().has_value());
  }
  owner.kill(SIGCONT);
  go_on.raise();
  EXPECT_EQ(mutex.lock().value(), Ownership::kClean);
  mutex.unlock().value();
  EXPECT_EQ(owner.join().exit_code, 0);
}

// Takes all there is, in a process that ends with it.
void leave_taken(const SharedObject& shared, const SemaphoreOptions& options) {
  testing::Child child([&]() -> int {
    Semaphore semaphore(shared.join(), options);
    std::vector<Permit> permits;
    while (std::optional<Permit> permit = semaphore.try_acquire()) {
      permits.push_back(std::move(*permit));
    }
    _exit(static_cast<int>(permits.size()));  // No destructor: as if it were killed.
  });
  ASSERT_EQ(child.join().exit_code, static_cast<int>(options.units));
}

TEST(SemaphoreProcessTest, WhatTheDeadHeldComesBackAndTheNextHolderIsTold) {
  constexpr SemaphoreOptions kFive{.units = 5};
  const SharedObject shared(Semaphore::object("pool", kFive));
  leave_taken(shared, kFive);
  Semaphore semaphore(shared.join(), kFive);
  std::vector<Permit> permits;
  for (int i = 0; i < 5; ++i) {
    permits.push_back(semaphore.acquire().value());
    EXPECT_TRUE(permits.back().owner_died());
  }
  permits.clear();
  EXPECT_FALSE(semaphore.acquire().value().owner_died());
}

TEST(SemaphoreProcessTest, AStoppedHolderKeepsWhatItHas) {
  constexpr SemaphoreOptions kOne{.units = 1};
  const SharedObject shared(Semaphore::object("pool", kOne));
  testing::Signal taken;
  testing::Signal go_on;
  testing::Child holder([&] {
    Semaphore semaphore(shared.join(), kOne);
    const Permit permit = semaphore.acquire().value();
    taken.raise();
    go_on.wait();
    return 0;
  });
  taken.wait();
  holder.kill(SIGSTOP);
  Semaphore semaphore(shared.join(), kOne);
  EXPECT_FALSE(semaphore.try_acquire().has_value());
  EXPECT_FALSE(semaphore.acquire({.timeout = milliseconds(2)}).has_value());
  holder.kill(SIGCONT);
  go_on.raise();
  EXPECT_FALSE(semaphore.acquire().value().owner_died());
  EXPECT_EQ(holder.join().exit_code, 0);
}

}  // namespace
}  // namespace quire::ipc
