// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "quire/base/units.h"
#include "quire/compare/question.h"

namespace quire::compare {
namespace {

Possibilities scratch(std::uint64_t file_bytes, std::optional<std::uint64_t> limit_bytes) {
  return {.file_bytes = file_bytes,
          .is_writable = true,
          .limit_bytes = limit_bytes,
          .available_bytes = 8_GiB,
          .why_never_cold = std::nullopt,
          .why_not_direct = std::nullopt};
}

template <typename Predicate>
std::size_t count_if(const std::vector<Cell>& cells, Predicate&& predicate) {
  return static_cast<std::size_t>(std::count_if(cells.begin(), cells.end(), predicate));
}

TEST(PlanTest, EveryPatternAndPathOfAScratchFileIsThere) {
  std::set<Path> paths;
  std::set<Pattern> patterns;
  for (const Cell& cell : plan_cells({}, scratch(1_GiB, 256_MiB))) {
    paths.insert(cell.path);
    patterns.insert(cell.pattern);
    EXPECT_EQ(cell.memory_bytes, 256_MiB);
    EXPECT_FALSE(cell.skipped);
  }
  EXPECT_EQ(paths.size(), static_cast<std::size_t>(kPathCount));
  EXPECT_EQ(patterns.size(), static_cast<std::size_t>(kPatternCount));
}

TEST(PlanTest, NoTwoCellsAreTheSame) {
  const std::vector<Cell> cells = plan_cells({}, scratch(1_GiB, 256_MiB));
  for (std::size_t i = 0; i < cells.size(); ++i) {
    for (std::size_t j = i + 1; j < cells.size(); ++j) {
      EXPECT_FALSE(cells[i].path == cells[j].path && question_of(cells[i]) == question_of(cells[j]))
          << i << " and " << j;
    }
  }
}

// The schedule rotates within a question, so its cells must stand together.
TEST(PlanTest, CellsOfOneQuestionStandTogether) {
  const std::vector<Cell> cells = plan_cells({}, scratch(1_GiB, 256_MiB));
  std::vector<Question> seen;
  for (const Cell& cell : cells) {
    const Question question = question_of(cell);
    if (seen.empty() || !(seen.back() == question)) {
      EXPECT_EQ(std::count(seen.begin(), seen.end(), question), 0);
      seen.push_back(question);
    }
  }
}

TEST(PlanTest, UserFileIsNeverWritten) {
  Possibilities possible = scratch(1_GiB, std::nullopt);
  possible.is_writable = false;
  const std::vector<Cell> cells = plan_cells({}, possible);
  EXPECT_FALSE(cells.empty());
  EXPECT_EQ(count_if(cells, [](const Cell& cell) { return is_write(cell.pattern); }), 0u);
}

TEST(PlanTest, WorkingSetsFitHalfOfTheLimitOrAreTheWholeFile) {
  for (const Cell& cell : plan_cells({}, scratch(1_GiB, 256_MiB))) {
    EXPECT_TRUE(cell.exceeds_memory ? cell.working_set_bytes == 1_GiB
                                    : cell.working_set_bytes <= 128_MiB)
        << name_of(cell.pattern);
  }
}

TEST(PlanTest, FileThatFitsHasNoWorkingSetBeyondMemory) {
  const std::vector<Cell> cells = plan_cells({}, scratch(64_MiB, 256_MiB));
  EXPECT_EQ(count_if(cells, [](const Cell& cell) { return cell.exceeds_memory; }), 0u);
  EXPECT_GT(count_if(cells, [](const Cell& cell) { return cell.pattern == Pattern::kSkewedRead; }),
            0u);
}

TEST(PlanTest, WithoutALimitTheMachineIsTheMemory) {
  Possibilities possible = scratch(16_GiB, std::nullopt);
  possible.available_bytes = 8_GiB;
  const std::vector<Cell> cells = plan_cells({}, possible);
  EXPECT_GT(count_if(cells, [](const Cell& cell) { return cell.exceeds_memory; }), 0u);
  for (const Cell& cell : cells) {
    EXPECT_EQ(cell.memory_bytes, std::nullopt);
  }
}

TEST(PlanTest, OnePageIsEnoughForEveryPattern) {
  const std::vector<Cell> cells = plan_cells({}, scratch(4096, std::nullopt));
  EXPECT_FALSE(cells.empty());
  for (const Cell& cell : cells) {
    EXPECT_EQ(cell.working_set_bytes, 4096u);
  }
}

TEST(PlanTest, WhatCannotBeDoneIsSkippedWithItsReason) {
  Possibilities possible = scratch(1_GiB, std::nullopt);
  possible.why_not_direct = "no direct";
  possible.why_never_cold = "no cold";
  possible.why_not_paged = "no faults";
  for (const Cell& cell : plan_cells({}, possible)) {
    const bool is_direct = cell.path == Path::kDirect || cell.path == Path::kDirectQueued;
    const bool is_new_file =
        cell.pattern == Pattern::kSequentialWrite || cell.pattern == Pattern::kAppend;
    if (is_direct) {
      EXPECT_EQ(cell.skipped, "no direct");
    } else if (is_paged(cell.path)) {
      EXPECT_EQ(cell.skipped, "no faults");
    } else if (cell.state == State::kCold && !is_new_file) {
      EXPECT_EQ(cell.skipped, "no cold");
    } else {
      EXPECT_EQ(cell.skipped, std::nullopt);
    }
  }
}

TEST(PlanTest, ThePagerAnswersEveryQuestionUnlessThereIsNone) {
  Possibilities possible = scratch(1_GiB, 256_MiB);
  const std::vector<Cell> cells = plan_cells({}, possible);
  for (const Answers& answers : group_by_question(cells)) {
    EXPECT_EQ(std::count_if(answers.cells.begin(), answers.cells.end(),
                            [](const Cell* cell) { return cell->path == Path::kPaged; }),
              1)
        << conditions_of(answers.question);
  }
  possible.has_pager = false;
  EXPECT_EQ(
      count_if(plan_cells({}, possible), [](const Cell& cell) { return is_paged(cell.path); }), 0u);
}

TEST(PlanTest, ChoicesLeaveOnlyWhatWasChosen) {
  CompareOptions options;
  options.patterns = {Pattern::kRandomRead, Pattern::kRandomUpdate};
  options.paths = {Path::kMapDefault, Path::kDirectQueued};
  options.states = {State::kCold};
  options.durabilities = {DurabilityChoice::kAtEnd};
  options.depth = 7;
  const std::vector<Cell> cells = plan_cells(options, scratch(1_GiB, 256_MiB));
  ASSERT_EQ(cells.size(), 4u);
  for (const Cell& cell : cells) {
    EXPECT_EQ(cell.state, State::kCold);
    EXPECT_EQ(cell.depth, cell.path == Path::kDirectQueued ? 7u : 1u);
    EXPECT_EQ(cell.durability,
              is_write(cell.pattern) ? DurabilityChoice::kAtEnd : DurabilityChoice::kNone);
  }
}

TEST(PlanTest, ChoicesThatExcludeEverythingLeaveNothing) {
  CompareOptions options;
  options.patterns = {Pattern::kAppend};
  options.paths = {Path::kDirectQueued};
  EXPECT_TRUE(plan_cells(options, scratch(1_GiB, std::nullopt)).empty());
}

// Each cell needs three rounds within a minute, and making its state takes as long as measuring.
TEST(PlanTest, TheDefaultRunHasRoundsOfATenthOfASecond) {
  const std::size_t cells = plan_cells({}, scratch(1_GiB, 256_MiB)).size();
  EXPECT_GT(60.0 / 2 / 3 / static_cast<double>(cells), 0.1);
}

}  // namespace
}  // namespace quire::compare
