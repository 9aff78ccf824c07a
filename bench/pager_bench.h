// SPDX-License-Identifier: Apache-2.0
//
// pager_bench: what the parts of that program share: the setting, sides and their measurements, the
// race between them, the file they read.
//
//   parent                         child, one for each run of a side
//     makes the file cold            enters a memory cgroup of limit_bytes
//     makes a memory cgroup          maps the file by a Pager, or by the kernel
//     waits   <---- JSON, pipe ----  Meter: what the measured part took
//     reads the cgroup's peak        _exit
//
// The rule of fairness: both sides live in a cgroup of the same limit. The Pager's budget is that
// limit less kProcessBytes, which program, page tables and the kernel's structures live on; the
// kernel's mapping has whatever they leave.
//
// A side that dies, hangs or is killed for its memory is reported with that, and its figures count
// as missed; the others go on.
//
// Thread-safety: one thread in the parent; Sides may start threads in the child.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "bench/bench.h"
#include "quire/base/units.h"
#include "quire/pager/pager.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/memory.h"

namespace quire::bench {

inline constexpr std::uint64_t kPageBytes = 4_KiB;
// Of the cgroup's limit, what is not the Pager's: the program, its stacks, page tables of the view
// (2 MiB for 1 GiB touched here and there) and the memfd's index (as much).
inline constexpr std::uint64_t kProcessBytes = 8_MiB;

struct Setting {
  std::string directory;
  std::uint64_t limit_bytes = 0;
  std::uint64_t file_bytes = 0;
  std::size_t rounds = 0;
  double seconds = 0;     // Of a measured part that is bounded by time.
  std::string only_side;  // Empty: all.

  [[nodiscard]] std::uint64_t budget_bytes() const { return limit_bytes - kProcessBytes; }
  [[nodiscard]] std::string file() const { return directory + "/pager_bench.data"; }
  // With so many times the memory: for what must not be short of it.
  [[nodiscard]] Setting with_memory_times(std::uint64_t factor) const;
};

// --- Sides ---------------------------------------------------------------------------------------

// What a part of a process took. The numbers of stop() become Samples by their names:
// rate (operations / s), ns_per_op, cpu_ns_per_op, faults_per_op, device_read_bytes,
// device_write_bytes.
class Meter {
 public:
  Meter();
  [[nodiscard]] nlohmann::json stop(double operations) const;

 private:
  struct Counts {
    double seconds = 0;
    double user_seconds = 0;
    double system_seconds = 0;
    std::uint64_t faults = 0;
    std::uint64_t read_bytes = 0;
    std::uint64_t write_bytes = 0;
  };
  static Counts counts_now();

  Counts begin_;
};

struct Side {
  std::string name;
  // Numbers, by name; an object in it is kept as it is, of the last round.
  std::function<nlohmann::json()> run;
  bool is_apart = true;                         // In a process and a cgroup of its own; else here.
  std::function<void()> check_after = nullptr;  // In the parent: aborts when bytes are wrong.
};

// Of each round: `number` of one side over that of another one: of `against` the one with the best
// median.
struct Figure {
  std::string name;
  std::string side;
  std::vector<std::string> against;
  double goal = 0;
  Goal goal_side = Goal::kAtLeast;  // Also which of `against` is best: the most, or the least.
  std::string number = "rate";
};

// Every side once per round, in turn; the file is cold before each, as far as `is_cold` asks.
enum class Start : std::uint8_t { kCold, kAny };
[[nodiscard]] nlohmann::json race(const Setting& setting, const std::vector<Side>& sides,
                                  const std::vector<Figure>& figures, Start start = Start::kCold);

// --- The file ------------------------------------------------------------------------------------

// The first word of each page tells which page it is, so every load can be checked.
[[nodiscard]] constexpr std::uint64_t mark_of(std::uint64_t page) noexcept {
  return (page + 1) * 0x9e3779b97f4a7c15;
}
void write_marked_file(const std::string& path, std::uint64_t size_bytes);

// The whole file, as the kernel maps it.
class KernelMapping {
 public:
  enum class Use : std::uint8_t { kLoads, kStores };
  explicit KernelMapping(const std::string& path, Use use = Use::kLoads);
  ~KernelMapping();
  KernelMapping(const KernelMapping&) = delete;
  KernelMapping& operator=(const KernelMapping&) = delete;

  void advise(sys::MemoryAdvice advice) const;
  [[nodiscard]] std::span<std::byte> bytes() const { return {first_, size_bytes_}; }

 private:
  sys::Descriptor file_;
  std::byte* first_ = nullptr;
  std::uint64_t size_bytes_ = 0;
};

[[nodiscard]] PagerOptions pager_options(const Setting& setting, FaultPath path);
// What the pager counted, as an object for a side's report.
[[nodiscard]] nlohmann::json counters_of(const Pager& pager, const PagedArea& area);

// One 8-byte load of a page, checked.
void load_page(std::span<const std::byte> bytes, std::uint64_t page);
// Every word of a range of whole pages, in order; the marks are checked.
void sum_pages(std::span<const std::byte> bytes);
// One thread for each index; joins them.
void run_threads(std::size_t count, const std::function<void(std::size_t)>& body);

// --- The cases -----------------------------------------------------------------------------------

struct Case {
  const char* name;
  const char* text;
  nlohmann::json (*run)(const Setting& setting);
};

// pager_bench_loads.cc, _patterns.cc, _stores.cc, _memory.cc
[[nodiscard]] std::vector<Case> load_cases();
[[nodiscard]] std::vector<Case> pattern_cases();
[[nodiscard]] std::vector<Case> store_cases();
[[nodiscard]] std::vector<Case> memory_cases();

}  // namespace quire::bench
