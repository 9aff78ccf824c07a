// SPDX-License-Identifier: Apache-2.0
//
// Whatever fails, and whenever: what was acknowledged is there when the journal is opened again,
// and the error says what happened.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>

#include "quire/journal/internal/journal_fixture_test.h"
#include "quire/sys/call.h"
#include "quire/testing/nth_fault.h"

namespace quire {
namespace {

class JournalFaultTest : public internal::JournalFixture {
 protected:
  // Opens it, and does a bit of everything, until something fails. Counts what it was promised.
  Result<void> work() {
    journal_ = QUIRE_TRY(Journal::open(parts(), options_));
    for (int round = 1; round <= 4; ++round) {
      QUIRE_TRY(write_both(round));
      ++attempted_;
      QUIRE_TRY(journal_->commit());
      ++acknowledged_;
      if (round == 2) {
        QUIRE_TRY(journal_->checkpoint());
      }
      const JournalSnapshot snapshot = journal_->snapshot();
      std::byte byte{};
      QUIRE_TRY(snapshot.read(1, internal::kTestPageBytes, {&byte, 1}));
      EXPECT_EQ(byte, static_cast<std::byte>(round));
    }
    QUIRE_TRY(write_both(99));
    return journal_->close();
  }

  // Nobody may call the bytes of another round these of that one.
  Result<void> write_both(int round) {
    const Bytes pages(2 * internal::kTestPageBytes, static_cast<std::byte>(round));
    QUIRE_TRY(file(0).write(0, pages));
    QUIRE_TRY(file(1).resize(static_cast<std::uint64_t>(round) * 100));
    return file(1).write(internal::kTestPageBytes, pages);
  }

  // The round whose bytes both files hold, whole; -1: a mixture.
  int round_of_files() {
    const int round = value_at(0, 0) < 0 ? 0 : value_at(0, 0);
    for (std::uint64_t page = 0; page < 2; ++page) {
      Bytes bytes(internal::kTestPageBytes);
      if (round > 0 && (file(0).read(page * bytes.size(), bytes).value() != bytes.size() ||
                        bytes != page_of(round))) {
        return -1;
      }
      if (round > 0 && (file(1).read((1 + page) * bytes.size(), bytes).value() != bytes.size() ||
                        bytes != page_of(round))) {
        return -1;
      }
    }
    return round == 0 && file(1).size_bytes().value() != 0 ? -1 : round;
  }

  // Of the log, or of the second file.
  enum class Where : std::uint8_t { kLog, kFile };
  [[nodiscard]] testing::SlowStore& store(Where where) const {
    return where == Where::kLog ? *log_ : *files_[1];
  }

  void fail_each(Where where, Kind kind, int error) {
    testing::fail_each_nth(testing::name_of(kind), [&](testing::NthFault& fault) {
      make(2);
      journal_.reset();
      attempted_ = acknowledged_ = 0;
      store(where).fail({.operation = kind, .nth = fault.nth, .times = 1, .error = error});
      const Result<void> worked = work();
      fault.was_hit = store(where).fault_count() > 0;
      store(where).heal();
      if (!worked) {
        EXPECT_TRUE(fault.was_hit);
        EXPECT_NE(worked.error().message().find(errno_name(error)), std::string::npos)
            << worked.error().message();
      }
      open();
      const int round = round_of_files();
      EXPECT_TRUE(round == acknowledged_ || round == attempted_)
          << round << ", acknowledged " << acknowledged_;
    });
  }

  int attempted_ = 0;
  int acknowledged_ = 0;
};

TEST_F(JournalFaultTest, NothingAcknowledgedIsLostWhicheverOperationOfTheLogFails) {
  for (const Kind kind : {Kind::kRead, Kind::kWrite, Kind::kSync}) {
    fail_each(Where::kLog, kind, EIO);
  }
  fail_each(Where::kLog, Kind::kWrite, ENOSPC);
}

TEST_F(JournalFaultTest, NothingAcknowledgedIsLostWhicheverOperationOfAFileFails) {
  for (const Kind kind : {Kind::kRead, Kind::kWrite, Kind::kResize, Kind::kSync}) {
    fail_each(Where::kFile, kind, EIO);
  }
  for (const Kind kind : {Kind::kWrite, Kind::kResize}) {
    fail_each(Where::kFile, kind, ENOSPC);
  }
}

TEST_F(JournalFaultTest, ACheckpointThatFindsNoMemoryCanBeTriedAgain) {
  make();
  write_page(0, 1);
  write_page(1, 2);
  ASSERT_TRUE(journal_->commit().has_value());
  testing::fail_each_nth("mmap", [&](testing::NthFault& fault) {
    const sys::FaultPlan plan({.call = sys::Call::kMap, .nth = fault.nth, .error = ENOMEM});
    const Result<void> checkpointed = journal_->checkpoint();
    fault.was_hit = plan.hits() > 0;
    EXPECT_EQ(checkpointed.has_value(), !fault.was_hit);
    if (!checkpointed) {
      EXPECT_EQ(checkpointed.error().code(), std::errc::not_enough_memory);
    }
  });
  EXPECT_EQ(file_bytes_[0]->image(), [] {
    Bytes both = page_of(1);
    both.resize(2 * internal::kTestPageBytes, std::byte{2});
    return both;
  }());
}

// Goal:   bytes of the log that rot while the journal is open are no bytes of a file.
TEST_F(JournalFaultTest, ADamagedImageIsReadAsAnError) {
  make();
  write_page(0, 1);
  ASSERT_TRUE(journal_->commit().has_value());
  const Bytes image = log_bytes_->image();
  Bytes page = page_of(1);
  const auto at = std::search(image.begin(), image.end(), page.begin(), page.end()) - image.begin();
  const std::byte rotten{77};
  ASSERT_TRUE(log_bytes_->write(static_cast<std::uint64_t>(at) + 17, {&rotten, 1}).has_value());
  const auto got = file().read(0, page);
  ASSERT_FALSE(got.has_value());
  EXPECT_EQ(got.error().code(), Errc::kCorrupt);
  const auto checkpointed = journal_->checkpoint();
  ASSERT_FALSE(checkpointed.has_value());
  EXPECT_EQ(checkpointed.error().code(), Errc::kCorrupt);
  EXPECT_EQ(files_[0]->count(Kind::kWrite), 0U);
}

}  // namespace
}  // namespace quire
