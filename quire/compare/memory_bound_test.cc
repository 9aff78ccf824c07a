// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/memory_bound.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "quire/base/units.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"
#include "quire/testing/page_cache.h"
#include "quire/testing/process.h"
#include "quire/testing/temp_dir.h"

namespace quire::compare {
namespace {

namespace fs = std::filesystem;
using testing::TempDir;

// --- A made-up /proc and /sys --------------------------------------------------------------------

class MadeUpTree : public ::testing::Test {
 protected:
  void write(const std::string& path, const std::string& text) const {
    fs::create_directories(fs::path(root().prefix + path).parent_path());
    std::ofstream(root().prefix + path) << text;
  }
  [[nodiscard]] sys::SystemRoot root() const { return {.prefix = directory_.path()}; }
  [[nodiscard]] std::vector<std::string> places() const {
    std::vector<std::string> found;
    for (const internal::BoundPlace& place : internal::bound_places(root())) {
      found.push_back(std::to_string(place.version) +
                      place.directory.substr(directory_.path().size()));
    }
    return found;
  }
  // Both of them have a job below a slice, each with a limit where there is one.
  void make_version_1(const std::string& job_limit, const std::string& slice_limit) const {
    write("/proc/self/cgroup", "4:memory:/slice/job\n");
    write("/proc/self/mountinfo",
          "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
    const std::string unlimited = "9223372036854771712\n";
    for (const auto& [level, limit] : {std::pair<std::string, std::string>{"/slice/job", job_limit},
                                       {"/slice", slice_limit},
                                       {"", ""}}) {
      const std::string at = "/sys/fs/cgroup/memory" + level;
      write(at + "/memory.limit_in_bytes", limit.empty() ? unlimited : limit);
      write(at + "/memory.usage_in_bytes", "4096\n");
    }
  }
  void make_version_2(const std::string& job_limit) const {
    write("/proc/self/cgroup", "0::/slice/job\n");
    write("/proc/self/mountinfo", "35 31 0:32 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
    for (const std::string level : {"/slice/job", "/slice"}) {
      const std::string at = "/sys/fs/cgroup" + level;
      write(at + "/memory.max", level == "/slice/job" ? job_limit : "max\n");
      write(at + "/memory.current", "4096\n");
    }
    write("/sys/fs/cgroup/slice/job/cgroup.subtree_control", "");
    write("/sys/fs/cgroup/slice/cgroup.subtree_control", "cpu memory\n");
  }
  [[nodiscard]] std::string read(const std::string& path) const { return testing::read_file(path); }

  const TempDir directory_;
};

TEST_F(MadeUpTree, WithoutCgroupsThereIsNoPlaceAndTheErrorSaysWhatToDo) {
  write("/proc/self/cgroup", "");
  write("/proc/self/mountinfo", "");
  EXPECT_TRUE(places().empty());
  const auto refused = MemoryBound::make(64_MiB, root());
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Errc::kUnsupported);
  EXPECT_NE(refused.error().message().find("/sys/fs/cgroup"), std::string::npos);
  EXPECT_NE(refused.error().remedy().find("root"), std::string::npos);
}

TEST_F(MadeUpTree, Version1GoesAsHighAsNoLimitIsLeftBehind) {
  make_version_1("", "");
  const std::string memory = "1/sys/fs/cgroup/memory";
  EXPECT_EQ(places(), (std::vector<std::string>{memory, memory + "/slice", memory + "/slice/job"}));
  make_version_1("", "1073741824\n");
  EXPECT_EQ(places(), (std::vector<std::string>{memory + "/slice", memory + "/slice/job"}));
  make_version_1("1073741824\n", "");
  EXPECT_EQ(places(), (std::vector<std::string>{memory + "/slice/job"}));
}

TEST_F(MadeUpTree, Version2GoesBelowUsOrBesideUsWhereWeHaveNoLimit) {
  make_version_2("max\n");
  EXPECT_EQ(places(),
            (std::vector<std::string>{"2/sys/fs/cgroup/slice/job", "2/sys/fs/cgroup/slice"}));
  make_version_2("1073741824\n");
  EXPECT_EQ(places(), (std::vector<std::string>{"2/sys/fs/cgroup/slice/job"}));
}

TEST_F(MadeUpTree, Version2IsLimitedWithoutSwapAndEnteredByNumber) {
  make_version_2("max\n");
  const MemoryBound bound = MemoryBound::make(64_MiB, root()).value();
  EXPECT_EQ(bound.method(), "memory cgroup (v2)");
  EXPECT_EQ(bound.directory().find(root().prefix + "/sys/fs/cgroup/slice/job/quire-compare-"), 0u);
  EXPECT_EQ(read(root().prefix + "/sys/fs/cgroup/slice/job/cgroup.subtree_control"), "+memory");
  EXPECT_EQ(read(bound.directory() + "/memory.max"), "67108864");
  EXPECT_EQ(read(bound.directory() + "/memory.swap.max"), "0");
  ASSERT_TRUE(bound.enter().has_value());
  EXPECT_EQ(read(bound.directory() + "/cgroup.procs"), std::to_string(getpid()));
}

// Goal:   a round does not begin in a bound that is full of what the last one's process pinned.
TEST_F(MadeUpTree, EnteringWaitsUntilTheMemoryOfTheLastProcessIsGone) {
  make_version_2("max\n");
  const MemoryBound bound = MemoryBound::make(64_MiB, root()).value();
  const std::string stat = bound.directory() + "/memory.stat";
  std::ofstream(stat) << "inactive_anon 8388608\nactive_anon 0\ninactive_file 9\n";
  std::thread kernel([&] {
    for (int i = 0; i < 10'000; ++i) {
      std::this_thread::yield();
    }
    std::ofstream(stat + ".new") << "inactive_anon 4096\ninactive_file 8388608\n";
    fs::rename(stat + ".new", stat);
  });
  ASSERT_TRUE(bound.enter().has_value());
  EXPECT_NE(read(stat).find("inactive_anon 4096"), std::string::npos);
  kernel.join();
}

TEST_F(MadeUpTree, ALimitAboveWhatThereIsOrBelowAProcessIsRefused) {
  make_version_1("1073741824\n", "");
  EXPECT_EQ(MemoryBound::make(2_GiB, root()).error().code(), Errc::kLimit);
  EXPECT_EQ(MemoryBound::make(4096, root()).error().code(), Errc::kLimit);
}

// --- The real one --------------------------------------------------------------------------------

class MemoryBoundTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto bound = MemoryBound::make(kLimitBytes);
    if (!bound) {
      GTEST_SKIP() << bound.error().message();
    }
    bound_.emplace(std::move(*bound));
  }

