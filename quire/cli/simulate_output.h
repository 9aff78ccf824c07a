// SPDX-License-Identifier: Apache-2.0
//
// simulate_output: what `quire simulate` says: a table of policies for one size of memory, curves
// for several, or JSON.
//
// Thread-safety: the thread of main().
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "quire/cli/session.h"
#include "quire/policy/cache_simulation.h"

namespace quire::cli {

// What was replayed.
struct SimulatedLoad {
  std::optional<std::string> trace;     // A file, or
  std::optional<std::string> workload;  // a formula.
  std::uint64_t seed = 0;
  std::uint64_t accesses = 0;
  std::uint64_t stores = 0;
  std::uint32_t pages = 0;  // Different ones.
  std::uint32_t granule_bytes = 0;
  std::uint64_t read_ahead_bytes = 0;
  bool has_faults_only = false;

  [[nodiscard]] std::uint64_t footprint_bytes() const noexcept {
    return std::uint64_t{pages} * granule_bytes;
  }
};

// One policy in one size of memory.
struct SimulationRow {
  std::string policy;
  std::uint32_t memory_pages = 0;
  SimulationStats stats;
  double seconds = 0;  // That it took to simulate.
};

void write_load(JsonWriter& json, const SimulatedLoad& load);
void write_row(JsonWriter& json, const SimulatedLoad& load, const SimulationRow& row);
// Rows stand in the order of their memory sizes.
void print_simulation(Session& session, const SimulatedLoad& load,
                      const std::vector<SimulationRow>& rows);

}  // namespace quire::cli
