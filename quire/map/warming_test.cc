// SPDX-License-Identifier: Apache-2.0
#include "quire/map/warming.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "quire/map/residency.h"
#include "quire/sys/call.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"
#include "quire/testing/page_cache.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::kPageBytes;
using testing::TempDir;

constexpr std::uint64_t kForEver = 1'000'000'000;
constexpr std::uint64_t kFileBytes = 6_MiB + 1234;  // Several pieces, and a cut last page.
constexpr std::uint64_t kStepBytes = 1_MiB;

class WarmTest : public ::testing::Test {
 protected:
  WarmTest() { testing::make_cold(path_); }

  [[nodiscard]] int fd() const { return file_.get(); }
  [[nodiscard]] std::uint64_t resident_bytes() const {
    return residency(fd()).value().resident_bytes;
  }

  const TempDir directory_;
  const std::string path_ = directory_.write("file", testing::pattern(kFileBytes));
  const sys::Descriptor file_ = sys::open_file(path_.c_str(), {.write = true}).value();
};

TEST_F(WarmTest, AColdFileBecomesResident) {
  const WarmReport report = warm(fd()).value();
  EXPECT_EQ(report.bytes_resident_before, 0U);
  EXPECT_EQ(report.bytes_resident_after, kFileBytes);
  EXPECT_EQ(report.bytes_read, kFileBytes);
  EXPECT_EQ(report.bytes_left_out, 0U);
  EXPECT_EQ(report.pieces_reread, 0U);
  EXPECT_EQ(report.stopped, StopReason::kDone);
  EXPECT_EQ(resident_bytes(), kFileBytes);
}

TEST_F(WarmTest, WhatIsResidentIsNotReadAgain) {
  ASSERT_TRUE(warm(fd()).has_value());
  const sys::FaultPlan plan({});
  const WarmReport report = warm(fd()).value();
  EXPECT_EQ(report.bytes_read, 0U);
  EXPECT_EQ(report.steps, 0U);
  EXPECT_EQ(plan.count(sys::Call::kMap) + plan.count(sys::Call::kRead), 0U);
}

TEST_F(WarmTest, OnlyMissingStepsAreLoaded) {
  ASSERT_TRUE(warm(fd(), {2_MiB, 2_MiB}).has_value());
  const std::uint64_t before = resident_bytes();
  EXPECT_GE(before, 2_MiB);
  const WarmReport report = warm(fd(), kWholeFile, {.step_bytes = kStepBytes}).value();
  EXPECT_EQ(report.bytes_resident_before, before);
  EXPECT_EQ(report.bytes_read, kFileBytes - before);
  EXPECT_LE(report.steps, 5U);
}

TEST_F(WarmTest, HolesAreSkipped) {
  const std::string path = directory_.write("sparse", "");
  const sys::Descriptor sparse = sys::open_file(path.c_str(), {.write = true}).value();
  ASSERT_TRUE(sys::truncate_file(sparse.get(), 1_TiB).has_value());
  const std::vector<std::byte> data(1_MiB, std::byte{1});
  ASSERT_TRUE(sys::write_at(sparse.get(), data, 500_GiB).has_value());
  ASSERT_TRUE(sys::sync_data(sparse.get()).has_value());
  ASSERT_TRUE(sys::advise_file(sparse.get(), kWholeFile, sys::FileAdvice::kDontNeed).has_value());
  const sys::FaultPlan plan({});
  const WarmReport report = warm(sparse.get()).value();
  EXPECT_EQ(report.bytes_resident_after, 1_MiB);
  EXPECT_EQ(report.bytes_skipped, 1_TiB - 1_MiB);
  EXPECT_EQ(report.steps, 1U);
  EXPECT_LE(plan.count(sys::Call::kSeek), 6U);
}

TEST_F(WarmTest, ProgressRisesToTheTotal) {
  std::vector<Progress> seen;
  const WarmOptions options{.step_bytes = kStepBytes,
                            .on_progress = [&](const Progress& now) { seen.push_back(now); }};
  ASSERT_TRUE(warm(fd(), kWholeFile, options).has_value());
  ASSERT_GE(seen.size(), 7U);
  for (std::size_t i = 0; i < seen.size(); ++i) {
    EXPECT_EQ(seen[i].total_bytes, kFileBytes);
    EXPECT_GE(seen[i].done_bytes, i == 0 ? 0 : seen[i - 1].done_bytes);
  }
  EXPECT_EQ(seen.back().done_bytes, kFileBytes);
}

