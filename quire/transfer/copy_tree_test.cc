// SPDX-License-Identifier: Apache-2.0
//
// Trees: every kind of entry, odd names, links, merging, and what a failing call costs.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "quire/sys/call.h"
#include "quire/testing/files.h"
#include "quire/testing/nth_fault.h"
#include "quire/testing/temp_dir.h"
#include "quire/transfer/copy.h"

namespace quire {
namespace {

namespace fs = std::filesystem;
using testing::Names;
using testing::names_in;
using testing::pattern;
using testing::read_file;
using testing::TempDir;

// A tree with everything that a tree can have.
void make_tree(const std::string& root) {
  fs::create_directories(root + "/deep/er/est");
  fs::create_directory(root + "/empty");
  std::ofstream(root + "/file") << pattern(70'000);
  std::ofstream(root + "/deep/er/est/leaf") << "leaf";
  std::ofstream(root + "/ \n\t\"'*?[]\\ odd \xff\xfe name") << "odd";
  std::ofstream(root + "/" + std::string(255, 'n')) << "the longest name";
  std::ofstream(root + "/.hidden") << "hidden";
  std::ofstream(root + "/-rf") << "looks like an option";
  fs::create_symlink("file", root + "/link");
  fs::create_symlink("/no/such/place", root + "/dangling");
  fs::create_symlink("..", root + "/deep/up");
  fs::create_hard_link(root + "/file", root + "/deep/twin");
  fs::create_hard_link(root + "/file", root + "/deep/er/third");
  ASSERT_EQ(::chmod((root + "/deep").c_str(), 0750), 0);
  const timespec times[2] = {{.tv_sec = 1'500'000'000, .tv_nsec = 1},
                             {.tv_sec = 1'600'000'000, .tv_nsec = 2}};
  ASSERT_EQ(::utimensat(AT_FDCWD, (root + "/deep").c_str(), times, 0), 0);
  ASSERT_EQ(::utimensat(AT_FDCWD, (root + "/link").c_str(), times, AT_SYMLINK_NOFOLLOW), 0);
}

// What matters of a tree, by path below its root.
std::map<std::string, std::string> picture_of(const std::string& root) {
  std::map<std::string, std::string> picture;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    const std::string path = entry.path().string();
    const struct stat status = testing::status_of(path);
    std::string text = std::to_string(status.st_mode) + " " + std::to_string(status.st_nlink) +
                       " " + std::to_string(testing::nanoseconds(status.st_mtim)) + " ";
    if (entry.is_symlink()) {
      text += fs::read_symlink(entry.path()).string();
    } else if (entry.is_regular_file()) {
      text += read_file(path);
    }
    picture[path.substr(root.size())] = text;
  }
  return picture;
}

TEST(CopyTreeTest, MakesTheSameTreeAndMakesItAgainOverItself) {
  const TempDir directory;
  const std::string source = directory.file("source");
  const std::string target = directory.file("target");
  make_tree(source);
  for (int round = 0; round < 2; ++round) {
    std::vector<std::string> errors;
    const auto copied =
        copy_tree(source, target, {},
                  {.on_error = [&](const Error& error) { errors.push_back(error.message()); }});
    ASSERT_TRUE(copied) << copied.error().message();
    EXPECT_TRUE(errors.empty()) << errors.front();
    EXPECT_EQ(copied->files, 6U);
    EXPECT_EQ(copied->hard_links, 2U);
    EXPECT_EQ(copied->symlinks, 3U);
    EXPECT_EQ(copied->directories, 5U);
    EXPECT_EQ(copied->failures, 0U);
    EXPECT_TRUE(picture_of(target) == picture_of(source)) << "round " << round;
  }
}

TEST(CopyTreeTest, TellsOfEverySpecialFileAndCopiesTheRest) {
  const TempDir directory;
  const std::string source = directory.file("source");
  fs::create_directory(source);
  std::ofstream(source + "/file") << "content";
  ASSERT_EQ(::mkfifo((source + "/fifo").c_str(), 0644), 0);
  std::vector<Error> errors;
  const auto copied = copy_tree(source, directory.file("target"), {},
                                {.on_error = [&](const Error& error) { errors.push_back(error); }});
  ASSERT_TRUE(copied) << copied.error().message();
  ASSERT_EQ(errors.size(), 1U);
  EXPECT_EQ(errors.front().code(), Errc::kWrongKind);
  EXPECT_NE(errors.front().message().find("fifo"), std::string::npos);
  EXPECT_EQ(copied->failures, 1U);
  EXPECT_EQ(names_in(directory.file("target")), (Names{"file"}));
}

TEST(CopyTreeTest, IsNotCopiedIntoItself) {
  const TempDir directory;
  const std::string source = directory.file("source");
  fs::create_directories(source + "/inside");
  std::ofstream(source + "/file") << "content";
  for (const char* target : {"/source", "/source/inside", "/source/inside/.."}) {
    const auto copied = copy_tree(source, directory.path() + target);
    ASSERT_FALSE(copied) << target;
    EXPECT_EQ(copied.error().code(), std::errc::invalid_argument) << copied.error().message();
  }
  EXPECT_EQ(names_in(source), (Names{"inside", "file"}));
}

TEST(CopyTreeTest, MergesIntoADirectoryAndDoesNotReplaceOneByAFile) {
  const TempDir directory;
  const std::string source = directory.file("source");
  const std::string target = directory.file("target");
  fs::create_directories(source + "/both");
  fs::create_directories(target + "/both");
  fs::create_directories(target + "/clash");
  std::ofstream(source + "/both/new") << "new";
  std::ofstream(target + "/both/old") << "old";
  std::ofstream(source + "/clash") << "a file";
  std::vector<Error> errors;
  const auto copied = copy_tree(source, target, {},
                                {.on_error = [&](const Error& error) { errors.push_back(error); }});
  ASSERT_TRUE(copied);
  EXPECT_EQ(names_in(target + "/both"), (Names{"new", "old"}));
  ASSERT_EQ(errors.size(), 1U);
  EXPECT_EQ(errors.front().code(), Errc::kWrongKind);
  EXPECT_TRUE(fs::is_directory(target + "/clash"));
}

void expect_only_whole_files(const std::string& source, const std::string& target) {
  if (!fs::exists(target)) {
    return;
  }
  for (const auto& entry : fs::recursive_directory_iterator(target)) {
    const std::string below = entry.path().string().substr(target.size());
    ASSERT_TRUE(fs::exists(fs::symlink_status(source + below))) << below;
    if (entry.is_regular_file() && !entry.is_symlink()) {
      EXPECT_TRUE(read_file(entry.path().string()) == read_file(source + below)) << below;
    }
  }
}

// Goal:   a failing call costs at most the entry that it was about, and that entry is whole or
//         absent.
TEST(CopyTreeTest, HasOnlyWholeFilesWhicheverCallFails) {
  for (const sys::Call call :
       {sys::Call::kOpen, sys::Call::kStatus, sys::Call::kDirectory, sys::Call::kCopyRange,
        sys::Call::kLink, sys::Call::kMakeDirectory, sys::Call::kMetadata}) {
    testing::fail_each_nth(sys::name_of(call), [call](testing::NthFault& fault) {
      const TempDir directory;
      const std::string source = directory.file("source");
      const std::string target = directory.file("target");
      make_tree(source);
      std::uint64_t errors = 0;
      Result<TreeCopyReport> copied = fail(make_error(Errc::kFailed, "", ""));
      {
        const sys::FaultPlan plan({.call = call, .nth = fault.nth, .error = EIO});
        copied = copy_tree(source, target, {}, {.on_error = [&](const Error&) { ++errors; }});
        fault.was_hit = plan.hits() > 0;
      }
      if (copied) {
        EXPECT_EQ(copied->failures, errors);
      }
      expect_only_whole_files(source, target);
    });
  }
}

}  // namespace
}  // namespace quire
