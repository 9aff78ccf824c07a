// SPDX-License-Identifier: Apache-2.0
//
// Loads that follow a pattern: the whole file in order, and few pages that are wanted often while
// somebody reads everything now and then.
#include <string>
#include <vector>

#include "bench/fio.h"
#include "bench/pager_bench.h"
#include "quire/base/prng.h"
#include "quire/policy/trace_source.h"

namespace quire::bench {
namespace {

using Bytes = std::span<const std::byte>;

// --- The whole file, in order --------------------------------------------------------------------

nlohmann::json measure_sequential(Bytes bytes) {
  const Meter meter;
  sum_pages(bytes);
  return meter.stop(static_cast<double>(bytes.size()));
}

Side paged_sequential(const Setting& setting, FaultPath path) {
  return {name_of(path), [&setting, path] {
            Pager pager(pager_options(setting, path));
            const PagedArea area = pager.map(setting.file()).value();
            nlohmann::json found = measure_sequential(area.bytes());
            found["pager"] = counters_of(pager, area);
            return found;
          }};
}

Side mapped_sequential(const Setting& setting, const char* name, sys::MemoryAdvice advice) {
  return {name, [&setting, advice] {
            const KernelMapping mapping(setting.file());
            mapping.advise(advice);
            return measure_sequential(mapping.bytes());
          }};
}

// What the disk gives; needs no memory to put it into, so no cgroup binds it.
Side fio_sequential(const Setting& setting, const char* name, std::uint64_t block_bytes) {
  return {.name = name,
          .run =
              [&setting, block_bytes] {
                const HugePagePool pool(40);
                return nlohmann::json{{"rate", run_fio({.rw = "read",
                                                        .block_bytes = block_bytes,
                                                        .depth = 8,
                                                        .file = setting.file(),
                                                        .size_bytes = setting.file_bytes,
                                                        .seconds = 1})}};
              },
          .is_apart = false};
}

nlohmann::json sequential(const Setting& setting) {
  const std::vector<std::string> mappings{"mmap_normal", "mmap_sequential"};
  const std::vector<std::string> disk{"fio_1m", "fio_2m"};
  return race(setting,
              {paged_sequential(setting, FaultPath::kInline),
               paged_sequential(setting, FaultPath::kHandler),
               mapped_sequential(setting, "mmap_normal", sys::MemoryAdvice::kNormal),
               mapped_sequential(setting, "mmap_sequential", sys::MemoryAdvice::kSequential),
               fio_sequential(setting, "fio_1m", 1_MiB), fio_sequential(setting, "fio_2m", 2_MiB)},
              {{"inline to mmap", "inline", mappings, 0.9},
               {"inline to fio", "inline", disk, 0.9},
               {"handler to mmap", "handler", mappings, 0.9},
               {"handler to fio", "handler", disk, 0.9}});
}

// --- Few pages wanted often, and a scan between --------------------------------------------------

constexpr std::size_t kZipfThreads = 16;
constexpr double kTheta = 0.99;
constexpr std::uint64_t kZipfFileToMemory = 8;
constexpr std::uint64_t kLoadsPerPage = 4;  // Of one period; there are two, with a scan between.
constexpr std::uint64_t kScatter = 2'654'435'761;  // A prime: ranks are spread over the file.

void load_by_rank(Bytes bytes, std::uint64_t period) {
  const std::uint64_t pages = bytes.size() / kPageBytes;
  run_threads(kZipfThreads, [&](std::size_t index) {
    const ZipfDraw draw(pages, kTheta);
    Prng random(period * kZipfThreads + index + 1);
    for (std::uint64_t i = 0; i < pages * kLoadsPerPage / kZipfThreads; ++i) {
      load_page(bytes, (draw(random) - 1) * kScatter % pages);
    }
  });
}

// `scan` reads everything once, by whatever way its side knows.
template <typename Scan>
nlohmann::json measure_zipf(Bytes bytes, const Scan& scan) {
  const Meter meter;
  load_by_rank(bytes, 0);
  const Meter scan_meter;
  scan();
  const nlohmann::json scanned = scan_meter.stop(1);
  load_by_rank(bytes, 1);
  const std::uint64_t loads = 2 * (bytes.size() / kPageBytes) * kLoadsPerPage;
  nlohmann::json found = meter.stop(static_cast<double>(loads));
  found["scan_read_bytes"] = scanned["device_read_bytes"];
  found["load_read_bytes"] = found["device_read_bytes"].get<std::uint64_t>() -
                             scanned["device_read_bytes"].get<std::uint64_t>();
  return found;
}

Bytes zipf_part(const Setting& setting, Bytes bytes) {
  return bytes.first(setting.limit_bytes * kZipfFileToMemory);
}

Side paged_zipf(const Setting& setting) {
  return {"inline", [&setting] {
            Pager pager(pager_options(setting, FaultPath::kInline));
            const PagedArea area = pager.map(setting.file()).value();
            const Bytes bytes = zipf_part(setting, area.bytes());
            nlohmann::json found = measure_zipf(bytes, [&] { sum_pages(bytes); });
            found["pager"] = counters_of(pager, area);
            return found;
          }};
}

// One mapping; the program tells when it scans.
Side mapped_zipf(const Setting& setting) {
  return {"mmap", [&setting] {
            const KernelMapping mapping(setting.file());
            const Bytes bytes = zipf_part(setting, mapping.bytes());
            mapping.advise(sys::MemoryAdvice::kRandom);
            return measure_zipf(bytes, [&] {
              mapping.advise(sys::MemoryAdvice::kNormal);
              sum_pages(bytes);
              mapping.advise(sys::MemoryAdvice::kRandom);
            });
          }};
}

// The scan has a mapping of its own, whose uses MADV_SEQUENTIAL lets the kernel overlook.
Side twice_mapped_zipf(const Setting& setting) {
  return {"mmap_twice", [&setting] {
            const KernelMapping mapping(setting.file());
            const KernelMapping scanned(setting.file());
            mapping.advise(sys::MemoryAdvice::kRandom);
            scanned.advise(sys::MemoryAdvice::kSequential);
            return measure_zipf(zipf_part(setting, mapping.bytes()),
                                [&] { sum_pages(zipf_part(setting, scanned.bytes())); });
          }};
}

nlohmann::json zipf(const Setting& setting) {
  return race(setting, {paged_zipf(setting), mapped_zipf(setting), twice_mapped_zipf(setting)},
              {{.name = "device reads",
                .side = "inline",
                .against = {"mmap", "mmap_twice"},
                .goal = 0.75,
                .goal_side = Goal::kAtMost,
                .number = "device_read_bytes"}});
}

}  // namespace

std::vector<Case> pattern_cases() {
  return {{"sequential", "the whole file in order, cold, against any advice and fio (bytes)",
           sequential},
          {"zipf", "Zipf 0.99 loads of 16 threads with a full scan between: device reads", zipf}};
}

}  // namespace quire::bench
