// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/measure.h"

#include <gtest/gtest.h>
#include <signal.h>

#include <array>
#include <vector>

#include "quire/base/units.h"
#include "quire/compare/internal/counters.h"
#include "quire/sys/file.h"
#include "quire/testing/disk.h"
#include "quire/testing/failing_disk.h"
#include "quire/testing/temp_dir.h"

namespace quire::compare {
namespace {

using testing::TempDir;

constexpr std::uint64_t kFileBytes = 16_MiB;
// The kernel counts pages of the program itself, too, when they have to be read meanwhile.
constexpr std::uint64_t kProgramBytesMax = 1_MiB;

Target make_target(const TempDir& directory) {
  CompareOptions options;
  options.directory = directory.path();
  options.scratch_bytes = kFileBytes;
  return Target::make_scratch(options, 0, {}).value();
}

Cell cell_of(Pattern pattern, Path path, State state) {
  Cell cell;
  cell.pattern = pattern;
  cell.path = path;
  cell.state = state;
  cell.working_set_bytes = kFileBytes;
  cell.block_bytes = pattern == Pattern::kSequentialRead ? 1_MiB : 4096;
  return cell;
}

class MeasureTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!target_.is_cache_visible()) {
      GTEST_SKIP() << "cachestat: this file system or kernel does not tell";
    }
  }

  Result<RoundReport> measure(const Cell& cell, double seconds = 60,
                              const MemoryBound* bound = nullptr) {
    return run_in_worker(
        [&] { return measure_round(cell, target_, {.index = 0, .seconds = seconds}, bound); },
        {.subject = "a cell", .timeout_s = 100, .bound = bound});
  }

  const TempDir directory_;
  const Target target_ = make_target(directory_);
};

TEST_F(MeasureTest, AColdScanReadsTheFileFromTheDeviceOnce) {
  const auto report =
      measure(cell_of(Pattern::kSequentialRead, Path::kReadWriteLarge, State::kCold));
  ASSERT_TRUE(report.has_value()) << report.error().message();
  const Round& round = report->round;
  EXPECT_EQ(round.verified_cold, true);
  EXPECT_EQ(round.bytes, kFileBytes);
  EXPECT_EQ(round.system_calls, kFileBytes / 1_MiB);
  EXPECT_EQ(round.cache_before_bytes, 0u);
  EXPECT_EQ(round.cache_left_bytes, kFileBytes);
  if (!round.device_read_bytes) {
    GTEST_SKIP() << "/proc/self/io: not to be read";
  }
  EXPECT_GE(round.device_read_bytes, kFileBytes);
  EXPECT_LE(round.device_read_bytes, kFileBytes + kProgramBytesMax);
}

TEST_F(MeasureTest, AWarmScanReadsNothingFromTheDevice) {
  const auto report = measure(cell_of(Pattern::kSequentialRead, Path::kMapDefault, State::kWarm));
  ASSERT_TRUE(report.has_value()) << report.error().message();
  const Round& round = report->round;
  EXPECT_EQ(round.cache_before_bytes, kFileBytes);
  EXPECT_LE(round.device_read_bytes.value_or(0), kProgramBytesMax);
  EXPECT_GT(round.minor_faults, 0u);
  EXPECT_EQ(round.verified_cold, std::nullopt);
}

TEST_F(MeasureTest, APageThatIsMissingIsAMajorFaultOfAMapping) {
  const auto report = measure(cell_of(Pattern::kRandomRead, Path::kMapAdvised, State::kCold));
  ASSERT_TRUE(report.has_value()) << report.error().message();
  EXPECT_GT(report->round.major_faults, 0u);
  EXPECT_EQ(report->round.system_calls, 0u);
  ASSERT_TRUE(report->round.latency.has_value());
  EXPECT_EQ(report->round.latency->operations, report->round.operations);
}

TEST_F(MeasureTest, DirectReadsAreSeenToBeDirect) {
  for (const Path path : {Path::kDirect, Path::kDirectQueued}) {
    const auto report = measure(cell_of(Pattern::kRandomRead, path, State::kCold));
    if (!report) {
      GTEST_SKIP() << "direct I/O: " << report.error().message();
    }
    EXPECT_EQ(report->round.verified_direct, true) << name_of(path);
    EXPECT_EQ(report->round.cache_left_bytes, 0u) << name_of(path);
  }
}

