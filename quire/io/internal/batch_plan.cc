// SPDX-License-Identifier: Apache-2.0
#include "quire/io/internal/batch_plan.h"

#include <algorithm>

#include "quire/base/check.h"

namespace quire::internal {

void sort_ranges(std::span<const ReadRange> ranges, std::vector<RangeKey>& keys) {
  keys.clear();
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    if (!ranges[i].into.empty()) {
      keys.push_back({.offset_bytes = ranges[i].offset_bytes, .index = std::uint32_t(i)});
    }
  }
  std::sort(keys.begin(), keys.end(),
            [](const RangeKey& a, const RangeKey& b) { return a.offset_bytes < b.offset_bytes; });
}

void coalesce(std::span<const ReadRange> ranges, std::span<const RangeKey> keys, std::size_t first,
              const CoalesceLimits& limits, std::vector<PlannedRequest>& requests) {
  for (std::size_t i = first; i < keys.size(); ++i) {
    const std::uint64_t start_bytes = keys[i].offset_bytes;
    const std::uint64_t length_bytes = ranges[keys[i].index].into.size();
    if (i > first) {
      PlannedRequest& last = requests.back();
      const std::uint64_t reach_bytes = start_bytes - last.offset_bytes;  // Keys ascend.
      const std::uint64_t joined_bytes = std::max(last.length_bytes, reach_bytes + length_bytes);
      const bool is_near = reach_bytes <= last.length_bytes ||
                           reach_bytes - last.length_bytes <= limits.gap_bytes_max;
      if (is_near && joined_bytes <= limits.request_bytes_max) {
        last.length_bytes = joined_bytes;
        ++last.count;
        continue;
      }
    }
    requests.push_back(
        {.offset_bytes = start_bytes, .length_bytes = length_bytes, .first = i, .count = 1});
  }
}

std::uint64_t share_of(const PlannedRequest& request, std::uint64_t done_bytes,
                       const ReadRange& range) noexcept {
  const std::uint64_t before_bytes = range.offset_bytes - request.offset_bytes;
  QUIRE_DCHECK(range.offset_bytes >= request.offset_bytes);
  return done_bytes <= before_bytes
             ? 0
             : std::min<std::uint64_t>(range.into.size(), done_bytes - before_bytes);
}

}  // namespace quire::internal
