// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/descriptor.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "quire/base/units.h"
#include "quire/sys/call.h"
#include "quire/sys/file.h"
#include "quire/testing/disk.h"
#include "quire/testing/temp_dir.h"

namespace quire::sys {
namespace {

using literals::operator""_MiB;
using testing::TempDir;

bool is_open_number(int fd) {
  return fcntl(fd, F_GETFD) >= 0;
}

bool is_close_on_exec(int fd) {
  return (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0;
}

Descriptor open_null() {
  return open_file("/dev/null", {}).value();
}

// The errno of opening `path`, 0 when that works.
int open_error(const std::string& path, const OpenFlags& flags) {
  const Outcome<Descriptor> opened = open_file(path.c_str(), flags);
  return opened ? 0 : opened.error().value;
}

// --- ownership ----------------------------------------------------------------------------------

TEST(DescriptorTest, ClosesWhatItOwnsAndNothingElse) {
  int number = -1;
  {
    const Descriptor descriptor = open_null();
    number = descriptor.get();
    EXPECT_TRUE(is_open_number(number));
  }
  EXPECT_FALSE(is_open_number(number));
}

TEST(DescriptorTest, MovingLeavesAClosedOne) {
  Descriptor first = open_null();
  const int number = first.get();
  Descriptor second(std::move(first));
  EXPECT_FALSE(first.is_open());  // NOLINT(bugprone-use-after-move): that is what is tested.
  EXPECT_EQ(first.get(), -1);
  EXPECT_EQ(second.get(), number);
  second = open_null();
  EXPECT_FALSE(is_open_number(number)) << "what an assignment replaces is closed";
}

TEST(DescriptorTest, SurvivesAssignmentToItself) {
  Descriptor descriptor = open_null();
  const int number = descriptor.get();
  Descriptor& same = descriptor;
  descriptor = std::move(same);
  EXPECT_EQ(descriptor.get(), number);
  EXPECT_TRUE(is_open_number(number));
}

TEST(DescriptorTest, ReleaseGivesTheNumberAway) {
  int number = -1;
  {
    Descriptor descriptor = open_null();
    number = descriptor.release();
    EXPECT_FALSE(descriptor.is_open());
  }
  EXPECT_TRUE(is_open_number(number));
  const Descriptor owner(number);
}

TEST(DescriptorTest, ClosingTwiceIsHarmless) {
  Descriptor descriptor = open_null();
  const FaultPlan plan({});
  EXPECT_TRUE(descriptor.close().has_value());
  EXPECT_TRUE(descriptor.close().has_value());
  EXPECT_EQ(plan.count(Call::kClose), 1U);
}

TEST(DescriptorTest, CloseReportsWhatTheKernelSays) {
  Descriptor descriptor = open_null();
  ASSERT_EQ(::close(descriptor.get()), 0);
  const Outcome<void> closed = descriptor.close();
  ASSERT_FALSE(closed.has_value());
  EXPECT_EQ(closed.error(), Errno{EBADF});
}

// Goal:   an error of close() is reported once, the number is free, and nobody tries again: by then
//         it could be another thread's file.
TEST(DescriptorTest, AFailedCloseFreesTheNumberAndIsNeverRetried) {
  for (const int error : {EIO, ENOSPC, EINTR}) {
    Descriptor descriptor = open_null();
    const int number = descriptor.get();
    const FaultPlan plan({.call = Call::kClose, .times = UINT64_MAX, .error = error});
    const Outcome<void> closed = descriptor.close();
    EXPECT_EQ(closed.has_value(), error == EINTR) << errno_name(error);
    EXPECT_FALSE(descriptor.is_open());
    EXPECT_FALSE(is_open_number(number));
    EXPECT_EQ(plan.count(Call::kClose), 1U);
  }
}

// --- opening ------------------------------------------------------------------------------------

TEST(OpenFileTest, EveryDescriptorIsCloseOnExec) {
  const TempDir directory;
  const std::string path = directory.write("a", "text");
  const Descriptor parent = open_file(directory.path().c_str(), {.directory = true}).value();
  EXPECT_TRUE(is_close_on_exec(parent.get()));
  EXPECT_TRUE(is_close_on_exec(open_file(path.c_str(), {}).value().get()));
  EXPECT_TRUE(is_close_on_exec(open_file(path.c_str(), {.path_only = true}).value().get()));
  EXPECT_TRUE(is_close_on_exec(open_file_at(parent, "a", {.write = true}).value().get()));
  EXPECT_TRUE(
      is_close_on_exec(open_file_at(parent, "b", {.write = true, .create = true}).value().get()));
  const int inherited = ::open(path.c_str(), O_RDONLY);  // Without O_CLOEXEC, as others do.
  ASSERT_FALSE(is_close_on_exec(inherited));
  EXPECT_TRUE(is_close_on_exec(duplicate(inherited).value().get()));
  ::close(inherited);
}

TEST(OpenFileTest, FlagsRefuseWhatTheyForbid) {
  const TempDir directory;
  const std::string file = directory.write("file", "text");
  const std::string link = directory.file("link");
  const std::string loop = directory.file("loop");
  const std::string dangling = directory.file("dangling");
  ASSERT_EQ(symlink("file", link.c_str()), 0);
  ASSERT_EQ(symlink("loop", loop.c_str()), 0);
  ASSERT_EQ(symlink("nowhere", dangling.c_str()), 0);
  EXPECT_EQ(open_error(directory.file("missing"), {}), ENOENT);
  EXPECT_EQ(open_error(dangling, {}), ENOENT);
  EXPECT_EQ(open_error(loop, {}), ELOOP);
  EXPECT_EQ(open_error(link, {}), 0);
  EXPECT_EQ(open_error(link, {.no_follow = true}), ELOOP);
  EXPECT_EQ(open_error(file, {.directory = true}), ENOTDIR);
  EXPECT_EQ(open_error(directory.path(), {.write = true}), EISDIR);
  EXPECT_EQ(open_error(file, {.write = true, .create = true, .exclusive = true}), EEXIST);
  EXPECT_EQ(open_error(file, {.write = true, .create = true}), 0);
  EXPECT_EQ(open_error("", {}), ENOENT);
}

TEST(OpenFileTest, CreatesWithTheModeAndTruncatesWhenAsked) {
  const TempDir directory;
  const std::string path = directory.file("new");
  const mode_t mask = umask(0022);
  const Descriptor created =
      open_file(path.c_str(), {.write = true, .create = true, .mode = 0666}).value();
  umask(mask);
  EXPECT_EQ(file_status(created.get())->mode, 0644U);
  const std::string old = directory.write("old", "old text");
  static_cast<void>(open_file(old.c_str(), {.write = true}).value());
  EXPECT_EQ(testing::read_file(old), "old text");
  static_cast<void>(open_file(old.c_str(), {.write = true, .truncate = true}).value());
  EXPECT_EQ(testing::read_file(old), "");
}

TEST(OpenFileTest, PathOnlyLooksAndDoesNotTouch) {
  const TempDir directory;
  const std::string path = directory.write("a", "text");
  const Descriptor look = open_file(path.c_str(), {.path_only = true}).value();
  EXPECT_EQ(file_status(look.get())->size_bytes, 4U);
  std::array<std::byte, 4> buffer{};
  const Outcome<std::size_t> got = read_at(look.get(), buffer, 0);
  ASSERT_FALSE(got.has_value());
  EXPECT_EQ(got.error(), Errno{EBADF});
}

// Goal:   nobody waits for a writer who may never come. A failure of this test is a hang.
TEST(OpenFileTest, AFifoWithoutAWriterDoesNotStopUs) {
  const TempDir directory;
  const std::string path = directory.file("fifo");
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  const Descriptor fifo = open_file(path.c_str(), {}).value();
  EXPECT_EQ(file_status(fifo.get())->kind, FileKind::kPipe);
}

TEST(OpenFileTest, ADescriptorTooManyIsAnError) {
  const FaultPlan plan({.call = Call::kOpen, .error = EMFILE});
  EXPECT_EQ(open_error("/dev/null", {}), EMFILE);
  EXPECT_EQ(open_error("/dev/null", {}), 0);
}

TEST(DuplicateTest, IsAnotherNumberForTheSameOpenFile) {
  const TempDir directory;
  const Descriptor first = open_file(directory.write("a", "0123").c_str(), {}).value();
  const Descriptor second = duplicate(first.get()).value();
  EXPECT_NE(first.get(), second.get());
  ASSERT_EQ(lseek(first.get(), 2, SEEK_SET), 2);
  EXPECT_EQ(lseek(second.get(), 0, SEEK_CUR), 2);
  EXPECT_EQ(duplicate(-1).error(), Errno{EBADF});
}

TEST(IsWritableTest, FollowsTheOpenModeNotThePermissions) {
  const TempDir directory;
  const std::string path = directory.write("a", "text");
  EXPECT_FALSE(is_writable(open_file(path.c_str(), {}).value().get()).value());
  EXPECT_TRUE(is_writable(open_file(path.c_str(), {.write = true}).value().get()).value());
  EXPECT_FALSE(is_writable(open_file(path.c_str(), {.path_only = true}).value().get()).value());
  const Descriptor write_only(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  EXPECT_TRUE(is_writable(write_only.get()).value());
  EXPECT_EQ(is_writable(-1).error(), Errno{EBADF});
}

TEST(PathHasNulTest, FindsWhatTheKernelWouldNotSee) {
  EXPECT_FALSE(path_has_nul("a/b"));
  EXPECT_TRUE(path_has_nul(std::string("a\0b", 3)));
  EXPECT_TRUE(path_has_nul(std::string(1, '\0')));
}

// --- status -------------------------------------------------------------------------------------

TEST(FileStatusTest, TellsSizeSpaceIdentityAndOwner) {
  const TempDir directory;
  const Descriptor file = open_file(directory.write("a", "text").c_str(), {.write = true}).value();
  ASSERT_TRUE(truncate_file(file.get(), 10_MiB).has_value());
  const FileStatus status = file_status(file.get()).value();
  struct stat raw{};
  ASSERT_EQ(fstat(file.get(), &raw), 0);
  EXPECT_EQ(status.kind, FileKind::kRegular);
  EXPECT_EQ(status.size_bytes, 10_MiB);
  EXPECT_LT(status.allocated_bytes, 1_MiB) << "the rest is a hole";
  EXPECT_EQ(status.device, raw.st_dev);
  EXPECT_EQ(status.inode, raw.st_ino);
  EXPECT_EQ(status.link_count, 1U);
  EXPECT_EQ(status.mode, raw.st_mode & 07777U);
  EXPECT_EQ(status.owner, geteuid());
  EXPECT_EQ(status.modified_ns, raw.st_mtim.tv_sec * 1'000'000'000 + raw.st_mtim.tv_nsec);
  EXPECT_EQ(status.changed_ns, raw.st_ctim.tv_sec * 1'000'000'000 + raw.st_ctim.tv_nsec);
}

TEST(FileStatusTest, ErrorsAreTheKernels) {
  EXPECT_EQ(file_status(-1).error(), Errno{EBADF});
  EXPECT_EQ(path_status("/nonexistent", false).error(), Errno{ENOENT});
}

TEST(FileStatusTest, KnowsEveryKindOfFile) {
  const TempDir directory;
  const std::string link = directory.file("link");
  ASSERT_EQ(symlink("file", link.c_str()), 0);
  directory.write("file", "text");
  std::array<int, 2> ends{};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
  const Descriptor socket(ends[0]);
  const Descriptor peer(ends[1]);
  ASSERT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
  const Descriptor reader(ends[0]);
  const Descriptor writer(ends[1]);
  EXPECT_EQ(path_status(link.c_str(), false)->kind, FileKind::kRegular);
  EXPECT_EQ(path_status(link.c_str(), true)->kind, FileKind::kSymlink);
  EXPECT_EQ(path_status(directory.path().c_str(), true)->kind, FileKind::kDirectory);
  EXPECT_EQ(file_status(socket.get())->kind, FileKind::kSocket);
  EXPECT_EQ(file_status(reader.get())->kind, FileKind::kPipe);
  EXPECT_EQ(path_status("/dev/null", false)->kind, FileKind::kCharacterDevice);
}

TEST(FileStatusTest, EveryKindCanBeSaid) {
  EXPECT_STREQ(describe(FileKind::kRegular), "a regular file");
  EXPECT_STREQ(describe(FileKind::kDirectory), "a directory");
  EXPECT_STREQ(describe(FileKind::kBlockDevice), "a block device");
  EXPECT_STREQ(describe(FileKind::kCharacterDevice), "a character device");
  EXPECT_STREQ(describe(FileKind::kPipe), "a pipe");
  EXPECT_STREQ(describe(FileKind::kSocket), "a socket");
  EXPECT_STREQ(describe(FileKind::kSymlink), "a symbolic link");
  EXPECT_STREQ(describe(FileKind::kOther), "an unknown kind of file");
}

// Goal:   a file from after 2262, where 64 bits of nanoseconds end, has a time and no overflow.
TEST(FileStatusTest, TimesBeyond64BitsOfNanosecondsSaturate) {
  const TempDir directory;
  const Descriptor file = open_file(directory.write("a", "").c_str(), {.write = true}).value();
  const auto modified_ns = [&](timespec time) -> std::int64_t {
    const std::array<timespec, 2> times{time, time};
    EXPECT_EQ(futimens(file.get(), times.data()), 0);
    return file_status(file.get())->modified_ns;
  };
  EXPECT_EQ(modified_ns({.tv_sec = 1, .tv_nsec = 5}), 1'000'000'005);
  EXPECT_EQ(modified_ns({.tv_sec = -1, .tv_nsec = 500'000'000}), -500'000'000);
  const timespec year_2300{.tv_sec = 10'413'792'000, .tv_nsec = 0};
  const std::int64_t far = modified_ns(year_2300);
  struct stat raw{};
  ASSERT_EQ(fstat(file.get(), &raw), 0);
  if (raw.st_mtim.tv_sec != year_2300.tv_sec) {
    GTEST_SKIP() << "year 2300: this file system cannot store it";
  }
  EXPECT_EQ(far, std::numeric_limits<std::int64_t>::max());
}

TEST(BlockDeviceTest, IsSizedByTheDevice) {
  const TempDir directory;
  const std::string image = directory.write("image", "");
  ASSERT_EQ(::truncate(image.c_str(), static_cast<off_t>(3_MiB)), 0);
  testing::LoopDevice loop;
  if (const std::string problem = loop.attach(image); !problem.empty()) {
    GTEST_SKIP() << problem;
  }
  const Descriptor device = open_file(loop.path().c_str(), {}).value();
  EXPECT_EQ(file_status(device.get())->kind, FileKind::kBlockDevice);
  EXPECT_EQ(file_status(device.get())->size_bytes, 0U);
  EXPECT_EQ(block_device_bytes(device.get()), 3_MiB);
  const FaultPlan plan({.call = Call::kControl, .nth = 1, .times = 2, .error = EINTR});
  EXPECT_EQ(block_device_bytes(device.get()), 3_MiB);
}

TEST(BlockDeviceTest, ARegularFileIsNone) {
  const TempDir directory;
  const Descriptor file = open_file(directory.write("a", "text").c_str(), {}).value();
  EXPECT_EQ(block_device_bytes(file.get()).error(), Errno{ENOTTY});
}

TEST(FileIdTest, IsTheFilesWhateverItsName) {
  const TempDir directory;
  const std::string path = directory.write("file", "content");
  const std::string twin = directory.file("twin");
  ASSERT_EQ(::link(path.c_str(), twin.c_str()), 0);
  const FileId id = path_status(path.c_str(), false)->id();
  const FileId other = path_status(directory.write("other", "content").c_str(), false)->id();
  EXPECT_EQ(path_status(twin.c_str(), false)->id(), id);
  EXPECT_NE(other, id);
  EXPECT_NE(FileIdHash()(other), FileIdHash()(id));
}

}  // namespace
}  // namespace quire::sys
