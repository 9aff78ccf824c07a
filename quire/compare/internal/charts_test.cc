// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/internal/charts.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "quire/compare/report_samples.h"

namespace quire::compare::internal {
namespace {

std::vector<std::string> ids_of(const std::vector<Chart>& charts) {
  std::vector<std::string> ids;
  for (const Chart& chart : charts) {
    ids.push_back(chart.id);
  }
  return ids;
}

std::vector<Chart> all_charts(const Report& report) {
  std::vector<Chart> all = article_charts(report);
  for (int pattern = 0; pattern < kPatternCount; ++pattern) {
    for (Chart& chart : charts_of(report, static_cast<Pattern>(pattern))) {
      all.push_back(std::move(chart));
    }
  }
  return all;
}

TEST(ChartsTest, EachPatternHasTheChartsItHasNumbersFor) {
  const Report report = full_sample();
  EXPECT_EQ(ids_of(charts_of(report, Pattern::kSequentialRead)),
            (std::vector<std::string>{"throughput-sequential_read", "cpu-sequential_read",
                                      "timeline-sequential_read"}));
  EXPECT_EQ(ids_of(charts_of(report, Pattern::kRandomRead)),
            (std::vector<std::string>{"throughput-random_read", "cpu-random_read",
                                      "latency-random_read", "timeline-random_read"}));
  EXPECT_EQ(ids_of(article_charts(articles_sample())),
            (std::vector<std::string>{"articles-way", "articles-matrix"}));
}

TEST(ChartsTest, WhatHasNoResultHasNoChart) {
  EXPECT_TRUE(all_charts(empty_sample()).empty());
  EXPECT_TRUE(all_charts(sample_report({})).empty());
}

TEST(ChartsTest, BarsHaveTheMedianAndTheSlowestAndFastestRound) {
  const Cell cell = sample_cell({.pattern = Pattern::kSequentialRead, .mib_per_s = 100});
  const Chart chart = charts_of(sample_report({cell}), Pattern::kSequentialRead).front();
  ASSERT_EQ(chart.views.size(), 1U);
  ASSERT_EQ(chart.views[0].series.size(), 1U);
  const ChartPoint bar = chart.views[0].series[0].points.at(0);
  EXPECT_EQ(chart.labels, std::vector<std::string>{"read/write, small blocks"});
  EXPECT_EQ(chart.unit, "MiB per second");
  EXPECT_DOUBLE_EQ(bar.y, cell.median_mib_per_s());
  EXPECT_DOUBLE_EQ(bar.low, cell.rounds.front().mib_per_s());
  EXPECT_DOUBLE_EQ(bar.high, cell.rounds.back().mib_per_s());
}

TEST(ChartsTest, PatternsOfOperationsAreDrawnInOperations) {
  const Cell cell = sample_cell({.mib_per_s = 100});
  const Chart chart = charts_of(sample_report({cell}), Pattern::kRandomRead).front();
  EXPECT_EQ(chart.unit, "reads per second");
  EXPECT_DOUBLE_EQ(chart.views[0].series[0].points[0].y, cell.median_operations_per_s());
}

TEST(ChartsTest, ASeriesOfBarsIsAQuestionAndItsBarsStandAtTheirLabels) {
  const Report report = sample_report(
      {sample_cell({.path = Path::kDirect}), sample_cell({.path = Path::kReadWriteSmall}),
       sample_cell({.path = Path::kDirect, .state = State::kWarm, .exceeds_memory = true})});
  const Chart chart = charts_of(report, Pattern::kRandomRead).front();
  EXPECT_EQ(chart.labels,
            (std::vector<std::string>{"read/write, small blocks", "direct, one at a time"}));
  const std::vector<ChartSeries>& series = chart.views.at(0).series;
  ASSERT_EQ(series.size(), 2U);
  EXPECT_EQ(series[0].color, "cold");
  EXPECT_FALSE(series[0].is_heavy);
  EXPECT_EQ(series[1].color, "warm");
  EXPECT_TRUE(series[1].is_heavy);
  ASSERT_EQ(series[1].points.size(), 1U);
  EXPECT_EQ(series[1].points[0].x, 1);
}

TEST(ChartsTest, TwoDepthsOfOnePathHaveTwoLabels) {
  const Report report = sample_report({sample_cell({.path = Path::kDirectQueued, .depth = 8}),
                                       sample_cell({.path = Path::kDirectQueued, .depth = 64})});
  const Chart chart = charts_of(report, Pattern::kRandomRead).front();
  EXPECT_EQ(chart.labels, (std::vector<std::string>{"direct, queued (8)", "direct, queued (64)"}));
}

TEST(ChartsTest, LinesHaveAViewForEachQuestionThatHasSomethingToShow) {
  Cell without_latency = sample_cell({.state = State::kWarm});
  for (Round& round : without_latency.rounds) {
    round.latency.reset();
  }
  const std::vector<Chart> charts =
      charts_of(sample_report({sample_cell({}), without_latency}), Pattern::kRandomRead);
  ASSERT_EQ(charts.size(), 4U);
  EXPECT_EQ(charts[2].views.size(), 1U);  // Latency.
  EXPECT_EQ(charts[2].views[0].series[0].points.size(), charts[2].labels.size());
  EXPECT_EQ(charts[3].views.size(), 2U);  // Timeline.
  EXPECT_EQ(charts[3].views[0].series[0].points.size(), 5U);
}

// Goal: no axis meets a number that it cannot show.
TEST(ChartsTest, EveryPointOfEveryChartCanBeDrawn) {
  Report report = full_sample();
  report.cells[0].rounds[0].seconds = 0;
  report.cells[1].rounds[0].bytes = 0;
  report.cells[50].rounds[0].latency = Latency{};
  for (Cell& cell : report.cells) {
    if (cell.pattern == Pattern::kAppend) {
      for (Round& round : cell.rounds) {
        round.cpu_s = 0;
      }
    }
  }
  for (const Chart& chart : all_charts(report)) {
    EXPECT_FALSE(chart.views.empty()) << chart.id;
    for (const ChartView& view : chart.views) {
      EXPECT_FALSE(view.series.empty()) << chart.id;
      for (const ChartSeries& series : view.series) {
        EXPECT_FALSE(series.points.empty()) << chart.id;
        for (const ChartPoint& point : series.points) {
          EXPECT_TRUE(std::isfinite(point.y) && point.y > 0) << chart.id << ": " << point.y;
          EXPECT_TRUE(std::isfinite(point.low) && std::isfinite(point.high)) << chart.id;
        }
      }
    }
  }
}

TEST(ChartsTest, TheMatrixHasALineForEachTargetAndDurabilityInOrderOfSize) {
  Report report;
  for (const std::uint64_t block_bytes : {4096U, 1U, 64U}) {
    report.articles_matrix.push_back(
        {.target = "file", .block_bytes = block_bytes, .mib_per_s = 5});
    report.articles_matrix.push_back({.target = "file",
                                      .block_bytes = block_bytes,
                                      .durability = DurabilityChoice::kAtEnd,
                                      .mib_per_s = 2});
  }
  const std::vector<Chart> charts = article_charts(report);
  ASSERT_EQ(charts.size(), 1U);
  const std::vector<ChartSeries>& series = charts[0].views.at(0).series;
  ASSERT_EQ(series.size(), 2U);
  EXPECT_EQ(series[0].name, "file, not flushed");
  EXPECT_EQ(series[1].name, "file, flushed at the end");
  EXPECT_EQ(series[0].points[0].x, 1);
  EXPECT_EQ(series[0].points[2].x, 4096);
}

TEST(ChartsTest, TheScriptGetsWhatItDraws) {
  const auto json = charts_json(charts_of(full_sample(), Pattern::kRandomRead));
  ASSERT_EQ(json.size(), 4U);
  EXPECT_EQ(json[0]["kind"], "bars");
  EXPECT_EQ(json[0]["views"][0]["series"][0]["points"][0].size(), 4U);
  EXPECT_EQ(json[2]["kind"], "percentiles");
  EXPECT_EQ(json[2]["labels"].size(), 5U);
}

}  // namespace
}  // namespace quire::compare::internal
