// SPDX-License-Identifier: Apache-2.0
//
// commit(): what it takes, what it costs, what stands in its way.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "quire/testing/commit_fixture.h"

namespace quire {
namespace {

using testing::CommitTest;
using testing::kGranule;
using testing::SlowStore;

TEST_P(CommitTest, AStoreIsInTheNextCommitAndNotBefore) {
  make(1_MiB);
  Pager pager({.memory_bytes = 1_MiB, .fault_path = GetParam()});
  WritablePagedArea area = map(pager);
  store(area, 5000, 7);
  EXPECT_EQ(committed_at(5000), 0);
  ASSERT_TRUE(area.commit().has_value());
  EXPECT_EQ(committed_at(5000), 7);
  store(area, 5000, 8);
  EXPECT_EQ(committed_at(5000), 7);
  EXPECT_EQ(files_[0]->count(Kind::kWrite), 0U) << "the file is the journal's business";
  pager.check_invariants();
  area.check_invariants();
}

TEST_P(CommitTest, OnePageIsOneWriteAndOneFlush) {
  make(1_MiB);
  Pager pager({.memory_bytes = 1_MiB, .fault_path = GetParam()});
  WritablePagedArea area = map(pager);
  store(area, 5000, 7);
  const std::uint64_t writes = log_->count(Kind::kWrite);
  const std::uint64_t syncs = log_->count(Kind::kSync);
  const std::uint64_t bytes = log_->bytes(Kind::kWrite);
  ASSERT_TRUE(area.commit().has_value());
  EXPECT_EQ(log_->count(Kind::kWrite) - writes, 1U);
  EXPECT_EQ(log_->count(Kind::kSync) - syncs, 1U);
  EXPECT_EQ(log_->bytes(Kind::kWrite) - bytes, 2 * kGranule) << "a header and the page";
  ASSERT_TRUE(area.commit().has_value());
  EXPECT_EQ(log_->count(Kind::kWrite) - writes, 1U) << "nothing to commit, nothing written";
  EXPECT_EQ(area.stats().committed_bytes, kGranule);
  EXPECT_EQ(area.stats().spilled_bytes, 0U);
}

// Goal:   who stores in a row and commits now and then takes one fault for each commit, and what is
//         handed over ahead of the stores is not committed in vain.
TEST_P(CommitTest, StoresInARowAreHandedOverAsFarAsACommitGoes) {
  make(4_MiB);
  Pager pager({.memory_bytes = 16_MiB, .fault_path = GetParam()});
  WritablePagedArea area = map(pager);
  ASSERT_TRUE(area.prefetch(kWholeFile).wait().has_value());
  constexpr std::uint64_t kEach = 16;
  for (std::uint64_t round = 0; round < 30; ++round) {
    const AreaStats before = area.stats();
    for (std::uint64_t i = 0; i < kEach; ++i) {
      store(area, (round * kEach + i) * kGranule, 1);
    }
    ASSERT_TRUE(area.commit().has_value());
    const AreaStats after = area.stats();
    if (round > 1) {
      EXPECT_EQ(after.committed_bytes - before.committed_bytes, kEach * kGranule);
      EXPECT_EQ(after.store_upgrades - before.store_upgrades, 1U);
    }
  }
  EXPECT_EQ(committed_at(30 * kEach * kGranule - kGranule), 1);
  EXPECT_EQ(committed_at(30 * kEach * kGranule), 0);
}

// Method: the first commit is held at its flush; four threads commit meanwhile.
TEST_P(CommitTest, CommitsThatComeTogetherShareOneFlush) {
  make(1_MiB);
  Pager pager({.memory_bytes = 1_MiB, .fault_path = GetParam()});
  WritablePagedArea area = map(pager);
  store(area, 0, 1);
  const std::uint64_t syncs = log_->count(Kind::kSync);
  SlowStore::Gate gate(*log_, Kind::kSync);
  const Ticket first = area.commit_async();
  gate.await_arrivals(1);
  std::vector<Ticket> others;
  for (std::uint64_t i = 1; i <= 4; ++i) {
    store(area, i * kGranule, 1);
    others.push_back(area.commit_async());
  }
  EXPECT_FALSE(first.is_done());
  gate.open();
  ASSERT_TRUE(first.wait().has_value());
  for (const Ticket& ticket : others) {
    ASSERT_TRUE(ticket.wait().has_value());
  }
  EXPECT_EQ(log_->count(Kind::kSync) - syncs, 2U);
  for (std::uint64_t i = 0; i <= 4; ++i) {
    EXPECT_EQ(committed_at(i * kGranule), 1);
  }
}

TEST_P(CommitTest, FourThreadsThatCommitAllTheTimeFindWhatTheyCommitted) {
  make(1_MiB);
  Pager pager({.memory_bytes = 1_MiB, .fault_path = GetParam()});
  WritablePagedArea area = map(pager);
  const std::uint64_t syncs = log_->count(Kind::kSync);
  constexpr int kRounds = 200;
  std::atomic<int> failures{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int round = 1; round <= kRounds; ++round) {
        store(area, static_cast<std::uint64_t>(t) * kGranule, round);
        failures += area.commit() ? 0 : 1;
        const int found = committed_at(static_cast<std::uint64_t>(t) * kGranule);
        failures += found == round % 256 ? 0 : 1;
      }
    });
  }
  std::ranges::for_each(threads, &std::thread::join);
  EXPECT_EQ(failures.load(), 0);
  EXPECT_LE(log_->count(Kind::kSync) - syncs, 4U * kRounds);
}

