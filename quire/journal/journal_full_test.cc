// SPDX-License-Identifier: Apache-2.0
//
// A full log, or a full disk: what makes room, who waits for it, and what is refused.
#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <thread>
#include <utility>

#include "quire/journal/internal/journal_fixture_test.h"
#include "quire/journal/internal/journal_format.h"

namespace quire {
namespace {

class JournalFullTest : public internal::JournalFixture {};

TEST_F(JournalFullTest, AFullLogIsCheckpointedByTheCommitThatNeedsTheRoom) {
  make();
  for (int i = 0; i < 500; ++i) {
    write_page(static_cast<std::uint64_t>(i % 10), i % 100);
    ASSERT_TRUE(journal_->commit().has_value()) << i;
    journal_->check_invariants();
  }
  EXPECT_GT(journal_->stats().full_waits, 1U);
  EXPECT_GT(journal_->stats().checkpoints, 1U);
}

TEST_F(JournalFullTest, ATransactionThatCannotFitIsRefusedAndLosesNothing) {
  make();
  write_page(0, 1);
  ASSERT_TRUE(journal_->commit().has_value());
  Result<void> written;
  std::uint64_t page = 0;
  for (; page < 1000 && written; ++page) {
    written = file().write(page * internal::kTestPageBytes, page_of(2));
  }
  ASSERT_FALSE(written.has_value());
  EXPECT_EQ(written.error().code(), Errc::kLimit);
  EXPECT_NE(written.error().message().find("journal full"), std::string::npos);
  EXPECT_NE(written.error().message().find("log_bytes"), std::string::npos);
  EXPECT_EQ(value_at(page - 2), 2);
  EXPECT_EQ(committed_value_at(0), 1);
  // Room for the mark of a commit is always left.
  ASSERT_TRUE(journal_->commit().has_value());
  open();
  EXPECT_EQ(value_at(0), 2);
  EXPECT_EQ(value_at(page - 2), 2);
  EXPECT_EQ(value_at(page - 1), -1);
}

// Goal:   what fills the log is what a commit in line would take: it goes before a write that
//         waits for room, and makes it.
TEST_F(JournalFullTest, ACommitPassesWritesThatWaitForRoom) {
  options_.full_wait_max = std::chrono::hours(1);
  make(2);
  for (std::uint64_t i = 0; i < 30; ++i) {
    write_page(i, 1, 0);
  }
  std::thread writer([&] { write_page(0, 2, 1); });
  while (journal_->stats().full_waits == 0) {
    std::this_thread::yield();
  }
  const FileCommit first{.file = 0};
  ASSERT_TRUE(journal_->commit({&first, 1}).has_value());
  writer.join();
  EXPECT_EQ(committed_value_at(29, 0), 1);
  EXPECT_EQ(value_at(0, 1), 2);
  EXPECT_EQ(committed_value_at(0, 1), -1);
}

TEST_F(JournalFullTest, ASnapshotThatFillsTheLogIsNamed) {
  make();
  write_page(0, 1);
  ASSERT_TRUE(journal_->commit().has_value());
  const JournalSnapshot snapshot = journal_->snapshot();
  Result<void> last;
  for (int i = 0; i < 200 && last; ++i) {
    last = file().write(0, page_of(2));
    if (last) {
      last = file().sync(Durability::kData);
    }
  }
  ASSERT_FALSE(last.has_value());
  EXPECT_NE(last.error().message().find("snapshot of commit 1"), std::string::npos);
}

// Goal:   a snapshot that ends during the checkpoint of a commit makes room: nobody says it again.
// Method: that checkpoint finds the disk full and frees nothing; meanwhile the snapshot ends.
TEST_F(JournalFullTest, ASnapshotThatEndsDuringTheCheckpointOfACommitMakesRoom) {
  options_.full_wait_max = std::chrono::hours(1);
  make();
  write_page(0, 1);
  ASSERT_TRUE(journal_->commit().has_value());
  std::optional<JournalSnapshot> snapshot = journal_->snapshot();
  files_[0]->fail({.operation = Kind::kWrite, .nth = 1, .times = 1, .error = 28});  // ENOSPC
  std::optional<testing::SlowStore::Gate> gate(std::in_place, *files_[0], Kind::kWrite);
  std::thread writer([this] {
    for (int i = 0; i < 100; ++i) {
      write_page(1, i);
      ASSERT_TRUE(journal_->commit().has_value());
    }
  });
  gate->await_arrivals(1);
  snapshot.reset();
  gate.reset();
  writer.join();
  EXPECT_EQ(files_[0]->fault_count(), 1U);
  EXPECT_EQ(committed_value_at(1), 99);
}

TEST_F(JournalFullTest, AFullDiskStopsCheckpointsAndLosesNothing) {
  make();
  write_page(0, 1);
  write_page(1, 2);
  ASSERT_TRUE(journal_->commit().has_value());
  files_[0]->fail({.operation = Kind::kWrite, .nth = 1, .times = 1, .error = 28});  // ENOSPC
  const Result<void> first = journal_->checkpoint();
  ASSERT_FALSE(first.has_value());
  EXPECT_EQ(first.error().code(), std::errc::no_space_on_device);
  EXPECT_EQ(value_at(1), 2);
  files_[0]->heal();
  EXPECT_TRUE(journal_->checkpoint().has_value());
  EXPECT_TRUE(journal_->close().has_value());
  EXPECT_EQ(file_bytes_[0]->image()[internal::kTestPageBytes], std::byte{2});
}

// Goal:   the space of a record is used again only when a durable superblock has passed it.
// Method: the superblock of a checkpoint is held back while commits fill the log; the power is cut.
TEST_F(JournalFullTest, NoSpaceIsUsedAgainBeforeTheSuperblockIsDurable) {
  make();
  const auto commit_next = [this](int value) {
    write_page(0, value);
    ASSERT_TRUE(journal_->commit().has_value());
  };
  for (int value = 1; value <= 20; ++value) {
    commit_next(value);
  }
  std::optional<testing::SlowStore::Gate> gate(std::in_place, *log_, Kind::kWrite,
                                               ByteRange{0, internal::kCircleOffsetBytes});
  std::thread checkpointer([this] { EXPECT_TRUE(journal_->checkpoint().has_value()); });
  gate->await_arrivals(1);
  std::atomic<int> acknowledged = 20;
  std::thread committer([&] {
    for (int value = 21; value <= 60; ++value) {
      commit_next(value);
      acknowledged = value;
    }
  });
  // Until a commit waits and waits: looked at too early, there is less to see, and nothing wrong.
  int last = acknowledged;
  for (int looks = 0; looks < 10'000 && last < 60; ++looks) {
    std::this_thread::yield();
    if (journal_->stats().waiting == 0 || acknowledged != last) {
      last = acknowledged;
      looks = 0;
    }
  }
  JournalParts left = parts();
  left.log = std::make_shared<testing::MemoryStore>(log_bytes_->image());
  const auto file = std::make_shared<testing::MemoryStore>(file_bytes_[0]->image());
  left.files[0].store = file;
  gate.reset();
  checkpointer.join();
  committer.join();

  EXPECT_LT(last, 60);  // The log was full, and waited.
  const auto recovered = Journal::open(std::move(left), options_);
  ASSERT_TRUE(recovered.has_value()) << recovered.error().message();
  EXPECT_GE(static_cast<int>(file->image()[0]), last);
}

}  // namespace
}  // namespace quire
