// SPDX-License-Identifier: Apache-2.0
//
// report_samples: reports that no machine made, for the tests of what is made of reports.
//
// Every number follows from a formula, so that two runs give the same report. The full sample has
// all patterns, states and durabilities, a failed cell, a skipped one, unverified ones, ties; the
// hostile one has file names and errors that would break out of HTML, scripts and terminals.
//
// Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <string>

#include "quire/compare/report.h"

namespace quire::compare {

// A cell of random 4 KiB reads, or of what is set afterwards, with rounds of the given rate.
struct SampleCell {
  Path path = Path::kReadWriteSmall;
  Pattern pattern = Pattern::kRandomRead;
  State state = State::kCold;
  DurabilityChoice durability = DurabilityChoice::kNone;
  double mib_per_s = 100;
  double spread = 0.02;  // Of the rounds, as Cell::spread() gives it back, about.
  std::size_t rounds = 5;
  double cpu_s_per_gib = 0.5;
  bool exceeds_memory = false;
  std::uint32_t depth = 1;
};

[[nodiscard]] Cell sample_cell(const SampleCell& sample);
[[nodiscard]] Cell failed_cell(const SampleCell& sample, const std::string& cause);

// Without verdicts.
[[nodiscard]] Report sample_report(std::vector<Cell> cells);

[[nodiscard]] Report full_sample();
[[nodiscard]] Report hostile_sample();
[[nodiscard]] Report empty_sample();
[[nodiscard]] Report articles_sample();

// What a file name must not be able to do: it holds `</script>`, quotes, an entity, a comment, ...
[[nodiscard]] std::string hostile_text();

}  // namespace quire::compare
