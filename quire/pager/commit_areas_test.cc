// SPDX-License-Identifier: Apache-2.0
//
// Commits: snapshots, several areas, files and their journals, and where there are none.
#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <thread>

#include "quire/io/file.h"
#include "quire/journal/journal_file.h"
#include "quire/journal/journal_report.h"
#include "quire/sys/call.h"
#include "quire/sys/journal_mark.h"
#include "quire/testing/commit_fixture.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::CommitTest;
using testing::kAtomic;
using testing::kGranule;

// --- Snapshots -----------------------------------------------------------------------------------

TEST_P(CommitTest, ASnapshotStaysWhileWritingGoesOn) {
  make(2_MiB);
  Pager pager({.memory_bytes = 1_MiB, .fault_path = GetParam()});
  WritablePagedArea area = map(pager);
  store_all(area, 1);
  ASSERT_TRUE(area.commit().has_value());
  store(area, 0, 2);
  PagedArea view = area.snapshot().value();
  EXPECT_EQ(view.size_bytes(), 2_MiB);
  store_all(area, 3);
  ASSERT_TRUE(area.commit().has_value());
  ASSERT_TRUE(area.resize(kGranule).has_value());
  ASSERT_TRUE(area.commit().has_value());
  for (std::uint64_t at = 0; at < 2_MiB; at += kGranule) {
    ASSERT_EQ(load(view, at), 1);
  }
  ASSERT_TRUE(area.close().has_value());
  EXPECT_EQ(load(view, 1_MiB), 1) << "it outlives the area";
  EXPECT_TRUE(view.close().has_value());
}

// --- Several areas -------------------------------------------------------------------------------

TEST_P(CommitTest, SeveralAreasAreOneCommit) {
  make(1_MiB, 2);
  Pager pager({.memory_bytes = 1_MiB, .fault_path = GetParam()});
  WritablePagedArea a = map(pager, 0);
  WritablePagedArea b = map(pager, 1);
  store(a, 0, 1);
  store(b, 9000, 2);
  const std::uint64_t syncs = log_->count(Kind::kSync);
  ASSERT_TRUE(pager.commit({&a, &b, &a}).has_value());
  EXPECT_EQ(log_->count(Kind::kSync) - syncs, 1U);
  EXPECT_EQ(committed_at(0, 0), 1);
  EXPECT_EQ(committed_at(9000, 1), 2);
}

TEST_P(CommitTest, AreasOfDifferentJournalsAreAnError) {
  make(1_MiB);
  const std::shared_ptr<Journal> first = journal_;
  Pager pager({.memory_bytes = 2_MiB, .fault_path = GetParam()});
  WritablePagedArea a = map(pager);
  make(1_MiB);
  WritablePagedArea b = map(pager);
  store(a, 0, 1);
  const Result<void> refused = pager.commit({&a, &b});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), std::errc::invalid_argument);
  EXPECT_TRUE(a.commit().has_value());
  EXPECT_TRUE(b.commit().has_value());
}

// Goal:   a cut holds up the stores to all of its areas, and a pager's thread only those to its
//         own.
TEST_P(CommitTest, AreasOfDifferentPagersAreAnError) {
  make(1_MiB, 2);
  Pager one({.memory_bytes = 1_MiB, .fault_path = GetParam()});
  Pager other({.memory_bytes = 1_MiB, .fault_path = GetParam()});
  WritablePagedArea a = map(one, 0);
  WritablePagedArea b = map(other, 1);
  store(a, 0, 1);
  store(b, 0, 1);
  const Result<void> refused = one.commit({&a, &b});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), std::errc::invalid_argument);
  EXPECT_TRUE(a.commit().has_value());
  EXPECT_EQ(committed_at(0, 1), 0);
}

