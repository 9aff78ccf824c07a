// SPDX-License-Identifier: Apache-2.0
//
// batch_plan: from many small ranges to fewer requests. Pure.
//
//   ranges, sorted      [a]  [b][c]                [d]
//   gap                    ^ <= gap max          ^ > gap max
//   requests            [a....b..c]                [d]
//
// Invariants:    every range lies in exactly one request; requests ascend; a request of several
//                ranges is at most request_bytes_max long.
// Thread-safety: plain values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "quire/io/batch_reader.h"

namespace quire::internal {

// A range of the caller's by its number, and where it starts: what is sorted.
struct RangeKey {
  std::uint64_t offset_bytes = 0;
  std::uint32_t index = 0;
};

struct PlannedRequest {
  std::uint64_t offset_bytes = 0;
  std::uint64_t length_bytes = 0;
  std::size_t first = 0;  // Of the keys it serves ...
  std::size_t count = 0;  // ... and how many.
};

// The keys of the ranges that are not empty, sorted by offset. Reuses `keys`.
void sort_ranges(std::span<const ReadRange> ranges, std::vector<RangeKey>& keys);

struct CoalesceLimits {
  std::uint64_t gap_bytes_max = 0;
  std::uint64_t request_bytes_max = 0;
};

// Adds requests for the keys from number `first` on; those before are not looked at.
// REQUIRES: `keys` ascend by offset from there on.
void coalesce(std::span<const ReadRange> ranges, std::span<const RangeKey> keys, std::size_t first,
              const CoalesceLimits& limits, std::vector<PlannedRequest>& requests);

// Of a read that gave `done_bytes` at `request`: the bytes of `range` that it has.
[[nodiscard]] std::uint64_t share_of(const PlannedRequest& request, std::uint64_t done_bytes,
                                     const ReadRange& range) noexcept;

}  // namespace quire::internal
