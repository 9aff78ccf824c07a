// SPDX-License-Identifier: Apache-2.0
#include "quire/pager/internal/pager_core.h"

#include "quire/base/check.h"
#include "quire/pager/internal/service.h"

namespace quire::internal {

PagerCore::PagerCore(const PagerOptions& chosen, const Geometry& worked_out)
    : options(chosen),
      geometry(worked_out),
      credits(worked_out.memory_bytes),
      evictor(*this),
      filler(*this),
      dirty_start_bytes(worked_out.dirty_start_bytes),
      dirty_max_bytes(worked_out.dirty_max_bytes),
      updates([](void* core) noexcept { static_cast<PagerCore*>(core)->service->wake(); }, this) {}

Result<std::shared_ptr<PagerCore>> PagerCore::make(const PagerOptions& options) {
  const Geometry geometry = QUIRE_TRY(Geometry::make(options));
  std::shared_ptr<PagerCore> core(new PagerCore(options, geometry));
  QUIRE_CHECK(core->credits.try_take(Credits::Use::kBuffers, geometry.buffer_bytes()));
  core->demand = QUIRE_TRY(SlotPool::make(
      {.slot_bytes = geometry.demand_slot_bytes, .slot_count = geometry.demand_slots}));
  core->windows = QUIRE_TRY(
      SlotPool::make({.slot_bytes = geometry.window_bytes, .slot_count = geometry.window_slots}));
  QUIRE_TRY(core->held.start(geometry.granule.bytes(), geometry.held_slots));
  QUIRE_TRY(core->evictor.start());
  core->service = QUIRE_TRY(Service::start(*core));
  return core;
}

PagerCore::~PagerCore() {
  if (Service::is_in_forked_child()) {
    static_cast<void>(service.release());  // Its thread was not inherited: there is none to join.
  }
}

PagerStats PagerCore::stats() {
  const PolicyStats policy = evictor.stats();
  PagerStats stats;
  stats.memory_bytes = geometry.memory_bytes;
  stats.taken_bytes = geometry.memory_bytes - credits.free_bytes();
  stats.taken_bytes_max = credits.taken_bytes_max();
  stats.page_bytes = credits.taken_bytes(Credits::Use::kPages);
  stats.buffer_bytes = credits.taken_bytes(Credits::Use::kBuffers);
  stats.metadata_bytes = credits.taken_bytes(Credits::Use::kMetadata);
  stats.dirty_bytes = dirty_bytes();
  stats.evicted = evictor.evicted();
  stats.direct_reclaims = counters.direct_reclaims.get();
  stats.credit_waits = counters.credit_waits.get();
  stats.dirty_waits = counters.dirty_waits.get();
  stats.write_errors = counters.write_errors.get();
  stats.ghost_hits = policy.ghost_hits;
  stats.watched = policy.watched;
  stats.slow_faults = counters.slow_faults.get();
  stats.areas = areas.load();
  return stats;
}

void PagerCore::check_invariants() {
  evictor.check_invariants();
  demand->check_invariants();
  windows->check_invariants();
  QUIRE_CHECK_LE(credits.taken_bytes_max(), geometry.memory_bytes);
}

}  // namespace quire::internal
