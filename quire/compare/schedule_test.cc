// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/schedule.h"

#include <gtest/gtest.h>

#include <string>

namespace quire::compare {
namespace {

// Cells of which nothing but their question and path matters.
std::vector<Cell> cells_of(std::initializer_list<std::pair<Pattern, Path>> wanted) {
  std::vector<Cell> cells;
  for (const auto& [pattern, path] : wanted) {
    cells.emplace_back();
    cells.back().pattern = pattern;
    cells.back().path = path;
  }
  return cells;
}

// A machine whose rounds take as long as they should, and whose clock is moved by them alone.
struct FakeMachine {
  double now_s = 100;
  double preparing_s = 0;
  std::string order;  // One letter per round.
  std::vector<double> seconds;
  std::function<double(const Cell&, int)> rate = [](const Cell&, int) { return 100.0; };
  std::function<std::optional<Error>(const Cell&, int)> failure = [](const Cell&, int) {
    return std::nullopt;
  };

  Result<RoundReport> run(const Cell& cell, int index, double for_s) {
    order += static_cast<char>('a' + static_cast<int>(cell.path));
    seconds.push_back(for_s);
    now_s += preparing_s;
    if (const auto error = failure(cell, index)) {
      return fail(*error);
    }
    now_s += for_s;
    RoundReport report;
    report.round.seconds = for_s;
    report.round.bytes = static_cast<std::uint64_t>(rate(cell, index) * for_s * 1048576);
    report.method = "fake";
    return report;
  }

