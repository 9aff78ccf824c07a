// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/directory.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <string>

#include "quire/sys/call.h"
#include "quire/testing/temp_dir.h"

namespace quire::sys {
namespace {

using testing::TempDir;

DirectoryReader reader_of(const std::string& path) {
  auto opened = open_file(path.c_str(), {.directory = true});
  EXPECT_TRUE(opened);
  return DirectoryReader(std::move(*opened));
}

std::map<std::string, FileKind> entries_of(const std::string& path) {
  std::map<std::string, FileKind> entries;
  DirectoryReader reader = reader_of(path);
  for (auto entry = reader.next(); entry && *entry; entry = reader.next()) {
    EXPECT_TRUE((*entry)->is_kind_known);
    EXPECT_TRUE(entries.emplace((*entry)->name, (*entry)->kind).second) << (*entry)->name;
  }
  return entries;
}

TEST(DirectoryTest, ReportsEachNameOnceWithItsKindAndWithoutTheDots) {
  const TempDir dir;
  dir.write("file", "x");
  dir.write("new\nline \xff", "x");
  ASSERT_EQ(::mkdir(dir.file("sub").c_str(), 0755), 0);
  ASSERT_EQ(::symlink("nowhere", dir.file("link").c_str()), 0);
  ASSERT_EQ(::mkfifo(dir.file("pipe").c_str(), 0600), 0);
  const std::map<std::string, FileKind> expected{{"file", FileKind::kRegular},
                                                 {"new\nline \xff", FileKind::kRegular},
                                                 {"sub", FileKind::kDirectory},
                                                 {"link", FileKind::kSymlink},
                                                 {"pipe", FileKind::kPipe}};
  EXPECT_EQ(entries_of(dir.path()), expected);
}

TEST(DirectoryTest, AnEmptyDirectoryHasNoEntries) {
  const TempDir dir;
  EXPECT_TRUE(entries_of(dir.path()).empty());
}

// Goal:   a directory larger than the buffer is read whole, in a bounded number of calls.
// Method: names of the greatest length, far more of them than one buffer holds.
TEST(DirectoryTest, ALargeDirectoryNeedsManyCallsAndOneBuffer) {
  const TempDir dir;
  constexpr int kFiles = 300;
  constexpr std::size_t kNameBytes = 255;
  for (int index = 0; index < kFiles; ++index) {
    const std::string number = std::to_string(index);
    dir.write(number + std::string(kNameBytes - number.size(), 'n'), "");
  }
  const FaultPlan counting({});
  EXPECT_EQ(entries_of(dir.path()).size(), static_cast<std::size_t>(kFiles));
  constexpr std::size_t kBytes = kFiles * kNameBytes;
  EXPECT_GE(counting.count(Call::kDirectory), kBytes / DirectoryReader::kBufferBytes);
  EXPECT_LE(counting.count(Call::kDirectory), 2 * kBytes / DirectoryReader::kBufferBytes + 2);
}

TEST(DirectoryTest, AnInterruptedCallIsRepeated) {
  const TempDir dir;
  dir.write("file", "x");
  DirectoryReader reader = reader_of(dir.path());
  const FaultPlan plan({.call = Call::kDirectory, .times = 3, .error = EINTR});
  const auto entry = reader.next();
  ASSERT_TRUE(entry && *entry);
  EXPECT_STREQ((*entry)->name, "file");
  EXPECT_EQ(plan.hits(), 3u);
}

TEST(DirectoryTest, AnErrorOfTheKernelComesOut) {
  const TempDir dir;
  DirectoryReader reader = reader_of(dir.path());
  const FaultPlan plan({.call = Call::kDirectory, .error = EIO});
  const auto entry = reader.next();
  ASSERT_FALSE(entry);
  EXPECT_EQ(entry.error().value, EIO);
}

TEST(DirectoryTest, ADirectoryRemovedWhileOpenEndsWithENOENT) {
  const TempDir dir;
  ASSERT_EQ(::mkdir(dir.file("sub").c_str(), 0755), 0);
  DirectoryReader reader = reader_of(dir.file("sub"));
  ASSERT_EQ(::rmdir(dir.file("sub").c_str()), 0);
  const auto entry = reader.next();
  ASSERT_FALSE(entry);
  EXPECT_EQ(entry.error().value, ENOENT);
}

TEST(DirectoryTest, AFileIsNotADirectory) {
  const TempDir dir;
  DirectoryReader reader(std::move(*open_file(dir.write("file", "x").c_str(), {})));
  const auto entry = reader.next();
  ASSERT_FALSE(entry);
  EXPECT_EQ(entry.error().value, ENOTDIR);
}

TEST(SyncParentDirectoryTest, SyncsTheDirectoryThatTheNameLiesIn) {
  const testing::TempDir directory;
  const FaultPlan plan({.call = Call::kSyncAll, .nth = 2, .error = EIO});
  EXPECT_TRUE(sync_parent_directory(directory.write("file", "x")));
  EXPECT_EQ(plan.count(Call::kSyncAll), 1U);
  const auto failed = sync_parent_directory(directory.file("file"));
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code(), std::errc::io_error);
  EXPECT_EQ(failed.error().subject(), directory.path());
  EXPECT_TRUE(sync_parent_directory("a_name_in_the_working_directory"));
  EXPECT_EQ(sync_parent_directory(directory.file("missing/file")).error().code(),
            std::errc::no_such_file_or_directory);
}

}  // namespace
}  // namespace quire::sys
