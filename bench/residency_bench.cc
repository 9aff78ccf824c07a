// SPDX-License-Identifier: Apache-2.0
//
// What it costs to see the page cache of a file: the work of `quire map` (the sum, the extents, a
// bar of 64 cells) against mincore(2) over a mapping of the whole file, which is what the older
// tools do. The goal: a resident 4 GiB file under 50 ms of CPU.
//
//   resident    every page, in folios as warm() makes them
//   small       every page, each in a folio of its own as random reads leave them: the worst case
//   mixed       every other MiB
//   scattered   one page in 64, at random
//   sparse      1 TiB of hole with eight cached pages
//
// CPU time by getrusage, the processor binds; contenders take turns in rounds.
//
//   residency_bench [--dir=DIR] [--size-mib=N] [--rounds=N] [--json]
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <functional>

#include "bench/bench.h"
#include "quire/base/check.h"
#include "quire/base/prng.h"
#include "quire/map/residency.h"
#include "quire/map/warming.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"

namespace quire::bench {
namespace {

constexpr std::uint64_t kPageBytes = 4096;
constexpr std::size_t kCells = 64;
constexpr double kGoalMs = 50;

double cpu_ms_of(const std::function<void()>& run) {
  return 1e3 * cost_of(run).cpu_seconds;
}

void look_with_quire(int fd) {
  const ResidencyView view = residency_view(fd, kWholeFile, {.cells = kCells}).value();
  keep(view.total.resident_bytes);
  keep(view.extents.extents.size());
  keep(view.map.shares.size());
}

void look_with_mincore(int fd, std::uint64_t size_bytes) {
  std::vector<unsigned char> bits(size_bytes / kPageBytes);
  void* address = mmap(nullptr, size_bytes, PROT_READ, MAP_SHARED, fd, 0);
  QUIRE_CHECK(address != MAP_FAILED);
  QUIRE_CHECK_EQ(mincore(address, size_bytes, bits.data()), 0);
  munmap(address, size_bytes);
  std::uint64_t resident = 0;
  for (const unsigned char bit : bits) {
    resident += bit & 1U;
  }
  keep(resident);
}

// A file for one run of the benchmark.
class BenchFile {
 public:
  BenchFile(std::string path, std::uint64_t size_bytes, bool is_sparse)
      : path_(std::move(path)), size_bytes_(size_bytes) {
    file_ =
        sys::open_file(path_.c_str(), {.write = true, .create = true, .truncate = true}).value();
    QUIRE_CHECK(sys::truncate_file(file_.get(), size_bytes).has_value());
    if (!is_sparse) {
      write_random(file_.get(), size_bytes);
    }
  }
  ~BenchFile() { static_cast<void>(sys::unlink_path(path_.c_str())); }
  BenchFile(const BenchFile&) = delete;
  BenchFile& operator=(const BenchFile&) = delete;

  [[nodiscard]] int fd() const { return file_.get(); }
  [[nodiscard]] std::uint64_t size_bytes() const { return size_bytes_; }

  void read_page(std::uint64_t number) const {
    std::byte byte{};
    QUIRE_CHECK(sys::read_at(fd(), {&byte, 1}, number * kPageBytes).has_value());
  }

