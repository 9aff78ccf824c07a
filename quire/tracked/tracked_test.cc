// SPDX-License-Identifier: Apache-2.0
//
// A mapping with commits, as its user sees it.
#include "quire/tracked/tracked_mapping.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "quire/journal/journal_file.h"
#include "quire/map/writable_mapping.h"
#include "quire/sys/call.h"
#include "quire/sys/memory.h"
#include "quire/testing/process.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

constexpr std::uint64_t kPage = 4096;

class TrackedTest : public ::testing::Test {
 protected:
  TrackedOptions options() const {
    return {.access = Access::kReadWrite,
            .commit = Commit::kAtomic,
            .create = true,
            .reserve_bytes = 16_MiB,
            .journal = {.log_bytes = 1_MiB, .full_wait_max = std::chrono::milliseconds(0)}};
  }
  TrackedMapping open() const { return map(path_, options()).value(); }
  TrackedMapping make(std::uint64_t size_bytes) const {
    TrackedOptions with_size = options();
    with_size.minimum_bytes = size_bytes;
    return map(path_, with_size).value();
  }
  static void put(TrackedMapping& map, std::uint64_t offset, std::string_view text) {
    std::memcpy(map.bytes().data() + offset, text.data(), text.size());
  }
  static std::string get(const TrackedMapping& map, std::uint64_t offset, std::size_t length) {
    return {reinterpret_cast<const char*>(map.bytes().data()) + offset, length};
  }

  // Whether a child may be forked beside the journal's thread.
  static bool may_fork() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return false;
#else
    return true;
#endif
  }

  const testing::TempDir directory_;
  const std::string path_ = directory_.file("state.bin");
};

// Goal:   the options of a list choose the kind of mapping, in the three ways there are.
TEST_F(TrackedTest, TheListOfOptionsChoosesTheMapping) {
  const std::string path = directory_.write("data", testing::pattern(3 * kPage));
  static_assert(std::is_same_v<decltype(map(path)), Result<Mapping>>);
  static_assert(std::is_same_v<decltype(map(path, {.length_bytes = 10})), Result<Mapping>>);
  static_assert(
      std::is_same_v<decltype(map(path, {.access = Access::kReadWrite})), Result<WritableMapping>>);
  static_assert(std::is_same_v<decltype(map(path, {.access = Access::kReadWrite, .create = true})),
                               Result<WritableMapping>>);
  static_assert(
      std::is_same_v<decltype(map(path, {.access = Access::kReadWrite, .commit = Commit::kAtomic})),
                     Result<TrackedMapping>>);
  static_assert(std::is_same_v<decltype(map(path, {.commit = Commit::kAtomic})), Result<Mapping>>);
  EXPECT_EQ(map(path, {.access = Access::kReadWrite, .create = true, .reserve_bytes = 1_MiB})
                .value()
                .size_bytes(),
            3 * kPage);
}

TEST_F(TrackedTest, StoresReachTheFileByCommitAndOnlyThen) {
  TrackedMapping map = make(3 * kPage);
  put(map, 10, "one");
  put(map, 2 * kPage, "two");
  EXPECT_EQ(map.snapshot().value().copy().value().text().substr(10, 3), std::string(3, '\0'));
  const CommitReceipt receipt = map.commit().value();
  EXPECT_EQ(receipt.pages, 2u);
  EXPECT_EQ(map.commit().value().number, receipt.number);
  put(map, 10, "not");
  ASSERT_TRUE(map.close().has_value());
  EXPECT_FALSE(map.is_open());
  EXPECT_EQ(map.commit().error().code(), Errc::kClosed);
  EXPECT_EQ(testing::read_file(path_).substr(10, 3), "one");
  EXPECT_EQ(testing::read_file(path_).substr(2 * kPage, 3), "two");
}

TEST_F(TrackedTest, WhatIsCommittedIsThereWithoutClose) {
  {
    TrackedMapping map = make(2 * kPage);
    put(map, kPage + 5, "kept");
    ASSERT_TRUE(map.commit().has_value());
    put(map, kPage + 5, "lost");
  }
  EXPECT_EQ(get(open(), kPage + 5, 4), "kept");
}

