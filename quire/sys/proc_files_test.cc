// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/proc_files.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>

#include "quire/base/prng.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/memory.h"
#include "quire/testing/process.h"
#include "quire/testing/seed.h"
#include "quire/testing/temp_dir.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace quire::sys {
namespace {

using testing::TempDir;

constexpr const char* kSmaps =
    "7f0000000000-7f0000200000 rw-s 00001000 fe:01 4711    /dir with space/a (1).bin\n"
    "Size:               2048 kB\n"
    "Rss:                1024 kB\n"
    "Pss:                 512 kB\n"
    "Pss_Dirty:             7 kB\n"
    "Shared_Dirty:         12 kB\n"
    "Private_Dirty:         8 kB\n"
    "AnonHugePages:      2048 kB\n"
    "ShmemPmdMapped:        4 kB\n"
    "FilePmdMapped:         6 kB\n"
    "Swap:                 16 kB\n"
    "SwapPss:              99 kB\n"
    "Locked:               20 kB\n"
    "VmFlags: rd wr sh mr mw me ms lo \n"
    "7f0000200000-7f0000201000 ---p 00000000 00:00 0 \n"
    "Rss:                   0 kB\n"
    "7fff00000000-7fff00021000 rw-p 00000000 00:00 0                          [stack]\n";

constexpr const char* kZoneinfo =
    "Node 0, zone      DMA\n"
    "  per-node stats\n"
    "      nr_inactive_anon 2068\n"
    "  pages free     3840\n"
    "        boost    0\n"
    "        min      48\n"
    "        low      60\n"
    "        high     72\n"
    "        managed  3840\n"
    "        protection: (0, 3019, 5195, 5195)\n"
    "  pagesets\n"
    "    cpu: 0\n"
    "              count:    5\n"
    "Node 1, zone   Normal\n"
    "  pages free     500\n"
    "        low      100\n"
    "        managed  1000\n"
    "        protection: (0, 0, 0, 0)\n";

constexpr const char* kMountinfo =
    "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
    "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 shared:7 - ext3 /dev/root rw,errors=continue\n"
    "37 35 0:50 / /share rw - fuse.sshfs user@host:/a\\134b rw\n";

struct MapsRow {
  const char* what;
  const char* line;
  const char* path;  // Null: the line is refused.
  bool is_deleted = false;
};

constexpr std::array kMapsRows = std::to_array<MapsRow>({
    {"anonymous", "1000-2000 rw-p 00000000 00:00 0", ""},
    {"anonymous, trailing blank", "1000-2000 rw-p 00000000 00:00 0 ", ""},
    {"heap", "1000-2000 rw-p 00000000 00:00 0      [heap]", "[heap]"},
    {"a file", "1000-2000 r--p 00003000 08:02 12   /usr/bin/cat", "/usr/bin/cat"},
    {"spaces inside", "1000-2000 r--p 0 08:02 12   /a b  c ", "/a b  c "},
    {"a newline", "1000-2000 r--p 0 08:02 12 /a\\012b\\012", "/a\nb\n"},
    {"a backslash that is none", "1000-2000 r--p 0 08:02 12 /a\\01", "/a\\01"},
    {"deleted", "1000-2000 r--s 0 08:02 12 /tmp/x (deleted)", "/tmp/x", true},
    {"deleted memfd", "1000-2000 rw-s 0 00:01 9 /memfd:q (deleted)", "/memfd:q", true},
    {"not a file, so not deleted", "1000-2000 r--s 0 00:00 0 [x] (deleted)", "[x] (deleted)"},
    {"highest address", "ffffffffff600000-ffffffffffffffff --xp 0 00:00 0 [vsyscall]",
     "[vsyscall]"},
    {"empty", "", nullptr},
    {"blank", "   ", nullptr},
    {"no range", "1000 rw-p 0 00:00 0", nullptr},
    {"empty range", "1000-1000 rw-p 0 00:00 0", nullptr},
    {"backward range", "2000-1000 rw-p 0 00:00 0", nullptr},
    {"past 64 bits", "1000-10000000000000000 rw-p 0 00:00 0", nullptr},
    {"short permissions", "1000-2000 rw 0 00:00 0", nullptr},
    {"no device", "1000-2000 rw-p 0 0000 0", nullptr},
    {"device too large", "1000-2000 rw-p 0 100000000:0 0", nullptr},
    {"inode in hexadecimal", "1000-2000 rw-p 0 00:00 1f", nullptr},
    {"negative offset", "1000-2000 rw-p -1 00:00 0", nullptr},
    {"cut off", "1000-2000 rw-p 0 00:00", nullptr},
    {"a field of smaps", "Rss:                1024 kB", nullptr},
});

TEST(ProcMapsTest, LinesAreUnderstoodOrRefused) {
  for (const MapsRow& row : kMapsRows) {
    const std::optional<ProcMapping> mapping = parse_maps_line(row.line);
    ASSERT_EQ(mapping.has_value(), row.path != nullptr) << row.what;
    if (mapping) {
      EXPECT_EQ(mapping->path, row.path) << row.what;
      EXPECT_EQ(mapping->is_deleted, row.is_deleted) << row.what;
    }
  }
}

TEST(ProcMapsTest, NumbersAndPermissionsAreRead) {
  const auto mapping = parse_maps_line("7f12-7f34 r-xs 000ab000 103:1f 42 /x");
  ASSERT_TRUE(mapping);
  EXPECT_EQ(mapping->start, 0x7f12U);
  EXPECT_EQ(mapping->end, 0x7f34U);
  EXPECT_TRUE(mapping->readable && mapping->executable && mapping->shared);
  EXPECT_FALSE(mapping->writable);
  EXPECT_EQ(mapping->offset_bytes, 0xab000U);
  EXPECT_EQ(mapping->device, makedev(0x103, 0x1f));
  EXPECT_EQ(mapping->inode, 42U);
}

TEST(ProcMapsTest, UseBelongsToTheMappingAbove) {
  const std::vector<ProcMappingUse> uses = parse_smaps(kSmaps);
  ASSERT_EQ(uses.size(), 3U);
  const ProcMappingUse& use = uses.front();
  EXPECT_EQ(use.mapping.path, "/dir with space/a (1).bin");
  EXPECT_EQ(use.resident_bytes, 1024U << 10);
  EXPECT_EQ(use.proportional_bytes, 512U << 10);
  EXPECT_EQ(use.shared_dirty_bytes, 12U << 10);
  EXPECT_EQ(use.private_dirty_bytes, 8U << 10);
  EXPECT_EQ(use.anonymous_huge_bytes, 2048U << 10);
  EXPECT_EQ(use.shared_huge_bytes, 4U << 10);
  EXPECT_EQ(use.file_huge_bytes, 6U << 10);
  EXPECT_EQ(use.swap_bytes, 16U << 10);
  EXPECT_EQ(use.locked_bytes, 20U << 10);
  EXPECT_NE(std::find(use.flags.begin(), use.flags.end(), "lo"), use.flags.end());
  EXPECT_EQ(uses[1].resident_bytes, 0U);
  EXPECT_EQ(uses[2].mapping.path, "[stack]");
}

TEST(ProcMapsTest, NumbersThatDoNotFitAreLeftOut) {
  const std::vector<ProcMappingUse> uses = parse_smaps(
      "1000-2000 rw-p 0 00:00 0\nRss: 99999999999999999999 kB\nPss: 18014398509481984 kB\n");
  ASSERT_EQ(uses.size(), 1U);
  EXPECT_EQ(uses[0].resident_bytes, 0U);
  EXPECT_EQ(uses[0].proportional_bytes, 0U);  // 2^54 KiB is 2^64 bytes.
}

// Goal:   what the kernel writes about a mapping of ours leads back to the file.
// Method: map a file with a hostile name, find it by device and inode, then unlink it.
TEST(ProcMapsTest, AMappedFileIsFoundByDeviceAndInode) {
  const TempDir dir;
  const std::string path = dir.write("a b\nc (deleted)", std::string(4096, 'x'));
  const Descriptor file = open_file(path.c_str(), {}).value();
  const FileStatus status = file_status(file.get()).value();
  Address address = map_pages({.length_bytes = 4096, .fd = file.get()}).value();
  const auto find = [&status]() -> std::optional<ProcMapping> {
    for (ProcMapping& mapping : parse_maps(read_proc_file("/proc/self/maps").value())) {
      if (mapping.inode == status.inode && mapping.device == status.device) {
        return std::move(mapping);
      }
    }
    return std::nullopt;
  };
  const std::optional<ProcMapping> before = find();
  ASSERT_TRUE(before);
  EXPECT_EQ(before->start, reinterpret_cast<std::uintptr_t>(address));
  // A name that ends like the kernel's remark cannot be told from it.
  EXPECT_EQ(before->path + " (deleted)", std::filesystem::canonical(path));
  unlink(path.c_str());
  const std::optional<ProcMapping> after = find();
  ASSERT_TRUE(after);
  EXPECT_TRUE(after->is_deleted);
  EXPECT_TRUE(after->path.ends_with("a b\nc (deleted)"));
  ASSERT_TRUE(unmap_pages(address, 4096));
}

struct FieldRow {
  const char* text;
  const char* name;
  std::optional<std::uint64_t> value;
};

TEST(ProcFieldTest, FieldsAreFoundByTheirWholeName) {
  const std::vector<FieldRow> rows{
      {"MemTotal:       24684096 kB\nMemFree: 1 kB\n", "MemTotal", 24684096ULL << 10},
      {"MemTotal:       24684096 kB\nMemFree: 1 kB\n", "MemFree", 1024},
      {"HugePages_Total:       3\n", "HugePages_Total", 3},
      {"nr_dirty 25\n", "nr_dirty", 25},
      {"Threads:\t1\n", "Threads", 1},
      {"MemTotalX: 1 kB\n", "MemTotal", std::nullopt},
      {"xMemTotal: 1 kB\n", "MemTotal", std::nullopt},
      {"MemTotal:\n", "MemTotal", std::nullopt},
      {"MemTotal: -1 kB\n", "MemTotal", std::nullopt},
      {"MemTotal: 18446744073709551615 kB\n", "MemTotal", std::nullopt},
      {"MemTotal: 18446744073709551616\n", "MemTotal", std::nullopt},
      {"MemTotal: 18446744073709551615\n", "MemTotal", UINT64_MAX},
      {"", "MemTotal", std::nullopt},
  };
  for (const FieldRow& row : rows) {
    EXPECT_EQ(parse_field(row.text, row.name), row.value) << row.text;
  }
}

TEST(ProcFieldTest, NumbersChoicesAndPressureAreReadOrRefused) {
  EXPECT_EQ(parse_number(" 128\n"), 128U);
  EXPECT_EQ(parse_number("max\n"), std::nullopt);
  EXPECT_EQ(parse_number("1 2\n"), std::nullopt);
  EXPECT_EQ(parse_number(""), std::nullopt);
  EXPECT_EQ(parse_choice("always [madvise] never\n"), "madvise");
  EXPECT_EQ(parse_choice("none\n"), "");
  EXPECT_EQ(parse_choice("]["), "");
  const char* pressure =
      "some avg10=1.25 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.50 avg60=0.0\n";
  EXPECT_EQ(parse_pressure(pressure, "some"), 1.25);
  EXPECT_EQ(parse_pressure(pressure, "full"), 0.5);
  EXPECT_EQ(parse_pressure("some avg10=nan", "some"), std::nullopt);
  EXPECT_EQ(parse_pressure("some avg10=101", "some"), std::nullopt);
  EXPECT_EQ(parse_pressure("some avg60=1", "some"), std::nullopt);
}

TEST(ProcZoneinfoTest, WatermarksAndProtectionAreReadPerZone) {
  const std::vector<MemoryZone> zones = parse_zoneinfo(kZoneinfo);
  ASSERT_EQ(zones.size(), 2U);
  EXPECT_EQ(zones[0].name, "DMA");
  EXPECT_EQ(zones[0].free_pages, 3840U);
  EXPECT_EQ(zones[0].low_pages, 60U);
  EXPECT_EQ(zones[0].protection_pages, 5195U);
  EXPECT_EQ(zones[1].node, 1);
  EXPECT_EQ(zones[1].managed_pages, 1000U);
  EXPECT_EQ(zones[1].protection_pages, 0U);
}

TEST(ProcMountinfoTest, EscapesAndOptionalFieldsAreResolved) {
  const std::vector<Mount> mounts = parse_mountinfo(kMountinfo);
  ASSERT_EQ(mounts.size(), 3U);
  EXPECT_EQ(mounts[1].id, 36U);
  EXPECT_EQ(mounts[1].device_major, 98U);
  EXPECT_EQ(mounts[1].root, "/mnt1");
  EXPECT_EQ(mounts[1].mount_point, "/mnt 2");
  EXPECT_EQ(mounts[1].type, "ext3");
  EXPECT_EQ(mounts[1].source, "/dev/root");
  const std::vector<std::string> options{"rw", "noatime", "rw", "errors=continue"};
  EXPECT_EQ(mounts[1].options, options);
  EXPECT_EQ(mounts[2].source, "user@host:/a\\b");
}

TEST(ProcMountinfoTest, LinesWithoutTheLoneHyphenAreSkipped) {
  EXPECT_TRUE(parse_mountinfo("36 35 98:0 /a /b rw master:1 ext3 /dev/root rw\n").empty());
  EXPECT_TRUE(parse_mountinfo("36 35 98 /a /b rw - ext3 /dev/root rw\n").empty());
  EXPECT_TRUE(parse_mountinfo("x 35 98:0 /a /b rw - ext3 /dev/root rw\n").empty());
  EXPECT_TRUE(parse_mountinfo("36 35 98:0 /a /b rw -\n").empty());
}

TEST(ProcCgroupTest, BothVersionsAreReadAndColonsStayInPaths) {
  const std::vector<CgroupMembership> memberships =
      parse_cgroup("4:memory:/a:b\n3:cpu,cpuacct:/\n0::/c\nx::/d\n5:memory\n6:memory:rel\n");
  ASSERT_EQ(memberships.size(), 3U);
  EXPECT_EQ(memberships[0].path, "/a:b");
  EXPECT_EQ(memberships[1].controllers, (std::vector<std::string>{"cpu", "cpuacct"}));
  EXPECT_TRUE(memberships[2].controllers.empty());
  EXPECT_EQ(memberships[2].path, "/c");
}

TEST(ReadProcFileTest, ReadsWholeUpToTheBound) {
  const TempDir dir;
  const std::string content = testing::pattern(100'000);
  const std::string path = dir.write("f", content);
  EXPECT_EQ(read_proc_file(path, content.size()).value(), content);
  const auto beyond = read_proc_file(path, content.size() - 1);
  ASSERT_FALSE(beyond);
  EXPECT_EQ(beyond.error().value, EFBIG);
  EXPECT_EQ(read_proc_file(dir.file("none")).error().value, ENOENT);
}

TEST(ListProcessesTest, ListsUsAndOurChildrenInOrder) {
  const testing::Signal end;
  const testing::Child child([&end] {
    end.wait();
    return 0;
  });
  const std::vector<int> pids = list_processes().value();
  EXPECT_TRUE(std::is_sorted(pids.begin(), pids.end()));
  EXPECT_TRUE(std::binary_search(pids.begin(), pids.end(), getpid()));
  EXPECT_TRUE(std::binary_search(pids.begin(), pids.end(), child.pid()));
  EXPECT_EQ(proc_path(12, "maps"), "/proc/12/maps");
}

// Goal:   no bytes whatever make a parser read past the end or break its promises.
// Method: run the fuzzer's entry over the samples above and seeded mutations of them.
TEST(ProcFilesCorpusTest, MutatedSamplesKeepThePromises) {
  constexpr int kRounds = 3000;
  Prng prng(testing::test_seed());
  const std::vector<std::string> samples{
      kSmaps,
      kZoneinfo,
      kMountinfo,
      "4:memory:/a\n0::/c\n",
      "some avg10=1.25 avg60=0.00\n",
      read_proc_file("/proc/self/smaps", kProcFileBytesMax).value_or("").substr(0, 4096)};
  for (int round = 0; round < kRounds; ++round) {
    std::string text = samples[prng.below(samples.size())];
    const std::uint64_t changes = prng.below(8);
    for (std::uint64_t i = 0; i < changes && !text.empty(); ++i) {
      const std::size_t at = prng.below(text.size());
      switch (prng.below(3)) {
        case 0: text[at] = static_cast<char>(prng.below(256)); break;
        case 1: text.erase(at, prng.below(16)); break;
        default: text.insert(at, text.substr(prng.below(text.size()), prng.below(32))); break;
      }
    }
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
  }
}

}  // namespace
}  // namespace quire::sys
