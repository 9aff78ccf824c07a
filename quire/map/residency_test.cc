// SPDX-License-Identifier: Apache-2.0
#include "quire/map/residency.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <numeric>

#include "quire/base/page_window.h"
#include "quire/base/prng.h"
#include "quire/sys/call.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"
#include "quire/testing/disk.h"
#include "quire/testing/page_cache.h"
#include "quire/testing/seed.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::kPageBytes;
using testing::TempDir;

constexpr std::uint64_t kForEver = 1'000'000'000;

sys::Descriptor open_for_reading(const std::string& path) {
  return sys::open_file(path.c_str(), {}).value();
}

std::uint64_t sum_of(const std::vector<ByteRange>& extents) {
  return std::accumulate(
      extents.begin(), extents.end(), std::uint64_t{0},
      [](std::uint64_t sum, ByteRange range) { return sum + range.length_bytes; });
}

// What resident_extents should say of a range, from one flag per page.
std::vector<ByteRange> expected_extents(const std::vector<bool>& pages, ByteRange range) {
  std::vector<ByteRange> extents;
  for (std::size_t i = 0; i < pages.size(); ++i) {
    const ByteRange part = intersect({i * kPageBytes, kPageBytes}, range);
    if (!pages[i] || part.length_bytes == 0) {
      continue;
    }
    if (!extents.empty() && end_of(extents.back()) == part.offset_bytes) {
      extents.back().length_bytes += part.length_bytes;
    } else {
      extents.push_back(part);
    }
  }
  return extents;
}

TEST(ResidencyTest, TenBytesInOneCachedPageAreTenBytes) {
  const TempDir directory;
  const std::string path = directory.write("ten", "0123456789");
  testing::make_cold(path);
  const sys::Descriptor file = open_for_reading(path);
  EXPECT_EQ(residency(file.get()).value().resident_bytes, 0U);
  testing::read_pages(path, {0});
  const Residency warm = residency(file.get()).value();
  EXPECT_EQ(warm.size_bytes, 10U);
  EXPECT_EQ(warm.resident_bytes, 10U);
  EXPECT_TRUE(warm.resident_known && warm.dirty_known);
  EXPECT_EQ(warm.why_unknown, "");
}

TEST(ResidencyTest, DirtyBytesAreCountedUntilTheyAreWritten) {
  const TempDir directory;
  const std::string path = directory.write("file", testing::pattern(3 * kPageBytes));
  testing::make_cold(path);
  const sys::Descriptor file = sys::open_file(path.c_str(), {.write = true}).value();
  const std::byte byte{1};
  ASSERT_TRUE(sys::write_at(file.get(), {&byte, 1}, kPageBytes).has_value());
  EXPECT_EQ(residency(file.get()).value().dirty_bytes, kPageBytes);
  EXPECT_EQ(residency(file.get(), {kPageBytes + 1, 10}).value().dirty_bytes, 10U);
  ASSERT_TRUE(sys::sync_data(file.get()).has_value());
  const Residency clean = residency(file.get()).value();
  EXPECT_EQ(clean.dirty_bytes, 0U);
  EXPECT_EQ(clean.resident_bytes, kPageBytes);
}

// Goal:   the counts are right for every range, cut pages included, however the kernel is asked.
// Method: random pages of a small file are read; random ranges are compared with one flag per page
//         from a mincore over all of it; once with cachestat, once as before 6.5.
class ResidencyModelTest : public ::testing::TestWithParam<int> {};

