// SPDX-License-Identifier: Apache-2.0
//
// What the pager costs where no disk is involved: loads of what is in memory, the fault by itself
// against the bare mechanism, and what it keeps: metadata, threads, processor time while idle.
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "bench/pager_bench.h"
#include "quire/base/check.h"
#include "quire/base/prng.h"
#include "quire/sys/file.h"
#include "quire/sys/memfd.h"
#include "quire/sys/user_fault.h"

namespace quire::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Bytes = std::span<const std::byte>;

// These cases have this many times the memory of the others: nothing of them is to be evicted, and
// they are to need more page table entries than the processor remembers.
constexpr std::uint64_t kMemoryFactor = 8;

// --- Everything resident -------------------------------------------------------------------------

constexpr std::uint64_t kLoadsPerLook = 1 << 16;  // Between two looks at the clock.

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

nlohmann::json load_resident_at_random(Bytes bytes, double seconds) {
  const auto* words = reinterpret_cast<const std::uint64_t*>(bytes.data());
  const std::uint64_t count = bytes.size() / sizeof *words;
  Prng random(1);
  std::uint64_t sum = 0;
  std::uint64_t loads = 0;
  const Meter meter;
  for (const auto start = Clock::now(); seconds_since(start) < seconds; loads += kLoadsPerLook) {
    for (std::uint64_t i = 0; i < kLoadsPerLook; ++i) {
      sum += words[random.below(count)];
    }
  }
  keep(sum);
  return meter.stop(static_cast<double>(loads));
}

nlohmann::json load_resident_in_order(Bytes bytes, double seconds) {
  std::uint64_t loaded = 0;
  const Meter meter;
  for (const auto start = Clock::now(); seconds_since(start) < seconds; loaded += bytes.size()) {
    sum_pages(bytes);
  }
  return meter.stop(static_cast<double>(loaded));
}

// What a pager's pages are, without the pager: a memfd that was filled page by page. The kernel's
// page cache holds a file in larger pieces, of which the processor remembers more at a time.
class PlainMemfd {
 public:
  explicit PlainMemfd(std::uint64_t size_bytes)
      : memory_(sys::create_memfd({}).value()), size_bytes_(size_bytes) {
    std::vector<std::byte> page(kPageBytes);
    for (std::uint64_t at = 0; at < size_bytes; at += kPageBytes) {
      const std::uint64_t mark = mark_of(at / kPageBytes);
      std::memcpy(page.data(), &mark, sizeof mark);
      QUIRE_CHECK(sys::write_at(memory_.get(), page, at).has_value());
    }
    first_ =
        sys::map_pages(
            {.length_bytes = size_bytes, .protection = sys::Protection::kRead, .fd = memory_.get()})
            .value();
  }
  ~PlainMemfd() { static_cast<void>(sys::unmap_pages(first_, size_bytes_)); }
  PlainMemfd(const PlainMemfd&) = delete;
  PlainMemfd& operator=(const PlainMemfd&) = delete;

  [[nodiscard]] Bytes bytes() const { return {first_, size_bytes_}; }

 private:
  sys::Descriptor memory_;
  std::uint64_t size_bytes_;
  std::byte* first_ = nullptr;
};

using Loop = nlohmann::json (*)(Bytes bytes, double seconds);

// Half of the memory.
Bytes resident_part(const Setting& setting, Bytes bytes) {
  return bytes.first(setting.limit_bytes / 2);
}

