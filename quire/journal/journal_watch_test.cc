// SPDX-License-Identifier: Apache-2.0
//
// Watching a journal being opened or looked through: what is told of how far it is, and what is
// left when it is stopped.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "quire/base/prng.h"
#include "quire/io/file.h"
#include "quire/journal/internal/journal_fixture_test.h"
#include "quire/journal/internal/log_scan.h"
#include "quire/journal/journal_file.h"
#include "quire/journal/journal_report.h"
#include "quire/testing/nth_fault.h"
#include "quire/testing/seed.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

constexpr std::uint64_t kPageBytes = internal::kTestPageBytes;
constexpr std::uint64_t kPages = 100;
constexpr std::uint64_t kCommitPages = 20;
constexpr std::uint64_t kSizeBytes = kPages * kPageBytes - 100;

// Everything that was told, and perhaps a stop at the n-th time.
class Watcher {
 public:
  explicit Watcher(std::uint64_t stop_at = UINT64_MAX) : stop_at_(stop_at) {}

  [[nodiscard]] JournalWatch watch() {
    return {.on_progress =
                [this](const JournalProgress& now) {
                  seen_.push_back(now);
                  if (seen_.size() == stop_at_) {
                    stop_.request_stop();
                  }
                },
            .stop = stop_.get_token()};
  }
  [[nodiscard]] bool has_stopped() const { return stop_.stop_requested(); }
  [[nodiscard]] std::size_t times() const { return seen_.size(); }
  [[nodiscard]] std::uint64_t done_bytes() const { return seen_.back().done_bytes; }

  // It grew, and from when its end was known on, up to that. Returns how much was left then.
  std::uint64_t expect_growth_to_the_end() const {
    std::uint64_t done_bytes = 0;
    std::optional<std::uint64_t> left_bytes;
    for (const JournalProgress& now : seen_) {
      EXPECT_GT(now.done_bytes, done_bytes);
      if (now.total_bytes > 0) {
        EXPECT_EQ(now.total_bytes, seen_.back().total_bytes);
        EXPECT_LE(now.done_bytes, now.total_bytes);
        left_bytes = left_bytes.value_or(now.total_bytes - done_bytes);
      } else {
        EXPECT_FALSE(left_bytes.has_value()) << "it was known before";
      }
      done_bytes = now.done_bytes;
    }
    EXPECT_EQ(done_bytes, seen_.back().total_bytes);
    return left_bytes.value_or(0);
  }

 private:
  const std::uint64_t stop_at_;
  std::stop_source stop_;
  std::vector<JournalProgress> seen_;
};

class JournalWatchTest : public internal::JournalFixture {
 protected:
  JournalWatchTest() : order_(kPages) {
    options_.log_bytes = 2_MiB;
    std::iota(order_.begin(), order_.end(), 0U);
    std::shuffle(order_.begin(), order_.end(), Prng(testing::test_seed()));
  }

  // Every page of both files once, in random order, the last one in part.
  void commit_all(Journal& journal) const {
    for (std::size_t first = 0; first < kPages; first += kCommitPages) {
      std::vector<Bytes> pages;
      std::array<std::vector<PageImages>, 2> images;
      std::array<FileCommit, 2> commits;
      for (std::size_t number = 0; number < 2; ++number) {
        for (std::size_t i = first; i < first + kCommitPages; ++i) {
          pages.emplace_back(kPageBytes, value_of(number, order_[i]));
          images[number].push_back({.offset_bytes = order_[i] * kPageBytes, .bytes = pages.back()});
        }
        commits[number] = {.file = number, .images = images[number], .size_bytes = kSizeBytes};
      }
      ASSERT_TRUE(journal.commit(commits).has_value());
    }
  }
  void make_with_commits() {
    make(2);
    commit_all(*journal_);
    journal_.reset();
  }

  static std::byte value_of(std::size_t number, std::uint64_t page) {
    return static_cast<std::byte>(page * 7 + number + 1);
  }
  static void expect_all(std::size_t number, std::span<const std::byte> found) {
    ASSERT_EQ(found.size(), kSizeBytes);
    for (std::uint64_t i = 0; i < kSizeBytes; ++i) {
      ASSERT_EQ(found[i], value_of(number, i / kPageBytes)) << i;
    }
  }
  void expect_all() const {
    for (std::size_t number = 0; number < 2; ++number) {
      expect_all(number, file_bytes_[number]->image());
    }
  }

  [[nodiscard]] Result<std::unique_ptr<Journal>> open_watched(Watcher& watcher) const {
    JournalOptions options = options_;
    options.recovery_watch = watcher.watch();
    return Journal::open(parts(), options);
  }

  std::vector<std::uint64_t> order_;
};

// --- Stores --------------------------------------------------------------------------------------

TEST_F(JournalWatchTest, RecoveryTellsOfEachByteReadAndWritten) {
  for (const std::uint64_t memory_bytes : {std::uint64_t{0}, 30 * kPageBytes, 2 * kSizeBytes}) {
    SCOPED_TRACE(memory_bytes);
    options_.recovery_memory_bytes = memory_bytes;
    make_with_commits();
    Watcher watcher;
    journal_ = open_watched(watcher).value();
    EXPECT_EQ(watcher.expect_growth_to_the_end(), 2 * (kPages * kPageBytes + kSizeBytes));
    const std::size_t times = watcher.times();
    ASSERT_TRUE(file(0).write(0, page_of(1)).has_value());
    ASSERT_TRUE(journal_->commit().has_value());
    ASSERT_TRUE(journal_->close().has_value());
    EXPECT_EQ(watcher.times(), times) << "nobody is told any more";
  }
}

