// SPDX-License-Identifier: Apache-2.0
//
// The simulated comparison against arithmetic that can be done by hand.
#include "quire/compare/simulated.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <string>

#include "quire/base/units.h"
#include "quire/compare/json_report.h"
#include "quire/compare/plan.h"

namespace quire::compare {
namespace {

constexpr double kMib = 1024 * 1024;

SimulatedOptions small_run(const char* disk) {
  SimulatedOptions options;
  options.disk = sim::parse_disk_model(disk).value();
  options.compare.scratch_bytes = 8_MiB;
  options.compare.memory_bytes = 4_MiB;
  options.compare.rounds_min = 2;
  return options;
}

Report simulate(const SimulatedOptions& options) {
  auto report = simulate_comparison(options);
  EXPECT_TRUE(report.has_value()) << report.error().message();
  return std::move(*report);
}

// The one cell of a path in a report about one question.
const Cell& cell_of(const Report& report, Path path) {
  for (const Cell& cell : report.cells) {
    if (cell.path == path) {
      return cell;
    }
  }
  ADD_FAILURE() << "no cell for " << name_of(path);
  return report.cells.front();
}

SimulatedOptions about(const char* disk, Pattern pattern, State state,
                       DurabilityChoice durability = DurabilityChoice::kNone) {
  SimulatedOptions options = small_run(disk);
  options.compare.patterns = {pattern};
  options.compare.states = {state};
  options.compare.durabilities = {durability};
  options.compare.scratch_bytes = 32_MiB;
  options.compare.memory_bytes.reset();
  return options;
}

double nanoseconds_per_operation(const Round& round) {
  return round.seconds * 1e9 / static_cast<double>(round.operations);
}

TEST(SimulatedTest, EveryPlannedCellIsSimulatedAsOftenAsAsked) {
  for (const char* disk : {"hdd", "ssd"}) {
    const Report report = simulate(small_run(disk));
    EXPECT_TRUE(report.is_simulated);
    EXPECT_EQ(report.device_model, disk);
    EXPECT_EQ(report.file_bytes, 8_MiB);
    EXPECT_GT(report.cells.size(), 70U);
    double elapsed_s = 0;
    for (const Cell& cell : report.cells) {
      EXPECT_EQ(cell.rounds.size(), 2U);
      EXPECT_FALSE(cell.error.has_value());
      EXPECT_FALSE(cell.skipped.has_value());
      for (const Round& round : cell.rounds) {
        EXPECT_GT(round.seconds, 0);
        EXPECT_GT(round.operations, 0U);
        EXPECT_LE(round.cpu_s, round.seconds * (1 + 1e-9));
        elapsed_s += round.seconds;
      }
    }
    EXPECT_NEAR(report.elapsed_s, elapsed_s, 1e-6 * elapsed_s);
    EXPECT_FALSE(report.verdicts.empty());
  }
}

TEST(SimulatedTest, TheSameOptionsGiveTheSameReportToTheLastDigit) {
  SimulatedOptions options = small_run("hdd");
  options.compare.rounds_min = 1;
  const std::string once = json_text(simulate(options));
  EXPECT_EQ(json_text(simulate(options)), once);
  options.compare.seed = 2;
  EXPECT_NE(json_text(simulate(options)), once);
}

// Goal:   no path moves bytes faster than the link, holds more than the memory, or calls cold what
//         is not.
TEST(SimulatedTest, NoCellBreaksALimitOfTheMachine) {
  for (const char* disk : {"hdd", "nvme"}) {
    SimulatedOptions options = small_run(disk);
    options.compare.rounds_min = 1;
    for (const Cell& cell : simulate(options).cells) {
      for (const Round& round : cell.rounds) {
        const double device_bytes =
            static_cast<double>(*round.device_read_bytes + *round.device_written_bytes);
        EXPECT_LE(device_bytes / round.seconds,
                  static_cast<double>(options.disk.interface_bytes_per_s));
        EXPECT_LE(*round.cache_left_bytes, 4_MiB);
        EXPECT_EQ(round.verified_cold,
                  cell.state == State::kCold ? std::optional(true) : std::nullopt);
        if (cell.path == Path::kDirect || cell.path == Path::kDirectQueued) {
          EXPECT_EQ(round.verified_direct, true);
          EXPECT_GE(device_bytes, static_cast<double>(round.bytes));
        }
        if (cell.path == Path::kMemory) {
          EXPECT_EQ(device_bytes, 0);
        }
      }
    }
  }
}

// Goal:   a record on the disk before the next costs a turn of the platter, whatever the path.
TEST(SimulatedTest, DurableAppendsTakeOneRotationEachOnEveryPath) {
  for (const auto& [disk, rotation_ms] :
       {std::pair{"hdd", 8.333333}, {"hdd,rpm=5400", 11.111111}}) {
    const Report report =
        simulate(about(disk, Pattern::kAppend, State::kCold, DurabilityChoice::kEachOperation));
    EXPECT_EQ(report.cells.size(), 3U);
    for (const Cell& cell : report.cells) {
      for (const Round& round : cell.rounds) {
        // The first waits for its sector, up to a turn; every 64th begins another sector.
        const auto count = static_cast<double>(round.operations);
        EXPECT_GE(round.seconds * 1e3, (count - 1) * rotation_ms) << disk;
        EXPECT_LE(round.seconds * 1e3, count * rotation_ms + 1) << disk;
        EXPECT_EQ(*round.device_written_bytes, round.operations * 4096);
      }
      EXPECT_NEAR(cell.latency()->p50_ns / 1e6, rotation_ms, rotation_ms / 64);
    }
    EXPECT_EQ(report.verdicts.front().factor, 1);
  }
}

TEST(SimulatedTest, ColdScansOfEveryPathRunAtTheRateOfTheZone) {
  const Report report = simulate(
      about("hdd,zones=1,outer_mb_s=150,inner_mb_s=150", Pattern::kSequentialRead, State::kCold));
  EXPECT_EQ(report.cells.size(), 9U);
  for (const Cell& cell : report.cells) {
    EXPECT_LT(cell.median_mib_per_s() * kMib, 150e6) << name_of(cell.path);
    EXPECT_GT(cell.median_mib_per_s() * kMib, 0.9 * 150e6) << name_of(cell.path);
    EXPECT_GE(*cell.device_read_bytes(), cell.bytes());
  }
}

TEST(SimulatedTest, DirectReadsOneAtATimeTakeTheSumOfTheirParts) {
  const SimulatedOptions options = about("nvme", Pattern::kRandomRead, State::kCold);
  const Report report = simulate(options);
  const Cell& cell = cell_of(report, Path::kDirect);
  const sim::HostModel& host = options.host;
  const sim::DiskModel& disk = options.disk;
  const std::uint64_t link_ns = sim::transfer_ns(4096, disk.interface_bytes_per_s);
  const std::uint64_t look_ns = sim::transfer_ns(4096, host.copy_bytes_per_s);
  const std::uint64_t expected_ns = host.system_call_ns + host.request_ns + disk.controller_ns +
                                    disk.read_ns + link_ns + disk.read_latency_ns + look_ns;
  for (const Round& round : cell.rounds) {
    EXPECT_NEAR(nanoseconds_per_operation(round), static_cast<double>(expected_ns), 1e-3);
    EXPECT_EQ(*round.device_read_bytes, round.operations * 4096);
    EXPECT_EQ(*round.system_calls, round.operations);
  }
}

TEST(SimulatedTest, WarmReadsTakeCallLookUpAndCopy) {
  const SimulatedOptions options = about("hdd", Pattern::kRandomRead, State::kWarm);
  const Report report = simulate(options);
  const sim::HostModel& host = options.host;
  const std::uint64_t copy_ns = sim::transfer_ns(4096, host.copy_bytes_per_s);
  for (const Round& round : cell_of(report, Path::kReadWriteSmall).rounds) {
    EXPECT_NEAR(nanoseconds_per_operation(round),
                static_cast<double>(host.system_call_ns + host.page_lookup_ns + 2 * copy_ns), 1e-3);
    EXPECT_EQ(*round.device_read_bytes, 0U);
  }
  for (const Round& round : cell_of(report, Path::kMemory).rounds) {
    EXPECT_NEAR(nanoseconds_per_operation(round), static_cast<double>(copy_ns), 1e-3);
    EXPECT_EQ(*round.system_calls, 0U);
  }
  for (const Round& round : cell_of(report, Path::kMapPopulated).rounds) {
    EXPECT_EQ(round.major_faults + round.minor_faults, 0U);
  }
}

TEST(SimulatedTest, AQueueGainsOnEveryDisk) {
  for (const char* disk : {"hdd", "ssd", "nvme"}) {
    const Report report = simulate(about(disk, Pattern::kRandomRead, State::kCold));
    EXPECT_GT(cell_of(report, Path::kDirectQueued).median_operations_per_s(),
              3 * cell_of(report, Path::kDirect).median_operations_per_s())
        << disk;
    EXPECT_EQ(cell_of(report, Path::kDirectQueued).latency()->operations,
              cell_of(report, Path::kDirectQueued).operations());
  }
}

TEST(SimulatedTest, GatheringRecordsBeatsACallForEach) {
  const Report report = simulate(about("hdd", Pattern::kAppend, State::kCold));
  EXPECT_GT(cell_of(report, Path::kBufferedWriter).median_operations_per_s(),
            10 * cell_of(report, Path::kReadWriteSmall).median_operations_per_s());
}

TEST(SimulatedTest, DroppingBehindLeavesTheCacheEmpty) {
  const Report reads = simulate(about("hdd", Pattern::kSequentialRead, State::kCold));
  EXPECT_LE(*cell_of(reads, Path::kBufferedDropBehind).cache_left_bytes(), 1_MiB);
  EXPECT_EQ(*cell_of(reads, Path::kReadWriteLarge).cache_left_bytes(), 32_MiB);
  const Report writes =
      simulate(about("nvme", Pattern::kSequentialWrite, State::kCold, DurabilityChoice::kAtEnd));
  EXPECT_EQ(*cell_of(writes, Path::kBufferedDropBehind).cache_left_bytes(), 0U);
}

TEST(SimulatedTest, WhatIsAskedOfTheModelIsExplainedInSentences) {
  const Report report = simulate(about("hdd", Pattern::kAppend, State::kCold));
  ASSERT_GE(report.remarks.size(), 4U);
  EXPECT_NE(report.remarks[0].find("120 bytes/s, one turn of 8.33 ms each"), std::string::npos)
      << report.remarks[0];
  EXPECT_NE(report.remarks[3].find("seek 7.40 ms on average, half a turn 4.17 ms"),
            std::string::npos)
      << report.remarks[3];
  EXPECT_TRUE(report.articles_way.empty());
  std::set<std::string> names;
  for (const Fact& fact : report.facts) {
    names.insert(fact.name);
  }
  EXPECT_EQ(names,
            (std::set<std::string>{"platter", "arm", "write cache", "read-ahead", "file system"}));
}

const ArticleFigure& figure_of(const Report& report, const std::string& target,
                               std::uint64_t block_bytes, DurabilityChoice durability) {
  for (const ArticleFigure& figure : report.articles_matrix) {
    if (figure.target == target && figure.block_bytes == block_bytes &&
        figure.durability == durability) {
      return figure;
    }
  }
  ADD_FAILURE() << target << " " << block_bytes;
  return report.articles_matrix.front();
}

// Goal:   the source articles' experiment: a byte at a time, tens to a hundred a second where each
//         has to be on the disk, the rate of the platter where they are gathered.
TEST(SimulatedTest, TheArticlesExperimentGivesTheirArithmetic) {
  using enum DurabilityChoice;
  SimulatedOptions options = small_run("hdd,zones=1,outer_mb_s=150,inner_mb_s=150");
  options.compare.articles = true;
  options.compare.scratch_bytes = 64_MiB;
  options.compare.memory_bytes.reset();
  const Report report = simulate(options);
  EXPECT_TRUE(report.cells.empty());
  ASSERT_EQ(report.articles_way.size(), 3U);
  EXPECT_EQ(report.articles_way[0].target, "file");
  EXPECT_LT(report.articles_way[0].mib_per_s, report.articles_way[1].mib_per_s);
  EXPECT_LT(report.articles_way[1].mib_per_s, report.articles_way[2].mib_per_s);

  const double byte_alone = figure_of(report, "unbuffered", 1, kEachOperation).mib_per_s * kMib;
  EXPECT_NEAR(byte_alone, 120, 1);
  EXPECT_NEAR(figure_of(report, "file", 1, kEachOperation).mib_per_s * kMib, 120, 1);
  EXPECT_NEAR(figure_of(report, "mapping", 1, kEachOperation).mib_per_s * kMib, 120, 1);
  for (const char* target : {"unbuffered", "file", "mapping"}) {
    const double rate = figure_of(report, target, 1_MiB, kAtEnd).mib_per_s * kMib;
    EXPECT_LT(rate, 150e6) << target;
    EXPECT_GT(rate, 0.9 * 150e6) << target;
  }
  EXPECT_EQ(figure_of(report, "mapping", 4096, kNone).system_calls, 0U);
  EXPECT_EQ(figure_of(report, "file", 4096, kNone).system_calls, 64_MiB / 4096);
}

TEST(SimulatedTest, AnInterruptedRunKeepsWhatItHas) {
  int asked = 0;
  double last_share = -1;
  const CompareHooks hooks{.on_progress =
                               [&](const CompareProgress& progress) {
                                 EXPECT_GT(progress.done_share, last_share);
                                 EXPECT_FALSE(progress.doing.empty());
                                 last_share = progress.done_share;
                               },
                           .should_stop = [&] { return ++asked > 5; }};
  const auto report = simulate_comparison(small_run("nvme"), hooks);
  ASSERT_TRUE(report.has_value());
  EXPECT_TRUE(report->is_interrupted);
  std::size_t rounds = 0;
  for (const Cell& cell : report->cells) {
    rounds += cell.rounds.size();
  }
  EXPECT_EQ(rounds, 5U);
}

TEST(SimulatedTest, WhatCannotBeSimulatedIsRefused) {
  const auto code_of = [](auto change) {
    SimulatedOptions options = small_run("hdd,capacity_gb=1");
    change(options);
    const auto report = simulate_comparison(options);
    EXPECT_FALSE(report.has_value());
    return report ? std::error_code() : report.error().code();
  };
  EXPECT_EQ(code_of([](auto& o) { o.compare.scratch_bytes = 4096; }), Errc::kOutOfRange);
  EXPECT_EQ(code_of([](auto& o) { o.compare.scratch_bytes = 2_GiB; }), Errc::kOutOfRange);
  EXPECT_EQ(code_of([](auto& o) { o.compare.scratch_bytes = 100_TiB; }), Errc::kOutOfRange);
  EXPECT_EQ(code_of([](auto& o) { o.compare.memory_bytes = 64_KiB; }), Errc::kOutOfRange);
  EXPECT_EQ(code_of([](auto& o) {
              o.compare.paths = {Path::kBufferedWriter};
              o.compare.patterns = {Pattern::kRandomRead};
            }),
            Errc::kUnsupported);
}

}  // namespace
}  // namespace quire::compare
