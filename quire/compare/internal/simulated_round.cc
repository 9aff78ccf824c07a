// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/internal/simulated_round.h"

#include <algorithm>
#include <optional>
#include <vector>

#include "quire/base/check.h"
#include "quire/base/page_window.h"
#include "quire/base/prng.h"
#include "quire/compare/latency_histogram.h"
#include "quire/compare/offset_stream.h"
#include "quire/compare/workload.h"
#include "quire/sim/page_cache.h"
#include "quire/sim/sim_file.h"

namespace quire::compare::internal {
namespace {

using sim::DiskOperation;
using sim::SimAdvice;
using sim::SimDurability;

static_assert(sim::kSimPageBytes == kPatternPageBytes);

// quire's RecordWriter gathers so much (quire/io/records.h).
constexpr std::uint64_t kRecordBufferBytes = 256_KiB;
// MADV_POPULATE_* in steps, as path_map.cc does.
constexpr std::uint64_t kPopulateBytes = 8_MiB;
// Drawn until the memory is full of them: a skewed pattern repeats itself often.
constexpr std::uint64_t kDrawsPerPage = 4;
// What an update changes of its page.
constexpr std::uint64_t kUpdateBytes = 16;

bool has_new_file(Pattern pattern) noexcept {
  return pattern == Pattern::kSequentialWrite || pattern == Pattern::kAppend;
}

bool is_direct(Path path) noexcept {
  return path == Path::kDirect || path == Path::kDirectQueued;
}

class RoundSimulation {
 public:
  RoundSimulation(const Cell& cell, const SimulatedOptions& options, std::uint64_t file_bytes,
                  int round_index)
      : cell_(cell),
        host_(options.disk, options.host, round_start(options, round_index)),
        memory_bytes_(cell.memory_bytes.value_or(options.host.memory_bytes)),
        cache_(host_, {0, has_new_file(cell.pattern) ? cell.working_set_bytes : file_bytes},
               memory_bytes_),
        file_(cache_, size_bytes()),
        map_(cache_, size_bytes()),
        unbuffered_(host_, {0, cache_.page_count() * kPatternPageBytes}),
        round_index_(round_index),
        rounds_(std::max(options.compare.rounds_min, 1)),
        seed_(options.compare.seed) {}

  Round run() {
    make_state();
    const Counters before = read_counters();
    Round round;
    round.cache_before_bytes = cached_bytes();
    run_pattern();
    const Counters after = read_counters();
    round.seconds = after.now.seconds() - before.now.seconds();
    round.bytes = bytes_;
    round.operations = operations_;
    round.cpu_s = static_cast<double>(after.cpu_ns - before.cpu_ns) / 1e9;
    round.major_faults = map_.major_faults();
    round.minor_faults = map_.minor_faults();
    round.system_calls = after.system_calls - before.system_calls;
    round.device_read_bytes = after.disk.read_bytes - before.disk.read_bytes;
    round.device_written_bytes = after.disk.written_bytes - before.disk.written_bytes;
    round.cache_left_bytes = cached_bytes();
    if (cell_.state == State::kCold) {
      round.verified_cold = *round.cache_before_bytes == 0;
    }
    if (is_direct(cell_.path)) {
      round.verified_direct = *round.cache_left_bytes <= *round.cache_before_bytes;
    }
    if (latency_.count() > 0) {
      round.latency = latency_.summary();
    }
    return round;
  }

 private:
  struct Counters {
    sim::SimTime now;
    std::uint64_t cpu_ns = 0;
    std::uint64_t system_calls = 0;
    sim::DiskCounters disk;
  };

  [[nodiscard]] Counters read_counters() const {
    return {.now = host_.now(),
            .cpu_ns = host_.cpu_ns(),
            .system_calls = host_.system_calls(),
            .disk = host_.disk().counters()};
  }
  // Where the file ends when the round begins.
  [[nodiscard]] std::uint64_t size_bytes() const noexcept {
    return has_new_file(cell_.pattern) ? 0 : cache_.page_count() * kPatternPageBytes;
  }
  [[nodiscard]] std::uint64_t cached_bytes() const noexcept {
    return cache_.resident_pages() * kPatternPageBytes;
  }
  [[nodiscard]] bool is_each_durable() const noexcept {
    return cell_.durability == DurabilityChoice::kEachOperation;
  }
  // The disk has to be waited for, as far as one can tell beforehand.
  [[nodiscard]] bool waits() const noexcept {
    return cell_.state == State::kCold || cell_.exceeds_memory || is_direct(cell_.path);
  }