  ScheduleParts parts(CompareHooks hooks = {}) {
    return {.run_round = [this](const Cell& cell, int index,
                                double for_s) { return run(cell, index, for_s); },
            .now_s = [this] { return now_s; },
            .hooks = std::move(hooks)};
  }
};

constexpr auto kA = Path::kReadWriteSmall;  // 'a'
constexpr auto kB = Path::kReadWriteLarge;  // 'b'
constexpr auto kC = Path::kBufferedDropBehind;

TEST(ScheduleTest, PathsOfAQuestionAreInterleavedAndTheFirstOneChanges) {
  auto cells = cells_of({{Pattern::kSequentialRead, kA},
                         {Pattern::kSequentialRead, kB},
                         {Pattern::kSequentialRead, kC},
                         {Pattern::kRandomRead, kA},
                         {Pattern::kRandomRead, kB}});
  FakeMachine machine;
  const ScheduleEnd end = run_schedule(cells, {}, machine.parts());
  // Steady rates: three passes, and all are settled.
  EXPECT_EQ(machine.order,
            "abcab"
            "bcaba"
            "cabab");
  EXPECT_FALSE(end.is_interrupted);
  EXPECT_EQ(end.cells_short, 0u);
  for (const Cell& cell : cells) {
    EXPECT_EQ(cell.rounds.size(), 3u);
    EXPECT_EQ(cell.method, "fake");
  }
}

TEST(ScheduleTest, OnlyWhatIsNotSettledGetsMoreRounds) {
  auto cells = cells_of({{Pattern::kSequentialRead, kA}, {Pattern::kSequentialRead, kB}});
  FakeMachine machine;
  machine.rate = [](const Cell& cell, int index) {
    return cell.path == kB && index < 4 && index % 2 == 0 ? 50.0 : 100.0;
  };
  const ScheduleEnd end = run_schedule(cells, {}, machine.parts());
  EXPECT_EQ(cells[0].rounds.size(), 3u);
  EXPECT_GT(cells[1].rounds.size(), 3u);
  EXPECT_LE(cells[1].spread(), 0.05);
  EXPECT_FALSE(end.is_interrupted);
}

TEST(ScheduleTest, WhatNeverSettlesEndsWithTheTimeOrTheRounds) {
  FakeMachine machine;
  machine.rate = [](const Cell&, int index) { return index % 2 == 0 ? 10.0 : 100.0; };
  auto cells = cells_of({{Pattern::kSequentialRead, kA}});
  CompareOptions options;
  options.time_budget_s = 10;
  run_schedule(cells, options, machine.parts());
  EXPECT_LE(machine.now_s, 100 + 10 + 1);
  options.time_budget_s = 1e6;
  options.rounds_max = 9;
  cells = cells_of({{Pattern::kSequentialRead, kA}});
  run_schedule(cells, options, machine.parts());
  EXPECT_EQ(cells[0].rounds.size(), 9u);
}

// A cache that warms up while a round lasts makes longer rounds faster: they must be comparable.
TEST(ScheduleTest, AllRoundsOfARunLastEquallyLong) {
  auto cells = cells_of({{Pattern::kSequentialRead, kA}, {Pattern::kRandomRead, kB}});
  FakeMachine machine;
  machine.preparing_s = 0.7;
  CompareOptions options;
  options.time_budget_s = 6;
  run_schedule(cells, options, machine.parts());
  ASSERT_EQ(machine.seconds.size(), 6u);
  for (const double seconds : machine.seconds) {
    EXPECT_DOUBLE_EQ(seconds, 0.5);
  }
}

TEST(ScheduleTest, TooShortATimeStillGivesEveryCellItsRoundsWithinTheOverrun) {
  auto cells = cells_of({{Pattern::kSequentialRead, kA}, {Pattern::kRandomRead, kB}});
  FakeMachine machine;
  machine.preparing_s = 2;
  CompareOptions options;
  options.time_budget_s = 6;
  const ScheduleEnd end = run_schedule(cells, options, machine.parts());
  EXPECT_EQ(end.cells_short, 2u);
  EXPECT_LE(machine.now_s - 100, 6 * kOverrun + 2.5);
  EXPECT_FALSE(cells[0].rounds.empty());
  EXPECT_FALSE(cells[1].rounds.empty());
}

TEST(ScheduleTest, ACellThatFailsKeepsItsRoundsAndTheOthersGoOn) {
  auto cells = cells_of({{Pattern::kSequentialRead, kA}, {Pattern::kSequentialRead, kB}});
  FakeMachine machine;
  machine.failure = [](const Cell& cell, int index) {
    return cell.path == kA && index == 1
               ? std::optional(make_error(Errc::kTruncated, "measure", "a file"))
               : std::nullopt;
  };
  const ScheduleEnd end = run_schedule(cells, {}, machine.parts());
  EXPECT_EQ(cells[0].rounds.size(), 1u);
  ASSERT_TRUE(cells[0].error);
  EXPECT_EQ(cells[0].error->code(), Errc::kTruncated);
  EXPECT_EQ(cells[1].rounds.size(), 3u);
  EXPECT_FALSE(end.is_interrupted);
  EXPECT_EQ(end.cells_short, 0u) << "a failed cell is not short of time";
}

TEST(ScheduleTest, ASkippedCellIsNeverRun) {
  auto cells = cells_of({{Pattern::kSequentialRead, kA}, {Pattern::kSequentialRead, kB}});
  cells[0].skipped = "why";
  FakeMachine machine;
  run_schedule(cells, {}, machine.parts());
  EXPECT_EQ(machine.order, "bbb");
}

TEST(ScheduleTest, CancelledRoundEndsTheRunAndIsNobodysError) {
  auto cells = cells_of({{Pattern::kSequentialRead, kA}, {Pattern::kSequentialRead, kB}});
  FakeMachine machine;
  machine.failure = [](const Cell& cell, int index) {
    return cell.path == kB && index == 1
               ? std::optional(make_error(Errc::kCancelled, "measure", "a file"))
               : std::nullopt;
  };
  const ScheduleEnd end = run_schedule(cells, {}, machine.parts());
  EXPECT_TRUE(end.is_interrupted);
  EXPECT_EQ(cells[0].rounds.size(), 1u);
  EXPECT_EQ(cells[1].rounds.size(), 1u);
  EXPECT_FALSE(cells[1].error);
}

TEST(ScheduleTest, AStopBetweenRoundsEndsTheRun) {
  auto cells = cells_of({{Pattern::kSequentialRead, kA}, {Pattern::kSequentialRead, kB}});
  FakeMachine machine;
  const auto parts =
      machine.parts({.on_progress = {}, .should_stop = [&] { return machine.order.size() >= 4; }});
  EXPECT_TRUE(run_schedule(cells, {}, parts).is_interrupted);
  EXPECT_EQ(machine.order, "abba");
}

TEST(ScheduleTest, ProgressNeverGoesBackAndEndsBelowOne) {
  auto cells = cells_of({{Pattern::kSequentialRead, kA}, {Pattern::kRandomRead, kB}});
  FakeMachine machine;
  double last = 0;
  const auto parts = machine.parts({.on_progress =
                                        [&](const CompareProgress& progress) {
                                          EXPECT_GE(progress.done_share, last);
                                          EXPECT_LE(progress.done_share, 1);
                                          EXPECT_GE(progress.left_s.value(), 0);
                                          last = progress.done_share;
                                        },
                                    .should_stop = {}});
  CompareOptions options;
  options.time_budget_s = 3;
  run_schedule(cells, options, parts);
  EXPECT_GT(last, 0);
}

}  // namespace
}  // namespace quire::compare
