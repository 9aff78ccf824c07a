// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/mutex.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <system_error>
#include <thread>
#include <vector>

#include "quire/base/prng.h"
#include "quire/ipc/internal/shared_object_test.h"
#include "quire/testing/seed.h"

namespace quire::ipc {
namespace {

using internal::calls_of;
using internal::SharedObject;
using std::chrono::milliseconds;

constexpr WaitOptions kNoWait{.timeout = milliseconds(0)};
constexpr WaitOptions kShortWait{.policy = WaitPolicy::kSleep, .timeout = milliseconds(1)};

SharedObject make_mutex() {
  return SharedObject(Mutex::object("lock"));
}

template <typename T>
bool failed_with(const T& result, std::errc code) {
  return !result.has_value() && result.error().code() == code;
}

TEST(MutexTest, OneAtATimeIsInside) {
  const SharedObject shared = make_mutex();
  Mutex one(shared.join());
  Mutex other(shared.join());
  EXPECT_EQ(one.lock().value(), Ownership::kClean);
  EXPECT_FALSE(other.owner().is_nobody());
  EXPECT_FALSE(other.try_lock().has_value());
  EXPECT_TRUE(failed_with(other.lock(kNoWait), std::errc::timed_out));
  EXPECT_TRUE(failed_with(other.lock(kShortWait), std::errc::timed_out));
  EXPECT_TRUE(one.unlock().has_value());
  EXPECT_TRUE(other.owner().is_nobody());
  EXPECT_EQ(other.try_lock(), Ownership::kClean);
  EXPECT_TRUE(other.unlock().has_value());
  EXPECT_EQ(one.deaths(), 0U);
}

TEST(MutexTest, AHoldUnlocksAtItsEnd) {
  const SharedObject shared = make_mutex();
  Mutex mutex(shared.join());
  {
    const MutexHold hold = mutex.hold().value();
    EXPECT_FALSE(hold.owner_died());
    EXPECT_FALSE(mutex.owner().is_nobody());
  }
  EXPECT_TRUE(mutex.owner().is_nobody());
}

TEST(MutexTest, AnUncontendedLockMakesNoSystemCall) {
  const SharedObject shared = make_mutex();
  Mutex mutex(shared.join());
  static_cast<void>(mutex.lock());  // Asks for the thread's number, once.
  mutex.unlock().value();
  const std::uint64_t futexes = calls_of(sys::Call::kFutex);
  const std::uint64_t others = calls_of(sys::Call::kProcess);
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(mutex.lock().has_value());
    ASSERT_TRUE(mutex.unlock().has_value());
  }
  EXPECT_EQ(calls_of(sys::Call::kFutex), futexes);
  EXPECT_EQ(calls_of(sys::Call::kProcess), others);
}

TEST(MutexTest, WhoHasItAlreadyIsToldAndNotLeftWaiting) {
  const SharedObject shared = make_mutex();
  Mutex mutex(shared.join());
  mutex.lock().value();
  EXPECT_TRUE(failed_with(mutex.lock(), std::errc::resource_deadlock_would_occur));
  EXPECT_FALSE(mutex.try_lock().has_value());
  mutex.unlock().value();
}

TEST(MutexTest, OnlyTheOwnerUnlocksAndMarks) {
  const SharedObject shared = make_mutex();
  Mutex mutex(shared.join());
  EXPECT_TRUE(failed_with(mutex.unlock(), std::errc::operation_not_permitted));
  EXPECT_TRUE(failed_with(mutex.mark_consistent(), std::errc::operation_not_permitted));
  mutex.lock().value();
  std::thread([&] {
    EXPECT_TRUE(failed_with(mutex.unlock(), std::errc::operation_not_permitted));
    EXPECT_TRUE(failed_with(mutex.mark_consistent(), std::errc::operation_not_permitted));
  }).join();
  Mutex other(shared.join());
  EXPECT_TRUE(failed_with(other.unlock(), std::errc::operation_not_permitted));
  EXPECT_TRUE(failed_with(other.reclaim(), std::errc::operation_not_permitted));
  EXPECT_TRUE(mutex.unlock().has_value());
}

TEST(MutexTest, WhoClosesTheSegmentInsideCountsAsDead) {
  const SharedObject shared = make_mutex();
  Mutex other(shared.join());
  {
    Mutex mutex(shared.join());
    mutex.lock().value();
  }
  EXPECT_EQ(other.lock().value(), Ownership::kOwnerDied);
  other.mark_consistent().value();
  other.unlock().value();
}

// Goal:   the death of a thread is found although its process goes on.
// Method: the owner's thread ends inside; a lock that did not ask for threads would never end.
TEST(MutexTest, AThreadThatEndsInsideIsAnOwnerThatDied) {
  const SharedObject shared = make_mutex();
  Mutex mutex(shared.join());
  for (const WaitOptions& options :
       {WaitOptions{}, kShortWait, kNoWait, WaitOptions{.policy = WaitPolicy::kSpin}}) {
    std::atomic<int> thread{0};
    std::thread([&] {
      mutex.lock().value();
      thread = sys::thread_id();
    }).join();
    while (sys::thread_exists(sys::process_id(), thread)) {
      std::this_thread::yield();  // Joined, but not quite gone.
    }
    EXPECT_EQ(mutex.lock(options).value(), Ownership::kOwnerDied);
    mutex.mark_consistent().value();
    mutex.unlock().value();
  }
}

// Goal:   a sleeper is woken by the unlock.
// Method: the lock is held until the kernel was asked to let somebody sleep. That the sleeper was
//         not merely saved by the end of its slice is not a matter of time: the unlock has to ask
//         for a wake-up.
TEST(MutexTest, AnUnlockWakesASleeperAndNobodyElse) {
  const SharedObject shared = make_mutex();
  Mutex mutex(shared.join());
  Mutex other(shared.join());
  mutex.lock().value();
  const std::uint64_t asleep = calls_of(sys::Call::kFutex);
  std::thread sleeper([&] {
    other.lock({.policy = WaitPolicy::kSleep}).value();
    other.unlock().value();
  });
  while (calls_of(sys::Call::kFutex) == asleep) {
    std::this_thread::yield();
  }
  const std::uint64_t before = calls_of(sys::Call::kFutex);
  mutex.unlock().value();
  EXPECT_GE(calls_of(sys::Call::kFutex), before + 1);
  sleeper.join();
  const std::uint64_t after = calls_of(sys::Call::kFutex);
  mutex.lock().value();
  mutex.unlock().value();
  EXPECT_EQ(calls_of(sys::Call::kFutex), after);
}

// Goal:   the lock is what makes a plain counter right, between members and threads of one member.
// Method: several threads, two of them with one handle, count without atomics (and under
//         ThreadSanitizer, which knows nothing of the lock but its memory orders).
TEST(MutexTest, ThreadsCountWithoutLoss) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 20'000;
  const SharedObject shared = make_mutex();
  Mutex common(shared.join());
  std::uint64_t count = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      Mutex own(shared.join());
      Mutex& mutex = i < 2 ? common : own;
      const WaitOptions options{.policy =
                                    i % 2 == 0 ? WaitPolicy::kSleep : WaitPolicy::kSpinThenSleep};
      for (int round = 0; round < kRounds; ++round) {
        ASSERT_EQ(mutex.lock(options).value(), Ownership::kClean);
        ++count;
        mutex.unlock().value();
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(count, std::uint64_t{kThreads} * kRounds);
}

// Goal:   a peer that writes nonsense into the word is met with an error or a lock, never with a
//         crash or a wait beyond the time that was asked for.
TEST(MutexTest, NoWordMakesItCrashOrHang) {
  const SharedObject shared = make_mutex();
  Mutex mutex(shared.join());
  auto& word = *reinterpret_cast<std::atomic<std::uint64_t>*>(shared.bytes().data());
  Prng prng(testing::test_seed());
  for (int round = 0; round < 20'000; ++round) {
    std::uint64_t nonsense = prng();
    if (round % 3 == 0) {  // Such as a living owner's, with something wrong.
      nonsense = (std::uint64_t{mutex.owner().word()} | nonsense << 32U) ^ (nonsense >> 62U << 30U);
    }
    word = nonsense;
    if (mutex.lock(kNoWait).has_value()) {
      word = round % 2 == 0 ? word.load() : nonsense;
      static_cast<void>(mutex.mark_consistent());
      static_cast<void>(mutex.unlock());
    }
    static_cast<void>(mutex.try_lock());
    static_cast<void>(mutex.unlock());
    static_cast<void>(mutex.reclaim());
  }
}

}  // namespace
}  // namespace quire::ipc
