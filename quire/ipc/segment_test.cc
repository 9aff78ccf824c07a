// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/segment.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "quire/base/units.h"
#include "quire/sys/memfd.h"
#include "quire/sys/memory.h"
#include "quire/testing/process.h"
#include "quire/testing/temp_dir.h"

namespace quire::ipc {
namespace {

using testing::Child;
using testing::TempDir;

const std::size_t kPageBytes = static_cast<std::size_t>(sys::os_page_size().bytes());

ObjectSpec word_object(const std::string& name, std::uint8_t value = 7) {
  return {.name = name,
          .signature = "word v" + std::to_string(value),
          .size_bytes = 8,
          .initialise = [value](std::span<std::byte> bytes) { bytes[0] = std::byte{value}; }};
}

Layout one_word() {
  return Layout().add(word_object("word"));
}

ObjectRef word_of(const Segment& segment, const std::string& name = "word") {
  return segment.find(name, ObjectKind::kUser, "word v7").value();
}

class SegmentTest : public ::testing::Test {
 protected:
  [[nodiscard]] Result<Segment> open(const std::string& name, const Layout& layout,
                                     OpenMode mode = OpenMode::kCreateOrJoin) const {
    return Segment::open(name, layout, {.mode = mode, .directory = dir_.path()});
  }
  [[nodiscard]] std::string path(const std::string& name) const { return dir_.file(name); }

