// SPDX-License-Identifier: Apache-2.0
//
// The hard disk against arithmetic that can be done by hand.
#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "quire/base/prng.h"
#include "quire/sim/internal/hdd_geometry.h"
#include "quire/sim/sim_disk.h"

namespace quire::sim {
namespace {

using internal::HddGeometry;

constexpr std::uint64_t kMs = kNanosecondsPerMillisecond;
constexpr std::uint64_t kSector = 4096;
constexpr std::uint64_t kRotationNs = 10 * kMs;
constexpr std::uint64_t kControllerNs = kMs / 10;

// A rotation of exactly 10 ms, 0.1 ms per command, a flush that costs nothing beyond the writing.
DiskModel round_model(const std::string& more = "") {
  return parse_disk_model(
             "hdd,rpm=6000,seek_track_ms=1,seek_avg_ms=9,heads=2,zones=1,outer_mb_s=100,"
             "inner_mb_s=100,capacity_gb=10,controller_us=100,interface_mb_s=400" +
             more)
      .value();
}

std::uint64_t link_ns(std::uint64_t bytes) {
  return transfer_ns(bytes, 400'000'000);
}

DiskRequest read_of(std::uint64_t offset, std::uint64_t length) {
  return {.operation = DiskOperation::kRead, .range = {offset, length}};
}
DiskRequest write_of(std::uint64_t offset, std::uint64_t length) {
  return {.operation = DiskOperation::kWrite, .range = {offset, length}};
}
constexpr DiskRequest kFlush{.operation = DiskOperation::kFlush, .range = {0, 0}};

// Submits now and waits.
SimTime run(SimDisk& disk, const DiskRequest& request) {
  disk.submit(request, disk.now());
  const SimTime at = disk.next_completion()->at;
  disk.check_invariants();
  return at;
}

TEST(SimDiskHddTest, AReadIsCommandPlusWaitPlusTransfer) {
  SimDisk disk(round_model());
  const HddGeometry geometry(disk.model());
  const std::uint64_t offset = 100 * kSector;  // On the first track: no seek.
  const std::uint64_t passes_ns = geometry.stream_end_ns(offset + kSector);
  EXPECT_EQ(run(disk, read_of(offset, kSector)).ns, passes_ns + link_ns(kSector));
  EXPECT_EQ(disk.counters().seeks, 0U);
  EXPECT_EQ(disk.counters().rotation_ns, geometry.stream_begin_ns(offset) - kControllerNs);
}

// Goal:   the articles' arithmetic: without a buffer every write of a few bytes costs a rotation.
// Method: write one sector again and again, each write on the platter before the next. After the
//         first, write k ends exactly k rotations later, with the write cache or without it.
TEST(SimDiskHddTest, SynchronousWritesOfOneSectorTakeOneRotationEach) {
  constexpr std::uint64_t kWrites = 1000;
  for (const bool has_cache : {false, true}) {
    SimDisk disk(round_model(has_cache ? "" : ",write_cache=off"));
    const auto write_and_flush = [&] {
      const SimTime written = run(disk, write_of(0, kSector));
      return has_cache ? run(disk, kFlush) : written;
    };
    const SimTime first = write_and_flush();
    SimTime last{};
    for (std::uint64_t i = 0; i < kWrites; ++i) {
      last = write_and_flush();
    }
    EXPECT_EQ(last.ns - first.ns, kWrites * kRotationNs) << has_cache;
    EXPECT_EQ(disk.counters().medium_writes, kWrites + 1);
    EXPECT_EQ(disk.counters().seeks, 0U);
  }
}

// Goal:   writing on, sector by sector, each on the platter before the next, just misses the next
//         sector: a rotation and a sector each.
TEST(SimDiskHddTest, SynchronousAppendsTakeARotationAndASectorEach) {
  SimDisk disk(round_model());
  const HddGeometry geometry(disk.model());
  constexpr std::uint64_t kWrites = 200;
  SimTime first{};
  for (std::uint64_t i = 0; i <= kWrites; ++i) {
    run(disk, write_of(i * kSector, kSector));
    const SimTime flushed = run(disk, kFlush);
    if (i == 0) {
      first = flushed;
    } else {
      EXPECT_EQ(flushed.ns - first.ns, i * kRotationNs + geometry.stream_end_ns((i + 1) * kSector) -
                                           geometry.stream_end_ns(kSector));
    }
  }
}

// Goal:   reading on goes at the zone's rate, to the nanosecond, with requests so large that the
//         platter never waits for a command.
TEST(SimDiskHddTest, SequentialReadsRunAtTheRateOfTheZone) {
  const std::uint64_t total = 64_MiB;
  for (const std::uint64_t block : {16_KiB, 64_KiB, 1_MiB}) {
    SimDisk disk(round_model());
    const HddGeometry geometry(disk.model());
    SimTime last{};
    for (std::uint64_t offset = 0; offset < total; offset += block) {
      last = run(disk, read_of(offset, block));
    }
    // The first sector passes again one rotation after the start, because the command comes first.
    const std::uint64_t expected = kRotationNs + geometry.stream_end_ns(total) + link_ns(kSector);
    EXPECT_GE(last.ns, expected) << block;
    EXPECT_LE(last.ns, expected + kControllerNs + link_ns(block)) << block;
    EXPECT_EQ(disk.counters().rotation_ns, kRotationNs - kControllerNs);
    const double rate = static_cast<double>(total) / last.seconds();
    EXPECT_NEAR(rate, 100e6, 2.5e6) << block;
  }
}

// Goal:   with small requests the commands bind, and the platter's turns are hidden by the buffer.
TEST(SimDiskHddTest, SmallSequentialReadsRunAtTheRateOfTheController) {
  SimDisk disk(round_model());
  const SimTime first = run(disk, read_of(0, kSector));
  SimTime last{};
  constexpr std::uint64_t kReads = 4000;
  for (std::uint64_t i = 1; i <= kReads; ++i) {
    last = run(disk, read_of(i * kSector, kSector));
  }
  EXPECT_EQ(last.ns - first.ns, kReads * (kControllerNs + link_ns(kSector)));
}

// Goal:   without read-ahead each request, coming a command late, waits for a whole turn.
TEST(SimDiskHddTest, WithoutReadAheadEverySequentialReadMissesARotation) {
  SimDisk disk(round_model(",read_ahead_kb=0"));
  const HddGeometry geometry(disk.model());
  const SimTime first = run(disk, read_of(0, kSector));
  SimTime last{};
  constexpr std::uint64_t kReads = 100;
  for (std::uint64_t i = 1; i <= kReads; ++i) {
    last = run(disk, read_of(i * kSector, kSector));
  }
  EXPECT_EQ(last.ns - first.ns, kReads * kRotationNs + geometry.stream_begin_ns(kReads * kSector));
}

TEST(SimDiskHddTest, WhatWasReadAheadCostsCommandAndLinkAlone) {
  SimDisk disk(round_model());
  run(disk, read_of(0, kSector));
  ASSERT_FALSE(disk.next_completion(disk.now().plus(5 * kRotationNs)));  // 1 MiB passes by.
  const SimTime asked = disk.now();
  EXPECT_EQ(run(disk, read_of(kSector, 64_KiB)).ns - asked.ns, kControllerNs + link_ns(64_KiB));
  EXPECT_EQ(disk.counters().read_ahead_hits, 1U);
}

TEST(SimDiskHddTest, AReadThatEndsBeyondWhatWasReadAheadGoesOnFromThere) {
  SimDisk disk(round_model());
  const HddGeometry geometry(disk.model());
  run(disk, read_of(0, kSector));
  ASSERT_FALSE(disk.next_completion(disk.now().plus(5 * kRotationNs)));
  const std::uint64_t limit = kSector + 1_MiB;  // Read and read ahead.
  const SimTime decided = disk.now().plus(kControllerNs);
  const std::uint64_t wait_ns = geometry.rotational_wait_ns(limit, decided);
  EXPECT_EQ(run(disk, read_of(limit - kSector, 2 * kSector)).ns,
            decided.plus(wait_ns).ns + geometry.stream_end_ns(limit + kSector) -
                geometry.stream_begin_ns(limit) + link_ns(kSector));
}

TEST(SimDiskHddTest, SequentialCachedWritesRunAtTheRateOfTheZone) {
  SimDisk disk(round_model());
  const HddGeometry geometry(disk.model());
  const std::uint64_t total = 256_MiB;  // Four times the cache.
  for (std::uint64_t offset = 0; offset < total; offset += 1_MiB) {
    run(disk, write_of(offset, 1_MiB));
  }
  const SimTime flushed = run(disk, kFlush);
  EXPECT_EQ(flushed.ns, kRotationNs + geometry.stream_end_ns(total));
  EXPECT_EQ(disk.unflushed_bytes(), 0U);
}

TEST(SimDiskHddTest, CachedWritesEndWhenTheCacheHasThem) {
  SimDisk disk(round_model());
  EXPECT_EQ(run(disk, write_of(5_GiB, 64_KiB)).ns, kControllerNs + link_ns(64_KiB));
  EXPECT_EQ(disk.unflushed_bytes(), 64_KiB);
  EXPECT_EQ(run(disk, kFlush).ns % kRotationNs,
            HddGeometry(disk.model()).stream_end_ns(5_GiB + 64_KiB) % kRotationNs);
  EXPECT_EQ(disk.unflushed_bytes(), 0U);
}

TEST(SimDiskHddTest, AFlushOfNothingIsACommand) {
  SimDisk disk(round_model(",flush_us=50"));
  EXPECT_EQ(run(disk, kFlush).ns, kControllerNs + 50'000);
  SimDisk uncached(round_model(",flush_us=50,write_cache=off"));
  EXPECT_EQ(run(uncached, kFlush).ns, kControllerNs);
}

TEST(SimDiskHddTest, WritesToOnePlaceInTheCacheReachThePlatterOnce) {
  SimDisk disk(round_model());
  // The first write goes out at once and takes a rotation; the others meet in the cache meanwhile.
  run(disk, write_of(0, kSector));
  for (int i = 0; i < 50; ++i) {
    run(disk, write_of(kSector, kSector));
  }
  run(disk, kFlush);
  EXPECT_EQ(disk.counters().writes, 51U);
  EXPECT_EQ(disk.counters().medium_writes, 2U);
}

// One zone, so that a random byte is on a random cylinder and the curve's mean is the data sheet's.
// 3,000 reads: the mean of a uniform wait is within 2 % of its half with more than 4 sigma.
double mean_random_read_ns(std::uint64_t depth, std::uint64_t read_count) {
  SimDisk disk(round_model(",read_ahead_kb=0"));
  Prng prng(20);
  const std::uint64_t sectors = disk.model().capacity_bytes / kSector;
  std::uint64_t submitted = 0;
  const auto submit = [&] {
    disk.submit(read_of(prng.below(sectors) * kSector, kSector), disk.now());
    ++submitted;
  };
  while (submitted < depth) {
    submit();
  }
  SimTime last{};
  for (std::uint64_t completed = 0; completed < read_count; ++completed) {
    last = disk.next_completion()->at;
    if (submitted < read_count) {
      submit();
    }
  }
  return static_cast<double>(last.ns) / static_cast<double>(read_count);
}

TEST(SimDiskHddTest, ARandomReadTakesASeekAndHalfARotation) {
  const double sector_ns = 10e6 / 268;
  const double expected = 0.1e6 + 9e6 + 5e6 + sector_ns + static_cast<double>(link_ns(kSector));
  EXPECT_NEAR(mean_random_read_ns(1, 3000), expected, 0.02 * expected);
}

// Goal:   a queue lets the disk choose, and the deeper it is the better the choice.
TEST(SimDiskHddTest, AQueueGainsByChoosingTheNearest) {
  const double alone = mean_random_read_ns(1, 3000);
  double previous = alone;
  for (const std::uint64_t depth : {4U, 16U, 32U}) {
    const double queued = mean_random_read_ns(depth, 3000);
    EXPECT_LT(queued, previous) << depth;
    previous = queued;
  }
  EXPECT_GT(alone / previous, 2.0);
  EXPECT_LT(alone / previous, 4.0);
  // Beyond the disk's own queue nothing more is seen by the choice.
  EXPECT_NEAR(mean_random_read_ns(256, 3000), previous, 0.1 * previous);
}

// Goal:   the nearest-first choice starves nobody.
// Method: a stream of neighbouring reads keeps the queue full; one far read is among them.
TEST(SimDiskHddTest, AFarReadIsServedWithinASecondOrSo) {
  SimDisk disk(round_model(",read_ahead_kb=0"));
  Prng prng(4);
  const auto near = [&] { return read_of(prng.below(500) * kSector, kSector); };
  for (int i = 0; i < 16; ++i) {
    disk.submit(near(), disk.now());
  }
  const OperationId far = disk.submit(read_of(9_GiB, kSector), disk.now());
  int served_before = 0;
  while (disk.next_completion()->id != far) {
    disk.submit(near(), disk.now());
    ++served_before;
  }
  EXPECT_GT(served_before, 100);
  EXPECT_LE(disk.now().ns, kNanosecondsPerSecond + 40 * kMs);
}

}  // namespace
}  // namespace quire::sim
