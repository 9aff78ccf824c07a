// SPDX-License-Identifier: Apache-2.0
//
// Tracked mappings and their journal: what shares a record, and when the file is brought up to
// date.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "quire/io/file.h"
#include "quire/map/writable_mapping.h"
#include "quire/sys/call.h"
#include "quire/sys/journal_mark.h"
#include "quire/testing/process.h"
#include "quire/testing/temp_dir.h"
#include "quire/tracked/tracked_mapping.h"

namespace quire {
namespace {

constexpr std::uint64_t kPage = 4096;

class TrackedJournalTest : public ::testing::Test {
 protected:
  [[nodiscard]] TrackedMapping make(std::uint64_t size_bytes) const {
    return map(path_, {.access = Access::kReadWrite,
                       .commit = Commit::kAtomic,
                       .create = true,
                       .minimum_bytes = size_bytes,
                       .journal = {.log_bytes = 1_MiB, .full_wait_max = std::chrono::hours(1)}})
        .value();
  }
  static void put(TrackedMapping& map, std::uint64_t offset, char text) {
    map.bytes()[offset] = static_cast<std::byte>(text);
  }
  static bool says_so(const std::string& explanation) {
    return explanation.find(sys::kBehindItsJournal) != std::string::npos;
  }

  const testing::TempDir directory_;
  const std::string path_ = directory_.file("state");
};

// Method: the first one waits for room in the log, for as long as the test likes.
TEST_F(TrackedJournalTest, AsyncCommitsThatWaitTogetherShareAFlush) {
  TrackedMapping map = make(900_KiB);
  std::optional<TrackedSnapshot> holds_the_log = map.snapshot().value();
  std::ranges::fill(map.bytes().first(600_KiB), std::byte{'a'});
  ASSERT_TRUE(map.commit().has_value());
  std::vector<Ticket> tickets;
  std::ranges::fill(map.bytes().first(500_KiB), std::byte{'b'});
  tickets.push_back(map.commit_async().value());
  while (map.stats().journal.full_waits == 0) {
    std::this_thread::yield();
  }
  const std::uint64_t flushes = map.stats().journal.commits;
  for (const char text : {'1', '2', '3'}) {
    put(map, 0, text);
    tickets.push_back(map.commit_async().value());
  }
  holds_the_log.reset();
  for (const Ticket& ticket : tickets) {
    EXPECT_TRUE(ticket.wait().has_value());
  }
  EXPECT_EQ(map.stats().journal.commits - flushes, 2U);
  EXPECT_EQ(map.stats().commits, 6U) << "with the one that made the file";
  EXPECT_EQ(map.snapshot().value().copy().value().text().substr(0, 2), "3b");
}

TEST_F(TrackedJournalTest, ACheckpointBringsWhatIsCommittedToTheFile) {
  TrackedMapping map = make(2 * kPage);
  put(map, kPage, 'x');
  ASSERT_TRUE(map.commit().has_value());
  put(map, kPage, 'y');
  ASSERT_TRUE(map.checkpoint().has_value());
  EXPECT_EQ(testing::read_file(path_).at(kPage), 'x');
  EXPECT_EQ(map.stats().journal.used_bytes, 0U);
  EXPECT_EQ(map.bytes()[kPage], std::byte{'y'});
}

// Goal:   the journal's pages may be larger than the kernel's, and the file end inside of one.
TEST_F(TrackedJournalTest, TheLastPageIsCommittedWithZerosBehindTheEnd) {
  const auto open = [&](std::uint64_t size_bytes) {
    return map(path_, {.access = Access::kReadWrite,
                       .commit = Commit::kAtomic,
                       .create = true,
                       .minimum_bytes = size_bytes,
                       .journal = {.page_bytes = 16_KiB, .log_bytes = 1_MiB}})
        .value();
  };
  {
    TrackedMapping map = open(40'000);
    std::ranges::fill(map.bytes(), std::byte{'a'});
    map.bytes().data()[40'001] = std::byte{'?'};  // Beyond the end, in its page.
    ASSERT_TRUE(map.commit().has_value());
    ASSERT_TRUE(map.resize(50'000).has_value());
    ASSERT_TRUE(map.commit().has_value());
  }
  TrackedMapping map = open(0);
  ASSERT_EQ(map.size_bytes(), 50'000U);
  EXPECT_TRUE(std::ranges::all_of(map.bytes().first(40'000),
                                  [](std::byte byte) { return byte == std::byte{'a'}; }));
  EXPECT_TRUE(std::ranges::all_of(map.bytes().subspan(40'000),
                                  [](std::byte byte) { return byte == std::byte{0}; }));
}

// Goal:   nobody writes to a file past its journal, and who reads it so can find out.
TEST_F(TrackedJournalTest, AFileThatIsBehindItsJournalIsNotMappedForWritingWithoutIt) {
  {
    TrackedMapping tracked = make(8_KiB);
    ASSERT_TRUE(tracked.checkpoint().has_value());  // Its size is in the file.
    put(tracked, 0, 'a');
    ASSERT_TRUE(tracked.commit().has_value());
  }  // As if the process had died: the commit is in the journal alone.
  const auto refused = map(path_, {.access = Access::kReadWrite});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), std::errc::device_or_resource_busy);
  EXPECT_EQ(open_file(path_, {.writable = true}).error().code(),
            std::errc::device_or_resource_busy);
  EXPECT_NE(refused.error().message().find("quire recover FILE"), std::string::npos)
      << refused.error().message();
  {
    const Mapping reader = map(path_).value();
    EXPECT_TRUE(says_so(open_file(path_).value()->explain()));
    EXPECT_TRUE(says_so(reader.explain()));
    EXPECT_NE(reader.bytes()[0], std::byte{'a'});
    EXPECT_TRUE(map(path_, {.access = Access::kReadWrite, .sharing = Sharing::kPrivate})
                    ->explain()
                    .find("its last commits") != std::string::npos);
  }
  EXPECT_EQ(map(path_, CommittedOptions{.commit = Commit::kAtomic})->bytes()[0], std::byte{'a'});
  EXPECT_FALSE(says_so(map(path_).value().explain()));
  EXPECT_TRUE(map(path_, {.access = Access::kReadWrite}).has_value());
  EXPECT_TRUE(open_file(path_, {.writable = true}).has_value());
}

// Goal:   a file may be empty only because all that it has is in its journal.
TEST_F(TrackedJournalTest, AnEmptyFileThatIsBehindItsJournalSaysSo) {
  {
    TrackedMapping tracked = make(8_KiB);
    put(tracked, 0, 'a');
    ASSERT_TRUE(tracked.commit().has_value());
  }
  ASSERT_EQ(testing::read_file(path_), "");
  for (const Sharing sharing : {Sharing::kShared, Sharing::kPrivate}) {
    const Mapping reader = map(path_, {.sharing = sharing}).value();
    EXPECT_EQ(reader.size_bytes(), 0U);
    EXPECT_TRUE(says_so(reader.explain())) << reader.explain();
  }
  EXPECT_TRUE(says_so(open_file(path_).value()->explain()));
  EXPECT_EQ(map(path_, CommittedOptions{.commit = Commit::kAtomic})->bytes()[0], std::byte{'a'});
}

TEST_F(TrackedJournalTest, ACopyOfAFileThatIsBehindItsJournalSaysSo) {
  {
    TrackedMapping tracked = make(8_KiB);
    ASSERT_TRUE(tracked.checkpoint().has_value());
    put(tracked, 0, 'a');
    ASSERT_TRUE(tracked.commit().has_value());
  }
  const sys::FaultPlan no_mmap({.call = sys::Call::kMap, .times = 1, .error = ENODEV});
  const Mapping reader = map(path_).value();
  EXPECT_EQ(reader.size_bytes(), 8_KiB);
  EXPECT_NE(reader.explain().find("read into memory"), std::string::npos) << reader.explain();
  EXPECT_TRUE(says_so(reader.explain())) << reader.explain();
}

// Goal:   who may read a file that needs no journal may map it, and who needs one is told.
TEST_F(TrackedJournalTest, AReaderNeedNotReadAJournalThatTheFileDoesNotNeed) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "setuid: needs root to become nobody";
  }
  constexpr int kUnreachable = 9;
  const auto map_as_nobody = [this] {
    testing::Child reader([this] {
      if (::setgid(65534) != 0 || ::setuid(65534) != 0 || !map(path_)) {
        return kUnreachable;
      }
      const auto found = map(path_, {.commit = Commit::kAtomic});
      return found ? 0 : found.error().code() == Errc::kReadOnly ? 1 : 2;
    });
    return reader.join().exit_code;
  };
  std::optional<TrackedMapping> writer = make(kPage);
  ASSERT_EQ(::chmod(directory_.path().c_str(), 0755), 0);
  ASSERT_EQ(::chmod((path_ + ".quire-journal").c_str(), 0600), 0);
  if (map_as_nobody() == kUnreachable) {
    GTEST_SKIP() << "nobody cannot reach " << path_;
  }
  EXPECT_EQ(map_as_nobody(), 1);
  ASSERT_TRUE(writer->close().has_value());
  EXPECT_EQ(map_as_nobody(), 0);
}

}  // namespace
}  // namespace quire
