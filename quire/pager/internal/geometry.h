// SPDX-License-Identifier: Apache-2.0
//
// geometry: how a pager divides its memory, worked out once from PagerOptions.
//
//   |<------------------------------ memory_bytes ------------------------------>|
//   | pages ............................. | metadata | demand | windows | held   |
//                                                    |<-- buffers: <= 1/2 ------>|
//
//   demand   one for each fault that is served at the same time: up to 64 KiB
//   windows  read-ahead, prefetch and write-back: a window each
//   held     first granules of windows that wait for their reader (tripwires)
//
// Invariants:    every size is a multiple of the granule; buffer_bytes() <= memory_bytes / 2.
// Thread-safety: a plain value.
#pragma once

#include <cstdint>

#include "quire/base/result.h"
#include "quire/base/units.h"
#include "quire/pager/pager_options.h"

namespace quire::internal {

struct Geometry {
  PageSize granule{4096};
  std::uint64_t memory_bytes = 0;
  std::uint64_t demand_slot_bytes = 0;
  std::uint32_t demand_slots = 0;
  std::uint64_t window_bytes = 0;
  std::uint32_t window_slots = 0;
  std::uint32_t held_slots = 0;
  std::uint64_t low_bytes = 0;   // Free credits below which room is made ahead of time ...
  std::uint64_t high_bytes = 0;  // ... up to this.
  std::uint64_t dirty_start_bytes = 0;
  std::uint64_t dirty_max_bytes = 0;
  std::uint64_t leaf_bytes = 0;      // Charged for each leaf of a granule table in use.
  std::uint64_t metadata_bytes = 0;  // Above this leaves are given back as soon as they are empty.

  // Errors: kOutOfRange, naming the option and its range.
  [[nodiscard]] static Result<Geometry> make(const PagerOptions& options);

  [[nodiscard]] std::uint64_t buffer_bytes() const noexcept {
    return demand_slots * demand_slot_bytes + window_slots * window_bytes +
           held_slots * granule.bytes();
  }
  [[nodiscard]] std::uint32_t granules_in(std::uint64_t bytes) const noexcept {
    return static_cast<std::uint32_t>(bytes >> granule.shift());
  }
};

}  // namespace quire::internal
