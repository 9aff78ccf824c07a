// SPDX-License-Identifier: Apache-2.0
//
// dirty_runs: from granules that are to be written to the fewest, largest requests: sorted by
// place, neighbours joined, cut where a request would exceed its limit.
//
//   granules  9 3 4 20 5 21   -->   3..5   9   20..21
//
// Thread-safety: pure functions over the caller's memory; they allocate nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace quire {

struct GranuleRun {
  std::uint64_t first = 0;
  std::uint64_t count = 0;

  friend constexpr bool operator==(const GranuleRun&, const GranuleRun&) = default;
};

// Sorts `granules` in place and fills `runs`; returns how many runs. A granule that is named twice
// counts once. REQUIRES: runs.size() >= granules.size(); count_max > 0.
std::size_t make_runs(std::span<std::uint64_t> granules, std::uint64_t count_max,
                      std::span<GranuleRun> runs) noexcept;

}  // namespace quire
