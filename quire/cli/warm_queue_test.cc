// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/warm_queue.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <vector>

#include "quire/sys/call.h"
#include "quire/testing/temp_dir.h"

namespace quire::cli {
namespace {

using testing::pattern;
using testing::TempDir;

struct Outcome {
  std::string path;
  Result<WarmReport> report;
};

// A queue that remembers what became of each item. Memory guards have their own tests.
class WarmQueueTest : public ::testing::Test {
 protected:
  void add(const std::string& path, std::uint64_t size_bytes, std::vector<ByteRange> ranges) {
    auto file = sys::open_file(path.c_str(), {});
    ASSERT_TRUE(file);
    queue_.add({.path = path,
                .file = std::move(*file),
                .size_bytes = size_bytes,
                .ranges = std::move(ranges)});
  }
  // A file of that size on disk and not in memory, in the queue as a whole.
  void add_cold(const std::string& name, std::size_t size_bytes) {
    add(write_cold(name, size_bytes), size_bytes,
        {{.offset_bytes = 0, .length_bytes = size_bytes}});
  }
  std::string write_cold(const std::string& name, std::size_t size_bytes) {
    const std::string path = dir_.write(name, pattern(size_bytes));
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    ::fsync(fd);
    ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    ::close(fd);
    return path;
  }

  TempDir dir_;
  Session session_;
  std::vector<Outcome> outcomes_;
  WarmQueue queue_{session_,
                   "test",
                   0,
                   {.allow_reclaim = true},
                   [this](const WarmItem& item, const Result<WarmReport>& report) {
                     outcomes_.push_back({item.path, report});
                   }};
};

TEST_F(WarmQueueTest, ItemsAreDoneInTheOrderTheyCameSmallAndLargeMixed) {
  std::vector<std::string> paths;
  for (const std::size_t size_bytes : {1U, 300U, 1U << 20U, 5000U, 0U, 1U << 19U, 7U}) {
    const std::string name = "f" + std::to_string(paths.size());
    paths.push_back(dir_.file(name));
    add_cold(name, size_bytes);
  }
  queue_.drain();
  ASSERT_EQ(outcomes_.size(), paths.size());
  for (std::size_t index = 0; index < paths.size(); ++index) {
    EXPECT_EQ(outcomes_[index].path, paths[index]);
    ASSERT_TRUE(outcomes_[index].report) << outcomes_[index].report.error().message();
    const WarmReport& report = *outcomes_[index].report;
    EXPECT_EQ(report.bytes_resident_after, report.size_bytes);
  }
}

// Goal:   many small files are asked for before the first of them is waited for.
// Method: count the system calls: a batch has one readahead per file, and all of them come before
//         the reads, so failing the first read leaves every readahead done.
TEST_F(WarmQueueTest, ABatchIsStartedBeforeItIsWaitedFor) {
  constexpr int kFiles = 20;
  for (int index = 0; index < kFiles; ++index) {
    add_cold("f" + std::to_string(index), 5000);
  }
  const sys::FaultPlan plan({.call = sys::Call::kRead, .error = EIO});
  queue_.drain();
  EXPECT_EQ(plan.count(sys::Call::kReadAhead), static_cast<std::uint64_t>(kFiles));
  ASSERT_EQ(outcomes_.size(), static_cast<std::size_t>(kFiles));
  EXPECT_FALSE(outcomes_.front().report);
  EXPECT_TRUE(outcomes_.back().report);
}

TEST_F(WarmQueueTest, ADeviceErrorUnderASmallFileComesOut) {
  add_cold("one", 5000);
  add_cold("two", 5000);
  const sys::FaultPlan plan({.call = sys::Call::kRead, .times = 2, .error = EIO});
  queue_.drain();
  for (const Outcome& outcome : outcomes_) {
    ASSERT_FALSE(outcome.report);
    EXPECT_EQ(outcome.report.error().code(), std::errc::io_error);
  }
}

TEST_F(WarmQueueTest, AFileThatBecameShorterIsAnErrorAndNotASuccess) {
  const std::string path = write_cold("short", 5000);
  add(path, 5000, {{.offset_bytes = 0, .length_bytes = 5000}});
  add_cold("other", 5000);
  ASSERT_EQ(::truncate(path.c_str(), 10), 0);
  queue_.drain();
  ASSERT_EQ(outcomes_.size(), 2u);
  EXPECT_FALSE(outcomes_[0].report);
  EXPECT_TRUE(outcomes_[1].report);
}

TEST_F(WarmQueueTest, OnlyTheWantedRangesOfAFileAreCounted) {
  constexpr std::size_t kSizeBytes = 4 << 20;
  const std::string path = write_cold("ranges", kSizeBytes);
  add(path, kSizeBytes,
      {{.offset_bytes = 4096, .length_bytes = 8192},
       {.offset_bytes = 1 << 20, .length_bytes = 4096},
       {.offset_bytes = 2 << 20, .length_bytes = 1 << 20}});
  queue_.drain();
  ASSERT_EQ(outcomes_.size(), 1u);
  ASSERT_TRUE(outcomes_[0].report);
  EXPECT_EQ(outcomes_[0].report->size_bytes, 8192u + 4096 + (1 << 20));
  EXPECT_EQ(outcomes_[0].report->bytes_resident_after, outcomes_[0].report->size_bytes);
}

TEST_F(WarmQueueTest, WhatIsAlreadyThereIsNotReadAhead) {
  for (int index = 0; index < 3; ++index) {
    const std::string path = dir_.write("f" + std::to_string(index), pattern(5000));
    add(path, 5000, {{.offset_bytes = 0, .length_bytes = 5000}});
  }
  const sys::FaultPlan counting({});
  queue_.drain();
  EXPECT_EQ(counting.count(sys::Call::kReadAhead), 0u);
  for (const Outcome& outcome : outcomes_) {
    ASSERT_TRUE(outcome.report);
    EXPECT_EQ(bytes_brought_in(*outcome.report), 0u);
  }
}

}  // namespace
}  // namespace quire::cli