TEST_F(JournalWatchTest, WhereThereIsNothingToRecoverThereIsNothingToTellOrToStop) {
  make(2);
  ASSERT_TRUE(journal_->close().has_value());
  Watcher watcher;
  JournalOptions options = options_;
  std::stop_source stop;
  stop.request_stop();
  options.recovery_watch = {.on_progress = watcher.watch().on_progress, .stop = stop.get_token()};
  EXPECT_TRUE(Journal::open(parts(), options).has_value());
  EXPECT_EQ(watcher.times(), 0U);
}

// Goal:   opening can be stopped at any time: the journal is as it was, and the next opening brings
//         everything to the files, whatever was written to them before.
// Method: stop at the first call, the second, ... until a run ends before.
TEST_F(JournalWatchTest, RecoveryThatWasStoppedBeginsAnew) {
  for (const std::uint64_t memory_bytes : {16 * kPageBytes, 2 * kSizeBytes}) {
    SCOPED_TRACE(memory_bytes);
    options_.recovery_memory_bytes = memory_bytes;
    std::size_t stopped_amid_files = 0;
    const auto stop_at = [&](testing::NthFault& fault) {
      make_with_commits();
      const auto log_before = log_bytes_->image();
      Watcher watcher(fault.nth);
      const auto opened = open_watched(watcher);
      fault.was_hit = watcher.has_stopped();
      ASSERT_EQ(opened.has_value(), !fault.was_hit);
      if (!opened) {
        EXPECT_EQ(opened.error().code(), Errc::kCancelled);
        EXPECT_EQ(watcher.times(), fault.nth) << "nothing is begun after a stop";
        EXPECT_EQ(log_bytes_->image(), log_before);
        stopped_amid_files += files_[0]->count(Kind::kWrite) > 0 ? 1 : 0;
        open();
        EXPECT_EQ(journal_->stats().recovered_pages, 2 * kPages);
      }
      expect_all();
    };
    testing::fail_each_nth("step", stop_at, testing::NthChoice::kFewerLater);
    EXPECT_GT(stopped_amid_files, 0U);
  }
}

// Goal:   where a superblock was torn, all of the log is looked through: that is told, too.
TEST_F(JournalWatchTest, LookingForLaterRecordsIsToldAndCanBeStopped) {
  make_with_commits();
  const std::uint64_t generation = internal::peek_superblock(*log_).value().generation;
  const std::byte nonsense{0xee};
  ASSERT_TRUE(log_bytes_->write((generation + 1) % 2 * internal::kSlotBytes + 100, {&nonsense, 1}));
  Watcher stopped(2);
  EXPECT_EQ(open_watched(stopped).error().code(), Errc::kCancelled);
  Watcher watcher;
  journal_ = open_watched(watcher).value();
  EXPECT_GE(watcher.done_bytes() - watcher.expect_growth_to_the_end(), options_.log_bytes);
  expect_all();
}

// --- Files ---------------------------------------------------------------------------------------

class JournalFileWatchTest : public JournalWatchTest {
 protected:
  void SetUp() override {
    const auto journal = open_journal(paths_, {.create = true, .journal = options_}).value();
    commit_all(*journal);
  }
  [[nodiscard]] std::string journal() const { return journal_path_of(paths_[0]); }

  const testing::TempDir directory_;
  const std::vector<std::string> paths_{directory_.file("a"), directory_.file("b")};
};

// Method: as above, with requests that the kernel does, many at a time.
TEST_F(JournalFileWatchTest, FilesWhoseRecoveryWasStoppedAreNotWrittenToWithoutTheirJournal) {
  for (std::uint64_t nth = 1;; nth += 3) {
    SCOPED_TRACE(nth);
    Watcher watcher(nth);
    JournalFileOptions options{.journal = options_};
    options.journal.recovery_watch = watcher.watch();
    const auto opened = open_journal(paths_, options);
    if (!watcher.has_stopped()) {
      EXPECT_GT(nth, 3U);
      ASSERT_TRUE(opened.has_value());
      EXPECT_EQ((*opened)->stats().recovered_pages, 2 * kPages);
      ASSERT_TRUE((*opened)->close().has_value());
      break;
    }
    ASSERT_FALSE(opened.has_value());
    EXPECT_EQ(opened.error().code(), Errc::kCancelled);
    const auto refused = open_file(paths_[0], {.writable = true});
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code(), std::errc::device_or_resource_busy);
  }
  for (std::size_t number = 0; number < 2; ++number) {
    const std::string found = testing::read_file(paths_[number]);
    expect_all(number, std::as_bytes(std::span(found)));
  }
}

TEST_F(JournalFileWatchTest, LookingThroughAJournalIsToldAndCanBeStopped) {
  Watcher headers;
  EXPECT_TRUE(inspect_journal(journal(), JournalCheck::kHeaders, headers.watch()).has_value());
  EXPECT_GT(headers.times(), 0U);
  Watcher watcher;
  const auto report = inspect_journal(journal(), JournalCheck::kImages, watcher.watch()).value();
  std::uint64_t images = 0;
  for (const JournalRecordReport& record : report.records) {
    images += record.images;
  }
  EXPECT_EQ(watcher.expect_growth_to_the_end(), images * kPageBytes);
  for (std::uint64_t nth = 1; nth <= watcher.times(); ++nth) {
    Watcher stopped(nth);
    const auto refused = inspect_journal(journal(), JournalCheck::kImages, stopped.watch());
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code(), Errc::kCancelled);
    EXPECT_EQ(refused.error().subject(), journal());
  }
}

}  // namespace
}  // namespace quire