TEST_F(TrackedTest, OnlyChangedPagesAreCommitted) {
  TrackedMapping map = make(64 * kPage);
  for (std::uint64_t page = 0; page < 64; ++page) {
    put(map, page * kPage, "all");
  }
  EXPECT_EQ(map.commit().value().pages, 64u);
  put(map, 7 * kPage, "a");
  put(map, 8 * kPage, "b");
  put(map, 60 * kPage, "c");
  EXPECT_EQ(map.commit().value().pages, 3u);
  EXPECT_EQ(map.commit().value().pages, 0u);
  EXPECT_EQ(map.stats().empty_commits, 1u);
}

TEST_F(TrackedTest, RollbackShowsTheLastCommit) {
  TrackedMapping map = make(4 * kPage);
  put(map, 0, "in the file");
  ASSERT_TRUE(map.commit().has_value());
  ASSERT_TRUE(map.close().has_value());
  map = open();
  put(map, kPage, "in the journal");
  ASSERT_TRUE(map.commit().has_value());
  put(map, 0, "xxxxxxxxxxx");
  put(map, kPage, "xxxxxxxxxxxxxx");
  put(map, 3 * kPage, "x");
  ASSERT_TRUE(map.rollback().has_value());
  EXPECT_EQ(get(map, 0, 11), "in the file");
  EXPECT_EQ(get(map, kPage, 14), "in the journal");
  EXPECT_EQ(get(map, 3 * kPage, 1), std::string(1, '\0'));
  EXPECT_EQ(map.commit().value().pages, 0u);
  EXPECT_EQ(map.stats().restored_pages, 3u);
}

// Goal:   where the file has the last commit, rolling back gives memory back and reads nothing.
TEST_F(TrackedTest, RollbackGivesPagesBackWhereTheFileIsUpToDate) {
  ASSERT_TRUE(make(64 * kPage).close().has_value());
  TrackedMapping map = open();
  std::ranges::fill(map.bytes(), std::byte{9});
  EXPECT_EQ(map.resident().value().private_bytes, 64 * kPage);
  ASSERT_TRUE(map.rollback().has_value());
  EXPECT_EQ(map.resident().value().private_bytes, 0u);
  EXPECT_TRUE(std::ranges::all_of(map.bytes(), [](std::byte b) { return b == std::byte{0}; }));
}

TEST_F(TrackedTest, ResizingIsPartOfTheCommit) {
  TrackedMapping map = make(kPage + 100);
  const std::byte* const before = map.bytes().data();
  put(map, kPage + 90, "0123456789");
  ASSERT_TRUE(map.commit().has_value());
  ASSERT_TRUE(map.resize(5 * kPage).has_value());
  EXPECT_EQ(map.bytes().data(), before);
  put(map, 4 * kPage, "far");
  EXPECT_EQ(map.snapshot().value().size_bytes(), kPage + 100);
  ASSERT_TRUE(map.rollback().has_value());
  EXPECT_EQ(map.size_bytes(), kPage + 100);
  ASSERT_TRUE(map.resize(50).has_value());
  ASSERT_TRUE(map.resize(5 * kPage).has_value());
  EXPECT_EQ(get(map, kPage + 90, 10), std::string(10, '\0'));
  ASSERT_TRUE(map.rollback().has_value());
  EXPECT_EQ(get(map, kPage + 90, 10), "0123456789");
  ASSERT_TRUE(map.resize(50).has_value());
  ASSERT_TRUE(map.resize(3 * kPage + 1).has_value());
  put(map, 3 * kPage, "!");
  ASSERT_TRUE(map.commit().has_value());
  ASSERT_TRUE(map.close().has_value());
  EXPECT_EQ(testing::read_file(path_), std::string(3 * kPage, '\0') + "!");
}

// Goal:   what lies behind the end in its page is zeros once the end moves.
TEST_F(TrackedTest, StoresBehindTheEndAreForgotten) {
  TrackedMapping map = make(100);
  std::memset(map.bytes().data(), 'x', kPage);
  ASSERT_TRUE(map.commit().has_value());
  ASSERT_TRUE(map.resize(200).has_value());
  EXPECT_EQ(get(map, 99, 101), "x" + std::string(100, '\0'));
  ASSERT_TRUE(map.commit().has_value());
  ASSERT_TRUE(map.close().has_value());
  EXPECT_EQ(testing::read_file(path_), std::string(100, 'x') + std::string(100, '\0'));
}

