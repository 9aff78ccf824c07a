// SPDX-License-Identifier: Apache-2.0
//
// Journals of files on a disk: who may open what, and what kill -9 leaves.
#include "quire/journal/journal_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <functional>
#include <initializer_list>

#include "quire/io/io_queue.h"
#include "quire/journal/journaled_store.h"
#include "quire/sys/call.h"
#include "quire/testing/aligned_memory.h"
#include "quire/testing/nth_fault.h"
#include "quire/testing/process.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

constexpr std::uint64_t kPageBytes = 4096;
constexpr char kAttribute[] = "user.quire.journal";

JournalFileOptions small() {
  return {.create = true, .journal = {.log_bytes = 256 * 1024}};
}

std::vector<std::byte> page_of(int value) {
  return {kPageBytes, static_cast<std::byte>(value)};
}

bool has_mark(const std::string& path) {
  return ::getxattr(path.c_str(), kAttribute, nullptr, 0) > 0;
}

class JournalFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string probe = directory_.write("probe", "x");
    if (::setxattr(probe.c_str(), "user.quire.probe", "x", 1, 0) != 0) {
      GTEST_SKIP() << "user attributes: " << std::strerror(errno);
    }
  }

  // Commits a page and leaves without closing, as a crash does.
  void leave_a_commit(int value) { leave_commits({value}); }
  void leave_commits(std::initializer_list<int> values) {
    const auto journal = open_journal({path_}, small()).value();
    for (const int value : values) {
      ASSERT_TRUE(journal->file(0).write(0, page_of(value)).has_value());
      ASSERT_TRUE(journal->commit().has_value());
    }
  }

  testing::TempDir directory_;
  const std::string path_ = directory_.file("data");
  const std::string journal_path_ = journal_path_of(path_);
};

TEST_F(JournalFileTest, TheFileCarriesItsJournalsMarkUntilItIsClosed) {
  auto journal = open_journal({path_}, small()).value();
  EXPECT_TRUE(has_mark(path_));
  ASSERT_TRUE(journal->file(0).write(0, page_of(3)).has_value());
  ASSERT_TRUE(journal->commit().has_value());
  EXPECT_EQ(std::filesystem::file_size(path_), 0U);
  ASSERT_TRUE(journal->close().has_value());
  EXPECT_FALSE(has_mark(path_));
  EXPECT_EQ(testing::read_file(path_), std::string(kPageBytes, '\3'));
  EXPECT_FALSE(std::filesystem::exists(journal_path_ + ".new"));
  journal.reset();
  std::filesystem::remove(journal_path_);  // Nobody needs it now.
  EXPECT_TRUE(open_journal({path_}, small()).has_value());
}

TEST_F(JournalFileTest, ACommitIsFoundWhenItIsOpenedAgain) {
  leave_a_commit(5);
  const auto journal = open_journal({path_}, small()).value();
  EXPECT_EQ(testing::read_file(path_), std::string(kPageBytes, '\5'));
  EXPECT_NE(journal->explain().find("recovered 1 commits"), std::string::npos)
      << journal->explain();
}

TEST_F(JournalFileTest, AMissingJournalIsAnErrorWhenTheFileNeedsIt) {
  leave_a_commit(5);
  std::filesystem::remove(journal_path_);
  const auto opened = open_journal({path_}, small());
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().code(), std::errc::no_such_file_or_directory);
  EXPECT_NE(opened.error().message().find("needs its journal"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(journal_path_));
}

TEST_F(JournalFileTest, AnotherJournalIsRefused) {
  leave_a_commit(5);
  JournalFileOptions elsewhere = small();
  elsewhere.path = directory_.file("other.quire-journal");
  // Made for another file, so that it is there.
  ASSERT_TRUE(open_journal({directory_.file("other")}, elsewhere).value()->close().has_value());
  const auto opened = open_journal({path_}, elsewhere);
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().code(), Errc::kChanged);
  EXPECT_TRUE(open_journal({path_}, small()).has_value());
}

TEST_F(JournalFileTest, AFileThatWasReplacedIsRefused) {
  leave_a_commit(5);
  std::filesystem::rename(path_, path_ + ".old");
  directory_.write("data", "something else");
  const auto opened = open_journal({path_}, small());
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().code(), Errc::kChanged);
  EXPECT_EQ(testing::read_file(path_), "something else");
}

// Goal:   a copy of file and journal, with attributes, is as good as the two.
TEST_F(JournalFileTest, ACopyWithItsAttributesIsRecovered) {
  leave_a_commit(6);
  const std::string copy = directory_.file("copy");
  ASSERT_TRUE(testing::run_program({"cp", "--preserve=xattr", path_, copy}).end.exited);
  std::filesystem::copy_file(journal_path_, journal_path_of(copy));
  if (!has_mark(copy)) {
    GTEST_SKIP() << "cp --preserve=xattr: copies no attributes here";
  }
  const auto journal = open_journal({copy}, small()).value();
  EXPECT_EQ(testing::read_file(copy), std::string(kPageBytes, '\6'));
}

