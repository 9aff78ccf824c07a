// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/html_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "quire/compare/internal/answer_table.h"
#include "quire/compare/internal/assets.h"
#include "quire/compare/internal/cell_table.h"
#include "quire/compare/internal/charts.h"
#include "quire/compare/internal/html.h"
#include "quire/compare/internal/numbers.h"
#include "quire/compare/json_report.h"
#include "quire/compare/question.h"

namespace quire::compare {
namespace {

using internal::Chart;
using internal::escaped;

// Nothing may be fetched, whatever the page holds: all of it is inline.
constexpr std::string_view kHead = R"(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none';
script-src 'unsafe-inline'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
)";

constexpr std::string_view kHowMeasured = R"(
<section id="method">
<h2>How it was measured</h2>
<ul>
<li>Each round runs in a process of its own; the paths of one question take turns, so that a disk
that is slow for a while is slow for all of them.</li>
<li>A number is the median of its rounds. The spread is the middle half of them over the median; two
paths whose margins overlap are called a tie.</li>
<li>Cold means that the page cache was seen to hold nothing of the working set before the round;
direct, that it was seen not to grow, and that the device moved the bytes.</li>
<li>CPU time is user and system time of the process, the kernel's workers for it included.</li>
<li>Faults, system calls and bytes of the device are those of the measured part alone. In the tables
of a pattern they are given for each MiB, or byte, that the path was asked to move.</li>
<li>A pager has memory of its own, within the same limit as every path: each round begins with none
of the file in it, or with as much as a warm one asks for. Its system calls are not counted.</li>
<li>Memory is the same loop over bytes that are in memory already: what a path can reach at
best.</li>
</ul>
)";

// The licences of what is in the page and is not ours.
constexpr std::string_view kLicences = R"(<details>
<summary>Licence of the charting package</summary>
<p>Charts are drawn by Chart.js, (c) 2014-2022 Chart.js Contributors, which contains
@kurkle/color, (c) 2018-2021 Jukka Kurkela. Both are under the MIT licence:</p>
<p>Permission is hereby granted, free of charge, to any person obtaining a copy of this software and
associated documentation files (the "Software"), to deal in the Software without restriction,
including without limitation the rights to use, copy, modify, merge, publish, distribute,
sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions: The above copyright notice and this
permission notice shall be included in all copies or substantial portions of the Software. The
software is provided "as is", without warranty of any kind, express or implied, including but not
limited to the warranties of merchantability, fitness for a particular purpose and noninfringement.
In no event shall the authors or copyright holders be liable for any claim, damages or other
liability, whether in an action of contract, tort or otherwise, arising from, out of or in
connection with the software or the use or other dealings in the software.</p></details>
)";

// For the start of a sentence or heading; the name of a function stays as it is.
std::string capitalised(std::string text) {
  const std::string_view word = std::string_view(text).substr(0, text.find(' '));
  const bool is_code = word == "mmap" || word.ends_with(')');
  if (!text.empty() && !is_code && text[0] >= 'a' && text[0] <= 'z') {
    text[0] = static_cast<char>(text[0] - 'a' + 'A');
  }
  return text;
}

std::string pattern_title(Pattern pattern) {
  return escaped(capitalised(title_of(pattern)));
}

std::vector<Pattern> patterns_of(const std::vector<Answers>& all) {
  std::vector<Pattern> patterns;
  for (const Answers& answers : all) {
    if (patterns.empty() || patterns.back() != answers.question.pattern) {
      patterns.push_back(answers.question.pattern);
    }
  }
  return patterns;
}

// --- The first screen ----------------------------------------------------------------------------

std::string fact_html(std::string_view name, std::string_view value, std::string_view consequence) {
  std::string html = fmt::format("<div><dt>{}</dt><dd>{}", escaped(name), escaped(value));
  if (!consequence.empty()) {
    html += fmt::format("<span class=\"consequence\">{}</span>", escaped(consequence));
  }
  return html + "</dd></div>\n";
}

std::string memory_text(const Report& report) {
  if (!report.memory_limit_bytes) {
    return "not limited";
  }
  return fmt::format("{}, {}", internal::size_text(*report.memory_limit_bytes),
                     report.is_memory_limited ? "enforced" : "not enforced");
}

std::string facts_html(const Report& report) {
  std::string html = "<dl class=\"facts\" aria-label=\"What bends the numbers\">\n";
  html += fact_html("memory limit", memory_text(report), report.memory_limit_method);
  for (const Fact& fact : report.facts) {
    html += fact_html(fact.name, fact.value, fact.consequence);
  }
  return html + "</dl>\n";
}