// Goal:   a checkpoint that truncates the file takes nothing from the view.
TEST_F(TrackedTest, GrowthAfterACommittedCutSurvivesItsCheckpoint) {
  ASSERT_TRUE(make(32 * kPage).close().has_value());
  TrackedMapping map = open();
  std::ranges::fill(map.bytes(), std::byte{'a'});
  ASSERT_TRUE(map.commit().has_value());
  ASSERT_TRUE(map.resize(kPage).has_value());
  ASSERT_TRUE(map.commit().has_value());
  ASSERT_TRUE(map.resize(32 * kPage).has_value());
  put(map, 31 * kPage, "stays");
  for (int i = 0; i < 300; ++i) {  // The log is written full, so the file follows.
    put(map, 0, std::to_string(i));
    ASSERT_TRUE(i == 0 || map.commit().has_value());
  }
  EXPECT_GT(map.stats().journal.checkpoints, 0u);
  EXPECT_EQ(get(map, 31 * kPage, 5), "stays");
  EXPECT_EQ(get(map, 30 * kPage, 1), std::string(1, '\0'));
}

TEST_F(TrackedTest, SnapshotsKeepWhatTheyShow) {
  TrackedMapping map = make(2 * kPage);
  put(map, 0, "first");
  ASSERT_TRUE(map.commit().has_value());
  const TrackedSnapshot first = map.snapshot().value();
  put(map, 0, "again");
  ASSERT_TRUE(map.resize(4 * kPage).has_value());
  ASSERT_TRUE(map.commit().has_value());
  std::string text(5, '\0');
  ASSERT_TRUE(first.read(0, std::as_writable_bytes(std::span(text))).has_value());
  EXPECT_EQ(text, "first");
  EXPECT_EQ(first.size_bytes(), 2 * kPage);
  const Mapping copy = map.snapshot().value().copy().value();
  EXPECT_EQ(copy.text().substr(0, 5), "again");
  EXPECT_EQ(copy.size_bytes(), 4 * kPage);
}

TEST_F(TrackedTest, AsyncCommitsAreTakenWhenTheyAreCalled) {
  TrackedMapping map = make(8 * kPage);
  std::vector<Ticket> tickets;
  for (char c = 'A'; c < 'A' + 40; ++c) {  // More than may wait.
    put(map, 0, std::string(1, c));
    put(map, 7 * kPage, std::string(1, c));
    tickets.push_back(map.commit_async().value());
  }
  put(map, 0, "?");
  for (const Ticket& ticket : tickets) {
    EXPECT_TRUE(ticket.wait().has_value());
  }
  ASSERT_TRUE(map.rollback().has_value());
  EXPECT_EQ(get(map, 0, 1), std::string(1, 'A' + 39));
  EXPECT_EQ(get(map, 7 * kPage, 1), std::string(1, 'A' + 39));
  EXPECT_EQ(map.stats().commits, 41u);  // With the one that made the file.
}

TEST_F(TrackedTest, AFlushIsACommitOrAnError) {
  TrackedMapping map = make(2 * kPage);
  put(map, kPage, "x");
  EXPECT_EQ(map.flush(kWholeFile, Durability::kStarted).error().code(), Errc::kUnsupported);
  EXPECT_EQ(map.flush({0, 3 * kPage}).error().code(), Errc::kOutOfRange);
  EXPECT_EQ(map.stats().commits, 1u);
  ASSERT_TRUE(map.flush({0, 1}).has_value());  // All of it, whatever the range.
  EXPECT_EQ(map.snapshot().value().copy().value().text()[kPage], 'x');
}

TEST_F(TrackedTest, ACommitLargerThanTheLogIsRefusedAndLosesNothing) {
  TrackedMapping map = make(2_MiB);
  std::ranges::fill(map.bytes(), std::byte{'a'});
  const auto refused = map.commit();
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Errc::kLimit);
  EXPECT_TRUE(map.check().has_value());
  ASSERT_TRUE(map.resize(512_KiB).has_value());
  EXPECT_EQ(map.commit().value().pages, 512_KiB / kPage);
  ASSERT_TRUE(map.close().has_value());
  EXPECT_EQ(testing::read_file(path_), std::string(512_KiB, 'a'));
}