TEST_F(JournalFileTest, SeveralFilesShareAJournal) {
  const std::vector<std::string> paths{directory_.file("a"), directory_.file("b")};
  {
    const auto journal = open_journal(paths, small()).value();
    ASSERT_TRUE(journal->file(0).write(0, page_of(1)).has_value());
    ASSERT_TRUE(journal->file(1).write(kPageBytes, page_of(2)).has_value());
    const std::size_t third =
        journal->add_file(open_journal_file(directory_.file("c"), true).value()).value();
    ASSERT_TRUE(journal->file(third).write(0, page_of(3)).has_value());
    ASSERT_TRUE(journal->commit().has_value());
  }
  EXPECT_FALSE(open_journal({paths[0]}, small()).has_value());
  const std::vector<std::string> all{paths[0], paths[1], directory_.file("c")};
  EXPECT_TRUE(open_journal(all, small()).has_value());
  EXPECT_EQ(std::filesystem::file_size(paths[1]), 2 * kPageBytes);
  EXPECT_EQ(testing::read_file(all[2]), std::string(kPageBytes, '\3'));
}

TEST_F(JournalFileTest, ASecondProcessIsRefusedAndToldWho) {
  testing::Signal is_open;
  testing::Signal is_over;
  testing::Child holder([&] {
    const auto journal = open_journal({path_}, small());
    is_open.raise();
    is_over.wait();
    return journal.has_value() ? 0 : 1;
  });
  is_open.wait();
  const auto second = open_journal({path_}, small());
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code(), std::errc::device_or_resource_busy);
  EXPECT_NE(second.error().message().find("process " + std::to_string(holder.pid())),
            std::string::npos)
      << second.error().message();
  is_over.raise();
  EXPECT_EQ(holder.join().exit_code, 0);
  EXPECT_TRUE(open_journal({path_}, small()).has_value());
}

// Goal:   a queue reads past the journal where it may, and the newest bytes everywhere.
TEST_F(JournalFileTest, AQueueReadsTheNewestBytes) {
  constexpr std::uint64_t kPages = 16;
  const auto journal = open_journal({path_}, small()).value();
  JournaledStore& store = journal->file(0);
  for (std::uint64_t page = 0; page < kPages; ++page) {
    ASSERT_TRUE(store.write(page * kPageBytes, page_of(static_cast<int>(page))).has_value());
  }
  ASSERT_TRUE(journal->commit().has_value());
  ASSERT_TRUE(journal->checkpoint().has_value());
  ASSERT_TRUE(store.write(3 * kPageBytes, page_of(99)).has_value());
  auto queue = IoQueue::make({.depth = 8}).value();
  std::uint64_t by_kernel = 0;
  for (std::uint64_t page = 0; page < kPages; ++page) {
    const testing::PageMemory memory(kPageBytes);
    IoRequest request{.store = &store, .offset_bytes = page * kPageBytes, .memory = memory.bytes()};
    request.on_done = [](IoRequest&) {};
    by_kernel += store.may_kernel_do(request) ? 1 : 0;
    queue->submit(request);
    queue->drain();
    ASSERT_EQ(request.result().value(), kPageBytes);
    EXPECT_TRUE(
        std::ranges::equal(memory.bytes(), page_of(page == 3 ? 99 : static_cast<int>(page))));
  }
  EXPECT_EQ(by_kernel, kPages - 1);
}

TEST_F(JournalFileTest, ACommitOfAFewPagesIsOneSystemCall) {
  const auto journal = open_journal({path_}, small()).value();
  ASSERT_TRUE(journal->file(0).resize(8 * kPageBytes).has_value());
  ASSERT_TRUE(journal->commit().has_value());
  const std::vector<std::byte> pages(3 * kPageBytes, std::byte{1});
  const PageImages images{.offset_bytes = kPageBytes, .bytes = pages};
  const FileCommit commit{.file = 0, .images = {&images, 1}};
  const sys::FaultPlan plan(sys::FaultRule{});
  ASSERT_TRUE(journal->commit({&commit, 1}).has_value());
  EXPECT_EQ(plan.count(sys::Call::kWrite), 1U);
  EXPECT_EQ(plan.count(sys::Call::kSyncData) + plan.count(sys::Call::kSyncAll), 0U);
  EXPECT_EQ(plan.count(sys::Call::kRead), 0U);
}

