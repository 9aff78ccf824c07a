// SPDX-License-Identifier: Apache-2.0
//
// ipc_bench_run: the rounds of `quire ipc bench`. Each side of a question runs for a moment in
// processes of its own, then the next side, and so on, in rotating order, round after round: what
// the machine does meanwhile meets all of them.
//
//   rate       how often in a second, one after the other
//   ratio      of the first side's rate to this one's, round by round: median, least and most
//   latency    of a round trip that was due at even distances, measured from when it was due, so
//              that a delay is told by all that it delays (no coordinated omission)
//
// Thread-safety: one thread, in a process that has no other one (it forks).
// Errors:        what kept it from running at all; a side that cannot be measured says why.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "quire/base/result.h"
#include "quire/compare/report.h"

namespace quire::cli {

struct BenchRatio {
  double median = 0;
  double least = 0;
  double most = 0;
};

struct BenchSide {
  std::string name;
  std::vector<double> rates = {};                // Of each round, in a second.
  std::vector<compare::Latency> latencies = {};  // Of each round; of round trips alone.
  std::string problem = {};                      // Why there are no rates.

  [[nodiscard]] double median_rate() const;  // 0 without rates.
  // The medians of the rounds; max: of all. Nothing without latencies.
  [[nodiscard]] std::optional<compare::Latency> latency() const;
};

struct BenchQuestion {
  std::string name;
  std::string unit;                   // "messages/s"
  std::vector<BenchSide> sides = {};  // The first is ours.

  // Nothing where one of the two has no rates.
  [[nodiscard]] std::optional<BenchRatio> ratio_to(const BenchSide& side) const;
};

struct BenchOptions {
  double seconds = 20;
  bool pins =
      true;  // Of two processes that talk, each stays on a processor; the same for all sides.
  std::function<bool(double share, const std::string& doing)> go_on = {};  // False: stop.
};

// What was finished, when it was stopped.
[[nodiscard]] Result<std::vector<BenchQuestion>> run_ipc_bench(const BenchOptions& options);

}  // namespace quire::cli