// Goal:   cancelling ends soon, leaves what was read, and the report adds up.
TEST_F(WarmTest, CancellingLeavesAPartialReport) {
  std::stop_source source;
  const WarmOptions options{.step_bytes = kStepBytes,
                            .threads = 1,
                            .on_progress = [&](const Progress&) { source.request_stop(); },
                            .stop = source.get_token()};
  const WarmReport report = warm(fd(), kWholeFile, options).value();
  EXPECT_EQ(report.stopped, StopReason::kCancelled);
  EXPECT_EQ(report.steps, 1U);
  EXPECT_EQ(report.bytes_read, kStepBytes);
  EXPECT_EQ(report.bytes_left_out, kFileBytes - kStepBytes);
  EXPECT_GE(report.bytes_resident_after, kStepBytes);
}

TEST_F(WarmTest, TheMemoryGuardStopsBeforeTheStepThatDoesNotFit) {
  int asked = 0;
  const WarmOptions options{
      .step_bytes = kStepBytes, .threads = 1, .headroom = [&]() -> sys::MemoryHeadroom {
        ++asked;
        return {.bytes = asked <= 2 ? 64_MiB : kStepBytes - 1,
                .is_known = true,
                .binding = "the made-up cgroup"};
      }};
  const WarmReport report = warm(fd(), kWholeFile, options).value();
  EXPECT_EQ(report.stopped, StopReason::kMemory);
  EXPECT_EQ(report.binding_limit, "the made-up cgroup");
  EXPECT_EQ(report.steps, 2U);
  EXPECT_EQ(report.bytes_left_out, kFileBytes - 2 * kStepBytes);
  EXPECT_EQ(asked, 3);
}

TEST_F(WarmTest, AnUnknownHeadroomIsNoHeadroomUnlessReclaimIsAllowed) {
  WarmOptions options{.headroom = [] { return sys::MemoryHeadroom{}; }};
  const WarmReport refused = warm(fd(), kWholeFile, options).value();
  EXPECT_EQ(refused.stopped, StopReason::kMemory);
  EXPECT_EQ(refused.bytes_left_out, kFileBytes);
  EXPECT_EQ(resident_bytes(), 0U);
  options.allow_reclaim = true;
  EXPECT_EQ(warm(fd(), kWholeFile, options).value().bytes_resident_after, kFileBytes);
}

TEST_F(WarmTest, WhatCannotBeMappedIsRead) {
  const sys::FaultPlan plan({.call = sys::Call::kMap, .times = kForEver, .error = ENOMEM});
  const WarmReport report = warm(fd()).value();
  EXPECT_EQ(report.bytes_resident_after, kFileBytes);
  EXPECT_EQ(report.pieces_reread, 3U);  // The last one is small enough to be read at once.
  EXPECT_GT(plan.count(sys::Call::kRead), 0U);
}

TEST_F(WarmTest, KernelsWithoutPopulateRead) {
  const sys::FaultPlan plan({.call = sys::Call::kAdviseMemory, .times = kForEver, .error = EINVAL});
  EXPECT_EQ(warm(fd()).value().bytes_resident_after, kFileBytes);
}

TEST_F(WarmTest, WithoutCachestatItStillWarms) {
  const sys::FaultPlan plan({.call = sys::Call::kCacheStatus, .times = kForEver, .error = ENOSYS});
  const WarmReport report = warm(fd()).value();
  EXPECT_TRUE(report.known);
  EXPECT_EQ(report.bytes_resident_after, kFileBytes);
}

TEST_F(WarmTest, SmallFilesAreReadWithoutThreadsOrMappings) {
  const std::string path = directory_.write("small", "0123456789");
  testing::make_cold(path);
  const sys::Descriptor small = sys::open_file(path.c_str(), {}).value();
  const sys::FaultPlan plan({});
  EXPECT_EQ(warm(small.get(), kWholeFile, {.allow_reclaim = true}).value().bytes_read, 10U);
  EXPECT_EQ(plan.count(sys::Call::kMap), 0U);
  EXPECT_EQ(plan.count(sys::Call::kRead), 1U);
}