// Goal:   two areas of one file would each commit their own bytes of a page.
TEST_P(CommitTest, AFileHasOneAreaAtATime) {
  make(1_MiB);
  Pager pager({.memory_bytes = 1_MiB, .fault_path = GetParam()});
  WritablePagedArea area = map(pager);
  const auto refused = pager.map(journal_, 0, kAtomic);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), std::errc::device_or_resource_busy);
  store(area, 0, 1);
  ASSERT_TRUE(area.commit().has_value());
  ASSERT_TRUE(area.close().has_value());
  EXPECT_EQ(load(map(pager), 0), 1);
}

// Goal:   writes that wait for room in the journal keep neither faults nor the commit that makes
//         room waiting.
// Method: one file's uncommitted changes fill the journal. More spills of another one than the
//         pager has threads wait, for ever, as it were; meanwhile a page is read, and the first
//         file committed.
TEST_P(CommitTest, SpillsThatWaitForRoomLetFaultsAndCommitsPass) {
  journal_options_.log_bytes = 1_MiB;
  journal_options_.full_wait_max = std::chrono::hours(1);
  make(2_MiB, 2);
  Pager pager({.memory_bytes = 2_MiB,
               .fault_path = GetParam(),
               .dirty_start_percent = 80,
               .dirty_max_percent = 90});
  WritablePagedArea area = map(pager, 0);
  WritablePagedArea other = map(pager, 1);
  for (std::uint64_t i = 0; i < 150; ++i) {
    store(other, i * kGranule, 1);
  }
  ASSERT_TRUE(other.evict().has_value());
  for (std::uint64_t i = 0; i < 200; i += 2) {
    store(area, i * kGranule, 2);
  }
  std::thread spiller([&] { EXPECT_TRUE(area.evict().has_value()); });
  while (journal_->stats().full_waits == 0) {
    std::this_thread::yield();
  }
  EXPECT_EQ(load(area, 1_MiB), 0);
  EXPECT_EQ(load(other, 0), 1);
  ASSERT_TRUE(other.commit().has_value());
  spiller.join();
  ASSERT_TRUE(area.commit().has_value());
  EXPECT_EQ(committed_at(0, 0), 2);
  EXPECT_EQ(committed_at(149 * kGranule, 1), 1);
}

// --- Files ---------------------------------------------------------------------------------------

class CommitFileTest : public CommitTest {
 protected:
  const testing::TempDir directory_;
  WritablePagedOptions options_ = [] {
    WritablePagedOptions options = kAtomic;
    options.journal.log_bytes = 1_MiB;
    return options;
  }();
};

