// SPDX-License-Identifier: Apache-2.0
//
// engine: the whole of a comparison on a real disk: target, facts, plan, schedule, report.
//
// Thread-safety: one thread; the process has no other one (each round is a forked child).
// Errors:        what keeps the comparison from beginning: a file that is missing, empty or no
//                file, no space for a scratch file, options that exclude everything. What goes
//                wrong later is in the report, at its cell.
// Blocks:        for about options.time_budget_s, or until hooks.should_stop().
#pragma once

#include "quire/base/result.h"
#include "quire/compare/options.h"
#include "quire/compare/report.h"

namespace quire::compare {

[[nodiscard]] Result<Report> run_comparison(const CompareOptions& options,
                                            const CompareHooks& hooks);

}  // namespace quire::compare
