// SPDX-License-Identifier: Apache-2.0
//
// text_report: a Report as lines for a terminal.
//
//   random 4 KiB reads, cold, 1 GiB in 256 MiB of memory
//     path                      reads/s     of best  spread     p50      p99  CPU s/GiB  ...
//     direct, queued (32)        50,700        100 %   1.2 %  590 us  1.10 ms      0.310
//     read/write, small blocks    7,930         16 %   4.0 %  120 us   400 us      0.520
//     mmap, as it comes             540  ?     1.1 %   9.0 %  1.9 ms  7.40 ms      0.670
//     => direct I/O at depth 32 is 6.4 times as fast as pread() (50,700 reads/s against 7,930 ...
//
// On a narrow terminal the least important columns go; nothing is cut, long sentences are wrapped.
// What the marks after a rate mean is said below the tables, for those that occur
// (internal/answer_table.h). A question that was not reached has no table, only its verdict.
//
// The lines are spans of ASCII text with a meaning; the command makes them safe (file names are
// bytes) and colours them.
//
// Thread-safety: a pure function. Cost: proportional to the cells.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "quire/compare/report.h"

namespace quire::compare {

enum class Emphasis : std::uint8_t { kPlain, kStrong, kDim, kGood, kWarning, kBad, kAccent };

struct TextSpan {
  Emphasis emphasis = Emphasis::kPlain;
  std::string text;
};
using TextLine = std::vector<TextSpan>;

struct TextOptions {
  std::size_t columns = 100;
  bool with_code = false;  // The lines of code under each verdict.
};

// All of it: what was compared, a table and a verdict for each question, --articles, remarks.
[[nodiscard]] std::vector<TextLine> text_report(const Report& report,
                                                const TextOptions& options = {});

// The text of a line without its emphasis.
[[nodiscard]] std::string plain(const TextLine& line);

}  // namespace quire::compare
