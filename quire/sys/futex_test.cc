// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/futex.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cerrno>
#include <thread>
#include <vector>

#include "quire/sys/call.h"
#include "quire/sys/process.h"
#include "quire/testing/process.h"

namespace quire::sys {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

TEST(FutexTest, AnotherValueIsNotWaitedFor) {
  const std::atomic<std::uint32_t> word{1};
  EXPECT_TRUE(futex_wait(word, 0));
  EXPECT_TRUE(futex_wait(word, 0, nanoseconds(0)));
}

TEST(FutexTest, TheTimeRunsOut) {
  const std::atomic<std::uint32_t> word{1};
  EXPECT_FALSE(futex_wait(word, 1, milliseconds(1)));
  EXPECT_FALSE(futex_wait(word, 1, nanoseconds(0)));
  EXPECT_FALSE(futex_wait(word, 1, nanoseconds(-5)));
}

TEST(FutexTest, AnInterruptionIsAWakeUpForNoReasonAndErrnoIsKept) {
  const std::atomic<std::uint32_t> word{1};
  errno = ELOOP;
  {
    const FaultPlan plan({.call = Call::kFutex, .error = EINTR});
    EXPECT_TRUE(futex_wait(word, 1));
  }
  EXPECT_TRUE(futex_wait(word, 2));
  EXPECT_FALSE(futex_wait(word, 1, nanoseconds(1)));
  futex_wake_one(word);
  EXPECT_EQ(errno, ELOOP);
}

// Goal:   a waiter never misses the change that it waits for.
// Method: each round one thread changes the word and wakes; without the wake-up it would not end.
TEST(FutexTest, EveryChangeReachesEverySleeper) {
  constexpr std::uint32_t kRounds = 1000;
  std::atomic<std::uint32_t> word{0};
  std::vector<std::thread> waiters;
  for (int i = 0; i < 3; ++i) {
    waiters.emplace_back([&] {
      for (std::uint32_t seen = 0; seen < kRounds; seen = word.load()) {
        futex_wait(word, seen);
      }
    });
  }
  for (std::uint32_t round = 1; round <= kRounds; ++round) {
    word = round;
    futex_wake_all(word);
  }
  for (std::thread& waiter : waiters) {
    waiter.join();
  }
}

TEST(FutexTest, ASharedWordIsWaitedForInHalfOfALargerOne) {
  std::atomic<std::uint64_t> word{7};
  EXPECT_TRUE(shared_futex_wait(&word, 8));
  EXPECT_FALSE(shared_futex_wait(&word, 7, milliseconds(1)));
  EXPECT_FALSE(shared_futex_wait(&word, 7, nanoseconds(-1)));
}

// Goal:   a wake-up crosses the border of a process.
// Method: the child sleeps until the parent has changed the word; it would not end without.
TEST(FutexTest, ASharedWordWakesAnotherProcess) {
  void* memory = ::mmap(nullptr, sizeof(std::uint64_t), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto* words = static_cast<std::atomic<std::uint32_t>*>(memory);
  testing::Child child([words] {
    words[1] = 1;
    while (words[0] == 0) {
      shared_futex_wait(&words[0], 0);
    }
    return 0;
  });
  while (words[1] == 0) {
    std::this_thread::yield();
  }
  words[0] = 1;
  shared_futex_wake_all(&words[0]);
  EXPECT_EQ(child.join().exit_code, 0);
  ::munmap(memory, sizeof(std::uint64_t));
}

TEST(ThreadIdTest, EveryThreadAndEveryChildHasItsOwn) {
  const int own = thread_id();
  EXPECT_EQ(own, process_id());  // Of the first thread.
  EXPECT_EQ(thread_id(), own);
  std::thread([own] {
    EXPECT_NE(thread_id(), own);
    EXPECT_TRUE(thread_exists(process_id(), thread_id()));
  }).join();
  testing::Child child([own] { return thread_id() == process_id() && thread_id() != own ? 0 : 1; });
  EXPECT_EQ(child.join().exit_code, 0);
}

TEST(ThreadIdTest, AThreadThatHasEndedDoesNotExist) {
  EXPECT_TRUE(thread_exists(process_id(), thread_id()));
  std::atomic<int> ended{0};
  std::thread([&] { ended = thread_id(); }).join();
  while (thread_exists(process_id(), ended)) {
    std::this_thread::yield();  // Joined, but not quite gone.
  }
  EXPECT_FALSE(thread_exists(process_id(), 1));  // Somebody else's.
}

TEST(FutexLockTest, OneThreadAtATimeIsInside) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 20'000;
  FutexLock lock;
  std::int64_t count = 0;  // Not atomic: the lock is what makes it right.
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < kRounds; ++round) {
        const FutexLockGuard guard(lock);
        ++count;
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(count, kThreads * kRounds);
}

TEST(FutexLockTest, ALockThatNobodyWantsMakesNoSystemCall) {
  FutexLock lock;
  const FaultPlan plan({});
  for (int i = 0; i < 100; ++i) {
    const FutexLockGuard guard(lock);
  }
  EXPECT_EQ(plan.count(Call::kFutex), 0U);
}

// Goal:   who sleeps is woken by unlock().
// Method: the lock is held until the kernel was asked to let somebody sleep.
TEST(FutexLockTest, ASleeperIsWokenByTheUnlock) {
  FutexLock lock;
  lock.lock();
  const FaultPlan plan({});
  std::thread sleeper([&] { const FutexLockGuard guard(lock); });
  while (plan.count(Call::kFutex) == 0) {
    std::this_thread::yield();
  }
  lock.unlock();
  sleeper.join();
  EXPECT_GE(plan.count(Call::kFutex), 2U);  // The wait and the wake-up.
}

}  // namespace
}  // namespace quire::sys
