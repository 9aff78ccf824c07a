// SPDX-License-Identifier: Apache-2.0
//
// measure: one round, in this process: the state made and looked at, the loop run between two
// readings of every counter, what it wrote checked.
//
//   enter the memory bound -> cold: evict, or warm: read in -> open -> look at the page cache
//     -> counters -> run -> counters -> look at the page cache -> check -> write back
//
// A path with memory of its own (PathEngine) finds the page cache empty; warm, it reads in after it
// is opened.
//
// A warm working set that exceeds memory is in the state that the path itself leaves it in: it runs
// unmeasured before it is measured, through the same open file.
//
// Counters come from the kernel: rusage of the process (CPU, faults), /proc/self/io (bytes that it
// read from devices), /sys/dev/block/M:m/stat (bytes that the device wrote, whoever's they are),
// cachestat (page cache of the file). What cannot be read is not known.
//
// Thread-safety: one thread. For a process of its own: it stays in the memory bound.
// Errors:        of the calls; kCorrupt when bytes were not what they must be.
#pragma once

#include <cstdint>

#include "quire/base/result.h"
#include "quire/compare/memory_bound.h"
#include "quire/compare/options.h"
#include "quire/compare/path_runner.h"
#include "quire/compare/report.h"
#include "quire/compare/target.h"
#include "quire/compare/worker.h"

namespace quire::compare {

struct RoundRequest {
  int index = 0;  // Rounds of one index are asked for the same pages, on every path.
  double seconds = 1;
  std::uint64_t seed = 1;
};

// What the round of a cell does, but for the pages drawn.
[[nodiscard]] Workload make_workload(const Cell& cell, const Target& target,
                                     const RoundRequest& request);

[[nodiscard]] Result<RoundReport> measure_round(const Cell& cell, const Target& target,
                                                const RoundRequest& request,
                                                const MemoryBound* bound);

// The same with a given runner and work, whose pages it uses up: for benches and tests.
[[nodiscard]] Result<RoundReport> measure_round(const Cell& cell, const Target& target,
                                                Workload& work, PathRunner& runner);

}  // namespace quire::compare
