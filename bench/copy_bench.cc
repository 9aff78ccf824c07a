// SPDX-License-Identifier: Apache-2.0
//
// Copying a cold file against cp(1) of coreutils, on one file system. The goals: quire's own choice
// at least as fast as cp; and with --reflink-dir, a file system that can share blocks, a time that
// does not grow with the length.
//
//   cp           the program, as installed
//   automatic    copy_file() with no method named; the others by that method
//   keep_cached  automatic, leaving in memory what was read of the source, as cp does
//
// Each contender is a process of its own, so that its processor time is known and nothing of a
// former one helps it. Before each run the source is cold, which residency() confirms, and the
// former copy is gone; after it the copy is written to the disk, outside of the measured time: cp
// does not wait for that either, and the next run must not pay for it. The disk binds, where it is
// slower than copying from page to page.
//
//   copy_bench [--dir=DIR] [--size-mib=N] [--rounds=N] [--reflink-dir=DIR] [--json]
#include <fmt/format.h>
#include <unistd.h>

#include <functional>
#include <vector>

#include "bench/bench.h"
#include "quire/base/check.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"
#include "quire/transfer/copy.h"

namespace quire::bench {
namespace {

constexpr double kGoal = 1.0;
// "Independent of the length": a thousand times the length may take this much longer.
constexpr double kReflinkFactorMax = 3.0;

// In a process of its own. The body ends with the exit code.
Cost run_apart(const std::function<int()>& body) {
  Cost cost;
  cost.seconds = seconds_of([&] {
    const pid_t child = fork();
    QUIRE_CHECK_GE(child, 0);
    if (child == 0) {
      _exit(body());
    }
    cost.cpu_seconds = wait_for_child(child);
  });
  return cost;
}

struct Row {
  std::string name;
  std::function<int()> copy;
  Samples gib_per_second = {};
  Samples cpu_s_per_gib = {};
};

class CopyBench {
 public:
  CopyBench(const std::string& directory, const Arguments& arguments)
      : source_(directory + "/copy_bench.source"),
        target_(directory + "/copy_bench.target"),
        reflink_directory_(arguments.text("reflink-dir", "")),
        size_bytes_(arguments.number("size-mib", 2048) << 20),
        rounds_(arguments.number("rounds", 7)) {
    write_random_file(source_, size_bytes_);
  }
  ~CopyBench() {
    static_cast<void>(sys::unlink_path(source_.c_str()));
    static_cast<void>(sys::unlink_path(target_.c_str()));
  }
  CopyBench(const CopyBench&) = delete;
  CopyBench& operator=(const CopyBench&) = delete;

  nlohmann::json run() {
    std::vector<Row> rows{
        {"cp", [this] { return execlp("cp", "cp", source_.c_str(), target_.c_str(), nullptr); }},
        {"automatic", [this] { return copy({}); }},
        {"keep_cached", [this] { return copy({.source_cache = SourceCache::kKeep}); }}};
    for (const TransferMethod method :
         {TransferMethod::kReadWrite, TransferMethod::kDirect, TransferMethod::kMapWrite,
          TransferMethod::kSendFile, TransferMethod::kSplice}) {
      rows.push_back({name_of(method), [this, method] { return copy({.method = method}); }});
    }
    take_turns(rows, rounds_, [this](Row& row, bool counts) { run_row(row, counts); });
    return report(rows);
  }

 private:
  [[nodiscard]] int copy(const CopyOptions& options) const {
    return copy_file(source_, target_, options) ? 0 : 1;
  }

  void run_row(Row& row, bool counts) {
    static_cast<void>(sys::unlink_path(target_.c_str()));
    make_cold(source_);
    const Cost cost = run_apart(row.copy);
    const sys::Descriptor target = sys::open_file(target_.c_str(), {}).value();
    QUIRE_CHECK_EQ(sys::file_status(target.get()).value().size_bytes, size_bytes_);
    QUIRE_CHECK(sys::sync_all(target.get()).has_value());
    if (counts) {
      const double gibibytes = static_cast<double>(size_bytes_) / kGibibyte;
      row.gib_per_second.add(gibibytes / cost.seconds);
      row.cpu_s_per_gib.add(cost.cpu_seconds / gibibytes);
    }
  }