TEST_F(JournalFileTest, AFileSystemWithoutAttributesIsAnnounced) {
  {
    const sys::FaultPlan plan({.call = sys::Call::kAttribute, .times = 1000, .error = EOPNOTSUPP});
    const auto journal = open_journal({path_}, small()).value();
    EXPECT_NE(journal->explain().find("no user attributes"), std::string::npos)
        << journal->explain();
    ASSERT_TRUE(journal->file(0).write(0, page_of(8)).has_value());
    ASSERT_TRUE(journal->commit().has_value());
  }
  EXPECT_FALSE(has_mark(path_));
  const sys::FaultPlan plan({.call = sys::Call::kAttribute, .times = 1000, .error = EOPNOTSUPP});
  EXPECT_TRUE(open_journal({path_}, small()).has_value());  // Known by its inode.
  EXPECT_EQ(testing::read_file(path_), std::string(kPageBytes, '\10'));
}

TEST_F(JournalFileTest, ADiskThatFillsUpWhileAJournalIsMadeLeavesNothingBehind) {
  const sys::FaultPlan plan({.call = sys::Call::kAllocate, .times = 1000, .error = ENOSPC});
  const auto opened = open_journal({path_}, small());
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().code(), std::errc::no_space_on_device);
  EXPECT_FALSE(std::filesystem::exists(journal_path_));
  EXPECT_FALSE(std::filesystem::exists(journal_path_ + ".new"));
  EXPECT_FALSE(has_mark(path_));
}

// Goal:   whichever system call fails, an error says so, and what was acknowledged is there.
TEST_F(JournalFileTest, NothingAcknowledgedIsLostWhicheverSystemCallFails) {
  for (const sys::Call call :
       {sys::Call::kOpen, sys::Call::kRead, sys::Call::kWrite, sys::Call::kSyncData,
        sys::Call::kSyncAll, sys::Call::kAttribute, sys::Call::kTruncate, sys::Call::kControl}) {
    testing::fail_each_nth(sys::name_of(call), [&](testing::NthFault& fault) {
      leave_a_commit(1);
      int acknowledged = 1;
      {
        const sys::FaultPlan plan({.call = call, .nth = fault.nth, .error = EIO});
        const auto journal = open_journal({path_}, small());
        if (journal && (*journal)->file(0).write(0, page_of(2)) && (*journal)->commit()) {
          acknowledged = 2;
          static_cast<void>((*journal)->close());  // Fails or not: that is what is looked at.
        }
        fault.was_hit = plan.hits() > 0;
      }
      const auto journal = open_journal({path_}, small());
      ASSERT_TRUE(journal.has_value()) << journal.error().message();
      std::byte byte{};
      ASSERT_EQ((*journal)->file(0).read(0, {&byte, 1}).value(), 1U);
      const int found = std::to_integer<int>(byte);
      EXPECT_TRUE(found == acknowledged || found == 2) << found;
      ASSERT_TRUE((*journal)->close().has_value());
    });
  }
}

// What can be wrong with a journal that is opened, and what the error says.
struct Trouble {
  const char* name;
  std::function<void(const std::string& journal)> make;
  Errc code;
  const char* cause;
};

void patch(const std::string& path, std::uint64_t offset, const std::string& bytes) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_EQ(::pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(offset)),
            static_cast<ssize_t>(bytes.size()));
  ::close(file);
}

constexpr std::uint64_t kSlotBytes = 16 * 1024;
const std::string kVersion7{7, 0, 0, 0};