  TempDir dir_;
};

void expect_error(const Result<Segment>& opened, std::error_code code,
                  const std::vector<std::string>& parts = {}) {
  ASSERT_FALSE(opened.has_value());
  const std::string message = opened.error().message();
  EXPECT_EQ(opened.error().code(), code) << message;
  for (const std::string& part : parts) {
    EXPECT_NE(message.find(part), std::string::npos) << part << " in " << message;
  }
}

TEST_F(SegmentTest, TheSecondToOpenSeesWhatTheFirstInitialisedAndWrote) {
  const Segment first = open("a", one_word()).value();
  const Segment second = open("a", one_word()).value();
  EXPECT_TRUE(first.was_made_here());
  EXPECT_FALSE(second.was_made_here());
  EXPECT_EQ(word_of(second).bytes()[0], std::byte{7});
  word_of(first).bytes()[3] = std::byte{9};
  EXPECT_EQ(word_of(second).bytes()[3], std::byte{9});
  EXPECT_EQ(second.generation(), 1U);
  EXPECT_EQ(first.participants().segment_id(), second.participants().segment_id());
}

TEST_F(SegmentTest, ItSurvivesItsUsers) {
  {
    const Segment first = open("a", one_word()).value();
    word_of(first).bytes()[1] = std::byte{5};
  }
  const Segment second = open("a", one_word(), OpenMode::kJoin).value();
  EXPECT_EQ(word_of(second).bytes()[1], std::byte{5});
  EXPECT_EQ(second.participants().list().size(), 1U);
}

TEST_F(SegmentTest, AnObjectKeepsTheSegmentOpen) {
  ObjectRef object;
  {
    const Segment segment = open("a", one_word()).value();
    object = word_of(segment);
  }
  object.bytes()[0] = std::byte{1};
  EXPECT_EQ(object.participants().list().size(), 1U);
  const Segment other = open("a", one_word()).value();
  EXPECT_EQ(word_of(other).bytes()[0], std::byte{1});
}

TEST_F(SegmentTest, MirroredBytesAreTheSameTwice) {
  Layout layout;
  layout.add({.name = "ring",
              .kind = ObjectKind::kSpscBytes,
              .signature = "r",
              .size_bytes = 128,
              .mirrored_bytes = 2 * kPageBytes});
  layout.add(word_object("word"));
  const Segment first = open("a", layout).value();
  const Segment second = open("a", layout).value();
  const ObjectRef ring = first.find("ring", ObjectKind::kSpscBytes, "r").value();
  ASSERT_EQ(ring.mirrored_bytes(), 2 * kPageBytes);
  const std::vector<std::byte> record(100, std::byte{0x5a});
  std::memcpy(ring.mirrored() + ring.mirrored_bytes() - 50, record.data(), record.size());
  std::byte* const other = second.find("ring", ObjectKind::kSpscBytes, "r").value().mirrored();
  EXPECT_EQ(std::memcmp(other + 2 * kPageBytes - 50, record.data(), 50), 0);
  EXPECT_EQ(std::memcmp(other, record.data(), 50), 0);
  EXPECT_EQ(other[50], std::byte{0});
  EXPECT_EQ(word_of(second).bytes()[0], std::byte{7});
  EXPECT_EQ(word_of(second).mirrored(), nullptr);
}

TEST_F(SegmentTest, ModesSayWhetherItMayOrMustBeThere) {
  expect_error(open("a", one_word(), OpenMode::kJoin),
               std::error_code(ENOENT, std::system_category()));
  const Segment made = open("a", one_word(), OpenMode::kCreate).value();
  expect_error(open("a", one_word(), OpenMode::kCreate),
               std::error_code(EEXIST, std::system_category()));
  EXPECT_TRUE(open("a", one_word(), OpenMode::kJoin));
}

TEST_F(SegmentTest, BadNamesAreRefusedBeforeAnythingIsMade) {
  for (const std::string& name :
       {std::string(), std::string(".a"), std::string("../a"), std::string("a/b"),
        std::string("a b"), std::string("a\0b", 3), std::string(kSegmentNameBytesMax + 1, 'a')}) {
    expect_error(open(name, one_word()), Errc::kOutOfRange);
  }
  EXPECT_TRUE(open(std::string(kSegmentNameBytesMax, 'a'), one_word()));
}

TEST_F(SegmentTest, AnotherLayoutIsRefusedWithBoth) {
  const Segment made = open("a", one_word()).value();
  expect_error(open("a", Layout().add(word_object("word", 8))), Errc::kChanged,
               {"word v8", "word v7", std::to_string(getpid()), "signature"});
  expect_error(open("a", Layout().add(word_object("other"))), Errc::kChanged,
               {"'other'", "'word'"});
  expect_error(open("a", one_word().set_participants_max(3)), Errc::kChanged,
               {"here 3 participants; there 64"});
  expect_error(open("a", one_word().add(word_object("more"))), Errc::kChanged,
               {"here 2 objects", "there 1"});
  EXPECT_EQ(made.participants().list().size(), 1U) << "who was refused left nothing";
}

TEST_F(SegmentTest, FindTellsWhatTheObjectIs) {
  const Segment made = open("a", one_word()).value();
  EXPECT_EQ(made.find("none", ObjectKind::kUser, "word v7").error().code(),
            std::errc::no_such_file_or_directory);
  EXPECT_EQ(made.find("word", ObjectKind::kMutex, "word v7").error().code(), Errc::kWrongKind);
  EXPECT_EQ(made.find("word", ObjectKind::kUser, "word v8").error().code(), Errc::kWrongKind);
}

TEST_F(SegmentTest, OtherFilesAreNoSegments) {
  dir_.write("text", std::string(10000, 'x'));
  dir_.write("short", "quire");
  ASSERT_EQ(chmod(path("text").c_str(), 0600), 0);
  ASSERT_EQ(chmod(path("short").c_str(), 0600), 0);
  ASSERT_EQ(mkdir(path("directory").c_str(), 0700), 0);
  ASSERT_EQ(symlink(path("text").c_str(), path("link").c_str()), 0);
  expect_error(open("text", one_word()), Errc::kWrongKind, {"xxxxxxxx"});
  expect_error(open("short", one_word()), Errc::kWrongKind, {"5 bytes"});
  expect_error(open("directory", one_word()), std::error_code(EISDIR, std::system_category()));
  expect_error(open("link", one_word()), std::error_code(ELOOP, std::system_category()));
  EXPECT_EQ(testing::read_file(path("text")), std::string(10000, 'x'));
  EXPECT_EQ(testing::read_file(path("short")), "quire");
}

TEST_F(SegmentTest, WhatOthersMayUseIsRefusedUnlessAllowed) {
  const auto denied = std::make_error_code(std::errc::permission_denied);
  {
    const Segment made = open("a", one_word()).value();
  }
  ASSERT_EQ(chmod(path("a").c_str(), 0640), 0);
  expect_error(open("a", one_word()), denied, {"0640", "allow_other_users"});
  const SegmentOptions allowed{
      .directory = dir_.path(), .permissions = 0660, .allow_other_users = true};
  EXPECT_TRUE(Segment::open("a", one_word(), allowed));
  EXPECT_TRUE(Segment::open("b", one_word(), allowed));
  struct stat status{};
  ASSERT_EQ(stat(path("b").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0660U);
  ASSERT_EQ(chmod(path("a").c_str(), 0600), 0);
  ASSERT_EQ(chmod(dir_.path().c_str(), 0720), 0);
  expect_error(open("a", one_word()), denied, {"0720"});
}

TEST_F(SegmentTest, AnotherUsersFileIsRefusedWithBothUsers) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "chown: not root";
  }
  {
    const Segment made = open("a", one_word()).value();
  }
  ASSERT_EQ(chown(path("a").c_str(), 4711, 4711), 0);
  expect_error(open("a", one_word()), std::make_error_code(std::errc::permission_denied),
               {"user 4711", "user 0"});
  ASSERT_EQ(chown(dir_.path().c_str(), 4711, 4711), 0);
  expect_error(open("b", one_word()), std::make_error_code(std::errc::permission_denied),
               {"user 4711"});
  EXPECT_NE(access(path("b").c_str(), F_OK), 0);
}

TEST_F(SegmentTest, TheFileIsForItsUserAlone) {
  const mode_t before = umask(0);
  const Segment made = open("a", one_word()).value();
  umask(before);
  struct stat status{};
  ASSERT_EQ(stat(path("a").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600U);
  EXPECT_GE(status.st_blocks * 512, static_cast<blkcnt_t>(made.size_bytes()));
}

TEST_F(SegmentTest, TheRuntimeDirectoryIsMadeForTheUserAlone) {
  const std::string directory = path("runtime");
  ASSERT_EQ(setenv("QUIRE_IPC_DIR", directory.c_str(), 1), 0);
  EXPECT_EQ(runtime_directory().value(), directory);
  const Segment made = Segment::open("a", one_word()).value();
  struct stat status{};
  ASSERT_EQ(stat(directory.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0700U);
  ASSERT_EQ(setenv("QUIRE_IPC_DIR", "relative", 1), 0);
  EXPECT_FALSE(Segment::open("a", one_word()));
  ASSERT_EQ(unsetenv("QUIRE_IPC_DIR"), 0);
  EXPECT_EQ(runtime_directory().value(), "/dev/shm/quire-" + std::to_string(geteuid()));
}

TEST_F(SegmentTest, ANameThatWasUnlinkedIsMadeAnew) {
  const Segment old = open("a", one_word()).value();
  ASSERT_EQ(unlink(path("a").c_str()), 0);
  const Segment fresh = open("a", one_word()).value();
  EXPECT_TRUE(fresh.was_made_here());
  EXPECT_NE(old.participants().segment_id(), fresh.participants().segment_id());
}

TEST(Segment, AMemfdCannotBeShrunkAndTravelsOverASocket) {
  const Segment made = Segment::make_anonymous(one_word()).value();
  EXPECT_NE(ftruncate(made.descriptor(), 0), 0);
  EXPECT_EQ(errno, EPERM);
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const sys::Descriptor ours(ends[0]);
  const sys::Descriptor theirs(ends[1]);
  Child child([&] {
    auto received = sys::receive_descriptor(theirs.get());
    const Segment joined = Segment::adopt(std::move(*received), one_word()).value();
    word_of(joined).bytes()[1] = std::byte{42};
    return static_cast<int>(joined.participants().list().size());
  });
  ASSERT_TRUE(sys::send_descriptor(ours.get(), made.descriptor()));
  EXPECT_EQ(child.join().exit_code, 2);
  EXPECT_EQ(word_of(made).bytes()[1], std::byte{42});
  EXPECT_EQ(made.name(), "");
}

TEST(Segment, AnUnsealedMemfdAndOtherDescriptorsAreNotAdopted) {
  sys::Descriptor memfd(memfd_create("bare", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(memfd.get(), 100000), 0);
  expect_error(Segment::adopt(std::move(memfd), one_word()), Errc::kSealed, {"SIGBUS"});
  expect_error(Segment::adopt(sys::Descriptor(::open("/dev/null", O_RDWR | O_CLOEXEC)), one_word()),
               Errc::kWrongKind);
  const Segment made = Segment::make_anonymous(one_word()).value();
  expect_error(
      Segment::adopt(sys::Descriptor(dup(made.descriptor())), Layout().add(word_object("x"))),
      Errc::kChanged);
}

TEST(Segment, MoreMemoryThanThereIsIsNotAskedFor) {
  Layout layout;
  layout.add({.name = "vast", .signature = "x", .size_bytes = std::size_t{1} << 45});
  expect_error(Segment::make_anonymous(layout), Errc::kLimit, {"32.0 TiB", "memory"});
  TempDir dir;
  EXPECT_FALSE(Segment::open("vast", layout, {.directory = dir.path()}));
  EXPECT_NE(access(dir.file("vast").c_str(), F_OK), 0) << "what failed is removed";
}

}  // namespace
}  // namespace quire::ipc
