// SPDX-License-Identifier: Apache-2.0
//
// pager_bench: the pager against the kernel's mmap, both in a memory cgroup of the same size, on a
// file many times as large.
//
//   build/release/bench/pager_bench [--case=NAME] [--side=NAME] [--list] [--dir=.] [--rounds=5]
//                                   [--memory-mib=64] [--file-mib=1024] [--seconds=2] [--json]
//
// Each side of a case is a process of its own in each round (pager_bench.h has the rule of
// fairness); the file is cold before each, which is verified. --side leaves the others out, for a
// profiler; then there are no figures. Needs the right to make a memory cgroup.
#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "bench/pager_bench.h"
#include "quire/base/check.h"
#include "quire/sys/file.h"

namespace quire::bench {
namespace {

// Else there is nothing left for the Pager, ...
constexpr std::uint64_t kLimitMibMin = 2 * kProcessBytes / 1_MiB;
// ... or nothing to evict for a case that needs that: a file has so many times the limit.
constexpr std::uint64_t kFileTimesMin = 8;

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const auto& some : {load_cases(), pattern_cases(), store_cases(), memory_cases()}) {
    cases.insert(cases.end(), some.begin(), some.end());
  }
  return cases;
}

Setting setting_of(const Arguments& arguments) {
  const Setting setting{.directory = arguments.text("dir", "."),
                        .limit_bytes = arguments.number("memory-mib", 64) * 1_MiB,
                        .file_bytes = arguments.number("file-mib", 1024) * 1_MiB,
                        .rounds = arguments.number("rounds", 5),
                        .seconds = static_cast<double>(arguments.number("seconds", 2)),
                        .only_side = arguments.text("side", "")};
  if (setting.file_bytes < kFileTimesMin * setting.limit_bytes) {
    arguments.refuse("file-mib", std::to_string(setting.file_bytes / 1_MiB),
                     fmt::format("it is {} times --memory-mib, or more", kFileTimesMin));
  }
  return setting;
}

nlohmann::json run(const Arguments& arguments) {
  const Setting setting = setting_of(arguments);
  const std::string wanted = arguments.text("case", "");
  write_marked_file(setting.file(), setting.file_bytes);
  nlohmann::json cases = nlohmann::json::array();
  for (const Case& one : all_cases()) {
    if (wanted.empty() || wanted == one.name) {
      nlohmann::json found = one.run(setting);
      found["case"] = one.name;
      found["text"] = one.text;
      cases.push_back(std::move(found));
    }
  }
  QUIRE_CHECK(sys::unlink_path(setting.file().c_str()).has_value());
  check_side(arguments, cases);
  return {{"benchmark", "pager"},
          {"file_bytes", setting.file_bytes},
          {"process_bytes", kProcessBytes},
          {"cases", cases},
          {"machine", machine_facts(setting.directory)}};
}

double median_of(const nlohmann::json& side, const char* number) {
  return side.contains(number) ? side[number]["median"].get<double>() : 0;
}

void print_side(const std::string& name, const nlohmann::json& side) {
  if (side.contains("error")) {
    fmt::print("  {:<22} {}\n", name, side["error"].get<std::string>());
    return;
  }
  const double mib = static_cast<double>(1_MiB);
  fmt::print(
      "  {:<22} {:>12.0f} /s (spread {:4.1f} %)  {:>9.0f} CPU ns  {:6.3f} faults each  "
      "read {:.0f} MiB, written {:.0f} MiB, peak {:.0f} MiB\n",
      name, median_of(side, "rate"),
      side.contains("rate") ? 100 * side["rate"]["spread"].get<double>() : 0,
      median_of(side, "cpu_ns_per_op"), median_of(side, "faults_per_op"),
      median_of(side, "device_read_bytes") / mib, median_of(side, "device_write_bytes") / mib,
      median_of(side, "memory_peak_bytes") / mib);
  if (side.contains("pager")) {
    fmt::print("    {}\n", side["pager"].dump());
  }
}

std::string heading_of(const nlohmann::json& one) {
  return fmt::format("{}: {}; memory {} MiB", one["case"].get<std::string>(),
                     one["text"].get<std::string>(),
                     one["limit_bytes"].get<std::uint64_t>() / 1_MiB);
}

void print_text(const nlohmann::json& report) {
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
       {"memory-mib=N", "limit of both sides", quire::bench::kLimitMibMin},
       {"file-mib=N", "length of the file"},
       quire::bench::kSeconds});
  if (arguments.has("list")) {
    quire::bench::list_cases(quire::bench::all_cases());
    return 0;
  }
  return quire::bench::finish(arguments, quire::bench::run(arguments), quire::bench::print_text);
}
