// SPDX-License-Identifier: Apache-2.0
//
// articles: the source articles' experiment (small writes to a file, a mapping and memory), and the
// matrix that explains its figures.
//
//   the articles' way   one byte at a time, nothing flushed:   file | mapping | memory
//   the matrix          block size x target x durability:      file, gathered, mapping,
//                                                               unbuffered, memory
//
// The articles' three figures (16.55, 63.04 and 125.02 MB/s) compare a system call per write with a
// store per write, and durability of three kinds: none of them is the speed of a disk. Each figure
// here is a cell of the append pattern with a block size of its own, measured as any other cell is.
//
//   file        one write() per block          gathered    RecordWriter
//   mapping     stores into a mapping          unbuffered  O_DIRECT, where the block allows it
//
// Thread-safety: pure functions.
#pragma once

#include <string>
#include <vector>

#include "quire/compare/options.h"
#include "quire/compare/plan.h"
#include "quire/compare/report.h"

namespace quire::compare {

// The cells of the whole matrix; the articles' way is some of them.
[[nodiscard]] std::vector<Cell> plan_article_cells(const CompareOptions& options,
                                                   const Possibilities& possible);

// Moves what was measured into the report's figures and remarks. A cell without a result becomes a
// remark.
void report_articles(const std::vector<Cell>& cells, Report& report);

}  // namespace quire::compare
