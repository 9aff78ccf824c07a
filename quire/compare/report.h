// SPDX-License-Identifier: Apache-2.0
//
// report: everything one run of `quire compare` found out, as plain values.
//
// The engine (and the simulated disk) fills a Report; the terminal, JSON, HTML and the verdicts are
// functions of it and of nothing else, so that whatever is printed can be printed again.
//
//   Report -- facts about the machine and the file, what was asked for, remarks
//     '-- Cell: one (pattern, path, state, durability, working set)
//           '-- Round: one measurement, in a process of its own
//     '-- Verdict: one per question, made from the cells (verdict.h)
//
// What is not known is std::nullopt, never 0. A cell that failed has an error and keeps the rounds
// that went well before; a cell that was skipped says why and has none.
//
// Invariants:    rates are derived from rounds alone; median and spread are those of the rounds.
// Thread-safety: plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "quire/base/error.h"

namespace quire::compare {

// How the bytes are asked for.
enum class Path : std::uint8_t {
  kReadWriteSmall,      // read()/write() of 4 KiB (sequential) or of the record.
  kReadWriteLarge,      // read()/write() of 1 MiB; for random patterns the same as small: not run.
  kBufferedDropBehind,  // Buffered, pages dropped behind the reader or writer.
  kBufferedWriter,      // quire's record writer and reader: small records gathered in a buffer.
  kMapDefault,          // mmap as it comes.
  kMapAdvised,          // mmap with the best advice for the pattern.
  kMapPopulated,        // mmap with the pages put in first; that time counts.
  kDirect,              // O_DIRECT, one request at a time.
  kDirectQueued,        // O_DIRECT, many requests under way (io_uring or threads).
  kBufferedQueued,      // Buffered through io_uring, many requests under way.
  kPaged,               // quire::Pager: pointers over memory of its own, with a budget.
  kPagedHandler,        // The same; faults are served by its thread, not where they happen.
  kPagedPrefetched,     // The same; the next addresses are asked for ahead of the loads.
  kMemory,              // A copy of the bytes in memory: the ceiling.
};
inline constexpr int kPathCount = 14;

enum class Pattern : std::uint8_t {
  kSequentialRead,
  kRandomRead,  // 4 KiB, uniform.
  kSkewedRead,  // 4 KiB, Zipf.
  kSequentialWrite,
  kAppend,        // Small records at the end.
  kRandomUpdate,  // 4 KiB, read, changed, written back.
};
inline constexpr int kPatternCount = 6;

enum class State : std::uint8_t {
  kCold,  // Nothing of the working set was in memory when the round began.
  kWarm,  // All of it was, or as much as the memory allows.
};
inline constexpr int kStateCount = 2;

enum class DurabilityChoice : std::uint8_t { kNone, kAtEnd, kEachOperation };
inline constexpr int kDurabilityCount = 3;

// "mmap_advised", "random_read", "cold", "at_end": for machines, and for --paths, --patterns.
[[nodiscard]] const char* name_of(Path path) noexcept;
[[nodiscard]] const char* name_of(Pattern pattern) noexcept;
[[nodiscard]] const char* name_of(State state) noexcept;
[[nodiscard]] const char* name_of(DurabilityChoice durability) noexcept;
// "mmap, best advice", "random 4 KiB reads": for people.
[[nodiscard]] const char* title_of(Path path) noexcept;
[[nodiscard]] const char* title_of(Pattern pattern) noexcept;
[[nodiscard]] bool is_paged(Path path) noexcept;
[[nodiscard]] bool is_random(Pattern pattern) noexcept;
[[nodiscard]] bool is_write(Pattern pattern) noexcept;
// Rated in operations per second, with latencies; the others in bytes per second.
[[nodiscard]] bool counts_operations(Pattern pattern) noexcept;
// std::nullopt for a name that there is not.
[[nodiscard]] std::optional<Path> path_named(const std::string& name) noexcept;
[[nodiscard]] std::optional<Pattern> pattern_named(const std::string& name) noexcept;
[[nodiscard]] std::optional<State> state_named(const std::string& name) noexcept;
[[nodiscard]] std::optional<DurabilityChoice> durability_named(const std::string& name) noexcept;

// Where latency percentiles come from; nanoseconds of one operation.
struct Latency {
  std::uint64_t operations = 0;
  double p50_ns = 0;
  double p90_ns = 0;
  double p99_ns = 0;
  double p999_ns = 0;
  double max_ns = 0;
};

// What an engine of quire's own counts of itself (quire/pager/pager_stats.h), over the measured
// part of a round.
struct EngineCounts {
  std::uint64_t faults = 0;
  std::uint64_t evicted = 0;  // Granules.
  std::uint64_t reads = 0;    // Of the file, and their bytes.
  std::uint64_t read_bytes = 0;
  std::uint64_t read_ahead_bytes = 0;
  std::uint64_t writes = 0;
  std::uint64_t write_bytes = 0;
  std::uint64_t memory_taken_bytes_max = 0;  // Since it was made.

