// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/internal/answer_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>

#include "quire/base/units.h"
#include "quire/compare/internal/numbers.h"

namespace quire::compare::internal {
namespace {

struct ColumnPlan {
  TableColumn column;
  std::function<std::string(const Cell&)> text_of;
};

// For each MiB moved.
std::string per_mib(const Cell& cell, std::optional<std::uint64_t> count) {
  if (!count || cell.bytes() == 0) {
    return kUnknown;
  }
  const double mib = static_cast<double>(cell.bytes()) / static_cast<double>(1_MiB);
  const double share = static_cast<double>(*count) / mib;
  constexpr double kNextToNothing = 0.01;  // More figures of less than that would say nothing.
  return share > 0 && share < kNextToNothing ? "<0.01" : three_figures(share);
}

// The kernel does not count a fault that ends in a signal, which is how a pager's inline ones come.
std::uint64_t faults_of(const Cell& cell) {
  const bool is_inline = cell.engine && cell.engine->fault_path == "inline";
  const auto counts = is_inline ? cell.engine_counts() : std::nullopt;
  return cell.major_faults() + cell.minor_faults() + (counts ? counts->faults : 0);
}

// What the device moved for each byte that was asked for: read-ahead and small writes show here.
std::string device_share(const Cell& cell) {
  const auto read = cell.device_read_bytes();
  const auto written = cell.device_written_bytes();
  if ((!read && !written) || cell.bytes() == 0) {
    return kUnknown;
  }
  const std::uint64_t moved = read.value_or(0) + (is_write(cell.pattern) ? written.value_or(0) : 0);
  return three_figures(static_cast<double>(moved) / static_cast<double>(cell.bytes()));
}

std::string latency_text(const Cell& cell, double Latency::* member) {
  const auto latency = cell.latency();
  return latency ? duration_text((*latency).*member) : kUnknown;
}

const char* rate_title(Pattern pattern) noexcept {
  switch (pattern) {
    case Pattern::kAppend: return "records/s";
    case Pattern::kRandomUpdate: return "updates/s";
    case Pattern::kRandomRead:
    case Pattern::kSkewedRead: return "reads/s";
    default: return "MiB/s";
  }
}

std::string median_text(const Cell& cell) {
  return three_figures(counts_operations(cell.pattern) ? cell.median_operations_per_s()
                                                       : cell.median_mib_per_s());
}

std::vector<ColumnPlan> plan_columns(Pattern pattern, double best_mib_per_s) {
  constexpr int kAlways = 100;
  return {
      {{"path", "how the bytes are asked for", kAlways},
       [](const Cell& cell) { return label_of(cell); }},
      {{rate_title(pattern), "median of the rounds", kAlways}, median_text},
      {{"", "doubts, explained below", kAlways}, marks_of},
      {{"of best", "rate over that of the fastest path; memory, the ceiling, is not in the race",
        9},
       [best_mib_per_s](const Cell& cell) {
         return best_mib_per_s > 0 ? percent_text(cell.median_mib_per_s() / best_mib_per_s)
                                   : kUnknown;
       }},
      {{"spread", "middle half of the rounds over the median", 7},
       [](const Cell& cell) {
         return cell.rounds.size() > 1 ? percent_text(cell.spread()) : std::string(kUnknown);
       }},
      {{"p50", "half of the operations took no longer", 6},
       [](const Cell& cell) { return latency_text(cell, &Latency::p50_ns); }},
      {{"p99", "one operation in a hundred took longer", 8},
       [](const Cell& cell) { return latency_text(cell, &Latency::p99_ns); }},
      {{"CPU s/GiB", "user and system time for each GiB moved", 8},
       [](const Cell& cell) {
         const auto cost = cell.cpu_s_per_gib();
         return cost ? three_figures(*cost) : std::string(kUnknown);
       }},
      {{"faults/MiB", "page faults for each MiB moved: major, minor, and a pager's own", 3},
       [](const Cell& cell) { return per_mib(cell, faults_of(cell)); }},
      {{"calls/MiB", "system calls for each MiB moved", 4},
       [](const Cell& cell) { return per_mib(cell, cell.system_calls()); }},
      {{"device", "bytes that the device moved for each byte asked for", 5}, device_share},
      {{"cache left", "of the file in the page cache afterwards", 2},
       [](const Cell& cell) { return bytes_text(cell.cache_left_bytes()); }},
  };
}

Standing standing_of(const Cell& cell, const Verdict* verdict) {
  if (!cell.has_result()) {
    return Standing::kNoResult;
  }
  if (cell.path == Path::kMemory) {
    return Standing::kCeiling;
  }
  if (verdict == nullptr) {
    return Standing::kSlower;
  }
  if (verdict->winner == cell.path) {
    return Standing::kWinner;
  }
  const auto& ties = verdict->ties;
  return std::find(ties.begin(), ties.end(), cell.path) == ties.end() ? Standing::kSlower
                                                                      : Standing::kTie;
}

double best_rate(const Answers& answers) {
  double best = 0;
  for (const Cell* cell : answers.cells) {
    best = cell->path == Path::kMemory ? best : std::max(best, cell->median_mib_per_s());
  }
  return best;
}

// Columns in which every row says "unknown" say nothing.
void drop_empty_columns(AnswerTable& table) {
  for (std::size_t column = table.columns.size(); column-- > 1;) {
    const bool is_empty =
        std::all_of(table.rows.begin(), table.rows.end(), [column](const TableRow& row) {
          return row.texts.empty() || row.texts[column].empty() || row.texts[column] == kUnknown;
        });
    if (!is_empty) {
      continue;
    }
    const auto at = static_cast<std::ptrdiff_t>(column);
    table.columns.erase(table.columns.begin() + at);
    for (TableRow& row : table.rows) {
      if (!row.texts.empty()) {
        row.texts.erase(row.texts.begin() + at);
      }
    }
  }
}

struct Mark {
  char character;
  const char* meaning;
  bool (*applies)(const Cell& cell);
};

// Whether the path is meant to go past the page cache.
bool is_direct(const Cell& cell) noexcept {
  return cell.path == Path::kDirect || cell.path == Path::kDirectQueued || is_paged(cell.path);
}

constexpr std::array<Mark, 5> kMarks{{
    {'?', "cold was asked for, and whether it was cannot be seen here",
     [](const Cell& cell) { return cell.state == State::kCold && !cell.verified_cold(); }},
    {'!', "cold was asked for, and it was not: the page cache held some of it",
     [](const Cell& cell) {
       return cell.state == State::kCold && cell.verified_cold() == std::optional(false);
     }},
    {'~', "direct was asked for, and the file system buffered it in silence",
     [](const Cell& cell) {
       return is_direct(cell) && cell.verified_direct() == std::optional(false);
     }},
    {'^', "direct was asked for, and whether it was cannot be seen here",
     [](const Cell& cell) { return is_direct(cell) && !cell.verified_direct(); }},
    {'*', "something else was run than was meant; the remarks say what",
     [](const Cell& cell) { return cell.fallback.has_value(); }},
}};

}  // namespace

std::string marks_of(const Cell& cell) {
  std::string marks;
  for (const Mark& mark : kMarks) {
    // Memory reads no file: there is nothing to be cold.
    if (cell.has_result() && cell.path != Path::kMemory && mark.applies(cell)) {
      marks += mark.character;
    }
  }
  return marks;
}

std::vector<std::string> explain_marks(const Report& report) {
  std::string used;
  for (const Cell& cell : report.cells) {
    used += marks_of(cell);
  }
  std::vector<std::string> lines;
  for (const Mark& mark : kMarks) {
    if (used.find(mark.character) != std::string::npos) {
      lines.push_back(fmt::format("{} {}", mark.character, mark.meaning));
    }
  }
  return lines;
}

std::string reason_of(const Cell& cell) {
  if (cell.error) {
    return cell.error->message();
  }
  if (cell.skipped) {
    return "not run: " + *cell.skipped;
  }
  return cell.has_result() ? "" : "not run: the run ended before its turn";
}

const Verdict* verdict_for(const Report& report, const Question& question) noexcept {
  const auto found =
      std::find_if(report.verdicts.begin(), report.verdicts.end(),
                   [&](const Verdict& verdict) { return verdict.question == question; });
  return found == report.verdicts.end() ? nullptr : &*found;
}

AnswerTable answer_table(const Answers& answers, const Verdict* verdict) {
  const std::vector<ColumnPlan> plan = plan_columns(answers.question.pattern, best_rate(answers));
  AnswerTable table;
  for (const ColumnPlan& one : plan) {
    table.columns.push_back(one.column);
  }
  for (const Cell* cell : answers.cells) {
    TableRow row{.cell = cell,
                 .standing = standing_of(*cell, verdict),
                 .texts = {},
                 .reason = reason_of(*cell)};
    for (std::size_t index = 0; index < plan.size() && cell->has_result(); ++index) {
      row.texts.push_back(plan[index].text_of(*cell));
    }
    table.rows.push_back(std::move(row));
  }
  std::sort(table.rows.begin(), table.rows.end(), [](const TableRow& left, const TableRow& right) {
    const double left_rate = left.cell->median_mib_per_s();
    const double right_rate = right.cell->median_mib_per_s();
    return left_rate != right_rate ? left_rate > right_rate : comes_before(left.cell, right.cell);
  });
  drop_empty_columns(table);
  return table;
}

}  // namespace quire::compare::internal
