// SPDX-License-Identifier: Apache-2.0
#include "quire/journal/journal_report.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <system_error>

#include "quire/journal/internal/journal_fixture_test.h"

namespace quire {
namespace {

using internal::kTestPageBytes;

// A log that somebody writes to between two reads.
class ChangingLog final : public Store {
 public:
  // Called with the number of each read, from 1, before it.
  ChangingLog(Store& inner, std::function<void(int)> before_read)
      : inner_(inner), before_read_(std::move(before_read)) {}

  [[nodiscard]] const std::string& name() const noexcept override { return inner_.name(); }
  [[nodiscard]] Result<std::uint64_t> size_bytes() const override { return inner_.size_bytes(); }
  Result<std::uint64_t> read_pieces(std::uint64_t offset_bytes, MutablePieces into) override {
    before_read_(++reads_);
    return inner_.read_pieces(offset_bytes, into);
  }
  Result<void> write_pieces(std::uint64_t offset_bytes, ConstPieces from) override {
    return inner_.write_pieces(offset_bytes, from);
  }
  Result<void> resize(std::uint64_t size_bytes) override { return inner_.resize(size_bytes); }
  Result<void> allocate(ByteRange range) override { return inner_.allocate(range); }
  Result<void> punch(ByteRange range) override { return inner_.punch(range); }
  Result<void> sync(Durability durability, ByteRange range) override {
    return inner_.sync(durability, range);
  }

  [[nodiscard]] int reads() const noexcept { return reads_; }

 private:
  Store& inner_;
  const std::function<void(int)> before_read_;
  int reads_ = 0;
};

class JournalReportTest : public internal::JournalFixture {
 protected:
  // So many that the log wraps more than once.
  void commit_much() {
    for (int i = 0; i < 100; ++i) {
      write_page(static_cast<std::uint64_t>(i % 7), ++value_);
      journal_->commit().value();
    }
  }

 private:
  int value_ = 0;
};

// Goal:   a journal that is being written is never called damaged.
// Method: much is committed before the n-th read of it, for each n.
TEST_F(JournalReportTest, CommitsMeanwhileAreNoDamage) {
  for (const JournalCheck check : {JournalCheck::kHeaders, JournalCheck::kImages}) {
    make();
    commit_much();
    int nth = 1;
    for (bool was_hit = true; was_hit; ++nth) {
      ChangingLog log(*log_bytes_, [&](int read) {
        if (read == nth) {
          commit_much();
        }
      });
      const std::uint64_t commit_before = journal_->stats().last_commit;
      const auto report = inspect_journal(log, check);
      ASSERT_TRUE(report.has_value()) << nth << ": " << report.error().message();
      EXPECT_GE(report->last_commit, commit_before) << nth;
      was_hit = log.reads() >= nth;
    }
    EXPECT_GT(nth, 3);
  }
}

TEST_F(JournalReportTest, AJournalThatNeverStandsStillIsBusyAndNotDamaged) {
  make();
  commit_much();
  ChangingLog log(*log_bytes_, [&](int /*read*/) { commit_much(); });
  const auto report = inspect_journal(log, JournalCheck::kImages);
  ASSERT_FALSE(report.has_value());
  EXPECT_EQ(report.error().code(), std::errc::device_or_resource_busy) << report.error().message();
}

TEST_F(JournalReportTest, DamageIsDamage) {
  make();
  for (int i = 0; i < 3; ++i) {
    write_page(0, i);
    journal_->commit().value();
  }
  const std::byte rotten{0xff};
  ASSERT_TRUE(log_bytes_->write(32 * 1024 + 60, {&rotten, 1}).has_value());
  const auto report = inspect_journal(*log_bytes_, JournalCheck::kHeaders);
  ASSERT_FALSE(report.has_value());
  EXPECT_EQ(report.error().code(), Errc::kCorrupt) << report.error().message();
}

}  // namespace
}  // namespace quire