TEST_F(MeasureTest, PagedReadsLeaveThePageCacheEmpty) {
  for (const Path path : {Path::kPaged, Path::kPagedHandler, Path::kPagedPrefetched}) {
    Cell cell = cell_of(Pattern::kRandomRead, path, State::kCold);
    cell.depth = path == Path::kPagedPrefetched ? 8 : 1;
    const auto report = measure(cell);
    if (!report && report.error().code() == Errc::kUnsupported) {
      GTEST_SKIP() << report.error().message();
    }
    ASSERT_TRUE(report.has_value()) << report.error().message();
    const Round& round = report->round;
    EXPECT_EQ(round.verified_cold, true) << name_of(path);
    EXPECT_EQ(round.verified_direct, true) << name_of(path);
    EXPECT_EQ(round.cache_left_bytes, 0u) << name_of(path);
    EXPECT_EQ(round.system_calls, std::nullopt) << name_of(path);
    ASSERT_TRUE(round.engine.has_value()) << name_of(path);
    EXPECT_GT(round.engine->faults, 0u) << name_of(path);
    EXPECT_EQ(round.engine->evicted, 0u) << name_of(path);
    const std::uint64_t device_bytes = round.device_read_bytes.value_or(round.engine->read_bytes);
    EXPECT_GE(device_bytes, round.engine->read_bytes) << name_of(path);
    EXPECT_LE(device_bytes, round.engine->read_bytes + kProgramBytesMax) << name_of(path);
    ASSERT_TRUE(report->engine.has_value()) << name_of(path);
  }
}

TEST_F(MeasureTest, AWarmPagedRoundReadsNothing) {
  const auto report = measure(cell_of(Pattern::kSequentialRead, Path::kPaged, State::kWarm));
  if (!report && report.error().code() == Errc::kUnsupported) {
    GTEST_SKIP() << report.error().message();
  }
  ASSERT_TRUE(report.has_value()) << report.error().message();
  EXPECT_EQ(report->round.cache_before_bytes, 0u);
  EXPECT_LE(report->round.device_read_bytes.value_or(0), kProgramBytesMax);
  EXPECT_EQ(report->round.engine.value().reads, 0u);
}

// Goal:   the pager's budget and everything beside it fit into the limit of the process.
TEST_F(MeasureTest, APagerStaysWithinTheLimitOfItsProcess) {
  const auto bound = MemoryBound::make(MemoryBound::kLimitBytesMin);
  if (!bound) {
    GTEST_SKIP() << bound.error().message();
  }
  for (const Pattern pattern : {Pattern::kRandomRead, Pattern::kRandomUpdate}) {
    Cell cell = cell_of(pattern, Path::kPaged, State::kWarm);
    cell.memory_bytes = MemoryBound::kLimitBytesMin;
    cell.exceeds_memory = true;
    cell.durability = is_write(pattern) ? DurabilityChoice::kAtEnd : DurabilityChoice::kNone;
    const auto report = measure(cell, 0.3, &*bound);
    if (!report && report.error().code() == Errc::kUnsupported) {
      GTEST_SKIP() << report.error().message();
    }
    ASSERT_TRUE(report.has_value()) << report.error().message();
    ASSERT_TRUE(report->round.engine && report->engine);
    EXPECT_LT(report->engine->memory_bytes, MemoryBound::kLimitBytesMin);
    EXPECT_LE(report->round.engine->memory_taken_bytes_max, report->engine->memory_bytes);
    EXPECT_GT(report->round.engine->evicted, 0u);
    EXPECT_EQ(report->round.cache_left_bytes, 0u);
    EXPECT_EQ(bound->killed_processes().value_or(0), 0u);
  }
}

TEST_F(MeasureTest, DropBehindLeavesNextToNothing) {
  const auto report =
      measure(cell_of(Pattern::kSequentialRead, Path::kBufferedDropBehind, State::kCold));
  ASSERT_TRUE(report.has_value()) << report.error().message();
  EXPECT_LT(report->round.cache_left_bytes.value(), kFileBytes / 2);
}

