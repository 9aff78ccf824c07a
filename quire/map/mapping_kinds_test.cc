// SPDX-License-Identifier: Apache-2.0
//
// The four kinds, each promise with real processes: a related one (forked with the mapping) and an
// unrelated one (another program that opens the file).
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <string>

#include "quire/map/writable_mapping.h"
#include "quire/testing/process.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::Child;
using testing::read_file;
using testing::Signal;
using testing::TempDir;

constexpr std::uint64_t kBytes = 3 * 4096;

WritableMapping map_file(const std::string& path, Sharing sharing) {
  return map(path, {.access = Access::kReadWrite, .sharing = sharing}).value();
}

// What an unrelated program reads from the file.
std::string first_bytes_seen_by_program(const std::string& path, std::size_t count) {
  return testing::run_program({"head", "-c", std::to_string(count), path}).standard_output;
}

struct Kind {
  const char* name;
  bool is_file;
  Sharing sharing;
};

std::ostream& operator<<(std::ostream& out, const Kind& kind) {
  return out << kind.name;
}

class FourKindsTest : public ::testing::TestWithParam<Kind> {
 protected:
  WritableMapping make() {
    if (GetParam().is_file) {
      return map_file(dir_.write("f", std::string(kBytes, 'a')), GetParam().sharing);
    }
    WritableMapping memory =
        map_anonymous({.size_bytes = kBytes, .sharing = GetParam().sharing}).value();
    std::fill(memory.bytes().begin(), memory.bytes().end(), std::byte{'a'});
    return memory;
  }
  [[nodiscard]] bool is_shared() const { return GetParam().sharing == Sharing::kShared; }

  TempDir dir_;
};

// Goal:   a child sees the parent's later stores, and the parent the child's, if and only if the
//         kind is shared.
// Method: both store after the fork, in different pages; each tells the other through a pipe.
TEST_P(FourKindsTest, RelatedProcessSeesStoresOnlyWhenShared) {
  WritableMapping mapping = make();
  mapping.bytes()[0] = std::byte{'b'};  // Before the fork: everybody has it.
  const Signal parent_stored;
  const char expected = is_shared() ? 'p' : 'a';
  Child child([&] {
    parent_stored.wait();
    const bool sees_old = mapping.bytes()[0] == std::byte{'b'};
    const bool sees_new = mapping.bytes()[4096] == static_cast<std::byte>(expected);
    mapping.bytes()[8192] = std::byte{'c'};
    return sees_old && sees_new ? 0 : 1;
  });
  mapping.bytes()[4096] = std::byte{'p'};
  parent_stored.raise();
  EXPECT_EQ(child.join().exit_code, 0);
  EXPECT_EQ(mapping.bytes()[8192], static_cast<std::byte>(is_shared() ? 'c' : 'a'));
}

TEST_P(FourKindsTest, SurvivesTheDeathOfTheOtherProcess) {
  WritableMapping mapping = make();
  const Signal stored;
  Child child([&] {
    mapping.bytes()[0] = std::byte{'k'};
    stored.raise();
    pause();
    return 0;
  });
  stored.wait();
  child.kill(SIGKILL);
  EXPECT_EQ(child.join().signal, SIGKILL);
  EXPECT_EQ(mapping.bytes()[0], static_cast<std::byte>(is_shared() ? 'k' : 'a'));
  mapping.bytes()[1] = std::byte{'x'};
  EXPECT_EQ(mapping.bytes()[1], std::byte{'x'});
}

INSTANTIATE_TEST_SUITE_P(Kinds, FourKindsTest,
                         ::testing::Values(Kind{"FileShared", true, Sharing::kShared},
                                           Kind{"FilePrivate", true, Sharing::kPrivate},
                                           Kind{"AnonymousShared", false, Sharing::kShared},
                                           Kind{"AnonymousPrivate", false, Sharing::kPrivate}),
                         ::testing::PrintToStringParamName());

TEST(SharedFileTest, UnrelatedProgramSeesStoresAtOnce) {
  const TempDir dir;
  const std::string path = dir.write("f", "aaaa");
  WritableMapping map = map_file(path, Sharing::kShared);
  map.bytes()[1] = std::byte{'X'};
  EXPECT_EQ(first_bytes_seen_by_program(path, 4), "aXaa");
}

TEST(SharedFileTest, StoresOfAnUnrelatedProgramAreSeenAtOnce) {
  const TempDir dir;
  const std::string path = dir.write("f", "aaaa");
  const Mapping map = quire::map(path).value();
  const auto end = testing::run_program(
      {"sh", "-c", "printf Y | dd of='" + path + "' bs=1 seek=2 conv=notrunc status=none"});
  ASSERT_EQ(end.end.exit_code, 0) << end.standard_error;
  EXPECT_EQ(map.text(), "aaYa");
}

