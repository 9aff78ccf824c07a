// SPDX-License-Identifier: Apache-2.0
//
// Transfers, space, waiting and names. The page cache of a file: file_cache_test.cc.
#include "quire/sys/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "quire/base/page_window.h"
#include "quire/sys/call.h"
#include "quire/sys/descriptor.h"
#include "quire/testing/disk.h"
#include "quire/testing/temp_dir.h"

namespace quire::sys {
namespace {

using literals::operator""_KiB;
using literals::operator""_MiB;
using testing::pattern;
using testing::read_file;
using testing::TempDir;

constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

Descriptor open_for_writing(const std::string& path) {
  return open_file(path.c_str(), {.write = true, .create = true}).value();
}

Descriptor open_memory_file() {
  return Descriptor(memfd_create("quire-test", MFD_CLOEXEC));
}

// What read_at() finds, as text.
std::string read_text(int fd, std::size_t length_bytes, std::uint64_t offset_bytes) {
  std::string text(length_bytes, '?');
  text.resize(read_at(fd, std::as_writable_bytes(std::span(text)), offset_bytes).value());
  return text;
}

// A pipe whose ends are closed when it goes.
struct Pipe {
  Descriptor reader;
  Descriptor writer;

  explicit Pipe(int flags = 0) {
    std::array<int, 2> ends{};
    EXPECT_EQ(pipe2(ends.data(), O_CLOEXEC | flags), 0);
    reader = Descriptor(ends[0]);
    writer = Descriptor(ends[1]);
  }
};

// --- reading ------------------------------------------------------------------------------------

TEST(BareTransferTest, MovesBytesOrGivesTheErrnoAsANegativeNumber) {
  const TempDir directory;
  const Descriptor file = open_for_writing(directory.file("file"));
  EXPECT_EQ(write_bare(file.get(), bytes_of("0123456789"), 5), 10);
  std::string text(20, '?');
  const auto into = std::as_writable_bytes(std::span(text));
  EXPECT_EQ(read_bare(file.get(), into, 10), 5);  // Up to the end.
  EXPECT_EQ(text.substr(0, 6), "56789?");
  EXPECT_EQ(read_bare(file.get(), into, 100), 0);
  EXPECT_EQ(read_bare(-1, into, 0), -EBADF);
  EXPECT_EQ(write_bare(-1, bytes_of("x"), 0), -EBADF);
}

TEST(BareTransferTest, GoesThroughTheDoorLikeAnyCall) {
  const TempDir directory;
  const Descriptor file = open_for_writing(directory.file("file"));
  {
    const FaultPlan plan({.call = Call::kWrite, .nth = 1, .times = 2, .error = EINTR});
    EXPECT_EQ(write_bare(file.get(), bytes_of("abc"), 0), 3);
    EXPECT_EQ(plan.count(Call::kWrite), 3U);
  }
  {
    const FaultPlan plan({.call = Call::kWrite, .nth = 1, .error = ENOSPC});
    EXPECT_EQ(write_bare(file.get(), bytes_of("abc"), 0), -ENOSPC);
  }
  std::string text(3, '?');
  const FaultPlan plan({.call = Call::kRead, .nth = 1, .transfer_bytes_max = 2});
  EXPECT_EQ(read_bare(file.get(), std::as_writable_bytes(std::span(text)), 0), 2);
}

TEST(ReadAtTest, StopsAtTheEndOfTheFile) {
  const TempDir directory;
  const Descriptor file = open_file(directory.write("a", pattern(100)).c_str(), {}).value();
  EXPECT_EQ(read_text(file.get(), 100, 0), pattern(100));
  EXPECT_EQ(read_text(file.get(), 200, 0), pattern(100));
  EXPECT_EQ(read_text(file.get(), 10, 95), pattern(100).substr(95));
  EXPECT_EQ(read_text(file.get(), 10, 100), "");
  EXPECT_EQ(read_text(file.get(), 10, 1_MiB), "");
  EXPECT_EQ(read_text(file.get(), 0, 0), "");
}

TEST(ReadAtTest, OffsetsBeyondAnyFileGiveNoBytes) {
  const TempDir directory;
  const Descriptor file = open_file(directory.write("a", pattern(100)).c_str(), {}).value();
  std::array<std::byte, 10> buffer{};
  for (const std::uint64_t offset :
       {kFileOffsetMax - 5, kFileOffsetMax, kFileOffsetMax + 1, kMax - 5, kMax}) {
    EXPECT_EQ(read_at(file.get(), buffer, offset).value_or(0), 0U) << offset;
  }
}

TEST(ReadAtTest, ShortTransfersAreCompleted) {
  const TempDir directory;
  const Descriptor file = open_file(directory.write("a", pattern(100)).c_str(), {}).value();
  for (std::size_t most = 1; most <= 7; ++most) {
    const FaultPlan plan({.call = Call::kRead, .times = UINT64_MAX, .transfer_bytes_max = most});
    EXPECT_EQ(read_text(file.get(), 60, 3), pattern(100).substr(3, 60));
    EXPECT_EQ(plan.count(Call::kRead), (60 + most - 1) / most);
    EXPECT_EQ(read_text(file.get(), 1000, 0), pattern(100)) << "up to the end, and not beyond";
  }
}

TEST(ReadAtTest, AnErrorInTheMiddleIsAnError) {
  const TempDir directory;
  const Descriptor file = open_file(directory.write("a", pattern(100)).c_str(), {}).value();
  std::array<std::byte, 10> buffer{};
  const FaultPlan plan({.call = Call::kRead, .error = EIO});
  EXPECT_EQ(read_at(file.get(), buffer, 0).error(), Errno{EIO});
  EXPECT_EQ(read_at(-1, buffer, 0).error(), Errno{EBADF});
}

TEST(ReadSomeTest, TakesWhatAPipeHasAndSaysWhenItIsOver) {
  Pipe pipe(O_NONBLOCK);
  std::array<std::byte, 10> buffer{};
  EXPECT_EQ(read_some(pipe.reader.get(), buffer).error(), Errno{EAGAIN});
  ASSERT_TRUE(write_all(pipe.writer.get(), bytes_of("abc")).has_value());
  EXPECT_EQ(read_some(pipe.reader.get(), buffer), 3U) << "and does not wait for ten";
  ASSERT_TRUE(pipe.writer.close().has_value());
  EXPECT_EQ(read_some(pipe.reader.get(), buffer), 0U);
}

// --- writing ------------------------------------------------------------------------------------

TEST(WriteAtTest, WritesAllOfItWhereItBelongs) {
  const TempDir directory;
  const std::string path = directory.write("a", std::string(10, '.'));
  const Descriptor file = open_for_writing(path);
  ASSERT_TRUE(write_at(file.get(), bytes_of("abc"), 2).has_value());
  EXPECT_EQ(read_file(path), "..abc.....");
  ASSERT_TRUE(write_at(file.get(), bytes_of("xyz"), 12).has_value());
  EXPECT_EQ(read_file(path), std::string("..abc.....\0\0xyz", 15)) << "what lies between is zero";
  ASSERT_TRUE(write_at(file.get(), {}, 1000).has_value());
  EXPECT_EQ(file_status(file.get())->size_bytes, 15U) << "nothing, written anywhere, is nothing";
}

TEST(WriteAtTest, ShortTransfersAreCompleted) {
  const TempDir directory;
  const std::string path = directory.file("a");
  const Descriptor file = open_for_writing(path);
  for (std::size_t most = 1; most <= 7; ++most) {
    ASSERT_TRUE(truncate_file(file.get(), 0).has_value());
    const FaultPlan plan({.call = Call::kWrite, .times = UINT64_MAX, .transfer_bytes_max = most});
    ASSERT_TRUE(write_at(file.get(), bytes_of(pattern(60)), 0).has_value());
    EXPECT_EQ(plan.count(Call::kWrite), (60 + most - 1) / most);
    EXPECT_EQ(read_file(path), pattern(60));
  }
}

// Goal:   a write(2) that moves nothing and reports nothing ends as an error, not as a loop.
TEST(WriteAtTest, AWriteThatMovesNothingIsAnError) {
  const TempDir directory;
  const Descriptor file = open_for_writing(directory.file("a"));
  const FaultPlan plan({.call = Call::kWrite, .times = UINT64_MAX, .transfer_bytes_max = 0});
  EXPECT_EQ(write_at(file.get(), bytes_of("abc"), 0).error(), Errno{EIO});
  EXPECT_EQ(write_all(file.get(), bytes_of("abc")).error(), Errno{EIO});
}

TEST(WriteAtTest, OffsetsBeyondAnyFileAreErrors) {
  const TempDir directory;
  const std::string path = directory.write("a", "text");
  const Descriptor file = open_for_writing(path);
  for (const std::uint64_t offset : {kFileOffsetMax, kFileOffsetMax + 1, kMax - 1, kMax}) {
    EXPECT_FALSE(write_at(file.get(), bytes_of("abc"), offset).has_value()) << offset;
  }
  EXPECT_EQ(read_file(path), "text");
}

// A file system of 64 KiB, or why there is none.
class FullDiskTest : public ::testing::Test {
 protected:
  static constexpr std::size_t kDiskBytes = 64 * 1024;

