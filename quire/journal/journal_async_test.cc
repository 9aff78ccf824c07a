// SPDX-License-Identifier: Apache-2.0
//
// Journal::commit_async(): durable when the ticket is done, in the order of the calls, and never
// more than what was there when it was called.
#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "quire/journal/internal/journal_fixture_test.h"

namespace quire {
namespace {

class JournalAsyncTest : public internal::JournalFixture {};

TEST_F(JournalAsyncTest, ItIsDurableWhenTheTicketIsDone) {
  make(2);
  write_page(0, 1, 0);
  write_page(0, 2, 1);
  const Ticket ticket = journal_->commit_async().value();
  ASSERT_TRUE(ticket.wait().has_value());
  EXPECT_EQ(journal_->stats().last_commit, 1U);
  open();
  EXPECT_EQ(value_at(0, 0), 1);
  EXPECT_EQ(value_at(0, 1), 2);
}

// Goal:   commits without waiters share records with each other and with those that wait.
// Method: the first is held at the log; two of each kind line up; then it goes on.
TEST_F(JournalAsyncTest, TheyShareAFlush) {
  make(5);
  const Bytes page = page_of(5);
  const PageImages image{.offset_bytes = 0, .bytes = page};
  const auto commit_of = [&](std::size_t number) {
    return FileCommit{.file = number, .images = {&image, 1}, .size_bytes = page.size()};
  };
  const std::uint64_t syncs = log_->count(Kind::kSync);
  std::vector<Ticket> tickets;
  {
    testing::SlowStore::Gate gate(*log_, Kind::kWrite);
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < 5; ++i) {
      const FileCommit commit = commit_of(i);
      if (i % 2 == 0) {
        tickets.push_back(journal_->commit_async({&commit, 1}).value());
      } else {
        threads.emplace_back(
            [&, commit] { EXPECT_TRUE(journal_->commit({&commit, 1}).has_value()); });
      }
      if (i == 0) {
        gate.await_arrivals(1);
      }
    }
    while (journal_->stats().waiting < 5) {
      std::this_thread::yield();
    }
    gate.open();
  }
  for (const Ticket& ticket : tickets) {
    EXPECT_TRUE(ticket.wait().has_value());
  }
  EXPECT_EQ(log_->count(Kind::kSync) - syncs, 2U);
  EXPECT_EQ(journal_->stats().commit_calls, 5U);
  open();
  for (std::size_t number = 0; number < 5; ++number) {
    EXPECT_EQ(value_at(0, number), 5);
  }
}

TEST_F(JournalAsyncTest, WhatComesLaterIsNotInIt) {
  make();
  write_page(0, 1);
  Ticket ticket = journal_->commit_async().value();
  write_page(0, 2);
  ASSERT_TRUE(ticket.wait().has_value());
  open();
  EXPECT_EQ(value_at(0), 1);
  // Nor does a rollback take back what was on its way.
  write_page(0, 3);
  ticket = journal_->commit_async().value();
  const std::size_t number = 0;
  ASSERT_TRUE(journal_->rollback({&number, 1}).has_value());
  EXPECT_TRUE(ticket.is_done());
  EXPECT_EQ(value_at(0), 3);
}

TEST_F(JournalAsyncTest, AFailedFlushIsTheTicketsErrorAndOfAllBehindIt) {
  make();
  write_page(0, 1);
  log_->fail({.operation = Kind::kSync, .nth = 1, .times = 1, .error = EIO});
  const Ticket first = journal_->commit_async().value();
  const auto failed = first.wait();
  ASSERT_FALSE(failed.has_value());
  EXPECT_NE(failed.error().message().find("EIO"), std::string::npos) << failed.error().message();
  const auto second = journal_->commit_async();
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code(), Errc::kFailed);
}

TEST_F(JournalAsyncTest, ImagesThatAreNoPagesAreRefusedAtOnce) {
  make();
  const Bytes bytes(100);
  const PageImages image{.offset_bytes = 0, .bytes = bytes};
  const FileCommit commit{.file = 0, .images = {&image, 1}, .size_bytes = 100};
  const auto refused = journal_->commit_async({&commit, 1});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Errc::kMisaligned);
}

TEST_F(JournalAsyncTest, CloseWaitsForTheTickets) {
  make();
  std::vector<Ticket> tickets;
  for (int i = 1; i <= 20; ++i) {
    write_page(0, i);
    tickets.push_back(journal_->commit_async().value());
  }
  ASSERT_TRUE(journal_->close().has_value());
  for (const Ticket& ticket : tickets) {
    ASSERT_TRUE(ticket.is_done());
    EXPECT_TRUE(ticket.wait().has_value());
  }
  EXPECT_EQ(file_bytes_[0]->image(), page_of(20));
  EXPECT_EQ(journal_->commit_async().error().code(), Errc::kClosed);
}

