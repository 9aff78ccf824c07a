// SPDX-License-Identifier: Apache-2.0
//
// html_report: a Report as one HTML file that needs nothing else: styles, script, the charting
// package (Chart.js, MIT licence, from Debian's libjs-chart.js at build time) and the data are in
// it. It opens from a disk without a network, and its own policy forbids it to ask for anything.
//
//   title, machine, what bends the numbers
//   verdicts: one sentence each, with the code that gets it
//   for each pattern: throughput, latency, throughput over time, CPU cost; the same as a table
//   --articles, when it was asked for
//   every cell in a table that sorts; what failed; how it was measured; the JSON to save
//
// Safety:        names of files and texts of errors are data: nothing in them can become markup or
//                script. Bytes that are not UTF-8 become U+FFFD.
// Thread-safety: a pure function. Cost: a few hundred KiB, most of it the charting package.
#pragma once

#include <string>

#include "quire/compare/report.h"

namespace quire::compare {

[[nodiscard]] std::string html_report(const Report& report);

}  // namespace quire::compare
