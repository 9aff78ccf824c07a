// SPDX-License-Identifier: Apache-2.0
//
// Segments where there is not enough of something: memory, descriptors, permissions; and with each
// system call failing in its turn.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "quire/ipc/inventory.h"
#include "quire/ipc/segment.h"
#include "quire/sys/call.h"
#include "quire/testing/process.h"
#include "quire/testing/temp_dir.h"

namespace quire::ipc {
namespace {

using testing::Child;
using testing::TempDir;

Layout layout_of(std::size_t size_bytes) {
  return Layout().add({.name = "bytes", .signature = "bytes v1", .size_bytes = size_bytes});
}

// A tmpfs of one MiB, as a container's small /dev/shm; unmounted at the end.
class SmallTmpfs {
 public:
  SmallTmpfs() : path_(dir_.file("shm")) {
    is_mounted_ = ::mkdir(path_.c_str(), 0700) == 0 &&
                  ::mount("none", path_.c_str(), "tmpfs", 0, "size=1m,mode=0700") == 0;
  }
  ~SmallTmpfs() {
    if (is_mounted_) {
      ::umount2(path_.c_str(), MNT_DETACH);
    }
  }
  SmallTmpfs(const SmallTmpfs&) = delete;
  SmallTmpfs& operator=(const SmallTmpfs&) = delete;

  [[nodiscard]] bool is_mounted() const { return is_mounted_; }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  TempDir dir_;
  std::string path_;
  bool is_mounted_ = false;
};

TEST(SegmentLimits, AFullTmpfsIsAnErrorWithTheLimitAndNeverASigbus) {
  const SmallTmpfs shm;
  if (!shm.is_mounted()) {
    GTEST_SKIP() << "mount: " << std::strerror(errno);
  }
  const SegmentOptions options{.directory = shm.path()};
  const auto large = Segment::open("large", layout_of(2 << 20), options);
  ASSERT_FALSE(large.has_value());
  EXPECT_EQ(large.error().code(), std::errc::no_space_on_device);
  for (const char* part : {"1020.0 KiB left", "remount", "--shm-size", "QUIRE_IPC_DIR"}) {
    EXPECT_NE(large.error().message().find(part), std::string::npos) << large.error().message();
  }
  std::vector<Segment> all;
  for (int i = 0;; ++i) {
    auto next = Segment::open("s" + std::to_string(i), layout_of(100'000), options);
    if (!next) {
      EXPECT_EQ(next.error().code(), std::errc::no_space_on_device);
      break;
    }
    all.push_back(std::move(*next));
  }
  EXPECT_GE(all.size(), 8U);
  // What was refused left nothing behind, and what was granted can be stored to.
  EXPECT_EQ(list_segments(shm.path()).value().size(), all.size());
  for (const Segment& segment : all) {
    const auto bytes = segment.find("bytes", ObjectKind::kUser, "bytes v1").value().bytes();
    std::fill(bytes.begin(), bytes.end(), std::byte{1});
  }
}

TEST(SegmentLimits, WithoutDescriptorsItIsAnErrorAndLaterItWorks) {
  const TempDir dir;
  Child child([&] {
    const SegmentOptions options{.directory = dir.path()};
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    const rlim_t before = limit.rlim_cur;
    for (rlim_t open_files = 0; open_files < 20; ++open_files) {
      limit.rlim_cur = open_files;
      ::setrlimit(RLIMIT_NOFILE, &limit);
      const auto opened = Segment::open("a", layout_of(100), options);
      if (!opened && opened.error().message().empty()) {
        return 1;
      }
    }
    limit.rlim_cur = before;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    return Segment::open("a", layout_of(100), options).has_value() ? 0 : 2;
  });
  EXPECT_EQ(child.join().exit_code, 0);
}

TEST(SegmentLimits, WhoMayNotEnterTheDirectoryIsToldSo) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "setuid: not root";
  }
  const std::string directory = "/dev/shm/quire-ipc-test-" + std::to_string(getpid());
  ASSERT_EQ(mkdir(directory.c_str(), 0700), 0);
  {
    const Segment made = Segment::open("a", layout_of(100), {.directory = directory}).value();
    Child child([&] {
      if (setuid(65534) != 0) {
        return 1;
      }
      const auto opened = Segment::open("a", layout_of(100), {.directory = directory});
      return !opened && opened.error().code() == std::errc::permission_denied ? 0 : 2;
    });
    EXPECT_EQ(child.join().exit_code, 0);
  }
  EXPECT_TRUE(remove_segment("a", {.directory = directory}));
  ASSERT_EQ(rmdir(directory.c_str()), 0);
}

// Goal:   no failure of a single call leaves anything that hinders the next one.
// Method: for each kind of call, the n-th fails, for n = 1, 2, 3 ... until none is left to fail.
template <typename Use>
void fail_each_call(const Use& use) {
  const int descriptors = testing::count_open_descriptors();
  for (int kind = 0; kind < static_cast<int>(sys::Call::kCount); ++kind) {
    const auto call = static_cast<sys::Call>(kind);
    for (std::uint64_t nth = 1;; ++nth) {
      SCOPED_TRACE(std::string(sys::name_of(call)) + " " + std::to_string(nth));
      const TempDir dir;
      std::uint64_t hits = 0;
      {
        const sys::FaultPlan plan({.call = call, .nth = nth, .error = EIO});
        use(dir);
        hits = plan.hits();
      }
      EXPECT_EQ(testing::count_open_descriptors(), descriptors);
      const auto after = Segment::open("a", layout_of(100), {.directory = dir.path()});
      ASSERT_TRUE(after.has_value()) << after.error().message();
      if (hits == 0) {
        break;
      }
    }
  }
}

TEST(SegmentLimits, EachCallOfOpeningMayFail) {
  fail_each_call([](const TempDir& dir) {
    const auto opened = Segment::open("a", layout_of(100), {.directory = dir.path()});
    if (!opened) {
      EXPECT_FALSE(opened.error().message().empty());
    }
  });
}

TEST(SegmentLimits, EachCallOfRemovingMayFail) {
  fail_each_call([](const TempDir& dir) {
    static_cast<void>(Segment::open("a", layout_of(100), {.directory = dir.path()}));
    static_cast<void>(inspect_segment("a", dir.path()));
    static_cast<void>(remove_stale_segments(dir.path()));
  });
}

TEST(SegmentLimits, EachCallOfAMemfdMayFail) {
  fail_each_call(
      [](const TempDir&) { static_cast<void>(Segment::make_anonymous(layout_of(100))); });
}

}  // namespace
}  // namespace quire::ipc
