// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/report.h"

#include <gtest/gtest.h>

#include <set>

#include "quire/base/units.h"

namespace quire::compare {
namespace {

Round round_of(double mib_per_s) {
  Round round;
  round.seconds = 1;
  round.bytes = static_cast<std::uint64_t>(mib_per_s * static_cast<double>(1_MiB));
  round.operations = round.bytes / 4096;
  round.cpu_s = 0.5;
  return round;
}

Cell cell_of(std::initializer_list<double> rates) {
  Cell cell;
  for (const double rate : rates) {
    cell.rounds.push_back(round_of(rate));
  }
  return cell;
}

TEST(ReportTest, EachNameIsItsOwnAndLeadsBack) {
  std::set<std::string> names;
  for (int i = 0; i < kPathCount; ++i) {
    const auto path = static_cast<Path>(i);
    EXPECT_TRUE(names.insert(name_of(path)).second);
    EXPECT_EQ(path_named(name_of(path)), path);
  }
  for (int i = 0; i < kPatternCount; ++i) {
    const auto pattern = static_cast<Pattern>(i);
    EXPECT_TRUE(names.insert(name_of(pattern)).second);
    EXPECT_EQ(pattern_named(name_of(pattern)), pattern);
  }
  for (int i = 0; i < kStateCount; ++i) {
    EXPECT_EQ(state_named(name_of(static_cast<State>(i))), static_cast<State>(i));
  }
  for (int i = 0; i < kDurabilityCount; ++i) {
    const auto durability = static_cast<DurabilityChoice>(i);
    EXPECT_EQ(durability_named(name_of(durability)), durability);
  }
  EXPECT_EQ(path_named("mmap_defaults"), std::nullopt);
  EXPECT_EQ(pattern_named(""), std::nullopt);
}

TEST(ReportTest, MedianAndSpreadAreThoseOfTheRounds) {
  const Cell cell = cell_of({100, 300, 110, 90, 105});
  EXPECT_DOUBLE_EQ(cell.median_mib_per_s(), 105);
  EXPECT_DOUBLE_EQ(cell.spread(), (110.0 - 100.0) / 105);
  EXPECT_DOUBLE_EQ(cell_of({100, 200}).median_mib_per_s(), 150);
}

TEST(ReportTest, OneRoundHasNoSpread) {
  EXPECT_EQ(cell_of({100}).spread(), 0);
  EXPECT_EQ(cell_of({}).median_mib_per_s(), 0);
  EXPECT_FALSE(cell_of({}).has_result());
}

TEST(ReportTest, CpuTimeIsPerGibOfAllRounds) {
  EXPECT_DOUBLE_EQ(cell_of({512, 512}).cpu_s_per_gib().value(), 1.0);
  EXPECT_EQ(cell_of({}).cpu_s_per_gib(), std::nullopt);
}

TEST(ReportTest, OneRoundThatDoesNotKnowMakesTheSumUnknown) {
  Cell cell = cell_of({1, 1});
  cell.rounds[0].device_read_bytes = 10;
  EXPECT_EQ(cell.device_read_bytes(), std::nullopt);
  cell.rounds[1].device_read_bytes = 5;
  EXPECT_EQ(cell.device_read_bytes(), 15u);
  EXPECT_EQ(cell_of({}).device_read_bytes(), std::nullopt);
}

TEST(ReportTest, CountsOfAnEngineAreSumsAndTheMostThatItTook) {
  Cell cell = cell_of({1, 1});
  EXPECT_EQ(cell.engine_counts(), std::nullopt);
  cell.rounds[0].engine = EngineCounts{.faults = 10, .reads = 3, .memory_taken_bytes_max = 700};
  EXPECT_EQ(cell.engine_counts(), std::nullopt);
  cell.rounds[1].engine = EngineCounts{.faults = 5, .evicted = 1, .memory_taken_bytes_max = 600};
  EXPECT_EQ(cell.engine_counts(),
            (EngineCounts{.faults = 15, .evicted = 1, .reads = 3, .memory_taken_bytes_max = 700}));
  EXPECT_EQ(cell_of({}).engine_counts(), std::nullopt);
}

TEST(ReportTest, OneRoundThatWasNotColdMakesTheCellNotCold) {
  Cell cell = cell_of({1, 1, 1});
  cell.rounds[0].verified_cold = true;
  EXPECT_EQ(cell.verified_cold(), std::nullopt);
  cell.rounds[1].verified_cold = true;
  cell.rounds[2].verified_cold = true;
  EXPECT_EQ(cell.verified_cold(), true);
  cell.rounds[1].verified_cold = false;
  EXPECT_EQ(cell.verified_cold(), false);
}

TEST(ReportTest, LatencyIsTheMedianOfTheRoundsAndTheLargestMaximum) {
  Cell cell = cell_of({1, 1, 1});
  EXPECT_FALSE(cell.latency().has_value());
  for (int i = 0; i < 3; ++i) {
    cell.rounds[static_cast<std::size_t>(i)].latency =
        Latency{.operations = 10, .p50_ns = 100.0 * (i + 1), .max_ns = i == 1 ? 9000.0 : 500.0};
  }
  const Latency latency = cell.latency().value();
  EXPECT_EQ(latency.operations, 30u);
  EXPECT_DOUBLE_EQ(latency.p50_ns, 200);
  EXPECT_DOUBLE_EQ(latency.max_ns, 9000);
}

}  // namespace
}  // namespace quire::compare
