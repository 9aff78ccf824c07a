// SPDX-License-Identifier: Apache-2.0
#include "quire/cache/dirty_runs.h"

#include <algorithm>

#include "quire/base/check.h"

namespace quire {

std::size_t make_runs(std::span<std::uint64_t> granules, std::uint64_t count_max,
                      std::span<GranuleRun> runs) noexcept {
  QUIRE_CHECK_GT(count_max, 0U);
  QUIRE_CHECK_GE(runs.size(), granules.size());
  std::sort(granules.begin(), granules.end());
  std::size_t run_count = 0;
  for (std::size_t i = 0; i < granules.size(); ++i) {
    const std::uint64_t granule = granules[i];
    if (i > 0 && granules[i - 1] == granule) {
      continue;
    }
    GranuleRun* last = run_count == 0 ? nullptr : &runs[run_count - 1];
    if (last != nullptr && granule - last->first == last->count && last->count < count_max) {
      ++last->count;
    } else {
      runs[run_count++] = {.first = granule, .count = 1};
    }
  }
  return run_count;
}

}  // namespace quire