nlohmann::json resident(const Setting& base, Loop loop) {
  const Setting setting = base.with_memory_times(kMemoryFactor);
  const auto measure = [&](Bytes bytes) {
    sum_pages(bytes);
    sum_pages(bytes);
    return loop(bytes, setting.seconds);
  };
  const auto paged = [&](FaultPath path) {
    return Side{name_of(path), [&, path] {
                  Pager pager(pager_options(setting, path));
                  const PagedArea area = pager.map(setting.file()).value();
                  const Bytes part = resident_part(setting, area.bytes());
                  nlohmann::json found = measure(part);
                  QUIRE_CHECK_EQ(area.resident({0, part.size()}).value().resident_bytes,
                                 part.size());
                  found["pager"] = counters_of(pager, area);
                  return found;
                }};
  };
  const Side mapped{"mmap", [&] {
                      const KernelMapping mapping(setting.file());
                      return measure(resident_part(setting, mapping.bytes()));
                    }};
  const Side bare{"bare_memfd", [&] {
                    const PlainMemfd memory(setting.limit_bytes / 2);
                    return measure(memory.bytes());
                  }};
  return race(setting, {paged(FaultPath::kInline), paged(FaultPath::kHandler), mapped, bare},
              {{"inline to mmap", "inline", {"mmap"}, 0.95},
               {"handler to mmap", "handler", {"mmap"}, 0.95},
               {"bare memfd to mmap", "bare_memfd", {"mmap"}, 0.95},
               {"inline to bare memfd", "inline", {"bare_memfd"}, 0.95}});
}

// --- A fault without I/O -------------------------------------------------------------------------

alignas(kPageBytes) std::byte page_content[kPageBytes];

// Has its bytes at once, and allocates and locks nothing.
class InstantStore final : public Store {
 public:
  explicit InstantStore(std::uint64_t size_bytes) : size_bytes_(size_bytes) {}

  [[nodiscard]] const std::string& name() const noexcept override { return name_; }
  [[nodiscard]] Result<std::uint64_t> size_bytes() const override { return size_bytes_; }
  Result<std::uint64_t> read_pieces(std::uint64_t /*offset_bytes*/, MutablePieces into) override {
    std::uint64_t done_bytes = 0;
    for (const std::span<std::byte> piece : into) {
      for (std::size_t at = 0; at < piece.size(); at += kPageBytes) {
        std::memcpy(&piece[at], page_content, std::min(kPageBytes, piece.size() - at));
      }
      done_bytes += piece.size();
    }
    return done_bytes;
  }
  Result<void> write_pieces(std::uint64_t, ConstPieces) override { return refuse(); }
  Result<void> resize(std::uint64_t) override { return refuse(); }
  Result<void> allocate(ByteRange) override { return refuse(); }
  Result<void> punch(ByteRange) override { return refuse(); }
  Result<void> sync(Durability, ByteRange) override { return {}; }

 private:
  [[nodiscard]] Result<void> refuse() const {
    return fail(make_error(Errc::kReadOnly, "change", name_, "it only reads", "use another store"));
  }

  const std::string name_ = "instant store";
  const std::uint64_t size_bytes_;
};

// Each page once, in an order that no stream detector follows.
nlohmann::json touch_all(Bytes bytes) {
  std::vector<std::uint32_t> pages(bytes.size() / kPageBytes);
  std::iota(pages.begin(), pages.end(), 0U);
  Prng random(1);
  std::shuffle(pages.begin(), pages.end(), random);
  std::uint64_t sum = 0;
  const Meter meter;
  for (const std::uint32_t page : pages) {
    sum += *reinterpret_cast<const volatile std::uint64_t*>(&bytes[page * kPageBytes]);
  }
  keep(sum);
  return meter.stop(static_cast<double>(pages.size()));
}

std::uint64_t fault_bytes(const Setting& setting) {
  return setting.limit_bytes / 2;
}

Side paged_fault(const Setting& setting, FaultPath path) {
  return {name_of(path), [&setting, path] {
            Pager pager(pager_options(setting, path));
            const PagedArea area =
                pager.map(std::make_shared<InstantStore>(fault_bytes(setting))).value();
            QUIRE_CHECK(area.advise(kWholeFile, Pattern::kRandom).has_value());
            nlohmann::json found = touch_all(area.bytes());
            found["pager"] = counters_of(pager, area);
            return found;
          }};
}