  // Warm and larger than memory: the last pages of the pattern that fit into it, which is what many
  // reads leave behind.
  void make_state() {
    if (cell_.state == State::kCold || has_new_file(cell_.pattern)) {
      return;
    }
    if (cell_.exceeds_memory && is_random(cell_.pattern)) {
      for (const std::uint32_t page : draw(kDrawsPerPage * memory_bytes_ / kPatternPageBytes, 1)) {
        if (!cache_.warm(page)) {
          return;
        }
      }
    } else {
      cache_.warm_all();
    }
  }

  [[nodiscard]] std::vector<std::uint32_t> draw(std::uint64_t count, std::uint64_t stream) const {
    constexpr std::uint64_t kSeedStride = 0x9e3779b97f4a7c15;
    return draw_pages(
        {.page_count = cell_.working_set_bytes / kPatternPageBytes,
         .skew = cell_.pattern == Pattern::kSkewedRead ? Skew::kZipf : Skew::kUniform,
         .draws = count,
         .seed = seed_ + kSeedStride * (2 * static_cast<std::uint64_t>(round_index_) + stream + 1),
         .hot_seed = seed_});
  }

  void run_pattern() {
    switch (cell_.pattern) {
      case Pattern::kSequentialRead: scan(); break;
      case Pattern::kRandomRead:
      case Pattern::kSkewedRead: visit(); break;
      case Pattern::kSequentialWrite: fill(); break;
      case Pattern::kAppend: append(); break;
      case Pattern::kRandomUpdate: update(); break;
    }
    if (cell_.durability == DurabilityChoice::kAtEnd) {
      is_direct(cell_.path) ? unbuffered_.sync() : file_.sync();
    }
  }

  void count(std::uint64_t bytes) noexcept {
    bytes_ += bytes;
    ++operations_;
  }

  void look_at(std::uint64_t bytes) noexcept { host_.spend_copy(bytes); }

  // Runs and times one append or update.
  template <typename Operate>
  void timed(std::uint64_t bytes, Operate&& operate) {
    const sim::SimTime begun = host_.now();
    operate();
    latency_.add(host_.now().ns - begun.ns);
    count(bytes);
  }

  void run_queue(const std::vector<ByteRange>& ranges, const std::vector<DiskOperation>& steps) {
    unbuffered_.run({.ranges = ranges, .depth = cell_.depth, .steps = steps},
                    [&](std::size_t index, std::uint64_t latency_ns) {
                      const std::uint64_t bytes = ranges[index].length_bytes;
                      if (steps.front() == DiskOperation::kRead) {
                        look_at(bytes);
                      }
                      if (is_random(cell_.pattern)) {
                        latency_.add(latency_ns);
                      }
                      count(bytes);
                    });
  }

  // --- sequential reads ------------------------------------------------------------------------

  // Blocks one after the other, round the working set, from another place in each round.
  [[nodiscard]] std::vector<ByteRange> blocks_to_scan() const {
    const std::uint64_t set = cell_.working_set_bytes;
    const std::uint64_t total = std::min(set, kSimulatedScanBytesMax);
    const auto share = static_cast<std::uint64_t>(round_index_ % rounds_);
    std::uint64_t at = set / static_cast<std::uint64_t>(rounds_) * share / 1_MiB * 1_MiB;
    std::vector<ByteRange> blocks;
    for (std::uint64_t done = 0; done < total;) {
      const std::uint64_t length = std::min({cell_.block_bytes, set - at, total - done});
      blocks.push_back({at, length});
      done += length;
      at = at + length == set ? 0 : at + length;
    }
    return blocks;
  }

  void scan() {
    const std::vector<ByteRange> blocks = blocks_to_scan();
    if (cell_.path == Path::kDirectQueued) {
      run_queue(blocks, {DiskOperation::kRead});
      return;
    }
    if (cell_.path == Path::kMapAdvised) {
      map_.advise(SimAdvice::kSequential);
    }
    for (std::size_t index = 0; index < blocks.size(); ++index) {
      if (cell_.path == Path::kBufferedQueued) {
        ask_ahead(blocks, index);
      }
      read_block(blocks[index]);
      count(blocks[index].length_bytes);
    }
  }