TEST_P(CommitFileTest, AFileHasItsJournalBesideItUntilItIsClosed) {
  const std::string path = directory_.file("table.db");
  options_.create = true;
  options_.minimum_bytes = 100'000;
  Pager pager({.memory_bytes = 1_MiB, .fault_path = GetParam()});
  {
    WritablePagedArea area = pager.map(path, options_).value();
    EXPECT_EQ(area.size_bytes(), 100'000U);
    store(area, 99'999, 1);
    ASSERT_TRUE(area.flush().has_value()) << "is a commit";
    EXPECT_EQ(area.stats().commits, 1U);
    store(area, 0, 1);
    EXPECT_NE(area.explain().find(name_of(GetParam())), std::string::npos) << area.explain();
    EXPECT_NE(area.explain().find("commits through a journal"), std::string::npos);
    EXPECT_FALSE(pager.map(path, options_).has_value()) << "one at a time";
  }  // Not closed: as after a crash.
  WritablePagedArea area = pager.map(path, options_).value();
  EXPECT_EQ(area.size_bytes(), 100'000U);
  EXPECT_EQ(load(area, 99'999), 1);
  EXPECT_EQ(load(area, 0), 0);
  ASSERT_TRUE(area.close().has_value());
  EXPECT_EQ(testing::read_file(path), std::string(99'999, '\0') + '\1');
  ASSERT_TRUE(inspect_journal(journal_path_of(path), JournalCheck::kImages).value().is_clean);
}

TEST_P(CommitFileTest, WhatCannotBeAtomicSaysWhy) {
  const std::string path = directory_.write("table.db", std::string(10'000, '.'));
  Pager survivor(
      {.memory_bytes = 1_MiB, .fault_path = GetParam(), .survive_kill = SurviveKill::kYes});
  Pager plain({.memory_bytes = 1_MiB, .fault_path = GetParam()});
  const auto refused = survivor.map(path, options_);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Errc::kUnsupported);
  EXPECT_FALSE(refused.error().remedy().empty());
  EXPECT_FALSE(plain.map(path, {.commit = Commit::kAtomic}).has_value());
  WritablePagedArea area = plain.map(path, {.access = Access::kReadWrite}).value();
  EXPECT_EQ(area.commit().error().code(), Errc::kUnsupported);
  EXPECT_EQ(area.rollback().error().code(), Errc::kUnsupported);
  EXPECT_EQ(area.snapshot().error().code(), Errc::kUnsupported);
}

// Goal:   nobody writes to a file past its journal.
TEST_P(CommitFileTest, AFileThatIsBehindItsJournalIsNotMappedForWritingWithoutIt) {
  const std::string path = directory_.write("table.db", std::string(10'000, '.'));
  Pager pager({.memory_bytes = 1_MiB, .fault_path = GetParam()});
  {
    WritablePagedArea area = pager.map(path, options_).value();
    store(area, 0, 1);
    ASSERT_TRUE(area.commit().has_value());
  }  // As after a crash: the commit is in the journal alone.
  const auto refused = pager.map(path, {.access = Access::kReadWrite});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), std::errc::device_or_resource_busy);
  EXPECT_NE(refused.error().remedy().find("quire recover FILE"), std::string::npos);
  EXPECT_TRUE(pager.map(path).has_value());
  ASSERT_TRUE(pager.map(path, options_)->close().has_value());
  EXPECT_TRUE(pager.map(path, {.access = Access::kReadWrite}).has_value());
}

// Goal:   who reads such a file without its journal can find out, however it is read; also when all
//         that it has is in the journal.
TEST_P(CommitFileTest, AnAreaOfAFileThatIsBehindItsJournalSaysSo) {
  const auto says_so = [](const PagedArea& area) {
    return area.explain().find(sys::kBehindItsJournal) != std::string::npos;
  };
  Pager pager({.memory_bytes = 1_MiB, .fault_path = GetParam()});
  options_.create = true;
  for (const std::size_t size_bytes : {0U, 10'000U}) {
    const std::string path =
        directory_.write(std::to_string(size_bytes), std::string(size_bytes, '.'));
    {
      WritablePagedArea area = pager.map(path, options_).value();
      ASSERT_TRUE(area.resize(10'000).has_value());
      store(area, 0, 1);
      ASSERT_TRUE(area.commit().has_value());
      EXPECT_FALSE(says_so(area)) << "it has the journal";
    }  // As after a crash: the commit is in the journal alone.
    const PagedArea paged = pager.map(path).value();
    EXPECT_EQ(paged.size_bytes(), size_bytes);
    EXPECT_TRUE(paged.is_paged());
    EXPECT_TRUE(says_so(paged)) << paged.explain();
    EXPECT_TRUE(says_so(pager.map(open_file(path).value()).value()));
    Pager no_faults({.memory_bytes = 1_MiB, .fault_path = GetParam()});
    const sys::FaultPlan plan(
        {.call = sys::Call::kUserFault, .times = UINT64_MAX, .error = ENOSYS});
    const PagedArea kernels = no_faults.map(path).value();
    EXPECT_FALSE(kernels.is_paged());
    EXPECT_TRUE(says_so(kernels)) << kernels.explain();
  }
  for (const char* name : {"0", "10000"}) {
    ASSERT_TRUE(pager.map(directory_.file(name), options_)->close().has_value());
    EXPECT_FALSE(says_so(pager.map(directory_.file(name)).value()));
  }
}

INSTANTIATE_TEST_SUITE_P(Paths, CommitFileTest, testing::kFaultPaths, testing::path_name);

}  // namespace
}  // namespace quire
