// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/simulate_output.h"

#include <algorithm>
#include <span>

#include "quire/base/units.h"

namespace quire::cli {
namespace {

constexpr std::size_t kNameColumns = 8;
constexpr std::size_t kCountColumns = 12;
constexpr std::size_t kMemoryColumns = 12;

using Rows = std::span<const SimulationRow>;
using Count = std::uint64_t SimulationStats::*;

std::string memory_text(const SimulatedLoad& load, std::uint32_t memory_pages) {
  return human_bytes(std::uint64_t{memory_pages} * load.granule_bytes);
}

// The first rows: those with the same memory.
Rows same_memory(Rows rows) {
  const auto end = std::find_if(rows.begin(), rows.end(), [&](const SimulationRow& row) {
    return row.memory_pages != rows.front().memory_pages;
  });
  return rows.first(static_cast<std::size_t>(end - rows.begin()));
}

void print_head(Session& session, const SimulatedLoad& load) {
  const std::string what = load.trace ? session.name(*load.trace) : *load.workload;
  session.print("{}\n", session.paint()(Tone::kStrong, what));
  session.print("  {}, {} of them stores, of {} of {}: {}\n",
                count_of(load.accesses, "access", "accesses"), percent(load.stores, load.accesses),
                count_of(load.pages, "page", "different pages"), human_bytes(load.granule_bytes),
                human_bytes(load.footprint_bytes()));
  if (load.read_ahead_bytes > 0) {
    session.print("  read-ahead up to {}, in belady none\n", human_bytes(load.read_ahead_bytes));
  }
}

std::string times_fewest(std::uint64_t count, std::uint64_t fewest) {
  return fewest == 0
             ? ""
             : fmt::format("{:.2f}x", static_cast<double>(count) / static_cast<double>(fewest));
}

// Every count of a few policies.
void print_policies(Session& session, const SimulatedLoad& load, Rows rows) {
  const std::uint32_t memory_pages = rows.front().memory_pages;
  std::uint64_t fewest = rows.front().stats.device_read_pages;
  for (const SimulationRow& row : rows) {
    fewest = std::min(fewest, row.stats.device_read_pages);
  }
  session.print("  memory {}, {} of that\n\n", memory_text(load, memory_pages),
                percent(memory_pages, load.pages));
  const std::string titles = pad_right("policy", kNameColumns) + pad_left("hits", 8) +
                             pad_left("pages read", 15) + pad_left("of the least", 14) +
                             pad_left("written", 15) + pad_left("soft faults", 13);
  session.print("{}\n", session.paint()(Tone::kDim, titles));
  for (const SimulationRow& row : rows) {
    const SimulationStats& stats = row.stats;
    session.print("{}{}{}{}{}{}\n", pad_right(row.policy, kNameColumns),
                  pad_left(percent(stats.hits, stats.accesses), 8),
                  pad_left(with_thousands(stats.device_read_pages), 15),
                  pad_left(times_fewest(stats.device_read_pages, fewest), 14),
                  pad_left(with_thousands(stats.device_write_pages), 15),
                  pad_left(with_thousands(stats.soft_faults), 13));
  }
}

// One line for each size of memory, one column for each policy.
template <typename Cell>
void print_curve(Session& session, const SimulatedLoad& load, Rows rows, const char* title,
                 Cell&& cell) {
  session.print("\n{}\n", session.paint()(Tone::kStrong, title));
  std::string titles = pad_left("memory", kMemoryColumns) + pad_left("share", 8);
  for (const SimulationRow& row : same_memory(rows)) {
    titles += pad_left(row.policy, kCountColumns);
  }
  session.print("{}\n", session.paint()(Tone::kDim, titles));
  while (!rows.empty()) {
    const Rows group = same_memory(rows);
    std::string line = pad_left(memory_text(load, group.front().memory_pages), kMemoryColumns) +
                       pad_left(percent(group.front().memory_pages, load.pages), 8);
    for (const SimulationRow& row : group) {
      line += pad_left(cell(row.stats), kCountColumns);
    }
    session.print("{}\n", line);
    rows = rows.subspan(group.size());
  }
}

void print_curves(Session& session, const SimulatedLoad& load, Rows rows) {
  const auto count = [](Count member) {
    return [member](const SimulationStats& stats) { return with_thousands(stats.*member); };
  };
  print_curve(session, load, rows, "misses",
              [](const SimulationStats& stats) { return percent(stats.misses, stats.accesses); });
  print_curve(session, load, rows, "pages read", count(&SimulationStats::device_read_pages));
  if (load.stores > 0) {
    print_curve(session, load, rows, "pages written", count(&SimulationStats::device_write_pages));
  }
}

template <typename Text>
void member_or_null(JsonWriter& json, const char* key, const std::optional<Text>& content) {
  if (content) {
    json.member(key, *content);
  } else {
    json.key(key).value_null();
  }
}

}  // namespace

void write_load(JsonWriter& json, const SimulatedLoad& load) {
  if (load.trace) {
    json.member_path("trace", *load.trace);
    json.member("content", load.has_faults_only ? "faults" : "accesses");
  } else {
    json.key("trace").value_null();
    json.key("content").value_null();
  }
  member_or_null(json, "workload", load.workload);
  member_or_null(json, "seed", load.workload ? std::optional(load.seed) : std::nullopt);
  // Nothing of it is known when the first look at the accesses was interrupted.
  const auto if_known = [&](std::uint64_t count) {
    return load.pages > 0 ? std::optional(count) : std::nullopt;
  };
  member_or_null(json, "accesses", if_known(load.accesses));
  member_or_null(json, "stores", if_known(load.stores));
  member_or_null(json, "footprint_pages", if_known(load.pages));
  member_or_null(json, "footprint_bytes", if_known(load.footprint_bytes()));
  json.member("granule_bytes", load.granule_bytes);
  json.member("read_ahead_bytes", load.read_ahead_bytes);
}

void write_row(JsonWriter& json, const SimulatedLoad& load, const SimulationRow& row) {
  const SimulationStats& stats = row.stats;
  json.begin_object();
  json.member("policy", row.policy);
  json.member("memory_bytes", std::uint64_t{row.memory_pages} * load.granule_bytes);
  json.member("memory_pages", row.memory_pages);
  json.member("hits", stats.hits);
  json.member("misses", stats.misses);
  json.member("hit_ratio", stats.hit_ratio());
  json.member("device_read_requests", stats.device_read_requests);
  json.member("device_read_pages", stats.device_read_pages);
  json.member("device_write_pages", stats.device_write_pages);
  json.member("dirty_at_end_pages", stats.dirty_at_end);
  json.member("evicted_pages", stats.evictions);
  json.member("not_kept_pages", stats.not_kept);
  json.member("read_ahead_used_pages", stats.read_ahead_hits);
  json.member("read_ahead_wasted_pages", stats.read_ahead_wasted);
  json.member("watched_pages", stats.watched);
  json.member("soft_faults", stats.soft_faults);
  json.member("ghost_hits", stats.ghost_hits);
  json.member("policy_bytes", stats.policy_bytes);
  json.member("seconds", row.seconds);
  json.end_object();
}

void print_simulation(Session& session, const SimulatedLoad& load,
                      const std::vector<SimulationRow>& rows) {
  if (rows.empty()) {
    return;
  }
  print_head(session, load);
  if (same_memory(rows).size() == rows.size()) {
    print_policies(session, load, rows);
  } else {
    print_curves(session, load, rows);
  }
}

}  // namespace quire::cli