  static constexpr std::uint64_t kLimitBytes = 32_MiB;
  std::optional<MemoryBound> bound_;
};

// Goal:   the page cache that a process in the bound fills stays within the limit.
// Method: it reads four times the limit of a file that nobody has in memory.
TEST_F(MemoryBoundTest, ReadingFourTimesTheLimitKeepsTheCacheWithinIt) {
  const TempDir directory;
  const std::string path = directory.write("file", testing::pattern(4 * kLimitBytes));
  testing::make_cold(path);
  testing::Child child([&] {
    if (!bound_->enter()) {
      return 1;
    }
    const sys::Descriptor file = sys::open_file(path.c_str(), {}).value();
    std::vector<std::byte> piece(1_MiB);
    for (std::uint64_t at = 0; at < 4 * kLimitBytes; at += piece.size()) {
      if (sys::read_at(file.get(), piece, at).value() != piece.size()) {
        return 2;
      }
    }
    return 0;
  });
  EXPECT_EQ(child.join().exit_code, 0);
  const std::vector<bool> resident = testing::resident_pages(path);
  const auto bytes =
      static_cast<std::uint64_t>(std::count(resident.begin(), resident.end(), true)) * 4096;
  EXPECT_LE(bytes, kLimitBytes);
  EXPECT_GT(bytes, kLimitBytes / 8) << "something of it must be there, or nothing was charged";
  EXPECT_LE(bound_->usage_bytes().value(), kLimitBytes);
}

TEST_F(MemoryBoundTest, AProcessThatTakesMoreIsKilledAndCounted) {
  const std::uint64_t before = bound_->killed_processes().value();
  testing::Child child([&] {
    if (!bound_->enter()) {
      return 1;
    }
    void* memory =
        mmap(nullptr, 2 * kLimitBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    std::memset(memory, 1, 2 * kLimitBytes);
    return 0;
  });
  EXPECT_EQ(child.join().signal, SIGKILL);
  EXPECT_EQ(bound_->killed_processes().value(), before + 1);
}

TEST_F(MemoryBoundTest, CloseRemovesItAndASecondCloseIsNothing) {
  const std::string directory = bound_->directory();
  EXPECT_TRUE(fs::exists(directory));
  EXPECT_TRUE(bound_->close().has_value());
  EXPECT_FALSE(fs::exists(directory));
  EXPECT_TRUE(bound_->close().has_value());
}

TEST_F(MemoryBoundTest, DestructorRemovesIt) {
  const std::string directory = bound_->directory();
  bound_.reset();
  EXPECT_FALSE(fs::exists(directory));
}

// Goal:   what a killed run left goes with the next run, and what a living one has stays.
// Method: a child makes a bound and is killed; its directory is there until somebody makes another.
TEST_F(MemoryBoundTest, TheNextRunRemovesWhatAKilledOneLeft) {
  testing::Signal made;
  pid_t pid = 0;
  {
    const testing::Child child([&] {
      const auto bound = MemoryBound::make(kLimitBytes);
      made.raise();
      pause();
      return bound ? 0 : 1;
    });
    pid = child.pid();
    made.wait();
    child.kill(SIGKILL);
  }
  const fs::path parent = fs::path(bound_->directory()).parent_path();
  const auto count_left = [&] {
    const std::string prefix = "quire-compare-" + std::to_string(pid) + "-";
    return std::count_if(fs::directory_iterator(parent), fs::directory_iterator(),
                         [&](const fs::directory_entry& entry) {
                           return entry.path().filename().string().starts_with(prefix);
                         });
  };
  ASSERT_EQ(count_left(), 1);
  EXPECT_GE(internal::remove_stale_bounds(parent), 1u);
  EXPECT_EQ(count_left(), 0);
  EXPECT_TRUE(fs::exists(bound_->directory()));
}

}  // namespace
}  // namespace quire::compare