  void SetUp() override {
    const std::string problem = mount_.mount("tmpfs", "tmpfs", directory_.path(), "size=64k");
    if (!problem.empty()) {
      GTEST_SKIP() << problem;
    }
  }

  TempDir directory_;
  testing::Mount mount_;
};

TEST_F(FullDiskTest, WriteAtReportsItAndKeepsWhatFitted) {
  const std::string path = directory_.file("a");
  const Descriptor file = open_for_writing(path);
  const Outcome<void> written = write_at(file.get(), bytes_of(pattern(2 * kDiskBytes)), 0);
  ASSERT_FALSE(written.has_value());
  EXPECT_EQ(written.error(), Errno{ENOSPC});
  EXPECT_EQ(read_file(path), pattern(kDiskBytes));
}

TEST_F(FullDiskTest, AllocatingReportsItBeforeAnythingIsWritten) {
  const Descriptor file = open_for_writing(directory_.file("a"));
  const Outcome<void> allocated =
      allocate_space(file.get(), {0, 2 * kDiskBytes}, Allocate::kExtendSize);
  ASSERT_FALSE(allocated.has_value());
  EXPECT_EQ(allocated.error(), Errno{ENOSPC});
  EXPECT_EQ(file_status(file.get())->size_bytes, 0U);
  EXPECT_TRUE(allocate_space(file.get(), {0, kDiskBytes}, Allocate::kExtendSize).has_value());
}

TEST(WriteAllTest, FillsAPipeThatIsReadSlowly) {
  Pipe pipe;
  const std::string text = pattern(1_MiB);
  std::string received;
  std::jthread reader([&] {
    std::array<std::byte, 777> buffer{};
    while (const std::size_t got = read_some(pipe.reader.get(), buffer).value_or(0)) {
      received.append(reinterpret_cast<const char*>(buffer.data()), got);
    }
  });
  EXPECT_TRUE(write_all(pipe.writer.get(), bytes_of(text)).has_value());
  ASSERT_TRUE(pipe.writer.close().has_value());
  reader.join();
  EXPECT_TRUE(received == text);
}

// Goal:   standard output that somebody else made non-blocking still gets everything.
TEST(WriteAllTest, WaitsWhereANonBlockingPipeIsFull) {
  Pipe pipe(O_NONBLOCK);
  const std::string text = pattern(1_MiB);
  std::string received;
  std::jthread reader([&] {
    std::array<std::byte, 777> buffer{};
    while (received.size() < text.size()) {
      ASSERT_TRUE(wait_readable(pipe.reader.get(), -1).has_value());
      const std::size_t got = read_some(pipe.reader.get(), buffer).value_or(0);
      received.append(reinterpret_cast<const char*>(buffer.data()), got);
    }
  });
  const FaultPlan plan({});
  EXPECT_TRUE(write_all(pipe.writer.get(), bytes_of(text)).has_value());
  reader.join();
  EXPECT_TRUE(received == text);
}

TEST(WriteAllTest, APipeNobodyReadsIsAnError) {
  signal(SIGPIPE, SIG_IGN);
  Pipe pipe;
  ASSERT_TRUE(pipe.reader.close().has_value());
  EXPECT_EQ(write_all(pipe.writer.get(), bytes_of("abc")).error(), Errno{EPIPE});
  signal(SIGPIPE, SIG_DFL);
}

// --- size and space -----------------------------------------------------------------------------

TEST(TruncateFileTest, SetsTheSizeInBothDirections) {
  const TempDir directory;
  const std::string path = directory.write("a", pattern(100));
  const Descriptor file = open_for_writing(path);
  ASSERT_TRUE(truncate_file(file.get(), 50).has_value());
  EXPECT_EQ(read_file(path), pattern(50));
  ASSERT_TRUE(truncate_file(file.get(), 60).has_value());
  EXPECT_EQ(read_file(path), pattern(50) + std::string(10, '\0'));
}

// Goal:   a size that no file can have is refused, not cut down to one that a file can have.
TEST(TruncateFileTest, ImpossibleSizesAreRefused) {
  const Descriptor file = open_memory_file();
  for (const std::uint64_t size : {kFileOffsetMax + 1, kMax}) {
    EXPECT_EQ(truncate_file(file.get(), size).error(), Errno{EFBIG}) << size;
  }
  EXPECT_EQ(file_status(file.get())->size_bytes, 0U);
}

TEST(AllocateSpaceTest, ExtendsTheSizeOrKeepsIt) {
  const TempDir directory;
  const Descriptor file = open_for_writing(directory.file("a"));
  const Outcome<void> kept = allocate_space(file.get(), {0, 1_MiB}, Allocate::kKeepSize);
  if (!kept && kept.error() == Errno{EOPNOTSUPP}) {
    GTEST_SKIP() << "fallocate: EOPNOTSUPP";
  }
  EXPECT_EQ(file_status(file.get())->size_bytes, 0U);
  EXPECT_GE(file_status(file.get())->allocated_bytes, 1_MiB);
  ASSERT_TRUE(allocate_space(file.get(), {0, 1_MiB}, Allocate::kExtendSize).has_value());
  EXPECT_EQ(file_status(file.get())->size_bytes, 1_MiB);
  EXPECT_EQ(read_text(file.get(), 10, 1_MiB - 10), std::string(10, '\0'));
}

TEST(PunchHoleTest, FreesTheBlocksAndLeavesTheRest) {
  const TempDir directory;
  const std::string text = pattern(64_KiB);
  const Descriptor file = open_for_writing(directory.write("a", text));
  ASSERT_TRUE(sync_all(file.get()).has_value());
  const std::uint64_t before = file_status(file.get())->allocated_bytes;
  const Outcome<void> punched = punch_hole(file.get(), {16_KiB, 32_KiB});
  if (!punched && punched.error() == Errno{EOPNOTSUPP}) {
    GTEST_SKIP() << "punching: EOPNOTSUPP";
  }
  EXPECT_EQ(read_text(file.get(), 64_KiB, 0),
            text.substr(0, 16_KiB) + std::string(32_KiB, '\0') + text.substr(48_KiB));
  EXPECT_EQ(file_status(file.get())->size_bytes, 64_KiB);
  EXPECT_LT(file_status(file.get())->allocated_bytes, before);
}

TEST(SpaceTest, AnEmptyRangeIsNothing) {
  const Descriptor file = open_memory_file();
  const FaultPlan plan({});
  EXPECT_TRUE(allocate_space(file.get(), {0, 0}, Allocate::kExtendSize).has_value());
  EXPECT_TRUE(punch_hole(file.get(), {0, 0}).has_value());
  EXPECT_EQ(plan.count(Call::kAllocate) + plan.count(Call::kPunch), 0U);
}

// Goal:   a range that no file can have is refused, not cut down to one that a file can have: on a
//         tmpfs the kernel would set out to allocate it, until the machine is out of memory.
// Method: the plan keeps such a call from the kernel, should one be made.
TEST(SpaceTest, ImpossibleRangesAreRefused) {
  const Descriptor file = open_memory_file();
  const FaultPlan plan({.call = Call::kAllocate, .times = UINT64_MAX, .error = EIO});
  for (const ByteRange range :
       {kWholeFile, ByteRange{4096, kToEnd}, ByteRange{kMax, 1}, ByteRange{kFileOffsetMax, 1}}) {
    EXPECT_EQ(allocate_space(file.get(), range, Allocate::kExtendSize).error(), Errno{EFBIG});
    EXPECT_EQ(punch_hole(file.get(), range).error(), Errno{EFBIG});
  }
}

// --- seeking ------------------------------------------------------------------------------------

TEST(SeekTest, FindsDataAndHolesOfASparseFile) {
  const TempDir directory;
  const Descriptor file = open_for_writing(directory.file("a"));
  ASSERT_TRUE(truncate_file(file.get(), 3_MiB).has_value());
  ASSERT_TRUE(write_at(file.get(), bytes_of(pattern(64_KiB)), 1_MiB).has_value());
  if (seek_data(file.get(), 0) == 0U) {
    GTEST_SKIP() << "SEEK_DATA: this file system does not tell holes";
  }
  EXPECT_EQ(seek_hole(file.get(), 0), 0U);
  EXPECT_EQ(seek_data(file.get(), 0), 1_MiB);
  EXPECT_EQ(seek_data(file.get(), 1_MiB + 100), 1_MiB + 100);
  EXPECT_EQ(seek_hole(file.get(), 1_MiB), 1_MiB + 64_KiB);
  EXPECT_EQ(seek_data(file.get(), 1_MiB + 64_KiB).error(), Errno{ENXIO});
}

TEST(SeekTest, PastTheEndThereIsNeither) {
  const TempDir directory;
  const Descriptor file = open_for_writing(directory.write("a", pattern(100)));
  EXPECT_EQ(seek_data(file.get(), 50), 50U);
  EXPECT_EQ(seek_hole(file.get(), 50), 100U) << "every file ends with a hole";
  for (const std::uint64_t offset : {std::uint64_t{100}, std::uint64_t{1_MiB}, kMax}) {
    EXPECT_EQ(seek_data(file.get(), offset).error(), Errno{ENXIO}) << offset;
    EXPECT_EQ(seek_hole(file.get(), offset).error(), Errno{ENXIO}) << offset;
  }
}

// --- waiting ------------------------------------------------------------------------------------

TEST(WaitReadableTest, TellsDataHangUpAndTimeApart) {
  Pipe pipe;
  EXPECT_EQ(wait_readable(pipe.reader.get(), 0), PollResult::kTimedOut);
  ASSERT_TRUE(write_all(pipe.writer.get(), bytes_of("a")).has_value());
  EXPECT_EQ(wait_readable(pipe.reader.get(), -1), PollResult::kReadable);
  ASSERT_TRUE(pipe.writer.close().has_value());
  EXPECT_EQ(wait_readable(pipe.reader.get(), -1), PollResult::kReadable) << "the rest comes first";
  std::array<std::byte, 1> byte{};
  ASSERT_EQ(read_some(pipe.reader.get(), byte), 1U);
  EXPECT_EQ(wait_readable(pipe.reader.get(), -1), PollResult::kHungUp);
}

TEST(WaitReadableTest, ANumberThatIsNoDescriptorIsAnError) {
  const int number = Pipe().reader.get();
  EXPECT_EQ(wait_readable(number, -1).error(), Errno{EBADF});
}

// Goal:   interruptions do not start the time anew. A failure of this test is a hang.
// Method: a signal every 2 ms, and a wait of 40 ms.
TEST(WaitReadableTest, SignalsDoNotProlongIt) {
  struct sigaction action{};
  struct sigaction old_action{};
  action.sa_handler = [](int) {};
  ASSERT_EQ(sigaction(SIGALRM, &action, &old_action), 0);
  const itimerval every_2_ms{.it_interval = {.tv_sec = 0, .tv_usec = 2000},
                             .it_value = {.tv_sec = 0, .tv_usec = 2000}};
  const Pipe pipe;
  ASSERT_EQ(setitimer(ITIMER_REAL, &every_2_ms, nullptr), 0);
  EXPECT_EQ(wait_readable(pipe.reader.get(), 40), PollResult::kTimedOut);
  const itimerval never{};
  ASSERT_EQ(setitimer(ITIMER_REAL, &never, nullptr), 0);
  ASSERT_EQ(sigaction(SIGALRM, &old_action, nullptr), 0);
}

// --- names --------------------------------------------------------------------------------------

TEST(NamesTest, RenameReplacesAndUnlinkRemoves) {
  const TempDir directory;
  const std::string from = directory.write("from", "new");
  const std::string to = directory.write("to", "old");
  ASSERT_TRUE(rename_path(from.c_str(), to.c_str()).has_value());
  EXPECT_EQ(read_file(to), "new");
  EXPECT_EQ(rename_path(from.c_str(), to.c_str()).error(), Errno{ENOENT});
  ASSERT_TRUE(unlink_path(to.c_str()).has_value());
  EXPECT_EQ(unlink_path(to.c_str()).error(), Errno{ENOENT});
  EXPECT_EQ(path_status(to.c_str(), false).error(), Errno{ENOENT});
}

}  // namespace
}  // namespace quire::sys
