// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/report_samples.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "quire/base/units.h"
#include "quire/compare/verdict.h"

namespace quire::compare {
namespace {

constexpr std::uint64_t kSmallSet = 128_MiB;
constexpr std::uint64_t kLargeSet = 1_GiB;

std::uint64_t block_of(Path path, Pattern pattern) {
  if (pattern == Pattern::kAppend) {
    return 64;
  }
  return is_random(pattern) || path == Path::kReadWriteSmall ? 4_KiB : 1_MiB;
}

bool is_direct(Path path) {
  return path == Path::kDirect || path == Path::kDirectQueued || is_paged(path);
}

bool is_mapped(Path path) {
  return path == Path::kMapDefault || path == Path::kMapAdvised || path == Path::kMapPopulated;
}

Latency sample_latency(double median_ns, std::uint64_t operations) {
  return {.operations = operations,
          .p50_ns = median_ns,
          .p90_ns = median_ns * 1.6,
          .p99_ns = median_ns * 4,
          .p999_ns = median_ns * 15,
          .max_ns = median_ns * 70};
}

EngineCounts sample_counts(const SampleCell& sample, std::uint64_t bytes) {
  const std::uint64_t moved = sample.state == State::kCold ? bytes : bytes / 8;
  return {.faults = moved / 4_KiB,
          .evicted = sample.exceeds_memory ? moved / 4_KiB : 0,
          .reads = moved / 4_KiB,
          .read_bytes = moved,
          .read_ahead_bytes = is_random(sample.pattern) ? 0 : moved,
          .writes = is_write(sample.pattern) ? moved / 64_KiB : 0,
          .write_bytes = is_write(sample.pattern) ? moved : 0,
          .memory_taken_bytes_max = 200_MiB};
}

// Rounds spread evenly over a band around the rate: its middle half is `spread` wide.
Round sample_round(const SampleCell& sample, std::size_t index) {
  const double position =
      sample.rounds < 2 ? 0
                        : static_cast<double>(index) / static_cast<double>(sample.rounds - 1) - 0.5;
  const double rate = sample.mib_per_s * (1 + 2 * sample.spread * position);
  const std::uint64_t block_bytes = block_of(sample.path, sample.pattern);
  Round round;
  round.start_s = 2.0 + 9.0 * static_cast<double>(index) + 0.7 * static_cast<double>(sample.path);
  round.seconds = 0.6;
  round.operations = static_cast<std::uint64_t>(
      std::ceil(rate * 0.6 * static_cast<double>(1_MiB) / static_cast<double>(block_bytes)));
  round.bytes = round.operations * block_bytes;
  round.seconds = static_cast<double>(round.bytes) / static_cast<double>(1_MiB) / rate;
  const double gib = static_cast<double>(round.bytes) / static_cast<double>(1_GiB);
  round.cpu_s = sample.cpu_s_per_gib * gib;
  round.minor_faults = is_mapped(sample.path) ? round.bytes / 64_KiB : 3;
  round.major_faults =
      is_mapped(sample.path) && sample.state == State::kCold ? round.bytes / 4_MiB : 0;
  if (is_paged(sample.path)) {
    round.engine = sample_counts(sample, round.bytes);
  } else {
    round.system_calls = is_mapped(sample.path) || sample.path == Path::kMemory
                             ? 0
                             : round.operations / sample.depth;
  }
  round.device_read_bytes = sample.state == State::kCold && !is_write(sample.pattern)
                                ? round.bytes * (is_mapped(sample.path) ? 4 : 1)
                                : 0;
  round.device_written_bytes = is_write(sample.pattern) ? round.bytes : 0;
  round.cache_before_bytes = sample.state == State::kCold ? 0 : kSmallSet;
  round.cache_left_bytes = is_direct(sample.path) ? 0 : kSmallSet;
  if (sample.state == State::kCold) {
    round.verified_cold = true;
  }
  if (is_direct(sample.path)) {
    round.verified_direct = true;
  }
  if (counts_operations(sample.pattern)) {
    const double per_s = round.operations_per_s() / sample.depth;
    round.latency = sample_latency(1e9 / per_s, round.operations);
  }
  return round;
}

// How fast a path is in the full sample: plausible proportions, nothing more.
double full_rate(Path path, Pattern pattern, State state, bool exceeds_memory) {
  constexpr std::array<double, kPathCount> kSequential{420, 900,  880,  910,  640,  760,  700,
                                                       980, 1850, 1010, 1700, 1400, 1690, 9400};
  constexpr std::array<double, kPathCount> kRandom{34, 34,  33,  34, 2.1, 31, 60,
                                                   35, 205, 150, 33, 27,  55, 4100};
  const auto index = static_cast<std::size_t>(path);
  const bool is_stream = !counts_operations(pattern) || pattern == Pattern::kAppend;
  double rate = is_stream ? kSequential.at(index) : kRandom.at(index);
  const bool has_memory = !is_direct(path) || is_paged(path);
  if (state == State::kWarm && has_memory && path != Path::kMemory) {
    rate *= is_mapped(path) || is_paged(path) ? 40 : 12;
    rate = std::min(rate, 6200.0);
    rate /= exceeds_memory ? 7 : 1;
  }
  return is_write(pattern) ? rate / 3 : rate;
}

std::vector<Path> paths_for(Pattern pattern) {
  std::vector<Path> paths{Path::kReadWriteSmall};
  if (!is_random(pattern) && pattern != Pattern::kAppend) {
    paths.push_back(Path::kReadWriteLarge);
    paths.push_back(Path::kBufferedDropBehind);
  }
  if (pattern == Pattern::kAppend) {
    paths.push_back(Path::kBufferedWriter);
  }
  for (const Path path : {Path::kMapDefault, Path::kMapAdvised, Path::kMapPopulated, Path::kDirect,
                          Path::kDirectQueued, Path::kPaged, Path::kPagedHandler,
                          Path::kPagedPrefetched, Path::kBufferedQueued, Path::kMemory}) {
    paths.push_back(path);
  }
  return paths;
}

void add_cells(Report& report, Pattern pattern, State state, DurabilityChoice durability,
               bool exceeds_memory) {
  for (const Path path : paths_for(pattern)) {
    const bool is_queued = path == Path::kDirectQueued || path == Path::kBufferedQueued ||
                           path == Path::kPagedPrefetched;
    const auto index = static_cast<double>(path);
    report.cells.push_back(
        sample_cell({.path = path,
                     .pattern = pattern,
                     .state = state,
                     .durability = durability,
                     .mib_per_s = full_rate(path, pattern, state, exceeds_memory),
                     .spread = 0.012 + 0.006 * index,
                     .cpu_s_per_gib = is_direct(path) ? 0.12 : 0.35 + 0.08 * index,
                     .exceeds_memory = exceeds_memory,
                     .depth = is_queued ? 32U : 1U}));
  }
}

std::vector<Fact> sample_facts() {
  return {{.name = "machine", .value = "2 processors, 23 GiB, Linux 6.18", .consequence = ""},
          {.name = "file system", .value = "ext4 on vda1", .consequence = ""},
          {.name = "read-ahead",
           .value = "8 MiB",
           .consequence = "a random read through a mapping fetches 2,048 pages for one"},
          {.name = "scheduler", .value = "none", .consequence = ""}};
}

}  // namespace

Cell sample_cell(const SampleCell& sample) {
  Cell cell;
  cell.path = sample.path;
  cell.pattern = sample.pattern;
  cell.state = sample.state;
  cell.durability = sample.durability;
  cell.working_set_bytes = sample.exceeds_memory ? kLargeSet : kSmallSet;
  cell.memory_bytes = 256_MiB;
  cell.exceeds_memory = sample.exceeds_memory;
  cell.depth = sample.depth;
  cell.block_bytes = block_of(sample.path, sample.pattern);
  cell.method = is_paged(sample.path)    ? "pager"
                : sample.depth > 1       ? "io_uring"
                : is_mapped(sample.path) ? "mmap"
                                         : "pread";
  if (is_paged(sample.path)) {
    const char* fault_path = sample.path == Path::kPagedHandler ? "handler" : "inline";
    cell.engine = EngineDetails{
        .explanation = std::string("paged: ") + fault_path + " faults; granules of 4.0 KiB",
        .fault_path = fault_path,
        .granule_bytes = 4_KiB,
        .memory_bytes = 240_MiB};
  }
  for (std::size_t index = 0; index < sample.rounds; ++index) {
    cell.rounds.push_back(sample_round(sample, index));
  }
  return cell;
}

Cell failed_cell(const SampleCell& sample, const std::string& cause) {
  SampleCell nothing = sample;
  nothing.rounds = 0;
  Cell cell = sample_cell(nothing);
  cell.error = make_error(Errc::kFailed, "compare", "scratch.bin", cause, "look at the disk");
  return cell;
}

Report sample_report(std::vector<Cell> cells) {
  Report report;
  report.title = "scratch file of 1.0 GiB";
  report.file = "/var/tmp";
  report.is_scratch = true;
  report.file_bytes = kLargeSet;
  report.memory_limit_bytes = 256_MiB;
  report.is_memory_limited = true;
  report.memory_limit_method = "memory cgroup (v1)";
  report.time_budget_s = 60;
  report.elapsed_s = 63.4;
  report.started_at = "2000-01-01T00:00:00Z";
  report.version = "0.1.0";
  report.command_line = "quire compare --size 1G --memory 256M --html report.html";
  report.facts = sample_facts();
  report.cells = std::move(cells);
  return report;
}

Report full_sample() {
  Report report = sample_report({});
  for (const Pattern pattern :
       {Pattern::kSequentialRead, Pattern::kRandomRead, Pattern::kSkewedRead}) {
    for (const bool exceeds_memory : {false, true}) {
      add_cells(report, pattern, State::kCold, DurabilityChoice::kNone, exceeds_memory);
      add_cells(report, pattern, State::kWarm, DurabilityChoice::kNone, exceeds_memory);
    }
  }
  for (const Pattern pattern :
       {Pattern::kSequentialWrite, Pattern::kAppend, Pattern::kRandomUpdate}) {
    add_cells(report, pattern, State::kWarm, DurabilityChoice::kNone, false);
    add_cells(report, pattern, State::kWarm, DurabilityChoice::kAtEnd, false);
  }
  report.cells[3].rounds[0].verified_cold = false;
  report.cells[4].rounds[1].verified_cold.reset();
  report.cells[7].fallback = "io_uring_setup: EPERM; 16 threads were used";
  Cell& failed = report.cells.back();
  failed = failed_cell({.path = Path::kMemory,
                        .pattern = Pattern::kRandomUpdate,
                        .state = State::kWarm,
                        .durability = DurabilityChoice::kAtEnd},
                       "the process was killed");
  Cell& skipped = report.cells[report.cells.size() - 2];
  skipped.rounds.clear();
  skipped.skipped = "this kernel has no io_uring";
  report.remarks = {"other programs used 12 % of the processors while this ran"};
  report.verdicts = make_verdicts(report);
  return report;
}

std::string hostile_text() {
  return "</script><script>window.hostile = 1</script>\"'><img src=x onerror='window.hostile=1'>"
         "<!--&lt;\xff\x1b[2J]]>\xe2\x80\xae\n";
}

Report hostile_sample() {
  Report report = sample_report({sample_cell({}), sample_cell({.path = Path::kMapDefault})});
  report.cells.push_back(failed_cell({.path = Path::kDirect}, hostile_text()));
  report.cells[0].fallback = hostile_text();
  report.cells[0].method = hostile_text();
  report.cells[1].skipped = hostile_text();
  for (std::string* text :
       {&report.title, &report.file, &report.memory_limit_method, &report.device_model,
        &report.started_at, &report.version, &report.command_line}) {
    *text = hostile_text();
  }
  report.is_simulated = true;
  report.facts = {{.name = hostile_text(), .value = hostile_text(), .consequence = hostile_text()}};
  report.remarks = {hostile_text()};
  report.articles_way = {{.target = hostile_text(), .block_bytes = 1, .mib_per_s = 10}};
  report.articles_matrix = report.articles_way;
  report.verdicts = make_verdicts(report);
  report.verdicts[0].sentence += hostile_text();
  report.verdicts[0].with_quire.push_back(hostile_text());
  return report;
}

Report empty_sample() {
  Report report = sample_report({failed_cell({}, "the file vanished")});
  report.is_interrupted = true;
  report.memory_limit_bytes.reset();
  report.verdicts = make_verdicts(report);
  return report;
}

Report articles_sample() {
  Report report = sample_report({});
  report.articles_way = {
      {.target = "file",
       .block_bytes = 1,
       .mib_per_s = 0.9,
       .system_calls = 1'048'576,
       .cpu_s_per_gib = 1100},
      {.target = "mapping", .block_bytes = 1, .mib_per_s = 310, .cpu_s_per_gib = 3.2},
      {.target = "memory", .block_bytes = 1, .mib_per_s = 1240, .cpu_s_per_gib = 0.8}};
  for (const char* target : {"file", "mapping", "memory"}) {
    for (const DurabilityChoice durability : {DurabilityChoice::kNone, DurabilityChoice::kAtEnd}) {
      for (std::uint64_t block_bytes = 1; block_bytes <= 1_MiB; block_bytes *= 16) {
        const double speed = static_cast<double>(block_bytes) * (*target == 'f' ? 1 : 60);
        report.articles_matrix.push_back(
            {.target = target,
             .block_bytes = block_bytes,
             .durability = durability,
             .mib_per_s = std::min(speed, durability == DurabilityChoice::kNone ? 3000.0 : 400.0),
             .system_calls = *target == 'f' ? 1_GiB / block_bytes : 0,
             .cpu_s_per_gib = 1000 / speed});
      }
    }
  }
  return report;
}

}  // namespace quire::compare
