// SPDX-License-Identifier: Apache-2.0
//
// Updates, which no commit cuts in two, and threads that commit at the same time.
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <thread>
#include <vector>

#include "quire/base/prng.h"
#include "quire/testing/asleep.h"
#include "quire/testing/commit_fixture.h"
#include "quire/testing/seed.h"

namespace quire {
namespace {

using testing::CommitTest;
using testing::kGranule;
using testing::SlowStore;
using testing::ThreadNumber;

constexpr std::uint64_t kAccounts = 64;  // One in each granule.
constexpr std::uint64_t kCents = 1000;   // In each, at first.

std::uint64_t& account(std::byte* bytes, std::uint64_t number) {
  return *reinterpret_cast<std::uint64_t*>(bytes + number * kGranule);
}

std::uint64_t sum_of(std::span<const std::byte> bytes) {
  std::uint64_t sum = 0;
  for (std::uint64_t number = 0; number < kAccounts; ++number) {
    std::uint64_t cents = 0;
    std::memcpy(&cents, &bytes[number * kGranule], sizeof cents);
    sum += cents;
  }
  return sum;
}

class CommitUpdateTest : public CommitTest {
 protected:
  void make_accounts(std::uint64_t granules = kAccounts) {
    make(granules * kGranule);
    pager_.emplace(PagerOptions{.memory_bytes = 16_MiB,
                                .fault_path = GetParam(),
                                .dirty_start_percent = 80,
                                .dirty_max_percent = 90});
    area_ = map(*pager_);
    for (std::uint64_t number = 0; number < kAccounts; ++number) {
      account(area_.bytes().data(), number) = kCents;
    }
    ASSERT_TRUE(area_.commit().has_value());
  }

  // Of two accounts of this thread's: no lock is needed.
  void transfer(Prng& random, std::uint64_t thread, std::uint64_t threads) {
    const std::uint64_t each = kAccounts / threads;
    const std::uint64_t from = thread * each + random.below(each);
    const std::uint64_t to = thread * each + random.below(each);
    std::byte* const bytes = area_.bytes().data();
    const std::uint64_t cents = random.below(account(bytes, from) + 1);
    const Update update = area_.begin_update();
    account(bytes, from) -= cents;
    account(bytes, to) += cents;
  }