TEST_P(CommitTest, WhatIsNotCommittedIsDroppedByCloseAndByTheDestructor) {
  make(1_MiB);
  Pager pager({.memory_bytes = 1_MiB, .fault_path = GetParam()});
  {
    WritablePagedArea area = map(pager);
    store(area, 0, 1);
    ASSERT_TRUE(area.commit().has_value());
    store(area, 0, 2);
    ASSERT_TRUE(area.evict().has_value());  // Into the journal, uncommitted.
    store(area, kGranule, 2);
    ASSERT_TRUE(area.close().has_value());
  }
  ASSERT_TRUE(journal_->commit().has_value());  // Must find nothing of it.
  EXPECT_EQ(committed_at(0), 1);
  EXPECT_EQ(committed_at(kGranule), 0);
  {
    WritablePagedArea area = map(pager);
    EXPECT_EQ(load(area, 0), 1);
    store(area, 0, 3);
    ASSERT_TRUE(area.evict().has_value());
  }
  ASSERT_TRUE(journal_->commit().has_value());
  EXPECT_EQ(committed_at(0), 1);
}

// Goal:   bounded memory and atomicity hold together: what does not fit goes to the journal.
TEST_P(CommitTest, MoreThanTheMemoryIsOneCommit) {
  make(8_MiB);
  Pager pager({.memory_bytes = 1_MiB, .fault_path = GetParam()});
  WritablePagedArea area = map(pager);
  for (int round = 1; round <= 3; ++round) {
    store_all(area, round);
    EXPECT_GT(area.stats().spilled_bytes, 0U);
    EXPECT_EQ(committed_at(0), round - 1);
    EXPECT_EQ(committed_at(8_MiB - kGranule), round - 1);
    ASSERT_TRUE(area.commit().has_value());
    for (std::uint64_t at = 0; at < 8_MiB; at += kGranule) {
      ASSERT_EQ(committed_at(at), round);
    }
    ASSERT_TRUE(journal_->checkpoint().has_value());  // The log holds one round.
  }
  EXPECT_LE(pager.stats().taken_bytes_max, 1_MiB);
  for (std::uint64_t at = 0; at < 8_MiB; at += kGranule) {
    ASSERT_EQ(load(area, at), 3);
  }
  pager.check_invariants();
  area.check_invariants();
}

TEST_P(CommitTest, AFullJournalIsAnErrorThatRollbackLeavesBehind) {
  journal_options_.log_bytes = 2_MiB;
  make(8_MiB);
  Pager pager({.memory_bytes = 1_MiB, .fault_path = GetParam()});
  WritablePagedArea area = map(pager);
  store(area, 0, 1);
  ASSERT_TRUE(area.commit().has_value());
  // As much as the journal holds is spilled, and the rest is refused.
  for (std::uint64_t at = 0; at < 8_MiB && area.check(); at += kGranule) {
    if (!area.pin_for_writing({at, 1})) {
      break;
    }
    store(area, at, 2);
  }
  const Result<void> refused = area.commit();
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Errc::kLimit) << refused.error().message();
  EXPECT_NE(refused.error().message().find("journal full"), std::string::npos);
  EXPECT_EQ(committed_at(0), 1);
  ASSERT_TRUE(area.rollback().has_value());
  EXPECT_EQ(load(area, 0), 1);
  store(area, 0, 3);
  ASSERT_TRUE(area.commit().has_value());
  EXPECT_EQ(committed_at(0), 3);
}

// --- Rollback ------------------------------------------------------------------------------------

TEST_P(CommitTest, RollbackBringsTheLastCommitBack) {
  make(4_MiB);
  Pager pager({.memory_bytes = 1_MiB, .fault_path = GetParam()});
  WritablePagedArea area = map(pager);
  store(area, 0, 1);
  store(area, 3_MiB, 1);
  ASSERT_TRUE(area.commit().has_value());
  store(area, 0, 2);  // In memory alone.
  ASSERT_TRUE(area.rollback().has_value());
  EXPECT_EQ(load(area, 0), 1);
  store_all(area, 3);  // Spilled in part.
  ASSERT_GT(area.stats().spilled_bytes, 0U);
  ASSERT_TRUE(area.rollback().has_value());
  for (std::uint64_t at = 0; at < 4_MiB; at += kGranule) {
    ASSERT_EQ(load(area, at), at == 0 || at == 3_MiB ? 1 : 0);
  }
  ASSERT_TRUE(area.commit().has_value());
  EXPECT_EQ(committed_at(0), 1);
  pager.check_invariants();
  area.check_invariants();
}

