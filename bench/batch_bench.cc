// SPDX-License-Identifier: Apache-2.0
//
// batch_bench: BatchReader on 4096 random ranges of 4 KiB: warm, cold and half resident.
//
//   build/release/bench/batch_bench [--dir=.] [--mib=1024] [--rounds=15] [--json]
//
//   warm   against copies through a mapping whose page tables are filled; memory is the bound
//   cold   against fio's random reads at the same depth; the device is the bound
//   half   every other 64 KiB resident; against copies through a mapping with MADV_RANDOM, and
//          against direct reads of everything at the same depth
//
// Goals: warm at most 1.3 times the time of the copies; cold at least 0.9 of fio; half at least as
// fast as the better of the two.
#include <fmt/format.h>
#include <sys/mman.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "bench/bench.h"
#include "bench/fio.h"
#include "quire/base/check.h"
#include "quire/base/prng.h"
#include "quire/io/batch_reader.h"
#include "quire/io/buffer_pool.h"
#include "quire/io/file.h"
#include "quire/io/io_queue.h"
#include "quire/map/mapping.h"
#include "quire/sys/file.h"

namespace quire::bench {
namespace {

constexpr std::size_t kRanges = 4096;
constexpr std::uint64_t kRangeBytes = 4_KiB;
constexpr std::uint32_t kDepth = 64;
constexpr std::uint64_t kStripeBytes = 64_KiB;

class BatchBench {
 public:
  explicit BatchBench(const Arguments& arguments)
      : path_(arguments.text("dir", ".") + "/batch_bench.data"),
        size_bytes_(arguments.number("mib", 1024) * 1_MiB),
        rounds_(arguments.number("rounds", 15)),
        pool_(BufferPool::make({.buffer_bytes = 16_MiB, .buffer_count = 1}).value()),
        memory_(pool_->take()) {
    write_random_file(path_, size_bytes_);
    direct_ = open_file(path_, {.cache = CacheUse::kBypass}).value();
    mapping_.emplace(map(path_).value());
    QUIRE_CHECK(mapping_->advise(kWholeFile, Advice::kRandom).has_value());
  }
  ~BatchBench() { static_cast<void>(sys::unlink_path(path_.c_str())); }
  BatchBench(const BatchBench&) = delete;
  BatchBench& operator=(const BatchBench&) = delete;

  nlohmann::json run() {
    const HugePagePool huge(40);
    return {{"benchmark", "batch"},
            {"size_bytes", size_bytes_},
            {"ranges", kRanges},
            {"depth", kDepth},
            {"warm", warm()},
            {"cold", cold(CacheUse::kKeep)},
            {"cold_past_the_cache", cold(CacheUse::kBypass)},
            {"half", half(CacheUse::kKeep)},
            {"half_past_the_cache", half(CacheUse::kBypass)},
            {"machine", machine_facts(path_)}};
  }

 private:
  // New ranges for every round; both contenders of a round get the same.
  void draw() {
    ranges_.clear();
    for (std::size_t i = 0; i < kRanges; ++i) {
      ranges_.push_back({.offset_bytes = prng_.below(size_bytes_ / kRangeBytes) * kRangeBytes,
                         .into = memory_.bytes().subspan(i * kRangeBytes, kRangeBytes)});
    }
  }

  void make_cold() {
    QUIRE_CHECK(mapping_->evict().has_value());
    check_cold(mapping_->resident().value());
  }

  void make_half() {
    make_cold();
    for (std::uint64_t at = 0; at < size_bytes_; at += 2 * kStripeBytes) {
      const auto page = mapping_->bytes().subspan(at, kStripeBytes);
      for (std::uint64_t i = 0; i < kStripeBytes; i += kRangeBytes) {
        keep(page[i]);
      }
    }
  }

  void copy_all() {
    for (ReadRange& range : ranges_) {
      std::memcpy(range.into.data(), mapping_->bytes().data() + range.offset_bytes, kRangeBytes);
    }
  }

  void read_directly() {
    const auto queue = IoQueue::make({.depth = kDepth, .registered = pool_.get()}).value();
    std::vector<IoRequest> requests(ranges_.size());
    for (std::size_t i = 0; i < ranges_.size(); ++i) {
      requests[i] = {.store = direct_.get(),
                     .offset_bytes = ranges_[i].offset_bytes,
                     .memory = ranges_[i].into,
                     .on_done = [](IoRequest&) {}};
      queue->submit(requests[i]);
    }
    queue->drain();
    for (const IoRequest& request : requests) {
      QUIRE_CHECK_EQ(request.done_bytes, kRangeBytes);
    }
  }

