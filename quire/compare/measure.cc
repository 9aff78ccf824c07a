// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/measure.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <vector>

#include "quire/compare/internal/counters.h"
#include "quire/compare/internal/runner_parts.h"
#include "quire/compare/offset_stream.h"
#include "quire/map/eviction.h"
#include "quire/sys/file.h"

namespace quire::compare {
namespace {

// Operations of a round in which each waits for the disk: enough for percentiles.
constexpr std::uint64_t kDurableOperationsMax = 2048;
// Updates that are written back together at the end.
constexpr std::uint64_t kUpdatesMax = 2048;
// How often a warm working set is gone through, so that what a path does once per page counts for
// little, and is there.
constexpr std::uint64_t kWarmPasses = 8;
// One operation is timed out of this many: reading the clock twice takes as long as 100 bytes.
constexpr std::uint64_t kLatencyEveryPage = 32;
constexpr std::uint64_t kLatencyEveryRecord = 128;
constexpr std::uint64_t kLatencyEveryByte = 1024;
constexpr std::uint64_t kRecordBytesMin = 16;
// A path that exceeds memory runs this much before it is measured, but no longer than so many
// rounds: the kernel stops reading around the misses of a mapping after a hundred of them.
constexpr std::uint64_t kLeadInOperations = 256;
constexpr int kLeadInRunsMax = 5;
// Paths that share the page cache leave it to each other as it is. Memory of a path's own begins
// empty each time: it runs as often as any other may.
constexpr int kLeadInRunsOfEngine = kLeadInRunsMax;
// A file that is cut off within a page brings that page in: the file system clears the rest of it.
constexpr std::uint64_t kCutPageBytes = kPatternPageBytes;
constexpr std::uint64_t kWarmPieceBytes = std::uint64_t{1} << 20;

std::uint64_t bytes_max_of(const Cell& cell) {
  const std::uint64_t set = cell.working_set_bytes;
  const bool is_each = cell.durability == DurabilityChoice::kEachOperation;
  switch (cell.pattern) {
    case Pattern::kSequentialRead: return cell.state == State::kCold ? set : kWarmPasses * set;
    case Pattern::kRandomRead:
    case Pattern::kSkewedRead:
      // Half of a cold file: the other half could no longer be cold.
      return cell.state == State::kCold ? std::max(set / 2, cell.block_bytes)
             : cell.exceeds_memory      ? set
                                        : kWarmPasses * set;
    case Pattern::kSequentialWrite: return set;
    case Pattern::kAppend:
      return is_each ? std::min(set, kDurableOperationsMax * cell.block_bytes) : set;
    case Pattern::kRandomUpdate: break;
  }
  return is_each                                       ? kDurableOperationsMax * cell.block_bytes
         : cell.durability == DurabilityChoice::kAtEnd ? kUpdatesMax * cell.block_bytes
                                                       : kWarmPasses * set;
}

// Loads and calls that no device is waited for are too short to time each.
std::uint64_t latency_mask_of(const Cell& cell) {
  const bool is_direct = cell.path == Path::kDirect || cell.path == Path::kDirectQueued;
  const bool is_short =
      !is_direct && cell.durability != DurabilityChoice::kEachOperation &&
      (cell.pattern == Pattern::kAppend || (cell.state == State::kWarm && !cell.exceeds_memory));
  if (!is_short) {
    return 0;
  }
  return (cell.block_bytes >= kPatternPageBytes ? kLatencyEveryPage
          : cell.block_bytes >= kRecordBytesMin ? kLatencyEveryRecord
                                                : kLatencyEveryByte) -
         1;
}

// Of the file that the round works on; nothing without one, and where the kernel does not tell.
std::optional<std::uint64_t> cached_bytes(const Target& target, int fd) {
  return fd < 0 || !target.is_cache_visible() ? std::nullopt
                                              : internal::cached_bytes(fd, kWholeFile);
}

Result<void> evict_all(const Target& target) {
  // What the kernel does not tell (unknown), it evicts nevertheless.
  const auto evicted = evict(target.fd());
  if (!evicted) {
    return fail(evicted.error().about("evict", target.name()));
  }
  return {};
}

// Reads a range into the page cache.
Result<void> read_in(const Target& target, int fd, ByteRange range) {
  std::vector<std::byte> piece(kWarmPieceBytes);
  const std::uint64_t end = range.offset_bytes + range.length_bytes;
  for (std::uint64_t at = range.offset_bytes; at < end; at += kWarmPieceBytes) {
    const std::size_t length = static_cast<std::size_t>(std::min(kWarmPieceBytes, end - at));
    const auto count = sys::read_at(fd, std::span(piece).first(length), at);
    if (!count) {
      return fail(to_error(count.error(), "read", fmt::format("{}, offset {}", target.name(), at)));
    }
  }
  return {};
}

// What a warm working set beyond memory begins with: as much as the memory holds.
std::uint64_t memory_of(const Cell& cell) {
  return cell.memory_bytes.value_or(cell.working_set_bytes / 2);
}

// All of what fits; of what does not, as much as the memory holds, spread over all of it.
Result<void> warm_up(const Cell& cell, const std::function<Result<void>(ByteRange)>& read) {
  const std::uint64_t set = cell.working_set_bytes;
  if (!cell.exceeds_memory) {
    return read({0, set});
  }
  const std::uint64_t pieces = std::max(memory_of(cell) / kWarmPieceBytes, std::uint64_t{1});
  const std::uint64_t stride = set / pieces / kWarmPieceBytes * kWarmPieceBytes;
  for (std::uint64_t at = 0; at < set; at += std::max(stride, kWarmPieceBytes)) {
    QUIRE_TRY(read({at, std::min(kWarmPieceBytes, set - at)}));
  }
  return {};
}

// Pages that are there already, charged to this cgroup by an earlier round, are left where they
// are.
Result<void> warm_page_cache(const Target& target, const Cell& cell) {
  const std::uint64_t set = cell.working_set_bytes;
  const std::optional<std::uint64_t> cached = internal::cached_bytes(target.fd(), {0, set});
  if (cached && *cached >= (cell.exceeds_memory ? memory_of(cell) / 2 : set)) {
    return {};
  }
  const sys::Descriptor file = QUIRE_TRY(internal::reopen(target, Pattern::kSequentialRead));
  return warm_up(cell, [&](ByteRange range) { return read_in(target, file.get(), range); });
}

// Before the path is opened. What has memory of its own finds an empty page cache in any state.
Result<void> make_state(const Cell& cell, const Target& target, bool has_engine) {
  if (internal::needs_new_file(cell.pattern)) {
    return {};
  }
  return cell.state == State::kCold || has_engine ? evict_all(target)
                                                  : warm_page_cache(target, cell);
}

std::optional<bool> is_cold(const Cell& cell, std::optional<std::uint64_t> cached_bytes) {
  if (cell.state != State::kCold || !cached_bytes) {
    return std::nullopt;
  }
  return *cached_bytes == 0;
}

// Directly means: past the page cache, and from the device. The file's own pages tell the first,
// the bytes of the process the second, where the path has no memory that could have held them.
std::optional<bool> is_direct(const Cell& cell, const Tally& tally, const Round& round) {
  if (cell.path != Path::kDirect && cell.path != Path::kDirectQueued && !is_paged(cell.path)) {
    return std::nullopt;
  }
  if (!round.cache_before_bytes || !round.cache_left_bytes) {
    return std::nullopt;
  }
  const std::uint64_t grown =
      *round.cache_left_bytes - std::min(*round.cache_left_bytes, *round.cache_before_bytes);
  if (is_paged(cell.path)) {
    return grown <= kCutPageBytes;
  }
  const std::optional<std::uint64_t> moved = cell.pattern == Pattern::kSequentialWrite
                                                 ? round.device_written_bytes
                                                 : round.device_read_bytes;
  return grown == 0 && (!moved || *moved >= tally.bytes);
}

// What a path finds in memory after it has run for long is its own doing: it runs unmeasured first,
// on other pages of the same distribution. Through the same open file, too: the kernel learns from
// its misses how much to read around them.
Result<void> lead_in(Workload& work, PathRunner& runner) {
  const int runs_min = runner.engine() != nullptr ? kLeadInRunsOfEngine : 0;
  std::uint64_t operations = 0;
  for (int run = 0; run < runs_min || (run < kLeadInRunsMax && operations < kLeadInOperations);
       ++run) {
    Tally tally;
    QUIRE_TRY(runner.run(tally));
    operations += tally.operations;
    work.first_draw += tally.operations;
  }
  return {};
}

EngineCounts difference(const EngineCounts& before, EngineCounts after) {
  for (std::uint64_t EngineCounts::* member :
       {&EngineCounts::faults, &EngineCounts::evicted, &EngineCounts::reads,
        &EngineCounts::read_bytes, &EngineCounts::read_ahead_bytes, &EngineCounts::writes,
        &EngineCounts::write_bytes}) {
    after.*member -= before.*member;
  }
  return after;
}

}  // namespace

Workload make_workload(const Cell& cell, const Target& target, const RoundRequest& request) {
  Workload work{.pattern = cell.pattern,
                .durability = cell.durability,
                .working_set_bytes = cell.working_set_bytes,
                .memory_bytes = cell.memory_bytes,
                .block_bytes = cell.block_bytes,
                .depth = cell.depth,
                .pages = {},
                .has_stamps = target.is_scratch() || cell.path == Path::kMemory,
                .latency_mask = latency_mask_of(cell),
                .seconds_max = request.seconds,
                .bytes_max = bytes_max_of(cell)};
  const auto round = static_cast<std::uint64_t>(request.index);
  if (cell.pattern == Pattern::kSequentialRead) {
    // Rounds begin at different places, so that a short round is not always the same bytes.
    Prng prng(request.seed + round);
    const std::uint64_t pieces =
        std::max(cell.working_set_bytes / kWarmPieceBytes, std::uint64_t{1});
    work.start_bytes = prng.below(pieces) * kWarmPieceBytes % cell.working_set_bytes;
  }
  if (is_random(cell.pattern)) {
    work.pages =
        draw_pages({.page_count = cell.working_set_bytes / kPatternPageBytes,
                    .skew = cell.pattern == Pattern::kSkewedRead ? Skew::kZipf : Skew::kUniform,
                    .draws = kPagesDrawn,
                    .seed = request.seed + round,
                    .hot_seed = request.seed});
  }
  return work;
}

Result<RoundReport> measure_round(const Cell& cell, const Target& target, Workload& work,
                                  PathRunner& runner) {
  PathEngine* const engine = runner.engine();
  QUIRE_TRY(make_state(cell, target, engine != nullptr));
  QUIRE_TRY(runner.open(target, work));
  if (cell.state == State::kWarm && engine != nullptr) {
    QUIRE_TRY(warm_up(cell, [&](ByteRange range) { return engine->read_in(range); }));
  }
  if (cell.state == State::kWarm && cell.exceeds_memory) {
    QUIRE_TRY(lead_in(work, runner));
  }
  Tally tally;
  Round round;
  round.cache_before_bytes = cached_bytes(target, runner.fd());
  const EngineCounts counts_before = engine != nullptr ? engine->counts() : EngineCounts();
  const internal::Counting counting(target);
  const auto begin = std::chrono::steady_clock::now();
  const Result<void> ran = runner.run(tally);
  const auto end = std::chrono::steady_clock::now();
  // Before the device is asked: reads ahead still come in, and one that the path has counted the
  // device must have counted, too.
  if (engine != nullptr) {
    round.engine = difference(counts_before, engine->counts());
  } else {
    round.system_calls = tally.system_calls;
  }
  counting.stop(round);
  QUIRE_TRY(ran);
  round.cache_left_bytes = cached_bytes(target, runner.fd());
  round.seconds = std::chrono::duration<double>(end - begin).count();
  round.bytes = tally.bytes;
  round.operations = tally.operations;
  round.verified_cold = is_cold(cell, round.cache_before_bytes);
  round.verified_direct = is_direct(cell, tally, round);
  if (tally.latency.count() > 0) {
    round.latency = tally.latency.summary();
  }
  if (tally.wrong_at_bytes) {
    return fail(make_error(Errc::kCorrupt, "measure", target.name(),
                           fmt::format("the bytes at offset {} are not those that were written",
                                       *tally.wrong_at_bytes)));
  }
  if (is_write(cell.pattern)) {
    QUIRE_TRY(runner.check_written(tally));
  }
  return RoundReport{.round = round,
                     .method = runner.method(),
                     .fallback = runner.fallback(),
                     .engine = engine != nullptr ? std::optional(engine->details()) : std::nullopt};
}

Result<RoundReport> measure_round(const Cell& cell, const Target& target,
                                  const RoundRequest& request, const MemoryBound* bound) {
  if (bound != nullptr) {
    QUIRE_TRY(bound->enter());
  }
  Workload work = make_workload(cell, target, request);
  const std::unique_ptr<PathRunner> runner = make_runner(cell.path);
  Result<RoundReport> report = measure_round(cell, target, work, *runner);
  if (report && cell.pattern == Pattern::kRandomUpdate) {
    // What this round left to be written must not be waited for by the next.
    static_cast<void>(sys::sync_data(target.fd()));
  }
  return report;
}

}  // namespace quire::compare
