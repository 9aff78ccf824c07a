// SPDX-License-Identifier: Apache-2.0
#include "quire/pager/internal/geometry.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <string>

#include "quire/base/page_window.h"
#include "quire/cache/granule_table.h"
#include "quire/sys/memory.h"

namespace quire::internal {
namespace {

// A device of today is busy with this many small reads at a time.
constexpr std::uint32_t kDemandSlotsMax = 64;
constexpr std::uint64_t kDemandSlotBytesMax = 64_KiB;
constexpr std::uint32_t kHeldSlotsMax = 32;
// Write-back has windows of its own, so that read-ahead cannot starve it.
constexpr std::uint32_t kWriteWindows = 4;
// Room made ahead of time: enough for the faults of some milliseconds.
constexpr std::uint64_t kRoomBytesMax = 8_MiB;

Error refuse_option(const std::string& option, const std::string& cause) {
  return make_error(Errc::kOutOfRange, "pager", option, cause);
}

Result<void> check(const PagerOptions& options) {
  const std::uint64_t page_bytes = sys::os_page_size().bytes();
  if (!std::has_single_bit(options.granule_bytes) || options.granule_bytes < page_bytes ||
      options.granule_bytes > PagerOptions::kGranuleBytesMax) {
    return fail(refuse_option(fmt::format("granule_bytes {}", options.granule_bytes),
                              fmt::format("a granule is a power of two, {} to {} bytes", page_bytes,
                                          PagerOptions::kGranuleBytesMax)));
  }
  const std::uint64_t least = std::max(PagerOptions::kMemoryBytesMin, 64 * options.granule_bytes);
  if (options.memory_bytes < least || options.memory_bytes > kMapLengthMax) {
    return fail(refuse_option(fmt::format("memory_bytes {}", options.memory_bytes),
                              fmt::format("with granules of {} it takes at least {}",
                                          human_bytes(options.granule_bytes), human_bytes(least))));
  }
  if (options.policy == PolicyKind::kLru) {
    return fail(refuse_option("policy lru", "a pager does not see hits; lru is for simulation"));
  }
  if (options.dirty_start_percent > options.dirty_max_percent || options.dirty_max_percent > 90 ||
      options.dirty_max_percent == 0) {
    return fail(refuse_option(fmt::format("dirty_start_percent {}, dirty_max_percent {}",
                                          options.dirty_start_percent, options.dirty_max_percent),
                              "dirty_start_percent <= dirty_max_percent, which is in 1 .. 90"));
  }
  if (options.read_ahead_windows > 64) {
    return fail(refuse_option(fmt::format("read_ahead_windows {}", options.read_ahead_windows),
                              "at most 64 windows are under way"));
  }
  return {};
}

std::uint64_t shared_out(std::uint64_t bytes, std::uint64_t least, std::uint64_t most) {
  return std::clamp(std::bit_floor(std::max<std::uint64_t>(bytes, 1)), least,
                    std::max(least, most));
}

}  // namespace

Result<Geometry> Geometry::make(const PagerOptions& options) {
  QUIRE_TRY(check(options));
  Geometry geometry;
  const std::uint64_t memory = options.memory_bytes;
  const std::uint64_t granule = options.granule_bytes;
  geometry.granule = PageSize(granule);
  geometry.memory_bytes = memory;
  geometry.demand_slot_bytes = shared_out(memory / 1024, granule, kDemandSlotBytesMax);
  geometry.demand_slots = static_cast<std::uint32_t>(
      std::clamp<std::uint64_t>(memory / 16 / geometry.demand_slot_bytes, 2, kDemandSlotsMax));
  geometry.window_slots = options.read_ahead_windows + kWriteWindows;
  geometry.window_bytes =
      shared_out(memory / 8 / geometry.window_slots, granule, options.read_ahead_bytes_max);
  geometry.held_slots = static_cast<std::uint32_t>(
      std::clamp<std::uint64_t>(memory / 64 / granule, 1, kHeldSlotsMax));
  geometry.low_bytes = std::clamp(memory / 64, 4 * granule, std::max(4 * granule, kRoomBytesMax));
  geometry.high_bytes = 2 * geometry.low_bytes;
  geometry.dirty_start_bytes = memory / 100 * options.dirty_start_percent;
  geometry.dirty_max_bytes = memory / 100 * options.dirty_max_percent;
  // A page of cells, and the page tables of the view that go with them: one page for each 2 MiB.
  const std::uint64_t page_bytes = sys::os_page_size().bytes();
  const std::uint64_t view_bytes = GranuleTable::kLeafGranules * granule;
  geometry.leaf_bytes = page_bytes + view_bytes / (512 * page_bytes) * page_bytes;
  geometry.metadata_bytes = memory / 8;
  QUIRE_CHECK_LE(geometry.buffer_bytes(), memory / 2);
  return geometry;
}

}  // namespace quire::internal