  // Keeps `depth` requests under way: what a ring over the page cache does. When the one whose turn
  // it is was asked for.
  sim::SimTime ask_ahead(const std::vector<ByteRange>& blocks, std::size_t index) {
    const std::size_t end = std::min<std::size_t>(index + cell_.depth, blocks.size());
    for (; asked_at_.size() < end; asked_at_.push_back(host_.now())) {
      file_.ask(blocks[asked_at_.size()]);
    }
    return asked_at_[index];
  }

  void read_block(ByteRange range) {
    switch (cell_.path) {
      case Path::kReadWriteSmall:
      case Path::kReadWriteLarge:
      case Path::kBufferedQueued: file_.read(range); break;
      case Path::kBufferedDropBehind: file_.read_and_drop(range); break;
      case Path::kDirect: unbuffered_.read(range); break;
      case Path::kMapPopulated: populate_for(range); [[fallthrough]];
      case Path::kMapDefault:
      case Path::kMapAdvised: map_.load(range); return;  // A load looks at its bytes itself.
      case Path::kMemory: break;
      case Path::kBufferedWriter:
      case Path::kDirectQueued:
      case Path::kPaged:
      case Path::kPagedHandler:
      case Path::kPagedPrefetched: QUIRE_CHECK(false); break;  // The plan has no such cell.
    }
    look_at(range.length_bytes);
  }

  // The next step, when the range enters it.
  void populate_for(ByteRange range) {
    const std::uint64_t step = range.offset_bytes / kPopulateBytes * kPopulateBytes;
    if (step == populated_step_) {
      return;
    }
    populated_step_ = step;
    const std::uint64_t length = std::min(kPopulateBytes, cell_.working_set_bytes - step);
    is_write(cell_.pattern) ? map_.populate_for_store({step, length})
                            : map_.populate({step, length});
  }

  // --- random reads ----------------------------------------------------------------------------

  [[nodiscard]] std::vector<ByteRange> drawn_ranges(std::uint64_t draws) const {
    std::vector<ByteRange> ranges;
    for (const std::uint32_t page : draw(draws, 0)) {
      ranges.push_back({page * kPatternPageBytes, kPatternPageBytes});
    }
    return ranges;
  }

  [[nodiscard]] std::uint64_t visits() const noexcept {
    const std::uint64_t pages = cell_.working_set_bytes / kPatternPageBytes;
    return waits() ? kSimulatedWaitsMax
                   : std::min(kSimulatedVisitsMax, kSimulatedPassesMax * pages);
  }

  void visit() {
    const std::vector<ByteRange> ranges = drawn_ranges(visits());
    if (cell_.path == Path::kDirectQueued) {
      run_queue(ranges, {DiskOperation::kRead});
      return;
    }
    if (cell_.path == Path::kMapAdvised) {
      map_.advise(SimAdvice::kRandom);
    } else if (cell_.path == Path::kMapPopulated) {
      populate_all();
    }
    for (std::size_t index = 0; index < ranges.size(); ++index) {
      const bool is_queued = cell_.path == Path::kBufferedQueued;
      const sim::SimTime begun = is_queued ? ask_ahead(ranges, index) : host_.now();
      cell_.path == Path::kMapPopulated ? map_.load(ranges[index]) : read_block(ranges[index]);
      latency_.add(host_.now().ns - begun.ns);
      count(kPatternPageBytes);
    }
  }

  void populate_all() {
    for (std::uint64_t at = 0; at < cell_.working_set_bytes; at += kPopulateBytes) {
      map_.populate({at, std::min(kPopulateBytes, cell_.working_set_bytes - at)});
    }
  }

  // --- writes ----------------------------------------------------------------------------------

  void fill() {
    std::vector<ByteRange> blocks;
    for (std::uint64_t at = 0; at < cell_.working_set_bytes; at += cell_.block_bytes) {
      blocks.push_back({at, std::min(cell_.block_bytes, cell_.working_set_bytes - at)});
    }
    if (cell_.path == Path::kDirectQueued) {
      run_queue(blocks, {DiskOperation::kWrite});
      return;
    }
    for (const ByteRange& block : blocks) {
      write_block(block);
      count(block.length_bytes);
    }
  }

