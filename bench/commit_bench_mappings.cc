// SPDX-License-Identifier: Apache-2.0
//
// What a thread feels that stores through a mapping: while another one commits, and while nobody
// does.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <utility>
#include <vector>

#include "bench/commit_bench.h"
#include "quire/base/check.h"
#include "quire/base/prng.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"

namespace quire::bench {
namespace {

using Clock = std::chrono::steady_clock;

void store_word(std::span<std::byte> bytes, std::uint64_t offset_bytes, std::uint64_t word) {
  *reinterpret_cast<volatile std::uint64_t*>(&bytes[offset_bytes]) = word;
}

std::vector<MemoryProduct> mappings_of_quire() {
  std::vector<MemoryProduct> mappings = quire_memories();
  std::erase_if(mappings, [](const MemoryProduct& product) { return !product.is_mapping; });
  return mappings;
}

// --- Stores during a commit ----------------------------------------------------------------------

constexpr auto kStorePeriod = std::chrono::microseconds(20);
constexpr double kStallNsMax = 5e6;

// A thread that stores a word to a random page each period. What it takes is counted from when the
// store was due: one that waits makes all of those late that should have come meanwhile, and they
// count too.
class PacedWriter {
 public:
  PacedWriter(std::span<std::byte> bytes, std::uint64_t seed) : bytes_(bytes), random_(seed) {
    thread_ = std::thread([this] { run(); });
    while (!is_running_) {
      std::this_thread::yield();
    }
  }
  ~PacedWriter() { QUIRE_CHECK(!thread_.joinable()); }
  PacedWriter(const PacedWriter&) = delete;
  PacedWriter& operator=(const PacedWriter&) = delete;

  // Returns what its stores took, in order of size.
  [[nodiscard]] std::vector<double> stop() {
    is_wanted_ = false;
    thread_.join();
    std::ranges::sort(latencies_ns_);
    return std::move(latencies_ns_);
  }

 private:
  void run() {
    auto due = Clock::now();
    is_running_ = true;
    do {
      while (Clock::now() < due) {
      }
      const std::uint64_t page = random_.below(bytes_.size() / kPageBytes);
      store_word(bytes_, page * kPageBytes, latencies_ns_.size());
      latencies_ns_.push_back(std::chrono::duration<double, std::nano>(Clock::now() - due).count());
      due += kStorePeriod;
    } while (is_wanted_);
  }

  const std::span<std::byte> bytes_;
  Prng random_;
  std::vector<double> latencies_ns_;
  std::atomic<bool> is_running_{false};
  std::atomic<bool> is_wanted_{true};
  std::thread thread_;
};

double quantile(const std::vector<double>& sorted, double share) {
  return sorted[static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1))];
}

nlohmann::json stall_turn(const CommitSetting& setting, FileMemory& memory, std::uint64_t round) {
  const std::span<std::byte> bytes = memory.bytes();
  for (std::uint64_t at = 0; at < bytes.size(); at += kPageBytes) {
    store_word(bytes, at + sizeof at, mark_of(at) + round);
  }
  PacedWriter writer(bytes, round);
  const CommitMeter meter(setting);
  memory.commit({0, bytes.size()});
  nlohmann::json found = meter.stop(1, bytes.size());
  const std::vector<double> latencies_ns = writer.stop();
  found["stores"] = latencies_ns.size();
  found["p50_ns"] = quantile(latencies_ns, 0.5);
  found["p99_ns"] = quantile(latencies_ns, 0.99);
  found["max_ns"] = latencies_ns.back();
  memory.commit({0, bytes.size()});  // What was stored meanwhile.
  return found;
}

nlohmann::json stall(const CommitSetting& setting) {
  const std::vector<MemoryProduct> own = mappings_of_quire();
  std::vector<MemoryProduct> products = own;
  products.push_back(synced_mapping());
  nlohmann::json report = race_memories(setting, products, {}, setting.large_bytes, stall_turn);
  for (const MemoryProduct& product : own) {
    if (const auto figure = limit_figure(report, product.name, "p99_ns", kStallNsMax)) {
      report["figures"].push_back(*figure);
    }
  }
  return report;
}

// --- Stores that nobody commits ------------------------------------------------------------------

constexpr std::uint64_t kStrideBytes = 64;  // A cache line.
constexpr int kPasses = 16;

void store_all(std::span<std::byte> bytes, std::uint64_t stride_bytes, std::uint64_t word) {
  for (std::uint64_t at = 0; at < bytes.size(); at += stride_bytes) {
    store_word(bytes, at, word);
  }
}

// Its pages are in memory then, and what was stored before is not.
void warm_and_check(const std::string& path) {
  const sys::Descriptor file = sys::open_file(path.c_str(), {}).value();
  std::vector<std::uint64_t> block(1_MiB / sizeof(std::uint64_t));
  const auto bytes = std::as_writable_bytes(std::span(block));
  for (std::uint64_t at = 0; const std::size_t got = sys::read_at(file.get(), bytes, at).value();
       at += got) {
    QUIRE_CHECK(std::ranges::all_of(block, [](std::uint64_t word) { return word == 0; }));
  }
}

// A new mapping in each turn: the first store to each page, then many to each.
nlohmann::json store_turn(const std::string& path, const MemoryProduct& product) {
  warm_and_check(path);
  const std::unique_ptr<FileMemory> memory = product.open(path);
  const std::span<std::byte> bytes = memory->bytes();
  const Meter meter;
  const double first_seconds = seconds_of([&] { store_all(bytes, kPageBytes, 1); });
  for (int pass = 0; pass < kPasses; ++pass) {
    store_all(bytes, kStrideBytes, static_cast<std::uint64_t>(pass));
  }
  const std::uint64_t pages = bytes.size() / kPageBytes;
  const std::uint64_t stores = pages + kPasses * (bytes.size() / kStrideBytes);
  nlohmann::json found = meter.stop(static_cast<double>(stores));
  found["first_rate"] = static_cast<double>(pages) / first_seconds;
  return found;
}

// Of the kernel mapping alone: a pager's first store to a page is a fault that it serves itself.
nlohmann::json tracking(const CommitSetting& setting) {
  std::vector<MemoryProduct> products{tracked_memory()};
  const std::vector<Figure> figures{{"tracked to private", "tracked", {"private"}, 0.9},
                                    {"tracked to private, first stores",
                                     "tracked",
                                     {"private"},
                                     0.9,
                                     Goal::kAtLeast,
                                     "first_rate"}};
  products.push_back(private_mapping());
  std::vector<Side> sides;
  for (const MemoryProduct& product : products) {
    const std::string path = setting.file(product.name + ".tracked");
    write_zeros(path, setting.data_bytes);
    sides.push_back({.name = product.name,
                     .run = [path, &product] { return store_turn(path, product); },
                     .is_apart = false});
  }
  nlohmann::json report = race(setting.race, sides, figures, Start::kAny);
  for (const MemoryProduct& product : products) {
    warm_and_check(setting.file(product.name + ".tracked"));
    remove_files(setting, product.name + ".tracked");
  }
  return report;
}

}  // namespace

std::vector<CommitCase> mapping_cases() {
  return {
      {"stall", "a word stored every 20 us while everything, all pages changed, is committed",
       stall},
      {"tracking", "stores to every page, then to every cache line 16 times; no commit", tracking}};
}

}  // namespace quire::bench
