// SPDX-License-Identifier: Apache-2.0
//
// Loads at random places of a file that is many times the memory. Memory is full before anything is
// measured: what is timed is a miss and the eviction that makes room for it.
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <vector>

#include "bench/pager_bench.h"
#include "quire/base/check.h"
#include "quire/base/prng.h"

namespace quire::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Bytes = std::span<const std::byte>;

constexpr std::size_t kFillThreads = 16;
constexpr double kFillSecondsMax = 1.5;
constexpr std::size_t kBatch = 64;  // Addresses that are known in advance.

Clock::time_point after(double seconds) {
  return Clock::now() +
         std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

// Until the time is over or there were so many. Returns how many there were.
std::uint64_t load_at_random(Bytes bytes, std::size_t threads, double seconds,
                             std::uint64_t loads_max, std::uint64_t seed) {
  const auto end = after(seconds);
  std::atomic<std::uint64_t> total{0};
  run_threads(threads, [&](std::size_t index) {
    Prng random(seed + index);
    std::uint64_t loads = 0;
    while (loads < loads_max / threads && Clock::now() < end) {
      load_page(bytes, random.below(bytes.size() / kPageBytes));
      ++loads;
    }
    total += loads;
  });
  return total;
}

void fill_memory(Bytes bytes, const Setting& setting) {
  static_cast<void>(load_at_random(bytes, kFillThreads, kFillSecondsMax,
                                   setting.limit_bytes / kPageBytes * 5 / 4, 1000));
}

nlohmann::json measure_random(Bytes bytes, const Setting& setting, std::size_t threads) {
  fill_memory(bytes, setting);
  const Meter meter;
  const std::uint64_t loads = load_at_random(bytes, threads, setting.seconds, UINT64_MAX, 1);
  return meter.stop(static_cast<double>(loads));
}

Side paged(const Setting& setting, FaultPath path, std::size_t threads) {
  return {name_of(path), [&setting, path, threads] {
            Pager pager(pager_options(setting, path));
            const PagedArea area = pager.map(setting.file()).value();
            nlohmann::json found = measure_random(area.bytes(), setting, threads);
            found["pager"] = counters_of(pager, area);
            return found;
          }};
}

Side mapped(const Setting& setting, const char* name, sys::MemoryAdvice advice,
            std::size_t threads) {
  return {name, [&setting, advice, threads] {
            const KernelMapping mapping(setting.file());
            mapping.advise(advice);
            return measure_random(mapping.bytes(), setting, threads);
          }};
}

nlohmann::json random_loads(const Setting& setting, std::size_t threads, double inline_goal,
                            double handler_goal) {
  return race(
      setting,
      {paged(setting, FaultPath::kInline, threads), paged(setting, FaultPath::kHandler, threads),
       mapped(setting, "mmap_random", sys::MemoryAdvice::kRandom, threads)},
      {{"inline to mmap", "inline", {"mmap_random"}, inline_goal},
       {"handler to mmap", "handler", {"mmap_random"}, handler_goal}});
}

nlohmann::json default_advice(const Setting& setting) {
  return race(setting,
              {paged(setting, FaultPath::kInline, 1), paged(setting, FaultPath::kHandler, 1),
               mapped(setting, "mmap_normal", sys::MemoryAdvice::kNormal, 1)},
              {{"inline to mmap", "inline", {"mmap_normal"}, 5},
               {"handler to mmap", "handler", {"mmap_normal"}, 5}});
}

// --- Addresses known in advance ------------------------------------------------------------------

using Ranges = std::vector<ByteRange>;

// Loads one batch while the next one is on its way.
template <typename Hint>
nlohmann::json measure_hinted(Bytes bytes, const Setting& setting, const Hint& hint) {
  fill_memory(bytes, setting);
  Prng random(1);
  const auto draw = [&](Ranges& into) {
    for (ByteRange& range : into) {
      range = {random.below(bytes.size() / kPageBytes) * kPageBytes, kPageBytes};
    }
    hint(into);
  };
  Ranges now(kBatch);
  Ranges next(kBatch);
  std::uint64_t loads = 0;
  const Meter meter;
  const auto end = after(setting.seconds);
  for (draw(now); Clock::now() < end; now.swap(next)) {
    draw(next);
    for (const ByteRange& range : now) {
      load_page(bytes, range.offset_bytes / kPageBytes);
    }
    loads += kBatch;
  }
  return meter.stop(static_cast<double>(loads));
}

Side paged_with_prefetch(const Setting& setting, FaultPath path) {
  return {name_of(path), [&setting, path] {
            Pager pager(pager_options(setting, path));
            const PagedArea area = pager.map(setting.file()).value();
            nlohmann::json found = measure_hinted(area.bytes(), setting, [&](const Ranges& ranges) {
              static_cast<void>(area.prefetch(ranges));
            });
            found["pager"] = counters_of(pager, area);
            return found;
          }};
}

void will_need_each(std::byte* first, const Ranges& ranges) {
  for (const ByteRange& range : ranges) {
    QUIRE_CHECK_EQ(::madvise(first + range.offset_bytes, kPageBytes, MADV_WILLNEED), 0);
  }
}

// All in one system call.
void will_need_vector(int self, std::byte* first, const Ranges& ranges) {
  iovec pieces[kBatch];
  for (std::size_t i = 0; i < kBatch; ++i) {
    pieces[i] = {first + ranges[i].offset_bytes, kPageBytes};
  }
  QUIRE_CHECK_EQ(::syscall(SYS_process_madvise, self, pieces, kBatch, MADV_WILLNEED, 0),
                 static_cast<long>(kBatch * kPageBytes));
}

template <typename Hint>
Side mapped_with_hints(const Setting& setting, const char* name, const Hint& hint) {
  return {name, [&setting, hint] {
            const KernelMapping mapping(setting.file());
            mapping.advise(sys::MemoryAdvice::kRandom);
            return measure_hinted(mapping.bytes(), setting, [&](const Ranges& ranges) {
              hint(mapping.bytes().data(), ranges);
            });
          }};
}

nlohmann::json prefetch(const Setting& setting) {
  return race(
      setting,
      {paged_with_prefetch(setting, FaultPath::kInline),
       paged_with_prefetch(setting, FaultPath::kHandler),
       mapped(setting, "mmap_random", sys::MemoryAdvice::kRandom, 1),
       mapped_with_hints(setting, "mmap_will_need", will_need_each),
       mapped_with_hints(setting, "mmap_will_need_vector",
                         [](std::byte* first, const Ranges& ranges) {
                           static const int self =
                               static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0));
                           will_need_vector(self, first, ranges);
                         })},
      {{"inline to mmap", "inline", {"mmap_random", "mmap_will_need", "mmap_will_need_vector"}, 3},
       {"handler to mmap",
        "handler",
        {"mmap_random", "mmap_will_need", "mmap_will_need_vector"},
        3}});
}

}  // namespace

std::vector<Case> load_cases() {
  return {
      {"random-1", "random 4 KiB loads, 1 thread, against MADV_RANDOM",
       [](const Setting& setting) { return random_loads(setting, 1, 0.9, 0.7); }},
      {"random-16", "the same, 16 threads",
       [](const Setting& setting) { return random_loads(setting, 16, 1.0, 0.8); }},
      {"random-64", "the same, 64 threads",
       [](const Setting& setting) { return random_loads(setting, 64, 1.0, 0.8); }},
      {"default-advice", "random 4 KiB loads, 1 thread, no advice on either side", default_advice},
      {"prefetch", "random 4 KiB loads, 1 thread, the next 64 addresses known", prefetch}};
}

}  // namespace quire::bench
