// SPDX-License-Identifier: Apache-2.0
//
// What File does to the page cache, seen from outside: by mincore and by counting calls.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "quire/base/page_window.h"
#include "quire/io/file.h"
#include "quire/sys/call.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"
#include "quire/testing/disk.h"
#include "quire/testing/page_cache.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::kPageBytes;
using testing::TempDir;
using Bytes = std::vector<std::byte>;

constexpr std::uint64_t kFileBytes = 24_MiB + 1234;

std::size_t resident_count(const std::string& path) {
  const std::vector<bool> pages = testing::resident_pages(path);
  return static_cast<std::size_t>(std::ranges::count(pages, true));
}

// The kernel does not drop a page whose read is under way. cachestat counts those, mincore does
// not. False where there is no cachestat: nothing can be said then.
bool wait_until_read_ahead_is_done(const std::string& path) {
  const sys::Descriptor file = sys::open_file(path.c_str(), {}).value();
  while (true) {
    const auto status = sys::cache_status(file.get(), kWholeFile);
    if (!status) {
      return false;
    }
    if (status->cached.value == resident_count(path)) {
      return true;
    }
    std::this_thread::yield();
  }
}

Result<void> read_through(File& file, std::uint64_t from_bytes, std::uint64_t to_bytes,
                          std::uint64_t step_bytes = 256_KiB) {
  Bytes bytes(step_bytes);
  for (std::uint64_t at = from_bytes; at < to_bytes; at += step_bytes) {
    const std::uint64_t length = std::min(step_bytes, to_bytes - at);
    QUIRE_TRY(file.read(at, std::span(bytes).first(length)));
  }
  return {};
}

class FilePolicyTest : public ::testing::Test {
 protected:
  FilePolicyTest() { testing::make_cold(path_); }

  // RWF_DONTCACHE is refused, as by kernels before 6.14.
  [[nodiscard]] std::unique_ptr<File> open_without_flag(FileOptions options) const {
    options.cache = CacheUse::kDropBehind;
    const sys::FaultPlan plan({.call = sys::Call::kRead, .error = EOPNOTSUPP});
    return open_file(path_, options).value();
  }
  [[nodiscard]] std::unique_ptr<File> open_with_flag() const {
    return open_file(path_, {.writable = true, .cache = CacheUse::kDropBehind}).value();
  }

  const TempDir directory_;
  const std::string path_ = directory_.write("file", testing::pattern(kFileBytes));
};

TEST_F(FilePolicyTest, AKeptFileIsResidentAfterwards) {
  const auto file = open_file(path_).value();
  ASSERT_TRUE(read_through(*file, 0, kFileBytes).has_value());
  EXPECT_EQ(resident_count(path_) * kPageBytes, round_up(kFileBytes, PageSize(kPageBytes)));
  EXPECT_EQ(file->stats().dropped_bytes, 0U);
}

// --- Drop behind ---------------------------------------------------------------------------------

TEST_F(FilePolicyTest, AScanLeavesNothingBehind) {
  for (const bool has_flag : {true, false}) {
    const auto file = has_flag ? open_with_flag() : open_without_flag({});
    EXPECT_EQ(file->stats().drop_fallbacks, has_flag ? 0U : 1U) << file->explain();
    ASSERT_TRUE(read_through(*file, 0, kFileBytes).has_value());
    EXPECT_EQ(file->stats().dropped_bytes,
              has_flag ? kFileBytes : round_down(kFileBytes, PageSize(2_MiB)));
    ASSERT_TRUE(file->close().has_value());
    EXPECT_EQ(resident_count(path_), 0U) << has_flag;
  }
}

TEST_F(FilePolicyTest, WhatWasReadAheadInVainGoesAtTheEndOfTheRun) {
  for (const bool has_flag : {true, false}) {
    for (const bool jumps : {true, false}) {
      const auto file = has_flag ? open_with_flag() : open_without_flag({});
      ASSERT_TRUE(read_through(*file, 0, 3_MiB).has_value());
      if (jumps) {
        if (!wait_until_read_ahead_is_done(path_)) {
          GTEST_SKIP() << "cachestat: refused";
        }
        ASSERT_TRUE(read_through(*file, 20_MiB, 20_MiB + 4096, 4096).has_value());
      }
      if (!wait_until_read_ahead_is_done(path_)) {
        GTEST_SKIP() << "cachestat: refused";
      }
      ASSERT_TRUE(file->close().has_value());
      EXPECT_EQ(resident_count(path_), 0U) << has_flag << ", " << jumps;
    }
  }
}

