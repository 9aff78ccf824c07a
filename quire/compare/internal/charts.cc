// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/internal/charts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "quire/compare/internal/numbers.h"
#include "quire/compare/question.h"

namespace quire::compare::internal {
namespace {

using Json = nlohmann::ordered_json;

const char* unit_of(Pattern pattern) noexcept {
  switch (pattern) {
    case Pattern::kAppend: return "records per second";
    case Pattern::kRandomUpdate: return "updates per second";
    case Pattern::kRandomRead:
    case Pattern::kSkewedRead: return "reads per second";
    default: return "MiB per second";
  }
}

double rate_of(const Round& round, Pattern pattern) noexcept {
  return counts_operations(pattern) ? round.operations_per_s() : round.mib_per_s();
}

double median_rate_of(const Cell& cell) {
  return counts_operations(cell.pattern) ? cell.median_operations_per_s() : cell.median_mib_per_s();
}

// Every axis here may be switched to a logarithmic one.
bool can_be_drawn(double value) noexcept {
  return std::isfinite(value) && value > 0;
}

// The groups of one pattern, in order.
std::vector<Answers> answers_for(const Report& report, Pattern pattern) {
  std::vector<Answers> all = group_by_question(report.cells);
  std::erase_if(all, [pattern](const Answers& one) { return one.question.pattern != pattern; });
  return all;
}

// The labels of bars: every path, at every depth, that has a result somewhere in the pattern.
std::vector<std::string> labels_with_results(const std::vector<Answers>& answers) {
  std::vector<const Cell*> cells;
  for (const Answers& group : answers) {
    std::copy_if(group.cells.begin(), group.cells.end(), std::back_inserter(cells),
                 [](const Cell* cell) { return cell->has_result(); });
  }
  std::sort(cells.begin(), cells.end(), comes_before);
  std::vector<std::string> labels;
  for (const Cell* cell : cells) {
    if (std::find(labels.begin(), labels.end(), label_of(*cell)) == labels.end()) {
      labels.push_back(label_of(*cell));
    }
  }
  return labels;
}

std::string series_color(const Question& question) {
  return is_write(question.pattern)
             ? fmt::format("{}-{}", name_of(question.state), name_of(question.durability))
             : name_of(question.state);
}

// A bar for each path, a series for each question. `bar_of` gives the point without its x.
template <typename BarOf>
std::vector<ChartSeries> bar_series(const std::vector<Answers>& answers,
                                    const std::vector<std::string>& labels, BarOf&& bar_of) {
  std::vector<ChartSeries> all;
  for (const Answers& group : answers) {
    ChartSeries series{.name = conditions_of(group.question),
                       .color = series_color(group.question),
                       .is_heavy = group.question.exceeds_memory,
                       .points = {}};
    for (const Cell* cell : group.cells) {
      std::optional<ChartPoint> bar = bar_of(*cell);
      if (bar && can_be_drawn(bar->y)) {
        const auto at = std::find(labels.begin(), labels.end(), label_of(*cell));
        bar->x = static_cast<double>(at - labels.begin());
        series.points.push_back(*bar);
      }
    }
    if (!series.points.empty()) {
      all.push_back(std::move(series));
    }
  }
  return all;
}

std::optional<ChartPoint> rate_bar(const Cell& cell) {
  if (!cell.has_result()) {
    return std::nullopt;
  }
  const double median = median_rate_of(cell);
  ChartPoint bar{.x = 0, .y = median, .low = median, .high = median};
  for (const Round& round : cell.rounds) {
    bar.low = std::min(bar.low, rate_of(round, cell.pattern));
    bar.high = std::max(bar.high, rate_of(round, cell.pattern));
  }
  return bar;
}

std::optional<ChartPoint> cpu_bar(const Cell& cell) {
  const std::optional<double> cost = cell.cpu_s_per_gib();
  return cost ? std::optional(ChartPoint{.x = 0, .y = *cost, .low = *cost, .high = *cost})
              : std::nullopt;
}

// A line for each path, a view for each question. `points_of` gives what a cell has to show.
template <typename PointsOf>
std::vector<ChartView> line_views(const std::vector<Answers>& answers, PointsOf&& points_of) {
  std::vector<ChartView> views;
  for (const Answers& group : answers) {
    ChartView view{.name = conditions_of(group.question), .series = {}};
    for (const Cell* cell : group.cells) {
      std::vector<ChartPoint> points = points_of(*cell);
      std::erase_if(points, [](const ChartPoint& point) { return !can_be_drawn(point.y); });
      if (!points.empty()) {
        view.series.push_back({.name = label_of(*cell),
                               .color = name_of(cell->path),
                               .is_heavy = false,
                               .points = std::move(points)});
      }
    }
    if (!view.series.empty()) {
      views.push_back(std::move(view));
    }
  }
  return views;
}

constexpr std::array<const char*, 5> kPercentileLabels{"p50", "p90", "p99", "p99.9", "max"};

std::vector<ChartPoint> percentile_points(const Cell& cell) {
  const std::optional<Latency> latency = cell.latency();
  if (!latency) {
    return {};
  }
  const std::array<double, kPercentileLabels.size()> values{
      latency->p50_ns, latency->p90_ns, latency->p99_ns, latency->p999_ns, latency->max_ns};
  std::vector<ChartPoint> points;
  for (std::size_t index = 0; index < values.size(); ++index) {
    const double value = values.at(index);
    points.push_back({.x = static_cast<double>(index), .y = value, .low = value, .high = value});
  }
  return points;
}

std::vector<ChartPoint> round_points(const Cell& cell) {
  std::vector<ChartPoint> points;
  for (const Round& round : cell.rounds) {
    const double rate = rate_of(round, cell.pattern);
    points.push_back({.x = round.start_s, .y = rate, .low = rate, .high = rate});
  }
  return points;
}

Chart throughput_chart(const std::vector<Answers>& answers, Pattern pattern) {
  std::vector<std::string> labels = labels_with_results(answers);
  std::vector<ChartSeries> series = bar_series(answers, labels, rate_bar);
  return {.id = fmt::format("throughput-{}", name_of(pattern)),
          .kind = "bars",
          .title = "Throughput",
          .caption =
              "More is better. Bars: the median of the rounds; whiskers: the slowest and the "
              "fastest round.",
          .unit = unit_of(pattern),
          .labels = std::move(labels),
          .views = {{.name = "", .series = std::move(series)}}};
}

Chart cpu_chart(const std::vector<Answers>& answers, Pattern pattern) {
  std::vector<std::string> labels = labels_with_results(answers);
  std::vector<ChartSeries> series = bar_series(answers, labels, cpu_bar);
  return {.id = fmt::format("cpu-{}", name_of(pattern)),
          .kind = "bars",
          .title = "CPU cost",
          .caption = "Less is better. User and system time of all rounds for each GiB moved.",
          .unit = "CPU seconds per GiB",
          .labels = std::move(labels),
          .views = {{.name = "", .series = std::move(series)}}};
}

Chart latency_chart(const std::vector<Answers>& answers, Pattern pattern) {
  return {.id = fmt::format("latency-{}", name_of(pattern)),
          .kind = "percentiles",
          .title = "Latency of one operation",
          .caption =
              "Lower is better. How long the slowest operations took: p99 is what one in a "
              "hundred exceeds. Both axes are logarithmic.",
          .unit = "time",
          .labels = {kPercentileLabels.begin(), kPercentileLabels.end()},
          .views = line_views(answers, percentile_points)};
}

Chart timeline_chart(const std::vector<Answers>& answers, Pattern pattern) {
  return {.id = fmt::format("timeline-{}", name_of(pattern)),
          .kind = "timeline",
          .title = "Throughput over time",
          .caption =
              "One point for each round, when it began. Paths take turns, so a disk that "
              "changes its mind changes it for all of them.",
          .unit = unit_of(pattern),
          .labels = {},
          .views = line_views(answers, round_points)};
}

bool is_empty(const Chart& chart) {
  return chart.views.empty() || chart.views.front().series.empty();
}

std::string figure_series_name(const ArticleFigure& figure) {
  switch (figure.durability) {
    case DurabilityChoice::kNone: return figure.target + ", not flushed";
    case DurabilityChoice::kAtEnd: return figure.target + ", flushed at the end";
    case DurabilityChoice::kEachOperation: break;
  }
  return figure.target + ", each write flushed";
}

// The articles' three bars, each with its own label.
Chart articles_way_chart(const Report& report) {
  Chart chart{.id = "articles-way",
              .kind = "bars",
              .title = "The articles' way",
              .caption = "Three bars that look comparable. The next chart shows why they are not.",
              .unit = "MiB per second",
              .labels = {},
              .views = {{.name = "", .series = {}}}};
  ChartSeries series{.name = "measured", .color = "cold", .is_heavy = false, .points = {}};
  for (const ArticleFigure& figure : report.articles_way) {
    if (can_be_drawn(figure.mib_per_s)) {
      series.points.push_back({.x = static_cast<double>(chart.labels.size()),
                               .y = figure.mib_per_s,
                               .low = figure.mib_per_s,
                               .high = figure.mib_per_s});
      chart.labels.push_back(
          fmt::format("{}, {} at a time", figure.target, size_text(figure.block_bytes)));
    }
  }
  if (!series.points.empty()) {
    chart.views.front().series.push_back(std::move(series));
  }
  return chart;
}

Chart articles_matrix_chart(const Report& report) {
  ChartView view{.name = "", .series = {}};
  for (const ArticleFigure& figure : report.articles_matrix) {
    if (!can_be_drawn(figure.mib_per_s) || figure.block_bytes == 0) {
      continue;
    }
    const std::string name = figure_series_name(figure);
    auto series = std::find_if(view.series.begin(), view.series.end(),
                               [&](const ChartSeries& known) { return known.name == name; });
    if (series == view.series.end()) {
      const std::string color = fmt::format("{}-{}", figure.target, name_of(figure.durability));
      series = view.series.insert(series,
                                  {.name = name, .color = color, .is_heavy = false, .points = {}});
    }
    series->points.push_back({.x = static_cast<double>(figure.block_bytes),
                              .y = figure.mib_per_s,
                              .low = figure.mib_per_s,
                              .high = figure.mib_per_s});
  }
  for (ChartSeries& series : view.series) {
    std::sort(series.points.begin(), series.points.end(),
              [](const ChartPoint& left, const ChartPoint& right) { return left.x < right.x; });
  }
  return {.id = "articles-matrix",
          .kind = "sizes",
          .title = "Block size, target and durability",
          .caption =
              "More is better. The same bytes, moved in pieces of each size. Both axes are "
              "logarithmic.",
          .unit = "MiB per second",
          .labels = {},
          .views = {std::move(view)}};
}

Json series_json(const ChartSeries& series) {
  Json points = Json::array();
  for (const ChartPoint& point : series.points) {
    points.push_back({point.x, point.y, point.low, point.high});
  }
  return {{"name", series.name},
          {"color", series.color},
          {"is_heavy", series.is_heavy},
          {"points", std::move(points)}};
}

}  // namespace

std::vector<Chart> charts_of(const Report& report, Pattern pattern) {
  const std::vector<Answers> answers = answers_for(report, pattern);
  std::vector<Chart> charts{throughput_chart(answers, pattern), cpu_chart(answers, pattern),
                            latency_chart(answers, pattern), timeline_chart(answers, pattern)};
  std::erase_if(charts, is_empty);
  return charts;
}

std::vector<Chart> article_charts(const Report& report) {
  std::vector<Chart> charts{articles_way_chart(report), articles_matrix_chart(report)};
  std::erase_if(charts, is_empty);
  return charts;
}

Json charts_json(const std::vector<Chart>& charts) {
  Json list = Json::array();
  for (const Chart& chart : charts) {
    Json views = Json::array();
    for (const ChartView& view : chart.views) {
      Json series = Json::array();
      for (const ChartSeries& one : view.series) {
        series.push_back(series_json(one));
      }
      views.push_back({{"name", view.name}, {"series", std::move(series)}});
    }
    list.push_back({{"id", chart.id},
                    {"kind", chart.kind},
                    {"title", chart.title},
                    {"unit", chart.unit},
                    {"labels", chart.labels},
                    {"views", std::move(views)}});
  }
  return list;
}

}  // namespace quire::compare::internal