TEST_F(MeasureTest, AWorkingSetBeyondTheLimitStaysWithinIt) {
  const auto bound = MemoryBound::make(MemoryBound::kLimitBytesMin);
  if (!bound) {
    GTEST_SKIP() << bound.error().message();
  }
  Cell cell = cell_of(Pattern::kSequentialRead, Path::kReadWriteLarge, State::kCold);
  cell.memory_bytes = MemoryBound::kLimitBytesMin;
  const auto report = measure(cell, 60, &*bound);
  ASSERT_TRUE(report.has_value()) << report.error().message();
  EXPECT_EQ(report->round.bytes, kFileBytes);
  EXPECT_LT(report->round.cache_left_bytes.value(), MemoryBound::kLimitBytesMin);
}

TEST_F(MeasureTest, ATruncatedFileEndsTheCellOfAMapping) {
  const Cell cell = cell_of(Pattern::kSequentialRead, Path::kMapDefault, State::kCold);
  ASSERT_TRUE(sys::truncate_file(target_.fd(), kFileBytes / 2).has_value());
  const auto report = run_in_worker(
      [&] {
        signal(SIGBUS, SIG_DFL);  // A sanitizer has a handler of its own.
        return measure_round(cell, target_, {.index = 0, .seconds = 60, .seed = 1}, nullptr);
      },
      {.subject = "a cell"});
  ASSERT_FALSE(report.has_value());
  EXPECT_NE(report.error().cause().find("SIGBUS"), std::string::npos) << report.error().message();
}

TEST_F(MeasureTest, BytesThatAreNotThoseOfTheScratchFileAreAnError) {
  const std::vector<std::byte> wrong(kFileBytes, std::byte{0xee});
  ASSERT_TRUE(sys::write_at(target_.fd(), wrong, 0).has_value());
  const auto report = measure(cell_of(Pattern::kRandomRead, Path::kReadWriteSmall, State::kCold));
  ASSERT_FALSE(report.has_value());
  EXPECT_EQ(report.error().code(), Errc::kCorrupt);
}

TEST_F(MeasureTest, RoundsOfOneIndexAskForTheSamePagesOnEveryPath) {
  const auto pages = [&](Path path, int index) {
    return make_workload(cell_of(Pattern::kSkewedRead, path, State::kCold), target_,
                         {.index = index, .seconds = 1, .seed = 3})
        .pages;
  };
  EXPECT_EQ(pages(Path::kMapDefault, 1), pages(Path::kDirectQueued, 1));
  EXPECT_NE(pages(Path::kMapDefault, 1), pages(Path::kMapDefault, 2));
}

// A runner that only remembers with which draws it was run.
class RememberingRunner final : public PathRunner {
 public:
  Result<void> open(const Target& /*target*/, const Workload& work) override {
    work_ = &work;
    return {};
  }
  Result<void> run(Tally& tally) override {
    first_draws.push_back(work_->first_draw);
    tally.operations = 100;
    tally.bytes = 409'600;
    return {};
  }
  [[nodiscard]] int fd() const noexcept override { return -1; }
  [[nodiscard]] std::string method() const override { return "remembering"; }

  std::vector<std::uint64_t> first_draws;

 private:
  const Workload* work_ = nullptr;
};

// Goal:   what is measured beyond memory is the state that the path itself leaves, on new pages.
// Method: a runner that counts: three runs of 100 operations lead in, the fourth is measured.
TEST_F(MeasureTest, APathBeyondMemoryRunsBeforeItIsMeasured) {
  Cell cell = cell_of(Pattern::kRandomRead, Path::kMapDefault, State::kWarm);
  for (const bool exceeds : {false, true}) {
    cell.exceeds_memory = exceeds;
    Workload work = make_workload(cell, target_, {.index = 0, .seconds = 1, .seed = 1});
    RememberingRunner runner;
    const auto report = measure_round(cell, target_, work, runner);
    ASSERT_TRUE(report.has_value()) << report.error().message();
    EXPECT_EQ(report->round.operations, 100u);
    EXPECT_EQ(runner.first_draws, exceeds ? (std::vector<std::uint64_t>{0, 100, 200, 300})
                                          : std::vector<std::uint64_t>{0});
  }
}

