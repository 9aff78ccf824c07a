// SPDX-License-Identifier: Apache-2.0
//
// offset_stream: which page is asked for next: uniformly, or with a few pages asked for most.
//
//   skewed:  rank  1  2  3  4 ...  n       asked for in proportion to 1 / rank^0.99
//            page  scattered over the file by a fixed permutation, as hot records are
//
// A round draws its pages before the clock starts, so that no path pays for drawing them and all
// paths of one round are asked for the same pages in the same order.
//
// Source:        Gray et al., "Quickly Generating Billion-Record Synthetic Databases" (SIGMOD 1994)
//                for drawing Zipf ranks; YCSB for the exponent 0.99 and the scattering. We scatter
//                by a permutation (a Feistel network, walked until it falls inside), where YCSB
//                hashes: no two ranks share a page.
// Invariants:    every page number is below page_count; the same seed gives the same pages.
// Thread-safety: one thread at a time.
// Cost:          of a Zipf drawer, making it: one power per page, a few milliseconds per million.
#pragma once

#include <cstdint>
#include <vector>

#include "quire/base/prng.h"

namespace quire::compare {

enum class Skew : std::uint8_t { kUniform, kZipf };

inline constexpr double kZipfExponent = 0.99;

// Ranks 0 .. count - 1, rank r in proportion to 1 / (r + 1)^kZipfExponent.
class ZipfRanks {
 public:
  // REQUIRES: count > 0.
  explicit ZipfRanks(std::uint64_t count);
  [[nodiscard]] std::uint64_t draw(Prng& prng) const noexcept;

 private:
  std::uint64_t count_;
  double zeta_;      // Sum of all weights.
  double exponent_;  // Of the inverse distribution's tail.
  double eta_;
};

// A one-to-one map of 0 .. count - 1 onto itself.
class Permutation {
 public:
  // REQUIRES: count > 0.
  Permutation(std::uint64_t count, std::uint64_t seed) noexcept;
  // REQUIRES: index < count.
  [[nodiscard]] std::uint64_t operator()(std::uint64_t index) const noexcept;

 private:
  [[nodiscard]] std::uint64_t scramble(std::uint64_t value) const noexcept;

  std::uint64_t count_;
  std::uint64_t seed_;
  int half_bits_;
};

struct OffsetRequest {
  std::uint64_t page_count = 0;  // Of the working set. REQUIRES: 0 < page_count < 2^32.
  Skew skew = Skew::kUniform;
  std::size_t draws = 0;
  std::uint64_t seed = 0;      // Which pages come, and when.
  std::uint64_t hot_seed = 0;  // Which pages are hot: the same in all rounds of a run.
};

[[nodiscard]] std::vector<std::uint32_t> draw_pages(const OffsetRequest& request);

}  // namespace quire::compare