TEST_F(FilePolicyTest, PagesThatWereThereBeforeStayWithTheFlag) {
  testing::read_pages(path_, {1, 100, 5000});
  const auto file = open_with_flag();
  if (file->stats().drop_fallbacks > 0) {
    GTEST_SKIP() << "RWF_DONTCACHE: " << file->explain();
  }
  ASSERT_TRUE(read_through(*file, 0, kFileBytes).has_value());
  ASSERT_TRUE(file->close().has_value());
  const std::vector<bool> pages = testing::resident_pages(path_);
  EXPECT_TRUE(pages[1] && pages[100] && pages[5000]);
  EXPECT_EQ(resident_count(path_), 3U);
}

TEST_F(FilePolicyTest, WrittenPagesGoOnceTheyAreOnDisk) {
  for (const bool has_flag : {true, false}) {
    for (const bool syncs : {true, false}) {
      const auto file = has_flag ? open_with_flag() : open_without_flag({.writable = true});
      const Bytes bytes(300'001, std::byte{7});
      for (std::uint64_t at = 0; at + bytes.size() <= kFileBytes; at += bytes.size()) {
        ASSERT_TRUE(file->write(at, bytes).has_value());
      }
      if (syncs) {
        ASSERT_TRUE(file->sync(Durability::kData).has_value());
      }
      ASSERT_TRUE(file->close().has_value());
      EXPECT_EQ(resident_count(path_), 0U) << has_flag << ", " << syncs;
      testing::make_cold(path_);
    }
  }
}

TEST_F(FilePolicyTest, AWriterThatJumpsLeavesNothingBehindEither) {
  const auto file = open_without_flag({.writable = true});
  const Bytes bytes(10'000, std::byte{7});
  for (std::uint64_t i = 0; i < 200; ++i) {
    ASSERT_TRUE(file->write(i * 7919 * 13 % (kFileBytes - bytes.size()), bytes).has_value());
  }
  ASSERT_TRUE(file->close().has_value());
  EXPECT_EQ(resident_count(path_), 0U);
}

// --- Read-ahead ----------------------------------------------------------------------------------

TEST_F(FilePolicyTest, NoReadAheadMeansExactlyWhatWasAskedFor) {
  const auto file = open_file(path_, {.read_ahead = ReadAhead::kNone}).value();
  ASSERT_TRUE(read_through(*file, 0, 64_KiB, 4096).has_value());
  EXPECT_EQ(resident_count(path_), 16U);
}

TEST_F(FilePolicyTest, TheWindowIsAskedForAheadOfAScan) {
  const auto file =
      open_file(path_, {.read_ahead = ReadAhead::kWindow, .read_ahead_bytes = 4_MiB}).value();
  const sys::FaultPlan plan({});
  ASSERT_TRUE(read_through(*file, 0, 1_MiB).has_value());
  EXPECT_GE(file->stats().read_ahead_bytes, 4_MiB);
  EXPECT_LE(file->stats().read_ahead_bytes, 5_MiB);
  // In steps that no device's limit cuts.
  EXPECT_EQ(plan.count(sys::Call::kReadAhead), file->stats().read_ahead_bytes / 128_KiB);
  ASSERT_TRUE(read_through(*file, 1_MiB, kFileBytes).has_value());
  EXPECT_EQ(file->stats().read_ahead_bytes, kFileBytes);  // Each byte once, and none past the end.
}

TEST_F(FilePolicyTest, AJumpStartsAnew) {
  const auto file =
      open_file(path_, {.read_ahead = ReadAhead::kWindow, .read_ahead_bytes = 4_MiB}).value();
  Bytes bytes(4096);
  for (const std::uint64_t at : {10_MiB, 3_MiB, 17_MiB, 5_MiB}) {
    ASSERT_TRUE(file->read(at, bytes).has_value());
  }
  EXPECT_EQ(file->stats().read_ahead_bytes, 0U);
  ASSERT_TRUE(file->read(5_MiB + 4096, bytes).has_value());
  EXPECT_EQ(file->stats().read_ahead_bytes, 4_MiB + 4096);  // That read, and the window past it.
}

TEST_F(FilePolicyTest, WhatTheWindowBroughtGoesBehindTheReader) {
  const auto file = open_file(path_, {.cache = CacheUse::kDropBehind,
                                      .read_ahead = ReadAhead::kWindow,
                                      .read_ahead_bytes = 4_MiB})
                        .value();
  ASSERT_TRUE(read_through(*file, 0, 10_MiB).has_value());
  EXPECT_LE(resident_count(path_) * kPageBytes, 8_MiB);
  ASSERT_TRUE(file->close().has_value());
  EXPECT_EQ(resident_count(path_), 0U);
}

TEST_F(FilePolicyTest, ARefusedReadAheadIsNoError) {
  const auto file = open_file(path_, {.read_ahead = ReadAhead::kWindow}).value();
  const sys::FaultPlan plan({.call = sys::Call::kReadAhead, .times = 1000, .error = EINVAL});
  ASSERT_TRUE(read_through(*file, 0, 4_MiB).has_value());
  EXPECT_GT(plan.hits(), 0U);
  EXPECT_EQ(file->stats().read_ahead_bytes, 0U);
}

TEST_F(FilePolicyTest, PrefetchAsksForTheWholeRange) {
  const auto file = open_file(path_).value();
  const sys::FaultPlan plan({});
  ASSERT_TRUE(file->prefetch({1_MiB, 3_MiB}).has_value());
  EXPECT_EQ(file->stats().read_ahead_bytes, 3_MiB);
  EXPECT_EQ(plan.count(sys::Call::kReadAhead), 24U);
  ASSERT_TRUE(file->prefetch({23_MiB, kToEnd}).has_value());
  EXPECT_EQ(file->stats().read_ahead_bytes, 3_MiB + kFileBytes - 23_MiB);
  // What is on its way is in the page cache already: nothing has to be waited for.
  const std::uint64_t pages = (3_MiB + kFileBytes - 23_MiB + kPageBytes - 1) / kPageBytes;
  EXPECT_GE(sys::cache_status(file->fd(), kWholeFile).value().cached.value, pages);
}

// --- Write behind --------------------------------------------------------------------------------

// Goal:   no more than two windows are ever dirty: the one that is filled and the one before it.
// Method: each window's write-back is started once it is full, and waited for when the next is.
TEST_F(FilePolicyTest, WriteBackKeepsUpWithTheWriter) {
  const auto file = open_file(path_, {.writable = true, .write_behind_bytes = 1_MiB}).value();
  const Bytes bytes(256_KiB, std::byte{7});
  const sys::FaultPlan plan({});
  for (std::uint64_t at = 0; at < 8_MiB; at += bytes.size()) {
    ASSERT_TRUE(file->write(at, bytes).has_value());
  }
  EXPECT_EQ(file->stats().write_behind_bytes, 8_MiB);
  EXPECT_EQ(plan.count(sys::Call::kSyncRange), 8U + 7U);
  EXPECT_EQ(file->stats().dropped_bytes, 0U);
  EXPECT_EQ(resident_count(path_) * kPageBytes, 8_MiB);
}

// --- try_read ------------------------------------------------------------------------------------

TEST_F(FilePolicyTest, TryReadGivesWhatIsInMemoryAndNothingElse) {
  testing::read_pages(path_, {3, 4, 10});
  const auto file = open_file(path_, {.read_ahead = ReadAhead::kNone}).value();
  Bytes bytes(2 * kPageBytes);
  EXPECT_EQ(file->try_read(3 * kPageBytes, bytes).value(), 2 * kPageBytes);
  EXPECT_EQ(bytes[5], testing::pattern_at(3 * kPageBytes + 5));
  EXPECT_EQ(file->try_read(3 * kPageBytes + 17, std::span(bytes).first(100)).value(), 100U);
  EXPECT_EQ(file->try_read(10 * kPageBytes, bytes).value(), std::nullopt);  // Half of it is there.
  EXPECT_EQ(file->try_read(40 * kPageBytes, bytes).value(), std::nullopt);
  EXPECT_EQ(file->stats().try_read_hits, 2U);
  EXPECT_EQ(file->stats().try_read_misses, 2U);
  ASSERT_TRUE(file->read(kFileBytes - 100, bytes).has_value());
  EXPECT_EQ(file->try_read(kFileBytes - 100, bytes).value(), 100U);  // The end is no miss.
  EXPECT_EQ(file->try_read(kFileBytes + 5, bytes).value(), 0U);
}

TEST_F(FilePolicyTest, TryReadSaysWhereTheKernelCannotTell) {
  const TempDir directory;
  testing::Mount mount;
  const std::string refused = mount.mount("tmpfs", "quire", directory.path(), "size=1m");
  if (!refused.empty()) {
    GTEST_SKIP() << "tmpfs: " << refused;
  }
  const auto file = open_file(directory.file("file"), {.writable = true, .create = true}).value();
  Bytes bytes(100);
  ASSERT_TRUE(file->write(0, bytes).has_value());
  EXPECT_EQ(file->try_read(0, bytes).error().code(), Errc::kUnsupported);
}

// --- Directness ----------------------------------------------------------------------------------

class DirectnessTest : public FilePolicyTest {
 protected:
  void SetUp() override {
    if (!file_->is_direct()) {
      GTEST_SKIP() << "direct I/O: " << file_->explain();
    }
  }
  const std::unique_ptr<File> file_ =
      open_file(path_, {.writable = true, .cache = CacheUse::kBypass}).value();
};

TEST_F(DirectnessTest, ReadsThatPassTheCacheAreVerified) {
  EXPECT_EQ(file_->verify_direct().value(), Directness::kVerified);
  EXPECT_EQ(resident_count(path_), 0U);  // The proof itself leaves nothing behind.
}

TEST_F(DirectnessTest, AnotherPlaceIsTriedWhereSomebodyElseReadBefore) {
  testing::read_pages(path_, {0});
  EXPECT_EQ(file_->verify_direct().value(), Directness::kVerified);
}

TEST_F(DirectnessTest, WhereNothingCanBeSeenItIsUnknown) {
  {
    const auto reader = open_file(path_).value();
    ASSERT_TRUE(read_through(*reader, 0, kFileBytes).has_value());
    EXPECT_EQ(file_->verify_direct().value(), Directness::kUnknown);
    EXPECT_EQ(reader->verify_direct().value(), Directness::kUnknown);
  }
  testing::make_cold(path_);
  for (std::uint64_t nth = 1; nth <= 3; ++nth) {
    // As for somebody who may not write the file; before 6.5 it is ENOSYS.
    const sys::FaultPlan plan(
        {.call = sys::Call::kCacheStatus, .nth = nth, .times = 100, .error = EPERM});
    EXPECT_EQ(file_->verify_direct().value(), Directness::kUnknown) << nth;
  }
  ASSERT_TRUE(file_->resize(0).has_value());
  EXPECT_EQ(file_->verify_direct().value(), Directness::kUnknown);
}

// Overlay passes direct reads on, and counts no pages of its own whatever happens.
TEST_F(DirectnessTest, AFileSystemThatCountsNothingIsNotBelieved) {
  const TempDir directory;
  const TempDir mounted;
  for (const char* name : {"lower", "upper", "work"}) {
    ASSERT_EQ(::mkdir(directory.file(name).c_str(), 0700), 0);
  }
  directory.write("lower/file", testing::pattern(1'000'000));
  testing::make_cold(directory.file("lower/file"));
  testing::Mount mount;
  const std::string refused =
      mount.mount("overlay", "quire", mounted.path(),
                  "lowerdir=" + directory.file("lower") + ",upperdir=" + directory.file("upper") +
                      ",workdir=" + directory.file("work"));
  if (!refused.empty()) {
    GTEST_SKIP() << "overlay: " << refused;
  }
  const auto file = open_file(mounted.file("file"), {.cache = CacheUse::kBypass}).value();
  ASSERT_TRUE(file->is_direct()) << file->explain();
  EXPECT_EQ(file->verify_direct().value(), Directness::kUnknown);
}

}  // namespace
}  // namespace quire
