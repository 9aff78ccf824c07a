// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/internal/simulated_articles.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "quire/base/check.h"
#include "quire/base/prng.h"
#include "quire/compare/internal/numbers.h"
#include "quire/compare/internal/simulated_round.h"
#include "quire/sim/page_cache.h"
#include "quire/sim/sim_file.h"

namespace quire::compare::internal {
namespace {

using sim::SimDurability;

enum class Target : std::uint8_t { kUnbuffered, kFile, kMapping, kMemory };

// Bytes and writes of one figure: enough for the first to count for little.
constexpr std::uint64_t kBytesMax = 64_MiB;
constexpr std::uint64_t kWritesMax = std::uint64_t{1} << 18;
constexpr std::uint64_t kDiskWritesMax = 2000;
constexpr std::uint64_t kRandomReads = 3000;

const char* name_of(Target target) noexcept {
  switch (target) {
    case Target::kUnbuffered: return "unbuffered";
    case Target::kFile: return "file";
    case Target::kMapping: return "mapping";
    case Target::kMemory: break;
  }
  return "memory";
}

struct Experiment {
  Target target{};
  std::uint64_t block_bytes = 1;
  DurabilityChoice durability{};
};

std::uint64_t write_count(const Experiment& experiment, std::uint64_t file_bytes) noexcept {
  const std::uint64_t by_bytes = std::min(kBytesMax, file_bytes) / experiment.block_bytes;
  const bool is_each = experiment.durability == DurabilityChoice::kEachOperation;
  const bool is_on_disk = experiment.target == Target::kUnbuffered;
  const std::uint64_t most = is_each      ? kSimulatedDurableMax
                             : is_on_disk ? kDiskWritesMax
                                          : kWritesMax;
  return std::clamp(by_bytes, std::uint64_t{1}, most);
}

// A new file, a block after the other.
ArticleFigure run(const Experiment& experiment, const SimulatedOptions& options,
                  std::uint64_t file_bytes) {
  sim::SimHost host(options.disk, options.host, round_start(options, 0));
  const ByteRange place{0, file_bytes};
  sim::PageCache cache(host, place,
                       options.compare.memory_bytes.value_or(options.host.memory_bytes));
  sim::UnbufferedFile unbuffered(host, place);
  sim::BufferedFile file(cache, 0);
  sim::MappedFile map(cache, 0);
  const bool is_each = experiment.durability == DurabilityChoice::kEachOperation;
  const std::uint64_t writes = write_count(experiment, file_bytes);
  const sim::SimTime begun = host.now();
  for (std::uint64_t i = 0; i < writes; ++i) {
    const ByteRange block{i * experiment.block_bytes, experiment.block_bytes};
    switch (experiment.target) {
      case Target::kUnbuffered:
        unbuffered.write(block, is_each ? SimDurability::kSync : SimDurability::kNone);
        continue;
      case Target::kFile: file.write(block); break;
      case Target::kMapping: map.store(block); break;
      case Target::kMemory: host.spend_copy(block.length_bytes); break;
    }
    if (is_each) {
      file.sync();
    }
  }
  if (experiment.durability == DurabilityChoice::kAtEnd) {
    experiment.target == Target::kUnbuffered ? unbuffered.sync() : file.sync();
  }
  constexpr double kMib = 1024 * 1024;
  const double mib = static_cast<double>(writes * experiment.block_bytes) / kMib;
  const double seconds = host.now().seconds() - begun.seconds();
  return {.target = name_of(experiment.target),
          .block_bytes = experiment.block_bytes,
          .durability = experiment.durability,
          .mib_per_s = mib / seconds,
          .system_calls = host.system_calls(),
          .cpu_s_per_gib = static_cast<double>(host.cpu_ns()) / 1e9 / (mib / 1024)};
}

double writes_per_s(const ArticleFigure& figure) {
  return figure.mib_per_s * 1024 * 1024 / static_cast<double>(figure.block_bytes);
}

// Random 4 KiB reads past the page cache.
double random_reads_per_s(const SimulatedOptions& options, std::uint64_t span_bytes,
                          std::uint64_t depth) {
  sim::SimHost host(options.disk, options.host, round_start(options, 0));
  sim::UnbufferedFile file(host, {0, span_bytes});
  Prng prng(options.compare.seed);
  std::vector<ByteRange> ranges;
  for (std::uint64_t i = 0; i < kRandomReads; ++i) {
    ranges.push_back(
        {prng.below(span_bytes / sim::kSimPageBytes) * sim::kSimPageBytes, sim::kSimPageBytes});
  }
  constexpr std::array kRead{sim::DiskOperation::kRead};
  const sim::SimTime begun = host.now();
  file.run({.ranges = ranges, .depth = depth, .steps = kRead},
           [](std::size_t, std::uint64_t) noexcept {});
  return static_cast<double>(kRandomReads) / (host.now().seconds() - begun.seconds());
}

double ms(std::uint64_t duration_ns) noexcept {
  return static_cast<double>(duration_ns) / 1e6;
}

std::string whole_disk_sentence(const SimulatedOptions& options, std::uint64_t file_bytes) {
  const std::uint64_t whole = options.disk.capacity_bytes / sim::kSimPageBytes * sim::kSimPageBytes;
  const std::uint64_t depth = options.compare.depth;
  const auto sentence = [&](const char* where, std::uint64_t span_bytes) {
    return fmt::format("{} {} at depth 1, {} at depth {}", where,
                       operations_text(random_reads_per_s(options, span_bytes, 1), "reads"),
                       operations_text(random_reads_per_s(options, span_bytes, depth), "reads"),
                       depth);
  };
  return fmt::format("random 4 KiB reads past the page cache: {}; {}",
                     sentence("over the whole disk", whole),
                     sentence("inside this file", file_bytes));
}

}  // namespace

SimulatedArticles simulate_articles(const SimulatedOptions& options, std::uint64_t file_bytes) {
  using enum DurabilityChoice;
  SimulatedArticles articles;
  for (const Target target : {Target::kFile, Target::kMapping, Target::kMemory}) {
    articles.way.push_back(
        run({.target = target, .block_bytes = 1, .durability = kNone}, options, file_bytes));
  }
  for (const Target target :
       {Target::kUnbuffered, Target::kFile, Target::kMapping, Target::kMemory}) {
    for (const DurabilityChoice durability : {kNone, kAtEnd, kEachOperation}) {
      if (target == Target::kMemory && durability != kNone) {
        continue;  // There is no disk to be durable on.
      }
      for (const std::uint64_t block_bytes :
           {std::uint64_t{1}, std::uint64_t{64}, 4_KiB, 64_KiB, 1_MiB}) {
        articles.matrix.push_back(
            run({.target = target, .block_bytes = block_bytes, .durability = durability}, options,
                file_bytes));
      }
    }
  }
  return articles;
}

std::vector<std::string> explain_model(const SimulatedOptions& options, std::uint64_t file_bytes) {
  const auto figure = [&](Target target, std::uint64_t block_bytes, DurabilityChoice durability) {
    return run({.target = target, .block_bytes = block_bytes, .durability = durability}, options,
               file_bytes);
  };
  const ArticleFigure alone = figure(Target::kUnbuffered, 1, DurabilityChoice::kEachOperation);
  const ArticleFigure gathered = figure(Target::kFile, 1, DurabilityChoice::kAtEnd);
  const ArticleFigure large = figure(Target::kFile, 1_MiB, DurabilityChoice::kAtEnd);
  const sim::DiskModel& disk = options.disk;
  const std::string why =
      disk.is_rotating()
          ? fmt::format("one turn of {:.2f} ms each", ms(disk.rotation_ns()))
          : fmt::format("a page programmed ({:.2f} ms) and a flush each", ms(disk.program_ns));
  std::vector<std::string> sentences{
      fmt::format("one byte per write, each on the disk before the next: {}, {}",
                  operations_text(writes_per_s(alone), "bytes"), why),
      fmt::format("the same bytes, a write() each, gathered by the page cache and synced once: {}, "
                  "{} times as many; in blocks of 1 MiB: {}",
                  operations_text(writes_per_s(gathered), "bytes"),
                  factor_text(writes_per_s(gathered) / writes_per_s(alone)),
                  rate_text(large.mib_per_s))};
  sentences.push_back(whole_disk_sentence(options, file_bytes));
  if (disk.is_rotating()) {
    sentences.push_back(fmt::format(
        "the arithmetic of such a read: seek {:.2f} ms on average, half a turn {:.2f} ms, 4 KiB "
        "under the head {:.3f} ms at {} MB/s",
        ms(disk.seek_average_ns), ms(disk.rotation_ns() / 2),
        ms(sim::transfer_ns(sim::kSimPageBytes, disk.outer_bytes_per_s)),
        disk.outer_bytes_per_s / 1'000'000));
  }
  return sentences;
}

std::vector<Fact> describe_model(const SimulatedOptions& options) {
  const sim::DiskModel& disk = options.disk;
  std::vector<Fact> facts;
  if (disk.is_rotating()) {
    facts.push_back(
        {.name = "platter",
         .value = fmt::format("{} rpm, a turn in {:.2f} ms", disk.rpm, ms(disk.rotation_ns())),
         .consequence =
             fmt::format("a write that waits for the one before it to be on the disk costs a turn: "
                         "{:.0f} a second",
                         1e9 / static_cast<double>(disk.rotation_ns()))});
    facts.push_back(
        {.name = "arm",
         .value = fmt::format("{:.2f} ms to the next track, {:.2f} ms on average",
                              ms(disk.seek_track_ns), ms(disk.seek_average_ns)),
         .consequence = "the file lies in one piece at the outer edge: seeks inside it are short"});
  } else {
    facts.push_back({.name = "flash",
                     .value = fmt::format("{} units, {:.0f} us to read a page, {:.0f} us to "
                                          "program one",
                                          disk.units, static_cast<double>(disk.read_ns) / 1e3,
                                          static_cast<double>(disk.program_ns) / 1e3),
                     .consequence = fmt::format(
                         "up to {} requests work at the same time; one at a time leaves the others "
                         "idle",
                         disk.units)});
  }
  facts.push_back({.name = "write cache",
                   .value = disk.has_write_cache ? size_text(disk.cache_bytes) : "off",
                   .consequence = disk.has_write_cache
                                      ? "what was not flushed is lost with the power"
                                      : "every write waits for the medium"});
  facts.push_back({.name = "read-ahead",
                   .value = size_text(options.host.read_ahead_bytes),
                   .consequence = "of the simulated kernel, as Linux comes"});
  facts.push_back({.name = "file system",
                   .value = "none",
                   .consequence = "no journal, no metadata: durable appends are cheaper than they "
                                  "would be"});
  return facts;
}

}  // namespace quire::compare::internal
