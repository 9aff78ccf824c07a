// SPDX-License-Identifier: Apache-2.0
//
// direct_bench: direct I/O through IoQueue against fio, which is what the disk gives.
//
//   build/release/bench/direct_bench [--dir=.] [--mib=1024] [--rounds=9] [--json]
//
// Sequential and random, read and write; both sides with io_uring, O_DIRECT, registered buffers in
// huge pages, the same block and depth, a second each, in turn. The device is the bound.
// Goal: at least 0.95 of fio in all four.
#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "bench/bench.h"
#include "bench/fio.h"
#include "quire/base/check.h"
#include "quire/base/prng.h"
#include "quire/io/buffer_pool.h"
#include "quire/io/file.h"
#include "quire/io/io_queue.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"

namespace quire::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kGoal = 0.95;
constexpr double kSeconds = 1;

struct Case {
  const char* name;
  const char* rw;  // fio's word.
  std::uint64_t block_bytes;
  std::uint32_t depth;
  bool is_random;
  bool is_write;
};

constexpr Case kCases[] = {
    {"sequential read", "read", 1_MiB, 8, false, false},
    {"random 4 KiB read", "randread", 4_KiB, 32, true, false},
    {"sequential write", "write", 1_MiB, 8, false, true},
    {"random 4 KiB write", "randwrite", 4_KiB, 32, true, true},
};

// Keeps `depth` requests under way for a while.
class Load {
 public:
  Load(File& file, const Case& what, std::uint64_t size_bytes)
      : file_(file),
        case_(what),
        blocks_(size_bytes / what.block_bytes),
        pool_(BufferPool::make({.buffer_bytes = what.block_bytes, .buffer_count = what.depth})
                  .value()),
        queue_(IoQueue::make({.depth = what.depth, .registered = pool_.get()}).value()),
        requests_(what.depth) {
    queue_->register_store(file_);
    for (IoRequest& request : requests_) {
      buffers_.push_back(pool_->take());
      request = {.store = &file_,
                 .operation = case_.is_write ? IoOperation::kWrite : IoOperation::kRead,
                 .memory = buffers_.back().bytes(),
                 .on_done = [](IoRequest& done) { static_cast<Load*>(done.context)->next(done); },
                 .context = this};
    }
  }

  // Bytes per second.
  double run() {
    const auto start = Clock::now();
    end_ = start +
           std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(kSeconds));
    done_bytes_ = 0;
    for (IoRequest& request : requests_) {
      submit(request);
    }
    queue_->drain();
    return double(done_bytes_) / std::chrono::duration<double>(Clock::now() - start).count();
  }

 private:
  void submit(IoRequest& request) {
    const std::uint64_t block = case_.is_random ? prng_.below(blocks_) : next_block_++ % blocks_;
    request.offset_bytes = block * case_.block_bytes;
    queue_->submit(request);
  }

  void next(IoRequest& done) {
    QUIRE_CHECK(!done.error);
    QUIRE_CHECK_EQ(done.done_bytes, case_.block_bytes);
    done_bytes_ += done.done_bytes;
    if (Clock::now() < end_) {
      submit(done);
    }
  }

  File& file_;
  const Case case_;
  const std::uint64_t blocks_;
  std::unique_ptr<BufferPool> pool_;
  std::unique_ptr<IoQueue> queue_;
  std::vector<IoRequest> requests_;
  std::vector<BufferPool::Buffer> buffers_;
  Prng prng_{1};
  std::uint64_t next_block_ = 0;
  std::uint64_t done_bytes_ = 0;
  Clock::time_point end_;
};

// The extents are there beforehand, and no page of it is in memory.
void write_file(const std::string& path, std::uint64_t size_bytes) {
  const sys::Descriptor file =
      sys::open_file(path.c_str(), {.write = true, .create = true, .truncate = true}).value();
  const auto reserved =
      sys::allocate_space(file.get(), {0, size_bytes}, sys::Allocate::kExtendSize);
  QUIRE_CHECK(reserved.has_value());
  write_random(file.get(), size_bytes);
  make_cold(file.get());
}

nlohmann::json run_case(const Case& what, const std::string& path, std::uint64_t size_bytes,
                        std::size_t rounds) {
  const auto file =
      open_file(path,
                {.writable = true, .cache = CacheUse::kBypass, .fallback = Fallback::kRefused})
          .value();
  Load load(*file, what, size_bytes);
  std::vector<Racer> racers{{"quire", [&] { return load.run(); }},
                            {"fio", [&] {
                               return run_fio({.rw = what.rw,
                                               .block_bytes = what.block_bytes,
                                               .depth = what.depth,
                                               .file = path,
                                               .size_bytes = size_bytes,
                                               .seconds = kSeconds});
                             }}};
  run_races(racers, rounds, [] {});
  return {{"case", what.name},
          {"block_bytes", what.block_bytes},
          {"depth", what.depth},
          {"quire_bytes_per_s", racers[0].rates.to_json()},
          {"fio_bytes_per_s", racers[1].rates.to_json()},
          {"figure", figure_of("to_fio", ratio(racers[0].rates, racers[1].rates), kGoal)}};
}

nlohmann::json run(const Arguments& arguments) {
  const std::string path = arguments.text("dir", ".") + "/direct_bench.data";
  const std::uint64_t size_bytes = arguments.number("mib", 1024) * 1_MiB;
  write_file(path, size_bytes);
  const HugePagePool pool(40);
  nlohmann::json cases = nlohmann::json::array();
  for (const Case& what : kCases) {
    cases.push_back(run_case(what, path, size_bytes, arguments.number("rounds", 9)));
  }
  const auto removed = sys::unlink_path(path.c_str());
  QUIRE_CHECK(removed.has_value());
  return {{"benchmark", "direct"},
          {"size_bytes", size_bytes},
          {"cases", cases},
          {"machine", machine_facts(arguments.text("dir", "."))}};
}

void print_text(const nlohmann::json& report) {
  for (const auto& row : report["cases"]) {
    fmt::print("{:<20}  quire {:.0f} MiB/s  fio {:.0f} MiB/s\n", row["case"].get<std::string>(),
               row["quire_bytes_per_s"]["median"].get<double>() / double(1_MiB),
               row["fio_bytes_per_s"]["median"].get<double>() / double(1_MiB));
    print_figure("", row["figure"]);
  }
}

}  // namespace
}  // namespace quire::bench

int main(int argc, char** argv) {
  const quire::bench::Arguments arguments(
      argc, argv,
      {quire::bench::kDirectory, {"mib=N", "length of the file"}, quire::bench::kRounds});
  return quire::bench::finish(arguments, quire::bench::run(arguments), quire::bench::print_text);
}
