// SPDX-License-Identifier: Apache-2.0
//
// simulated_articles: the source articles' experiment on a simulated disk, and its arithmetic.
//
//   unbuffered   each write is a request to the disk
//   file         each write is a write() into the page cache
//   mapping      each write is a store
//   memory       each write is a store, and there is no disk
//
// Their three figures, a byte at a time and each target with whatever durability it happens to
// have; then the matrix of block size, target and durability that explains them; then what it comes
// to in a few sentences: a byte that must be on a hard disk before the next costs a turn of the
// platter.
//
// Thread-safety: pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "quire/compare/report.h"
#include "quire/compare/simulated.h"

namespace quire::compare::internal {

struct SimulatedArticles {
  std::vector<ArticleFigure> way;
  std::vector<ArticleFigure> matrix;
};

[[nodiscard]] SimulatedArticles simulate_articles(const SimulatedOptions& options,
                                                  std::uint64_t file_bytes);

// The experiment's ends and a random read, each in a sentence with its arithmetic.
[[nodiscard]] std::vector<std::string> explain_model(const SimulatedOptions& options,
                                                     std::uint64_t file_bytes);

// What the model says about itself, each with what follows from it.
[[nodiscard]] std::vector<Fact> describe_model(const SimulatedOptions& options);

}  // namespace quire::compare::internal
