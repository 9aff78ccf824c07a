// SPDX-License-Identifier: Apache-2.0
//
// What is written in order: a log of small records, and one large commit.
#include <chrono>
#include <vector>

#include "bench/commit_bench.h"

namespace quire::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kBatchBytes = 64_KiB;  // Of records, in one commit.
constexpr std::size_t kRecordWords = 8;
constexpr std::uint64_t kRecordBytes = kRecordWords * sizeof(std::uint64_t);

// As many as there is room for, from that number on.
void store_records(std::span<std::byte> into, std::uint64_t first) {
  auto* const words = reinterpret_cast<std::uint64_t*>(into.data());
  for (std::size_t i = 0; i < into.size() / sizeof *words; ++i) {
    words[i] = mark_of(first + i / kRecordWords) + i % kRecordWords;
  }
}

// Batch after batch, until the time is over or the file is full. `round` makes records that differ.
nlohmann::json append_records(const CommitSetting& setting, FileMemory& log, std::uint64_t round) {
  const std::uint64_t batches = log.bytes().size() / kBatchBytes;
  const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                      std::chrono::duration<double>(setting.race.seconds));
  std::uint64_t done = 0;
  const CommitMeter meter(setting);
  do {
    const ByteRange range{done * kBatchBytes, kBatchBytes};
    store_records(log.bytes().subspan(range.offset_bytes, range.length_bytes),
                  (round * batches + done) * (kBatchBytes / kRecordBytes));
    log.commit(range);
    ++done;
  } while (done < batches && Clock::now() < end);
  return meter.stop(done, kBatchBytes);
}

// Every page is dirty; only the commit is measured.
nlohmann::json commit_all(const CommitSetting& setting, FileMemory& memory, std::uint64_t round) {
  const std::span<std::byte> bytes = memory.bytes();
  store_records(bytes, round * (bytes.size() / kRecordBytes));
  const CommitMeter meter(setting);
  memory.commit({0, bytes.size()});
  return meter.stop(1, bytes.size());
}

nlohmann::json race_against(const CommitSetting& setting, const std::vector<MemoryProduct>& others,
                            std::uint64_t size_bytes, MemoryTurn turn) {
  constexpr double kGoal = 0.8;
  std::vector<MemoryProduct> products = others;
  std::vector<Figure> figures;
  for (const MemoryProduct& own : quire_memories()) {
    products.push_back(own);
    for (const MemoryProduct& other : others) {
      figures.push_back({own.name + " to " + other.name, own.name, {other.name}, kGoal});
    }
  }
  return race_memories(setting, products, figures, size_bytes, turn);
}

}  // namespace

std::vector<CommitCase> write_cases() {
  return {{"log-append", "small records, durable every 64 KiB (bytes)",
           [](const CommitSetting& setting) {
             return race_against(setting, {growing_log(), written_log()}, setting.data_bytes,
                                 append_records);
           }},
          {"commit-large", "one commit of everything, all pages changed (bytes)",
           [](const CommitSetting& setting) {
             return race_against(setting, {direct_write()}, setting.large_bytes, commit_all);
           }}};
}

}  // namespace quire::bench