TEST_F(WarmTest, AFailedReadIsAnErrorWithItsOffset) {
  const std::string path = directory_.write("small", testing::pattern(3 * kPageBytes));
  testing::make_cold(path);
  const sys::Descriptor small = sys::open_file(path.c_str(), {}).value();
  // The first read fails as a whole, then page by page: the second page is the bad one.
  const sys::FaultPlan all({.call = sys::Call::kRead, .times = kForEver, .error = EIO});
  const Result<WarmReport> failed = warm(small.get(), kWholeFile, {.allow_reclaim = true});
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().code(), std::errc::io_error);
  EXPECT_NE(failed.error().message().find("offset 0, 4096 bytes"), std::string::npos)
      << failed.error().message();
  EXPECT_NE(failed.error().message().find(path), std::string::npos);
}

TEST_F(WarmTest, AReadErrorThatPassesIsNoError) {
  const std::string path = directory_.write("small", testing::pattern(3 * kPageBytes));
  testing::make_cold(path);
  const sys::Descriptor small = sys::open_file(path.c_str(), {}).value();
  const sys::FaultPlan once({.call = sys::Call::kRead, .error = EIO});
  const WarmReport report = warm(small.get(), kWholeFile, {.allow_reclaim = true}).value();
  EXPECT_EQ(report.bytes_resident_after, 3 * kPageBytes);
}

// Goal:   a file that is cut while it is warmed is an Error, not a signal and not a hang.
TEST_F(WarmTest, TruncationUnderwayIsAnError) {
  const WarmOptions options{
      .step_bytes = kStepBytes, .threads = 1, .on_progress = [&](const Progress&) {
        QUIRE_CHECK(sys::truncate_file(fd(), 100).has_value());
      }};
  const Result<WarmReport> report = warm(fd(), kWholeFile, options);
  ASSERT_FALSE(report.has_value());
  EXPECT_EQ(report.error().code(), Errc::kTruncated);
}

TEST_F(WarmTest, OptionsOutsideTheirBoundsAreErrors) {
  for (const WarmOptions& options : {WarmOptions{.step_bytes = 0}, WarmOptions{.step_bytes = 5000},
                                     WarmOptions{.step_bytes = 512}, WarmOptions{.threads = 0},
                                     WarmOptions{.threads = kWarmThreadsMax + 1}}) {
    EXPECT_EQ(warm(fd(), kWholeFile, options).error().code(), Errc::kOutOfRange);
  }
  EXPECT_EQ(warm(fd(), {kFileBytes, 1}).error().code(), Errc::kOutOfRange);
}

TEST_F(WarmTest, EmptyRangesAndFilesOfProcAreDoneAtOnce) {
  EXPECT_EQ(warm(fd(), {10, 0}).value().size_bytes, 0U);
  const sys::Descriptor proc = sys::open_file("/proc/self/status", {}).value();
  EXPECT_EQ(warm(proc.get()).value().stopped, StopReason::kDone);
}

TEST_F(WarmTest, AFileThatClaimsMoreThanItHasIsDoneAtItsEnd) {
  const char* const path = "/sys/kernel/mm/transparent_hugepage/enabled";
  const sys::Outcome<sys::Descriptor> claims = sys::open_file(path, {});
  if (!claims) {
    GTEST_SKIP() << path << ": " << errno_name(claims.error().value);
  }
  EXPECT_TRUE(warm(claims->get()).has_value());  // 4096 bytes by fstat, a dozen by read.
}

TEST_F(WarmTest, AStrangerWarmsAndSaysThatHeCannotTell) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "changing the user: not root";
  }
  const sys::Descriptor readable = sys::open_file(path_.c_str(), {}).value();
  // One piece: a child of a process with threads should not start some.
  const int exit_code = testing::run_as_nobody([&] {
    const WarmReport report = warm(readable.get(), {0, 1_MiB}, {.allow_reclaim = true}).value();
    return !report.known && !report.why_unknown.empty() && report.bytes_read == 1_MiB ? 0 : 1;
  });
  EXPECT_EQ(exit_code, 0);
  EXPECT_EQ(residency(fd(), {0, 1_MiB}).value().resident_bytes, 1_MiB);
}

// --- populate ------------------------------------------------------------------------------------

class Pages {
 public:
  Pages(std::size_t length_bytes, int fd)
      : length_bytes_(length_bytes),
        address_(mmap(nullptr, length_bytes, PROT_READ | PROT_WRITE,
                      fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0)) {
    QUIRE_CHECK(address_ != MAP_FAILED);
  }
  ~Pages() { munmap(address_, length_bytes_); }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;