  void write_block(ByteRange range) {
    switch (cell_.path) {
      case Path::kReadWriteSmall:
      case Path::kReadWriteLarge:
      case Path::kBufferedQueued: file_.write(range); break;
      case Path::kBufferedDropBehind: file_.write_and_drop(range); break;
      case Path::kDirect: unbuffered_.write(range); break;
      case Path::kMapPopulated: populate_for(range); [[fallthrough]];
      case Path::kMapDefault:
      case Path::kMapAdvised: map_.store(range); break;
      case Path::kMemory: host_.spend_copy(range.length_bytes); break;
      case Path::kBufferedWriter:
      case Path::kDirectQueued:
      case Path::kPaged:
      case Path::kPagedHandler:
      case Path::kPagedPrefetched: QUIRE_CHECK(false); break;  // The plan has no such cell.
    }
  }

  void append() {
    const std::uint64_t record = cell_.block_bytes;
    const std::uint64_t bytes_max = std::min(cell_.working_set_bytes, kSimulatedAppendBytesMax);
    const std::uint64_t records =
        std::min(bytes_max / record, is_each_durable() ? kSimulatedDurableMax : bytes_max);
    for (std::uint64_t i = 0; i < records; ++i) {
      timed(record, [&] { append_record({i * record, record}); });
    }
    write_gathered(records * record);
  }

  void append_record(ByteRange range) {
    if (cell_.path != Path::kBufferedWriter) {
      write_block(range);
    } else {
      host_.spend_copy(range.length_bytes);
      if (is_each_durable() || end_of(range) - gathered_from_ >= kRecordBufferBytes) {
        write_gathered(end_of(range));
      }
    }
    if (is_each_durable()) {
      file_.sync();
    }
  }

  // What a record writer holds, up to `end_bytes`.
  void write_gathered(std::uint64_t end_bytes) {
    if (cell_.path == Path::kBufferedWriter && gathered_from_ < end_bytes) {
      file_.write({gathered_from_, end_bytes - gathered_from_});
      gathered_from_ = end_bytes;
    }
  }

  void update() {
    const std::vector<ByteRange> ranges = drawn_ranges(is_each_durable() ? kSimulatedDurableMax
                                                       : waits()         ? kSimulatedWaitsMax
                                                                         : kSimulatedVisitsMax);
    if (cell_.path == Path::kDirectQueued) {
      std::vector<DiskOperation> steps{DiskOperation::kRead, DiskOperation::kWrite};
      if (is_each_durable()) {
        steps.push_back(DiskOperation::kFlush);
      }
      run_queue(ranges, steps);
      return;
    }
    if (cell_.path == Path::kMapAdvised) {
      map_.advise(SimAdvice::kRandom);
    }
    for (const ByteRange& range : ranges) {
      timed(kPatternPageBytes, [&] { update_page(range); });
    }
  }

  void update_page(ByteRange range) {
    if (cell_.path == Path::kDirect) {
      unbuffered_.read(range);
      unbuffered_.write(range, is_each_durable() ? SimDurability::kSync : SimDurability::kNone);
      return;
    }
    const ByteRange changed{range.offset_bytes, kUpdateBytes};
    switch (cell_.path) {
      case Path::kMapDefault:
      case Path::kMapAdvised:
      case Path::kMapPopulated: map_.store(changed); break;
      case Path::kMemory: host_.spend_copy(kUpdateBytes); break;
      default:
        file_.read(range);
        file_.write(range);
        break;
    }
    if (is_each_durable()) {
      file_.sync();
    }
  }

  const Cell& cell_;
  sim::SimHost host_;
  std::uint64_t memory_bytes_;
  sim::PageCache cache_;
  sim::BufferedFile file_;
  sim::MappedFile map_;
  sim::UnbufferedFile unbuffered_;
  int round_index_;
  int rounds_;
  std::uint64_t seed_;
  std::uint64_t bytes_ = 0;
  std::uint64_t operations_ = 0;
  LatencyHistogram latency_;
  std::vector<sim::SimTime> asked_at_;  // Of a buffered queue, by index.
  std::optional<std::uint64_t> populated_step_;
  std::uint64_t gathered_from_ = 0;
};

}  // namespace

Round simulate_round(const Cell& cell, const SimulatedOptions& options, std::uint64_t file_bytes,
                     int round_index) {
  return RoundSimulation(cell, options, file_bytes, round_index).run();
}

sim::SimTime round_start(const SimulatedOptions& options, int round_index) noexcept {
  constexpr std::uint64_t kSpreadNs = 100 * sim::kNanosecondsPerMillisecond;
  Prng prng(options.compare.seed + static_cast<std::uint64_t>(round_index));
  return {prng.below(kSpreadNs)};
}

}  // namespace quire::compare::internal