  std::optional<Pager> pager_;
  WritablePagedArea area_;
};

INSTANTIATE_TEST_SUITE_P(Paths, CommitUpdateTest, testing::kFaultPaths, testing::path_name);

// Method: threads transfer and commit, each for itself, by themselves or by the pager's thread;
//         what is committed is looked at all the time.
TEST_P(CommitUpdateTest, CommitsHoldWholeUpdatesOnly) {
  constexpr std::uint64_t kThreads = 3;
  make_accounts();
  std::atomic<std::uint64_t> running{kThreads};
  std::vector<std::thread> threads;
  for (std::uint64_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      Prng random(testing::test_seed() + thread);
      for (int round = 0; round < 300; ++round) {
        transfer(random, thread, kThreads);
        const bool waits = random.below(4) > 0;
        EXPECT_TRUE(waits ? area_.commit().has_value() : area_.commit_async().wait().has_value());
        if (thread == 0 && round % 50 == 49) {
          EXPECT_TRUE(journal_->checkpoint().has_value());
        }
      }
      --running;
    });
  }
  std::uint64_t torn = 0;
  while (running > 0) {
    torn += sum_of(committed()) == kAccounts * kCents ? 0 : 1;
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(torn, 0U);
  EXPECT_LE(area_.stats().commits, 1 + kThreads * 300);
  area_.check_invariants();
}

TEST_P(CommitUpdateTest, ALargeCommitHoldsWholeUpdatesOnly) {
  constexpr std::uint64_t kGranules = 1024;
  journal_options_.log_bytes = 64_MiB;
  make_accounts(kGranules);
  std::atomic<bool> is_over{false};
  std::thread other([&] {
    Prng random(testing::test_seed());
    while (!is_over) {
      transfer(random, 0, 1);
    }
  });
  for (int round = 1; round <= 20; ++round) {
    for (std::uint64_t granule = kAccounts; granule < kGranules; ++granule) {
      store(area_, granule * kGranule, round);
    }
    EXPECT_TRUE(area_.commit().has_value());
    EXPECT_EQ(sum_of(committed()), kAccounts * kCents);
    EXPECT_TRUE(journal_->checkpoint().has_value());
  }
  is_over = true;
  other.join();
}

TEST_P(CommitUpdateTest, InsideOfOneWhatWouldWaitForItIsRefused) {
  make_accounts();
  const std::uint64_t commits = area_.stats().commits;
  {
    const Update update = area_.begin_update();
    account(area_.bytes().data(), 0) += 1;
    const std::array<std::function<Result<void>()>, 6> refused{
        [&] { return area_.commit(); },
        [&] { return pager_->commit({&area_}); },
        [&] { return area_.flush(); },
        [&] { return area_.rollback(); },
        [&] { return area_.resize(2 * kAccounts * kGranule); },
        [&] { return area_.close(); }};
    for (const auto& call : refused) {
      const Result<void> outcome = call();
      ASSERT_FALSE(outcome);
      EXPECT_EQ(outcome.error().code(), Errc::kFailed);
      EXPECT_NE(outcome.error().message().find("Update"), std::string::npos);
    }
    EXPECT_TRUE(area_.is_open());
    EXPECT_EQ(area_.stats().commits, commits);
  }
  EXPECT_EQ(account(area_.bytes().data(), 0), kCents + 1);
  EXPECT_TRUE(area_.commit());
  EXPECT_EQ(sum_of(committed()), kAccounts * kCents + 1);
}

TEST_P(CommitUpdateTest, AnAsynchronousCommitBeginsWhenItEnds) {
  make_accounts();
  Ticket ticket = [&] {
    const Update update = area_.begin_update();
    account(area_.bytes().data(), 0) -= 1;
    Ticket asked = area_.commit_async();
    for (int i = 0; i < 100; ++i) {
      EXPECT_FALSE(asked.is_done());
      std::this_thread::yield();
    }
    account(area_.bytes().data(), 1) += 1;
    return asked;
  }();
  ASSERT_TRUE(ticket.wait().has_value());
  EXPECT_EQ(sum_of(committed()), kAccounts * kCents);
  EXPECT_EQ(committed_at(kGranule), static_cast<int>((kCents + 1) % 256));
}

// Goal:   who waits for an update with a commit keeps nothing from it, neither memory nor the
//         journal.
// Method: an update stores to four times the budget while a commit waits for it.
TEST_P(CommitUpdateTest, AnUpdateThatACommitWaitsForMaySpill) {
  constexpr std::uint64_t kSize = 8_MiB;
  journal_options_.log_bytes = 64_MiB;
  make(kSize);
  Pager pager({.memory_bytes = 2_MiB, .fault_path = GetParam()});
  WritablePagedArea area = map(pager);
  ThreadNumber waits;
  std::thread committer;
  {
    const Update update = area.begin_update();
    store(area, 0, 1);
    committer = std::thread([&] {
      waits.tell();
      EXPECT_TRUE(area.commit().has_value());
    });
    waits.await_asleep();
    store_all(area, 2);
    EXPECT_GT(area.stats().spilled_bytes, 0U);
    EXPECT_EQ(area.stats().commits, 0U);
  }
  committer.join();
  const std::vector<std::byte> found = committed();
  for (std::uint64_t at = 0; at < kSize; at += kGranule) {
    ASSERT_EQ(found[at], std::byte{2});
  }
}

std::atomic<std::byte*> g_granule{nullptr};  // Of the area, for the handler.
std::atomic<bool> g_is_handled{false};

void store_in_handler(int) {
  testing::store_byte(g_granule.load(), std::byte{7});
  g_is_handled = true;
}

// Goal:   who waits for an update that may take long can be interrupted, and his handler can store.
// Method: the update ends when the handler has run.
TEST_P(CommitUpdateTest, WhoWaitsForAnUpdateHandlesSignals) {
#if defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "signals: ThreadSanitizer delivers them late, outside of what they interrupt";
#endif
  make_accounts();
  g_granule = area_.bytes().data() + 8;
  g_is_handled = false;
  struct sigaction action{};
  action.sa_handler = store_in_handler;
  struct sigaction before{};
  ASSERT_EQ(sigaction(SIGUSR1, &action, &before), 0);
  ThreadNumber waits;
  const pthread_t committer = pthread_self();
  std::atomic<bool> has_begun{false};
  std::thread updater([&] {
    const Update update = area_.begin_update();
    has_begun = true;
    waits.await_asleep();
    EXPECT_EQ(pthread_kill(committer, SIGUSR1), 0);
    while (!g_is_handled) {
      std::this_thread::yield();
    }
  });
  while (!has_begun) {
    std::this_thread::yield();
  }
  waits.tell();
  EXPECT_TRUE(area_.commit().has_value());
  updater.join();
  EXPECT_EQ(sigaction(SIGUSR1, &before, nullptr), 0);
  EXPECT_EQ(committed_at(8), 7);
}

TEST_P(CommitUpdateTest, UpdatesGoOnWhileACommitIsWritten) {
  make_accounts();
  account(area_.bytes().data(), 0) -= 1;
  account(area_.bytes().data(), 1) += 1;
  SlowStore::Gate gate(*log_, Kind::kWrite);
  std::thread committer([&] { EXPECT_TRUE(area_.commit().has_value()); });
  gate.await_arrivals(1);
  {
    const Update update = area_.begin_update();
    account(area_.bytes().data(), 2) -= 1;
    account(area_.bytes().data(), 3) += 1;
  }
  gate.open();
  committer.join();
  EXPECT_EQ(committed_at(2 * kGranule), static_cast<int>(kCents % 256));
  ASSERT_TRUE(area_.commit().has_value());
  EXPECT_EQ(committed_at(2 * kGranule), static_cast<int>((kCents - 1) % 256));
}

// Goal:   threads that ask while a commit is under way share the next one, which the first of them
//         drives; none is left behind.
TEST_P(CommitUpdateTest, WhoAsksDuringACommitSharesTheNextOne) {
  constexpr std::size_t kThreads = 5;
  make_accounts();
  const std::uint64_t commits = area_.stats().commits;
  const std::uint64_t writes = log_->count(Kind::kWrite);
  account(area_.bytes().data(), 0) = 7;
  SlowStore::Gate gate(*log_, Kind::kWrite);
  std::thread first([&] { EXPECT_TRUE(area_.commit().has_value()); });
  gate.await_arrivals(1);
  std::array<ThreadNumber, kThreads> numbers;
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      account(area_.bytes().data(), i + 1) = 7;
      numbers[i].tell();
      EXPECT_TRUE(area_.commit().has_value());
    });
    numbers[i].await_asleep();
  }
  gate.open();
  first.join();
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(area_.stats().commits, commits + 2);
  EXPECT_EQ(log_->count(Kind::kWrite), writes + 2);
  for (std::uint64_t number = 0; number <= kThreads; ++number) {
    EXPECT_EQ(committed_at(number * kGranule), 7);
  }
}

