// SPDX-License-Identifier: Apache-2.0
//
// simulate_run: from a trace or a formula to one row for each policy and each size of memory.
//
//   trace file --TraceLoader--+                    +-- CacheSimulation: fifo, clock, s3fifo, lru
//                             +--> AccessSource ---+
//   formula --SyntheticSource-+    (survey first)  +-- belady(), which needs all accesses at once
//
// Thread-safety: the thread of main().
// Errors:        of the file and the trace in it; kLimit where the accesses or the memory asked for
//                cannot be simulated.
// Cost:          a pass over the accesses for each row, and one before; 10 to 200 ns an access.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "quire/cli/session.h"
#include "quire/cli/simulate_output.h"
#include "quire/policy/replacement.h"
#include "quire/policy/trace_source.h"

namespace quire::cli {

// Of Belady's optimum, which keeps all accesses in memory: 4 GiB.
inline constexpr std::uint64_t kBeladyAccessesMax = std::uint64_t{1} << 30;

// A number of bytes, or a share of the pages that are accessed.
struct MemoryShare {
  double percent;
};
using MemorySize = std::variant<std::uint64_t, MemoryShare>;

struct SimulatedPolicy {
  std::string name;
  std::optional<PolicyKind> kind;  // Nothing: Belady's optimum.
};

struct SimulateRequest {
  std::string trace;  // Empty: the formula.
  std::string workload_text;
  SyntheticOptions formula;
  std::vector<SimulatedPolicy> policies;
  std::vector<MemorySize> memory;
  std::uint32_t granule_bytes = 0;  // 0: the trace's pages, or 4 KiB.
  std::uint64_t read_ahead_bytes = 0;
};

struct SimulateOutcome {
  SimulatedLoad load;
  std::vector<SimulationRow> rows;  // Ascending by memory; fewer when it was stopped.
  std::size_t rows_wanted = 0;
};

[[nodiscard]] Result<SimulateOutcome> run_simulations(Session& session,
                                                      const SimulateRequest& request);

}  // namespace quire::cli
