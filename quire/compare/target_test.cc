// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/target.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <vector>

#include "quire/base/units.h"
#include "quire/compare/workload.h"
#include "quire/map/residency.h"
#include "quire/sys/file.h"
#include "quire/testing/disk.h"
#include "quire/testing/temp_dir.h"

namespace quire::compare {
namespace {

namespace fs = std::filesystem;
using testing::TempDir;

CompareOptions scratch_options(const TempDir& directory, std::uint64_t bytes) {
  CompareOptions options;
  options.directory = directory.path();
  options.scratch_bytes = bytes;
  return options;
}

std::size_t names_in(const std::string& directory) {
  return static_cast<std::size_t>(
      std::distance(fs::directory_iterator(directory), fs::directory_iterator()));
}

// --- A user's file -------------------------------------------------------------------------------

TEST(TargetTest, AUsersFileIsOpenedForReadingOnly) {
  const TempDir directory;
  const std::string path = directory.write("file", testing::pattern(10'000));
  const Target target = Target::open_user_file(path).value();
  EXPECT_FALSE(target.is_scratch());
  EXPECT_EQ(target.size_bytes(), 8192u);  // Whole pages.
  EXPECT_FALSE(sys::is_writable(target.fd()).value());
  EXPECT_TRUE(target.check().has_value());
}

TEST(TargetTest, WhatCannotBeComparedIsAnErrorThatSaysWhy) {
  const TempDir directory;
  const auto code_of = [](const std::string& path) {
    const auto opened = Target::open_user_file(path);
    EXPECT_FALSE(opened.has_value()) << path;
    return opened.error().code();
  };
  EXPECT_EQ(code_of(directory.file("missing")), std::errc::no_such_file_or_directory);
  EXPECT_EQ(code_of(directory.path()), Errc::kWrongKind);
  EXPECT_EQ(code_of("/dev/null"), Errc::kWrongKind);
  EXPECT_EQ(code_of(directory.write("empty", "")), Errc::kOutOfRange);
  EXPECT_EQ(code_of(directory.write("tiny", "x")), Errc::kOutOfRange);
  EXPECT_EQ(code_of(std::string("a\0b", 3)), std::errc::invalid_argument);
  EXPECT_NE(Target::open_user_file(directory.file("empty")).error().message().find("empty"),
            std::string::npos);
}

TEST(TargetTest, CheckNoticesAFileThatVanished) {
  const TempDir directory;
  const std::string path = directory.write("file", testing::pattern(8192));
  const Target target = Target::open_user_file(path).value();
  fs::remove(path);
  EXPECT_EQ(target.check().error().code(), std::errc::no_such_file_or_directory);
}

TEST(TargetTest, CheckNoticesAnotherFileUnderItsName) {
  const TempDir directory;
  const std::string path = directory.write("file", testing::pattern(8192));
  const Target target = Target::open_user_file(path).value();
  fs::rename(directory.write("other", testing::pattern(8192)), path);
  EXPECT_EQ(target.check().error().code(), Errc::kChanged);
}

TEST(TargetTest, CheckNoticesAFileThatBecameShorter) {
  const TempDir directory;
  const std::string path = directory.write("file", testing::pattern(8192));
  const Target target = Target::open_user_file(path).value();
  fs::resize_file(path, 8191);
  EXPECT_EQ(target.check().error().code(), Errc::kTruncated);
}

// --- A scratch file ------------------------------------------------------------------------------

TEST(ScratchFileTest, EachPageHasItsNumberAndBytesThatAreNotZero) {
  const TempDir directory;
  constexpr std::uint64_t kBytes = 5_MiB + 8192;  // Not a multiple of the pieces it is written in.
  const Target target = Target::make_scratch(scratch_options(directory, kBytes), 0, {}).value();
  EXPECT_EQ(target.size_bytes(), kBytes);
  EXPECT_EQ(sys::file_status(target.fd()).value().size_bytes, kBytes);
  std::vector<std::byte> page(kPatternPageBytes);
  for (std::uint64_t at = 0; at < kBytes; at += kPatternPageBytes) {
    ASSERT_EQ(sys::read_at(target.fd(), page, at).value(), page.size());
    ASSERT_EQ(stamp_of(page.data()), at / kPatternPageBytes);
    EXPECT_NE(sum_of(std::span(page).subspan(16)), 0u);
  }
}

TEST(ScratchFileTest, ItHasNoNameAndNothingOfItIsInMemory) {
  const TempDir directory;
  const Target target = Target::make_scratch(scratch_options(directory, 8_MiB), 0, {}).value();
  EXPECT_EQ(names_in(directory.path()), 0u);
  const Residency found = residency(target.fd()).value();
  if (!found.resident_known) {
    GTEST_SKIP() << "cachestat: " << found.why_unknown;
  }
  EXPECT_EQ(found.resident_bytes, 0u);
  EXPECT_TRUE(target.is_cache_visible());
}

TEST(ScratchFileTest, ItCanBeOpenedAgainWithoutAName) {
  const TempDir directory;
  const Target target = Target::make_scratch(scratch_options(directory, 1_MiB), 0, {}).value();
  const auto again = sys::open_file(target.path_to_reopen().c_str(), {.write = true});
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(sys::file_status(again->get()).value().inode,
            sys::file_status(target.fd()).value().inode);
}

TEST(ScratchFileTest, TheSameSeedGivesTheSameBytes) {
  const TempDir directory;
  CompareOptions options = scratch_options(directory, 1_MiB);
  const auto sum_with_seed = [&](std::uint64_t seed) {
    options.seed = seed;
    const Target target = Target::make_scratch(options, 0, {}).value();
    std::vector<std::byte> bytes(1_MiB);
    EXPECT_EQ(sys::read_at(target.fd(), bytes, 0).value(), bytes.size());
    return sum_of(bytes);
  };
  EXPECT_EQ(sum_with_seed(5), sum_with_seed(5));
  EXPECT_NE(sum_with_seed(5), sum_with_seed(6));
}

TEST(ScratchFileTest, MoreThanThereIsRoomForIsRefusedBeforeAnythingIsWritten) {
  const TempDir directory;
  const auto refused = Target::make_scratch(scratch_options(directory, 1_MiB), 1_TiB << 10, {});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Errc::kLimit);
  EXPECT_NE(refused.error().remedy().find("--dir"), std::string::npos);
}

TEST(ScratchFileTest, ASmallFileSystemIsRefused) {
  const TempDir directory;
  testing::Mount mount;
  if (const auto problem = mount.mount("tmpfs", "quire", directory.path(), "size=80m");
      !problem.empty()) {
    GTEST_SKIP() << "tmpfs: " << problem;
  }
  EXPECT_EQ(Target::make_scratch(scratch_options(directory, 32_MiB), 0, {}).error().code(),
            Errc::kLimit);
  EXPECT_TRUE(Target::make_scratch(scratch_options(directory, 8_MiB), 0, {}).has_value());
}

TEST(ScratchFileTest, AStopWhileItIsWrittenLeavesNothing) {
  const TempDir directory;
  int asked = 0;
  const auto stopped =
      Target::make_scratch(scratch_options(directory, 64_MiB), 0,
                           {.on_progress = {}, .should_stop = [&] { return ++asked > 2; }});
  ASSERT_FALSE(stopped.has_value());
  EXPECT_EQ(stopped.error().code(), Errc::kCancelled);
  EXPECT_EQ(names_in(directory.path()), 0u);
}

TEST(ScratchFileTest, AMissingDirectoryIsAnError) {
  const TempDir directory;
  CompareOptions options = scratch_options(directory, 1_MiB);
  options.directory = directory.file("missing");
  EXPECT_EQ(Target::make_scratch(options, 0, {}).error().code(),
            std::errc::no_such_file_or_directory);
}

TEST(ScratchFileTest, AFileBesideItIsEmptyOfNamesAndHasItsSize) {
  const TempDir directory;
  const Target target = Target::make_scratch(scratch_options(directory, 1_MiB), 0, {}).value();
  const sys::Descriptor beside = target.make_beside(3_MiB).value();
  EXPECT_EQ(sys::file_status(beside.get()).value().size_bytes, 3_MiB);
  EXPECT_EQ(names_in(directory.path()), 0u);
}

}  // namespace
}  // namespace quire::compare
