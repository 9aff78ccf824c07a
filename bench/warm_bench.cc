// SPDX-License-Identifier: Apache-2.0
//
// warm() of a cold file against the fastest way to read it at all: direct I/O by several threads
// into 2 MiB-aligned huge-page buffers. The goal: at least 0.9 of it.
//
//   direct       each thread reads into one buffer again and again: what the disk (or, under a
//                hypervisor, its cache) can deliver when the bytes go nowhere
//   direct_kept  the same into as much memory as the file has, allocated beforehand: what it can
//                deliver into memory that keeps it, which is what a page cache is
//   warm         quire::warm(): into the page cache
//   pread        one thread, 1 MiB at a time, through the page cache: the habit
//
// Every run starts cold, and the coldness is verified by residency(). The contenders take turns in
// rounds; ratios are of the same round. The disk binds, or the memory bus where the disk is a
// cache.
//
//   warm_bench [--dir=DIR] [--size-mib=N] [--rounds=N] [--threads=N] [--step-mib=N]
//              [--direct-threads=N] [--json]
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "bench/bench.h"
#include "quire/base/check.h"
#include "quire/map/warming.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"

namespace quire::bench {
namespace {

constexpr std::size_t kBlockBytes = std::size_t{2} << 20;
constexpr double kGoal = 0.9;

// Anonymous memory, aligned to huge pages and made of them where the kernel has some.
class HugeBuffer {
 public:
  explicit HugeBuffer(std::size_t size_bytes) : size_bytes_(size_bytes + kBlockBytes) {
    raw_ = mmap(nullptr, size_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    QUIRE_CHECK(raw_ != MAP_FAILED);
    const auto start = reinterpret_cast<std::uintptr_t>(raw_);
    data_ = static_cast<std::byte*>(raw_) + (kBlockBytes - start % kBlockBytes) % kBlockBytes;
    madvise(data_, size_bytes, MADV_HUGEPAGE);
    for (std::size_t at = 0; at < size_bytes; at += 4096) {
      data_[at] = std::byte{1};
    }
  }
  ~HugeBuffer() { munmap(raw_, size_bytes_); }
  HugeBuffer(const HugeBuffer&) = delete;
  HugeBuffer& operator=(const HugeBuffer&) = delete;
  [[nodiscard]] std::byte* data() const { return data_; }

 private:
  std::size_t size_bytes_;
  void* raw_ = nullptr;
  std::byte* data_ = nullptr;
};

// Reads the file by direct I/O, block by block, wherever `place` says.
template <typename Place>
void read_directly(const std::string& path, std::uint64_t size_bytes, int threads,
                   const Place& place) {
  std::atomic<std::uint64_t> next{0};
  const auto work = [&](int thread) {
    const sys::Descriptor file(open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC));
    QUIRE_CHECK(file.is_open());
    for (;;) {
      const std::uint64_t at = next.fetch_add(kBlockBytes);
      if (at >= size_bytes) {
        return;
      }
      const ssize_t got = pread(file.get(), place(thread, at), kBlockBytes, static_cast<off_t>(at));
      QUIRE_CHECK_EQ(got, static_cast<ssize_t>(kBlockBytes));
    }
  };
  std::vector<std::thread> pool;
  for (int i = 0; i < threads; ++i) {
    pool.emplace_back(work, i);
  }
  for (std::thread& thread : pool) {
    thread.join();
  }
}

// What one contender did, over all rounds.
struct Row {
  std::string name;
  std::function<Cost()> run;
  Samples gib_per_second = {};
  Samples cpu_seconds_per_gib = {};
};

class WarmBench {
 public:
  WarmBench(std::string directory, const Arguments& arguments)
      : path_(std::move(directory) + "/warm_bench.data"),
        size_bytes_(arguments.number("size-mib", 4096) << 20),
        rounds_(arguments.number("rounds", 9)),
        threads_(static_cast<int>(arguments.number("direct-threads", 4))),
        buffers_(static_cast<std::size_t>(threads_) * kBlockBytes) {
    options_.allow_reclaim = false;
    options_.threads =
        static_cast<int>(arguments.number("threads", static_cast<std::uint64_t>(options_.threads)));
    options_.step_bytes = arguments.number("step-mib", options_.step_bytes >> 20) << 20;
    write_random_file(path_, size_bytes_);
    file_ = sys::open_file(path_.c_str(), {}).value();
  }
  ~WarmBench() { static_cast<void>(sys::unlink_path(path_.c_str())); }
  WarmBench(const WarmBench&) = delete;
  WarmBench& operator=(const WarmBench&) = delete;