// Goal:   an async commit that fails takes those behind it along, and the next commit has it all.
TEST_F(TrackedTest, WhatAFailedAsyncCommitHeldGoesWithTheNext) {
  TrackedMapping map = make(1_MiB - 16 * kPage);
  std::optional<TrackedSnapshot> holds_the_log = map.snapshot().value();
  std::ranges::fill(map.bytes().first(600_KiB), std::byte{'a'});
  ASSERT_TRUE(map.commit_async().value().wait().has_value());
  std::ranges::fill(map.bytes().first(500_KiB), std::byte{'b'});
  ASSERT_TRUE(map.resize(700_KiB).has_value());
  const Ticket full = map.commit_async().value();
  ASSERT_FALSE(full.wait().has_value());
  EXPECT_EQ(full.wait().error().code(), Errc::kLimit);
  put(map, 0, "c");
  holds_the_log.reset();
  EXPECT_EQ(map.commit().value().pages, 500_KiB / kPage);
  ASSERT_TRUE(map.close().has_value());
  EXPECT_EQ(testing::read_file(path_).size(), 700_KiB);
  EXPECT_EQ(testing::read_file(path_).substr(0, 600_KiB),
            "c" + std::string(500_KiB - 1, 'b') + std::string(100_KiB, 'a'));
}

TEST_F(TrackedTest, PrivateCopiesAreGivenBackPastTheThreshold) {
  ASSERT_TRUE(make(64 * kPage).close().has_value());
  TrackedOptions dropping = options();
  dropping.drop_past_bytes = 40 * kPage;
  TrackedMapping map = quire::map(path_, dropping).value();
  ASSERT_TRUE(map.resize(80 * kPage).has_value());
  for (std::uint64_t page = 0; page < 80; page += 2) {
    put(map, page * kPage, std::to_string(page));
  }
  ASSERT_TRUE(map.commit().has_value());
  EXPECT_EQ(map.stats().drops, 0u);
  put(map, 3 * kPage, "3");
  {
    const TrackedSnapshot keeps = map.snapshot().value();
    ASSERT_TRUE(map.commit().has_value());
    EXPECT_EQ(map.stats().put_off_drops, 1u);
  }
  put(map, 3 * kPage, "three");
  ASSERT_TRUE(map.commit().has_value());
  EXPECT_EQ(map.stats().drops, 1u);
  EXPECT_EQ(map.resident().value().private_bytes, 0u);
  for (std::uint64_t page = 0; page < 80; page += 2) {
    EXPECT_EQ(get(map, page * kPage, std::to_string(page).size()), std::to_string(page));
  }
  put(map, 78 * kPage, "last");
  EXPECT_EQ(map.commit().value().pages, 1u);
  ASSERT_TRUE(map.close().has_value());
  EXPECT_EQ(testing::read_file(path_).substr(78 * kPage, 4), "last");
}

TEST_F(TrackedTest, ASecondProcessIsToldWhoHasTheFile) {
  if (!may_fork()) {
    GTEST_SKIP() << "fork beside threads: gcc's sanitizers do not survive it";
  }
  const TrackedMapping map = make(kPage);
  const testing::ChildEnd end =
      testing::Child([&] {
        const auto second = quire::map(path_, options());
        const auto reader = quire::map(path_, {.commit = Commit::kAtomic});
        const std::string who = "process " + std::to_string(getppid());
        return second || reader || second.error().message().find(who) == std::string::npos;
      }).join();
  EXPECT_EQ(end.exit_code, 0);
}

TEST_F(TrackedTest, AReaderSeesTheLastCommit) {
  {
    TrackedMapping map = make(2 * kPage);
    put(map, kPage, "committed");
    ASSERT_TRUE(map.commit().has_value());
    put(map, kPage, "abandoned");
  }
  EXPECT_EQ(testing::read_file(path_).find("committed"), std::string::npos);
  for (int i = 0; i < 2; ++i) {  // With a journal to recover from, and with a clean one.
    const Mapping reader = map(path_, {.commit = Commit::kAtomic}).value();
    EXPECT_EQ(reader.text().substr(kPage, 9), "committed");
  }
  const std::string plain = directory_.write("plain", "no journal");
  EXPECT_EQ(map(plain, {.commit = Commit::kAtomic}).value().text(), "no journal");
  EXPECT_FALSE(Mapping(map(journal_path_of(plain)).value_or(Mapping())).is_open());
}

