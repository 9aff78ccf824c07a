// SPDX-License-Identifier: Apache-2.0
//
// PagerCore: what the areas of one pager share, made when the first area is.
//
// Order of life: the service thread ends first; every area is shut down before (each holds its core
// by shared_ptr).
//
// Thread-safety: the parts say; the members are set by make() and never change.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "quire/base/result.h"
#include "quire/cache/credits.h"
#include "quire/cache/slot_pool.h"
#include "quire/journal/update.h"
#include "quire/pager/internal/counters.h"
#include "quire/pager/internal/evictor.h"
#include "quire/pager/internal/filler.h"
#include "quire/pager/internal/geometry.h"
#include "quire/pager/internal/guardian.h"
#include "quire/pager/internal/held_granules.h"
#include "quire/pager/internal/recorder.h"
#include "quire/pager/internal/wake_point.h"
#include "quire/pager/pager_options.h"

namespace quire::internal {

class Service;

class PagerCore {
 public:
  // Errors: kOutOfRange for options; ENOMEM; of the service thread.
  [[nodiscard]] static Result<std::shared_ptr<PagerCore>> make(const PagerOptions& options);
  ~PagerCore();
  PagerCore(const PagerCore&) = delete;
  PagerCore& operator=(const PagerCore&) = delete;

  [[nodiscard]] std::uint64_t dirty_bytes() const noexcept {
    return dirty_granules.load(std::memory_order_relaxed) << geometry.granule.shift();
  }
  [[nodiscard]] PagerStats stats();
  void check_invariants();

  const PagerOptions options;
  const Geometry geometry;
  Credits credits;
  PagerCounters counters;
  std::unique_ptr<SlotPool> demand;   // Buffers of faults.
  std::unique_ptr<SlotPool> windows;  // Of the service thread.
  HeldGranules held;
  Recorder recorder;
  Evictor evictor;
  Filler filler;
  WakePoint written;                               // Write-back got further.
  std::atomic<std::uint64_t> dirty_granules{0};    // Of all areas: kDirty and kWriting.
  std::atomic<std::uint64_t> dirty_start_bytes;    // Write-back begins ...
  std::atomic<std::uint64_t> dirty_max_bytes;      // ... and stores wait: see WritePace.
  std::atomic<bool> is_write_back_failing{false};  // The last write failed ...
  std::atomic<int> write_back_errno{0};            // ... with this.
  std::atomic<std::uint32_t> areas{0};
  Guardian guardian;   // Of areas whose stores survive a kill.
  UpdateGate updates;  // Of all atomic areas: what a cut of any of them must not come in between.
  std::unique_ptr<Service> service;

 private:
  PagerCore(const PagerOptions& chosen, const Geometry& worked_out);
};

}  // namespace quire::internal