TEST_P(ResidencyModelTest, AgreesWithOneFlagPerPage) {
  const TempDir directory;
  constexpr std::uint64_t kSize = 700 * kPageBytes + 123;
  const std::string path = directory.write("file", testing::pattern(kSize));
  Prng random(testing::test_seed());
  for (int round = 0; round < 6; ++round) {
    testing::make_cold(path);
    std::vector<std::uint64_t> wanted;
    const std::uint64_t wanted_count = random.below(400);
    for (std::uint64_t i = 0; i < wanted_count; ++i) {
      wanted.push_back(random.below(701));
    }
    testing::read_pages(path, wanted);
    const std::vector<bool> pages = testing::resident_pages(path);
    const sys::Descriptor file = open_for_reading(path);
    for (int i = 0; i < 40; ++i) {
      const std::uint64_t offset = random.below(kSize);
      const ByteRange range{offset, random.below(kSize - offset) + 1};
      const sys::FaultPlan plan(
          {.call = sys::Call::kCacheStatus, .times = kForEver, .error = GetParam()});
      const std::vector<ByteRange> expected = expected_extents(pages, range);
      const ResidentExtents found = resident_extents(file.get(), range).value();
      EXPECT_TRUE(found.known && found.complete);
      EXPECT_EQ(found.covered_bytes, range.length_bytes);
      EXPECT_EQ(found.extents, expected) << describe(range);
      EXPECT_EQ(residency(file.get(), range).value().resident_bytes, sum_of(expected));
      const ResidencyView view = residency_view(file.get(), range, {.cells = 5}).value();
      EXPECT_EQ(view.extents.extents, expected);
      EXPECT_EQ(view.total.resident_bytes, sum_of(expected));
      EXPECT_EQ(view.map.shares, residency_map(file.get(), range, 5).value().shares);
    }
  }
}

std::string name_of_errno(const ::testing::TestParamInfo<int>& info) {
  return info.param == ENOSYS ? "BeforeCachestat" : "FilteredCachestat";
}
INSTANTIATE_TEST_SUITE_P(Oracles, ResidencyModelTest, ::testing::Values(ENOSYS, EPERM),
                         name_of_errno);

