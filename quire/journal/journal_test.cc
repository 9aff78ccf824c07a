// SPDX-License-Identifier: Apache-2.0
#include "quire/journal/journal.h"

#include <gtest/gtest.h>

#include <array>
#include <thread>

#include "quire/journal/internal/journal_fixture_test.h"

namespace quire {
namespace {

class JournalTest : public internal::JournalFixture {};

TEST_F(JournalTest, ACommitOfOnePageIsOneWriteAndOneFlush) {
  make();
  write_page(0, 1);
  ASSERT_EQ(journal_->commit().value(), 1U);
  const std::uint64_t writes = log_->count(Kind::kWrite);
  const std::uint64_t syncs = log_->count(Kind::kSync);
  const std::uint64_t bytes = log_->bytes(Kind::kWrite);
  const std::uint64_t file_requests = files_[0]->count(Kind::kWrite);
  const Bytes page = page_of(2);
  const PageImages image{.offset_bytes = 0, .bytes = page};
  const FileCommit commit{.file = 0, .images = {&image, 1}};
  ASSERT_EQ(journal_->commit({&commit, 1}).value(), 2U);
  EXPECT_EQ(log_->count(Kind::kWrite) - writes, 1U);
  EXPECT_EQ(log_->count(Kind::kSync) - syncs, 1U);
  EXPECT_EQ(log_->bytes(Kind::kWrite) - bytes, 2 * internal::kTestPageBytes);
  EXPECT_EQ(files_[0]->count(Kind::kWrite), file_requests);
  EXPECT_EQ(value_at(0), 2);
}

// Goal:   with a store whose writes are durable a commit needs no flush, as long as everything
//         before it is durable.
TEST_F(JournalTest, ADurableWriteIsUsedWhenNothingUnflushedLiesBeforeIt) {
  make();
  const auto durable = std::make_shared<testing::SlowStore>(log_bytes_);
  journal_.reset();
  JournalParts with_durable = parts();
  with_durable.durable_log = durable;
  journal_ = Journal::open(std::move(with_durable), options_).value();
  const std::uint64_t syncs = log_->count(Kind::kSync);
  const std::uint64_t writes = durable->count(Kind::kWrite);
  const Bytes pages(3 * internal::kTestPageBytes);
  const PageImages images{.offset_bytes = 0, .bytes = pages};
  const FileCommit commit{.file = 0, .images = {&images, 1}, .size_bytes = pages.size()};
  ASSERT_TRUE(journal_->commit({&commit, 1}).has_value());
  EXPECT_EQ(durable->count(Kind::kWrite) - writes, 1U);
  EXPECT_EQ(log_->count(Kind::kSync), syncs);
  // An uncommitted image went out without a flush: now the commit must flush both.
  write_page(1, 1);
  ASSERT_TRUE(journal_->commit().has_value());
  EXPECT_EQ(durable->count(Kind::kWrite) - writes, 1U);
  EXPECT_EQ(log_->count(Kind::kSync), syncs + 1);
}

TEST_F(JournalTest, ReadsSeeTheNewestBytesAndCommittedReadsDoNot) {
  make();
  write_page(0, 1);
  EXPECT_EQ(value_at(0), 1);
  EXPECT_EQ(committed_value_at(0), -1);
  ASSERT_TRUE(journal_->commit().has_value());
  EXPECT_EQ(committed_value_at(0), 1);
  write_page(0, 2);
  EXPECT_EQ(value_at(0), 2);
  EXPECT_EQ(committed_value_at(0), 1);
  const std::array<std::size_t, 1> files{0};
  ASSERT_TRUE(journal_->rollback(files).has_value());
  EXPECT_EQ(value_at(0), 1);
  journal_->check_invariants();
}

TEST_F(JournalTest, WhatHasNoCommitIsForgottenWhenItIsOpenedAgain) {
  make();
  write_page(0, 1);
  ASSERT_TRUE(journal_->commit().has_value());
  write_page(0, 2);
  write_page(1, 2);
  open();
  EXPECT_EQ(value_at(0), 1);
  EXPECT_EQ(value_at(1), -1);
  EXPECT_EQ(journal_->stats().recovered_commits, 1U);
  EXPECT_EQ(files_[0]->size_bytes().value(), internal::kTestPageBytes);
}

// Goal:   uncommitted images that were rolled back do not come back with a later commit.
TEST_F(JournalTest, ARolledBackImageStaysAwayAfterALaterCommit) {
  make();
  write_page(0, 1);
  write_page(1, 1);
  const std::array<std::size_t, 1> files{0};
  ASSERT_TRUE(journal_->rollback(files).has_value());
  write_page(0, 2);
  ASSERT_TRUE(journal_->commit().has_value());
  open();
  EXPECT_EQ(value_at(0), 2);
  EXPECT_EQ(value_at(1), -1);
}

TEST_F(JournalTest, ASnapshotKeepsItsBytesThroughCommitsAndCheckpoints) {
  make();
  write_page(0, 1);
  write_page(1, 1);
  ASSERT_TRUE(journal_->commit().has_value());
  ASSERT_TRUE(journal_->checkpoint().has_value());
  {
    const JournalSnapshot snapshot = journal_->snapshot();
    EXPECT_EQ(snapshot.commit_number(), 1U);
    for (int value = 2; value < 6; ++value) {
      write_page(0, value);
      ASSERT_TRUE(file().resize(internal::kTestPageBytes).has_value());
      ASSERT_TRUE(journal_->commit().has_value());
      ASSERT_TRUE(journal_->checkpoint().has_value());
    }
    std::array<std::byte, 2> bytes{};
    EXPECT_EQ(snapshot.size_bytes(0), 2 * internal::kTestPageBytes);
    ASSERT_EQ(snapshot.read(0, internal::kTestPageBytes - 1, bytes).value(), 2U);
    EXPECT_EQ(bytes, (std::array{std::byte{1}, std::byte{1}}));
    EXPECT_EQ(value_at(0), 5);
    EXPECT_EQ(value_at(1), -1);
    EXPECT_EQ(journal_->stats().checkpointed_commit, 1U);
  }
  ASSERT_TRUE(journal_->checkpoint().has_value());
  EXPECT_EQ(journal_->stats().checkpointed_commit, 5U);
  EXPECT_EQ(journal_->stats().index_bytes, 0U);
  EXPECT_EQ(journal_->stats().used_bytes, 0U);
}

TEST_F(JournalTest, ACommitSpansFiles) {
  make(3);
  for (std::size_t number = 0; number < 3; ++number) {
    write_page(number, 7, number);
  }
  ASSERT_EQ(journal_->commit().value(), 1U);
  EXPECT_EQ(journal_->stats().commits, 1U);
  open();
  for (std::size_t number = 0; number < 3; ++number) {
    EXPECT_EQ(value_at(number, number), 7);
  }
}

TEST_F(JournalTest, ACommitOfOneFileLeavesTheOthersUncommitted) {
  make(2);
  write_page(0, 1, 0);
  write_page(0, 1, 1);
  ASSERT_TRUE(file(1).sync(Durability::kData).has_value());
  EXPECT_EQ(committed_value_at(0, 0), -1);
  EXPECT_EQ(committed_value_at(0, 1), 1);
}

TEST_F(JournalTest, AFileThatIsAddedLaterIsRecovered) {
  make();
  file_bytes_.push_back(std::make_shared<testing::MemoryStore>());
  files_.push_back(std::make_shared<testing::SlowStore>(file_bytes_.back()));
  ASSERT_EQ(journal_->add_file(parts().files[1]).value(), 1U);
  write_page(2, 3, 1);
  ASSERT_TRUE(journal_->commit().has_value());
  open();
  EXPECT_EQ(value_at(2, 1), 3);
  EXPECT_EQ(value_at(0, 1), 0);
}

TEST_F(JournalTest, AFileThatIsCutAndGrowsAgainHasZerosInBetween) {
  make();
  for (std::uint64_t page = 0; page < 4; ++page) {
    write_page(page, 9);
  }
  ASSERT_TRUE(journal_->commit().has_value());
  ASSERT_TRUE(journal_->checkpoint().has_value());
  ASSERT_TRUE(file().resize(100).has_value());
  ASSERT_TRUE(file().resize(3 * internal::kTestPageBytes).has_value());
  write_page(2, 4);
  const auto look = [this] {
    Bytes bytes(internal::kTestPageBytes);
    EXPECT_EQ(file().read(50, bytes).value(), bytes.size());
    return std::pair(std::to_integer<int>(bytes[49]), std::to_integer<int>(bytes[50]));
  };
  EXPECT_EQ(look(), (std::pair{9, 0}));
  ASSERT_TRUE(journal_->commit().has_value());
  open();
  EXPECT_EQ(look(), (std::pair{9, 0}));
  EXPECT_EQ(value_at(1), 0);
  EXPECT_EQ(value_at(2), 4);
  EXPECT_EQ(value_at(3), -1);
}

// Goal:   commits that come while one is under way share the next record and flush.
// Method: the first one is held at the log; four more line up; then it goes on.
TEST_F(JournalTest, CommitsThatComeTogetherShareAFlush) {
  constexpr std::size_t kFollowers = 4;
  make(1 + kFollowers);
  const Bytes page = page_of(5);
  const auto commit_to = [&](std::size_t number) {
    const PageImages image{.offset_bytes = 0, .bytes = page};
    const FileCommit commit{
        .file = number, .images = {&image, 1}, .size_bytes = internal::kTestPageBytes};
    EXPECT_TRUE(journal_->commit({&commit, 1}).has_value());
  };
  const std::uint64_t syncs = log_->count(Kind::kSync);
  {
    testing::SlowStore::Gate gate(*log_, Kind::kWrite);
    std::vector<std::jthread> threads;
    threads.emplace_back([&] { commit_to(0); });
    gate.await_arrivals(1);
    for (std::size_t i = 1; i <= kFollowers; ++i) {
      threads.emplace_back([&, i] { commit_to(i); });
    }
    while (journal_->stats().waiting < 1 + kFollowers) {
      std::this_thread::yield();
    }
    gate.open();
  }
  EXPECT_EQ(log_->count(Kind::kSync) - syncs, 2U);
  EXPECT_EQ(journal_->stats().commit_calls, 1 + kFollowers);
  EXPECT_EQ(journal_->stats().commits, 2U);
  open();
  for (std::size_t number = 0; number <= kFollowers; ++number) {
    EXPECT_EQ(value_at(0, number), 5);
  }
}

TEST_F(JournalTest, ACheckpointWritesNeighboursTogetherAndEachPageOnce) {
  make();
  for (int round = 0; round < 5; ++round) {
    for (const std::uint64_t page : {3U, 1U, 2U, 7U}) {
      write_page(page, round);
    }
    ASSERT_TRUE(journal_->commit().has_value());
  }
  const std::uint64_t writes = files_[0]->count(Kind::kWrite);
  const std::uint64_t syncs = files_[0]->count(Kind::kSync);
  ASSERT_TRUE(journal_->checkpoint().has_value());
  EXPECT_EQ(files_[0]->count(Kind::kWrite) - writes, 2U);
  EXPECT_EQ(files_[0]->count(Kind::kSync) - syncs, 1U);
  EXPECT_EQ(journal_->stats().checkpoint_pages, 4U);
  EXPECT_EQ(journal_->stats().used_bytes, 0U);
}

TEST_F(JournalTest, AfterAFailedFlushNothingIsWrittenAnyMore) {
  make();
  write_page(0, 1);
  log_->fail({.operation = Kind::kSync, .nth = 1, .times = 1, .error = 5});  // EIO
  const auto failed = journal_->commit();
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().code(), std::errc::io_error);
  const std::uint64_t writes = log_->count(Kind::kWrite);
  const auto again = journal_->commit();
  ASSERT_FALSE(again.has_value());
  EXPECT_EQ(again.error().code(), Errc::kFailed);
  EXPECT_FALSE(journal_->checkpoint().has_value());
  EXPECT_EQ(log_->count(Kind::kWrite), writes);
  EXPECT_EQ(value_at(0), 1);  // Reads go on.
}

TEST_F(JournalTest, CloseBringsEverythingToTheFilesAndEndsIt) {
  make();
  write_page(0, 1);
  ASSERT_TRUE(journal_->commit().has_value());
  write_page(0, 2);  // Rolled back.
  ASSERT_TRUE(journal_->close().has_value());
  EXPECT_EQ(file_bytes_[0]->image(), page_of(1));
  EXPECT_EQ(journal_->commit().error().code(), Errc::kClosed);
  EXPECT_EQ(journal_->close().error().code(), Errc::kClosed);
  open();
  EXPECT_EQ(journal_->stats().recovered_pages, 0U);
  EXPECT_EQ(journal_->stats().last_commit, 1U);
}

TEST_F(JournalTest, ImagesThatDoNotFitTheFileAreRefused) {
  make();
  const Bytes page = page_of(1);
  const PageImages outside{.offset_bytes = 0, .bytes = page};
  const FileCommit commit{.file = 0, .images = {&outside, 1}};
  EXPECT_EQ(journal_->commit({&commit, 1}).error().code(), Errc::kOutOfRange);
  const PageImages skewed{.offset_bytes = 100, .bytes = page};
  const FileCommit misaligned{.file = 0, .images = {&skewed, 1}, .size_bytes = 8192};
  EXPECT_EQ(journal_->commit({&misaligned, 1}).error().code(), Errc::kMisaligned);
  EXPECT_EQ(journal_->stats().log_writes, 0U);
}

TEST_F(JournalTest, ForeignFilesAndPageSizesAreRefused) {
  make(2);
  write_page(0, 1);
  ASSERT_TRUE(journal_->commit().has_value());
  journal_.reset();
  JournalParts swapped = parts();
  std::swap(swapped.files[0], swapped.files[1]);
  EXPECT_EQ(Journal::open(std::move(swapped), options_).error().code(), Errc::kChanged);
  JournalParts fewer = parts();
  fewer.files.pop_back();
  EXPECT_EQ(Journal::open(std::move(fewer), options_).error().code(), Errc::kChanged);
  JournalOptions other = options_;
  other.page_bytes = 8192;
  EXPECT_EQ(Journal::open(parts(), other).error().code(), std::errc::invalid_argument);
  JournalParts no_journal = parts();
  no_journal.log = std::make_shared<testing::MemoryStore>(1 << 20);
  EXPECT_EQ(Journal::open(std::move(no_journal), options_).error().code(), Errc::kCorrupt);
  open();
  EXPECT_EQ(value_at(0), 1);
}

// Goal:   damage in a part of the log that was durable is an error, never a shorter history.
// Method: a bit of each block of three commits is flipped in turn; the last commit alone may vanish
//         where its own record is hit, since nothing later vouches for it.
TEST_F(JournalTest, DamageToADurableRecordIsNoEndOfTheLog) {
  make();
  for (int value = 1; value <= 3; ++value) {
    write_page(0, value);
    ASSERT_TRUE(journal_->commit().has_value());
  }
  const std::uint64_t used = journal_->stats().used_bytes;
  journal_.reset();
  const Bytes image = log_bytes_->image();
  int refused = 0;
  for (std::uint64_t at = 0; at < used; at += 4096) {
    Bytes damaged = image;
    damaged[32 * 1024 + at + 60] ^= std::byte{4};
    JournalParts broken = parts();
    broken.log = std::make_shared<testing::MemoryStore>(damaged);
    const auto opened = Journal::open(std::move(broken), options_);
    if (!opened) {
      EXPECT_EQ(opened.error().code(), Errc::kCorrupt) << at;
      ++refused;
    } else {
      EXPECT_GE((*opened)->stats().last_commit, 2U) << at;
    }
  }
  EXPECT_GE(refused, 3);
}

TEST_F(JournalTest, TheBackgroundThreadKeepsTheLogFromFilling) {
  options_.checkpointing = Checkpointing::kBackground;
  options_.full_wait_max = std::chrono::minutes(1);
  make();
  for (int i = 0; i < 300; ++i) {
    write_page(static_cast<std::uint64_t>(i % 16), i % 100);
    ASSERT_TRUE(journal_->commit().has_value());
  }
  EXPECT_GT(journal_->stats().checkpoints, 0U);
  EXPECT_TRUE(journal_->close().has_value());
  EXPECT_EQ(file_bytes_[0]->image()[(299 % 16) * internal::kTestPageBytes], std::byte{99});
}

// Goal:   commits, reads and snapshots of many threads end whole: two pages that are always
//         committed together are never seen apart.
TEST_F(JournalTest, ReadersNeverSeeHalfACommit) {
  options_.checkpointing = Checkpointing::kBackground;
  options_.full_wait_max = std::chrono::minutes(1);
  make(2);
  std::atomic<bool> stop{false};
  std::atomic<int> torn{0};
  std::vector<std::jthread> threads;
  for (int reader = 0; reader < 2; ++reader) {
    threads.emplace_back([&] {
      while (!stop) {
        const JournalSnapshot snapshot = journal_->snapshot();
        std::array<std::byte, 2> seen{};
        for (std::size_t number = 0; number < 2; ++number) {
          if (snapshot.size_bytes(number) > 0) {
            snapshot.read(number, 5, std::span(seen).subspan(number, 1)).value();
          }
        }
        torn += seen[0] == seen[1] ? 0 : 1;
      }
    });
  }
  for (int i = 0; i < 300; ++i) {
    write_page(0, i % 200, 0);
    write_page(0, i % 200, 1);
    ASSERT_TRUE(journal_->commit().has_value());
  }
  stop = true;
  threads.clear();
  EXPECT_EQ(torn, 0);
  journal_->check_invariants();
}

}  // namespace
}  // namespace quire
