// SPDX-License-Identifier: Apache-2.0
//
// answer_table: the cells of one question as rows of text, for the terminal and the HTML report.
//
// The fastest path comes first; what failed or was skipped comes last, with its reason. A column
// that no row has anything for is not there. Counts are for each MiB moved, because cells have
// different numbers of rounds.
//
// Marks:         in a column of their own, without a title, after the rate; explain_marks() says
//                what those that occur mean.
// Thread-safety: pure functions; cells live in the report.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "quire/compare/question.h"
#include "quire/compare/report.h"

namespace quire::compare::internal {

struct TableColumn {
  std::string title;
  const char* meaning = "";  // A sentence, for a tooltip or a legend.
  int importance = 0;        // On a narrow terminal the least important one goes first.
};

enum class Standing : std::uint8_t { kWinner, kTie, kSlower, kCeiling, kNoResult };

struct TableRow {
  const Cell* cell = nullptr;
  Standing standing = Standing::kSlower;
  std::vector<std::string> texts;  // One for each column, the path first. None without a result.
  std::string reason;              // reason_of(cell)
};

struct AnswerTable {
  std::vector<TableColumn> columns;
  std::vector<TableRow> rows;
};

// `verdict` may be null.
[[nodiscard]] AnswerTable answer_table(const Answers& answers, const Verdict* verdict);
[[nodiscard]] const Verdict* verdict_for(const Report& report, const Question& question) noexcept;

// "?", "!", "~", "*" in any combination; empty when there is nothing to doubt.
[[nodiscard]] std::string marks_of(const Cell& cell);
// A sentence for each mark that a cell of the report has.
[[nodiscard]] std::vector<std::string> explain_marks(const Report& report);

// The error with what to do, or why there is no result; empty when there is one and no error.
[[nodiscard]] std::string reason_of(const Cell& cell);

}  // namespace quire::compare::internal
