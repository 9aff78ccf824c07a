// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/text_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "quire/compare/internal/answer_table.h"
#include "quire/compare/internal/numbers.h"
#include "quire/compare/question.h"

namespace quire::compare {
namespace {

using internal::AnswerTable;
using internal::Standing;
using internal::TableRow;

constexpr std::size_t kIndentColumns = 2;
constexpr std::size_t kGapColumns = 2;  // Between two columns.
constexpr std::size_t kWrapColumnsMin = 30;

using Lines = std::vector<TextLine>;

void add(Lines& lines, Emphasis emphasis, std::string text) {
  lines.push_back({TextSpan{.emphasis = emphasis, .text = std::move(text)}});
}

void add_blank(Lines& lines) {
  if (!lines.empty()) {
    lines.emplace_back();
  }
}

// `text` between words, in lines of at most `columns`; the lines after the first are indented by
// `hang` more than the first.
void add_wrapped(Lines& lines, Emphasis emphasis, std::string_view text, std::size_t columns,
                 std::size_t indent, std::size_t hang = 0) {
  columns = std::max(columns, kWrapColumnsMin);
  std::string line(indent, ' ');
  bool is_line_start = true;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    if (!is_line_start && line.size() + 1 + word.size() > columns) {
      add(lines, emphasis, std::exchange(line, std::string(indent + hang, ' ')));
      is_line_start = true;
    }
    line += is_line_start ? "" : " ";
    line += word;
    is_line_start = false;
    text.remove_prefix(std::min(word.size() + 1, text.size()));
  }
  add(lines, emphasis, std::move(line));
}

// --- Tables --------------------------------------------------------------------------------------

std::vector<std::size_t> widths_of(const AnswerTable& table) {
  std::vector<std::size_t> widths;
  for (std::size_t column = 0; column < table.columns.size(); ++column) {
    std::size_t width = table.columns[column].title.size();
    for (const TableRow& row : table.rows) {
      width = std::max(width, row.texts.empty() ? 0 : row.texts[column].size());
    }
    widths.push_back(width);
  }
  return widths;
}

std::size_t total_of(const std::vector<std::size_t>& widths) {
  std::size_t total = kIndentColumns;
  for (const std::size_t width : widths) {
    total += width + kGapColumns;
  }
  return total - kGapColumns;
}

void drop_column(AnswerTable& table, std::size_t column) {
  const auto at = static_cast<std::ptrdiff_t>(column);
  table.columns.erase(table.columns.begin() + at);
  for (TableRow& row : table.rows) {
    if (!row.texts.empty()) {
      row.texts.erase(row.texts.begin() + at);
    }
  }
}

// Drops the least important columns until the table fits; the path and its rate always stay.
void fit(AnswerTable& table, std::size_t columns) {
  constexpr std::size_t kColumnsKept = 2;
  while (table.columns.size() > kColumnsKept && total_of(widths_of(table)) > columns) {
    const auto least = std::min_element(
        table.columns.begin() + kColumnsKept, table.columns.end(),
        [](const auto& left, const auto& right) { return left.importance < right.importance; });
    drop_column(table, static_cast<std::size_t>(least - table.columns.begin()));
  }
}

std::string row_text(const std::vector<std::string>& texts,
                     const std::vector<std::size_t>& widths) {
  std::string line(kIndentColumns, ' ');
  for (std::size_t column = 0; column < texts.size(); ++column) {
    if (column == 0) {
      line += fmt::format("{:<{}}", texts[column], widths[column]);
    } else {
      line += fmt::format("{:>{}}", texts[column], widths[column] + kGapColumns);
    }
  }
  return line;
}

Emphasis emphasis_of(Standing standing) noexcept {
  switch (standing) {
    case Standing::kWinner: return Emphasis::kGood;
    case Standing::kCeiling: return Emphasis::kDim;
    case Standing::kNoResult: return Emphasis::kWarning;
    default: return Emphasis::kPlain;
  }
}

// Nothing was run, and for one reason, which the verdict gives.
bool is_void(const AnswerTable& table) {
  return std::all_of(table.rows.begin(), table.rows.end(), [&](const TableRow& row) {
    return row.texts.empty() && !row.cell->error && row.reason == table.rows.front().reason;
  });
}

void add_table(Lines& lines, AnswerTable table, const TextOptions& options) {
  if (is_void(table)) {
    return;
  }
  fit(table, options.columns);
  const std::vector<std::size_t> widths = widths_of(table);
  std::vector<std::string> titles;
  for (const auto& column : table.columns) {
    titles.push_back(column.title);
  }
  add(lines, Emphasis::kDim, row_text(titles, widths));
  for (const TableRow& row : table.rows) {
    if (!row.texts.empty()) {
      add(lines, emphasis_of(row.standing), row_text(row.texts, widths));
    }
    if (!row.reason.empty()) {
      add_wrapped(lines, Emphasis::kWarning, fmt::format("{}: {}", label_of(*row.cell), row.reason),
                  options.columns, kIndentColumns, kIndentColumns);
    }
  }
}

// --- What stands around them ---------------------------------------------------------------------

// The sentence without what its heading already says.
std::string_view body_of(const Verdict& verdict, std::string_view heading) {
  std::string_view sentence = verdict.sentence;
  if (sentence.starts_with(heading) && sentence.substr(heading.size()).starts_with(": ")) {
    sentence.remove_prefix(heading.size() + 2);
  }
  return sentence;
}

void add_code(Lines& lines, const char* title, const std::vector<std::string>& code) {
  if (code.empty()) {
    return;
  }
  add(lines, Emphasis::kDim, fmt::format("    {}", title));
  for (const std::string& line : code) {
    add(lines, Emphasis::kPlain, "      " + line);
  }
}

void add_verdict(Lines& lines, const Verdict* verdict, std::string_view heading,
                 const TextOptions& options) {
  if (verdict == nullptr) {
    return;
  }
  add_wrapped(lines, verdict->winner ? Emphasis::kAccent : Emphasis::kWarning,
              fmt::format("=> {}", body_of(*verdict, heading)), options.columns, kIndentColumns, 3);
  if (options.with_code) {
    add_code(lines, "with quire:", verdict->with_quire);
    add_code(lines, "with system calls:", verdict->with_system_calls);
  }
}

void add_head(Lines& lines, const Report& report, const TextOptions& options) {
  add(lines, Emphasis::kStrong, report.title);
  if (report.is_simulated) {
    add_wrapped(
        lines, Emphasis::kWarning,
        fmt::format("simulated disk and clock, {}: no device was touched", report.device_model),
        options.columns, 0);
  }
  if (report.memory_limit_bytes) {
    add_wrapped(lines, report.is_memory_limited ? Emphasis::kPlain : Emphasis::kWarning,
                fmt::format("memory {} {}: {}", internal::size_text(*report.memory_limit_bytes),
                            report.is_memory_limited ? "enforced" : "NOT enforced",
                            report.memory_limit_method),
                options.columns, 0);
  }
  for (const Fact& fact : report.facts) {
    add_wrapped(lines, Emphasis::kPlain,
                fmt::format("{}: {}{}{}", fact.name, fact.value,
                            fact.consequence.empty() ? "" : "; ", fact.consequence),
                options.columns, 0, kIndentColumns);
  }
}

std::string figure_text(const ArticleFigure& figure) {
  return fmt::format("  {:<10}{:>10}  {:<16}{:>12}{:>16}{:>12}", figure.target,
                     internal::size_text(figure.block_bytes), name_of(figure.durability),
                     internal::three_figures(figure.mib_per_s),
                     internal::count_text(figure.system_calls),
                     internal::three_figures(figure.cpu_s_per_gib));
}

void add_figures(Lines& lines, const char* title, const std::vector<ArticleFigure>& figures) {
  if (figures.empty()) {
    return;
  }
  add_blank(lines);
  add(lines, Emphasis::kStrong, title);
  add(lines, Emphasis::kDim,
      fmt::format("  {:<10}{:>10}  {:<16}{:>12}{:>16}{:>12}", "target", "block", "durability",
                  "MiB/s", "system calls", "CPU s/GiB"));
  for (const ArticleFigure& figure : figures) {
    add(lines, Emphasis::kPlain, figure_text(figure));
  }
}

void add_legend(Lines& lines, const Report& report, const TextOptions& options) {
  const std::vector<std::string> marks = internal::explain_marks(report);
  if (!marks.empty() || !report.remarks.empty()) {
    add_blank(lines);
  }
  for (const std::string& mark : marks) {
    add_wrapped(lines, Emphasis::kDim, mark, options.columns, 0, kIndentColumns);
  }
  for (const std::string& remark : report.remarks) {
    add_wrapped(lines, Emphasis::kPlain, "note: " + remark, options.columns, 0, kIndentColumns);
  }
}

}  // namespace

std::vector<TextLine> text_report(const Report& report, const TextOptions& options) {
  Lines lines;
  add_head(lines, report, options);
  for (const Answers& answers : group_by_question(report.cells)) {
    const std::string heading =
        fmt::format("{}, {}", title_of(answers.question.pattern), conditions_of(answers.question));
    const Verdict* verdict = internal::verdict_for(report, answers.question);
    add_blank(lines);
    add_wrapped(lines, Emphasis::kStrong, heading, options.columns, 0, kIndentColumns);
    add_table(lines, internal::answer_table(answers, verdict), options);
    add_verdict(lines, verdict, heading, options);
  }
  add_figures(lines, "the articles' way", report.articles_way);
  add_figures(lines, "what explains it", report.articles_matrix);
  add_legend(lines, report, options);
  if (report.is_interrupted) {
    add_blank(lines);
    add(lines, Emphasis::kWarning, "interrupted: this is what there was until then");
  }
  return lines;
}

std::string plain(const TextLine& line) {
  std::string text;
  for (const TextSpan& span : line) {
    text += span.text;
  }
  return text;
}

}  // namespace quire::compare
