// SPDX-License-Identifier: Apache-2.0
//
// What holds for every disk and every sequence of operations.
#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "quire/base/prng.h"
#include "quire/sim/sim_disk.h"
#include "quire/testing/seed.h"

namespace quire::sim {
namespace {

const std::vector<std::string> kModels{
    "hdd",
    "hdd,write_cache=off",
    "hdd,read_ahead_kb=0,queue_depth=1",
    "hdd,cache_mb=1,capacity_gb=1,zones=3,heads=1",
    "hdd,sector=512,rpm=15000,seek_track_ms=0,flush_us=100",
    "ssd",
    "nvme",
    "nvme,write_cache=off,units=3,queue_depth=5",
    "ssd,cache_mb=1,page=4096,units=1,interface_mb_s=50",
};

struct Traced {
  std::vector<DiskCompletion> completions;
  DiskCounters counters;
  std::uint64_t submitted_bytes = 0;
  SimTime first_submission;
};

class Workload {
 public:
  Workload(const DiskModel& model, std::uint64_t seed) : disk_(model), prng_(seed) {}

  // Submits at random moments, waits at random, drains at the end.
  Traced run(int operation_count) {
    for (int i = 0; i < operation_count; ++i) {
      submit_one();
      while (prng_.below(3) == 0) {
        take(disk_.next_completion(
            prng_.below(4) == 0 ? SimDisk::kForever : disk_.now().plus(prng_.below(20'000'000))));
      }
      disk_.check_invariants();
    }
    while (const auto done = disk_.next_completion()) {
      take(done);
    }
    disk_.check_invariants();
    EXPECT_EQ(disk_.pending(), 0U);
    traced_.counters = disk_.counters();
    return traced_;
  }

 private:
  void submit_one() {
    const std::uint64_t sector = disk_.model().sector_bytes;
    const std::uint64_t sectors = disk_.model().capacity_bytes / sector;
    DiskRequest request;
    request.operation = static_cast<DiskOperation>(prng_.below(20) == 0 ? 2 : prng_.below(2));
    if (request.operation != DiskOperation::kFlush) {
      const std::uint64_t count = 1 + prng_.below(prng_.below(2) == 0 ? 4 : 1000);
      // Often near the last one, so that read-ahead, merging and neighbours have their turn.
      std::uint64_t at = prng_.below(3) == 0 ? prng_.below(sectors) : last_ + prng_.below(3);
      at = std::min(at, sectors - count);
      last_ = at + count;
      request.range = {at * sector, count * sector};
    }
    const SimTime at = disk_.now().plus(prng_.below(2) * prng_.below(10'000'000));
    const SimTime when = std::max(at, latest_submission_);
    latest_submission_ = when;
    const OperationId id = disk_.submit(request, when);
    EXPECT_EQ(id, expected_.size());
    expected_.push_back(request);
    traced_.submitted_bytes += request.range.length_bytes;
    submissions_[id] = when;
  }

  void take(const std::optional<DiskCompletion>& done) {
    if (!done) {
      return;
    }
    ASSERT_EQ(submissions_.count(done->id), 1U) << "completed twice";
    EXPECT_EQ(done->submitted, submissions_[done->id]);
    EXPECT_GE(done->at, done->submitted);
    EXPECT_EQ(done->at, disk_.now());
    EXPECT_EQ(done->request.range, expected_[done->id].range);
    EXPECT_TRUE(traced_.completions.empty() || traced_.completions.back().at <= done->at);
    submissions_.erase(done->id);
    traced_.completions.push_back(*done);
  }

