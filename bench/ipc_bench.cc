// SPDX-License-Identifier: Apache-2.0
//
// What passing messages and locking through shared memory takes, against the bare means of the
// machine and what others use for it. Figures of docs/benchmarks.md.
//
//   ipc_bench [--only=sync|locks|rings] [--rounds=N] [--smoke] [--json]
//
// Two processors at least, and nothing else at work on them. --only: one part. --smoke: a moment
// of everything; the goals do not count then.
#include "bench/ipc_bench.h"

#include <array>
#include <string>
#include <string_view>

#include "bench/bench.h"

namespace quire::bench {
namespace {

struct Part {
  const char* name;
  nlohmann::json (*measure)(const IpcBenchOptions&);
  void (*print)(const nlohmann::json&);
};

constexpr std::array kParts{Part{"sync", measure_sync, print_sync},
                            Part{"locks", measure_locks, print_locks},
                            Part{"rings", measure_rings, print_rings}};

void print_report(const nlohmann::json& report) {
  for (const Part& part : kParts) {
    if (report.contains(part.name)) {
      part.print(report[part.name]);
    }
  }
}

int run(const Arguments& arguments) {
  const bool is_smoke = arguments.has("smoke");
  const IpcBenchOptions options{.rounds = arguments.number("rounds", is_smoke ? 1 : 7),
                                .is_smoke = is_smoke};
  const std::string only = arguments.text("only", "");
  nlohmann::json report{{"machine", machine_facts()}, {"rounds", options.rounds}};
  for (const Part& part : kParts) {
    if (only.empty() || only == part.name) {
      report[part.name] = part.measure(options);
    }
  }
  const int outcome = finish(arguments, report, print_report);
  return is_smoke ? 0 : outcome;
}

}  // namespace
}  // namespace quire::bench

int main(int argc, char** argv) {
  return quire::bench::run(quire::bench::Arguments(
      argc, argv,
      {{.form = "only=PART",
        .text = "sync, locks or rings",
        .names = [] { return quire::bench::names_of(quire::bench::kParts); }},
       quire::bench::kRounds,
       {"smoke", "a moment of everything; goals do not count"}}));
}