// A memfd that userfaultfd watches, and nothing else.
class BareFaults {
 public:
  BareFaults(sys::FaultDelivery delivery, std::uint64_t size_bytes)
      : faults_(sys::open_user_fault({.delivery = delivery}).value()),
        memory_(sys::create_memfd({}).value()),
        size_bytes_(size_bytes) {
    QUIRE_CHECK(sys::truncate_file(memory_.get(), size_bytes).has_value());
    first_ = sys::map_pages({.length_bytes = size_bytes,
                             .protection = sys::Protection::kReadWrite,
                             .fd = memory_.get()})
                 .value();
    QUIRE_CHECK(faults_.watch(first_, size_bytes).has_value());
  }
  ~BareFaults() { static_cast<void>(sys::unmap_pages(first_, size_bytes_)); }
  BareFaults(const BareFaults&) = delete;
  BareFaults& operator=(const BareFaults&) = delete;

  [[nodiscard]] Bytes bytes() const { return {first_, size_bytes_}; }
  [[nodiscard]] int fd() const { return faults_.fd(); }

 private:
  sys::UserFault faults_;
  sys::Descriptor memory_;
  std::uint64_t size_bytes_;
  std::byte* first_ = nullptr;
};

void copy_page_in(int fd, std::uint64_t address) {
  uffdio_copy copy{.dst = address & ~(kPageBytes - 1),
                   .src = reinterpret_cast<std::uint64_t>(page_content),
                   .len = kPageBytes,
                   .mode = 0,
                   .copy = 0};
  QUIRE_CHECK_EQ(::ioctl(fd, UFFDIO_COPY, &copy), 0);
}

int bare_fd = -1;  // For the signal handler.

void on_bus_error(int, siginfo_t* info, void*) {
  copy_page_in(bare_fd, reinterpret_cast<std::uint64_t>(info->si_addr));
}

nlohmann::json bare_inline(const Setting& setting) {
  const BareFaults faults(sys::FaultDelivery::kSignals, fault_bytes(setting));
  bare_fd = faults.fd();
  struct sigaction action{};
  action.sa_sigaction = on_bus_error;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  QUIRE_CHECK_EQ(::sigaction(SIGBUS, &action, nullptr), 0);
  return touch_all(faults.bytes());
}

// Until a byte is in `stop`.
void serve_messages(int fd, int stop) {
  pollfd ready[2] = {{.fd = fd, .events = POLLIN, .revents = 0},
                     {.fd = stop, .events = POLLIN, .revents = 0}};
  while (ready[1].revents == 0) {
    QUIRE_CHECK_GE(::poll(ready, 2, -1), 1);
    uffd_msg message{};
    if (ready[0].revents != 0 && ::read(fd, &message, sizeof message) == sizeof message) {
      copy_page_in(fd, message.arg.pagefault.address);
    }
  }
}

nlohmann::json bare_handler(const Setting& setting) {
  const BareFaults faults(sys::FaultDelivery::kMessages, fault_bytes(setting));
  int stop[2];
  QUIRE_CHECK_EQ(::pipe(stop), 0);
  std::thread server([&] { serve_messages(faults.fd(), stop[0]); });
  nlohmann::json found = touch_all(faults.bytes());
  QUIRE_CHECK_EQ(::write(stop[1], "", 1), 1);
  server.join();
  return found;
}

nlohmann::json fault(const Setting& base) {
  const Setting setting = base.with_memory_times(kMemoryFactor);
  return race(setting,
              {paged_fault(setting, FaultPath::kInline),
               paged_fault(setting, FaultPath::kHandler),
               {"bare_inline", [&] { return bare_inline(setting); }},
               {"bare_handler", [&] { return bare_handler(setting); }}},
              {{"time, inline", "inline", {"bare_inline"}, 1.3, Goal::kAtMost, "ns_per_op"},
               {"time, handler", "handler", {"bare_handler"}, 1.3, Goal::kAtMost, "ns_per_op"}},
              Start::kAny);
}