// The same without a fault: cachestat and mincore together, and cachestat alone.
TEST(ResidencyTest, CachestatAgreesWithOneFlagPerPage) {
  const TempDir directory;
  constexpr std::uint64_t kPages = 2000;
  const std::string path = directory.write("file", testing::pattern(kPages * kPageBytes - 7));
  testing::make_cold(path);
  Prng random(testing::test_seed());
  std::vector<std::uint64_t> wanted;
  for (int i = 0; i < 500; ++i) {
    wanted.push_back(random.below(kPages));
  }
  testing::read_pages(path, wanted);
  const std::vector<bool> pages = testing::resident_pages(path);
  const std::vector<ByteRange> expected = expected_extents(pages, {0, kPages * kPageBytes - 7});
  const sys::Descriptor readable = open_for_reading(path);
  EXPECT_EQ(resident_extents(readable.get()).value().extents, expected);
  EXPECT_EQ(residency(readable.get()).value().resident_bytes, sum_of(expected));
  // A descriptor that cannot be mapped leaves cachestat, down to the page.
  const sys::Descriptor write_only(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  EXPECT_EQ(resident_extents(write_only.get()).value().extents, expected);
}

TEST(ResidencyTest, ExtentsAreCutAtTheLimitAndSayWhere) {
  const TempDir directory;
  const std::string path = directory.write("file", testing::pattern(20 * kPageBytes));
  testing::make_cold(path);
  testing::read_pages(path, {1, 3, 4, 9});
  const sys::Descriptor file = open_for_reading(path);
  const ResidentExtents two = resident_extents(file.get(), kWholeFile, 2).value();
  EXPECT_FALSE(two.complete);
  EXPECT_EQ(two.covered_bytes, 9 * kPageBytes);
  ASSERT_EQ(two.extents.size(), 2U);
  EXPECT_EQ(two.extents[1], (ByteRange{3 * kPageBytes, 2 * kPageBytes}));
  const ResidentExtents rest = resident_extents(file.get(), {two.covered_bytes, kToEnd}, 2).value();
  EXPECT_TRUE(rest.complete);
  EXPECT_EQ(rest.extents, (std::vector<ByteRange>{{9 * kPageBytes, kPageBytes}}));
}

TEST(ResidencyTest, MapGivesTheShareOfEachSlice) {
  const TempDir directory;
  const std::string path = directory.write("file", testing::pattern(8 * kPageBytes));
  testing::make_cold(path);
  testing::read_pages(path, {0, 1, 2, 7});
  const sys::Descriptor file = open_for_reading(path);
  const ResidencyMap map = residency_map(file.get(), kWholeFile, 4).value();
  EXPECT_EQ(map.shares, (std::vector<double>{1.0, 0.5, 0.0, 0.5}));
  // More cells than pages: each page fills its cells.
  const ResidencyMap fine = residency_map(file.get(), kWholeFile, 16).value();
  EXPECT_EQ(std::count(fine.shares.begin(), fine.shares.end(), 1.0), 8);
  EXPECT_EQ(residency_map(file.get(), {0, 3}, 16).value().shares.size(), 3U);
  EXPECT_EQ(residency_map(file.get(), {5, 0}, 16).value().shares.size(), 0U);
  EXPECT_EQ(residency_map(file.get(), kWholeFile, kResidencyCellsMax + 1).error().code(),
            Errc::kLimit);
}

// Goal:   a view is the three answers, for one walk: where all is resident, one cachestat does it.
TEST(ResidencyTest, AViewIsTheThreeAnswersForOneWalk) {
  const TempDir directory;
  const std::string path = directory.write("file", testing::pattern(64 * kPageBytes));
  const sys::Descriptor file = open_for_reading(path);
  const sys::FaultPlan plan({});
  const ResidencyView all = residency_view(file.get(), kWholeFile, {.cells = 4}).value();
  EXPECT_EQ(all.total.resident_bytes, 64 * kPageBytes);
  EXPECT_EQ(all.extents.extents, (std::vector<ByteRange>{{0, 64 * kPageBytes}}));
  EXPECT_EQ(all.map.shares, std::vector<double>(4, 1.0));
  EXPECT_EQ(plan.count(sys::Call::kCacheStatus), 2U);  // The first asks whether it may be asked.
  EXPECT_EQ(plan.count(sys::Call::kResidency), 0U);
  // A list that is full does not cut the map short.
  testing::make_cold(path);
  testing::read_pages(path, {0, 2, 63});
  const ResidencyView cut =
      residency_view(file.get(), kWholeFile, {.extents_max = 1, .cells = 64}).value();
  EXPECT_FALSE(cut.extents.complete);
  EXPECT_EQ(cut.map.shares[63], 1.0);
  EXPECT_EQ(cut.total.resident_bytes, 3 * kPageBytes);
}

// Goal:   a sparse file of 1 TiB with a page here and there is answered by few system calls.
TEST(ResidencyTest, SparseTebibyteTakesFewCalls) {
  const TempDir directory;
  const std::string path = directory.write("sparse", "");
  const sys::Descriptor file = sys::open_file(path.c_str(), {.write = true}).value();
  ASSERT_TRUE(sys::truncate_file(file.get(), 1_TiB).has_value());
  const std::byte byte{1};
  for (const std::uint64_t offset : {300_GiB, 700_GiB, 1_TiB - 1}) {
    ASSERT_TRUE(sys::write_at(file.get(), {&byte, 1}, offset).has_value());
  }
  const sys::FaultPlan plan({});
  const ResidentExtents found = resident_extents(file.get()).value();
  EXPECT_EQ(found.extents,
            (std::vector<ByteRange>{
                {300_GiB, kPageBytes}, {700_GiB, kPageBytes}, {1_TiB - kPageBytes, kPageBytes}}));
  EXPECT_EQ(residency(file.get()).value().resident_bytes, 3 * kPageBytes);
  EXPECT_LE(plan.count(sys::Call::kCacheStatus), 3 * 6 * 16U);
  EXPECT_LE(plan.count(sys::Call::kResidency), 3U);
}

TEST(ResidencyTest, SparseTebibyteTakesFewCallsBeforeCachestat) {
  const TempDir directory;
  const std::string path = directory.write("sparse", "");
  const sys::Descriptor file = sys::open_file(path.c_str(), {.write = true}).value();
  ASSERT_TRUE(sys::truncate_file(file.get(), 1_TiB).has_value());
  const std::byte byte{1};
  ASSERT_TRUE(sys::write_at(file.get(), {&byte, 1}, 700_GiB).has_value());
  const sys::FaultPlan plan({.call = sys::Call::kCacheStatus, .times = kForEver, .error = ENOSYS});
  const Residency found = residency(file.get()).value();
  EXPECT_EQ(found.resident_bytes, kPageBytes);
  EXPECT_TRUE(found.resident_known);
  EXPECT_FALSE(found.dirty_known);
  EXPECT_NE(found.why_unknown, "");
  EXPECT_LE(plan.count(sys::Call::kResidency), 2U);
}

// Goal:   who may not know is told "unknown", whatever the kernel would make of it.
TEST(ResidencyTest, AStrangerIsToldUnknown) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "changing the user: not root";
  }
  const TempDir directory;
  const std::string path = directory.write("file", testing::pattern(4 * kPageBytes));
  testing::make_cold(path);
  const sys::Descriptor file = open_for_reading(path);
  const int exit_code = testing::run_as_nobody([&] {
    const Residency answer = residency(file.get()).value();
    const ResidentExtents extents = resident_extents(file.get()).value();
    const ResidencyMap map = residency_map(file.get(), kWholeFile, 4).value();
    const bool is_silent = !answer.resident_known && !answer.dirty_known && !extents.known &&
                           extents.extents.empty() && !map.known && map.shares.empty();
    return is_silent && !answer.why_unknown.empty() && answer.resident_bytes == 0 ? 0 : 1;
  });
  EXPECT_EQ(exit_code, 0);
}

