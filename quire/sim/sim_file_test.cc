// SPDX-License-Identifier: Apache-2.0
//
// The articles' arithmetic, exactly: what a buffer is worth on a disk that turns.
#include "quire/sim/sim_file.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "quire/base/prng.h"
#include "quire/sim/internal/hdd_geometry.h"

namespace quire::sim {
namespace {

using internal::HddGeometry;

constexpr std::uint64_t kMs = kNanosecondsPerMillisecond;

// 7200 rpm, one zone of 150 MB/s, everything else as the preset has it.
DiskModel one_zone_disk(const std::string& more = "") {
  return parse_disk_model("hdd,zones=1,outer_mb_s=150,inner_mb_s=150" + more).value();
}

constexpr std::uint64_t kFileBytes = 64_MiB;
constexpr std::uint64_t kMemoryBytes = 1_GiB;

// Goal:   one byte per write, each on the disk before the next: one rotation each, 120 a second at
//         7200 rpm; tens of bytes a second where the disk makers promise 150 MB.
TEST(ArticleArithmeticTest, UnbufferedOneByteWritesTakeOneRotationEach) {
  constexpr std::uint64_t kWrites = 1000;  // Within the first sector.
  for (const char* cache : {"", ",write_cache=off"}) {
    SimHost host(one_zone_disk(cache), HostModel{});
    UnbufferedFile file(host, {0, kFileBytes});
    file.write({0, 1}, SimDurability::kSync);
    const SimTime first = host.now();
    for (std::uint64_t i = 1; i <= kWrites; ++i) {
      file.write({i, 1}, SimDurability::kSync);
    }
    const std::uint64_t rotation_ns = host.disk().model().rotation_ns();
    EXPECT_EQ(rotation_ns, 8'333'333U);
    EXPECT_EQ(host.now().ns - first.ns, kWrites * rotation_ns);
    const double writes_per_s =
        static_cast<double>(kWrites) * 1e9 / static_cast<double>(host.now().ns - first.ns);
    EXPECT_NEAR(writes_per_s, 120, 0.001);
  }
}

TEST(ArticleArithmeticTest, At5400RpmItIsNinetyASecond) {
  SimHost host(one_zone_disk(",rpm=5400"), HostModel{});
  UnbufferedFile file(host, {0, kFileBytes});
  file.write({0, 1}, SimDurability::kSync);
  const SimTime first = host.now();
  for (std::uint64_t i = 1; i <= 90; ++i) {
    file.write({i, 1}, SimDurability::kSync);
  }
  EXPECT_NEAR((host.now().seconds() - first.seconds()), 1, 1e-6);
}

// Goal:   the same bytes through the page cache and one sync at the end: the rate of the zone.
TEST(ArticleArithmeticTest, BufferedBytesReachTheDiskAtTheRateOfTheZone) {
  SimHost host(one_zone_disk(), HostModel{});
  PageCache cache(host, {0, kFileBytes}, kMemoryBytes);
  BufferedFile file(cache, 0);
  constexpr std::uint64_t kRecord = 64;
  for (std::uint64_t offset = 0; offset < kFileBytes; offset += kRecord) {
    file.write({offset, kRecord});
  }
  const double written_s = host.now().seconds();
  const DiskCounters before = host.disk().counters();
  EXPECT_EQ(before.writes, 0U);  // Below a tenth of the memory nothing is written yet.
  file.sync();
  const HddGeometry geometry(host.disk().model());
  const double sync_s = host.now().seconds() - written_s;
  const double media_s = static_cast<double>(geometry.stream_end_ns(kFileBytes)) / 1e9;
  EXPECT_GE(sync_s, media_s);
  EXPECT_LE(sync_s, media_s + 0.010);  // One wait for the first sector, at most, and commands.
  EXPECT_NEAR(static_cast<double>(kFileBytes) / sync_s, 150e6, 5e6);
}

// Goal:   reading byte by byte is not as bad as the articles have it: the disk has a buffer of its
//         own, and a read costs a command and a sector on the link instead of a turn.
TEST(ArticleArithmeticTest, UnbufferedOneByteReadsCostACommandEach) {
  SimHost host(one_zone_disk(), HostModel{});
  UnbufferedFile file(host, {0, kFileBytes});
  file.read({0, 1});
  const SimTime first = host.now();
  constexpr std::uint64_t kReads = 500;
  for (std::uint64_t i = 1; i <= kReads; ++i) {
    file.read({i, 1});
  }
  const HostModel costs;
  const DiskModel disk = one_zone_disk();
  const std::uint64_t read_ns = costs.system_call_ns + costs.request_ns + disk.controller_ns +
                                transfer_ns(4096, disk.interface_bytes_per_s);
  EXPECT_EQ(host.now().ns - first.ns, kReads * read_ns);
}

// The same reads through the page cache: one request, the rest is copying.
TEST(ArticleArithmeticTest, BufferedOneByteReadsCostSystemCalls) {
  SimHost host(one_zone_disk(), HostModel{});
  PageCache cache(host, {0, kFileBytes}, kMemoryBytes);
  BufferedFile file(cache, kFileBytes);
  file.read({0, 1});
  const SimTime first = host.now();
  constexpr std::uint64_t kReads = 4000;  // Within the first page.
  for (std::uint64_t i = 1; i <= kReads; ++i) {
    file.read({i % 4096, 1});
  }
  const HostModel costs;
  const std::uint64_t call_ns = costs.system_call_ns + costs.page_lookup_ns + 1;
  EXPECT_EQ(host.now().ns - first.ns, kReads * call_ns);
  EXPECT_EQ(host.system_calls(), kReads + 1);
  EXPECT_EQ(host.disk().counters().reads, 1U);
}

TEST(SimFileTest, SequentialReadsOfEveryKindRunAtTheRateOfTheZone) {
  const auto rate_of = [](const auto& scan) {
    SimHost host(one_zone_disk(), HostModel{});
    scan(host);
    return static_cast<double>(kFileBytes) / host.now().seconds();
  };
  const double small = rate_of([](SimHost& host) {
    PageCache cache(host, {0, kFileBytes}, kMemoryBytes);
    BufferedFile file(cache, kFileBytes);
    for (std::uint64_t at = 0; at < kFileBytes; at += 4_KiB) {
      file.read({at, 4_KiB});
    }
  });
  const double mapped = rate_of([](SimHost& host) {
    PageCache cache(host, {0, kFileBytes}, kMemoryBytes);
    MappedFile map(cache, kFileBytes);
    for (std::uint64_t at = 0; at < kFileBytes; at += 4_KiB) {
      map.load({at, 4_KiB});
    }
  });
  const double direct = rate_of([](SimHost& host) {
    UnbufferedFile file(host, {0, kFileBytes});
    for (std::uint64_t at = 0; at < kFileBytes; at += 1_MiB) {
      file.read({at, 1_MiB});
    }
  });
  for (const double rate : {small, mapped, direct}) {
    EXPECT_GT(rate, 140e6);
    EXPECT_LT(rate, 151e6);
  }
}

TEST(SimFileTest, FaultsAreCountedAsTheKernelCountsThem) {
  SimHost host(parse_disk_model("nvme").value(), HostModel{});
  PageCache cache(host, {0, 256 * kSimPageBytes}, kMemoryBytes);
  cache.warm_all();
  MappedFile map(cache, 256 * kSimPageBytes);
  map.load({0, 256 * kSimPageBytes});
  EXPECT_EQ(map.major_faults(), 0U);
  EXPECT_EQ(map.minor_faults(), 256 / MappedFile::kFaultAroundPages);
  map.load({0, 256 * kSimPageBytes});
  EXPECT_EQ(map.minor_faults(), 256 / MappedFile::kFaultAroundPages);
  map.store({0, kSimPageBytes});
  map.store({0, kSimPageBytes});
  EXPECT_EQ(map.minor_faults(), 256 / MappedFile::kFaultAroundPages + 1);
  map.sync();
  map.store({0, kSimPageBytes});  // Write-back took the right to write.
  EXPECT_EQ(map.minor_faults(), 256 / MappedFile::kFaultAroundPages + 2);
}

TEST(SimFileTest, AStoreToAnAbsentPageReadsItAndAWholeWriteDoesNot) {
  SimHost host(parse_disk_model("nvme").value(), HostModel{});
  PageCache cache(host, {0, 1_MiB}, kMemoryBytes);
  BufferedFile file(cache, 1_MiB);
  file.write({0, 64_KiB});
  EXPECT_EQ(host.disk().counters().reads, 0U);
  file.write({100'000, 10});
  EXPECT_EQ(host.disk().counters().reads, 1U);
  MappedFile map(cache, 1_MiB);
  map.advise(SimAdvice::kRandom);
  map.store({512_KiB, 4_KiB});
  EXPECT_EQ(host.disk().counters().reads, 2U);
  EXPECT_EQ(map.major_faults(), 1U);
}

TEST(SimFileTest, PopulatingLeavesNoFaultForTheLoads) {
  SimHost host(one_zone_disk(), HostModel{});
  PageCache cache(host, {0, kFileBytes}, kMemoryBytes);
  MappedFile map(cache, kFileBytes);
  map.populate({0, kFileBytes});
  map.load({0, kFileBytes});
  EXPECT_EQ(map.major_faults() + map.minor_faults(), 0U);
  EXPECT_EQ(host.disk().counters().read_bytes, kFileBytes);
}

TEST(SimFileTest, WhatIsDroppedBehindLeavesTheCacheEmpty) {
  SimHost host(one_zone_disk(), HostModel{});
  PageCache cache(host, {0, kFileBytes}, kMemoryBytes);
  BufferedFile file(cache, 0);
  for (std::uint64_t at = 0; at < kFileBytes; at += 1_MiB) {
    file.write_and_drop({at, 1_MiB});
  }
  file.sync();
  EXPECT_EQ(cache.resident_pages(), 0U);
  for (std::uint64_t at = 0; at < kFileBytes; at += 1_MiB) {
    file.read_and_drop({at, 1_MiB});
  }
  EXPECT_LT(cache.resident_pages() * kSimPageBytes, 1_MiB);  // What was read ahead.
  EXPECT_EQ(host.disk().counters().written_bytes, kFileBytes);
}

TEST(SimFileTest, AQueueKeepsItsDepthAndReportsEveryRangeOnce) {
  SimHost host(parse_disk_model("nvme,queue_depth=1023").value(), HostModel{});
  UnbufferedFile file(host, {0, kFileBytes});
  Prng prng(1);
  std::vector<ByteRange> ranges;
  for (int i = 0; i < 2000; ++i) {
    ranges.push_back({prng.below(kFileBytes / 4096) * 4096, 4096});
  }
  std::vector<int> done(ranges.size());
  const SimTime begin = host.now();
  const std::vector<DiskOperation> steps{DiskOperation::kRead};
  file.run({.ranges = ranges, .depth = 32, .steps = steps},
           [&](std::size_t index, std::uint64_t latency_ns) {
             ++done[index];
             EXPECT_GT(latency_ns, 50'000U);
           });
  const double queued_s = host.now().seconds() - begin.seconds();
  EXPECT_EQ(done, std::vector<int>(ranges.size(), 1));
  const SimTime middle = host.now();
  for (const ByteRange& range : ranges) {
    file.read(range);
  }
  const double alone_s = host.now().seconds() - middle.seconds();
  EXPECT_GT(alone_s / queued_s, 10);
  EXPECT_LT(alone_s / queued_s, 32);
}

TEST(SimFileTest, TheStepsOfAQueuedUpdateFollowOneAnother) {
  SimHost host(one_zone_disk(), HostModel{});
  UnbufferedFile file(host, {0, kFileBytes});
  const std::vector<ByteRange> ranges{{0, 4096}, {8192, 4096}, {1_MiB, 4096}};
  const std::vector<DiskOperation> steps{DiskOperation::kRead, DiskOperation::kWrite,
                                         DiskOperation::kFlush};
  int done = 0;
  file.run({.ranges = ranges, .depth = 2, .steps = steps}, [&](std::size_t, std::uint64_t) {
    ++done;
    EXPECT_GE(host.disk().counters().flushes, static_cast<std::uint64_t>(done));
  });
  const DiskCounters counters = host.disk().counters();
  EXPECT_EQ(done, 3);
  EXPECT_EQ(counters.reads, 3U);
  EXPECT_EQ(counters.writes, 3U);
  EXPECT_EQ(counters.flushes, 3U);
  EXPECT_EQ(host.disk().unflushed_bytes(), 0U);
}

TEST(SimFileTest, NewPagesAreStoredToWithoutAskingTheDisk) {
  SimHost host(one_zone_disk(), HostModel{});
  PageCache cache(host, {0, 1_MiB}, kMemoryBytes);
  MappedFile map(cache, 0);
  map.store({0, 512_KiB});
  map.populate_for_store({512_KiB, 512_KiB});
  const std::uint64_t faults = map.minor_faults();
  map.store({512_KiB, 512_KiB});
  EXPECT_EQ(faults, 128U);
  EXPECT_EQ(map.minor_faults(), faults);
  EXPECT_EQ(host.disk().counters().reads, 0U);
  map.sync();
  EXPECT_EQ(host.disk().counters().written_bytes, 1_MiB);
}

TEST(SimFileTest, WhatWasAskedForArrivesTogether) {
  constexpr std::uint64_t kApart = 1_MiB + 16_KiB;  // Each on a unit of its own.
  const auto seconds_for = [](bool asks) {
    SimHost host(parse_disk_model("nvme").value(), HostModel{});
    PageCache cache(host, {0, kFileBytes}, kMemoryBytes);
    BufferedFile file(cache, kFileBytes);
    for (std::uint64_t i = 0; asks && i < 32; ++i) {
      file.ask({i * kApart, 4096});
    }
    for (std::uint64_t i = 0; i < 32; ++i) {
      file.read({i * kApart, 4096});
    }
    EXPECT_EQ(host.disk().counters().reads, 32U);
    return host.now().seconds();
  };
  EXPECT_GT(seconds_for(false), 8 * seconds_for(true));
}

TEST(SimFileTest, TheStartDecidesWhereThePlatterStands) {
  std::uint64_t previous = 0;
  for (const std::uint64_t start_ms : {0U, 3U}) {
    SimHost host(one_zone_disk(), HostModel{}, SimTime{start_ms * kMs});
    const SimTime begin = host.now();
    EXPECT_EQ(begin.ns, start_ms * kMs);
    UnbufferedFile(host, {0, kFileBytes}).read({0, 4096});
    const std::uint64_t taken = host.now().ns - begin.ns;
    EXPECT_NE(taken, previous);
    previous = taken;
  }
}

}  // namespace
}  // namespace quire::sim