// --- What it keeps -------------------------------------------------------------------------------

constexpr std::uint64_t kSparseBytes = 1_TiB;
constexpr int kAreasMore = 3;
constexpr int kIdleMilliseconds = 1000;

std::uint64_t thread_count() {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("Threads:")) {
      return std::stoull(line.substr(sizeof "Threads:"));
    }
  }
  QUIRE_CHECK(false);
  return 0;
}

std::string sparse_path(const Setting& setting) {
  return setting.directory + "/pager_bench.sparse";
}

nlohmann::json footprint_of(const Setting& setting) {
  const std::uint64_t threads_before = thread_count();
  Pager pager(pager_options(setting, FaultPath::kAutomatic));
  const PagedArea area = pager.map(setting.file()).value();
  const std::uint64_t untouched_bytes = pager.stats().metadata_bytes;
  sum_pages(area.bytes());
  const std::uint64_t touched_bytes = pager.stats().metadata_bytes;
  const std::uint64_t threads = thread_count() - threads_before;
  const PagedArea sparse = pager.map(sparse_path(setting)).value();
  const std::uint64_t sparse_bytes = pager.stats().metadata_bytes - touched_bytes;
  std::vector<PagedArea> more;
  for (int i = 0; i < kAreasMore; ++i) {
    more.push_back(pager.map(setting.file()).value());
  }
  const Cost idle = cost_of([] { QUIRE_CHECK_EQ(::poll(nullptr, 0, kIdleMilliseconds), 0); });
  const std::uint64_t granules = area.size_bytes() / pager.options().granule_bytes;
  return {{"metadata_bytes_per_granule",
           static_cast<double>(touched_bytes - untouched_bytes) / static_cast<double>(granules)},
          {"metadata_bytes_of_untouched_tib", sparse_bytes},
          {"threads", threads},
          {"threads_per_area_more", thread_count() - threads_before - threads},
          {"idle_cpu_share", idle.cpu_seconds / idle.seconds},
          {"pager", counters_of(pager, area)}};
}

nlohmann::json absolute_figure(const nlohmann::json& side, const char* name, double goal) {
  Samples samples;
  for (const double value : side[name]["rounds"]) {
    samples.add(value);
  }
  return figure_of(name, samples, goal, Goal::kAtMost);
}

// A share of a processor that a second's clock ticks cannot tell from nothing.
constexpr double kIdleShareMax = 0.001;

nlohmann::json footprint(const Setting& setting) {
  {
    const sys::Descriptor file =
        sys::open_file(sparse_path(setting).c_str(), {.write = true, .create = true}).value();
    QUIRE_CHECK(sys::truncate_file(file.get(), kSparseBytes).has_value());
  }
  nlohmann::json report = race(setting, {{"automatic", [&] { return footprint_of(setting); }}}, {});
  QUIRE_CHECK(sys::unlink_path(sparse_path(setting).c_str()).has_value());
  const nlohmann::json& side = report["sides"]["automatic"];
  if (!side.contains("error")) {
    report["figures"] = {
        absolute_figure(side, "metadata_bytes_per_granule", 16),
        absolute_figure(side, "metadata_bytes_of_untouched_tib", static_cast<double>(1_MiB)),
        absolute_figure(side, "threads", 2), absolute_figure(side, "threads_per_area_more", 0),
        absolute_figure(side, "idle_cpu_share", kIdleShareMax)};
  }
  return report;
}

}  // namespace

std::vector<Case> memory_cases() {
  return {{"resident-random", "random 8-byte loads, everything in memory",
           [](const Setting& setting) { return resident(setting, load_resident_at_random); }},
          {"resident-sequential", "the same in order (bytes)",
           [](const Setting& setting) { return resident(setting, load_resident_in_order); }},
          {"fault", "a fault without I/O against SIGBUS or message, and UFFDIO_COPY", fault},
          {"footprint", "metadata, threads, idle processor time", footprint}};
}

}  // namespace quire::bench
