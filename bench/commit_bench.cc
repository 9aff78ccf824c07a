// SPDX-License-Identifier: Apache-2.0
//
// commit_bench: durable, atomic transactions: quire's journal and mappings against LMDB, SQLite
// and what the disk can do at best.
//
//   build/release/bench/commit_bench [--case=NAME] [--side=NAME] [--list] [--dir=.] [--rounds=5]
//                                    [--seconds=2] [--data-mib=64] [--large-mib=64]
//                                    [--recovery-mib=1024] [--recovery-memory-mib=N] [--smoke]
//                                    [--json]
//
// commit_bench.h has the rule of fairness. --side leaves the others out, for a profiler; then there
// are no figures. --smoke: a moment of everything with tiny files; the goals do not count then.
// What is there of an earlier run in DIR/commit_bench.files is removed, and so is everything at the
// end.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "bench/commit_bench.h"

namespace quire::bench {
namespace {

constexpr double kSmokeSeconds = 0.001;

std::vector<CommitCase> all_cases() {
  std::vector<CommitCase> cases;
  for (const auto& some : {transaction_cases(), write_cases(), recovery_cases(), mapping_cases()}) {
    cases.insert(cases.end(), some.begin(), some.end());
  }
  return cases;
}

CommitSetting setting_of(const Arguments& arguments) {
  const bool is_smoke = arguments.has("smoke");
  CommitSetting setting{
      .race = {.directory = arguments.text("dir", ".") + "/commit_bench.files",
               .rounds = arguments.number("rounds", is_smoke ? 1 : 5),
               .seconds =
                   is_smoke ? kSmokeSeconds : static_cast<double>(arguments.number("seconds", 2)),
               .only_side = arguments.text("side", "")},
      .data_bytes = arguments.number("data-mib", is_smoke ? 8 : 64) * 1_MiB,
      .large_bytes = arguments.number("large-mib", is_smoke ? 2 : 64) * 1_MiB,
      .recovery_bytes = arguments.number("recovery-mib", is_smoke ? 4 : 1024) * 1_MiB};
  if (const std::uint64_t mib = arguments.number("recovery-memory-mib", 0); mib > 0) {
    setting.recovery_memory_bytes = mib * 1_MiB;
  }
  return setting;
}

nlohmann::json run(const Arguments& arguments) {
  const CommitSetting setting = setting_of(arguments);
  const std::string wanted = arguments.text("case", "");
  std::filesystem::remove_all(setting.race.directory);
  std::filesystem::create_directories(setting.race.directory);
  nlohmann::json cases = nlohmann::json::array();
  for (const CommitCase& one : all_cases()) {
    if (wanted.empty() || wanted == one.name) {
      nlohmann::json found = one.run(setting);
      found["case"] = one.name;
      found["text"] = one.text;
      found.erase("limit_bytes");  // There is none here.
      cases.push_back(std::move(found));
    }
  }
  nlohmann::json machine = machine_facts(setting.race.directory);
  std::filesystem::remove_all(setting.race.directory);
  check_side(arguments, cases);
  return {{"benchmark", "commit"},
          {"data_bytes", setting.data_bytes},
          {"large_bytes", setting.large_bytes},
          {"recovery_bytes", setting.recovery_bytes},
          {"cases", cases},
          {"machine", std::move(machine)}};
}

// "rate 1234 (spread 2.0 %)", when there is such a number.
std::string text_of(const nlohmann::json& side, const char* number, const char* label) {
  if (!side.contains(number)) {
    return "";
  }
  const double median = side[number]["median"].get<double>();
  return fmt::format("  {} {:.{}f} ({:.1f} %)", label, median, median < 100 ? 2 : 0,
                     100 * side[number]["spread"].get<double>());
}

void print_side(const std::string& name, const nlohmann::json& side) {
  fmt::print("  {:<16}{}{}{}{}{}{}{}{}{}\n", name, text_of(side, "rate", "per s"),
             text_of(side, "settled_rate", "settled"), text_of(side, "cpu_ns_per_op", "CPU ns"),
             text_of(side, "device_write_bytes_per_commit", "bytes written"),
             text_of(side, "device_flushes_per_commit", "flushes"),
             text_of(side, "faults_per_op", "faults"), text_of(side, "p50_ns", "p50 ns"),
             text_of(side, "p99_ns", "p99 ns"), text_of(side, "max_ns", "max ns"));
  if (side.contains("counters")) {
    fmt::print("    {}\n", side["counters"].dump());
  }
}

std::string heading_of(const nlohmann::json& one) {
  return fmt::format("{}: {}", one["case"].get<std::string>(), one["text"].get<std::string>());
}

void print_text(const nlohmann::json& report) {
  fmt::print("medians (spread)\n");
  print_cases(report, heading_of, print_side);
}

}  // namespace
}  // namespace quire::bench

int main(int argc, char** argv) {
  const quire::bench::Arguments arguments(
      argc, argv,
      {quire::bench::case_option([] { return quire::bench::names_of(quire::bench::all_cases()); }),
       quire::bench::kSide,
       quire::bench::kList,
       quire::bench::kDirectory,
       quire::bench::kRounds,
       quire::bench::kSeconds,
       // Else threads get in each other's way for pages.
       {"data-mib=N", "data that transactions change", 8},
       {"large-mib=N", "data of large transactions"},
       {"recovery-mib=N", "what the log to recover from holds"},
       {"recovery-memory-mib=N", "what recovery may take"},
       {"smoke", "a moment of everything; goals do not count"}});
  if (arguments.has("list")) {
    quire::bench::list_cases(quire::bench::all_cases());
    return 0;
  }
  const int outcome =
      quire::bench::finish(arguments, quire::bench::run(arguments), quire::bench::print_text);
  return arguments.has("smoke") ? 0 : outcome;
}
