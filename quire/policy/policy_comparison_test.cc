// SPDX-License-Identifier: Apache-2.0
//
// What the policies are for, as figures that anybody can check: the same with `quire simulate`.
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "quire/policy/belady.h"
#include "quire/policy/cache_simulation.h"
#include "quire/policy/replacement.h"
#include "quire/policy/trace_source.h"
#include "quire/testing/seed.h"

namespace quire {
namespace {

struct Comparison {
  std::uint64_t fifo = 0;
  std::uint64_t clock = 0;
  std::uint64_t s3fifo = 0;
  std::uint64_t lru = 0;
  std::uint64_t belady = 0;
};

constexpr std::uint32_t kPages = 10'000;
constexpr std::uint32_t kMemoryPages = kPages / 10;
constexpr std::uint64_t kAccesses = 200'000;

SimulationStats simulate(PolicyKind kind, SyntheticSource& source, std::uint32_t memory_pages) {
  source.rewind();
  const HitReports hits = kind == PolicyKind::kLru ? HitReports::kEach : HitReports::kNone;
  CacheSimulation simulation(
      {.memory_pages = memory_pages, .hits = hits}, source, [&](PageHost& host) {
        return make_replacement({.kind = kind, .pages_max = memory_pages}, host);
      });
  std::vector<PageAccess> block(10'000);
  while (const std::size_t count = source.next(block)) {
    simulation.run(std::span(block).first(count));
  }
  simulation.check_invariants();
  EXPECT_EQ(simulation.stats().not_kept, 0U) << name_of(kind);
  return simulation.stats();
}

// Device reads of each.
Comparison compare(std::string_view workload) {
  SyntheticSource source({.workload = parse_workload(workload).value(),
                          .pages = kPages,
                          .accesses = kAccesses,
                          .seed = testing::test_seed()});
  std::vector<PageAccess> all(kAccesses);
  EXPECT_EQ(source.next(all), kAccesses);
  const auto reads = [&](PolicyKind kind) {
    return simulate(kind, source, kMemoryPages).device_read_pages;
  };
  return {.fifo = reads(PolicyKind::kFifo),
          .clock = reads(PolicyKind::kClock),
          .s3fifo = reads(PolicyKind::kS3Fifo),
          .lru = reads(PolicyKind::kLru),
          .belady = belady(all, kPages, kMemoryPages).misses};
}

double ratio(std::uint64_t reads, std::uint64_t other) {
  return static_cast<double>(reads) / static_cast<double>(other);
}

TEST(PolicyComparisonTest, WithSkewAndScansS3FifoReadsLessThanTheClassicsAndMoreThanTheOptimum) {
  const Comparison reads = compare("zipf:0.99+scan/25000");
  EXPECT_LT(ratio(reads.s3fifo, reads.lru), 0.95);
  EXPECT_LT(ratio(reads.s3fifo, reads.clock), 0.95);
  EXPECT_LT(ratio(reads.s3fifo, reads.fifo), 0.90);
  EXPECT_GT(ratio(reads.s3fifo, reads.belady), 1.05);
}

TEST(PolicyComparisonTest, NobodyReadsLessThanTheOptimum) {
  for (const char* const workload :
       {"uniform", "zipf:0.7", "zipf:1.2", "scan", "loop:1050", "stride:7", "zipf*9+scan"}) {
    const Comparison reads = compare(workload);
    for (const std::uint64_t count : {reads.fifo, reads.clock, reads.s3fifo, reads.lru}) {
      EXPECT_GE(count, reads.belady) << workload;
      EXPECT_LE(count, kAccesses) << workload;
    }
  }
}

TEST(PolicyComparisonTest, ALoopALittleLongerThanMemoryDefeatsEveryClassicOne) {
  const Comparison reads = compare("loop:1050");
  EXPECT_EQ(reads.fifo, kAccesses);
  EXPECT_EQ(reads.clock, kAccesses);
  EXPECT_EQ(reads.lru, kAccesses);
  EXPECT_LT(ratio(reads.belady, kAccesses), 0.1);
}

TEST(PolicyComparisonTest, UniformAccessHitsAsOftenAsThePageIsInMemory) {
  const Comparison reads = compare("uniform");
  for (const std::uint64_t count : {reads.fifo, reads.clock, reads.s3fifo, reads.lru}) {
    EXPECT_NEAR(ratio(count, kAccesses), 0.9, 0.02);
  }
}

TEST(PolicyComparisonTest, MoreMemoryNeverMeansMoreReadsForLru) {
  SyntheticSource source({.workload = parse_workload("zipf+loop:2500/1500").value(),
                          .pages = kPages,
                          .accesses = kAccesses,
                          .seed = testing::test_seed()});
  std::uint64_t before = kAccesses + 1;
  for (const std::uint32_t memory_pages : {1U, 10U, 100U, 1'000U, 5'000U, kPages}) {
    const std::uint64_t reads = simulate(PolicyKind::kLru, source, memory_pages).misses;
    EXPECT_LE(reads, before) << memory_pages;  // It is a stack algorithm.
    before = reads;
  }
}

TEST(PolicyComparisonTest, WhatFitsIsReadOnceByEveryPolicy) {
  SyntheticSource source({.workload = parse_workload("uniform").value(),
                          .pages = 1'000,
                          .accesses = 50'000,
                          .seed = testing::test_seed()});
  for (const PolicyKind kind :
       {PolicyKind::kFifo, PolicyKind::kClock, PolicyKind::kS3Fifo, PolicyKind::kLru}) {
    EXPECT_EQ(simulate(kind, source, 1'000).misses, 1'000U) << name_of(kind);
  }
}

}  // namespace
}  // namespace quire