TEST(SharedFileTest, IsCoherentWithReadAndWriteBothWays) {
  const TempDir dir;
  const std::string path = dir.write("f", std::string(kBytes, 'a'));
  WritableMapping map = map_file(path, Sharing::kShared);
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  for (off_t at = 0; at < static_cast<off_t>(kBytes); at += 997) {
    ASSERT_EQ(pwrite(fd, "w", 1, at), 1);
    EXPECT_EQ(map.bytes()[static_cast<std::size_t>(at)], std::byte{'w'});
    map.bytes()[static_cast<std::size_t>(at)] = std::byte{'m'};
    char seen = 0;
    ASSERT_EQ(pread(fd, &seen, 1, at), 1);
    EXPECT_EQ(seen, 'm');
  }
  close(fd);
}

TEST(SharedFileTest, TwoMappingsOfOneFileShareTheirPages) {
  const TempDir dir;
  const std::string path = dir.write("f", std::string(kBytes, 'a'));
  WritableMapping one = map_file(path, Sharing::kShared);
  const Mapping two = map(path, {.offset_bytes = 5000}).value();
  one.bytes()[5000] = std::byte{'z'};
  EXPECT_EQ(two.bytes()[0], std::byte{'z'});
}

TEST(SharedFileTest, SurvivesCloseUnlinkAndRename) {
  const TempDir dir;
  const std::string path = dir.write("f", std::string(kBytes, 'a'));
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  WritableMapping map = map_borrowed(fd, {.access = Access::kReadWrite}).value();
  close(fd);
  map.bytes()[0] = std::byte{'1'};
  std::filesystem::rename(path, dir.file("renamed"));
  map.bytes()[1] = std::byte{'2'};
  EXPECT_EQ(read_file(dir.file("renamed")).substr(0, 3), "12a");
  std::filesystem::remove(dir.file("renamed"));
  map.bytes()[2] = std::byte{'3'};
  EXPECT_EQ(map.text().substr(0, 3), "123");
  EXPECT_TRUE(map.flush());
}

TEST(SharedFileTest, DirtyPagesSurviveSigkill) {
  const TempDir dir;
  const std::string path = dir.write("f", "aaaa");
  const Signal stored;
  Child child([&] {
    WritableMapping map = map_file(path, Sharing::kShared);
    map.bytes()[0] = std::byte{'k'};
    stored.raise();
    pause();
    return 0;
  });
  stored.wait();
  child.kill(SIGKILL);
  child.join();
  EXPECT_EQ(read_file(path), "kaaa");
}

TEST(PrivateFileTest, StoresNeverReachTheFileOrOtherMappings) {
  const TempDir dir;
  const std::string path = dir.write("f", "aaaa");
  WritableMapping copy = map_file(path, Sharing::kPrivate);
  const Mapping other = map(path).value();
  copy.bytes()[0] = std::byte{'X'};
  EXPECT_EQ(other.text(), "aaaa");
  EXPECT_EQ(read_file(path), "aaaa");
  ASSERT_TRUE(copy.close());
  EXPECT_EQ(read_file(path), "aaaa");
}

TEST(PrivateFileTest, NeedsOnlyReadPermission) {
  const TempDir dir;
  const std::string path = dir.write("f", "aaaa");
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  WritableMapping copy =
      map_adopted(fd, {.access = Access::kReadWrite, .sharing = Sharing::kPrivate}).value();
  copy.bytes()[0] = std::byte{'X'};
  EXPECT_EQ(copy.text(), "Xaaa");
}

TEST(PrivateFileTest, SharedWritableNeedsWritePermissionAndSaysSo) {
  const TempDir dir;
  const int fd = open(dir.write("f", "aaaa").c_str(), O_RDONLY | O_CLOEXEC);
  const Result<WritableMapping> map = map_adopted(fd, {.access = Access::kReadWrite});
  ASSERT_FALSE(map);
  EXPECT_EQ(map.error().code(), std::errc::permission_denied);
}

TEST(AnonymousSharedTest, IsNamedInProc) {
  const WritableMapping memory =
      map_anonymous({.size_bytes = kBytes, .sharing = Sharing::kShared, .name = "quire-kinds"})
          .value();
  EXPECT_NE(read_file("/proc/self/maps").find("/memfd:quire-kinds"), std::string::npos);
}

TEST(AnonymousSharedTest, SecuredMemoryIsTakenAtOnceAndSparseIsNot) {
  const WritableMapping secured =
      map_anonymous({.size_bytes = kBytes, .sharing = Sharing::kShared}).value();
  const WritableMapping sparse =
      map_anonymous({.size_bytes = kBytes, .sharing = Sharing::kShared, .space = Space::kSparse})
          .value();
  EXPECT_EQ(secured.resident().value().resident_bytes, kBytes);
  EXPECT_EQ(sparse.resident().value().resident_bytes, 0U);
}