std::string banner_html(std::string_view text) {
  return fmt::format("<p class=\"banner\" role=\"note\">{}</p>\n", escaped(text));
}

// "2000-01-01T00:00:00Z" as "2000-01-01 00:00:00 UTC"; anything else as it is.
std::string readable_time(std::string text) {
  constexpr std::size_t kDateCharacters = 10;
  constexpr std::size_t kCharacters = 20;
  if (text.size() == kCharacters && text[kDateCharacters] == 'T' && text.back() == 'Z') {
    text.replace(kCharacters - 1, 1, " UTC");
    text[kDateCharacters] = ' ';
  }
  return text;
}

std::string command_html(const Report& report) {
  return report.command_line.empty()
             ? ""
             : fmt::format("<p class=\"command\"><code><bdi>{}</bdi></code></p>\n",
                           escaped(report.command_line));
}

std::string header_html(const Report& report) {
  std::string html = fmt::format(
      "<header>\n<p class=\"eyebrow\">quire compare</p>\n<h1><bdi>{}</bdi></h1>\n"
      "<p class=\"lede\">Which way to its bytes is fastest? Measured in <bdi>{}</bdi> on {}, "
      "in {} s, by quire {}.</p>\n",
      escaped(report.title), escaped(report.file), escaped(readable_time(report.started_at)),
      internal::three_figures(report.elapsed_s), escaped(report.version));
  html += command_html(report);
  if (report.is_simulated) {
    html += banner_html("Simulated disk and clock (" + report.device_model +
                        "): no device was touched, and every number follows from the model.");
  }
  if (report.is_interrupted) {
    html += banner_html("Interrupted: this is what there was until then.");
  }
  return html + facts_html(report) + "</header>\n";
}

std::string code_html(const char* title, const std::vector<std::string>& lines) {
  if (lines.empty()) {
    return "";
  }
  std::string html = fmt::format("<h4>{}</h4><pre tabindex=\"0\"><code>", title);
  for (const std::string& line : lines) {
    html += escaped(line) + "\n";
  }
  return html + "</code></pre>";
}

// The sentence without the question, which the card's heading has.
std::string body_of(const Verdict& verdict, const std::string& question) {
  const std::string prefix = question + ": ";
  return capitalised(verdict.sentence.starts_with(prefix) ? verdict.sentence.substr(prefix.size())
                                                          : verdict.sentence);
}

std::string verdict_html(const Verdict& verdict) {
  const Question& question = verdict.question;
  const std::string conditions = conditions_of(question);
  std::string html = fmt::format("<article class=\"verdict{}\"><h4>{}</h4>\n",
                                 verdict.winner ? "" : " failed", escaped(capitalised(conditions)));
  if (verdict.winner) {
    html += fmt::format("<p class=\"winner\"><span class=\"swatch\" data-color=\"{}\"></span>{}",
                        name_of(*verdict.winner), escaped(title_of(*verdict.winner)));
    if (verdict.compared) {
      html +=
          fmt::format("<strong>{}&times;</strong>", escaped(internal::factor_text(verdict.factor)));
    }
    html += "</p>\n";
  }
  html += fmt::format(
      "<p>{}</p>\n",
      escaped(body_of(verdict, fmt::format("{}, {}", title_of(question.pattern), conditions))));
  if (!verdict.with_quire.empty() || !verdict.with_system_calls.empty()) {
    html += "<details><summary>The lines that get it</summary>" +
            code_html("With quire", verdict.with_quire) +
            code_html("With system calls", verdict.with_system_calls) + "</details>\n";
  }
  return html + "</article>\n";
}

std::string verdicts_html(const Report& report, const std::vector<Answers>& all) {
  if (all.empty()) {
    return "";
  }
  std::string html = "<section id=\"verdicts\">\n<h2>Verdicts</h2>\n";
  for (const Pattern pattern : patterns_of(all)) {
    html += fmt::format("<h3>{}</h3>\n<div class=\"cards\">\n", pattern_title(pattern));
    for (const Answers& answers : all) {
      const Verdict* verdict = internal::verdict_for(report, answers.question);
      if (answers.question.pattern == pattern && verdict != nullptr) {
        html += verdict_html(*verdict);
      }
    }
    html += "</div>\n";
  }
  return html + "</section>\n";
}

// --- Patterns ------------------------------------------------------------------------------------

