// SPDX-License-Identifier: Apache-2.0
//
// simulated_round: one round of one cell on a host and a disk of its own.
//
// The loops are those of the real paths (path_*.cc) in the calls of quire/sim/sim_file.h. A program
// looks at what it reads: that costs a pass over the bytes, on every path alike.
//
// Thread-safety: pure functions.
#pragma once

#include <cstdint>

#include "quire/compare/report.h"
#include "quire/compare/simulated.h"

namespace quire::compare::internal {

// The most that one round does. A simulated second costs nothing, but an operation does.
inline constexpr std::uint64_t kSimulatedScanBytesMax = std::uint64_t{256} << 20;
inline constexpr std::uint64_t kSimulatedAppendBytesMax = std::uint64_t{16} << 20;
inline constexpr std::uint64_t kSimulatedVisitsMax = 65536;  // Of pages in memory,
inline constexpr std::uint64_t kSimulatedPassesMax = 8;      // and of each of them on average.
inline constexpr std::uint64_t kSimulatedWaitsMax = 2000;    // Of pages that may be on the disk.
inline constexpr std::uint64_t kSimulatedDurableMax = 250;   // Each on the disk before the next.

// The round's start_s is 0: the caller knows when it was.
[[nodiscard]] Round simulate_round(const Cell& cell, const SimulatedOptions& options,
                                   std::uint64_t file_bytes, int round_index);

// Where the platter stands when a round begins: anywhere, but the same for all cells.
[[nodiscard]] sim::SimTime round_start(const SimulatedOptions& options, int round_index) noexcept;

}  // namespace quire::compare::internal