// Goal:   more memory than there is gets an error, not the out-of-memory killer.
TEST(AnonymousSharedTest, MoreMemoryThanThereIsIsAnErrorBeforeAnyIsTaken) {
  const Result<WritableMapping> memory =
      map_anonymous({.size_bytes = 64_TiB, .sharing = Sharing::kShared});
  ASSERT_FALSE(memory);
  EXPECT_EQ(memory.error().code(), Errc::kLimit);
  EXPECT_NE(memory.error().message().find("can be had at most"), std::string::npos);
  WritableMapping small =
      map_anonymous({.size_bytes = 1, .sharing = Sharing::kShared, .reserve_bytes = 32_TiB})
          .value();
  EXPECT_EQ(small.resize(32_TiB).error().code(), Errc::kLimit);
  EXPECT_EQ(small.size_bytes(), 1U);
}

TEST(AnonymousSharedTest, SealedMemoryKeepsItsPromises) {
  WritableMapping memory =
      map_anonymous({.size_bytes = kBytes, .sharing = Sharing::kShared}).value();
  ASSERT_TRUE(memory.seal(sys::Seals::kShrink | sys::Seals::kSeal));
  const Error shrunk = memory.resize(1).error();
  EXPECT_EQ(shrunk.code(), std::errc::operation_not_permitted);
  EXPECT_EQ(memory.size_bytes(), kBytes);
  EXPECT_FALSE(memory.seal(sys::Seals::kGrow));
  EXPECT_TRUE(memory.resize(2 * kBytes));
}

TEST(AnonymousSharedTest, OnlySharedMemoryHasSeals) {
  const TempDir dir;
  EXPECT_EQ(
      map_file(dir.write("f", "a"), Sharing::kShared).seal(sys::Seals::kShrink).error().code(),
      Errc::kUnsupported);
  EXPECT_EQ(map_anonymous({.size_bytes = 1}).value().seal(sys::Seals::kShrink).error().code(),
            Errc::kUnsupported);
}

TEST(AnonymousSharedTest, SecretMemoryWorksOrSaysWhatIsMissing) {
  Result<WritableMapping> secret =
      map_anonymous({.size_bytes = kBytes, .sharing = Sharing::kShared, .secret = true});
  if (!secret) {
    EXPECT_NE(secret.error().message().find("secretmem.enable"), std::string::npos)
        << secret.error().message();
    GTEST_SKIP() << "memfd_secret: " << secret.error().cause();
  }
  secret->bytes()[0] = std::byte{'s'};
  EXPECT_EQ(secret->bytes()[0], std::byte{'s'});
  EXPECT_FALSE(secret->resident().value().resident_known);
  EXPECT_EQ(secret->resize(2 * kBytes).error().code(), Errc::kUnsupported);
  // Nobody reads it from outside the page tables: not ptrace, not /proc/PID/mem, not direct I/O.
  char stolen = 0;
  const iovec local{&stolen, 1};
  const iovec remote{secret->bytes().data(), 1};
  EXPECT_EQ(process_vm_readv(getpid(), &local, 1, &remote, 1, 0), -1);
  EXPECT_EQ(errno, EFAULT);
}

TEST(AnonymousTest, ReservedHugePagesWorkOrNameThePool) {
  for (const Sharing sharing : {Sharing::kShared, Sharing::kPrivate}) {
    Result<WritableMapping> huge =
        map_anonymous({.size_bytes = 1, .sharing = sharing, .huge_pages = HugePages::kReserved});
    if (huge) {
      huge->bytes()[0] = std::byte{1};
      EXPECT_NE(huge->explain().find("hugetlb"), std::string::npos);
    } else {
      EXPECT_NE(huge.error().message().find("huge"), std::string::npos) << huge.error().message();
    }
  }
}

TEST(AnonymousTest, EmptyMemoryIsAnEmptyViewThatCanGrow) {
  for (const Sharing sharing : {Sharing::kShared, Sharing::kPrivate}) {
    WritableMapping memory = map_anonymous({.sharing = sharing}).value();
    EXPECT_TRUE(memory.is_open());
    EXPECT_TRUE(memory.is_empty());
    ASSERT_TRUE(memory.resize(100));
    memory.bytes()[99] = std::byte{1};
    memory.check_invariants();
  }
}

TEST(AnonymousTest, ContradictingOptionsAreRefused) {
  EXPECT_FALSE(map_anonymous({.size_bytes = 1, .secret = true}));
  EXPECT_FALSE(map_anonymous({.size_bytes = kToEnd}));
  EXPECT_FALSE(
      map_anonymous({.size_bytes = 1, .reserve_bytes = 1_GiB, .huge_pages = HugePages::kReserved}));
}

}  // namespace
}  // namespace quire