// A runner whose engine goes on reading ahead whenever nobody looks: a page of the file, each time
// that it is asked what it has read.
class ReadingOnRunner final : public PathRunner, public PathEngine {
 public:
  Result<void> open(const Target& target, const Workload& /*work*/) override {
    fd_ = target.fd();
    return {};
  }
  Result<void> run(Tally& /*tally*/) override { return {}; }
  Result<void> read_in(ByteRange /*range*/) override { return {}; }
  [[nodiscard]] EngineDetails details() const override { return {}; }
  [[nodiscard]] EngineCounts counts() const override {
    std::array<std::byte, kPatternPageBytes> page{};
    EXPECT_EQ(sys::read_at(fd_, page, ++reads_ * 4_MiB), page.size());
    return {.reads = reads_, .read_bytes = reads_ * page.size()};
  }
  [[nodiscard]] PathEngine* engine() noexcept override { return this; }
  [[nodiscard]] int fd() const noexcept override { return fd_; }
  [[nodiscard]] std::string method() const override { return "reading on"; }

 private:
  int fd_ = -1;
  mutable std::uint64_t reads_ = 0;
};

// Goal:   what an engine reads while the counters are read is never its own bytes alone: the device
//         would seem to have read fewer than it.
TEST_F(MeasureTest, WhatAnEngineHasReadTheDeviceHasReadToo) {
  const Cell cell = cell_of(Pattern::kRandomRead, Path::kPagedPrefetched, State::kCold);
  Workload work = make_workload(cell, target_, {.index = 0, .seconds = 1, .seed = 1});
  ReadingOnRunner runner;
  const auto report = measure_round(cell, target_, work, runner);
  ASSERT_TRUE(report.has_value()) << report.error().message();
  ASSERT_TRUE(report->round.engine.has_value());
  EXPECT_EQ(report->round.engine->read_bytes, kPatternPageBytes);
  if (!report->round.device_read_bytes) {
    GTEST_SKIP() << "/proc/self/io: not to be read";
  }
  EXPECT_GE(report->round.device_read_bytes, kPatternPageBytes);
}

// Goal:   a device that fails in the middle is the error of this round, with its offset.
// Method: a loop device over a file that reads with EIO from its half on.
TEST(MeasureDeviceTest, ADeviceErrorIsTheErrorOfTheRound) {
  const TempDir directory;
  const testing::FailingDisk disk(directory, 8_MiB, 4_MiB);
  if (!disk.problem().empty()) {
    GTEST_SKIP() << disk.problem();
  }
  testing::LoopDevice loop;
  if (const std::string problem = loop.attach(disk.path()); !problem.empty()) {
    GTEST_SKIP() << problem;
  }
  const Target target = Target::open_user_file(loop.path()).value();
  Cell cell = cell_of(Pattern::kSequentialRead, Path::kReadWriteLarge, State::kCold);
  cell.working_set_bytes = 8_MiB;
  const RoundRequest request{.index = 0, .seconds = 60, .seed = 1};
  const auto runner = make_runner(cell.path);
  Workload work = make_workload(cell, target, request);
  const auto report = measure_round(cell, target, work, *runner);
  ASSERT_FALSE(report.has_value());
  EXPECT_EQ(report.error().code(), std::errc::io_error);
}

TEST(CountersTest, WrittenBytesAreTheSeventhNumber) {
  EXPECT_EQ(internal::written_bytes_of("   10 1 20 3 40 5 60 7 8 9 10\n"), 60u * 512);
  EXPECT_EQ(internal::written_bytes_of("1 2 3 4 5 6"), std::nullopt);
  EXPECT_EQ(internal::written_bytes_of("1 2 3 4 5 6 x"), std::nullopt);
  EXPECT_EQ(internal::written_bytes_of(""), std::nullopt);
}

}  // namespace
}  // namespace quire::compare
