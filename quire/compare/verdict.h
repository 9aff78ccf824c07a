// SPDX-License-Identifier: Apache-2.0
//
// verdict: the answer to each question of a report, in one sentence, with what it takes to get it.
//
//   rate  ^        ,-- fastest: the highest median
//         |   [ A ]
//         |     [ B ]      B's margin reaches A's: not told apart, a tie
//         |            [ C ]   slower
//
// Margin:   half the middle half of the rounds around the median, and never less than kMarginMin,
//           or kMarginFewRounds where there are too few rounds for a spread. Medians whose margins
//           overlap are a tie: calling one of them faster would be reading noise.
// Winner:   of those that tie with the fastest, the simplest: the usual choice before any other, a
//           plain call before a queue. The others are `ties`.
// Factor:   the winner's median over that of the usual choice (read()/write()); where the usual
//           choice is the winner, over the next slower path.
// Left out: memory, which is the ceiling and no path to a file; a cell asked to be cold or direct
//           that was seen not to be.
//
// Thread-safety: pure functions of the report.
#pragma once

#include <vector>

#include "quire/compare/report.h"

namespace quire::compare {

// Two runs of one loop on a quiet machine differ by about as much.
inline constexpr double kMarginMin = 0.02;
// With one or two rounds nobody knows the spread; on a shared machine it is often this.
inline constexpr double kMarginFewRounds = 0.10;
inline constexpr std::size_t kRoundsForSpread = 3;

// One verdict for each question, in the order of group_by_question().
[[nodiscard]] std::vector<Verdict> make_verdicts(const Report& report);

// What the pattern is usually done with, and what the others are held against.
[[nodiscard]] Path usual_path(Pattern pattern) noexcept;

}  // namespace quire::compare
