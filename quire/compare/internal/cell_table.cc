// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/internal/cell_table.h"

#include <fmt/format.h>

#include <array>
#include <cmath>

#include "quire/compare/internal/answer_table.h"
#include "quire/compare/internal/html.h"
#include "quire/compare/internal/numbers.h"
#include "quire/compare/question.h"

namespace quire::compare::internal {
namespace {

// One field: what people read, and what it sorts by where that is a number.
struct Field {
  std::string text;
  std::optional<double> value;
  bool is_number = false;
};

Field words(std::string text) {
  return {.text = std::move(text), .value = {}, .is_number = false};
}

Field number(std::optional<double> value, std::string (*write)(double)) {
  const bool is_known = value && std::isfinite(*value);
  return {.text = is_known ? write(*value) : kUnknown,
          .value = is_known ? value : std::nullopt,
          .is_number = true};
}

Field integer(std::optional<std::uint64_t> value, std::string (*write)(std::uint64_t)) {
  return {.text = value ? write(*value) : kUnknown,
          .value = value ? std::optional(static_cast<double>(*value)) : std::nullopt,
          .is_number = true};
}

Field count(std::optional<std::uint64_t> value) {
  return integer(value, count_text);
}

Field size(std::optional<std::uint64_t> value) {
  return integer(value, size_text);
}

Field latency(const Cell& cell, double Latency::* member) {
  const auto found = cell.latency();
  return number(found ? std::optional((*found).*member) : std::nullopt, duration_text);
}

// Whether what was asked for was seen; empty where it was not asked for.
Field verified(bool is_asked, std::optional<bool> answer) {
  if (!is_asked) {
    return words("");
  }
  return words(!answer ? "unknown" : *answer ? "yes" : "no");
}

template <typename T>
std::optional<T> if_measured(const Cell& cell, T value) {
  return cell.has_result() ? std::optional(value) : std::nullopt;
}

Field remark(const Cell& cell) {
  std::string text = reason_of(cell);
  if (cell.fallback) {
    text = *cell.fallback + (text.empty() ? "" : "; " + text);
  }
  return words(std::move(text));
}

Field engine_count(const Cell& cell, std::uint64_t EngineCounts::* member) {
  const auto counts = cell.engine_counts();
  return count(counts ? std::optional((*counts).*member) : std::nullopt);
}

// Whether the path is meant to go past the page cache.
bool is_direct(const Cell& cell) noexcept {
  return cell.path == Path::kDirect || cell.path == Path::kDirectQueued || is_paged(cell.path);
}

struct Column {
  const char* title;
  Field (*field_of)(const Cell& cell);
};

constexpr std::array<Column, 31> kColumns{{
    {"pattern", [](const Cell& cell) { return words(title_of(cell.pattern)); }},
    {"path", [](const Cell& cell) { return words(label_of(cell)); }},
    {"state", [](const Cell& cell) { return words(name_of(cell.state)); }},
    {"working set", [](const Cell& cell) { return size(cell.working_set_bytes); }},
    {"memory",
     [](const Cell& cell) { return cell.memory_bytes ? size(cell.memory_bytes) : words("all"); }},
    {"durability", [](const Cell& cell) { return words(name_of(cell.durability)); }},
    {"depth", [](const Cell& cell) { return count(cell.depth); }},
    {"block", [](const Cell& cell) { return size(cell.block_bytes); }},
    {"rounds", [](const Cell& cell) { return count(cell.rounds.size()); }},
    {"MiB/s",
     [](const Cell& cell) {
       return number(if_measured(cell, cell.median_mib_per_s()), three_figures);
     }},
    {"operations/s",
     [](const Cell& cell) {
       return number(if_measured(cell, cell.median_operations_per_s()), three_figures);
     }},
    {"spread",
     [](const Cell& cell) {
       return number(cell.rounds.size() > 1 ? std::optional(cell.spread()) : std::nullopt,
                     percent_text);
     }},
    {"p50", [](const Cell& cell) { return latency(cell, &Latency::p50_ns); }},
    {"p90", [](const Cell& cell) { return latency(cell, &Latency::p90_ns); }},
    {"p99", [](const Cell& cell) { return latency(cell, &Latency::p99_ns); }},
    {"p99.9", [](const Cell& cell) { return latency(cell, &Latency::p999_ns); }},
    {"slowest", [](const Cell& cell) { return latency(cell, &Latency::max_ns); }},
    {"CPU s/GiB", [](const Cell& cell) { return number(cell.cpu_s_per_gib(), three_figures); }},
    {"major faults",
     [](const Cell& cell) { return count(if_measured(cell, cell.major_faults())); }},
    {"minor faults",
     [](const Cell& cell) { return count(if_measured(cell, cell.minor_faults())); }},
    {"pager faults", [](const Cell& cell) { return engine_count(cell, &EngineCounts::faults); }},
    {"pager evicted", [](const Cell& cell) { return engine_count(cell, &EngineCounts::evicted); }},
    {"system calls", [](const Cell& cell) { return count(cell.system_calls()); }},
    {"device read", [](const Cell& cell) { return size(cell.device_read_bytes()); }},
    {"device written", [](const Cell& cell) { return size(cell.device_written_bytes()); }},
    {"cache left", [](const Cell& cell) { return size(cell.cache_left_bytes()); }},
    {"was cold",
     [](const Cell& cell) {
       return verified(cell.has_result() && cell.state == State::kCold, cell.verified_cold());
     }},
    {"was direct",
     [](const Cell& cell) {
       return verified(cell.has_result() && is_direct(cell), cell.verified_direct());
     }},
    {"method", [](const Cell& cell) { return words(cell.method); }},
    {"pager", [](const Cell& cell) { return words(cell.engine ? cell.engine->explanation : ""); }},
    {"remark", remark},
}};

std::string row_html(const Cell& cell) {
  std::string html = cell.has_result() ? "<tr>" : "<tr class=\"no-result\">";
  for (const Column& column : kColumns) {
    const Field field = column.field_of(cell);
    html += field.is_number ? "<td class=\"number\"" : "<td";
    html += field.value ? fmt::format(" data-v=\"{:.9g}\">", *field.value) : ">";
    html += escaped(field.text) + "</td>";
  }
  return html + "</tr>\n";
}

}  // namespace

std::string cell_table_html(const Report& report) {
  std::string html =
      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"All cells\">"
      "<table class=\"sortable\" id=\"all-cells\"><thead><tr>";
  for (const Column& column : kColumns) {
    html += fmt::format("<th scope=\"col\"><button type=\"button\">{}</button></th>",
                        escaped(column.title));
  }
  html += "</tr></thead>\n<tbody>\n";
  for (const Answers& answers : group_by_question(report.cells)) {
    for (const Cell* cell : answers.cells) {
      html += row_html(*cell);
    }
  }
  return html + "</tbody></table></div>\n";
}

}  // namespace quire::compare::internal
