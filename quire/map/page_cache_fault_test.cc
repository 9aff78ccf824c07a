// SPDX-License-Identifier: Apache-2.0
//
// The page cache functions when things fail: a device that reports EIO, and every kind of system
// call, once at its n-th turn.
#include <gtest/gtest.h>

#include <cerrno>
#include <fstream>
#include <ostream>
#include <string>

#include "quire/map/eviction.h"
#include "quire/map/residency.h"
#include "quire/map/warming.h"
#include "quire/sys/call.h"
#include "quire/sys/descriptor.h"
#include "quire/testing/disk.h"
#include "quire/testing/failing_disk.h"
#include "quire/testing/nth_fault.h"
#include "quire/testing/page_cache.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::kPageBytes;

// Goal:   a device that fails in the middle is an Error with the offset of the first bad page.
// Method: a loop device over a file that reads with EIO from an odd place on.
TEST(FailingDeviceTest, WarmingReturnsTheOffsetOfTheFirstBadPage) {
  const testing::TempDir directory;
  constexpr std::uint64_t kBadFrom = 5_MiB + 3 * kPageBytes;
  const testing::FailingDisk disk(directory, 8_MiB, kBadFrom);
  if (!disk.problem().empty()) {
    GTEST_SKIP() << disk.problem();
  }
  testing::LoopDevice loop;
  if (const std::string problem = loop.attach(disk.path()); !problem.empty()) {
    GTEST_SKIP() << problem;
  }
  const sys::Descriptor device = sys::open_file(loop.path().c_str(), {}).value();
  const Result<WarmReport> failed = warm(device.get());
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().code(), std::errc::io_error);
  EXPECT_NE(failed.error().subject().find(describe(ByteRange{kBadFrom, kPageBytes})),
            std::string::npos)
      << failed.error().message();
  EXPECT_EQ(residency(device.get(), {0, 4_MiB}).value().resident_bytes, 4_MiB);
  EXPECT_TRUE(warm(device.get(), {0, kBadFrom}).has_value());
}

// Mappings of the file. Others come and go on their own: cached stacks of threads, malloc's arenas.
int count_mappings_of(const std::string& path) {
  std::ifstream maps("/proc/self/maps");
  int count = 0;
  for (std::string line; std::getline(maps, line);) {
    count += line.ends_with(path) ? 1 : 0;
  }
  return count;
}

struct FaultRow {
  sys::Call call;
  int error;
};

std::ostream& operator<<(std::ostream& out, const FaultRow& row) {
  return out << sys::name_of(row.call) << " " << errno_name(row.error);
}

class NthCallFailsTest : public ::testing::TestWithParam<FaultRow> {};

// What each function may say: an Error, "unknown", or the truth.
void run_all(int fd, std::uint64_t size_bytes) {
  const WarmOptions options{.step_bytes = 1_MiB, .threads = 2, .allow_reclaim = true};
  const Result<WarmReport> warmed = warm(fd, kWholeFile, options);
  const bool is_warm = warmed && warmed->known && warmed->bytes_resident_after == size_bytes;
  const Result<Residency> resident = residency(fd);
  if (is_warm && resident && resident->resident_known) {
    EXPECT_EQ(resident->resident_bytes, size_bytes);
  }
  const Result<ResidentExtents> extents = resident_extents(fd);
  if (is_warm && extents && extents->known) {
    EXPECT_EQ(extents->extents, (std::vector<ByteRange>{{0, size_bytes}}));
  }
  const Result<ResidencyMap> map = residency_map(fd, kWholeFile, 8);
  if (is_warm && map && map->known) {
    EXPECT_EQ(map->shares, std::vector<double>(8, 1.0));
  }
  const Result<EvictionReport> evicted = evict(fd);
  if (evicted && evicted->known && evicted->bytes_after == 0) {
    EXPECT_TRUE(evicted->remaining.empty());
  }
}

// Goal:   whichever call fails, the answer is an Error, "unknown" or right, and nothing leaks.
// Method: fail call 1, 2, 3 ... of the kind until a run meets no fault.
TEST_P(NthCallFailsTest, GivesAnErrorOrTheTruthAndLeaksNothing) {
  constexpr std::uint64_t kSize = 3_MiB + 77;
  const testing::TempDir directory;
  const std::string path = directory.write("file", testing::pattern(kSize));
  testing::make_cold(path);
  const sys::Descriptor file = sys::open_file(path.c_str(), {.write = true}).value();
  run_all(file.get(), kSize);  // Once without faults: lazily made things (iostreams) are made.
  const int descriptors = testing::count_open_descriptors();
  testing::fail_each_nth(sys::name_of(GetParam().call), [&](testing::NthFault& fault) {
    const sys::FaultPlan plan(
        {.call = GetParam().call, .nth = fault.nth, .error = GetParam().error});
    run_all(file.get(), kSize);
    fault.was_hit = plan.hits() > 0;
  });
  EXPECT_EQ(testing::count_open_descriptors(), descriptors);
  EXPECT_EQ(count_mappings_of(path), 0);
}

std::string name_of_fault(const ::testing::TestParamInfo<FaultRow>& row) {
  return std::string(sys::name_of(row.param.call)) + "_" + errno_name(row.param.error);
}

INSTANTIATE_TEST_SUITE_P(
    Calls, NthCallFailsTest,
    ::testing::Values(FaultRow{sys::Call::kStatus, EIO}, FaultRow{sys::Call::kRead, EIO},
                      FaultRow{sys::Call::kSeek, EIO}, FaultRow{sys::Call::kSyncData, EIO},
                      FaultRow{sys::Call::kAdviseFile, EINVAL},
                      FaultRow{sys::Call::kReadAhead, EINVAL},
                      FaultRow{sys::Call::kCacheStatus, EPERM},
                      FaultRow{sys::Call::kCacheStatus, ENOSYS}, FaultRow{sys::Call::kMap, ENOMEM},
                      FaultRow{sys::Call::kAdviseMemory, EFAULT},
                      FaultRow{sys::Call::kResidency, ENOMEM}, FaultRow{sys::Call::kOpen, EMFILE},
                      FaultRow{sys::Call::kFileSystem, EIO}, FaultRow{sys::Call::kDirectory, EIO}),
    name_of_fault);

}  // namespace
}  // namespace quire
