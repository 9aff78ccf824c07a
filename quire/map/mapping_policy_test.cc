// SPDX-License-Identifier: Apache-2.0
//
// What becomes of each kind of file, and of each way to name or hand over one.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <thread>

#include "quire/map/writable_mapping.h"
#include "quire/testing/disk.h"
#include "quire/testing/process.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::pattern;
using testing::TempDir;

TEST(MappingPolicyTest, MissingFileSaysSo) {
  const TempDir dir;
  const Error error = quire::map(dir.file("missing")).error();
  EXPECT_EQ(error.code(), std::errc::no_such_file_or_directory);
  EXPECT_NE(error.message().find("ENOENT"), std::string::npos);
  EXPECT_NE(error.message().find("check the path"), std::string::npos);
}

TEST(MappingPolicyTest, PathWithNulIsRefusedInsteadOfCut) {
  const TempDir dir;
  dir.write("f", "x");
  const Result<Mapping> map = quire::map(dir.file(std::string("f\0g", 3)));
  ASSERT_FALSE(map);
  EXPECT_EQ(map.error().code(), Errc::kWrongKind);
}

TEST(MappingPolicyTest, DirectorySocketAndCharacterDeviceAreNamed) {
  const TempDir dir;
  const Error directory = quire::map(dir.path()).error();
  EXPECT_EQ(directory.code(), Errc::kWrongKind);
  EXPECT_NE(directory.message().find("a directory"), std::string::npos);
  const Error device = quire::map("/dev/null").error();
  EXPECT_EQ(device.code(), Errc::kWrongKind);
  EXPECT_NE(device.message().find("a character device"), std::string::npos);
  // A socket file cannot even be opened (ENXIO), so an open one is handed over.
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  const Error socket = quire::map_adopted(ends[0]).error();
  EXPECT_EQ(socket.code(), Errc::kWrongKind);
  EXPECT_NE(socket.message().find("a socket"), std::string::npos);
  close(ends[1]);
}

TEST(MappingPolicyTest, DanglingAndLoopingLinksAreErrors) {
  const TempDir dir;
  std::filesystem::create_symlink("nowhere", dir.file("dangling"));
  std::filesystem::create_symlink("loop", dir.file("loop"));
  EXPECT_EQ(quire::map(dir.file("dangling")).error().code(), std::errc::no_such_file_or_directory);
  EXPECT_EQ(quire::map(dir.file("loop")).error().code(), std::errc::too_many_symbolic_link_levels);
}

TEST(MappingPolicyTest, ProcAndSysFilesAreReadAndSaySo) {
  const Mapping status = quire::map("/proc/self/status").value();
  EXPECT_NE(status.text().find("VmRSS"), std::string_view::npos);
  EXPECT_EQ(status.origin(), Origin::kCopy);
  EXPECT_NE(status.explain().find("read into memory"), std::string::npos);
  // Claims 4096 bytes and has a handful; cannot be mapped.
  const Mapping enabled = quire::map("/sys/kernel/mm/transparent_hugepage/enabled").value();
  EXPECT_NE(enabled.text().find("never"), std::string_view::npos);
  EXPECT_EQ(enabled.origin(), Origin::kCopy);
  // A part of such a file, and stores that stay here.
  const Mapping part =
      quire::map("/proc/self/status", {.offset_bytes = 0, .length_bytes = 5}).value();
  EXPECT_EQ(part.text(), "Name:");
  WritableMapping copy =
      quire::map("/proc/self/status", {.access = Access::kReadWrite, .sharing = Sharing::kPrivate})
          .value();
  copy.bytes()[0] = std::byte{'X'};
  EXPECT_EQ(copy.text()[0], 'X');
  EXPECT_EQ(copy.resident().value().resident_bytes, copy.size_bytes());
}

TEST(MappingPolicyTest, BlockDeviceHasTheSizeOfTheDeviceAndCannotGrow) {
  const TempDir dir;
  const std::string content = pattern(64 << 10);
  testing::LoopDevice loop;
  const std::string problem = loop.attach(dir.write("disk", content));
  if (!problem.empty()) {
    GTEST_SKIP() << problem;
  }
  const Mapping whole = quire::map(loop.path()).value();
  EXPECT_EQ(whole.text(), content);
  EXPECT_EQ(quire::map(loop.path(), {.offset_bytes = 5001, .length_bytes = 7})->text(),
            content.substr(5001, 7));
  WritableMapping writable = quire::map(loop.path(), {.access = Access::kReadWrite}).value();
  writable.bytes()[0] = std::byte{'B'};
  ASSERT_TRUE(writable.flush());
  EXPECT_EQ(testing::read_file(dir.file("disk"))[0], 'B');
  EXPECT_EQ(writable.resize(1).error().code(), Errc::kUnsupported);
  EXPECT_EQ(quire::map(loop.path(), {.access = Access::kReadWrite, .minimum_bytes = 1 << 20})
                .error()
                .code(),
            Errc::kUnsupported);
  EXPECT_EQ(quire::map(loop.path(), {.offset_bytes = 64 << 10})->size_bytes(), 0U);
  EXPECT_EQ(quire::map(loop.path(), {.offset_bytes = (64 << 10) + 1}).error().code(),
            Errc::kOutOfRange);
}

