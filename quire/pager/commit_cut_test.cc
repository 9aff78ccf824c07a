// SPDX-License-Identifier: Apache-2.0
//
// Stores while a commit is under way: what is in it, what is not, and who waits.
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "quire/testing/commit_fixture.h"

namespace quire {
namespace {

using testing::CommitTest;
using testing::kGranule;
using testing::SlowStore;

// Method: the write of the cut's first window is held; stores to what it has, and to what has no
//         image yet, must come through.
TEST_P(CommitTest, AStoreDuringACommitIsNotInItAndDoesNotWait) {
  make(1_MiB);
  Pager pager({.memory_bytes = 4_MiB,
               .fault_path = GetParam(),
               .read_ahead_bytes_max = 64_KiB,
               .dirty_start_percent = 80,
               .dirty_max_percent = 90});
  WritablePagedArea area = map(pager);
  store_all(area, 1);
  ASSERT_EQ(area.stats().spilled_bytes, 0U);
  SlowStore::Gate gate(*log_, Kind::kWrite);
  const Ticket ticket = area.commit_async();
  gate.await_arrivals(1);
  store(area, 0, 2);
  EXPECT_EQ(area.stats().commit_conflicts, 0U);
  store(area, 1_MiB - kGranule, 2);
  store(area, 1_MiB - 1, 2);
  EXPECT_EQ(area.stats().commit_conflicts, 1U);
  EXPECT_FALSE(ticket.is_done());
  gate.open();
  ASSERT_TRUE(ticket.wait().has_value());
  for (std::uint64_t at = 0; at < 1_MiB; at += kGranule) {
    ASSERT_EQ(committed_at(at), 1);
  }
  EXPECT_EQ(committed_at(1_MiB - 1), 0);
  ASSERT_TRUE(area.commit().has_value());
  EXPECT_EQ(committed_at(0), 2);
  EXPECT_EQ(committed_at(1_MiB - 1), 2);
  EXPECT_EQ(area.stats().commits, 2U);
}

// Goal:   faults that are served between two slices of a window let nothing into the cut.
// Method: a thread counts in pairs of bytes, a before b, which lie far apart in memory of many
//         slices; a cut that has b's store without a's shows as a pair apart.
TEST_P(CommitTest, StoresBetweenTheSlicesOfAWindowAreInTheNextCommit) {
  journal_options_.log_bytes = 128_MiB;
  constexpr std::uint64_t kSize = 8_MiB;
  make(kSize);
  Pager pager({.memory_bytes = 64_MiB,
               .fault_path = GetParam(),
               .dirty_start_percent = 80,
               .dirty_max_percent = 90});
  WritablePagedArea area = map(pager);
  std::atomic<bool> is_over{false};
  std::thread counter([&] {
    for (std::uint64_t i = 1; !is_over; ++i) {
      const std::uint64_t pair = i * 37 % (kSize / 2 / kGranule) * kGranule;
      const int value = (load(area, pair + 8) + 1) % 256;
      store(area, kSize - kGranule - pair, value);  // First a, at the end of the cut ...
      store(area, pair + 8, value);                 // ... then b.
    }
  });
  // Most rounds have conflicts; none would be no test.
  for (int round = 1; round <= 6 || (round < 250 && area.stats().commit_conflicts == 0); ++round) {
    for (std::uint64_t at = 0; at < kSize; at += kGranule) {
      store(area, at + 100, round);
    }
    EXPECT_TRUE(area.commit().has_value());
    const std::vector<std::byte> found = committed();
    for (std::uint64_t pair = 0; pair < kSize / 2; pair += kGranule) {
      const int a = std::to_integer<int>(found[kSize - kGranule - pair]);
      const int b = std::to_integer<int>(found[pair + 8]);
      ASSERT_TRUE(a == b || a == (b + 1) % 256) << a << " and " << b << " are apart";
      ASSERT_EQ(std::to_integer<int>(found[pair + 100]), round);
    }
    ASSERT_TRUE(journal_->checkpoint().has_value());
  }
  is_over = true;
  counter.join();
  EXPECT_GT(area.stats().commit_conflicts, 0U);
  area.check_invariants();
}

// Goal:   a cut that is taken in the thread that asks for it is consistent, too: stores that other
//         threads let in themselves are before it or after it.
// Method: as above, in memory that fits one window; two threads count, another commits.
TEST_P(CommitTest, SmallCommitsBesideStoresAreConsistentCuts) {
  journal_options_.log_bytes = 64_MiB;
  constexpr std::uint64_t kPairs = 64;
  make(2 * kPairs * kGranule);
  Pager pager({.memory_bytes = 16_MiB, .fault_path = GetParam()});
  WritablePagedArea area = map(pager);
  std::atomic<bool> is_over{false};
  const auto count = [&](std::uint64_t first) {
    for (std::uint64_t i = 1; !is_over; ++i) {
      const std::uint64_t pair = (i * 13 % (kPairs / 2) * 2 + first) * kGranule;
      const int value = (load(area, pair) + 1) % 256;
      store(area, kPairs * kGranule + pair, value);  // First a ...
      store(area, pair, value);                      // ... then b.
    }
  };
  std::thread even(count, 0);
  std::thread odd(count, 1);
  for (int round = 0; round < 400; ++round) {
    ASSERT_TRUE(area.commit().has_value());
    const std::vector<std::byte> found = committed();
    for (std::uint64_t pair = 0; pair < kPairs * kGranule; pair += kGranule) {
      const int a = std::to_integer<int>(found[kPairs * kGranule + pair]);
      const int b = std::to_integer<int>(found[pair]);
      ASSERT_TRUE(a == b || a == (b + 1) % 256) << a << " and " << b << " are apart";
    }
    if (round % 20 == 0) {
      ASSERT_TRUE(journal_->checkpoint().has_value());
    }
  }
  is_over = true;
  even.join();
  odd.join();
  EXPECT_EQ(area.stats().commits, 400U);
  area.check_invariants();
}

// Goal:   what cannot be read is a signal to who loads it, whoever reads it for him.
TEST_P(CommitTest, AReadThatFailsIsASignalAndTheNextOneIsTried) {
  make(1_MiB);
  Pager pager({.memory_bytes = 1_MiB, .fault_path = GetParam()});
  WritablePagedArea area = map(pager);
  files_[0]->fail({.operation = Kind::kRead, .times = 1});
  const std::byte* const byte = std::as_const(area).bytes().data() + 5 * kGranule;
  EXPECT_TRUE(testing::bus_fault_of(byte).has_value());
  EXPECT_EQ(area.stats().failed_fills, 1U);
  EXPECT_FALSE(area.check().has_value());
  EXPECT_FALSE(testing::bus_fault_of(byte).has_value());
  store(area, 5 * kGranule, 1);
  ASSERT_TRUE(area.commit().has_value());
  EXPECT_EQ(committed_at(5 * kGranule), 1);
}

// Goal:   stores that find no buffer for a copy wait, and are not lost.
TEST_P(CommitTest, MoreConflictsThanBuffersWaitForTheCommit) {
  make(2_MiB);
  Pager pager({.memory_bytes = 8_MiB,
               .fault_path = GetParam(),
               .read_ahead_bytes_max = 64_KiB,
               .dirty_start_percent = 80,
               .dirty_max_percent = 90});
  WritablePagedArea area = map(pager);
  for (int round = 1; round <= 5; ++round) {
    store_all(area, round);
    SlowStore::Gate gate(*log_, Kind::kWrite);
    const Ticket ticket = area.commit_async();
    gate.await_arrivals(1);
    std::thread writer([&] {
      for (std::uint64_t at = 2_MiB; at > 0; at -= kGranule) {
        store(area, at - kGranule, round + 1);
      }
    });
    gate.open();
    ASSERT_TRUE(ticket.wait().has_value());
    writer.join();
    for (std::uint64_t at = 0; at < 2_MiB; at += kGranule) {
      ASSERT_EQ(committed_at(at), round);
      ASSERT_EQ(load(area, at), round + 1);
    }
    ASSERT_TRUE(journal_->checkpoint().has_value());
  }
}

std::atomic<std::byte*> g_signal_bytes{nullptr};  // Of the area that the handler stores to.
std::atomic<std::uint64_t> g_signals{0};
constexpr std::uint64_t kSignalGranules = 16;

void store_in_handler(int) {
  const std::uint64_t run = ++g_signals;
  std::byte* const granule = g_signal_bytes.load() + run % kSignalGranules * kGranule;
  testing::store_byte(granule + 8, testing::load_byte(granule));
}

// Goal:   a signal handler that stores to an area does not wait for the commit that it interrupts,
//         nor that one for it.
// Method: signals without end to a thread that stores and commits by itself; what the handler
//         stores to is in memory.
TEST_P(CommitTest, AHandlerThatStoresInTheMiddleOfCommitsIsServed) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "signals: ThreadSanitizer delivers them late, outside of what they interrupt";
#endif
  constexpr int kRounds = 300;
  make(2 * kSignalGranules * kGranule);
  Pager pager({.memory_bytes = 4_MiB, .fault_path = GetParam()});
  WritablePagedArea area = map(pager);
  store_all(area, 0);
  g_signal_bytes = area.bytes().data();
  g_signals = 0;
  struct sigaction action{};
  action.sa_handler = store_in_handler;
  action.sa_flags = SA_RESTART;
  struct sigaction before{};
  ASSERT_EQ(sigaction(SIGUSR1, &action, &before), 0);
  std::atomic<bool> is_over{false};
  const pthread_t committer = pthread_self();
  std::thread signaller([&] {
    while (!is_over) {
      EXPECT_EQ(pthread_kill(committer, SIGUSR1), 0);
      std::this_thread::yield();
    }
  });
  for (int round = 1; round <= kRounds || g_signals == 0; ++round) {
    for (std::uint64_t i = 0; i < kSignalGranules; ++i) {
      store(area, i * kGranule, round);
    }
    EXPECT_TRUE(area.commit().has_value());
    EXPECT_EQ(committed_at(5 * kGranule), round % 256);
    if (round % 50 == 0) {
      EXPECT_TRUE(journal_->checkpoint().has_value());
    }
  }
  is_over = true;
  signaller.join();
  EXPECT_EQ(sigaction(SIGUSR1, &before, nullptr), 0);
  EXPECT_TRUE(area.commit().has_value());
  area.check_invariants();
}

}  // namespace
}  // namespace quire