const std::array kTroubles{
    Trouble{"foreign", [](const auto& path) { patch(path, 0, std::string(2 * kSlotBytes, 'x')); },
            Errc::kCorrupt, "does not begin as a journal"},
    Trouble{"both superblocks damaged",
            [](const auto& path) {
              patch(path, 60, "rotten");
              patch(path, kSlotBytes + 60, "rotten");
            },
            Errc::kCorrupt, "checksum of its superblock"},
    Trouble{"the newest superblock damaged",
            [](const auto& path) { patch(path, kSlotBytes + 60, "rotten"); }, Errc::kCorrupt,
            "newest superblock was durable and is damaged"},
    Trouble{"a record damaged",
            [](const auto& path) { patch(path, 2 * kSlotBytes + 60, "rotten"); }, Errc::kCorrupt,
            "was durable and is damaged"},
    Trouble{"newer", [](const auto& path) { patch(path, kSlotBytes + 8, kVersion7); },
            Errc::kNewerVersion, "version 7"},
    Trouble{"empty", [](const auto& path) { std::filesystem::resize_file(path, 0); },
            Errc::kTruncated, "shorter than a journal"},
    Trouble{"cut off", [](const auto& path) { std::filesystem::resize_file(path, 100'000); },
            Errc::kTruncated, "shorter than a journal"},
};

TEST_F(JournalFileTest, WhatIsWrongWithAJournalIsNamedAndTheFileIsNotTouched) {
  for (const Trouble& trouble : kTroubles) {
    SCOPED_TRACE(trouble.name);
    for (const std::string& path : {path_, journal_path_}) {
      std::filesystem::remove(path);
    }
    leave_commits({5, 6, 7});
    trouble.make(journal_path_);
    const auto opened = open_journal({path_}, small());
    ASSERT_FALSE(opened.has_value());
    EXPECT_EQ(opened.error().code(), trouble.code);
    const std::string message = opened.error().message();
    EXPECT_NE(message.find(trouble.cause), std::string::npos) << message;
    EXPECT_NE(message.find(journal_path_), std::string::npos) << message;
    EXPECT_NE(opened.error().remedy(), "") << message;
    EXPECT_EQ(std::filesystem::file_size(path_), 0U);  // No commit has reached it.
    EXPECT_TRUE(has_mark(path_));
  }
}

// Whichever of file, journal and log it is that cannot be opened for writing.
TEST_F(JournalFileTest, ReadOnlyMediaAreNamed) {
  leave_commits({5});
  for (std::uint64_t nth = 1; nth <= 4; ++nth) {
    SCOPED_TRACE(nth);
    std::uint64_t hits = 0;
    {
      const sys::FaultPlan plan(
          {.call = sys::Call::kOpen, .nth = nth, .times = 100, .error = EROFS});
      const auto opened = open_journal({path_}, small());
      ASSERT_FALSE(opened.has_value());
      EXPECT_EQ(opened.error().code(), std::errc::read_only_file_system);
      EXPECT_NE(opened.error().message().find("read-only"), std::string::npos)
          << opened.error().message();
      hits = plan.hits();
    }
    ASSERT_GT(hits, 0U);
  }
  EXPECT_TRUE(open_journal({path_}, small()).has_value());
}

TEST_F(JournalFileTest, AJournalThatWasNotFinishedIsMadeAgain) {
  directory_.write("data.quire-journal.new", std::string(100'000, 'x'));
  EXPECT_TRUE(open_journal({path_}, small()).has_value());
  EXPECT_TRUE(std::filesystem::exists(journal_path_));
}

// Two counters in two files that are always committed together, one commit after the other, until
// the process is killed. The pipe gets each count that was acknowledged.
int count_until_killed(const std::vector<std::string>& paths, int acknowledged) {
  const auto journal = open_journal(paths, small());
  if (!journal) {
    return 1;
  }
  std::array<std::uint64_t, 512> page{};
  if (!(*journal)->file(0).read(0, std::as_writable_bytes(std::span(page)))) {
    return 1;
  }
  while (true) {
    ++page[0];
    for (std::size_t number = 0; number < 2; ++number) {
      if (!(*journal)->file(number).write(page[0] % 7 * kPageBytes,
                                          std::as_bytes(std::span(page))) ||
          !(*journal)->file(number).write(0, std::as_bytes(std::span(page)))) {
        return 1;
      }
    }
    if (!(*journal)->commit() ||
        ::write(acknowledged, page.data(), sizeof(page[0])) != sizeof(page[0])) {
      return 1;
    }
  }
}

// Goal:   after kill -9 both files hold the last acknowledged count, or the next.
// Method: 50 rounds; each is killed after some more commits than the one before, at no particular
//         moment of the next.
TEST_F(JournalFileTest, KilledWritersLoseNothing) {
  const std::vector<std::string> paths{directory_.file("a"), directory_.file("b")};
  std::uint64_t last = 0;
  for (int round = 0; round < 50; ++round) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    testing::Child writer([&] { return count_until_killed(paths, ends[1]); });
    ::close(ends[1]);
    std::uint64_t seen = 0;
    for (int i = 0; i <= round % 10; ++i) {
      ASSERT_EQ(::read(ends[0], &seen, sizeof(seen)), static_cast<ssize_t>(sizeof(seen)));
      ASSERT_GT(seen, last);
      last = seen;
    }
    writer.kill(SIGKILL);
    EXPECT_EQ(writer.join().signal, SIGKILL);
    while (::read(ends[0], &seen, sizeof(seen)) == static_cast<ssize_t>(sizeof(seen))) {
      last = seen;
    }
    ::close(ends[0]);
    const auto journal = open_journal(paths, small()).value();
    std::array<std::uint64_t, 2> counts{};
    for (std::size_t number = 0; number < 2; ++number) {
      auto count = std::as_writable_bytes(std::span(counts).subspan(number, 1));
      ASSERT_EQ(journal->file(number).read(0, count).value(), sizeof(counts[0]));
    }
    ASSERT_EQ(counts[0], counts[1]) << round;
    ASSERT_TRUE(counts[0] == last || counts[0] == last + 1) << counts[0] << " after " << last;
    last = counts[0];
  }
}

}  // namespace
}  // namespace quire
