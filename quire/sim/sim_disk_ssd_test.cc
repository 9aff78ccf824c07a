// SPDX-License-Identifier: Apache-2.0
//
// Flash disks against arithmetic that can be done by hand, and against their data sheets.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "quire/base/prng.h"
#include "quire/sim/sim_disk.h"

namespace quire::sim {
namespace {

constexpr std::uint64_t kUs = kNanosecondsPerMicrosecond;
constexpr std::uint64_t kPage = 16_KiB;
constexpr std::uint64_t kBlock = 4_KiB;

// Round numbers: 8 units, 100 us a read, 400 us a program, 1 us a command, 4.096 us a 4 KiB block.
DiskModel round_model(const std::string& more = "") {
  return parse_disk_model(
             "nvme,units=8,page=16384,read_us=100,program_us=400,controller_us=1,"
             "interface_mb_s=1000,read_latency_us=0,write_latency_us=10,flush_us=500,"
             "queue_depth=64,capacity_gb=1" +
             more)
      .value();
}
constexpr std::uint64_t kBlockLinkNs = 4096;

DiskRequest read_of(std::uint64_t offset, std::uint64_t length) {
  return {.operation = DiskOperation::kRead, .range = {offset, length}};
}
DiskRequest write_of(std::uint64_t offset, std::uint64_t length) {
  return {.operation = DiskOperation::kWrite, .range = {offset, length}};
}
constexpr DiskRequest kFlush{.operation = DiskOperation::kFlush, .range = {0, 0}};

std::uint64_t run(SimDisk& disk, const DiskRequest& request) {
  const SimTime asked = disk.now();
  disk.submit(request, asked);
  const SimTime at = disk.next_completion()->at;
  disk.check_invariants();
  return at.ns - asked.ns;
}

// Keeps `depth` operations under way until `count` are done; operations per second.
template <typename Next>
double rate_at_depth(SimDisk& disk, std::uint64_t depth, std::uint64_t count, Next&& next) {
  std::uint64_t submitted = 0;
  for (; submitted < std::min(depth, count); ++submitted) {
    disk.submit(next(submitted), disk.now());
  }
  for (std::uint64_t completed = 0; completed < count; ++completed) {
    EXPECT_TRUE(disk.next_completion().has_value());
    if (submitted < count) {
      disk.submit(next(submitted++), disk.now());
    }
  }
  return static_cast<double>(count) / disk.now().seconds();
}

TEST(SimDiskSsdTest, AReadIsCommandPlusPagePlusLink) {
  SimDisk disk(round_model());
  EXPECT_EQ(run(disk, read_of(0, kBlock)), 1 * kUs + 100 * kUs + kBlockLinkNs);
}

TEST(SimDiskSsdTest, PagesOfOneReadAreReadTogether) {
  SimDisk disk(round_model());
  EXPECT_EQ(run(disk, read_of(0, 8 * kPage)), 1 * kUs + 100 * kUs + 8 * kPage);
  // Twice as many pages as units: the link works on the first half during the second.
  SimDisk other(round_model());
  EXPECT_EQ(run(other, read_of(0, 16 * kPage)), 1 * kUs + 100 * kUs + 16 * kPage);
}

// Goal:   operations per second grow with the depth exactly until every unit works.
// Method: reads that go round the units; at depth d <= units nothing waits for a unit.
TEST(SimDiskSsdTest, DepthScalesUpToTheNumberOfUnits) {
  constexpr std::uint64_t kRounds = 400;
  const auto around = [](std::uint64_t i) { return read_of(i % 8 * kPage, kBlock); };
  const double service_s = 105.096e-6;
  for (const std::uint64_t depth : {1U, 2U, 4U}) {
    SimDisk disk(round_model());
    // A later command waits for its turn at the controller only when it comes with others.
    EXPECT_NEAR(rate_at_depth(disk, depth, kRounds * depth, around),
                static_cast<double>(depth) / service_s,
                0.01 * static_cast<double>(depth) / service_s)
        << depth;
  }
  for (const std::uint64_t depth : {16U, 64U}) {
    SimDisk disk(round_model());
    EXPECT_NEAR(rate_at_depth(disk, depth, kRounds * depth, around), 8 / 100e-6, 0.01 * 8 / 100e-6)
        << depth;
  }
}

TEST(SimDiskSsdTest, ReadsOfOnePageWaitForOneAnother) {
  SimDisk disk(round_model());
  const auto same = [](std::uint64_t) { return read_of(0, kBlock); };
  EXPECT_NEAR(rate_at_depth(disk, 32, 1000, same), 1 / 100e-6, 0.01 / 100e-6);
}

TEST(SimDiskSsdTest, TheQueueOfTheDiskBoundsWhatADeepHostGains) {
  SimDisk disk(round_model(",queue_depth=2"));
  const auto around = [](std::uint64_t i) { return read_of(i % 8 * kPage, kBlock); };
  EXPECT_NEAR(rate_at_depth(disk, 32, 1000, around), 2 / 105.1e-6, 0.02 * 2 / 105.1e-6);
}

TEST(SimDiskSsdTest, ACachedWriteEndsInTheCacheAndAFlushProgramsIt) {
  SimDisk disk(round_model());
  EXPECT_EQ(run(disk, write_of(0, kBlock)), 1 * kUs + kBlockLinkNs + 10 * kUs);
  EXPECT_EQ(disk.unflushed_bytes(), kBlock);
  EXPECT_EQ(run(disk, kFlush), 1 * kUs + 400 * kUs + 500 * kUs);
  EXPECT_EQ(disk.unflushed_bytes(), 0U);
  EXPECT_EQ(disk.counters().medium_writes, 1U);
}

TEST(SimDiskSsdTest, WithoutACacheAWriteIsAProgram) {
  SimDisk disk(round_model(",write_cache=off"));
  EXPECT_EQ(run(disk, write_of(0, kBlock)), 1 * kUs + kBlockLinkNs + 400 * kUs);
  EXPECT_EQ(run(disk, kFlush), 1 * kUs);
}

TEST(SimDiskSsdTest, AFullCacheTakesWritesAtTheRateOfProgramming) {
  SimDisk disk(round_model(",cache_mb=1"));
  const double programs_per_s = 8 / 400e-6;
  const auto next = [](std::uint64_t i) { return write_of(i * kPage, kPage); };
  const double rate = rate_at_depth(disk, 4, 8000, next);
  EXPECT_NEAR(rate, programs_per_s, 0.02 * programs_per_s);
}

TEST(SimDiskSsdTest, AWriteLargerThanTheCacheIsTakenWhole) {
  SimDisk disk(round_model(",cache_mb=1"));
  run(disk, write_of(0, kBlock));
  run(disk, write_of(0, 4_MiB));
  run(disk, kFlush);
  EXPECT_EQ(disk.unflushed_bytes(), 0U);
}

struct DataSheet {
  const char* model;
  double read_mb_per_s;
  double reads_per_s_depth_1;
  double reads_per_s_many;  // At the depth the maker gives it for.
  std::uint64_t many;
  double write_mb_per_s;
  double writes_per_s_depth_1;
};

// Goal:   the presets do what the sources of their parameters say the disks do, to 10 %.
TEST(SimDiskSsdTest, PresetsMeetTheDataSheetsTheyAreTakenFrom) {
  for (const DataSheet& sheet : {DataSheet{"ssd", 560, 13'000, 98'000, 32, 530, 36'000},
                                 DataSheet{"nvme", 3500, 19'000, 600'000, 128, 3300, 60'000}}) {
    const DiskModel model = parse_disk_model(sheet.model).value();
    Prng prng(7);
    const auto random = [&](DiskOperation operation) {
      return [&prng, operation](std::uint64_t) {
        return DiskRequest{.operation = operation, .range = {prng.below(1 << 22) * kBlock, kBlock}};
      };
    };
    const auto sequential = [](DiskOperation operation) {
      return [operation](std::uint64_t i) {
        return DiskRequest{.operation = operation, .range = {i * 1_MiB, 1_MiB}};
      };
    };
    SimDisk reads(model);
    EXPECT_NEAR(rate_at_depth(reads, 8, 1000, sequential(DiskOperation::kRead)) * 1.048576,
                sheet.read_mb_per_s, 0.1 * sheet.read_mb_per_s);
    SimDisk lone(model);
    EXPECT_NEAR(rate_at_depth(lone, 1, 3000, random(DiskOperation::kRead)),
                sheet.reads_per_s_depth_1, 0.1 * sheet.reads_per_s_depth_1);
    SimDisk deep(model);
    EXPECT_NEAR(rate_at_depth(deep, sheet.many, 60'000, random(DiskOperation::kRead)),
                sheet.reads_per_s_many, 0.1 * sheet.reads_per_s_many);
    SimDisk writes(model);
    EXPECT_NEAR(rate_at_depth(writes, 8, 1000, sequential(DiskOperation::kWrite)) * 1.048576,
                sheet.write_mb_per_s, 0.1 * sheet.write_mb_per_s);
    SimDisk lone_write(model);
    EXPECT_NEAR(rate_at_depth(lone_write, 1, 1000, random(DiskOperation::kWrite)),
                sheet.writes_per_s_depth_1, 0.1 * sheet.writes_per_s_depth_1);
  }
}

}  // namespace
}  // namespace quire::sim
