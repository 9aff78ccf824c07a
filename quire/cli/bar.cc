// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/bar.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace quire::cli {
namespace {

constexpr std::array<std::string_view, 9> kBlocks{" ",      "\u2581", "\u2582", "\u2583", "\u2584",
                                                  "\u2585", "\u2586", "\u2587", "\u2588"};
constexpr std::array<std::string_view, 5> kAsciiBlocks{" ", ".", ":", "+", "#"};

// 0 for nothing, the last level for all, one of those between for anything between.
template <std::size_t kLevels>
std::string_view block_of(double share, const std::array<std::string_view, kLevels>& blocks) {
  if (!(share > 0)) {
    return blocks.front();
  }
  if (share >= 1) {
    return blocks.back();
  }
  const auto level = static_cast<std::size_t>(share * static_cast<double>(kLevels - 1));
  return blocks.at(std::clamp<std::size_t>(level, 1, kLevels - 2));
}

std::string outlined(std::string_view inside, Charset charset) {
  const bool is_utf8 = charset == Charset::kUtf8;
  std::string bar(is_utf8 ? "\u2595" : "|");
  bar += inside;
  bar += is_utf8 ? "\u258f" : "|";
  return bar;
}

std::string centred(std::string_view text, std::size_t cells) {
  const std::string_view shown = text.substr(0, cells);
  return pad_right(std::string((cells - shown.size()) / 2, ' ') + std::string(shown), cells);
}

}  // namespace

std::string render_bar(std::span<const double> shares, Charset charset) {
  std::string inside;
  for (const double share : shares) {
    inside += charset == Charset::kUtf8 ? block_of(share, kBlocks) : block_of(share, kAsciiBlocks);
  }
  return outlined(inside, charset);
}

std::string render_unknown_bar(std::size_t cells, Charset charset) {
  return outlined(centred("unknown", cells), charset);
}

std::string render_empty_bar(std::size_t cells, Charset charset) {
  return outlined(centred("empty", cells), charset);
}

std::vector<double> resample(std::span<const double> shares, std::size_t cells) {
  std::vector<double> stretched(cells, 0.0);
  if (shares.empty() || cells == 0) {
    return stretched;
  }
  // Cell boundaries in units of 1 / (cells * shares): whole numbers, so nothing is lost to
  // rounding.
  for (std::size_t cell = 0; cell < cells; ++cell) {
    const std::size_t begin = cell * shares.size();
    const std::size_t end = begin + shares.size();
    double sum = 0;
    for (std::size_t at = begin; at < end;) {
      const std::size_t source = at / cells;
      const std::size_t until = std::min(end, (source + 1) * cells);
      sum += shares[source] * static_cast<double>(until - at);
      at = until;
    }
    stretched[cell] = std::min(1.0, sum / static_cast<double>(shares.size()));
  }
  return stretched;
}

}  // namespace quire::cli