// Where there is more than one view: which of them is shown.
std::string chooser_html(const Chart& chart) {
  if (chart.views.size() < 2) {
    return chart.views.front().name.empty() ? ""
                                            : fmt::format("<span class=\"view-name\">{}</span>",
                                                          escaped(chart.views.front().name));
  }
  std::string html =
      fmt::format("<select aria-label=\"Conditions shown: {}\">", escaped(chart.title));
  for (std::size_t index = 0; index < chart.views.size(); ++index) {
    html +=
        fmt::format("<option value=\"{}\">{}</option>", index, escaped(chart.views[index].name));
  }
  return html + "</select>";
}

std::string figure_html(const Chart& chart, const std::string& about) {
  return fmt::format(
      "<figure class=\"chart\" data-chart=\"{0}\">\n<figcaption><h3>{1}</h3>"
      "<p>{2}</p></figcaption>\n<div class=\"controls\">{3}</div>\n"
      "<div class=\"plot\"><canvas role=\"img\" aria-label=\"{1}: {4}, in {5}. The numbers are in "
      "the "
      "table of this section.\"></canvas></div>\n</figure>\n",
      escaped(chart.id), escaped(chart.title), escaped(chart.caption), chooser_html(chart), about,
      escaped(chart.unit));
}

const char* row_class(internal::Standing standing) noexcept {
  switch (standing) {
    case internal::Standing::kWinner: return "winner";
    case internal::Standing::kTie: return "tie";
    case internal::Standing::kCeiling: return "ceiling";
    case internal::Standing::kNoResult: return "no-result";
    case internal::Standing::kSlower: break;
  }
  return "slower";
}

std::string answer_row_html(const internal::TableRow& row, std::size_t column_count) {
  std::string html;
  if (!row.texts.empty()) {
    html += fmt::format(
        "<tr class=\"{}\"><th scope=\"row\"><span class=\"swatch\" "
        "data-color=\"{}\"></span>{}</th>",
        row_class(row.standing), name_of(row.cell->path), escaped(row.texts.front()));
    for (std::size_t column = 1; column < row.texts.size(); ++column) {
      html += fmt::format("<td class=\"number\">{}</td>", escaped(row.texts[column]));
    }
    html += "</tr>\n";
  }
  if (!row.reason.empty()) {
    html += fmt::format(
        "<tr class=\"no-result\"><th scope=\"row\">{}</th><td colspan=\"{}\"><bdi>{}</bdi></td>"
        "</tr>\n",
        escaped(label_of(*row.cell)), std::max<std::size_t>(column_count, 2) - 1,
        escaped(row.reason));
  }
  return html;
}

std::string answer_table_html(const Report& report, const Answers& answers) {
  const internal::AnswerTable table =
      internal::answer_table(answers, internal::verdict_for(report, answers.question));
  std::string html = fmt::format(
      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\"><table>"
      "<caption>{0}</caption>\n<thead><tr>",
      escaped(capitalised(conditions_of(answers.question))));
  for (const internal::TableColumn& column : table.columns) {
    html += fmt::format("<th scope=\"col\" title=\"{}\">{}</th>", escaped(column.meaning),
                        escaped(column.title));
  }
  html += "</tr></thead>\n<tbody>\n";
  for (const internal::TableRow& row : table.rows) {
    html += answer_row_html(row, table.columns.size());
  }
  return html + "</tbody></table></div>\n";
}

std::string pattern_html(const Report& report, const std::vector<Answers>& all, Pattern pattern,
                         const std::vector<Chart>& charts) {
  std::string html =
      fmt::format("<section class=\"pattern\" id=\"{}\">\n<h2>{}</h2>\n<div class=\"charts\">\n",
                  name_of(pattern), pattern_title(pattern));
  for (const Chart& chart : charts) {
    html += figure_html(chart, escaped(title_of(pattern)));
  }
  html += "</div>\n";
  for (const Answers& answers : all) {
    if (answers.question.pattern == pattern) {
      html += answer_table_html(report, answers);
    }
  }
  return html + "</section>\n";
}

// --- The rest ------------------------------------------------------------------------------------