TEST(ResidencyTest, AWritableDescriptorMayAskWhoeverHoldsIt) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "changing the user: not root";
  }
  const TempDir directory;
  const std::string path = directory.write("file", testing::pattern(9 * kPageBytes));
  testing::make_cold(path);
  testing::read_pages(path, {2, 5});
  const sys::Descriptor file = sys::open_file(path.c_str(), {.write = true}).value();
  // The kernel lets this descriptor ask cachestat, while mincore would lie to this user.
  const int exit_code = testing::run_as_nobody([&] {
    const ResidentExtents found = resident_extents(file.get()).value();
    const std::vector<ByteRange> expected{{2 * kPageBytes, kPageBytes},
                                          {5 * kPageBytes, kPageBytes}};
    return found.known && found.extents == expected ? 0 : 1;
  });
  EXPECT_EQ(exit_code, 0);
}

TEST(ResidencyTest, EmptyAndProcFilesHoldNothing) {
  const TempDir directory;
  const std::string path = directory.write("empty", "");
  const sys::Descriptor empty = open_for_reading(path);
  const sys::Descriptor proc = open_for_reading("/proc/self/status");
  for (const int fd : {empty.get(), proc.get()}) {
    const Residency answer = residency(fd).value();
    EXPECT_EQ(answer.size_bytes, 0U);
    EXPECT_TRUE(answer.resident_known);
    EXPECT_TRUE(resident_extents(fd).value().extents.empty());
    EXPECT_TRUE(resident_extents(fd).value().complete);
  }
}

TEST(ResidencyTest, WhatHasNoPageCacheIsTheWrongKind) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const sys::Descriptor out(ends[0]);
  const sys::Descriptor in(ends[1]);
  const sys::Descriptor folder = open_for_reading("/");
  const sys::Descriptor device = open_for_reading("/dev/zero");
  for (const int fd : {out.get(), folder.get(), device.get()}) {
    EXPECT_EQ(residency(fd).error().code(), Errc::kWrongKind);
  }
  EXPECT_EQ(residency(-1).error().code(), std::errc::bad_file_descriptor);
}

