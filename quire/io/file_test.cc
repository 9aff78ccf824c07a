// SPDX-License-Identifier: Apache-2.0
//
// File: opening, closing, what direct files do with edges, what the counters count. What every
// Store does is in store_conformance_test.cc.
#include "quire/io/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "quire/base/page_window.h"
#include "quire/io/io_queue.h"
#include "quire/sys/call.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"
#include "quire/sys/journal_mark.h"
#include "quire/sys/metadata.h"
#include "quire/testing/aligned_memory.h"
#include "quire/testing/temp_dir.h"

namespace {

// Allocations of this process, for the tests that say that there are none.
std::atomic<std::uint64_t> g_allocations{0};

}  // namespace

// The other forms of new and delete end in these. Not inlined: gcc would see a free() of what a new
// gave, and warn.
[[gnu::noinline]] void* operator new(std::size_t size_bytes) {
  g_allocations.fetch_add(1);
  void* memory = std::malloc(size_bytes);
  if (memory == nullptr) {
    throw std::bad_alloc();
  }
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t /*size_bytes*/) noexcept {
  std::free(memory);
}

namespace quire {
namespace {

using testing::Bytes;
using testing::pattern_bytes;
using testing::TempDir;

constexpr FileOptions kNew{.writable = true, .create = true};
constexpr FileOptions kNewDirect{
    .writable = true, .create = true, .cache = CacheUse::kBypass, .fallback = Fallback::kRefused};

// --- Opening -------------------------------------------------------------------------------------

TEST(FileOpenTest, WhatIsMissingIsAnErrorOrMade) {
  const TempDir directory;
  const std::string path = directory.file("new");
  EXPECT_EQ(open_file(path).error().code(), std::errc::no_such_file_or_directory);
  EXPECT_EQ(open_file(path, {.writable = true}).error().code(),
            std::errc::no_such_file_or_directory);
  const auto made = open_file(path, {.writable = true, .create = true, .create_mode = 0640});
  ASSERT_TRUE(made.has_value());
  EXPECT_EQ((*made)->name(), path);
  struct stat status{};
  ASSERT_EQ(stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U & ~0640U, 0U);
  EXPECT_TRUE(open_file(path, kNew).has_value());
  FileOptions exclusive = kNew;
  exclusive.exclusive = true;
  EXPECT_EQ(open_file(path, exclusive).error().code(), std::errc::file_exists);
  EXPECT_TRUE(open_file(directory.file("newer"), exclusive).has_value());
}

TEST(FileOpenTest, WhatHasNoBytesAtAnOffsetIsRefused) {
  const TempDir directory;
  ASSERT_EQ(mkfifo(directory.file("fifo").c_str(), 0600), 0);
  EXPECT_EQ(open_file(directory.path()).error().code(), Errc::kWrongKind);
  EXPECT_EQ(open_file(directory.file("fifo")).error().code(), Errc::kWrongKind);
  EXPECT_EQ(open_file("/dev/null").error().code(), Errc::kWrongKind);
  EXPECT_EQ(open_file(directory.path(), {.writable = true}).error().code(),
            std::errc::is_a_directory);
}

TEST(FileOpenTest, OptionsThatContradictEachOtherAreRefused) {
  const TempDir directory;
  const std::string path = directory.file("file");
  for (const FileOptions& options : {FileOptions{.create = true}, FileOptions{.exclusive = true},
                                     FileOptions{.writable = true, .exclusive = true}}) {
    EXPECT_EQ(open_file(path, options).error().code(), std::errc::invalid_argument);
  }
  EXPECT_EQ(open_file(std::string("a\0b", 3)).error().code(), std::errc::invalid_argument);
}

TEST(FileOpenTest, ARefusedBypassFallsBackOrFails) {
  // The kernel's own files are buffered or nothing.
  const std::string path = "/proc/self/limits";
  const auto refused =
      open_file(path, {.cache = CacheUse::kBypass, .fallback = Fallback::kRefused});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Errc::kUnsupported);
  EXPECT_NE(refused.error().message().find("EINVAL"), std::string::npos);
  const auto file = open_file(path, {.cache = CacheUse::kBypass}).value();
  EXPECT_FALSE(file->is_direct());
  EXPECT_EQ(file->verify_direct().value(), Directness::kUnknown);
  EXPECT_NE(file->explain().find("not direct (O_DIRECT: EINVAL)"), std::string::npos)
      << file->explain();
  Bytes bytes(100);
  EXPECT_EQ(file->read(0, bytes).value(), 100U);
}

TEST(FileOpenTest, AFileThatCannotBeUsedAsAskedIsNotLeftBehind) {
  const TempDir directory;
  const std::string path = directory.file("new");
  const sys::FaultPlan plan({.call = sys::Call::kControl, .times = 100, .error = EINVAL});
  ASSERT_FALSE(open_file(path, kNewDirect).has_value());
  ASSERT_GT(plan.hits(), 0U);
  EXPECT_NE(access(path.c_str(), F_OK), 0);
}

TEST(FileOpenTest, ExplainNamesWhatWasChosen) {
  const TempDir directory;
  const std::string path = directory.write("file", testing::pattern(10'000));
  EXPECT_EQ(open_file(path).value()->explain(),
            path + ": buffered: pages are kept, read-ahead is the kernel's");
  EXPECT_EQ(open_file(path, {.writable = true,
                             .read_ahead = ReadAhead::kWindow,
                             .write_through = WriteThrough::kEachWrite,
                             .write_behind_bytes = 1_MiB})
                .value()
                ->explain(),
            path +
                ": buffered: pages are kept, 8.0 MiB are read ahead, write-back is started "
                "every 1.0 MiB, each write is durable (RWF_DSYNC)");
  const auto dropping =
      open_file(path, {.cache = CacheUse::kDropBehind, .read_ahead = ReadAhead::kWindow}).value();
  EXPECT_NE(dropping->explain().find("dropped behind by advice (pages that are read ahead"),
            std::string::npos)
      << dropping->explain();
  EXPECT_EQ(dropping->stats().drop_fallbacks, 0U);  // Nobody refused anything.
}

// Goal:   nobody but its journal writes to a file that may be behind it, and who reads it can find
//         out.
TEST(FileOpenTest, AFileBehindItsJournalIsWrittenByTheJournalAlone) {
  const TempDir directory;
  const std::string path = directory.write("data", "0123");
  const sys::Descriptor mark = sys::open_file(path.c_str(), {.write = true}).value();
  if (!sys::set_attribute(mark.get(), sys::kJournalAttribute, "of a journal")) {
    GTEST_SKIP() << "extended attributes: this file system has none";
  }
  const auto says_so = [&](const FileOptions& options) {
    return open_file(path, options).value()->explain().find(sys::kBehindItsJournal) !=
           std::string::npos;
  };
  for (const CacheUse cache : {CacheUse::kKeep, CacheUse::kDropBehind, CacheUse::kBypass}) {
    for (const bool create : {false, true}) {
      const auto refused = open_file(path, {.writable = true, .create = create, .cache = cache});
      ASSERT_FALSE(refused.has_value());
      EXPECT_EQ(refused.error().code(), std::errc::device_or_resource_busy);
      EXPECT_NE(refused.error().message().find("quire recover FILE"), std::string::npos)
          << refused.error().message();
    }
    EXPECT_TRUE(says_so({.cache = cache}));
    EXPECT_FALSE(
        says_so({.writable = true, .behind_journal = BehindJournal::kAllowed, .cache = cache}));
  }
  EXPECT_EQ(testing::read_file(path), "0123");
  ASSERT_TRUE(sys::remove_attribute(mark.get(), sys::kJournalAttribute));
  EXPECT_FALSE(says_so({.writable = true}));
}

TEST(FileOpenTest, ARefusedDropFlagIsReplacedByAdviceAndCounted) {
  const TempDir directory;
  const std::string path = directory.write("file", testing::pattern(10'000));
  const sys::FaultPlan plan({.call = sys::Call::kRead, .error = EOPNOTSUPP});
  const auto file = open_file(path, {.cache = CacheUse::kDropBehind}).value();
  EXPECT_EQ(plan.hits(), 1U);
  EXPECT_EQ(file->stats().drop_fallbacks, 1U);
  EXPECT_NE(file->explain().find("by advice (RWF_DONTCACHE: EOPNOTSUPP)"), std::string::npos)
      << file->explain();
  EXPECT_EQ(file->kernel_target(), nullptr);  // The kernel alone would leave the pages.
}

// --- Closing -------------------------------------------------------------------------------------

TEST(FileCloseTest, AClosedFileDoesNothingMore) {
  const TempDir directory;
  for (const FileOptions& options : {kNew, kNewDirect}) {
    auto opened = open_file(directory.file("file"), options);
    if (!opened && opened.error().code() == Errc::kUnsupported) {
      continue;
    }
    File& file = **opened;
    ASSERT_TRUE(file.close().has_value());
    Bytes bytes(10);
    EXPECT_EQ(file.read(0, bytes).error().code(), Errc::kClosed);
    EXPECT_EQ(file.write(0, bytes).error().code(), Errc::kClosed);
    EXPECT_EQ(file.size_bytes().error().code(), Errc::kClosed);
    EXPECT_EQ(file.resize(0).error().code(), Errc::kClosed);
    EXPECT_EQ(file.allocate({0, 1}).error().code(), Errc::kClosed);
    EXPECT_EQ(file.punch({0, 1}).error().code(), Errc::kClosed);
    EXPECT_EQ(file.sync(Durability::kData).error().code(), Errc::kClosed);
    EXPECT_EQ(file.try_read(0, bytes).error().code(), Errc::kClosed);
    EXPECT_EQ(file.prefetch(kWholeFile).error().code(), Errc::kClosed);
    EXPECT_EQ(file.verify_direct().error().code(), Errc::kClosed);
    EXPECT_EQ(file.close().error().code(), Errc::kClosed);
    EXPECT_EQ(file.fd(), -1);
    EXPECT_FALSE(file.may_kernel_do({.store = &file}));
    EXPECT_FALSE(file.explain().empty());
  }
}

TEST(FileCloseTest, NoDescriptorStays) {
  const TempDir directory;
  const int before = testing::count_open_descriptors();
  for (const CacheUse cache : {CacheUse::kKeep, CacheUse::kDropBehind, CacheUse::kBypass}) {
    const auto file =
        open_file(directory.file("file"), {.writable = true, .create = true, .cache = cache})
            .value();
    ASSERT_TRUE(file->write(5, pattern_bytes(5, 100)).has_value());
    ASSERT_TRUE(file->sync(Durability::kAll).has_value());
    static_cast<void>(file->verify_direct());
  }
  EXPECT_FALSE(open_file(directory.path()).has_value());
  EXPECT_EQ(testing::count_open_descriptors(), before);
}

TEST(FileCloseTest, TheKernelsErrorComesBack) {
  const TempDir directory;
  const auto file = open_file(directory.file("file"), kNew).value();
  const sys::FaultPlan plan({.call = sys::Call::kClose, .error = EDQUOT});
  EXPECT_EQ(file->close().error().code().value(), EDQUOT);
  EXPECT_EQ(file->close().error().code(), Errc::kClosed);
}

TEST(FileTest, AReadOnlyFileIsNotChanged) {
  const TempDir directory;
  const std::string path = directory.write("file", testing::pattern(100));
  const auto file = open_file(path).value();
  const Bytes bytes(1);
  EXPECT_EQ(file->write(0, bytes).error().code(), Errc::kReadOnly);
  EXPECT_EQ(file->resize(0).error().code(), Errc::kReadOnly);
  EXPECT_EQ(file->allocate({0, 1}).error().code(), Errc::kReadOnly);
  EXPECT_EQ(file->punch({0, 1}).error().code(), Errc::kReadOnly);
  EXPECT_FALSE(file->may_kernel_do({.store = file.get(), .operation = IoOperation::kWrite}));
  EXPECT_TRUE(file->sync(Durability::kAll).has_value());
  EXPECT_EQ(testing::read_file(path), testing::pattern(100));
}

TEST(FileTest, ErrorsNameFileAndRange) {
  const TempDir directory;
  const std::string path = directory.write("file", testing::pattern(100));
  const auto file = open_file(path).value();
  Bytes bytes(10);
  const sys::FaultPlan plan({.call = sys::Call::kRead, .error = EIO});
  EXPECT_EQ(
      file->read(20, bytes).error().message().find("read(" + path + ", offset 20, 10 bytes): "),
      0U);
}

TEST(FileTest, ANewNameIsMadeDurableOnce) {
  const TempDir directory;
  const auto file = open_file(directory.file("file"), kNew).value();
  const sys::FaultPlan plan({});
  ASSERT_TRUE(file->sync(Durability::kData).has_value());
  EXPECT_EQ(plan.count(sys::Call::kSyncAll), 0U);
  ASSERT_TRUE(file->sync(Durability::kAll).has_value());
  EXPECT_EQ(plan.count(sys::Call::kSyncAll), 2U);  // The file, and its directory.
  ASSERT_TRUE(file->sync(Durability::kAll).has_value());
  EXPECT_EQ(plan.count(sys::Call::kSyncAll), 3U);
  EXPECT_EQ(file->stats().syncs, 3U);
}

TEST(FileTest, AFileSystemWithoutHolesGetsZeros) {
  const TempDir directory;
  for (const CacheUse cache : {CacheUse::kKeep, CacheUse::kBypass}) {
    const auto file =
        open_file(directory.file("file"), {.writable = true, .create = true, .cache = cache})
            .value();
    Bytes model = pattern_bytes(0, 300'000);
    ASSERT_TRUE(file->write(0, model).has_value());
    const sys::FaultPlan plan({.call = sys::Call::kPunch, .error = EOPNOTSUPP});
    ASSERT_TRUE(file->punch({1'000, 200'000}).has_value());
    EXPECT_EQ(plan.hits(), 1U);
    std::fill_n(model.begin() + 1'000, 200'000, std::byte{0});
    Bytes bytes(model.size());
    ASSERT_EQ(file->read(0, bytes).value(), model.size());
    EXPECT_EQ(bytes, model);
  }
}

TEST(FileTest, SpaceThatCannotBeReservedIsUnsupported) {
  const TempDir directory;
  const auto file = open_file(directory.file("file"), kNew).value();
  const sys::FaultPlan plan({.call = sys::Call::kAllocate, .error = EOPNOTSUPP});
  EXPECT_EQ(file->allocate({0, 100}).error().code(), Errc::kUnsupported);
  EXPECT_EQ(file->size_bytes().value(), 0U);
}

// Somebody else truncates the file: reads give what is left.
TEST(FileTest, ATruncationUnderWayIsTheEnd) {
  const TempDir directory;
  for (const CacheUse cache : {CacheUse::kKeep, CacheUse::kBypass}) {
    const std::string path = directory.write("file", testing::pattern(100'000));
    const auto file = open_file(path, {.cache = cache}).value();
    ASSERT_EQ(truncate(path.c_str(), 50'001), 0);
    Bytes bytes(100'000);
    EXPECT_EQ(file->read(0, bytes).value(), 50'001U);
    EXPECT_EQ(file->read(60'000, bytes).value(), 0U);
    EXPECT_EQ(file->size_bytes().value(), 50'001U);
  }
}

// --- Cost ----------------------------------------------------------------------------------------

TEST(FileCostTest, ARequestThatFitsIsOneSystemCallAndNoAllocation) {
  const TempDir directory;
  const testing::PageMemory memory(1_MiB);
  for (const FileOptions& options : {kNew, kNewDirect}) {
    auto opened = open_file(directory.file("file"), options);
    if (!opened && opened.error().code() == Errc::kUnsupported) {
      GTEST_SKIP() << "direct I/O: " << opened.error().message();
    }
    File& file = **opened;
    ASSERT_TRUE(file.write(0, memory.bytes()).has_value());
    const FileStats before = file.stats();
    const std::uint64_t allocations = g_allocations.load();
    bool is_good = true;
    for (std::uint64_t i = 0; i < 10; ++i) {
      const std::span<std::byte> block = memory.bytes().subspan(i * 64_KiB, 64_KiB);
      is_good = is_good && file.write(i * 64_KiB, block).has_value() &&
                file.read(i * 64_KiB, block).value_or(0) == 64_KiB;
    }
    const std::uint64_t allocations_after = g_allocations.load();
    const FileStats after = file.stats();
    EXPECT_TRUE(is_good);
    EXPECT_EQ(allocations_after, allocations);
    EXPECT_EQ(after.system_calls - before.system_calls, 20U);
    EXPECT_EQ(after.reads - before.reads, 10U);
    EXPECT_EQ(after.writes - before.writes, 10U);
    EXPECT_EQ(after.bytes_read - before.bytes_read, 10 * 64_KiB);
    EXPECT_EQ(after.bytes_written - before.bytes_written, 10 * 64_KiB);
    EXPECT_EQ(after.bounced_bytes, 0U);
    EXPECT_EQ(after.resumed_transfers, 0U);
  }
}

// --- A kernel queue's requests -------------------------------------------------------------------

TEST(FileKernelTest, CompletionsAreCountedAndTheirErrorsStick) {
  const TempDir directory;
  const auto file = open_file(directory.file("file"), kNew).value();
  Bytes bytes(100);
  IoRequest request{.store = file.get(), .memory = bytes, .done_bytes = 70};
  file->on_kernel_completion(request);
  request.operation = IoOperation::kWrite;
  request.done_bytes = 100;
  file->on_kernel_completion(request);
  EXPECT_EQ(file->stats().bytes_read, 70U);
  EXPECT_EQ(file->stats().bytes_written, 100U);
  request.operation = IoOperation::kSync;
  file->on_kernel_completion(request);
  EXPECT_EQ(file->stats().syncs, 1U);
  // What is of the queue, or only means a full disk, leaves the file as it is.
  request.operation = IoOperation::kWrite;
  for (const std::error_code error :
       {std::error_code(Errc::kTruncated), std::error_code(ENOSPC, std::system_category())}) {
    request.error = error;
    file->on_kernel_completion(request);
    EXPECT_FALSE(file->sticky_error().has_value()) << error.message();
  }
  request.operation = IoOperation::kSync;
  file->on_kernel_completion(request);
  ASSERT_TRUE(file->sticky_error().has_value());
  EXPECT_FALSE(file->may_kernel_do(request));
  EXPECT_EQ(file->write(0, bytes).error().code(), Errc::kFailed);
}

}  // namespace
}  // namespace quire