  [[nodiscard]] std::span<std::byte> bytes() const {
    return {static_cast<std::byte*>(address_), length_bytes_};
  }
  [[nodiscard]] std::size_t resident_count() const {
    std::vector<unsigned char> bits(length_bytes_ / kPageBytes);
    QUIRE_CHECK_EQ(mincore(address_, length_bytes_, bits.data()), 0);
    return static_cast<std::size_t>(
        std::count_if(bits.begin(), bits.end(), [](unsigned char bit) { return (bit & 1) != 0; }));
  }

 private:
  std::size_t length_bytes_;
  void* address_;
};

TEST(PopulateTest, EveryPageIsThereAfterwards) {
  const Pages pages(4_MiB, -1);
  const PopulateReport report =
      populate(pages.bytes(), PopulateAccess::kWrite, {.step_bytes = kStepBytes}).value();
  EXPECT_EQ(report.bytes_populated, 4_MiB);
  EXPECT_EQ(report.steps, 4U);
  EXPECT_EQ(pages.resident_count(), 4_MiB / kPageBytes);
}

// Goal:   where a touch would kill, the Error names the first such page.
TEST(PopulateTest, PagesPastTheEndOfTheFileAreAnErrorWithTheOffset) {
  const TempDir directory;
  const std::string path = directory.write("file", testing::pattern(300 * kPageBytes + 1));
  const sys::Descriptor file = sys::open_file(path.c_str(), {.write = true}).value();
  const Pages pages(1000 * kPageBytes, file.get());
  for (const PopulateAccess access : {PopulateAccess::kRead, PopulateAccess::kWrite}) {
    const Result<PopulateReport> report = populate(pages.bytes(), access);
    ASSERT_FALSE(report.has_value());
    EXPECT_EQ(report.error().code(), Errc::kFault);
    EXPECT_EQ(report.error().subject(), describe(ByteRange{301 * kPageBytes, kPageBytes}));
  }
  EXPECT_TRUE(populate(pages.bytes().first(301 * kPageBytes), PopulateAccess::kRead).has_value());
}

TEST(PopulateTest, CancellingAndTheGuardLeaveAPartialReport) {
  const Pages pages(4_MiB, -1);
  std::stop_source source;
  const PopulateReport cancelled =
      populate(pages.bytes(), PopulateAccess::kRead,
               {.step_bytes = kStepBytes,
                .on_progress = [&](const Progress&) { source.request_stop(); },
                .stop = source.get_token()})
          .value();
  EXPECT_EQ(cancelled.stopped, StopReason::kCancelled);
  EXPECT_EQ(cancelled.bytes_populated, kStepBytes);
  EXPECT_EQ(cancelled.bytes_left_out, 3_MiB);
  const PopulateReport guarded =
      populate(
          pages.bytes(), PopulateAccess::kWrite,
          {.headroom =
               [] { return sys::MemoryHeadroom{.bytes = 1, .is_known = true, .binding = "b"}; }})
          .value();
  EXPECT_EQ(guarded.stopped, StopReason::kMemory);
  EXPECT_EQ(guarded.bytes_populated, 0U);
}

TEST(PopulateTest, AnOlderKernelIsNamedAsUnsupported) {
  const Pages pages(1_MiB, -1);
  const sys::FaultPlan plan({.call = sys::Call::kAdviseMemory, .times = kForEver, .error = EINVAL});
  EXPECT_EQ(populate(pages.bytes(), PopulateAccess::kRead).error().code(), Errc::kUnsupported);
}

TEST(PopulateTest, PagesThatMayNotBeWrittenAreTheCallersMistakeNotTheKernelsAge) {
  const Pages pages(1_MiB, -1);
  ASSERT_EQ(mprotect(pages.bytes().data(), 1_MiB, PROT_READ), 0);
  const Result<PopulateReport> report = populate(pages.bytes(), PopulateAccess::kWrite);
  ASSERT_FALSE(report.has_value());
  EXPECT_NE(report.error().code(), Errc::kUnsupported);
}

TEST(PopulateTest, AnEmptySpanIsDone) {
  EXPECT_EQ(populate({}, PopulateAccess::kRead).value().bytes_populated, 0U);
}

}  // namespace
}  // namespace quire