TEST_F(TrackedTest, AReaderIsRefusedWhenTheJournalIsMissing) {
  {
    TrackedMapping map = make(kPage);
    put(map, 0, "x");
    ASSERT_TRUE(map.commit().has_value());
  }
  std::filesystem::remove(journal_path_of(path_));
  const auto reader = map(path_, {.commit = Commit::kAtomic});
  ASSERT_FALSE(reader.has_value());
  EXPECT_NE(reader.error().message().find("journal"), std::string::npos);
}

// Goal:   on read-only media, commits that only the journal has are not passed over in silence.
TEST_F(TrackedTest, AReaderIsRefusedWhereTheFileCannotBeRecovered) {
  {
    TrackedMapping map = make(kPage);
    put(map, 0, "x");
    ASSERT_TRUE(map.commit().has_value());
  }
  bool is_refused = false;
  for (std::uint64_t nth = 1; nth < 10; ++nth) {
    const sys::FaultPlan plan({.call = sys::Call::kOpen, .nth = nth, .times = 100, .error = EROFS});
    const auto reader = map(path_, {.commit = Commit::kAtomic});
    ASSERT_TRUE(!reader || reader->text()[0] == 'x');
    is_refused = is_refused || (!reader && reader.error().code() == Errc::kReadOnly);
  }
  EXPECT_TRUE(is_refused);
}

TEST_F(TrackedTest, OnlyRegularFilesCanBeCommittedTo) {
  const auto refused = map("/dev/null", {.access = Access::kReadWrite, .commit = Commit::kAtomic});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Errc::kUnsupported);
}

TEST_F(TrackedTest, ResizingEndsWithTheReservedAddresses) {
  TrackedMapping map = make(kPage);
  EXPECT_EQ(map.resize(17_MiB).error().code(), Errc::kLimit);
  EXPECT_EQ(map.resize(kToEnd).error().code(), Errc::kLimit);
  EXPECT_EQ(map.size_bytes(), kPage);
  EXPECT_TRUE(map.resize(16_MiB).has_value());
}

TEST_F(TrackedTest, AForkedChildSeesTheBytesAndCannotCommit) {
  if (!may_fork()) {
    GTEST_SKIP() << "fork beside threads: gcc's sanitizers do not survive it";
  }
  TrackedMapping map = make(kPage);
  put(map, 0, "mine");
  const testing::ChildEnd end = testing::Child([&] {
                                  const bool sees = get(map, 0, 4) == "mine";
                                  const auto refused = map.commit();
                                  const bool is_refused =
                                      !refused && refused.error().code() == Errc::kUnsupported;
                                  ::_exit(sees && is_refused ? 0 : 1);
                                  return 1;
                                }).join();
  EXPECT_EQ(end.exit_code, 0);
  EXPECT_EQ(map.commit().value().pages, 1u);
}

// Goal:   what tracking costs, in faults: none that a private mapping would not take, and one for
//         each page that is stored to again after a commit.
TEST_F(TrackedTest, TrackingCostsOneFaultForEachPageAndCommit) {
  constexpr long kPages = 128;
  constexpr long kElse = 32;  // Faults of others: first calls, stacks, the shadow of a sanitizer.
  TrackedMapping map = make(kPages * kPage);
  if (map.explain().find("compares") != std::string::npos) {
    GTEST_SKIP() << "notes about stores: " << map.explain();
  }
  const auto faults_of_a_round = [&](char value) {
    struct rusage before{};
    struct rusage after{};
    ::getrusage(RUSAGE_THREAD, &before);
    for (std::uint64_t at = 0; at < map.size_bytes(); at += kPage) {
      *reinterpret_cast<volatile char*>(map.bytes().data() + at) = value;
    }
    ::getrusage(RUSAGE_THREAD, &after);
    return after.ru_minflt - before.ru_minflt;
  };
  const long first = faults_of_a_round(1);
  EXPECT_GE(first, kPages);
  EXPECT_LE(first, kPages + kElse);
  EXPECT_LE(faults_of_a_round(2), kElse);
  ASSERT_TRUE(map.commit().has_value());
  const long again = faults_of_a_round(3);
  EXPECT_GE(again, kPages);
  EXPECT_LE(again, kPages + kElse);
  EXPECT_LE(faults_of_a_round(4), kElse);
}

TEST_F(TrackedTest, ExplainSaysWhatWasFound) {
  const std::string text = make(kPage).explain();
  EXPECT_NE(text.find("stored to"), std::string::npos) << text;
  EXPECT_NE(text.find("atomic"), std::string::npos) << text;
}

}  // namespace
}  // namespace quire