  friend bool operator==(const EngineCounts&, const EngineCounts&) = default;
};

// How it was set up.
struct EngineDetails {
  std::string explanation;  // PagedArea::explain()
  std::string fault_path;   // "inline", "handler"
  std::uint64_t granule_bytes = 0;
  std::uint64_t memory_bytes = 0;  // Its budget: within Cell::memory_bytes, where that is limited.

  friend bool operator==(const EngineDetails&, const EngineDetails&) = default;
};

// One measurement. Counters are differences over the measured part alone, not its preparation.
struct Round {
  double start_s = 0;  // When it began, from the start of the whole run: throughput over time.
  double seconds = 0;  // The measured part.
  std::uint64_t bytes = 0;
  std::uint64_t operations = 0;
  double cpu_s = 0;  // User and system, kernel workers of the process included.
  std::uint64_t major_faults = 0;
  std::uint64_t minor_faults = 0;
  // Counted by us where we make them; 0 for loads. Unknown where an engine makes them.
  std::optional<std::uint64_t> system_calls;
  std::optional<std::uint64_t> device_read_bytes;
  std::optional<std::uint64_t> device_written_bytes;
  std::optional<std::uint64_t> cache_before_bytes;  // Of the file in the page cache.
  std::optional<std::uint64_t> cache_left_bytes;
  // Cold was asked for and seen; std::nullopt where it cannot be seen or was not asked for.
  std::optional<bool> verified_cold;
  // The page cache did not grow and, unless the path has memory of its own, the device moved the
  // bytes. Direct and paged paths only.
  std::optional<bool> verified_direct;
  std::optional<Latency> latency;
  std::optional<EngineCounts> engine;  // Paged paths only.

  [[nodiscard]] double mib_per_s() const noexcept;
  [[nodiscard]] double operations_per_s() const noexcept;
};

struct Cell {
  Path path{};
  Pattern pattern{};
  State state{};
  DurabilityChoice durability{};
  std::uint64_t working_set_bytes = 0;
  std::optional<std::uint64_t> memory_bytes;  // The limit that was in force; nothing: unlimited.
  bool exceeds_memory = false;                // The working set is larger than that.
  std::uint32_t depth = 1;                    // Requests under way at a time.
  std::uint64_t block_bytes = 0;              // Of one operation.

  std::vector<Round> rounds;
  std::string method;                   // What ran in fact: "io_uring", "threads", "RWF_DONTCACHE".
  std::optional<EngineDetails> engine;  // Of the last round of a paged path.
  std::optional<std::string> fallback;  // Why that is not what was meant.
  std::optional<std::string> skipped;   // Why it was not run.
  std::optional<Error> error;           // What ended it.

