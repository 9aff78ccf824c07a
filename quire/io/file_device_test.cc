// SPDX-License-Identifier: Apache-2.0
//
// File against real trouble: a disk that fills up, a device that fails reads, a device whose
// write-back fails. For those who may mount (root).
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <vector>

#include "quire/base/check.h"
#include "quire/io/file.h"
#include "quire/sys/call.h"
#include "quire/testing/disk.h"
#include "quire/testing/failing_disk.h"
#include "quire/testing/process.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::pattern_bytes;
using testing::TempDir;
using Bytes = std::vector<std::byte>;

// A file of that size that holds nothing yet.
std::string make_sparse(const std::string& path, std::uint64_t size_bytes) {
  const auto file = open_file(path, {.writable = true, .create = true}).value();
  QUIRE_CHECK(file->resize(size_bytes).has_value());
  return path;
}

// --- A full disk ---------------------------------------------------------------------------------

struct SmallDisk {
  std::string type;  // "tmpfs", "ext4"
  CacheUse cache;
};

class FullDiskTest : public ::testing::TestWithParam<SmallDisk> {
 protected:
  static constexpr std::uint64_t kDiskBytes = 16_MiB;

  void SetUp() override {
    ASSERT_EQ(::mkdir(path_.c_str(), 0700), 0);
    const std::string problem = GetParam().type == "ext4" ? mount_ext4() : mount_tmpfs();
    if (!problem.empty()) {
      GTEST_SKIP() << problem;
    }
  }

  std::string mount_tmpfs() {
    return mount_.mount("tmpfs", "quire", path_, "size=" + std::to_string(kDiskBytes));
  }
  std::string mount_ext4() {
    const std::string image = make_sparse(directory_.file("image"), kDiskBytes);
    if (testing::run_program({"mkfs.ext4", "-q", "-F", "-m", "0", image}).end.exit_code != 0) {
      return "mkfs.ext4: not installed, or it failed";
    }
    const std::string problem = loop_.attach(image);
    return problem.empty() ? mount_.mount("ext4", loop_.path(), path_, "") : problem;
  }

  const TempDir directory_;
  const std::string path_ = directory_.file("mounted");
  testing::LoopDevice loop_;
  testing::Mount mount_;
};

std::string small_disk_name(const ::testing::TestParamInfo<SmallDisk>& info) {
  return info.param.type + (info.param.cache == CacheUse::kBypass       ? "Bypass"
                            : info.param.cache == CacheUse::kDropBehind ? "DropBehind"
                                                                        : "Keep");
}

INSTANTIATE_TEST_SUITE_P(Disks, FullDiskTest,
                         ::testing::Values(SmallDisk{"tmpfs", CacheUse::kKeep},
                                           SmallDisk{"tmpfs", CacheUse::kBypass},
                                           SmallDisk{"ext4", CacheUse::kKeep},
                                           SmallDisk{"ext4", CacheUse::kDropBehind},
                                           SmallDisk{"ext4", CacheUse::kBypass}),
                         small_disk_name);

// Goal:   a disk that fills up in the middle of a write is an error, costs nothing that was written
//         before, and with space again all goes on.
// Method: large unaligned writes until one fails.
TEST_P(FullDiskTest, AFullDiskIsAnErrorAndNothingElse) {
  const auto file =
      open_file(path_ + "/file", {.writable = true, .create = true, .cache = GetParam().cache})
          .value();
  constexpr std::size_t kStepBytes = 700'001;
  std::uint64_t end = 0;
  Result<void> written;
  while (written = file->write(end, pattern_bytes(end, kStepBytes)), written) {
    end += kStepBytes;
    ASSERT_LE(end, kDiskBytes);
  }
  EXPECT_EQ(written.error().code(), std::errc::no_space_on_device) << written.error().message();
  EXPECT_FALSE(file->sticky_error().has_value());
  ASSERT_GT(end, kStepBytes);
  Bytes bytes(end);
  ASSERT_EQ(file->read(0, bytes).value(), end);
  EXPECT_EQ(bytes, pattern_bytes(0, end));
  EXPECT_EQ(file->allocate({0, 2 * kDiskBytes}).error().code(), std::errc::no_space_on_device);

  ASSERT_TRUE(file->resize(kStepBytes).has_value());
  EXPECT_TRUE(file->write(kStepBytes, pattern_bytes(kStepBytes, kStepBytes)).has_value());
  EXPECT_TRUE(file->sync(Durability::kAll).has_value());
  bytes.resize(2 * kStepBytes);
  ASSERT_EQ(file->read(0, bytes).value(), bytes.size());
  EXPECT_EQ(bytes, pattern_bytes(0, 2 * kStepBytes));
  EXPECT_TRUE(file->close().has_value());
}

// --- Reads that fail -----------------------------------------------------------------------------