std::string figures_table_html(const char* caption, const std::vector<ArticleFigure>& figures) {
  if (figures.empty()) {
    return "";
  }
  std::string html = fmt::format(
      "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\"><table>"
      "<caption>{0}</caption>\n<thead><tr><th scope=\"col\">target</th><th scope=\"col\">block</th>"
      "<th scope=\"col\">durability</th><th scope=\"col\">MiB/s</th>"
      "<th scope=\"col\">system calls</th><th scope=\"col\">CPU s/GiB</th></tr></thead>\n<tbody>\n",
      caption);
  for (const ArticleFigure& figure : figures) {
    html += fmt::format(
        "<tr><th scope=\"row\">{}</th><td class=\"number\">{}</td><td class=\"number\">{}</td>"
        "<td class=\"number\">{}</td><td class=\"number\">{}</td><td "
        "class=\"number\">{}</td></tr>\n",
        escaped(figure.target), internal::size_text(figure.block_bytes), name_of(figure.durability),
        internal::three_figures(figure.mib_per_s), internal::count_text(figure.system_calls),
        internal::three_figures(figure.cpu_s_per_gib));
  }
  return html + "</tbody></table></div>\n";
}

std::string articles_html(const Report& report, const std::vector<Chart>& charts) {
  if (report.articles_way.empty() && report.articles_matrix.empty()) {
    return "";
  }
  std::string html =
      "<section class=\"pattern\" id=\"articles\">\n<h2>The articles&#39; benchmark</h2>\n"
      "<div class=\"charts\">\n";
  for (const Chart& chart : charts) {
    html += figure_html(chart, "small writes to a file, a mapping and memory");
  }
  return html + "</div>\n" + figures_table_html("The articles&#39; way", report.articles_way) +
         figures_table_html("What explains it", report.articles_matrix) + "</section>\n";
}

std::string list_html(const char* title, const std::vector<std::string>& items) {
  if (items.empty()) {
    return "";
  }
  std::string html = fmt::format("<h3>{}</h3>\n<ul>\n", title);
  for (const std::string& item : items) {
    html += fmt::format("<li><bdi>{}</bdi></li>\n", escaped(item));
  }
  return html + "</ul>\n";
}

std::string method_html(const Report& report) {
  return std::string(kHowMeasured) +
         list_html("Marks after a number", internal::explain_marks(report)) +
         list_html("Remarks", report.remarks) + "</section>\n";
}

std::string cells_html(const Report& report) {
  return "<section id=\"cells\">\n<h2>Every cell</h2>\n"
         "<p>A heading sorts by its column. <button type=\"button\" id=\"save-json\">"
         "Save as JSON</button></p>\n" +
         internal::cell_table_html(report) + "</section>\n";
}

std::string contents_html(const std::vector<Pattern>& patterns, bool has_articles) {
  std::string html = "<nav aria-label=\"Contents\">";
  html += patterns.empty() ? "" : "<a href=\"#verdicts\">Verdicts</a>";
  for (const Pattern pattern : patterns) {
    html += fmt::format("<a href=\"#{}\">{}</a>", name_of(pattern), pattern_title(pattern));
  }
  html += has_articles ? "<a href=\"#articles\">Articles</a>" : "";
  return html + "<a href=\"#cells\">Every cell</a><a href=\"#method\">Method</a></nav>\n";
}

std::string scripts_html(const Report& report, const std::vector<Chart>& charts) {
  return fmt::format(
      "<script type=\"application/json\" id=\"report-data\">{}</script>\n"
      "<script type=\"application/json\" id=\"chart-data\">{}</script>\n"
      "<script>{}</script>\n<script>{}</script>\n",
      internal::script_json(json_report(report)),
      internal::script_json(internal::charts_json(charts)), internal::chart_script(),
      internal::report_script());
}

}  // namespace

std::string html_report(const Report& report) {
  const std::vector<Answers> all = group_by_question(report.cells);
  const std::vector<Pattern> patterns = patterns_of(all);
  const std::vector<Chart> articles = internal::article_charts(report);
  std::vector<Chart> charts = articles;
  std::string sections;
  for (const Pattern pattern : patterns) {
    const std::vector<Chart> drawn = internal::charts_of(report, pattern);
    sections += pattern_html(report, all, pattern, drawn);
    charts.insert(charts.end(), drawn.begin(), drawn.end());
  }
  return fmt::format("{}<title>quire compare: {}</title>\n<style>\n{}</style>\n</head>\n<body>\n",
                     kHead, escaped(report.title), internal::report_style()) +
         header_html(report) + contents_html(patterns, !articles.empty()) + "<main>\n" +
         "<noscript><p class=\"banner\">The charts need JavaScript; every number is in the tables."
         "</p></noscript>\n" +
         verdicts_html(report, all) + sections + articles_html(report, articles) +
         cells_html(report) + method_html(report) + "</main>\n<footer>" + std::string(kLicences) +
         "</footer>\n" + scripts_html(report, charts) + "</body>\n</html>\n";
}

}  // namespace quire::compare