  static double rate(double seconds) { return double(kRanges * kRangeBytes) / seconds; }

  nlohmann::json warm() {
    QUIRE_CHECK(mapping_->populate().has_value());
    const auto reader = BatchReader::make(path_, {.depth = kDepth}).value();
    std::vector<Racer> racers{
        {"batch",
         [&] {
           return rate(seconds_of([&] {
             const BatchReport report = reader->read_batch(ranges_).value();
             QUIRE_CHECK_EQ(report.requests, 0U);
           }));
         }},
        {"mapped copies", [&] { return rate(seconds_of([&] { copy_all(); })); }}};
    run_races(racers, 4 * rounds_, [this] { draw(); });
    return report(racers, figure_of("time_of_mapped_copies",
                                    ratio(racers[1].rates, racers[0].rates), 1.3, Goal::kAtMost));
  }

  nlohmann::json cold(CacheUse cache) {
    std::vector<Racer> racers{
        {"batch",
         [&] {
           const auto reader = BatchReader::make(path_, {.depth = kDepth, .cache = cache}).value();
           return rate(seconds_of([&] { QUIRE_CHECK(reader->read_batch(ranges_).has_value()); }));
         }},
        {"fio", [&] {
           return run_fio({.rw = "randread",
                           .block_bytes = kRangeBytes,
                           .depth = kDepth,
                           .file = path_,
                           .size_bytes = size_bytes_,
                           .seconds = 0.5});
         }}};
    run_races(racers, rounds_, [this] {
      draw();
      make_cold();
    });
    return report(racers, figure_of("to_fio", ratio(racers[0].rates, racers[1].rates), 0.9));
  }

  nlohmann::json half(CacheUse cache) {
    std::vector<Racer> racers{
        {"batch",
         [&] {
           const auto reader = BatchReader::make(path_, {.depth = kDepth, .cache = cache}).value();
           return rate(seconds_of([&] { QUIRE_CHECK(reader->read_batch(ranges_).has_value()); }));
         }},
        {"mapped", [&] { return rate(seconds_of([&] { copy_all(); })); }},
        {"direct", [&] { return rate(seconds_of([&] { read_directly(); })); }}};
    run_races(racers, rounds_, [this] {
      draw();
      make_half();
    });
    const Racer& better =
        racers[1].rates.median() > racers[2].rates.median() ? racers[1] : racers[2];
    return report(racers, figure_of("to_the_better", ratio(racers[0].rates, better.rates), 1.0));
  }

  static nlohmann::json report(const std::vector<Racer>& racers, const nlohmann::json& figure) {
    return {{"bytes_per_s", rates_of(racers)}, {"figure", figure}};
  }

  const std::string path_;
  const std::uint64_t size_bytes_;
  const std::size_t rounds_;
  std::unique_ptr<BufferPool> pool_;
  BufferPool::Buffer memory_;
  std::unique_ptr<File> direct_;
  std::optional<Mapping> mapping_;
  std::vector<ReadRange> ranges_;
  Prng prng_{7};
};

constexpr const char* kParts[] = {"warm", "cold", "cold_past_the_cache", "half",
                                  "half_past_the_cache"};

void print_text(const nlohmann::json& report) {
  for (const char* part : kParts) {
    const nlohmann::json& row = report[part];
    fmt::print("{:<20}", part);
    for (const auto& [name, rate] : row["bytes_per_s"].items()) {
      fmt::print("  {} {:.0f} MiB/s", name, rate["median"].get<double>() / double(1_MiB));
    }
    fmt::print("\n");
    print_figure("", row["figure"]);
  }
}

}  // namespace
}  // namespace quire::bench

int main(int argc, char** argv) {
  const quire::bench::Arguments arguments(
      argc, argv,
      {quire::bench::kDirectory, {"mib=N", "length of the file"}, quire::bench::kRounds});
  return quire::bench::finish(arguments, quire::bench::BatchBench(arguments).run(),
                              quire::bench::print_text);
}
