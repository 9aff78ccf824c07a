// SPDX-License-Identifier: Apache-2.0
//
// cache_simulation: a page cache without pages: what a replacement policy would do to a sequence of
// accesses, and what that would cost the device.
//
//                                 +-- watch(): used bit cleared -----+
//                                 v                                  |
//   absent --miss: read---> resident, unwatched ---------------> watched --access--> watched, used
//      ^                          |  hits leave no trace                                  |
//      '----- choose_victims() ---+--------------- written first when dirty --------------'
//
// It is the PageHost of the policy and shows it what a pager could: insertions, and for watched
// pages the used bit. A policy that is there to be compared with (LRU) is told of each hit instead
// (HitReports::kEach); Belady's optimum, which knows the future, is no policy: see belady.h.
//
// The device is counted, not timed: one read for each miss and for each window ahead; one write for
// each dirty page that goes, or is left at the end. There is no cleaner that writes ahead of time,
// so writes are the fewest that the policy allows.
//
// Read-ahead, when it is switched on, is the pager's: a StreamDetector sees misses and tripwires,
// and what it plans arrives as kReadAhead, at once. Pages that a recorded trace never accesses are
// read too when a window covers them, but take no room.
//
// Source:        none of its own; stream_detector.h and the policies name theirs.
// Invariants:    resident pages <= memory_pages, after each access; hits + misses == accesses.
// Thread-safety: one thread at a time.
// Cost:          a hit: one byte of memory. 5 bytes a page of the footprint, and the policy's own.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "quire/policy/replacement.h"
#include "quire/policy/stream_detector.h"
#include "quire/policy/trace_source.h"

namespace quire {

enum class HitReports : std::uint8_t { kNone, kEach };

struct SimulationOptions {
  std::uint32_t memory_pages = 0;          // That fit. REQUIRES: > 0.
  std::uint32_t read_ahead_pages_max = 0;  // Window of a stream; 0: no read-ahead.
  HitReports hits = HitReports::kNone;
};

struct SimulationStats {
  std::uint64_t accesses = 0;
  std::uint64_t stores = 0;
  std::uint64_t hits = 0;
  std::uint64_t misses = 0;
  std::uint64_t device_read_requests = 0;  // Misses, and windows ahead of readers.
  std::uint64_t device_read_pages = 0;
  std::uint64_t device_write_pages = 0;  // When they went, and those that are dirty at the end.
  std::uint64_t dirty_at_end = 0;
  std::uint64_t evictions = 0;
  std::uint64_t read_ahead_hits = 0;    // Pages read ahead that were used.
  std::uint64_t read_ahead_wasted = 0;  // Pages read ahead that went unused.
  std::uint64_t soft_faults = 0;        // First uses of watched pages: in a pager each one traps.
  std::uint64_t not_kept = 0;           // Misses for which the policy found no room.
  std::uint64_t ghost_hits = 0;
  std::uint64_t watched = 0;
  std::uint64_t policy_bytes = 0;  // What the policy holds.

  [[nodiscard]] double hit_ratio() const noexcept {
    return accesses == 0 ? 0 : static_cast<double>(hits) / static_cast<double>(accesses);
  }
};

class CacheSimulation final : private PageHost {
 public:
  using MakePolicy = std::function<std::unique_ptr<Replacement>(PageHost&)>;

  // `source` tells which pages are neighbours; it outlives this.
  CacheSimulation(const SimulationOptions& options, const AccessSource& source,
                  const MakePolicy& make_policy);
  CacheSimulation(const CacheSimulation&) = delete;
  CacheSimulation& operator=(const CacheSimulation&) = delete;

  // Continues with these. REQUIRES: they are the source's.
  void run(std::span<const PageAccess> accesses);
  // As of now.
  [[nodiscard]] SimulationStats stats() const;
  [[nodiscard]] bool is_resident(std::uint32_t page) const noexcept;
  // Walks everything: for tests.
  void check_invariants() const;

 private:
  [[nodiscard]] PageNote note(PageId page) const noexcept override;
  void set_note(PageId page, PageNote note) noexcept override;
  [[nodiscard]] Standing standing(PageId page) const noexcept override;
  void watch(std::span<const PageId> pages) noexcept override;
  void look(std::span<const PageId> pages, std::span<bool> used) noexcept override;

  // The first use since a page was watched, or read ahead.
  void first_use(std::uint32_t page);
  void miss(PageAccess access);
  void read_ahead(const FillPlan& plan);
  // Returns how many pages were read.
  std::uint64_t read_window(GranuleSpan window, std::uint64_t tripwire);
  void bring_in(std::uint32_t page, Arrival arrival);
  // False: the policy could not part with anything.
  [[nodiscard]] bool make_room();
  void evict(std::uint32_t page) noexcept;

  SimulationOptions options_;
  const AccessSource& source_;
  std::vector<std::uint8_t> bits_;
  std::vector<PageNote> notes_;
  std::optional<StreamDetector> detector_;
  std::uint32_t resident_ = 0;
  SimulationStats stats_;
  std::unique_ptr<Replacement> policy_;  // Last: it may ask its host while it is made.
};

}  // namespace quire