// Goal:   the destructor ends commits that wait for space, however long they may wait.
// Method: a snapshot holds the log until it is full; the first time a checkpoint makes some room.
TEST_F(JournalAsyncTest, TheDestructorCancelsWhatIsNotBeingWritten) {
  options_.full_wait_max = std::chrono::hours(1);
  make();
  write_page(0, 1);
  ASSERT_TRUE(journal_->commit().has_value());
  const JournalSnapshot snapshot = journal_->snapshot();
  const Bytes page = page_of(2);
  const PageImages image{.offset_bytes = 0, .bytes = page};
  const FileCommit commit{.file = 0, .images = {&image, 1}};
  Ticket last = journal_->commit_async({&commit, 1}).value();
  while (journal_->stats().full_waits < 2) {
    if (last.is_done()) {
      last = journal_->commit_async({&commit, 1}).value();
    }
  }
  journal_.reset();
  ASSERT_TRUE(last.is_done());
  EXPECT_EQ(last.wait().error().code(), Errc::kCancelled);
  Bytes before(internal::kTestPageBytes);
  EXPECT_TRUE(snapshot.read(0, 0, before).has_value());
  EXPECT_EQ(before, page_of(1));
}

// Threads of this process with that name.
int count_threads(const std::string& name) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream comm(entry.path() / "comm");  // Fails for one that has just ended.
    std::string found;
    count += std::getline(comm, found) && found == name ? 1 : 0;
  }
  return count;
}

// Goal:   the destructor's word counts, too, when it comes while the thread that commits makes room
//         without the mutex: it once waited for its deadline then.
// Method: a commit that does not fit, and a checkpoint held at the file, which has no space for it.
//         The log is never half full, so the thread that checkpoints sleeps: its end tells that the
//         destructor's word was given.
TEST_F(JournalAsyncTest, TheDestructorIsHeardWhileRoomIsMade) {
  options_.full_wait_max = std::chrono::hours(1);
  options_.checkpointing = Checkpointing::kBackground;
  make();
  const Bytes first(20 * internal::kTestPageBytes, std::byte{1});
  ASSERT_TRUE(file().write(0, first).has_value());
  ASSERT_TRUE(journal_->commit().has_value());
  ASSERT_LT(journal_->stats().used_bytes, options_.log_bytes / 2);
  while (count_threads("quire-journal") == 0) {
    std::this_thread::yield();  // It gives itself its name.
  }
  files_[0]->fail({.operation = Kind::kWrite, .nth = 1, .times = 1, .error = ENOSPC});
  testing::SlowStore::Gate gate(*files_[0], Kind::kWrite);
  const Bytes large(50 * internal::kTestPageBytes, std::byte{2});
  const PageImages image{.offset_bytes = 0, .bytes = large};
  const FileCommit commit{.file = 0, .images = {&image, 1}, .size_bytes = large.size()};
  const Ticket ticket = journal_->commit_async({&commit, 1}).value();
  gate.await_arrivals(1);
  std::thread destructor([&] { journal_.reset(); });
  while (count_threads("quire-journal") != 0) {
    std::this_thread::yield();
  }
  gate.open();
  destructor.join();
  ASSERT_TRUE(ticket.is_done());
  EXPECT_EQ(ticket.wait().error().code(), Errc::kCancelled);
  EXPECT_EQ(files_[0]->fault_count(), 1U);
}

// Goal:   a commit that comes in line while a write that does not fit makes room goes first, also
//         when it comes while the mutex is let go for that: the write once slept on it.
// Method: the checkpoint for the write is held at the file, which has no space for it; meanwhile
//         the commit comes.
TEST_F(JournalAsyncTest, ACommitPassesAWriteThatMakesRoom) {
  options_.full_wait_max = std::chrono::hours(1);
  make(2);
  const Bytes first(20 * internal::kTestPageBytes, std::byte{1});
  ASSERT_TRUE(file().write(0, first).has_value());
  ASSERT_TRUE(journal_->commit().has_value());
  files_[0]->fail({.operation = Kind::kWrite, .nth = 1, .times = 1, .error = ENOSPC});
  testing::SlowStore::Gate gate(*files_[0], Kind::kWrite);
  const Bytes large(50 * internal::kTestPageBytes, std::byte{2});
  std::jthread writer([&] { EXPECT_TRUE(journal_->file(1).write(0, large).has_value()); });
  gate.await_arrivals(1);
  const Bytes page = page_of(3);
  const PageImages image{.offset_bytes = 0, .bytes = page};
  const FileCommit commit{.file = 0, .images = {&image, 1}, .size_bytes = page.size()};
  const Ticket ticket = journal_->commit_async({&commit, 1}).value();
  while (journal_->stats().waiting < 2) {
    std::this_thread::yield();
  }
  gate.open();
  EXPECT_TRUE(ticket.wait().has_value());
  writer.join();
  EXPECT_EQ(files_[0]->fault_count(), 1U);
}

}  // namespace
}  // namespace quire
