// SPDX-License-Identifier: Apache-2.0
#include "bench/bench.h"

#include <sys/statfs.h>
#include <sys/utsname.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <thread>

namespace quire::bench {
namespace {

double cpu_seconds_now() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

void run_once(Contender& contender, bool counts) {
  const double cpu_start = cpu_seconds_now();
  const auto start = std::chrono::steady_clock::now();
  contender.run();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  if (counts) {
    contender.seconds.add(seconds.count());
    contender.cpu_seconds.add(cpu_seconds_now() - cpu_start);
  }
}

// The rest of the first line of a file that starts with `key`, without what separates them.
std::string value_in(const char* path, const std::string& key) {
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(key)) {
      const std::size_t at = line.find_first_not_of(" \t:", key.size());
      return at == std::string::npos ? "" : line.substr(at);
    }
  }
  return "unknown";
}

}  // namespace

double Samples::quantile(double share) const {
  if (values_.empty()) {
    return 0;
  }
  std::vector<double> sorted = values_;
  std::ranges::sort(sorted);
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

nlohmann::json Samples::to_json() const {
  return {{"median", median()}, {"spread", spread()}, {"rounds", values_}};
}

void run_interleaved(std::vector<Contender>& contenders, std::size_t rounds) {
  for (std::size_t round = 0; round <= rounds; ++round) {
    for (std::size_t i = 0; i < contenders.size(); ++i) {
      run_once(contenders[(round + i) % contenders.size()], round > 0);
    }
  }
}

void run_races(std::vector<Racer>& racers, std::size_t rounds,
               const std::function<void()>& before_each) {
  for (std::size_t round = 0; round <= rounds; ++round) {
    for (std::size_t i = 0; i < racers.size(); ++i) {
      Racer& racer = racers[(round + i) % racers.size()];
      before_each();
      const double rate = racer.rate();
      if (round > 0) {
        racer.rates.add(rate);
      }
    }
  }
}

Samples ratio(const Samples& numerator, const Samples& denominator) {
  Samples ratios;
  for (std::size_t round = 0; round < numerator.values().size(); ++round) {
    ratios.add(numerator.values()[round] / denominator.values()[round]);
  }
  return ratios;
}

nlohmann::json machine_facts(const std::string& path) {
  utsname system{};
  uname(&system);
  nlohmann::json facts{{"processor", value_in("/proc/cpuinfo", "model name")},
                       {"processors", std::thread::hardware_concurrency()},
                       {"memory", value_in("/proc/meminfo", "MemTotal")},
                       {"kernel", system.release}};
  struct statfs file_system{};
  if (!path.empty() && statfs(path.c_str(), &file_system) == 0) {
    facts["file_system_type"] = file_system.f_type;
  }
  return facts;
}

bool Arguments::has(const std::string& flag) const {
  return std::ranges::find(texts_, "--" + flag) != texts_.end();
}

std::string Arguments::text(const std::string& name, const std::string& otherwise) const {
  const std::string prefix = "--" + name + "=";
  for (const std::string& text : texts_) {
    if (text.starts_with(prefix)) {
      return text.substr(prefix.size());
    }
  }
  return otherwise;
}

std::uint64_t Arguments::number(const std::string& name, std::uint64_t otherwise) const {
  return std::strtoull(text(name, std::to_string(otherwise)).c_str(), nullptr, 0);
}

}  // namespace quire::bench
