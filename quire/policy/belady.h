// SPDX-License-Identifier: Apache-2.0
//
// belady: the fewest misses that any replacement could have had, known afterwards: what goes is the
// page whose next use is the furthest away. No policy can be better; how far one is from it is what
// there is still to win.
//
//   accesses   a b c a b d a ...         room for 3; at d, c is never used again: it goes
//              next use of a: 3, 6, ...
//
// It needs the future, so it stands beside Replacement and not behind it: the input is a whole
// sequence of accesses, the output what became of them.
//
// Source:        Belady, "A study of replacement algorithms for a virtual-storage computer", IBM
//                Systems Journal 5(2), 1966: MIN. No deviation: every missed page is brought in, as
//                a pager must. Among pages that are never used again, any is as good.
// Invariants:    hits + misses = accesses; misses - evictions = pages in memory at the end.
// Thread-safety: a pure function.
// Cost:          O(n log n) time; 4 bytes an access, 5 a page of the span, and about 50 a page of
//                memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "quire/policy/trace_source.h"

namespace quire {

struct BeladyStats {
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
  std::uint64_t evictions = 0;
  std::uint64_t dirty_evictions = 0;  // Of pages that were stored to since they came in: writes.
  std::uint64_t dirty_at_end = 0;     // Still to be written.

  friend bool operator==(const BeladyStats&, const BeladyStats&) = default;
};

// REQUIRES: memory_pages > 0; every page < page_span; fewer than 2^32 - 1 accesses.
[[nodiscard]] BeladyStats belady(std::span<const PageAccess> accesses, std::uint32_t page_span,
                                 std::size_t memory_pages);

}  // namespace quire
