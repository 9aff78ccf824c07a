// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/question.h"

#include <gtest/gtest.h>

#include "quire/compare/report_samples.h"

namespace quire::compare {
namespace {

TEST(QuestionTest, CellsThatDifferInMoreThanThePathAreNotCompared) {
  const SampleCell base;
  SampleCell warm = base;
  warm.state = State::kWarm;
  SampleCell exceeding = base;
  exceeding.exceeds_memory = true;
  SampleCell flushed = base;
  flushed.durability = DurabilityChoice::kAtEnd;
  SampleCell other = base;
  other.path = Path::kDirect;
  const std::vector<Cell> cells{sample_cell(base), sample_cell(warm), sample_cell(exceeding),
                                sample_cell(flushed), sample_cell(other)};
  const std::vector<Answers> groups = group_by_question(cells);
  ASSERT_EQ(groups.size(), 4U);
  EXPECT_EQ(groups[0].cells, (std::vector<const Cell*>{&cells[0], &cells[4]}));
  for (std::size_t index = 1; index < groups.size(); ++index) {
    EXPECT_EQ(groups[index].cells.size(), 1U);
  }
}

TEST(QuestionTest, WhatFitsComesBeforeWhatExceedsAndColdBeforeWarm) {
  std::vector<Cell> cells;
  for (const bool exceeds_memory : {true, false}) {
    for (const State state : {State::kWarm, State::kCold}) {
      cells.push_back(sample_cell({.state = state, .exceeds_memory = exceeds_memory}));
    }
  }
  std::vector<std::string> conditions;
  for (const Answers& group : group_by_question(cells)) {
    conditions.push_back(conditions_of(group.question));
  }
  EXPECT_EQ(conditions,
            (std::vector<std::string>{
                "cold, 128 MiB in 256 MiB of memory", "warm, 128 MiB in 256 MiB of memory",
                "cold, 1 GiB in 256 MiB of memory", "warm, 1 GiB in 256 MiB of memory"}));
}

TEST(QuestionTest, DurabilityIsNamedForPatternsThatWrite) {
  Question question;
  question.pattern = Pattern::kAppend;
  question.state = State::kWarm;
  question.durability = DurabilityChoice::kEachOperation;
  question.working_set_bytes = 4096;
  EXPECT_EQ(conditions_of(question), "warm, 4 KiB, each write flushed");
  question.pattern = Pattern::kRandomRead;
  EXPECT_EQ(conditions_of(question), "warm, 4 KiB");
}

TEST(QuestionTest, ADepthAboveOneIsPartOfThePathsName) {
  EXPECT_EQ(label_of(sample_cell({.path = Path::kDirectQueued, .depth = 32})),
            "direct, queued (32)");
  EXPECT_EQ(label_of(sample_cell({.path = Path::kDirect})), "direct, one at a time");
}

}  // namespace
}  // namespace quire::compare
