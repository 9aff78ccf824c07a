// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "bench/pager_bench.h"
#include "quire/base/check.h"
#include "quire/base/prng.h"
#include "quire/compare/memory_bound.h"
#include "quire/sys/file.h"

namespace quire::bench {
namespace {

// A side that takes longer hangs.
constexpr unsigned kSideSecondsMax = 180;

double seconds_of(timeval time) {
  return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
}

// "read_bytes: 4096" of /proc/self/io: what this process made the block layer do.
std::uint64_t io_count(const std::string& key) {
  std::ifstream in("/proc/self/io");
  for (std::string name; in >> name;) {
    std::uint64_t value = 0;
    in >> value;
    if (name == key + ":") {
      return value;
    }
  }
  QUIRE_CHECK(false);
  return 0;
}

std::optional<std::uint64_t> peak_bytes(const compare::MemoryBound& bound) {
  for (const char* name : {"/memory.peak", "/memory.max_usage_in_bytes"}) {
    std::uint64_t value = 0;
    if (std::ifstream(bound.directory() + name) >> value) {
      return value;
    }
  }
  return std::nullopt;
}

std::string read_to_end(int fd) {
  std::string text;
  char buffer[4096];
  for (ssize_t got = 0; (got = ::read(fd, buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<std::size_t>(got));
  }
  return text;
}

[[noreturn]] void be_child(const compare::MemoryBound& bound, const Side& side, int out) {
  ::alarm(kSideSecondsMax);
  QUIRE_CHECK(bound.enter().has_value());
  const std::string text = side.run().dump();
  QUIRE_CHECK_EQ(::write(out, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  ::_exit(0);
}

std::string death_of(int status) {
  if (WIFSIGNALED(status)) {
    const int number = WTERMSIG(status);
    return number == SIGALRM ? fmt::format("hung for {} s", kSideSecondsMax)
                             : fmt::format("died of signal {}", number);
  }
  return fmt::format("ended with {}", WEXITSTATUS(status));
}

nlohmann::json run_apart(const Setting& setting, const Side& side) {
  compare::MemoryBound bound = compare::MemoryBound::make(setting.limit_bytes).value();
  int ends[2];
  QUIRE_CHECK_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  QUIRE_CHECK_GE(child, 0);
  if (child == 0) {
    ::close(ends[0]);
    be_child(bound, side, ends[1]);
  }
  ::close(ends[1]);
  const std::string text = read_to_end(ends[0]);
  ::close(ends[0]);
  int status = 0;
  QUIRE_CHECK_EQ(::waitpid(child, &status, 0), child);
  nlohmann::json found = nlohmann::json::object();
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    found = nlohmann::json::parse(text);
  } else {
    found["error"] = death_of(status);
  }
  if (const auto peak = peak_bytes(bound)) {
    found["memory_peak_bytes"] = *peak;
  }
  if (const auto killed = bound.killed_processes(); killed && *killed > 0) {
    found["error"] = "killed: out of memory in its cgroup";
  }
  return found;
}

// A side over all rounds.
struct Runner {
  const Side* side;
  std::map<std::string, Samples> numbers = {};
  nlohmann::json rest = nlohmann::json::object();

  void add(const nlohmann::json& found) {
    for (const auto& [name, value] : found.items()) {
      if (value.is_number()) {
        numbers[name].add(value.get<double>());
      } else {
        rest[name] = value;
      }
    }
  }
  [[nodiscard]] nlohmann::json to_json() const {
    nlohmann::json all = rest;
    for (const auto& [name, samples] : numbers) {
      all[name] = samples.to_json();
    }
    return all;
  }
};

void run_once(const Setting& setting, Start start, Runner& runner, bool counts) {
  if (start == Start::kCold) {
    make_cold(setting.file());
  }
  const Side& side = *runner.side;
  const nlohmann::json found = side.is_apart ? run_apart(setting, side) : side.run();
  const bool has_failed = found.contains("error");
  if (!has_failed && side.check_after) {
    side.check_after();
  }
  if (counts || has_failed) {
    runner.add(found);
  }
}

const Samples* samples_of(const std::vector<Runner>& runners, const std::string& side,
                          const std::string& number) {
  for (const Runner& runner : runners) {
    const auto found = runner.numbers.find(number);
    if (runner.side->name == side && found != runner.numbers.end() &&
        !runner.rest.contains("error")) {
      return &found->second;
    }
  }
  return nullptr;
}

// Nothing when a side of it was not asked for.
std::optional<nlohmann::json> evaluate(const std::vector<Runner>& runners, const Figure& figure) {
  const Samples* own = samples_of(runners, figure.side, figure.number);
  const Samples* best = nullptr;
  std::string best_name;
  for (const std::string& name : figure.against) {
    const Samples* other = samples_of(runners, name, figure.number);
    const bool wants_most = figure.goal_side == Goal::kAtLeast;
    if (other != nullptr && (best == nullptr || (other->median() > best->median()) == wants_most)) {
      best = other;
      best_name = name;
    }
  }
  if (own == nullptr || best == nullptr) {
    return std::nullopt;
  }
  nlohmann::json value = figure_of(figure.name, ratio(*own, *best), figure.goal, figure.goal_side);
  value["against"] = best_name;
  return value;
}

}  // namespace

Setting Setting::with_memory_times(std::uint64_t factor) const {
  Setting other = *this;
  other.limit_bytes *= factor;
  return other;
}

Meter::Counts Meter::counts_now() {
  rusage use{};
  QUIRE_CHECK_EQ(::getrusage(RUSAGE_SELF, &use), 0);
  return {
      .seconds = std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
                     .count(),
      .user_seconds = seconds_of(use.ru_utime),
      .system_seconds = seconds_of(use.ru_stime),
      .faults = static_cast<std::uint64_t>(use.ru_minflt + use.ru_majflt),
      .read_bytes = io_count("read_bytes"),
      .write_bytes = io_count("write_bytes")};
}

Meter::Meter() : begin_(counts_now()) {}

nlohmann::json Meter::stop(double operations) const {
  const Counts end = counts_now();
  const double seconds = end.seconds - begin_.seconds;
  const double user_seconds = end.user_seconds - begin_.user_seconds;
  const double system_seconds = end.system_seconds - begin_.system_seconds;
  return {{"rate", operations / seconds},
          {"operations", operations},
          {"seconds", seconds},
          {"user_seconds", user_seconds},
          {"system_seconds", system_seconds},
          {"ns_per_op", 1e9 * seconds / operations},
          {"cpu_ns_per_op", 1e9 * (user_seconds + system_seconds) / operations},
          {"faults_per_op", static_cast<double>(end.faults - begin_.faults) / operations},
          {"device_read_bytes", end.read_bytes - begin_.read_bytes},
          {"device_write_bytes", end.write_bytes - begin_.write_bytes}};
}

nlohmann::json race(const Setting& setting, const std::vector<Side>& sides,
                    const std::vector<Figure>& figures, Start start) {
  std::vector<Runner> runners;
  for (const Side& side : sides) {
    if (setting.only_side.empty() || setting.only_side == side.name) {
      runners.push_back({.side = &side});
    }
  }
  std::vector<Runner*> turns;
  for (Runner& runner : runners) {
    turns.push_back(&runner);
  }
  take_turns(turns, setting.rounds,
             [&](Runner* runner, bool counts) { run_once(setting, start, *runner, counts); });
  nlohmann::json report{{"limit_bytes", setting.limit_bytes},
                        {"sides", nlohmann::json::object()},
                        {"side_names", names_of(sides)},
                        {"figures", nlohmann::json::array()}};
  for (const Runner& runner : runners) {
    report["sides"][runner.side->name] = runner.to_json();
    if (runner.rest.contains("error")) {
      report["sides"][runner.side->name]["within_goal"] = false;
    }
  }
  for (const Figure& figure : figures) {
    if (const auto value = evaluate(runners, figure)) {
      report["figures"].push_back(*value);
    }
  }
  return report;
}

void write_marked_file(const std::string& path, std::uint64_t size_bytes) {
  const sys::Descriptor file =
      sys::open_file(path.c_str(), {.write = true, .create = true, .truncate = true}).value();
  constexpr std::size_t kPageWords = kPageBytes / sizeof(std::uint64_t);
  std::vector<std::uint64_t> block(1_MiB / sizeof(std::uint64_t));
  Prng random(1);
  std::ranges::generate(block, std::ref(random));
  for (std::uint64_t at = 0; at < size_bytes; at += 1_MiB) {
    for (std::uint64_t i = 0; i < 1_MiB / kPageBytes; ++i) {
      block[i * kPageWords] = mark_of(at / kPageBytes + i);
    }
    QUIRE_CHECK(sys::write_at(file.get(), std::as_bytes(std::span(block)), at).has_value());
  }
  QUIRE_CHECK(sys::sync_all(file.get()).has_value());
}

KernelMapping::KernelMapping(const std::string& path, Use use)
    : file_(sys::open_file(path.c_str(), {.write = use == Use::kStores}).value()),
      size_bytes_(sys::file_status(file_.get()).value().size_bytes) {
  first_ = sys::map_pages({.length_bytes = size_bytes_,
                           .protection = use == Use::kStores ? sys::Protection::kReadWrite
                                                             : sys::Protection::kRead,
                           .fd = file_.get()})
               .value();
}

KernelMapping::~KernelMapping() {
  static_cast<void>(sys::unmap_pages(first_, size_bytes_));
}

void KernelMapping::advise(sys::MemoryAdvice advice) const {
  QUIRE_CHECK(sys::advise_pages(first_, size_bytes_, advice).has_value());
}

PagerOptions pager_options(const Setting& setting, FaultPath path) {
  return {.memory_bytes = setting.budget_bytes(), .fault_path = path};
}

nlohmann::json counters_of(const Pager& pager, const PagedArea& area) {
  const AreaStats own = area.stats();
  const PagerStats all = pager.stats();
  return {{"faults", own.faults},
          {"load_misses", own.load_misses},
          {"store_misses", own.store_misses},
          {"store_upgrades", own.store_upgrades},
          {"waits", own.waits},
          {"tripwires", own.tripwires},
          {"failed_fills", own.failed_fills},
          {"reads", own.reads},
          {"read_bytes", own.read_bytes},
          {"read_ahead_bytes", own.read_ahead_bytes},
          {"writes", own.writes},
          {"write_bytes", own.write_bytes},
          {"redirtied", own.redirtied},
          {"evicted", own.evicted},
          {"direct_reclaims", all.direct_reclaims},
          {"credit_waits", all.credit_waits},
          {"dirty_waits", all.dirty_waits},
          {"ghost_hits", all.ghost_hits},
          {"watched", all.watched},
          {"taken_bytes_max", all.taken_bytes_max},
          {"metadata_bytes", all.metadata_bytes}};
}

void load_page(std::span<const std::byte> bytes, std::uint64_t page) {
  const auto* word = reinterpret_cast<const volatile std::uint64_t*>(&bytes[page * kPageBytes]);
  QUIRE_CHECK_EQ(*word, mark_of(page));
}

void sum_pages(std::span<const std::byte> bytes) {
  std::uint64_t sum = 0;
  for (std::uint64_t page = 0; page < bytes.size() / kPageBytes; ++page) {
    load_page(bytes, page);
    const auto* words = reinterpret_cast<const std::uint64_t*>(&bytes[page * kPageBytes]);
    for (std::size_t i = 0; i < kPageBytes / sizeof *words; ++i) {
      sum += words[i];
    }
  }
  keep(sum);
}

void run_threads(std::size_t count, const std::function<void(std::size_t)>& body) {
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < count; ++i) {
    threads.emplace_back(body, i);
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
}

}  // namespace quire::bench
