// SPDX-License-Identifier: Apache-2.0
//
// Copies are whole or not at all, keep what a file has besides its bytes, and say what they could
// not keep.
#include "quire/transfer/copy.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string>

#include "quire/sys/call.h"
#include "quire/sys/descriptor.h"
#include "quire/testing/disk.h"
#include "quire/testing/files.h"
#include "quire/testing/nth_fault.h"
#include "quire/testing/page_cache.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

namespace fs = std::filesystem;
using testing::Names;
using testing::names_in;
using testing::nanoseconds;
using testing::pattern;
using testing::read_file;
using testing::status_of;
using testing::TempDir;

TEST(CopyFileTest, KeepsBytesModeTimesAndAttributes) {
  const TempDir directory;
  const std::string content = pattern(100'001);
  const std::string source = directory.write("source", content);
  ASSERT_EQ(::chmod(source.c_str(), 0751), 0);
  const bool has_attributes = ::setxattr(source.c_str(), "user.note", "kept", 4, 0) == 0;
  const timespec times[2] = {{.tv_sec = 1'000'000'000, .tv_nsec = 5},
                             {.tv_sec = 4'102'444'800, .tv_nsec = 123'456'789}};
  ASSERT_EQ(::utimensat(AT_FDCWD, source.c_str(), times, 0), 0);
  const std::string target = directory.file("target");
  const auto copied = copy_file(source, target);
  ASSERT_TRUE(copied) << copied.error().message();
  EXPECT_EQ(copied->transfer.bytes, content.size());
  EXPECT_TRUE(copied->remarks.empty());
  EXPECT_TRUE(read_file(target) == content);
  const struct stat found = status_of(target);
  EXPECT_EQ(found.st_mode & 07777U, 0751U);
  EXPECT_EQ(nanoseconds(found.st_mtim), nanoseconds(times[1]));
  if (has_attributes) {
    char value[8] = {};
    EXPECT_EQ(::getxattr(target.c_str(), "user.note", value, sizeof value), 4);
    EXPECT_STREQ(value, "kept");
  }
}

TEST(CopyFileTest, KeepsTheOwnerForRootAndDropsSetUserForOthers) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "another user's file: not root";
  }
  const TempDir directory;
  const std::string source = directory.write("source", "content");
  ASSERT_EQ(::chown(source.c_str(), testing::kNobody, testing::kNobody), 0);
  ASSERT_EQ(::chmod(source.c_str(), 04755), 0);
  const auto copied = copy_file(source, directory.file("by-root"));
  ASSERT_TRUE(copied) << copied.error().message();
  EXPECT_EQ(status_of(directory.file("by-root")).st_uid, testing::kNobody);
  EXPECT_EQ(status_of(directory.file("by-root")).st_mode & 07777U, 04755U);

  ASSERT_EQ(::chown(source.c_str(), 0, 0), 0);
  ASSERT_EQ(::chmod(source.c_str(), 06755), 0);
  ASSERT_EQ(::chmod(directory.path().c_str(), 0777), 0);
  const std::string theirs = directory.file("by-nobody");
  EXPECT_EQ(testing::run_as_nobody([&] { return copy_file(source, theirs) ? 0 : 1; }), 0);
  EXPECT_EQ(status_of(theirs).st_uid, testing::kNobody);
  EXPECT_EQ(status_of(theirs).st_mode & 07777U, 0755U);
}

TEST(CopyFileTest, ReplacesAFileAndFollowsALinkToIt) {
  const TempDir directory;
  const std::string source = directory.write("source", "new");
  const std::string target = directory.write("target", "old and longer");
  const std::string link = directory.file("link");
  fs::create_symlink("target", link);
  ASSERT_TRUE(copy_file(source, link));
  EXPECT_EQ(read_file(target), "new");
  EXPECT_TRUE(fs::is_symlink(link));
  EXPECT_EQ(names_in(directory.path()), (Names{"source", "target", "link"}));
  const auto kept = copy_file(source, target, {.existing = ExistingTarget::kRefuse});
  ASSERT_FALSE(kept);
  EXPECT_EQ(kept.error().code(), std::errc::file_exists);
}

TEST(CopyFileTest, RefusesWhatIsNoFileOrTheSameOne) {
  const TempDir directory;
  const std::string source = directory.write("source", "content");
  fs::create_hard_link(source, directory.file("twin"));
  fs::create_symlink("source", directory.file("link"));
  fs::create_symlink("nowhere", directory.file("dangling"));
  fs::create_directory(directory.file("folder"));
  ASSERT_EQ(::mkfifo(directory.file("fifo").c_str(), 0644), 0);
  const auto code_of = [&](const std::string& from, const std::string& to) {
    const auto copied = copy_file(directory.file(from), directory.file(to));
    return copied ? std::error_code() : copied.error().code();
  };
  EXPECT_EQ(code_of("source", "source"), std::errc::invalid_argument);
  EXPECT_EQ(code_of("source", "twin"), std::errc::invalid_argument);
  EXPECT_EQ(code_of("source", "link"), std::errc::invalid_argument);
  EXPECT_EQ(code_of("source", "dangling"), std::errc::no_such_file_or_directory);
  EXPECT_EQ(code_of("source", "folder"), Errc::kWrongKind);
  EXPECT_EQ(code_of("source", "fifo"), Errc::kWrongKind);
  EXPECT_EQ(code_of("folder", "copy"), Errc::kWrongKind);
  EXPECT_EQ(code_of("fifo", "copy"), Errc::kWrongKind);
  EXPECT_EQ(code_of("missing", "copy"), std::errc::no_such_file_or_directory);
  EXPECT_EQ(code_of("source", "missing/copy"), std::errc::no_such_file_or_directory);
  EXPECT_FALSE(fs::exists(directory.file("copy")));
  EXPECT_EQ(read_file(source), "content");
}

TEST(CopyFileTest, CopiesAFileWithoutASize) {
  const TempDir directory;
  const auto copied = copy_file("/proc/version", directory.file("version"));
  ASSERT_TRUE(copied) << copied.error().message();
  std::ifstream stream("/proc/version");
  const std::string wanted((std::istreambuf_iterator<char>(stream)), {});
  EXPECT_EQ(read_file(directory.file("version")), wanted);
}

// Goal:   TARGET is the old file, whole, or the new one, whole, and nothing else is left behind,
//         whichever system call fails.
// Method: the n-th call of each kind fails, for every n, onto a new name and over an old file.
TEST(CopyFaultTest, LeavesTheOldOrTheNewFileAndNothingElse) {
  const std::string old_content = "the old file";
  const std::string content = pattern(300'000);
  const int descriptors = testing::count_open_descriptors();
  for (int kind = 0; kind < static_cast<int>(sys::Call::kCount); ++kind) {
    for (const bool has_old : {false, true}) {
      const auto call = static_cast<sys::Call>(kind);
      testing::fail_each_nth(sys::name_of(call), [&](testing::NthFault& fault) {
        const TempDir directory;
        const std::string source = directory.write("source", content);
        const std::string target = directory.file("target");
        if (has_old) {
          directory.write("target", old_content);
        }
        bool was_copied = false;
        {
          const sys::FaultPlan plan({.call = call, .nth = fault.nth, .error = EIO});
          was_copied =
              copy_file(source, target,
                        {.durability = Durability::kAll, .verification = Verification::kReadBack})
                  .has_value();
          fault.was_hit = plan.hits() > 0;
        }
        Names allowed{"source"};
        if (fs::exists(target)) {
          allowed.insert("target");
          const std::string found = read_file(target);
          EXPECT_TRUE(found == content || (!was_copied && has_old && found == old_content));
        } else {
          EXPECT_FALSE(was_copied || has_old);
        }
        // The call that was to remove the temporary file is the one that failed: it stays.
        if (call != sys::Call::kUnlink) {
          EXPECT_EQ(names_in(directory.path()), allowed);
        }
      });
    }
  }
  EXPECT_EQ(testing::count_open_descriptors(), descriptors);
}

TEST(CopyFaultTest, HasNoNameWhileItIsWritten) {
  const TempDir directory;
  const std::string source = directory.write("source", pattern(300'000));
  std::uint64_t looks = 0;
  const auto copied =
      copy_file(source, directory.write("target", "old"), {.on_progress = [&](const CopyProgress&) {
                  ++looks;
                  EXPECT_EQ(names_in(directory.path()), (Names{"source", "target"}));
                }});
  ASSERT_TRUE(copied);
  EXPECT_GT(looks, 0U);
}

// Goal:   where there are no nameless files, a dotted name is taken, and goes away all the same.
// Method: the n-th open says that it cannot, for every n: one of them is the nameless file's. Once
//         with a copy that works, once with one that fails half-way.
TEST(CopyFaultTest, TakesADottedNameWhereThereAreNoNamelessFiles) {
  for (const bool fails : {false, true}) {
    int with_dotted_name = 0;
    for (std::uint64_t nth = 1; nth <= 10; ++nth) {
      const TempDir directory;
      const std::string source = directory.write("source", pattern(300'000));
      const std::string target = directory.write("target", "old");
      bool has_dotted_name = false;
      bool was_copied = false;
      {
        const sys::FaultPlan plan({.call = sys::Call::kOpen, .nth = nth, .error = EOPNOTSUPP});
        was_copied = copy_file(source, target,
                               {.on_progress =
                                    [&](const CopyProgress&) {
                                      has_dotted_name = names_in(directory.path()).size() == 3;
                                      if (fails) {
                                        ASSERT_EQ(::truncate(source.c_str(), 5), 0);
                                      }
                                    }})
                         .has_value();
      }
      with_dotted_name += has_dotted_name ? 1 : 0;
      EXPECT_EQ(names_in(directory.path()), (Names{"source", "target"})) << nth;
      EXPECT_EQ(read_file(target) == "old", !was_copied) << nth;
      EXPECT_FALSE(was_copied && fails) << nth;
      EXPECT_TRUE(was_copied || fails || !has_dotted_name) << nth;
    }
    EXPECT_EQ(with_dotted_name, 1);
  }
}

TEST(CopyFileTest, LeavesNothingWhenItIsStopped) {
  const TempDir directory;
  const std::string source = directory.write("source", pattern(40 << 20));
  std::stop_source stop;
  const auto copied = copy_file(
      source, directory.file("target"),
      {.on_progress = [&](const CopyProgress&) { stop.request_stop(); }, .stop = stop.get_token()});
  ASSERT_FALSE(copied);
  EXPECT_EQ(copied.error().code(), Errc::kCancelled);
  EXPECT_EQ(names_in(directory.path()), (Names{"source"}));
}

TEST(CopyFileTest, RefusesASourceThatIsWrittenUnderWay) {
  const TempDir directory;
  const std::string source = directory.write("source", pattern(20 << 20));
  const auto copied =
      copy_file(source, directory.file("target"), {.on_progress = [&](const CopyProgress&) {
                  const int fd = ::open(source.c_str(), O_WRONLY | O_CLOEXEC);
                  ASSERT_EQ(::pwrite(fd, "!", 1, 5), 1);
                  // A clock tick may pass without a change of the time stamp: make it plain.
                  const timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_OMIT},
                                             {.tv_sec = 1, .tv_nsec = 0}};
                  ASSERT_EQ(::futimens(fd, times), 0);
                  ::close(fd);
                }});
  ASSERT_FALSE(copied);
  EXPECT_EQ(copied.error().code(), Errc::kChanged) << copied.error().message();
  EXPECT_EQ(names_in(directory.path()), (Names{"source"}));
}

TEST(CopyFileTest, RefusesASourceThatIsTruncatedUnderWay) {
  const TempDir directory;
  const std::string source = directory.write("source", pattern(40 << 20));
  const auto copied =
      copy_file(source, directory.file("target"), {.on_progress = [&](const CopyProgress&) {
                  ASSERT_EQ(::truncate(source.c_str(), 1000), 0);
                }});
  ASSERT_FALSE(copied);
  EXPECT_EQ(copied.error().code(), Errc::kTruncated) << copied.error().message();
  EXPECT_EQ(names_in(directory.path()), (Names{"source"}));
}

// The one nameless file that this process has open for writing: the copy under construction.
int find_nameless_file() {
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    const std::string file = fs::read_symlink(entry.path(), error).string();
    if (file.find("(deleted)") != std::string::npos &&
        file.find("quire-test-") != std::string::npos) {
      return std::stoi(entry.path().filename().string());
    }
  }
  return -1;
}

// Goal:   a byte that is wrong on the disk is found before the copy gets its name.
// Method: one bit of the copy is turned while it is made.
TEST(CopyVerifyTest, FindsOneWrongByteAndDropsTheCopy) {
  const TempDir directory;
  const std::string content = pattern(20 << 20);
  const std::string source = directory.write("source", content);
  const auto copy = [&](bool spoil) {
    return copy_file(
        source, directory.file("target"),
        {.verification = Verification::kReadBack, .on_progress = [&, spoil](const CopyProgress&) {
           if (spoil) {
             const int fd = find_nameless_file();
             ASSERT_GE(fd, 0);
             const char wrong = static_cast<char>(content[3'000] ^ 1);
             ASSERT_EQ(::pwrite(fd, &wrong, 1, 3'000), 1);
           }
         }});
  };
  const auto spoiled = copy(true);
  ASSERT_FALSE(spoiled);
  EXPECT_EQ(spoiled.error().code(), Errc::kCorrupt) << spoiled.error().message();
  EXPECT_EQ(names_in(directory.path()), (Names{"source"}));
  const auto good = copy(false);
  ASSERT_TRUE(good) << good.error().message();
  EXPECT_TRUE(good->xxh3.has_value());
  EXPECT_TRUE(read_file(directory.file("target")) == content);
}

// Goal:   what is compared comes from the disk.
// Method: a copy that cannot be evicted, because a mapping of ours keeps its pages, is told.
TEST(CopyVerifyTest, TellsWhatItComparedFromMemoryInsteadOfTheDisk) {
  const TempDir directory;
  const std::string source = directory.write("source", pattern(1 << 20));
  void* mapped = MAP_FAILED;
  const auto copied =
      copy_file(source, directory.file("target"),
                {.verification = Verification::kReadBack, .on_progress = [&](const CopyProgress&) {
                   mapped = ::mmap(nullptr, 1 << 20, PROT_READ, MAP_SHARED | MAP_POPULATE,
                                   find_nameless_file(), 0);
                   ASSERT_NE(mapped, MAP_FAILED);
                 }});
  ASSERT_TRUE(copied) << copied.error().message();
  ASSERT_EQ(copied->remarks.size(), 1U);
  EXPECT_NE(copied->remarks.front().find("not from the disk"), std::string::npos)
      << copied->remarks.front();
  ASSERT_EQ(::munmap(mapped, 1 << 20), 0);
  const auto free_again =
      copy_file(source, directory.file("again"), {.verification = Verification::kReadBack});
  ASSERT_TRUE(free_again);
  EXPECT_TRUE(free_again->remarks.empty());
}

TEST(CopyFileTest, RefusesUpFrontWhatTheFileSystemCannotHold) {
  const TempDir directory;
  testing::Mount mount;  // Gone before the directory is.
  const std::string small = directory.file("small");
  ASSERT_EQ(::mkdir(small.c_str(), 0755), 0);
  if (const std::string why = mount.mount("tmpfs", "small", small, "size=2m"); !why.empty()) {
    GTEST_SKIP() << "tmpfs: " << why;
  }
  const std::string source = directory.write("source", pattern(5 << 20));
  bool was_called = false;
  const auto copied = copy_file(source, small + "/target",
                                {.on_progress = [&](const auto&) { was_called = true; }});
  ASSERT_FALSE(copied);
  EXPECT_EQ(copied.error().code(), std::errc::no_space_on_device) << copied.error().message();
  EXPECT_FALSE(was_called);
  EXPECT_TRUE(names_in(small).empty());

  // A sparse file needs only its blocks.
  const std::string sparse = directory.file("sparse");
  {
    const std::ofstream made(sparse);
  }
  fs::resize_file(sparse, std::uint64_t{1} << 30);
  const auto fits = copy_file(sparse, small + "/sparse");
  ASSERT_TRUE(fits) << fits.error().message();
  EXPECT_EQ(fits->transfer.hole_bytes, std::uint64_t{1} << 30);
}

}  // namespace
}  // namespace quire
