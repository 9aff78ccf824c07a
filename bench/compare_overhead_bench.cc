// SPDX-License-Identifier: Apache-2.0
//
// compare_overhead_bench: how much `quire compare` disturbs what it measures: the rate of a cell,
// measured as the command does it (counters, timed operations, a sample of the bytes checked),
// against the same loop written alone with plain system calls and loads; each in a process of its
// own.
//
//   build/release/bench/compare_overhead_bench [--dir=.] [--mib=128] [--rounds=15] [--json]
//
// The file is in the page cache, but for the direct loop; the processor is the bound, which is
// where a disturbance shows. Goal: each within 3 %: a ratio between 0.97 and 1.03.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "bench/bench.h"
#include "quire/base/check.h"
#include "quire/base/units.h"
#include "quire/compare/measure.h"
#include "quire/compare/target.h"
#include "quire/compare/worker.h"
#include "quire/compare/workload.h"
#include "quire/io/buffer_pool.h"

namespace quire::bench {
namespace {

using compare::Cell;
using compare::kPatternPageBytes;
using compare::Path;
using compare::Pattern;
using compare::sum_of;
using compare::Workload;
using Clock = std::chrono::steady_clock;

// What a loop adds up, so that no loop can be left out.
std::uint64_t total = 0;

class Descriptor {
 public:
  Descriptor(const std::string& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC)) {
    QUIRE_CHECK_GE(fd_, 0);
  }
  ~Descriptor() { ::close(fd_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

// Bytes per second of `loop`, which returns the bytes it went through.
template <typename Loop>
double rate_of(Loop&& loop) {
  const auto begin = Clock::now();
  const std::uint64_t bytes = loop();
  return static_cast<double>(bytes) / std::chrono::duration<double>(Clock::now() - begin).count();
}

// The offsets of the loop, in order.
template <typename Visit>
std::uint64_t for_each_offset(const Workload& work, Visit&& visit) {
  std::uint64_t done = 0;
  std::uint64_t offset = work.start_bytes;
  for (std::uint64_t i = 0; done < work.bytes_max; ++i) {
    if (!work.pages.empty()) {
      offset = work.pages[i & (compare::kPagesDrawn - 1)] * kPatternPageBytes;
    }
    visit(offset);
    done += work.block_bytes;
    offset = offset + work.block_bytes == work.working_set_bytes ? 0 : offset + work.block_bytes;
  }
  return done;
}

double pread_alone(const std::string& path, const Workload& work, int flags, std::byte* block) {
  const Descriptor file(path, O_RDONLY | flags);
  return rate_of([&] {
    return for_each_offset(work, [&](std::uint64_t offset) {
      const ssize_t count =
          ::pread(file.get(), block, work.block_bytes, static_cast<off_t>(offset));
      QUIRE_CHECK_EQ(count, static_cast<ssize_t>(work.block_bytes));
      total += sum_of({block, work.block_bytes});
    });
  });
}

double loads_alone(const std::string& path, const Workload& work) {
  const Descriptor file(path, O_RDONLY);
  void* mapped = ::mmap(nullptr, work.working_set_bytes, PROT_READ, MAP_SHARED, file.get(), 0);
  QUIRE_CHECK(mapped != MAP_FAILED);
  const auto* bytes = static_cast<const std::byte*>(mapped);
  const double rate = rate_of([&] {
    return for_each_offset(
        work, [&](std::uint64_t offset) { total += sum_of({bytes + offset, work.block_bytes}); });
  });
  ::munmap(mapped, work.working_set_bytes);
  return rate;
}

double append_alone(const compare::Target& target, const Workload& work, std::byte* record) {
  const sys::Descriptor file = target.make_beside(0).value();
  return rate_of([&] {
    std::uint64_t done = 0;
    for (std::uint64_t i = 0; done < work.bytes_max; ++i) {
      compare::stamp_page(record, i);
      const ssize_t count =
          ::pwrite(file.get(), record, work.block_bytes, static_cast<off_t>(done));
      QUIRE_CHECK_EQ(count, static_cast<ssize_t>(work.block_bytes));
      done += work.block_bytes;
    }
    return done;
  });
}

struct Loop {
  const char* name;
  Path path;
  Pattern pattern;
  std::uint64_t block_bytes;
};

class OverheadBench {
 public:
  explicit OverheadBench(const Arguments& arguments)
      : rounds_(arguments.number("rounds", 15)),
        size_bytes_(arguments.number("mib", 128) * 1_MiB),
        target_(make_target(arguments.text("dir", "."), size_bytes_)),
        pool_(BufferPool::make({.buffer_bytes = 1_MiB, .buffer_count = 1}).value()),
        buffer_(pool_->take()) {}

  nlohmann::json run() {
    nlohmann::json figures;
    for (const Loop& loop :
         {Loop{"scan, pread 4 KiB", Path::kReadWriteSmall, Pattern::kSequentialRead, 4_KiB},
          Loop{"scan, pread 1 MiB", Path::kReadWriteLarge, Pattern::kSequentialRead, 1_MiB},
          Loop{"scan, mapping", Path::kMapDefault, Pattern::kSequentialRead, 1_MiB},
          Loop{"random, pread 4 KiB", Path::kReadWriteSmall, Pattern::kRandomRead, 4_KiB},
          Loop{"random, mapping", Path::kMapDefault, Pattern::kRandomRead, 4_KiB},
          Loop{"append, write 64 B", Path::kReadWriteSmall, Pattern::kAppend, 64},
          Loop{"scan, direct 1 MiB", Path::kDirect, Pattern::kSequentialRead, 1_MiB}}) {
      figures.push_back(race(loop));
    }
    return {{"benchmark", "compare_overhead"},
            {"size_bytes", size_bytes_},
            {"figures", figures},
            {"machine", machine_facts(".")}};
  }

 private:
  static compare::Target make_target(const std::string& directory, std::uint64_t bytes) {
    compare::CompareOptions options;
    options.directory = directory;
    options.scratch_bytes = bytes;
    return compare::Target::make_scratch(options, bytes, {}).value();
  }

  // Enough time that every loop ends by its bytes: both go through the same.
  [[nodiscard]] Workload work_of(const Cell& cell) const {
    return compare::make_workload(cell, target_, {.index = 0, .seconds = 3600, .seed = 1});
  }

  [[nodiscard]] Cell cell_of(const Loop& loop) const {
    Cell cell;
    cell.path = loop.path;
    cell.pattern = loop.pattern;
    cell.state = loop.path == Path::kDirect ? compare::State::kCold : compare::State::kWarm;
    cell.working_set_bytes = size_bytes_;
    cell.block_bytes = loop.block_bytes;
    return cell;
  }

  nlohmann::json race(const Loop& loop) {
    const Cell cell = cell_of(loop);
    const Workload work = work_of(cell);
    std::vector<Racer> racers{{"cell", [&] { return rate_in_worker(cell, work); }},
                              {"alone", [&] { return alone_in_worker(loop, work); }}};
    run_races(racers, rounds_, [] {});
    const Samples to_alone = ratio(racers[0].rates, racers[1].rates);
    return {{"name", loop.name},
            {"cell", racers[0].rates.to_json()},
            {"alone", racers[1].rates.to_json()},
            {"ratio", to_alone.to_json()},
            {"goal", 0.97}};
  }

  [[nodiscard]] double rate_in_worker(const Cell& cell, Workload work) const {
    const auto report = compare::run_in_worker(
        [&] { return compare::measure_round(cell, target_, work, *make_runner(cell.path)); },
        {.subject = "bench"});
    return report.value().round.mib_per_s() * static_cast<double>(1_MiB);
  }

  // In a process of its own, as any program is; its bytes per second travel as bytes in a second.
  [[nodiscard]] double alone_in_worker(const Loop& loop, const Workload& work) const {
    const auto report = compare::run_in_worker(
        [&]() -> Result<compare::RoundReport> {
          compare::RoundReport alone;
          alone.round.seconds = 1;
          alone.round.bytes = static_cast<std::uint64_t>(rate_alone(loop, work));
          return alone;
        },
        {.subject = "bench"});
    return static_cast<double>(report.value().round.bytes);
  }

  [[nodiscard]] double rate_alone(const Loop& loop, const Workload& work) const {
    if (loop.pattern == Pattern::kAppend) {
      return append_alone(target_, work, buffer_.bytes().data());
    }
    const std::string path = target_.path_to_reopen();
    if (loop.path == Path::kMapDefault) {
      return loads_alone(path, work);
    }
    return pread_alone(path, work, loop.path == Path::kDirect ? O_DIRECT : 0,
                       buffer_.bytes().data());
  }

  const std::uint64_t rounds_;
  const std::uint64_t size_bytes_;
  const compare::Target target_;
  const std::unique_ptr<BufferPool> pool_;
  const BufferPool::Buffer buffer_;
};

void print_text(const nlohmann::json& result) {
  for (const nlohmann::json& figure : result["figures"]) {
    fmt::print("{:<22}{:>8.0f} MiB/s in a cell {:>8.0f} alone   ratio {:.3f} (+- {:.3f})\n",
               figure["name"].get<std::string>(),
               figure["cell"]["median"].get<double>() / static_cast<double>(1_MiB),
               figure["alone"]["median"].get<double>() / static_cast<double>(1_MiB),
               figure["ratio"]["median"].get<double>(),
               figure["ratio"]["spread"].get<double>() / 2);
  }
}

}  // namespace
}  // namespace quire::bench

int main(int argc, char** argv) {
  const quire::bench::Arguments arguments(
      argc, argv,
      {quire::bench::kDirectory, {"mib=N", "length of the file"}, quire::bench::kRounds});
  const nlohmann::json report = quire::bench::OverheadBench(arguments).run();
  quire::bench::keep(quire::bench::total);
  return quire::bench::finish(arguments, report, quire::bench::print_text);
}
