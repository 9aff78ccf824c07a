// SPDX-License-Identifier: Apache-2.0
//
// schedule: which cell is measured next, and for how long.
//
//   pass 1   A1 A2 A3 A4 | B1 B2 B3 | C1 ...       cells of one question back to back, so that a
//   pass 2   A2 A3 A4 A1 | B2 B3 B1 | C1 ...       disturbance of the machine meets all of them;
//   pass 3   A3 A4 A1 A2 | ...                     each pass begins with another one
//   after    only cells whose spread is above the target, until the time is over
//
// All rounds of a run are meant to last equally long: what the time budget leaves to each when
// every cell gets rounds_min of them, and preparing takes as long as measuring.
//
// A cell that fails keeps its rounds and gets no more. The passes up to rounds_min are finished
// when the budget is too small for them, up to kOverrun times the budget.
//
// Thread-safety: one thread. The clock and the runner of rounds are the caller's, so that tests
//                replay any schedule.
#pragma once

#include <functional>
#include <vector>

#include "quire/base/result.h"
#include "quire/compare/options.h"
#include "quire/compare/report.h"
#include "quire/compare/worker.h"

namespace quire::compare {

struct ScheduleParts {
  // Measures `cell` once, for about `seconds`.
  std::function<Result<RoundReport>(const Cell& cell, int round_index, double seconds)> run_round;
  std::function<double()> now_s;  // From any start; never goes back.
  CompareHooks hooks;
};

struct ScheduleEnd {
  bool is_interrupted = false;
  std::uint64_t cells_short = 0;  // With fewer rounds than rounds_min, and without an error.
};

inline constexpr double kOverrun = 1.5;
// Shorter rounds measure the start of a loop; longer ones leave none for the others.
inline constexpr double kRoundSecondsMin = 0.04;
inline constexpr double kRoundSecondsMax = 1.0;

// Fills in rounds, method, fallback, engine and error of the cells that are not skipped.
ScheduleEnd run_schedule(std::vector<Cell>& cells, const CompareOptions& options,
                         const ScheduleParts& parts);

}  // namespace quire::compare