TEST(MappingPolicyTest, PipeIsReadToItsEnd) {
  const std::string content = pattern(300'000);  // More than a pipe holds.
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  std::thread writer([&] {
    std::size_t done = 0;
    while (done < content.size()) {
      done +=
          static_cast<std::size_t>(write(ends[1], content.data() + done, content.size() - done));
    }
    close(ends[1]);
  });
  const Mapping map = quire::map_adopted(ends[0]).value();
  writer.join();
  EXPECT_EQ(map.text(), content);
  EXPECT_EQ(map.origin(), Origin::kCopy);
}

TEST(MappingPolicyTest, FifoWithoutWriterIsAnErrorNotAHang) {
  const TempDir dir;
  ASSERT_EQ(mkfifo(dir.file("fifo").c_str(), 0600), 0);
  const Result<Mapping> map = quire::map(dir.file("fifo"));
  ASSERT_FALSE(map);
  EXPECT_NE(map.error().message().find("writer"), std::string::npos) << map.error().message();
}

TEST(MappingPolicyTest, FifoWithWriterIsRead) {
  const TempDir dir;
  ASSERT_EQ(mkfifo(dir.file("fifo").c_str(), 0600), 0);
  const int writer = open(dir.file("fifo").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_EQ(write(writer, "hello", 5), 5);
  const int reader = open(dir.file("fifo").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  std::thread closer([&] { close(writer); });
  const Mapping map = quire::map_adopted(reader).value();
  closer.join();
  EXPECT_EQ(map.text(), "hello");
}

TEST(MappingPolicyTest, StreamBeyondTheLimitIsAnError) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  ASSERT_EQ(write(ends[1], "0123456789", 10), 10);
  close(ends[1]);
  const Result<Mapping> map = quire::map_adopted(ends[0], {.stream_bytes_max = 9});
  ASSERT_FALSE(map);
  EXPECT_EQ(map.error().code(), Errc::kLimit);
}

TEST(MappingPolicyTest, StreamCannotBeWrittenThrough) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const Result<WritableMapping> map = quire::map_adopted(ends[0], {.access = Access::kReadWrite});
  ASSERT_FALSE(map);
  EXPECT_EQ(map.error().code(), Errc::kUnsupported);
  close(ends[1]);
}

TEST(MappingPolicyTest, AdoptedDescriptorIsClosedAndBorrowedOneIsNot) {
  const TempDir dir;
  const std::string path = dir.write("f", "content");
  const int adopted = open(path.c_str(), O_RDONLY);
  {
    const Mapping map = quire::map_adopted(adopted).value();
    EXPECT_EQ(map.text(), "content");
  }
  EXPECT_EQ(fcntl(adopted, F_GETFD), -1);
  const int refused = open("/", O_RDONLY);
  EXPECT_FALSE(quire::map_adopted(refused));
  EXPECT_EQ(fcntl(refused, F_GETFD), -1);

  const int borrowed = open(path.c_str(), O_RDONLY);
  Mapping map = quire::map_borrowed(borrowed).value();
  EXPECT_NE(fcntl(borrowed, F_GETFD), -1);
  close(borrowed);
  EXPECT_EQ(map.text(), "content");
  EXPECT_TRUE(map.resident());
  EXPECT_FALSE(quire::map_borrowed(-1));
}

TEST(MappingPolicyTest, DescriptorsAreCloseOnExec) {
  const TempDir dir;
  const Mapping file = quire::map(dir.write("f", "content")).value();
  EXPECT_NE(fcntl(file.descriptor(), F_GETFD) & FD_CLOEXEC, 0);
  const int plain = open(dir.file("f").c_str(), O_RDONLY);
  const Mapping borrowed = quire::map_borrowed(plain).value();
  EXPECT_NE(fcntl(borrowed.descriptor(), F_GETFD) & FD_CLOEXEC, 0);
  close(plain);
  const Mapping memory =
      quire::map_anonymous({.size_bytes = 10, .sharing = Sharing::kShared}).value();
  EXPECT_NE(fcntl(memory.descriptor(), F_GETFD) & FD_CLOEXEC, 0);
}

TEST(MappingPolicyTest, FileReplacedOrRemovedStaysReadable) {
  const TempDir dir;
  const std::string path = dir.write("f", "old content");
  const Mapping map = quire::map(path).value();
  dir.write("new", "new");
  std::filesystem::rename(dir.file("new"), path);
  EXPECT_EQ(map.text(), "old content");
  std::filesystem::remove(path);
  EXPECT_EQ(map.text(), "old content");
}

TEST(MappingPolicyTest, UnreadableFileIsAnErrorForAnOrdinaryUser) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "setuid: needs root to become nobody";
  }
  const TempDir dir;
  const std::string path = dir.write("f", "secret");
  chmod(path.c_str(), 0000);
  testing::Child child([&] {
    if (setuid(65534) != 0) {
      return 2;
    }
    const Result<Mapping> map = quire::map(path);
    return !map && map.error().code() == std::errc::permission_denied ? 0 : 1;
  });
  EXPECT_EQ(child.join().exit_code, 0);
}

}  // namespace
}  // namespace quire
