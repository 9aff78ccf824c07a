// SPDX-License-Identifier: Apache-2.0
//
// simulated: the same comparison on a simulated disk under a simulated clock (quire/sim).
//
//   options -> plan_cells() -> per cell and round: a fresh host and disk -> Round
//                                                    '-- the clock, the counters: simulated
//           -> the articles' experiment and its arithmetic -> make_verdicts() -> Report
//
// Nothing is measured: every number follows from the models, and the same options give the same
// report to the last digit. What it is for: to see what a disk of another kind would make of a
// pattern, and why; and to repeat the source articles' arithmetic, in which a byte written without
// a buffer costs a turn of the platter.
//
// What is left out: a file system (growing a file costs nothing), other processes, processors
// beyond the first, CPU caches, and the paged paths. Rounds of a cell differ in where the platter
// stands and which pages are drawn.
//
// Thread-safety: one thread.
// Cost:          no device is touched; seconds for a file of a few GiB.
#pragma once

#include "quire/base/result.h"
#include "quire/compare/options.h"
#include "quire/compare/report.h"
#include "quire/sim/disk_model.h"
#include "quire/sim/sim_host.h"

namespace quire::compare {

struct SimulatedOptions {
  // As for a real comparison. Of a file only the size matters: scratch_bytes. There is no time
  // budget; every cell gets rounds_min rounds.
  CompareOptions compare;
  sim::DiskModel disk = sim::preset(sim::DiskKind::kHdd);
  sim::HostModel host;
};

// Smaller files have too few pages for the patterns; larger ones only take longer.
inline constexpr std::uint64_t kSimulatedBytesMin = std::uint64_t{1} << 20;
inline constexpr std::uint64_t kSimulatedBytesMax = std::uint64_t{64} << 30;
inline constexpr std::uint64_t kSimulatedMemoryBytesMin = std::uint64_t{4} << 20;

// Errors: kOutOfRange for a file too small or too large, for the disk too; or for too little
//         memory; kUnsupported when the options exclude everything.
[[nodiscard]] Result<Report> simulate_comparison(const SimulatedOptions& options,
                                                 const CompareHooks& hooks = {});

}  // namespace quire::compare
