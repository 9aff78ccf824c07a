// SPDX-License-Identifier: Apache-2.0
//
// charts: what the HTML report draws, as values: the script only knows how to draw the kinds below,
// so what is drawn is decided, and tested, here.
//
//   kind         one axis                           the other
//   bars         a label per path                   the median; whiskers: slowest, fastest round
//   percentiles  p50 p90 p99 p99.9 max              nanoseconds, logarithmic
//   timeline     seconds since the run began        the rate of each round
//   sizes        bytes of a block, logarithmic      MiB/s, logarithmic
//
// A chart has one view for each question, of which one is shown at a time; bars have a single view
// with a series for each question.
//
// Invariants:    every chart has a view, every view a series, every series a point; every number is
//                finite, and positive where its axis is logarithmic.
// Thread-safety: pure functions.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "quire/compare/report.h"

namespace quire::compare::internal {

struct ChartPoint {
  double x = 0;  // Of bars and percentiles: the index of the label.
  double y = 0;
  double low = 0;  // Of bars: the whisker. Elsewhere y.
  double high = 0;
};

struct ChartSeries {
  std::string name;
  std::string color;      // Name of a path, or of a state: the script has the palette.
  bool is_heavy = false;  // What exceeds memory is drawn hatched.
  std::vector<ChartPoint> points;
};

struct ChartView {
  std::string name;  // Conditions of the question.
  std::vector<ChartSeries> series;
};

struct Chart {
  std::string id;  // "throughput-random_read": unique in a page.
  const char* kind = "";
  std::string title;
  std::string caption;  // How to read it.
  std::string unit;     // Title of the axis of values.
  std::vector<std::string> labels;
  std::vector<ChartView> views;
};

// The charts of one pattern that have something to show: throughput, cpu, latency, timeline.
[[nodiscard]] std::vector<Chart> charts_of(const Report& report, Pattern pattern);
// Those of --articles.
[[nodiscard]] std::vector<Chart> article_charts(const Report& report);

[[nodiscard]] nlohmann::ordered_json charts_json(const std::vector<Chart>& charts);

}  // namespace quire::compare::internal
