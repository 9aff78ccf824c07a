// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/limits.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>

#include "quire/sys/call.h"
#include "quire/sys/memory.h"
#include "quire/sys/proc_files.h"
#include "quire/testing/process.h"
#include "quire/testing/temp_dir.h"

namespace quire::sys {
namespace {

using testing::TempDir;

constexpr const char* kMeminfo =
    "MemTotal:        8388608 kB\nMemFree:         4194304 kB\nMemAvailable:    6291456 kB\n"
    "Cached:          2097152 kB\nSwapTotal:             0 kB\nSwapFree:              0 kB\n";

// A made-up /proc and /sys.
class FakeSystem {
 public:
  FakeSystem& write(const std::string& path, const std::string& content) {
    std::filesystem::create_directories(std::filesystem::path(dir_.file(path)).parent_path());
    dir_.write(path, content);
    return *this;
  }
  [[nodiscard]] SystemRoot root() const { return {.prefix = dir_.path()}; }

 private:
  TempDir dir_;
};

FakeSystem& with_version_2(FakeSystem& system, const std::string& mount_root,
                           const std::string& cgroup) {
  system.write("proc/self/mountinfo",
               "30 20 0:26 " + mount_root + " /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
  return system.write("proc/self/cgroup", "0::" + cgroup + "\n");
}

TEST(MemoryCgroupTest, EveryLevelOfVersion2IsWalkedOursFirst) {
  FakeSystem system;
  with_version_2(system, "/", "/a/b")
      .write("sys/fs/cgroup/a/b/memory.max", "max\n")
      .write("sys/fs/cgroup/a/b/memory.high", "1000\n")
      .write("sys/fs/cgroup/a/b/memory.current", "400\n")
      .write("sys/fs/cgroup/a/memory.max", "3000\n")
      .write("sys/fs/cgroup/a/memory.high", "max\n")
      .write("sys/fs/cgroup/a/memory.current", "2900\n");
  const MemoryLimits limits = memory_limits(system.root());
  ASSERT_EQ(limits.cgroups.size(), 2U);  // The root of version 2 has no such files.
  EXPECT_EQ(limits.cgroups[0].path, "/a/b");
  EXPECT_EQ(limits.cgroups[0].limit_bytes, std::nullopt);
  EXPECT_EQ(limits.cgroups[0].high_bytes, 1000U);
  EXPECT_EQ(limits.cgroups[0].usage_bytes, 400U);
  EXPECT_EQ(limits.cgroups[1].path, "/a");
  EXPECT_EQ(limits.cgroups[1].limit_bytes, 3000U);
  // The smallest limit binds; the smallest distance to a limit is the headroom.
  EXPECT_EQ(limits.binding_bytes, 1000U);
  EXPECT_TRUE(limits.binding.starts_with("cgroup v2 /a/b: 1000 B")) << limits.binding;
  const MemoryHeadroom room = headroom(limits);
  EXPECT_TRUE(room.is_known);
  EXPECT_EQ(room.bytes, 100U);
  EXPECT_TRUE(room.binding.starts_with("cgroup v2 /a leaves 100 B")) << room.binding;
}

TEST(MemoryCgroupTest, Version1SaysNoLimitWithAHugeNumber) {
  FakeSystem system;
  system
      .write("proc/self/mountinfo",
             "29 20 0:25 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
             "30 20 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
             "31 20 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n")
      .write("proc/self/cgroup", "4:memory:/job\n1:cpu:/\n0::/\n")
      .write("sys/fs/cgroup/memory/job/memory.limit_in_bytes", "5000\n")
      .write("sys/fs/cgroup/memory/job/memory.usage_in_bytes", "6000\n")
      .write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
      .write("sys/fs/cgroup/memory/memory.usage_in_bytes", "7000\n");
  const MemoryLimits limits = memory_limits(system.root());
  ASSERT_EQ(limits.cgroups.size(), 2U);
  EXPECT_EQ(limits.cgroups[0].version, 1);
  EXPECT_EQ(limits.cgroups[1].path, "/");
  EXPECT_EQ(limits.cgroups[1].limit_bytes, std::nullopt);
  EXPECT_EQ(headroom(limits).bytes, 0U);  // More in use than allowed: nothing, not a huge number.
}

TEST(MemoryCgroupTest, AContainersMountShowsOnlyItsPart) {
  FakeSystem system;
  with_version_2(system, "/docker/abc", "/docker/abc/job")
      .write("sys/fs/cgroup/job/memory.max", "500\n")
      .write("sys/fs/cgroup/memory.max", "700\n");
  const MemoryLimits limits = memory_limits(system.root());
  ASSERT_EQ(limits.cgroups.size(), 2U);
  EXPECT_EQ(limits.cgroups[0].path, "/docker/abc/job");
  EXPECT_EQ(limits.cgroups[0].limit_bytes, 500U);
  EXPECT_EQ(limits.cgroups[1].limit_bytes, 700U);
}

TEST(MemoryCgroupTest, APathOutsideOfOurNamespaceFallsBackToTheMount) {
  for (const char* path : {"/../other", "/elsewhere"}) {
    FakeSystem system;
    with_version_2(system, "/docker/abc", path).write("sys/fs/cgroup/memory.max", "700\n");
    const MemoryLimits limits = memory_limits(system.root());
    ASSERT_EQ(limits.cgroups.size(), 1U) << path;
    EXPECT_EQ(limits.cgroups[0].limit_bytes, 700U);
  }
}

TEST(HeadroomTest, AnUnknownUsageLeavesNothing) {
  FakeSystem system;
  with_version_2(system, "/", "/a").write("sys/fs/cgroup/a/memory.max", "500\n");
  EXPECT_EQ(headroom(memory_limits(system.root())).bytes, 0U);
}

TEST(HeadroomTest, NothingIsKnownWithoutProc) {
  const FakeSystem system;
  const MemoryLimits limits = memory_limits(system.root());
  EXPECT_FALSE(limits.machine);
  EXPECT_FALSE(limits.pressure);
  EXPECT_FALSE(limits.binding_bytes);
  const MemoryHeadroom room = headroom(limits);
  EXPECT_FALSE(room.is_known);
  EXPECT_EQ(room.bytes, 0U);
}

TEST(HeadroomTest, WatermarksAndProtectionAreKept) {
  const std::uint64_t page_bytes = os_page_size().bytes();
  FakeSystem system;
  system.write("proc/meminfo", kMeminfo)
      .write("proc/zoneinfo",
             // Keeps 60 + 40 pages.
             "Node 0, zone DMA\n  pages free 1000\n low 60\n protection: (0, 20, 40)\n"
             // Has fewer than it keeps: none of them counts.
             "Node 0, zone DMA32\n  pages free 30\n low 10\n protection: (0, 0, 500)\n"
             "Node 0, zone Normal\n  pages free 5000\n low 200\n protection: (0, 0, 0)\n");
  const MemoryHeadroom room = headroom(memory_limits(system.root()));
  EXPECT_EQ(room.bytes, 4_GiB - (100 + 30 + 200) * page_bytes);
}

TEST(HeadroomTest, WithoutZoneinfoAShareIsLeftOut) {
  FakeSystem system;
  system.write("proc/meminfo", kMeminfo);
  const MemoryLimits limits = memory_limits(system.root());
  EXPECT_EQ(headroom(limits).bytes, 4_GiB - 8_GiB / 64);
  EXPECT_EQ(limits.binding_bytes, 8_GiB);
  EXPECT_EQ(limits.binding_usage_bytes, 2_GiB);
}

TEST(HeadroomTest, TheRealOneIsWithinTheMachine) {
  const MemoryHeadroom room = headroom();
  ASSERT_TRUE(room.is_known);
  EXPECT_LE(room.bytes, memory_limits().machine.value().total_bytes);
}

TEST(ProcessLimitsTest, LockableIsWhatIsLeftOfTheSoftLimit) {
  ProcessLimits limits;
  EXPECT_EQ(lockable_bytes(limits), 0U);  // Not known: nothing is promised.
  limits.locked_bytes = {.is_known = true, .soft = 1000, .hard = std::nullopt};
  limits.locked_now_bytes = 400;
  EXPECT_EQ(lockable_bytes(limits), 600U);
  limits.locked_now_bytes = 4000;
  EXPECT_EQ(lockable_bytes(limits), 0U);
  limits.locked_bytes.soft = std::nullopt;
  EXPECT_EQ(lockable_bytes(limits), kToEnd);
  limits.locked_bytes.soft = 0;
  limits.may_lock_without_limit = true;
  EXPECT_EQ(lockable_bytes(limits), kToEnd);
}

TEST(ProcessLimitsTest, TheCapabilityCountsInTheFirstUserNamespaceOnly) {
  struct Row {
    const char* effective;
    const char* uid_map;
    bool expected;
  };
  for (const Row& row : {Row{"0000000000004000", "         0          0 4294967295\n", true},
                         Row{"0000000000003fff", "         0          0 4294967295\n", false},
                         Row{"000001ffffffffff", "         0     100000      65536\n", false},
                         Row{"xyz", "         0          0 4294967295\n", false},
                         Row{"0000000000004000", "", false}}) {
    FakeSystem system;
    system.write("proc/self/status", std::string("Name:\tx\nCapEff:\t") + row.effective + "\n")
        .write("proc/self/uid_map", row.uid_map);
    EXPECT_EQ(process_limits(system.root()).may_lock_without_limit, row.expected) << row.effective;
  }
}

TEST(ProcessLimitsTest, LimitsAndMappingsOfThisProcessAreSeen) {
  const testing::ChildEnd end =
      testing::Child([] {
        const rlimit files{.rlim_cur = 77, .rlim_max = 88};
        const rlimit locked{.rlim_cur = 32 << 10, .rlim_max = 64 << 10};
        if (setrlimit(RLIMIT_NOFILE, &files) != 0 || setrlimit(RLIMIT_MEMLOCK, &locked) != 0) {
          return 1;
        }
        const std::uint64_t before = process_limits().mappings_now.value_or(0);
        // Alternating protections cannot be merged into one mapping.
        constexpr std::uint64_t kPages = 64;
        const std::uint64_t page_bytes = os_page_size().bytes();
        Address address = map_pages({.length_bytes = kPages * page_bytes,
                                     .protection = Protection::kRead,
                                     .visibility = Visibility::kPrivate})
                              .value();
        for (std::uint64_t page = 0; page < kPages; page += 2) {
          if (!protect_pages(address + page * page_bytes, page_bytes, Protection::kReadWrite)) {
            return 2;
          }
        }
        const ProcessLimits limits = process_limits();
        const bool is_right = limits.open_files.soft == 77U && limits.open_files.hard == 88U &&
                              limits.locked_bytes.soft == 32_KiB &&
                              limits.locked_bytes.hard == 64_KiB &&
                              limits.mappings_now.value_or(0) >= before + kPages - 2;
        return is_right ? 0 : 3;
      }).join();
  EXPECT_EQ(end.exit_code, 0);
}

TEST(ProcessLimitsTest, ARefusedQuestionIsUnknownNotUnlimited) {
  const FaultPlan plan({.call = Call::kProbe, .nth = 1, .times = 4, .error = EPERM});
  const ProcessLimits limits = process_limits();
  EXPECT_EQ(plan.hits(), 4U);
  EXPECT_FALSE(limits.locked_bytes.is_known);
  EXPECT_FALSE(limits.open_files.is_known);
  EXPECT_FALSE(limits.address_space_bytes.is_known);
  EXPECT_FALSE(limits.file_size_bytes.is_known);
}

}  // namespace
}  // namespace quire::sys