  // Of the rounds; 0 without rounds.
  [[nodiscard]] double median_mib_per_s() const;
  [[nodiscard]] double median_operations_per_s() const;
  // Middle half of the rounds over the median: 0.03 is "within 3 %". 0 with fewer than 2 rounds.
  [[nodiscard]] double spread() const;
  [[nodiscard]] std::optional<double> cpu_s_per_gib() const;
  // Medians over the rounds; of max_ns the largest, of operations the sum.
  [[nodiscard]] std::optional<Latency> latency() const;
  // Sums over the rounds; nothing when one of them does not know.
  [[nodiscard]] std::uint64_t major_faults() const noexcept;
  [[nodiscard]] std::uint64_t minor_faults() const noexcept;
  [[nodiscard]] std::uint64_t bytes() const noexcept;
  [[nodiscard]] std::uint64_t operations() const noexcept;
  [[nodiscard]] std::optional<std::uint64_t> system_calls() const;
  // Sums; of memory_taken_bytes_max the largest.
  [[nodiscard]] std::optional<EngineCounts> engine_counts() const;
  [[nodiscard]] std::optional<std::uint64_t> device_read_bytes() const;
  [[nodiscard]] std::optional<std::uint64_t> device_written_bytes() const;
  [[nodiscard]] std::optional<std::uint64_t> cache_left_bytes() const;  // Median.
  // True when true in every round; false when false in one; else unknown.
  [[nodiscard]] std::optional<bool> verified_cold() const;
  [[nodiscard]] std::optional<bool> verified_direct() const;
  [[nodiscard]] bool has_result() const noexcept { return !rounds.empty(); }
};

// One line of "what about this machine bends the numbers".
struct Fact {
  std::string name;         // "read-ahead", "scheduler", "file system", "memory limit"
  std::string value;        // "8 MiB"
  std::string consequence;  // "random mapped reads fetch 2,048 pages for one"; may be empty.
};

// "Which path for this pattern, in this state, at this size?" (question.h)
struct Question {
  Pattern pattern{};
  State state{};
  DurabilityChoice durability{};
  std::uint64_t working_set_bytes = 0;
  std::optional<std::uint64_t> memory_bytes;
  bool exceeds_memory = false;

  friend bool operator==(const Question&, const Question&) = default;
};

// The answer for one question.
struct Verdict {
  Question question;
  std::optional<Path> winner;    // Nothing when no path gave a result.
  std::vector<Path> ties;        // Not told apart from the winner by the spread.
  std::optional<Path> compared;  // What the factor is against: the usual choice, or the runner-up.
  double factor = 1;             // Winner's rate over the compared one's.
  std::string sentence;          // "random 4 KiB reads, cold: direct at depth 32 is 4.1 times ..."
  std::vector<std::string> with_quire;         // Lines of code that get it.
  std::vector<std::string> with_system_calls;  // The same without quire.
};

// The experiment of the source articles: one-byte (or small) writes to a disk, a mapping, memory.
struct ArticleFigure {
  std::string target;  // "file", "mapping", "memory"
  std::uint64_t block_bytes = 0;
  DurabilityChoice durability{};
  double mib_per_s = 0;
  std::uint64_t system_calls = 0;
  double cpu_s_per_gib = 0;
};

struct Report {
  std::string title;  // The file's name, or "scratch file of 1.0 GiB".
  std::string file;   // Path as given; of a scratch file, its directory.
  bool is_scratch = false;
  bool is_simulated = false;  // Simulated disk and clock: nothing below touched a device.
  std::string device_model;   // Of a simulated run, in the form --device-model reads.
  std::uint64_t file_bytes = 0;
  std::optional<std::uint64_t> memory_limit_bytes;  // Asked for.
  bool is_memory_limited = false;                   // And enforced.
  std::string memory_limit_method;                  // "memory cgroup (v1)"; why not, if not.
  double time_budget_s = 0;
  double elapsed_s = 0;
  bool is_interrupted = false;  // Ctrl-C: the cells are what there was until then.
  std::string started_at;       // "2026-11-21T09:30:00Z"
  std::string version;          // Of quire.
  std::string command_line;
  std::vector<Fact> facts;
  std::vector<Cell> cells;
  std::vector<Verdict> verdicts;
  std::vector<ArticleFigure> articles_way;     // --articles: the three figures, the articles' way.
  std::vector<ArticleFigure> articles_matrix;  // Block size x target x durability.
  std::vector<std::string> remarks;            // Fallbacks, doubts, what could not be verified.
};

}  // namespace quire::compare