  // Milliseconds of one shared copy, of a short and of a long file.
  [[nodiscard]] nlohmann::json measure_reflink() const {
    nlohmann::json lengths;
    std::vector<double> medians;
    for (const std::uint64_t size_bytes : {size_bytes_ >> 10, size_bytes_}) {
      const std::string source = reflink_directory_ + "/copy_bench.source";
      const std::string target = reflink_directory_ + "/copy_bench.target";
      write_random_file(source, size_bytes);
      Samples milliseconds;
      for (std::size_t round = 0; round < rounds_; ++round) {
        make_cold(source);
        milliseconds.add(1e3 * seconds_of([&] {
                           const CopiedEntry copied = copy_file(source, target).value();
                           QUIRE_CHECK(copied.transfer.method == TransferMethod::kReflink);
                         }));
      }
      static_cast<void>(sys::unlink_path(source.c_str()));
      static_cast<void>(sys::unlink_path(target.c_str()));
      lengths.push_back({{"size_bytes", size_bytes}, {"milliseconds", milliseconds.to_json()}});
      medians.push_back(milliseconds.median());
    }
    return {{"lengths", lengths},
            {"long_to_short", medians.at(1) / medians.at(0)},
            {"goal", kReflinkFactorMax},
            {"within_goal", medians.at(1) <= kReflinkFactorMax * medians.at(0)}};
  }

  [[nodiscard]] nlohmann::json report(const std::vector<Row>& rows) const {
    nlohmann::json contenders;
    for (const Row& row : rows) {
      contenders[row.name] = {
          {"gib_per_second", row.gib_per_second.to_json()},
          {"cpu_s_per_gib", row.cpu_s_per_gib.to_json()},
          {"to_cp", ratio(row.gib_per_second, rows.front().gib_per_second).to_json()}};
    }
    nlohmann::json found{{"benchmark", "copy"},
                         {"size_bytes", size_bytes_},
                         {"contenders", contenders},
                         {"goal", kGoal},
                         {"reflink", nullptr},
                         {"machine", machine_facts(source_)},
                         {"within_goal", contenders["automatic"]["to_cp"]["median"] >= kGoal}};
    if (!reflink_directory_.empty()) {
      found["reflink"] = measure_reflink();
      found["within_goal"] =
          found["within_goal"].get<bool>() && found["reflink"]["within_goal"].get<bool>();
    }
    return found;
  }

  std::string source_;
  std::string target_;
  std::string reflink_directory_;
  std::uint64_t size_bytes_;
  std::size_t rounds_;
};

void print_text(const nlohmann::json& report) {
  for (const auto& [name, row] : report["contenders"].items()) {
    fmt::print("{:<16} {:5.2f} GiB/s (spread {:4.1f} %)  {:.3f} CPU s/GiB  {:.2f} of cp\n", name,
               row["gib_per_second"]["median"].get<double>(),
               100 * row["gib_per_second"]["spread"].get<double>(),
               row["cpu_s_per_gib"]["median"].get<double>(), row["to_cp"]["median"].get<double>());
  }
  if (!report["reflink"].is_null()) {
    for (const nlohmann::json& row : report["reflink"]["lengths"]) {
      fmt::print("reflink of {:>10} bytes: {:.2f} ms\n", row["size_bytes"].get<std::uint64_t>(),
                 row["milliseconds"]["median"].get<double>());
    }
  }
  fmt::print("goal: automatic at least {} of cp: {}\n", kGoal,
             kept_or_missed(report["within_goal"]));
}

}  // namespace
}  // namespace quire::bench

int main(int argc, char** argv) {
  const quire::bench::Arguments arguments(argc, argv,
                                          {quire::bench::kDirectory,
                                           {"size-mib=N", "length of the file"},
                                           quire::bench::kRounds,
                                           {"reflink-dir=D", "where blocks can be shared"}});
  return quire::bench::finish(arguments,
                              quire::bench::CopyBench(arguments.text("dir", "."), arguments).run(),
                              quire::bench::print_text);
}