// Goal:   when the one who drives for all finds that it may not, each hears of it, and the next
//         commit is led by somebody.
TEST_P(CommitUpdateTest, WhoSharesARefusedCommitIsToldSo) {
  constexpr std::size_t kThreads = 3;
  make_accounts();
  account(area_.bytes().data(), 0) = 7;
  std::atomic<std::size_t> refused{0};
  std::vector<std::thread> threads;
  {
    const WritablePin pin = area_.pin_for_writing({0, kGranule}).value();
    for (std::size_t i = 0; i < kThreads; ++i) {
      threads.emplace_back([&] { refused += area_.commit().has_value() ? 0 : 1; });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
  }
  EXPECT_EQ(refused, kThreads);
  EXPECT_TRUE(area_.commit().has_value());
  EXPECT_EQ(committed_at(0), 7);
}

// Goal:   who waits until nothing is under way is told when a commit that its thread drives ends.
TEST_P(CommitUpdateTest, InvariantsAreCheckedAfterACommitThatIsUnderWay) {
  make_accounts();
  account(area_.bytes().data(), 0) = 7;
  SlowStore::Gate gate(*log_, Kind::kWrite);
  std::thread committer([&] { EXPECT_TRUE(area_.commit().has_value()); });
  gate.await_arrivals(1);
  ThreadNumber waits;
  std::thread inspector([&] {
    waits.tell();
    area_.check_invariants();
  });
  waits.await_asleep();
  gate.open();
  committer.join();
  inspector.join();
}

// Goal:   commits of areas of one pager with journals of their own, driven and not, end.
TEST_P(CommitUpdateTest, JournalsOfOnePagerTakeTurns) {
  make_accounts();
  const std::shared_ptr<Journal> first_journal = journal_;
  make(kGranule);
  WritablePagedArea other = map(*pager_);
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      WritablePagedArea& area = thread % 2 == 0 ? area_ : other;
      for (int round = 0; round < 100; ++round) {
        {
          const Update update = area.begin_update();
          store(area, 8 + static_cast<std::uint64_t>(thread), round);
        }
        const bool waits = (round + thread) % 3 > 0;
        EXPECT_TRUE(waits ? area.commit().has_value() : area.commit_async().wait().has_value());
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(load(area_, 8), 99);
  EXPECT_TRUE(other.close().has_value());
}

TEST_P(CommitUpdateTest, OfWhatIsNotCommittedTheyHoldUpNothing) {
  make_accounts();
  WritablePagedArea plain =
      pager_
          ->map(std::make_shared<testing::MemoryStore>(kGranule),
                {.access = Access::kReadWrite, .engine = PagingEngine::kPaged})
          .value();
  const Update update = plain.begin_update();
  EXPECT_TRUE(UpdateGate::require_outside("commit", "area"));
  EXPECT_TRUE(area_.commit().has_value());
}

}  // namespace
}  // namespace quire
