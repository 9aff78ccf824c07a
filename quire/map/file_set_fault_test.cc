// SPDX-License-Identifier: Apache-2.0
//
// A file set under failing system calls: the n-th call of each kind, for every n.
#include <gtest/gtest.h>

#include <cerrno>
#include <fstream>
#include <vector>

#include "quire/map/file_set.h"
#include "quire/sys/call.h"
#include "quire/testing/nth_fault.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::pattern;

// munmap last: what it refuses stays mapped for the rest of the process.
constexpr sys::Call kCalls[] = {sys::Call::kOpen,         sys::Call::kClose,  sys::Call::kSeek,
                                sys::Call::kRead,         sys::Call::kStatus, sys::Call::kMap,
                                sys::Call::kAdviseMemory, sys::Call::kUnmap};

// Whether a file below `directory` is mapped.
bool is_anything_mapped(const std::string& directory) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find(directory) != std::string::npos) {
      return true;
    }
  }
  return false;
}

class FileSetFaultTest : public ::testing::Test {
 protected:
  void SetUp() override {
    // Small ones that fill more than one chunk of the arena, large ones, an empty one, an odd one.
    for (int i = 0; i < 3; ++i) {
      add("small" + std::to_string(i), 1000 + static_cast<std::size_t>(i));
      add("large" + std::to_string(i), 70'000);
      add("middle" + std::to_string(i), 60'000);
      add("other" + std::to_string(i), 65'536);
    }
    add("empty", 0);
    paths_.emplace_back("/proc/self/limits");
    contents_.push_back(testing::read_file(paths_.back()));
  }

  void add(const std::string& name, std::size_t size_bytes) {
    contents_.push_back(pattern(size_bytes));
    paths_.push_back(directory_.write(name, contents_.back()));
  }

  // Every entry is right or an error; `failed_max` of them are errors.
  void check(const FileSet& set, std::size_t failed_max) const {
    ASSERT_EQ(set.size(), paths_.size());
    for (std::size_t i = 0; i < set.size(); ++i) {
      if (const auto text = set.file(i).text()) {
        ASSERT_EQ(*text, contents_[i]) << paths_[i];
      } else {
        EXPECT_EQ(text.error().subject(), paths_[i]);
        EXPECT_NE(set.file(i).explain().find("EIO"), std::string::npos) << set.file(i).explain();
      }
    }
    EXPECT_LE(set.stats().files_failed, failed_max);
  }

  testing::TempDir directory_;
  std::vector<std::string> paths_;
  std::vector<std::string> contents_;
};

// Goal:   one failing call costs at most one entry; no byte is wrong; nothing leaks.
// Method: fail call 1, 2, 3 ... of a kind until a run meets no fault; count descriptors, look for
//         mappings that are left. A refused munmap leaves its mapping by nature.
TEST_F(FileSetFaultTest, WhicheverCallFailsEveryEntryIsRightOrAnError) {
  for (const sys::Call call : kCalls) {
    const std::string name = sys::name_of(call);
    const std::uint64_t calls = testing::fail_each_nth(name, [&](testing::NthFault& fault) {
      const int before = testing::count_open_descriptors();
      {
        const sys::FaultPlan plan({.call = call, .nth = fault.nth, .error = EIO});
        const FileSet set = FileSet::open(paths_).value();
        fault.was_hit = plan.hits() > 0;
        check(set, 1);
      }
      EXPECT_EQ(testing::count_open_descriptors(), before);
      if (call != sys::Call::kUnmap) {
        EXPECT_FALSE(is_anything_mapped(directory_.path()));
      }
    });
    EXPECT_GT(calls, 0U) << name << ": no such call was ever made";
  }
}

// From the n-th on, everything of a kind fails: no entry after it may be wrong either.
TEST_F(FileSetFaultTest, WhenAllCallsFailFromOneOnNothingIsWrongAndNothingLeaks) {
  for (const sys::Call call : kCalls) {
    SCOPED_TRACE(sys::name_of(call));
    for (const std::uint64_t nth : {1U, 2U, 5U, 9U}) {
      const int before = testing::count_open_descriptors();
      const sys::FaultPlan plan({.call = call, .nth = nth, .times = UINT64_MAX, .error = EIO});
      check(FileSet::open(paths_).value(), paths_.size());
      ASSERT_EQ(testing::count_open_descriptors(), before) << "nth = " << nth;
    }
  }
}

TEST_F(FileSetFaultTest, AFailedOpenWithTheFirstErrorLeaksNothing) {
  for (const sys::Call call : kCalls) {
    testing::fail_each_nth(sys::name_of(call), [&](testing::NthFault& fault) {
      const int before = testing::count_open_descriptors();
      const sys::FaultPlan plan({.call = call, .nth = fault.nth, .error = EIO});
      static_cast<void>(FileSet::open(paths_, {.on_error = OnFileError::kFail}));
      EXPECT_EQ(testing::count_open_descriptors(), before);
      fault.was_hit = plan.hits() > 0;
    });
  }
}

TEST_F(FileSetFaultTest, AFileSystemThatCannotMapIsReadAndSaysSo) {
  const sys::FaultPlan plan({.call = sys::Call::kMap,
                             .nth = 2,
                             .times = 1,
                             .error = ENODEV});  // The first is the arena's.
  const FileSet set = FileSet::open(paths_).value();
  EXPECT_EQ(set.file(1).text().value(), contents_[1]);
  EXPECT_EQ(set.file(1).explain(), "read: 70000 bytes, since mmap refused the file (ENODEV)");
}

TEST_F(FileSetFaultTest, ClosingReportsTheFirstFailedUnmapAndTheSetIsEmpty) {
  FileSet set = FileSet::open(paths_).value();
  const sys::FaultPlan plan({.call = sys::Call::kUnmap, .nth = 2, .error = EINVAL});
  const Result<void> closed = set.close();
  ASSERT_FALSE(closed.has_value());
  EXPECT_EQ(closed.error().operation(), "munmap");
  EXPECT_EQ(closed.error().subject(), directory_.file("large1"));
  EXPECT_EQ(set.size(), 0U);
  EXPECT_TRUE(set.close().has_value());
}

TEST_F(FileSetFaultTest, AnUnreadableDirectoryIsAnErrorWhicheverCallFails) {
  for (const sys::Call call : {sys::Call::kOpen, sys::Call::kDirectory}) {
    const int before = testing::count_open_descriptors();
    const sys::FaultPlan plan({.call = call, .nth = 1, .error = EIO});
    const auto set = FileSet::open_directory(directory_.path());
    ASSERT_FALSE(set.has_value());
    EXPECT_EQ(set.error().code(), std::errc::io_error);
    EXPECT_EQ(set.error().subject(), directory_.path());
    EXPECT_EQ(testing::count_open_descriptors(), before);
  }
}

}  // namespace
}  // namespace quire
