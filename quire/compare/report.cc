// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/report.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "quire/base/check.h"
#include "quire/base/units.h"

namespace quire::compare {
namespace {

struct Names {
  const char* name;
  const char* title;  // Empty where the name is fit for people.
};

constexpr std::array<Names, kPathCount> kPathNames{{
    {"read_write_small", "read/write, small blocks"},
    {"read_write_large", "read/write, 1 MiB blocks"},
    {"drop_behind", "buffered, drop behind"},
    {"record_buffer", "records gathered in a buffer"},
    {"mmap_default", "mmap, as it comes"},
    {"mmap_advised", "mmap, best advice"},
    {"mmap_populated", "mmap, populated"},
    {"direct", "direct, one at a time"},
    {"direct_queued", "direct, queued"},
    {"buffered_queued", "buffered, queued"},
    {"paged", "paged, as it comes"},
    {"paged_handler", "paged, handler faults"},
    {"paged_prefetched", "paged, prefetched"},
    {"memory", "memory (ceiling)"},
}};

constexpr std::array<Names, kPatternCount> kPatternNames{{
    {"sequential_read", "sequential scan"},
    {"random_read", "random 4 KiB reads"},
    {"skewed_read", "skewed (Zipf) 4 KiB reads"},
    {"sequential_write", "sequential write"},
    {"append", "append of small records"},
    {"random_update", "random 4 KiB updates"},
}};

constexpr std::array<Names, kStateCount> kStateNames{{{"cold", ""}, {"warm", ""}}};

constexpr std::array<Names, kDurabilityCount> kDurabilityNames{
    {{"none", ""}, {"at_end", ""}, {"each_operation", ""}}};

template <typename Enum, std::size_t kCount>
const Names& names_of(const std::array<Names, kCount>& table, Enum value) noexcept {
  const auto index = static_cast<std::size_t>(value);
  QUIRE_CHECK_LT(index, kCount);
  return table[index];
}

template <typename Enum, std::size_t kCount>
std::optional<Enum> named(const std::array<Names, kCount>& table,
                          const std::string& name) noexcept {
  for (std::size_t index = 0; index < kCount; ++index) {
    if (name == table[index].name) {
      return static_cast<Enum>(index);
    }
  }
  return std::nullopt;
}

// The value that a share of the sorted values lies below; between two of them in proportion.
double quantile(const std::vector<double>& sorted, double share) {
  QUIRE_CHECK(!sorted.empty());
  const double position = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(position);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  const double weight = position - std::floor(position);
  return sorted[below] * (1 - weight) + sorted[above] * weight;
}

template <typename Get>
std::vector<double> sorted_values(const std::vector<Round>& rounds, Get&& get) {
  std::vector<double> values;
  values.reserve(rounds.size());
  for (const Round& round : rounds) {
    values.push_back(get(round));
  }
  std::sort(values.begin(), values.end());
  return values;
}

template <typename Get>
double median_of(const std::vector<Round>& rounds, Get&& get) {
  return rounds.empty() ? 0 : quantile(sorted_values(rounds, get), 0.5);
}

std::uint64_t sum_of(const std::vector<Round>& rounds, std::uint64_t Round::* member) noexcept {
  std::uint64_t sum = 0;
  for (const Round& round : rounds) {
    sum += round.*member;
  }
  return sum;
}

// Nothing without rounds, and when one of them does not know.
std::optional<std::uint64_t> known_sum_of(const std::vector<Round>& rounds,
                                          std::optional<std::uint64_t> Round::* member) {
  std::uint64_t sum = 0;
  for (const Round& round : rounds) {
    if (!(round.*member)) {
      return std::nullopt;
    }
    sum += *(round.*member);
  }
  return rounds.empty() ? std::nullopt : std::optional(sum);
}

std::optional<bool> all_of(const std::vector<Round>& rounds, std::optional<bool> Round::* member) {
  bool is_known = !rounds.empty();
  for (const Round& round : rounds) {
    if (round.*member == std::optional(false)) {
      return false;
    }
    is_known = is_known && (round.*member).has_value();
  }
  return is_known ? std::optional(true) : std::nullopt;
}

double per_second(double amount, double seconds) noexcept {
  return seconds > 0 ? amount / seconds : 0;
}

}  // namespace

const char* name_of(Path path) noexcept {
  return names_of(kPathNames, path).name;
}

const char* name_of(Pattern pattern) noexcept {
  return names_of(kPatternNames, pattern).name;
}

const char* name_of(State state) noexcept {
  return names_of(kStateNames, state).name;
}

const char* name_of(DurabilityChoice durability) noexcept {
  return names_of(kDurabilityNames, durability).name;
}

const char* title_of(Path path) noexcept {
  return names_of(kPathNames, path).title;
}

const char* title_of(Pattern pattern) noexcept {
  return names_of(kPatternNames, pattern).title;
}

bool is_paged(Path path) noexcept {
  return path == Path::kPaged || path == Path::kPagedHandler || path == Path::kPagedPrefetched;
}

bool is_random(Pattern pattern) noexcept {
  return pattern == Pattern::kRandomRead || pattern == Pattern::kSkewedRead ||
         pattern == Pattern::kRandomUpdate;
}

bool is_write(Pattern pattern) noexcept {
  return pattern == Pattern::kSequentialWrite || pattern == Pattern::kAppend ||
         pattern == Pattern::kRandomUpdate;
}

bool counts_operations(Pattern pattern) noexcept {
  return is_random(pattern) || pattern == Pattern::kAppend;
}

std::optional<Path> path_named(const std::string& name) noexcept {
  return named<Path>(kPathNames, name);
}

std::optional<Pattern> pattern_named(const std::string& name) noexcept {
  return named<Pattern>(kPatternNames, name);
}

std::optional<State> state_named(const std::string& name) noexcept {
  return named<State>(kStateNames, name);
}

std::optional<DurabilityChoice> durability_named(const std::string& name) noexcept {
  return named<DurabilityChoice>(kDurabilityNames, name);
}

double Round::mib_per_s() const noexcept {
  return per_second(static_cast<double>(bytes) / static_cast<double>(1_MiB), seconds);
}

double Round::operations_per_s() const noexcept {
  return per_second(static_cast<double>(operations), seconds);
}

double Cell::median_mib_per_s() const {
  return median_of(rounds, [](const Round& round) { return round.mib_per_s(); });
}

double Cell::median_operations_per_s() const {
  return median_of(rounds, [](const Round& round) { return round.operations_per_s(); });
}

double Cell::spread() const {
  if (rounds.size() < 2) {
    return 0;
  }
  const std::vector<double> rates =
      sorted_values(rounds, [](const Round& round) { return round.mib_per_s(); });
  const double median = quantile(rates, 0.5);
  return median > 0 ? (quantile(rates, 0.75) - quantile(rates, 0.25)) / median : 0;
}

std::optional<double> Cell::cpu_s_per_gib() const {
  if (bytes() == 0) {
    return std::nullopt;
  }
  double cpu_s = 0;
  for (const Round& round : rounds) {
    cpu_s += round.cpu_s;
  }
  return cpu_s / (static_cast<double>(bytes()) / static_cast<double>(1_GiB));
}

std::optional<Latency> Cell::latency() const {
  std::vector<Latency> known;
  for (const Round& round : rounds) {
    if (round.latency) {
      known.push_back(*round.latency);
    }
  }
  if (known.empty()) {
    return std::nullopt;
  }
  const auto median = [&](double Latency::* member) {
    std::vector<double> values;
    for (const Latency& latency : known) {
      values.push_back(latency.*member);
    }
    std::sort(values.begin(), values.end());
    return quantile(values, 0.5);
  };
  Latency found{.p50_ns = median(&Latency::p50_ns),
                .p90_ns = median(&Latency::p90_ns),
                .p99_ns = median(&Latency::p99_ns),
                .p999_ns = median(&Latency::p999_ns)};
  for (const Latency& latency : known) {
    found.operations += latency.operations;
    found.max_ns = std::max(found.max_ns, latency.max_ns);
  }
  return found;
}

std::uint64_t Cell::major_faults() const noexcept {
  return sum_of(rounds, &Round::major_faults);
}

std::uint64_t Cell::minor_faults() const noexcept {
  return sum_of(rounds, &Round::minor_faults);
}

std::uint64_t Cell::bytes() const noexcept {
  return sum_of(rounds, &Round::bytes);
}

std::uint64_t Cell::operations() const noexcept {
  return sum_of(rounds, &Round::operations);
}

std::optional<std::uint64_t> Cell::system_calls() const {
  return known_sum_of(rounds, &Round::system_calls);
}

std::optional<EngineCounts> Cell::engine_counts() const {
  std::optional<EngineCounts> sums;
  for (const Round& round : rounds) {
    if (!round.engine) {
      return std::nullopt;
    }
    const EngineCounts& counts = *round.engine;
    EngineCounts& sum = sums ? *sums : sums.emplace();
    for (std::uint64_t EngineCounts::* member :
         {&EngineCounts::faults, &EngineCounts::evicted, &EngineCounts::reads,
          &EngineCounts::read_bytes, &EngineCounts::read_ahead_bytes, &EngineCounts::writes,
          &EngineCounts::write_bytes}) {
      sum.*member += counts.*member;
    }
    sum.memory_taken_bytes_max =
        std::max(sum.memory_taken_bytes_max, counts.memory_taken_bytes_max);
  }
  return sums;
}

std::optional<std::uint64_t> Cell::device_read_bytes() const {
  return known_sum_of(rounds, &Round::device_read_bytes);
}

std::optional<std::uint64_t> Cell::device_written_bytes() const {
  return known_sum_of(rounds, &Round::device_written_bytes);
}

std::optional<std::uint64_t> Cell::cache_left_bytes() const {
  if (!known_sum_of(rounds, &Round::cache_left_bytes)) {
    return std::nullopt;
  }
  return static_cast<std::uint64_t>(median_of(rounds, [](const Round& round) {
    return static_cast<double>(round.cache_left_bytes.value_or(0));
  }));
}

std::optional<bool> Cell::verified_cold() const {
  return all_of(rounds, &Round::verified_cold);
}

std::optional<bool> Cell::verified_direct() const {
  return all_of(rounds, &Round::verified_direct);
}

}  // namespace quire::compare