  SimDisk disk_;
  Prng prng_;
  std::uint64_t last_ = 0;
  SimTime latest_submission_;
  std::vector<DiskRequest> expected_;
  std::map<OperationId, SimTime> submissions_;
  Traced traced_;
};

TEST(SimDiskPropertyTest, EveryOperationCompletesOnceInOrderOfTime) {
  for (const std::string& text : kModels) {
    const DiskModel model = parse_disk_model(text).value();
    const Traced traced = Workload(model, testing::test_seed()).run(2000);
    EXPECT_EQ(traced.completions.size(), 2000U) << text;
    const DiskCounters& counters = traced.counters;
    EXPECT_EQ(counters.reads + counters.writes + counters.flushes, 2000U) << text;
    EXPECT_EQ(counters.read_bytes + counters.written_bytes, traced.submitted_bytes) << text;
  }
}

TEST(SimDiskPropertyTest, NothingIsFasterThanTheLink) {
  for (const std::string& text : kModels) {
    const DiskModel model = parse_disk_model(text).value();
    const Traced traced = Workload(model, testing::test_seed() + 1).run(1500);
    EXPECT_GE(traced.completions.back().at.ns,
              transfer_ns(traced.submitted_bytes, model.interface_bytes_per_s))
        << text;
    for (const DiskCompletion& done : traced.completions) {
      EXPECT_GE(done.at.ns - done.submitted.ns,
                model.controller_ns +
                    transfer_ns(done.request.range.length_bytes, model.interface_bytes_per_s));
    }
  }
}

// Goal:   what a flush acknowledges is on the medium, and nothing is forgotten on the way.
TEST(SimDiskPropertyTest, AFlushLeavesNothingInTheCache) {
  for (const std::string& text : kModels) {
    SimDisk disk(parse_disk_model(text).value());
    Prng prng(testing::test_seed() + 2);
    const std::uint64_t sector = disk.model().sector_bytes;
    for (int round = 0; round < 50; ++round) {
      for (std::uint64_t i = 0; i < 1 + prng.below(20); ++i) {
        disk.submit({.operation = DiskOperation::kWrite,
                     .range = {prng.below(10'000) * sector, (1 + prng.below(64)) * sector}},
                    disk.now());
      }
      while (disk.next_completion()) {
      }
      disk.submit({.operation = DiskOperation::kFlush, .range = {0, 0}}, disk.now());
      ASSERT_TRUE(disk.next_completion().has_value());
      EXPECT_EQ(disk.unflushed_bytes(), 0U) << text;
    }
  }
}

TEST(SimDiskPropertyTest, TheSameSubmissionsGiveTheSameCompletions) {
  for (const std::string& text : kModels) {
    const DiskModel model = parse_disk_model(text).value();
    const Traced once = Workload(model, testing::test_seed() + 3).run(1000);
    const Traced again = Workload(model, testing::test_seed() + 3).run(1000);
    ASSERT_EQ(once.completions.size(), again.completions.size());
    for (std::size_t i = 0; i < once.completions.size(); ++i) {
      ASSERT_EQ(once.completions[i].id, again.completions[i].id) << text;
      ASSERT_EQ(once.completions[i].at, again.completions[i].at) << text;
    }
  }
}

TEST(SimDiskPropertyTest, WaitingUntilAMomentGoesThereAndNoFurther) {
  SimDisk disk(preset(DiskKind::kHdd));
  disk.submit({.operation = DiskOperation::kRead, .range = {0, 4096}}, SimTime{1'000'000});
  EXPECT_FALSE(disk.next_completion(SimTime{500'000}).has_value());
  EXPECT_EQ(disk.now().ns, 500'000U);
  const auto done = disk.next_completion();
  ASSERT_TRUE(done.has_value());
  EXPECT_GT(done->at.ns, 1'000'000U);
  EXPECT_FALSE(disk.next_completion().has_value());
  EXPECT_EQ(disk.now(), done->at);
}

TEST(SimDiskDeathTest, MisuseIsABug) {
  SimDisk disk(preset(DiskKind::kHdd));
  EXPECT_DEATH(disk.submit({.operation = DiskOperation::kRead, .range = {1, 4096}}, SimTime{0}),
               "");
  EXPECT_DEATH(disk.submit({.operation = DiskOperation::kRead, .range = {0, 0}}, SimTime{0}), "");
  EXPECT_DEATH(disk.submit({.operation = DiskOperation::kRead,
                            .range = {disk.model().capacity_bytes / 4096 * 4096, 4096}},
                           SimTime{0}),
               "");
}

}  // namespace
}  // namespace quire::sim
