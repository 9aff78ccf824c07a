// SPDX-License-Identifier: Apache-2.0
//
// Files that are not just rows of bytes: sparse, appended to, made up when read, one and the same,
// on a full disk.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "quire/sys/call.h"
#include "quire/sys/descriptor.h"
#include "quire/testing/disk.h"
#include "quire/testing/files.h"
#include "quire/testing/temp_dir.h"
#include "quire/transfer/internal/ends_test.h"
#include "quire/transfer/transfer.h"

namespace quire::internal {
namespace {

constexpr TransferMethod kFileMethods[] = {
    TransferMethod::kAutomatic,    TransferMethod::kReadWrite, TransferMethod::kDirect,
    TransferMethod::kMapWrite,     TransferMethod::kSendFile,  TransferMethod::kSplice,
    TransferMethod::kCopyFileRange};

class FileTransferTest : public ::testing::TestWithParam<TransferMethod> {};

INSTANTIATE_TEST_SUITE_P(All, FileTransferTest, ::testing::ValuesIn(kFileMethods),
                         [](const auto& of) { return name_of(of.param); });

std::uint64_t blocks_of(const std::string& path) {
  return static_cast<std::uint64_t>(testing::status_of(path).st_blocks);
}

// Data, hole, data, hole: 40 MiB with 3 MiB in it, and nothing at the end.
std::string make_sparse(const TempDir& directory) {
  const std::string path = directory.file("sparse");
  const sys::Descriptor file = open_at(path, O_RDWR | O_CREAT);
  const std::string part = long_pattern(1 << 20);
  for (const off_t at : {off_t{0}, off_t{10} << 20, (off_t{25} << 20) + 4096}) {
    EXPECT_EQ(::pwrite(file.get(), part.data(), part.size(), at),
              static_cast<ssize_t>(part.size()));
  }
  EXPECT_EQ(::ftruncate(file.get(), off_t{40} << 20), 0);
  EXPECT_EQ(::fsync(file.get()), 0);
  return path;
}

bool is_skipped(const Result<TransferReport>& moved) {
  return !moved && moved.error().code() == Errc::kUnsupported;
}

TEST_P(FileTransferTest, KeepsASparseFileSparse) {
  const TempDir directory;
  const std::string source_path = make_sparse(directory);
  const std::string target_path = directory.file("target");
  const sys::Descriptor source = open_at(source_path, O_RDONLY);
  {
    const sys::Descriptor target = open_at(target_path, O_RDWR | O_CREAT);
    const auto moved = transfer({.fd = source.get()}, {.fd = target.get()}, {.method = GetParam()});
    if (is_skipped(moved)) {
      GTEST_SKIP() << moved.error().message();
    }
    ASSERT_TRUE(moved) << moved.error().message();
    EXPECT_EQ(moved->bytes, std::uint64_t{40} << 20);
    EXPECT_EQ(moved->hole_bytes, std::uint64_t{37} << 20);
    ASSERT_EQ(::fsync(target.get()), 0);
  }
  EXPECT_TRUE(read_file(target_path) == read_file(source_path));
  EXPECT_EQ(blocks_of(target_path), blocks_of(source_path));
}

// Goal:   a hole of the source reads as zeros in the target, whatever was there before.
// Method: a target full of bytes, longer and shorter than the source; holes punched, and where the
//         file system refuses to punch, written.
TEST_P(FileTransferTest, LeavesNoOldBytesWhereTheSourceHasHoles) {
  for (const bool can_punch : {true, false}) {
    for (const std::size_t old_bytes : {std::size_t{15} << 20, std::size_t{48} << 20}) {
      const TempDir directory;
      const std::string source_path = make_sparse(directory);
      const std::string target_path = directory.write("target", std::string(old_bytes, 'x'));
      const sys::Descriptor source = open_at(source_path, O_RDONLY);
      const sys::Descriptor target = open_at(target_path, O_RDWR);
      const sys::FaultPlan plan({.call = can_punch ? sys::Call::kCount : sys::Call::kPunch,
                                 .times = 1'000'000,
                                 .error = EOPNOTSUPP});
      const auto moved = transfer({.fd = source.get()}, {.fd = target.get(), .offset_bytes = 0},
                                  {.method = GetParam()});
      if (is_skipped(moved)) {
        GTEST_SKIP() << moved.error().message();
      }
      ASSERT_TRUE(moved) << moved.error().message();
      const std::string wanted = read_file(source_path);
      const std::string found = read_file(target_path);
      EXPECT_TRUE(found.compare(0, wanted.size(), wanted) == 0);
      EXPECT_EQ(found.size(), std::max(old_bytes, wanted.size()));
    }
  }
}

TEST_P(FileTransferTest, FillsHolesWhenAsked) {
  const TempDir directory;
  const std::string source_path = make_sparse(directory);
  const std::string target_path = directory.file("target");
  const sys::Descriptor source = open_at(source_path, O_RDONLY);
  const sys::Descriptor target = open_at(target_path, O_RDWR | O_CREAT);
  const auto moved = transfer({.fd = source.get()}, {.fd = target.get()},
                              {.method = GetParam(), .holes = Holes::kFill});
  if (is_skipped(moved)) {
    GTEST_SKIP() << moved.error().message();
  }
  ASSERT_TRUE(moved) << moved.error().message();
  EXPECT_EQ(moved->hole_bytes, 0U);
  ASSERT_EQ(::fsync(target.get()), 0);
  EXPECT_TRUE(read_file(target_path) == read_file(source_path));
  EXPECT_GE(blocks_of(target_path), (std::uint64_t{40} << 20) / 512);
}

TEST_P(FileTransferTest, WritesAtTheOffsetOrMovesThePosition) {
  const TempDir directory;
  const std::string content = pattern(100'000);
  const std::string source_path = directory.write("source", content);
  const sys::Descriptor source = open_at(source_path, O_RDONLY);
  const std::string target_path = directory.write("target", std::string(5'000, 'x'));
  const sys::Descriptor target = open_at(target_path, O_RDWR);
  ASSERT_EQ(::lseek(target.get(), 77, SEEK_SET), 77);
  const auto first = transfer({.fd = source.get(), .range = {0, 1'000}},
                              {.fd = target.get(), .offset_bytes = 3'000}, {.method = GetParam()});
  if (is_skipped(first)) {
    GTEST_SKIP() << first.error().message();
  }
  ASSERT_TRUE(first) << first.error().message();
  EXPECT_EQ(::lseek(target.get(), 0, SEEK_CUR), 77) << "an explicit offset moves no position";
  const auto second = transfer({.fd = source.get(), .range = {1'000, 500}}, {.fd = target.get()},
                               {.method = GetParam()});
  ASSERT_TRUE(second) << second.error().message();
  EXPECT_EQ(::lseek(target.get(), 0, SEEK_CUR), 577);
  std::string wanted(5'000, 'x');
  wanted.replace(3'000, 1'000, content.substr(0, 1'000));
  wanted.replace(77, 500, content.substr(1'000, 500));
  EXPECT_TRUE(read_file(target_path) == wanted);
}

// Goal:   a full disk is ENOSPC with the position, and what is reported as written is there.
TEST_P(FileTransferTest, TellsHowFarItCameOnAFullFileSystem) {
  const TempDir directory;
  testing::Mount mount;  // Gone before the directory is.
  const std::string small = directory.file("small");
  ASSERT_EQ(::mkdir(small.c_str(), 0755), 0);
  if (const std::string why = mount.mount("tmpfs", "small", small, "size=3m"); !why.empty()) {
    GTEST_SKIP() << "tmpfs: " << why;
  }
  const std::string content = long_pattern(12 << 20);
  const sys::Descriptor source = open_at(directory.write("source", content), O_RDONLY);
  {
    const sys::Descriptor target = open_at(small + "/target", O_RDWR | O_CREAT);
    TransferReport so_far;
    const auto moved = transfer({.fd = source.get()}, {.fd = target.get()},
                                {.method = GetParam(), .so_far = &so_far});
    ASSERT_FALSE(moved);
    if (GetParam() == TransferMethod::kCopyFileRange) {
      EXPECT_TRUE(is_skipped(moved)) << "it does not cross file systems";
      return;
    }
    if (is_skipped(moved)) {
      GTEST_SKIP() << moved.error().message();
    }
    EXPECT_EQ(moved.error().code(), std::errc::no_space_on_device) << moved.error().message();
    EXPECT_LE(so_far.bytes, 3U << 20);
    const std::string found = read_file(small + "/target");
    EXPECT_GE(found.size(), so_far.bytes);
    EXPECT_TRUE(found.compare(0, so_far.bytes, content, 0, so_far.bytes) == 0);
    EXPECT_NE(moved.error().message().find(std::to_string(so_far.bytes)), std::string::npos)
        << moved.error().message();
  }
}

TEST_P(FileTransferTest, RefusesTheSameBytesOfOneFile) {
  const TempDir directory;
  const std::string path = directory.write("file", pattern(10'000));
  const sys::Descriptor source = open_at(path, O_RDONLY);
  const sys::Descriptor target = open_at(path, O_RDWR);
  const auto moved = transfer({.fd = source.get(), .range = {0, 5'000}},
                              {.fd = target.get(), .offset_bytes = 4'999}, {.method = GetParam()});
  ASSERT_FALSE(moved);
  EXPECT_EQ(moved.error().code(), std::errc::invalid_argument) << moved.error().message();
  const auto apart = transfer({.fd = source.get(), .range = {0, 5'000}},
                              {.fd = target.get(), .offset_bytes = 5'000}, {.method = GetParam()});
  if (is_skipped(apart)) {
    GTEST_SKIP() << apart.error().message();
  }
  ASSERT_TRUE(apart) << apart.error().message();
  EXPECT_TRUE(read_file(path) == pattern(5'000) + pattern(5'000));
}

// Goal:   files without a size, or with one that is a guess, are read to their end.
TEST(MadeUpFileTest, IsMovedWholeWhereItsSizeIsNothingOrAGuess) {
  for (const char* path : {"/proc/version", "/proc/filesystems", "/sys/kernel/mm/ksm/run"}) {
    const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
      continue;
    }
    const sys::Descriptor source(fd);
    const TempDir directory;
    TestTarget target(TargetKind::kFile, directory);
    const auto moved = transfer({.fd = source.get()}, {.fd = target.fd()});
    ASSERT_TRUE(moved) << moved.error().message();
    std::ifstream stream(path);
    const std::string wanted((std::istreambuf_iterator<char>(stream)), {});
    EXPECT_FALSE(wanted.empty());
    EXPECT_EQ(moved->bytes, wanted.size());
    EXPECT_EQ(target.received(), wanted);
  }
}

// Goal:   the zeros that a truncated file's last page shows to a mapping are not taken for its
//         bytes.
// Method: the file is cut within its last page while the writer is stuck in a full pipe; its one
//         write then succeeds, with zeros at the end.
TEST(TruncatedPageTest, IsFoundThoughTheWriteSucceeded) {
  const TempDir directory;
  const std::string content = long_pattern((1 << 20) + 200);
  const std::string path = directory.write("source", content);
  const sys::Descriptor source = open_at(path, O_RDONLY);
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const sys::Descriptor read_end(ends[0]);
  sys::Descriptor write_end(ends[1]);
  std::jthread reader([&] {
    std::vector<char> buffer(65536);
    // Once a byte came through, the only step of this transfer is under way.
    ASSERT_GT(::read(read_end.get(), buffer.data(), 1), 0);
    ASSERT_EQ(::truncate(path.c_str(), (1 << 20) + 100), 0);
    while (::read(read_end.get(), buffer.data(), buffer.size()) > 0) {
    }
  });
  const auto moved = transfer({.fd = source.get()}, {.fd = write_end.get()},
                              {.method = TransferMethod::kMapWrite});
  ASSERT_TRUE(write_end.close());
  ASSERT_FALSE(moved);
  EXPECT_EQ(moved.error().code(), Errc::kTruncated) << moved.error().message();
}

// copy_file_range(2) answers 0 for them, which others took for the end (or asked for ever).
TEST(MadeUpFileTest, IsRefusedByCopyFileRangeInsteadOfComingOutEmpty) {
  const sys::Descriptor source = open_at("/proc/version", O_RDONLY);
  const TempDir directory;
  TestTarget target(TargetKind::kFile, directory);
  const auto moved = transfer({.fd = source.get()}, {.fd = target.fd()},
                              {.method = TransferMethod::kCopyFileRange});
  ASSERT_FALSE(moved);
  EXPECT_EQ(moved.error().code(), Errc::kUnsupported) << moved.error().message();
}

TEST(TransferEndsTest, RefusesWhatHasNoBytesOrIsNotOpenForIt) {
  const TempDir directory;
  const std::string path = directory.write("file", "content");
  const sys::Descriptor readable = open_at(path, O_RDONLY);
  const sys::Descriptor writable = open_at(directory.file("target"), O_WRONLY | O_CREAT);
  const sys::Descriptor folder = open_at(directory.path(), O_RDONLY);
  const auto code_of = [](int from, int to) {
    const auto moved = transfer({.fd = from}, {.fd = to});
    return moved ? std::error_code() : moved.error().code();
  };
  EXPECT_EQ(code_of(folder.get(), writable.get()), Errc::kWrongKind);
  EXPECT_EQ(code_of(writable.get(), writable.get()), Errc::kWrongKind);
  EXPECT_EQ(code_of(readable.get(), readable.get()), Errc::kWrongKind);
  EXPECT_EQ(code_of(-1, writable.get()), std::errc::bad_file_descriptor);
  EXPECT_EQ(code_of(readable.get(), -1), std::errc::bad_file_descriptor);
  const auto past_end = transfer({.fd = readable.get(), .range = {0, 8}}, {.fd = writable.get()});
  ASSERT_FALSE(past_end);
  EXPECT_EQ(past_end.error().code(), Errc::kOutOfRange);
  const sys::Descriptor appending = open_at(path, O_WRONLY | O_APPEND);
  const auto at_offset =
      transfer({.fd = readable.get()}, {.fd = appending.get(), .offset_bytes = 0});
  ASSERT_FALSE(at_offset);
  EXPECT_EQ(at_offset.error().code(), Errc::kWrongKind);
}

TEST(TransferEndsTest, TakesFromAStreamAsMuchAsAskedAndSaysWhenItEndsEarly) {
  for (const TransferMethod method : {TransferMethod::kReadWrite, TransferMethod::kSplice}) {
    const TempDir directory;
    const std::string content = pattern(300'000);
    const TestSource source(SourceKind::kPipe, directory, content);
    TestTarget target(TargetKind::kFile, directory);
    const auto first = transfer({.fd = source.fd(), .range = {0, 100'001}}, {.fd = target.fd()},
                                {.method = method});
    ASSERT_TRUE(first) << first.error().message();
    TransferReport so_far;
    const auto second = transfer({.fd = source.fd(), .range = {0, 200'000}}, {.fd = target.fd()},
                                 {.method = method, .so_far = &so_far});
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code(), Errc::kTruncated) << second.error().message();
    EXPECT_EQ(so_far.bytes, 199'999U);
    EXPECT_TRUE(target.received() == content);
  }
}

std::uint64_t anonymous_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:")) {
      return std::stoull(line.substr(8)) << 10;
    }
  }
  return 0;
}

// Goal:   memory does not grow with the file.
// Method: the process's own memory at every step of a long file, most of which is a hole that is
//         read, against what it was before.
TEST_P(FileTransferTest, TakesNoMoreMemoryForALongFile) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "memory: the sanitizer's own counts as the transfer's";
#endif
  const TempDir directory;
  const std::string path = directory.file("long");
  const sys::Descriptor source = open_at(path, O_RDWR | O_CREAT);
  ASSERT_EQ(::ftruncate(source.get(), off_t{128} << 20), 0);
  const bool needs_file = GetParam() == TransferMethod::kCopyFileRange;
  const sys::Descriptor target = needs_file ? open_at(directory.file("target"), O_RDWR | O_CREAT)
                                            : open_at("/dev/null", O_WRONLY);
  const std::uint64_t before = anonymous_bytes();
  std::uint64_t most = 0;
  const auto moved = transfer(
      {.fd = source.get()}, {.fd = target.get()},
      {.method = GetParam(), .holes = Holes::kFill, .on_progress = [&](const TransferProgress&) {
         most = std::max(most, anonymous_bytes());
       }});
  if (is_skipped(moved)) {
    GTEST_SKIP() << moved.error().message();
  }
  ASSERT_TRUE(moved) << moved.error().message();
  EXPECT_LE(most, before + kTransferBufferBytesMax);
}

}  // namespace
}  // namespace quire::internal