  nlohmann::json run() {
    std::vector<Row> rows{{"direct", [this] { return direct(); }},
                          {"direct_kept", [this] { return direct_kept(); }},
                          {"warm", [this] { return warm_file(); }},
                          {"pread", [this] { return read_buffered(); }}};
    take_turns(rows, rounds_, [this](Row& row, bool counts) { run_row(row, counts); });
    return report(rows);
  }

 private:
  void run_row(Row& row, bool counts) {
    make_cold(file_.get());
    const Cost cost = row.run();
    if (counts) {
      const double gibibytes = static_cast<double>(size_bytes_) / kGibibyte;
      row.gib_per_second.add(gibibytes / cost.seconds);
      row.cpu_seconds_per_gib.add(cost.cpu_seconds / gibibytes);
    }
  }

  Cost direct() {
    return cost_of([this] {
      read_directly(path_, size_bytes_, threads_, [this](int thread, std::uint64_t) {
        return buffers_.data() + static_cast<std::size_t>(thread) * kBlockBytes;
      });
    });
  }

  Cost direct_kept() {
    const HugeBuffer memory(size_bytes_);
    return cost_of([&] {
      read_directly(path_, size_bytes_, threads_,
                    [&](int, std::uint64_t at) { return memory.data() + at; });
    });
  }

  Cost warm_file() {
    return cost_of([this] {
      const WarmReport report = warm(file_.get(), kWholeFile, options_).value();
      QUIRE_CHECK(report.stopped == StopReason::kDone);
      // Less than all may be there at once where the kernel evicts on its own (DAMON).
      resident_share_.add(static_cast<double>(report.bytes_resident_after) /
                          static_cast<double>(size_bytes_));
    });
  }

  Cost read_buffered() {
    std::vector<std::byte> buffer(std::size_t{1} << 20);
    return cost_of([&] {
      for (std::uint64_t at = 0; at < size_bytes_; at += buffer.size()) {
        QUIRE_CHECK(sys::read_at(file_.get(), buffer, at).has_value());
      }
    });
  }

  nlohmann::json report(const std::vector<Row>& rows) const {
    nlohmann::json contenders;
    for (const Row& row : rows) {
      contenders[row.name] = {{"gib_per_second", row.gib_per_second.to_json()},
                              {"cpu_seconds_per_gib", row.cpu_seconds_per_gib.to_json()}};
    }
    const Samples to_direct = ratio_of(rows[2], rows[0]);
    return {{"benchmark", "warm"},
            {"size_bytes", size_bytes_},
            {"threads", options_.threads},
            {"step_bytes", options_.step_bytes},
            {"contenders", contenders},
            {"warm_to_direct", to_direct.to_json()},
            {"warm_to_direct_kept", ratio_of(rows[2], rows[1]).to_json()},
            {"warm_to_pread", ratio_of(rows[2], rows[3]).to_json()},
            {"resident_share", resident_share_.to_json()},
            {"goal", kGoal},
            {"within_goal", to_direct.median() >= kGoal},
            {"machine", machine_facts(path_)}};
  }

  static Samples ratio_of(const Row& above, const Row& below) {
    return ratio(above.gib_per_second, below.gib_per_second);
  }

  std::string path_;
  std::uint64_t size_bytes_;
  std::size_t rounds_;
  int threads_;
  HugeBuffer buffers_;
  WarmOptions options_;
  sys::Descriptor file_;
  Samples resident_share_;
};

void print_text(const nlohmann::json& report) {
  for (const auto& [name, row] : report["contenders"].items()) {
    fmt::print("{:<12} {:6.2f} GiB/s (spread {:4.1f} %)  {:.3f} CPU s/GiB\n", name,
               row["gib_per_second"]["median"].get<double>(),
               100 * row["gib_per_second"]["spread"].get<double>(),
               row["cpu_seconds_per_gib"]["median"].get<double>());
  }
  for (const char* name : {"warm_to_direct", "warm_to_direct_kept", "warm_to_pread"}) {
    fmt::print("{:<20} {:.2f} (spread {:.1f} %)\n", name, report[name]["median"].get<double>(),
               100 * report[name]["spread"].get<double>());
  }
  fmt::print("goal: warm_to_direct >= {}: {}\n", kGoal, kept_or_missed(report["within_goal"]));
}

}  // namespace
}  // namespace quire::bench

int main(int argc, char** argv) {
  const quire::bench::Arguments arguments(argc, argv,
                                          {quire::bench::kDirectory,
                                           {"size-mib=N", "length of the file"},
                                           quire::bench::kRounds,
                                           {"threads=N", "of warm()"},
                                           {"step-mib=N", "of warm()"},
                                           {"direct-threads=N", "of direct reads"}});
  return quire::bench::finish(arguments,
                              quire::bench::WarmBench(arguments.text("dir", "."), arguments).run(),
                              quire::bench::print_text);
}