TEST(FileDeviceTest, ABadSectorIsEioAndTheRestIsThere) {
  constexpr std::uint64_t kDiskBytes = 4_MiB;
  constexpr std::uint64_t kBadFromBytes = 2_MiB;
  const TempDir directory;
  const testing::FailingDisk disk(directory, kDiskBytes, kBadFromBytes);
  if (!disk.problem().empty()) {
    GTEST_SKIP() << disk.problem();
  }
  for (const CacheUse cache : {CacheUse::kKeep, CacheUse::kDropBehind, CacheUse::kBypass}) {
    const auto file =
        open_file(disk.path(), {.cache = cache, .read_ahead = ReadAhead::kNone}).value();
    Bytes bytes(300'000);
    ASSERT_EQ(file->read(100, bytes).value(), bytes.size());
    // Whole or an error: the good half alone is neither.
    for (const std::uint64_t offset : {kBadFromBytes, kBadFromBytes - 100'001, 3_MiB + 1}) {
      const Result<std::uint64_t> got = file->read(offset, bytes);
      ASSERT_FALSE(got.has_value()) << offset;
      EXPECT_EQ(got.error().code(), std::errc::io_error) << got.error().message();
    }
    EXPECT_FALSE(file->sticky_error().has_value());  // A read loses nothing.
    EXPECT_EQ(file->read(1'000'000, bytes).value(), bytes.size());
  }
}

// --- A write-back that fails ---------------------------------------------------------------------

// Goal:   a write that the page cache took and the device did not is an error of sync, which stays:
//         the kernel itself would call a second fdatasync a success.
// Method: a block device made of a sparse file on a file system that is too small for it.
class LostWriteTest : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kRealBytes = 4_MiB;
  static constexpr std::uint64_t kClaimedBytes = 32_MiB;

  void SetUp() override {
    ASSERT_EQ(::mkdir(path_.c_str(), 0700), 0);
    std::string problem =
        mount_.mount("tmpfs", "quire", path_, "size=" + std::to_string(kRealBytes));
    if (problem.empty()) {
      problem = loop_.attach(make_sparse(path_ + "/image", kClaimedBytes));
    }
    if (!problem.empty()) {
      GTEST_SKIP() << problem;
    }
  }

  const TempDir directory_;
  const std::string path_ = directory_.file("mounted");
  testing::Mount mount_;
  testing::LoopDevice loop_;
};

TEST_F(LostWriteTest, ALostWriteIsToldBySyncAndByAllThatFollows) {
  const auto file = open_file(loop_.path(), {.writable = true}).value();
  EXPECT_EQ(file->size_bytes().value(), kClaimedBytes);
  const Bytes bytes(2 * kRealBytes, std::byte{1});
  ASSERT_TRUE(file->write(0, bytes).has_value());
  const Result<void> synced = file->sync(Durability::kData);
  ASSERT_FALSE(synced.has_value());
  EXPECT_EQ(file->sync(Durability::kData).error().code(), Errc::kFailed);
  EXPECT_EQ(file->write(0, bytes).error().code(), Errc::kFailed);
  EXPECT_EQ(file->close().error().message(), synced.error().message());
}

TEST_F(LostWriteTest, AWriterThatIsFollowedIsToldWhileItWrites) {
  const auto file =
      open_file(loop_.path(), {.writable = true, .write_behind_bytes = 1_MiB}).value();
  const Bytes bytes(1_MiB, std::byte{1});
  Result<void> written;
  for (std::uint64_t at = 0; at < kClaimedBytes && written; at += bytes.size()) {
    written = file->write(at, bytes);
  }
  ASSERT_FALSE(written.has_value()) << "no write-back failed";
  EXPECT_TRUE(file->sticky_error().has_value());
  EXPECT_EQ(file->sync(Durability::kData).error().code(), Errc::kFailed);
}

TEST_F(LostWriteTest, ADirectWriteIsToldAtOnce) {
  const auto opened = open_file(
      loop_.path(), {.writable = true, .cache = CacheUse::kBypass, .fallback = Fallback::kRefused});
  if (!opened) {
    GTEST_SKIP() << "direct I/O: " << opened.error().message();
  }
  File& file = **opened;
  const Bytes bytes(2 * kRealBytes, std::byte{1});
  const Result<void> written = file.write(0, bytes);
  ASSERT_FALSE(written.has_value());
  EXPECT_TRUE(written.error().code() == std::errc::io_error ||
              written.error().code() == std::errc::no_space_on_device)
      << written.error().message();
}

TEST_F(LostWriteTest, ADeviceKeepsItsSize) {
  const auto file = open_file(loop_.path(), {.writable = true}).value();
  EXPECT_EQ(file->resize(1).error().code(), Errc::kUnsupported);
  Bytes bytes(1000, std::byte{5});
  EXPECT_EQ(file->write(kClaimedBytes - 100, bytes).error().code(), std::errc::no_space_on_device);
  EXPECT_EQ(file->read(kClaimedBytes - 100, bytes).value(), 100U);
}

}  // namespace
}  // namespace quire
