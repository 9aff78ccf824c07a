// SPDX-License-Identifier: Apache-2.0
//
// question: which cells answer the same question, and can be compared.
//
//   Question  pattern, state, durability, working set, memory
//     '-- the cells of a report that have all five in common: one for each path
//
// Everything that is printed goes question by question: a factor between two cells of different
// questions would say nothing.
//
// Thread-safety: pure functions.
#pragma once

#include <string>
#include <vector>

#include "quire/compare/report.h"

namespace quire::compare {

struct Answers {
  Question question;
  std::vector<const Cell*> cells;  // As comes_before() says; they live in the report.
};

// The order of cells of one question: by path, then by depth, then as in the report.
// REQUIRES: both live in one report.
[[nodiscard]] bool comes_before(const Cell* left, const Cell* right) noexcept;

[[nodiscard]] Question question_of(const Cell& cell) noexcept;

// By pattern; within it what fits before what exceeds, cold before warm.
[[nodiscard]] std::vector<Answers> group_by_question(const std::vector<Cell>& cells);

// What of it is not the pattern: "cold, 1.0 GiB in 256 MiB of memory", "warm, 128 MiB, flushed at
// the end". The durability is named for patterns that write.
[[nodiscard]] std::string conditions_of(const Question& question);

// The path, with its depth where there is more than one request under way: "direct, queued (32)".
[[nodiscard]] std::string label_of(const Cell& cell);

}  // namespace quire::compare