TEST_P(CommitTest, ResizingIsPartOfTheCommit) {
  make(1_MiB);
  Pager pager({.memory_bytes = 1_MiB, .fault_path = GetParam()});
  WritablePagedArea area = map(pager);
  store(area, 1_MiB - 1, 1);
  ASSERT_TRUE(area.commit().has_value());
  ASSERT_TRUE(area.resize(10'000).has_value());
  EXPECT_EQ(committed().size(), 1_MiB);
  ASSERT_TRUE(area.rollback().has_value());
  EXPECT_EQ(area.size_bytes(), 1_MiB);
  EXPECT_EQ(load(area, 1_MiB - 1), 1);
  ASSERT_TRUE(area.resize(10'000).has_value());
  ASSERT_TRUE(area.resize(2_MiB).has_value());
  EXPECT_EQ(load(area, 1_MiB - 1), 0);
  store(area, 2_MiB - 1, 2);
  ASSERT_TRUE(area.rollback().has_value());
  EXPECT_EQ(area.size_bytes(), 1_MiB);
  EXPECT_EQ(load(area, 1_MiB - 1), 1);
  ASSERT_TRUE(area.resize(3_MiB).has_value());
  store(area, 3_MiB - 1, 3);
  ASSERT_TRUE(area.commit().has_value());
  EXPECT_EQ(committed().size(), 3_MiB);
  EXPECT_EQ(committed_at(3_MiB - 1), 3);
  ASSERT_TRUE(area.evict().has_value());
  EXPECT_EQ(load(area, 3_MiB - 1), 3) << "what was added is not blank any more";
}

TEST_P(CommitTest, RollbackRefusesWhileSomethingIsPinned) {
  make(1_MiB);
  Pager pager({.memory_bytes = 1_MiB, .fault_path = GetParam()});
  WritablePagedArea area = map(pager);
  store(area, 0, 1);
  Pin pin = area.pin({0, 1}).value();
  const Result<void> refused = area.rollback();
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Errc::kFailed);
  EXPECT_EQ(load(area, 0), 1);
  pin.release();
  ASSERT_TRUE(area.rollback().has_value());
  EXPECT_EQ(load(area, 0), 0);
}

// --- Pins ----------------------------------------------------------------------------------------

TEST_P(CommitTest, APinForWritingRefusesACommitByNameAndAPinForReadingDoesNot) {
  make(1_MiB);
  Pager pager({.memory_bytes = 1_MiB, .fault_path = GetParam()});
  WritablePagedArea area = map(pager);
  store(area, 0, 1);
  const Pin pin = area.pin({0, 1}).value();
  ASSERT_TRUE(area.commit().has_value());
  EXPECT_EQ(committed_at(0), 1);
  store(area, 0, 2);  // Seen, though it is pinned.
  ASSERT_TRUE(area.commit().has_value());
  EXPECT_EQ(committed_at(0), 2);
  WritablePin writable = area.pin_for_writing({5000, 100}).value();
  writable.bytes()[0] = std::byte{3};
  const Result<void> refused = area.commit();
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Errc::kFailed);
  EXPECT_NE(refused.error().message().find("5000"), std::string::npos) << refused.error().message();
  EXPECT_TRUE(area.check().has_value()) << "nothing has happened";
  writable.release();
  ASSERT_TRUE(area.commit().has_value());
  EXPECT_EQ(committed_at(5000), 3);
}

TEST_P(CommitTest, APinForWritingRefusesOnlyThoseWhoNameItsArea) {
  make(1_MiB, 3);
  Pager pager({.memory_bytes = 1_MiB, .fault_path = GetParam()});
  WritablePagedArea a = map(pager, 0);
  WritablePagedArea b = map(pager, 1);
  WritablePagedArea c = map(pager, 2);
  const WritablePin pin = a.pin_for_writing({0, 1}).value();
  store(b, 0, 1);
  store(c, 0, 1);
  EXPECT_FALSE(pager.commit({&a, &b}).has_value());
  EXPECT_TRUE(pager.commit({&c}).has_value());
  EXPECT_EQ(committed_at(0, 1), 0);
  EXPECT_EQ(committed_at(0, 2), 1);
}

// --- Stores during a commit ----------------------------------------------------------------------

INSTANTIATE_TEST_SUITE_P(Paths, CommitTest, testing::kFaultPaths, testing::path_name);

}  // namespace
}  // namespace quire