TEST(ResidencyTest, RangesOutsideTheFileAreErrors) {
  const TempDir directory;
  const sys::Descriptor file = open_for_reading(directory.write("file", "0123456789"));
  for (const ByteRange range :
       {ByteRange{11, 1}, ByteRange{5, 6}, ByteRange{5, kToEnd - 1}, ByteRange{kToEnd, 1}}) {
    EXPECT_EQ(residency(file.get(), range).error().code(), Errc::kOutOfRange) << describe(range);
  }
  EXPECT_EQ(residency(file.get(), {10, kToEnd}).value().size_bytes, 0U);
}

TEST(ResidencyTest, MemoryFilesAreResidentWhereTheyAreAllocated) {
  const sys::Descriptor file(memfd_create("residency", MFD_CLOEXEC));
  ASSERT_TRUE(sys::truncate_file(file.get(), 10 * kPageBytes).has_value());
  const std::byte byte{1};
  ASSERT_TRUE(sys::write_at(file.get(), {&byte, 1}, 4 * kPageBytes).has_value());
  const Residency answer = residency(file.get()).value();
  EXPECT_EQ(answer.resident_bytes, kPageBytes);
  EXPECT_EQ(answer.dirty_bytes, 0U);
  EXPECT_EQ(resident_extents(file.get()).value().extents,
            (std::vector<ByteRange>{{4 * kPageBytes, kPageBytes}}));
}

TEST(ResidencyTest, HugePageFilesAreKnownAsAWholeOnly) {
  const sys::Descriptor file(memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB));
  if (!file.is_open() || !sys::truncate_file(file.get(), 4_MiB)) {
    GTEST_SKIP() << "hugetlbfs: " << errno_name(errno);
  }
  const Residency whole = residency(file.get()).value();
  EXPECT_TRUE(whole.resident_known);
  EXPECT_EQ(whole.resident_bytes, 0U);
  EXPECT_FALSE(residency(file.get(), {0, 2_MiB}).value().resident_known);
}

// Goal:   on overlay, where containers live, cachestat succeeds and counts nothing; what is
//         resident is reported all the same, and dirty pages are unknown, not 0.
TEST(ResidencyTest, OverlayIsAskedPageByPage) {
  const TempDir dir;
  for (const char* part : {"lower", "upper", "work", "merged"}) {
    std::filesystem::create_directory(dir.file(part));
  }
  testing::Mount overlay;
  const std::string problem =
      overlay.mount("overlay", "overlay", dir.file("merged"),
                    "lowerdir=" + dir.file("lower") + ",upperdir=" + dir.file("upper") +
                        ",workdir=" + dir.file("work"));
  if (!problem.empty()) {
    GTEST_SKIP() << "overlay: " << problem;
  }
  const std::string path = dir.write("merged/f", std::string(10 * kPageBytes, 'x'));
  const sys::Descriptor file = open_for_reading(path);
  const Residency found = residency(file.get()).value();
  EXPECT_TRUE(found.resident_known);
  EXPECT_EQ(found.resident_bytes, 10 * kPageBytes);
  EXPECT_FALSE(found.dirty_known);
  EXPECT_NE(found.why_unknown.find("stacked"), std::string::npos);
  EXPECT_EQ(sum_of(resident_extents(file.get()).value().extents), 10 * kPageBytes);
}

TEST(ResidencyTest, ABlockDeviceIsMeasuredByItsOwnSize) {
  const TempDir directory;
  const std::string image = directory.write("image", testing::pattern(1_MiB));
  testing::LoopDevice loop;
  if (const std::string problem = loop.attach(image); !problem.empty()) {
    GTEST_SKIP() << problem;
  }
  testing::read_pages(loop.path(), {3});
  const sys::Descriptor device = open_for_reading(loop.path());
  EXPECT_EQ(residency(device.get()).value().size_bytes, 1_MiB);
  EXPECT_GE(residency(device.get(), {3 * kPageBytes, kPageBytes}).value().resident_bytes,
            kPageBytes);
}

}  // namespace
}  // namespace quire