 private:
  std::string path_;
  std::uint64_t size_bytes_;
  sys::Descriptor file_;
};

void read_every_page(const BenchFile& file) {
  QUIRE_CHECK(sys::advise_file(file.fd(), kWholeFile, sys::FileAdvice::kRandom).has_value());
  std::vector<std::byte> page(kPageBytes);
  for (std::uint64_t at = 0; at < file.size_bytes(); at += kPageBytes) {
    QUIRE_CHECK(sys::read_at(file.fd(), page, at).has_value());
  }
}

void read_scattered(const BenchFile& file) {
  QUIRE_CHECK(sys::advise_file(file.fd(), kWholeFile, sys::FileAdvice::kRandom).has_value());
  Prng random(1);
  const std::uint64_t pages = file.size_bytes() / kPageBytes;
  for (std::uint64_t i = 0; i < pages / 64; ++i) {
    file.read_page(random.below(pages));
  }
}

void warm_every_other_mib(const BenchFile& file) {
  constexpr std::uint64_t kMib = std::uint64_t{1} << 20;
  for (std::uint64_t at = 0; at < file.size_bytes(); at += 2 * kMib) {
    QUIRE_CHECK(warm(file.fd(), {at, kMib}).has_value());
  }
}

struct State {
  const char* name;
  const BenchFile* file;
  std::function<void(const BenchFile&)> prepare;
  bool is_for_mincore = true;  // Not the sparse one: it would take seconds and gigabytes.
};

nlohmann::json measure(const State& state, std::size_t rounds) {
  make_cold(state.file->fd());
  state.prepare(*state.file);
  const std::uint64_t resident_bytes = residency(state.file->fd()).value().resident_bytes;
  const std::size_t extents = resident_extents(state.file->fd()).value().extents.size();
  Samples quire_ms;
  Samples mincore_ms;
  for (std::size_t round = 0; round < rounds; ++round) {
    quire_ms.add(cpu_ms_of([&] { look_with_quire(state.file->fd()); }));
    if (state.is_for_mincore) {
      mincore_ms.add(
          cpu_ms_of([&] { look_with_mincore(state.file->fd(), state.file->size_bytes()); }));
    }
  }
  nlohmann::json result{{"state", state.name},
                        {"size_bytes", state.file->size_bytes()},
                        {"resident_bytes", resident_bytes},
                        {"extents", extents},
                        {"quire_cpu_ms", quire_ms.to_json()}};
  if (state.is_for_mincore) {
    result["mincore_cpu_ms"] = mincore_ms.to_json();
  }
  return result;
}

void print_text(const nlohmann::json& report) {
  for (const nlohmann::json& row : report["states"]) {
    fmt::print("{:<10} {:6.1f} GiB resident, {:>6} extents: {:8.2f} CPU ms",
               row["state"].get<std::string>(), row["resident_bytes"].get<double>() / (1 << 30),
               row["extents"].get<std::size_t>(), row["quire_cpu_ms"]["median"].get<double>());
    if (row.contains("mincore_cpu_ms")) {
      fmt::print(", mincore alone {:8.2f}", row["mincore_cpu_ms"]["median"].get<double>());
    }
    fmt::print("\n");
  }
  fmt::print("goal: a resident file under {} ms: {}\n", kGoalMs,
             kept_or_missed(report["within_goal"]));
}

nlohmann::json run(const Arguments& arguments) {
  const std::string directory = arguments.text("dir", ".");
  const std::size_t rounds = arguments.number("rounds", 11);
  const BenchFile full(directory + "/residency_bench.data",
                       arguments.number("size-mib", 4096) << 20, false);
  const BenchFile sparse(directory + "/residency_bench.sparse", std::uint64_t{1} << 40, true);
  const std::vector<State> states{
      {"resident", &full, [](const BenchFile& file) { QUIRE_CHECK(warm(file.fd()).has_value()); }},
      {"mixed", &full, warm_every_other_mib},
      {"scattered", &full, read_scattered},
      {"small", &full, read_every_page},
      {"sparse", &sparse,
       [](const BenchFile& file) {
         for (std::uint64_t i = 0; i < 8; ++i) {
           const std::byte byte{1};
           QUIRE_CHECK(sys::write_at(file.fd(), {&byte, 1}, i * 99'999'999'999).has_value());
         }
       },
       false}};
  nlohmann::json rows = nlohmann::json::array();
  for (const State& state : states) {
    rows.push_back(measure(state, rounds));
  }
  const bool within_goal = rows[0]["quire_cpu_ms"]["median"].get<double>() < kGoalMs &&
                           rows[3]["quire_cpu_ms"]["median"].get<double>() < kGoalMs;
  return {{"benchmark", "residency"},   {"states", rows},
          {"rounds", rounds},           {"goal_ms", kGoalMs},
          {"within_goal", within_goal}, {"machine", machine_facts(directory)}};
}

}  // namespace
}  // namespace quire::bench

int main(int argc, char** argv) {
  const quire::bench::Arguments arguments(
      argc, argv,
      {quire::bench::kDirectory, {"size-mib=N", "length of the file"}, quire::bench::kRounds});
  return quire::bench::finish(arguments, quire::bench::run(arguments), quire::bench::print_text);
}
