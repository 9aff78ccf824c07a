// SPDX-License-Identifier: Apache-2.0
//
// bar: where in a file its resident pages are, as a row of characters.
//
//   |####..  :##    |     each cell is an equal slice of the file; its height (or weight, in ASCII)
//    ^start      end^     is the share of the slice that is resident
//
// Invariants:    a cell is blank only when nothing of its slice is resident, and full only when all
//                of it is: one page in a gigabyte still shows.
// Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "quire/cli/text.h"

namespace quire::cli {

// One character per share (0.0 to 1.0), between the two ends of the bar.
[[nodiscard]] std::string render_bar(std::span<const double> shares, Charset charset);

// The same outline around the word for "the kernel will not tell".
[[nodiscard]] std::string render_unknown_bar(std::size_t cells, Charset charset);

// An outline around nothing: an empty file.
[[nodiscard]] std::string render_empty_bar(std::size_t cells, Charset charset);

// `shares` stretched or squeezed to exactly `cells`: a file of three bytes has at most three.
[[nodiscard]] std::vector<double> resample(std::span<const double> shares, std::size_t cells);

}  // namespace quire::cli
