// SPDX-License-Identifier: Apache-2.0
#include "quire/pager/internal/area_state.h"

#include <algorithm>
#include <array>
#include <thread>

#include <fmt/format.h>

#include "quire/base/check.h"
#include "quire/pager/internal/area_commit.h"
#include "quire/pager/internal/pager_core.h"
#include "quire/pager/internal/service.h"
#include "quire/sys/signals.h"

namespace quire::internal {
namespace {

StreamOptions stream_options(const PagerCore& core) {
  const std::uint64_t granule = core.geometry.granule.bytes();
  const std::uint64_t largest = core.geometry.window_bytes;
  return {
      .granule_bytes = granule,
      .window_bytes_min =
          std::min<std::uint64_t>(std::max<std::uint64_t>(16_KiB, granule), largest),
      .window_bytes_max = largest,
      .windows_ahead = std::min(core.options.read_ahead_windows, StreamDetector::kWindowsAheadMax)};
}

constexpr std::chrono::milliseconds kNap{100};

StreamAdvice stream_advice(Pattern pattern) noexcept {
  switch (pattern) {
    case Pattern::kRandom: return StreamAdvice::kRandom;
    case Pattern::kSequential: return StreamAdvice::kSequential;
    default: return StreamAdvice::kNone;
  }
}

}  // namespace

AreaState::AreaState(std::shared_ptr<PagerCore> owner, std::shared_ptr<Store> bytes,
                     const AreaOptions& chosen)
    : core(std::move(owner)),
      store(std::move(bytes)),
      options(chosen),
      granule(core->geometry.granule),
      streams_(stream_options(*core)) {}

Result<std::shared_ptr<AreaState>> AreaState::open(std::shared_ptr<PagerCore> core,
                                                   std::shared_ptr<Store> store,
                                                   const AreaOptions& options) {
  const std::uint64_t size_bytes = QUIRE_TRY(store->size_bytes());
  std::shared_ptr<AreaState> area(new AreaState(std::move(core), std::move(store), options));
  area->size_bytes_.store(size_bytes);
  area->blank_from_.store(area->granule_count());
  const PageSize page = sys::os_page_size();
  const std::uint64_t reserve_bytes =
      round_up(std::max({size_bytes, options.reserve_bytes, page.bytes()}), area->granule);
  area->frames =
      QUIRE_TRY(Frames::make({.name = area->store->name(),
                              .size_bytes = size_bytes,
                              .reserve_bytes = reserve_bytes,
                              .granule_bytes = area->granule.bytes(),
                              .is_writable = options.is_writable,
                              .delivery = area->is_inline() ? sys::FaultDelivery::kSignals
                                                            : sys::FaultDelivery::kMessages}));
  area->table = QUIRE_TRY(
      GranuleTable::make(reserve_bytes >> area->granule.shift(),
                         options.survives_kill ? TableBacking::kMemfd : TableBacking::kPrivate));
  area->table.count_dirty_in(area->core->dirty_granules);
  area->table.set_on_awaited(
      [](void* context, std::uint64_t index) noexcept {
        auto& self = *static_cast<AreaState*>(context);
        if (!self.is_inline()) {
          const ByteRange memory = self.memory_of(index, 1);
          static_cast<void>(self.frames->wake(memory.offset_bytes, memory.length_bytes));
        }
        self.core->service->note_transition_end();
      },
      area.get());
  area->slot =
      QUIRE_TRY(RangeRegistry::of_process().add(area->frames->view(), reserve_bytes, area.get()));
  area->is_registered_ = true;
  area->core->evictor.add_area(*area);
  area->core->areas.fetch_add(1);
  QUIRE_TRY(area->core->service->add_area(*area));
  QUIRE_TRY(area->guard());
  return area;
}

// From here on a guardian process writes what is dirty if this process dies.
Result<void> AreaState::guard() {
  if (!options.survives_kill) {
    return {};
  }
  const KernelTarget* target = store->kernel_target();
  guard_slot_ = QUIRE_TRY(core->guardian.watch({.name = store->name(),
                                                .file = target == nullptr ? -1 : target->fd,
                                                .memory = frames->memfd(),
                                                .states = table.memfd(),
                                                .size_bytes = size_bytes(),
                                                .granule_bytes = granule.bytes(),
                                                .granule_count = table.granule_count()}));
  return core->service->watch_guardian();
}

void AreaState::set_size(std::uint64_t size_bytes) noexcept {
  size_bytes_.store(size_bytes);
  if (guard_slot_) {
    core->guardian.set_size(*guard_slot_, size_bytes);
  }
}

void AreaState::note_zeros() noexcept {
  has_zeros_.store(true);
  if (guard_slot_) {
    core->guardian.set_has_zeros(*guard_slot_);
  }
}

AreaState::~AreaState() {
  shut_down();
}

// --- Places -------------------------------------------------------------------------------------

ByteRange AreaState::memory_of(std::uint64_t first, std::uint64_t count) const noexcept {
  // Of the memfd, which is the longer one while the size changes.
  const std::uint64_t end_bytes = round_up(frames->size_bytes(), sys::os_page_size());
  return intersect({offset_of(first), count << granule.shift()}, {0, end_bytes});
}

ByteRange AreaState::stored_of(std::uint64_t first, std::uint64_t count) const noexcept {
  return intersect({offset_of(first), count << granule.shift()}, {0, size_bytes()});
}

GranuleSpan AreaState::stretch_of(ByteRange range) const noexcept {
  return {range.offset_bytes >> granule.shift(), pages_touched(range, granule).value};
}

Result<ByteRange> AreaState::resolve(ByteRange range, const char* operation) const {
  if (Service::is_in_forked_child() || is_closing()) {
    return quire::fail(
        make_error(Errc::kClosed, operation, store->name(),
                   Service::is_in_forked_child() ? "a forked child does not inherit paged areas"
                                                 : "the area is closed",
                   Service::is_in_forked_child() ? "map the file in the child" : ""));
  }
  const Result<ByteRange> resolved = resolve_range(range, size_bytes());
  if (!resolved) {
    return quire::fail(resolved.error().about(operation, store->name()));
  }
  return *resolved;
}

// --- State --------------------------------------------------------------------------------------

void AreaState::on_gone(std::uint64_t count) noexcept {
  counters.resident_granules.subtract(count);
}

void AreaState::end_service() noexcept {
  // Read before: when the last one has left, the area may be gone.
  PagerCore& owner = *core;
  const bool closes = is_closing();
  if (in_service_.fetch_sub(1) == 1 && closes) {
    owner.written.advance();
  }
}

FillPlan AreaState::plan_fill(std::uint64_t index) noexcept {
  const Pattern advice = advices.at(offset_of(index));
  const std::uint64_t count = granule_count();
  if (advice == Pattern::kRandom || index >= count) {
    // Unnamed, so that no second one lies on what may be a small alternate stack.
    return {.demand = {index, 1}};
  }
  const sys::FutexLockGuard guard(streams_lock_);
  return streams_.on_fault(index, count, stream_advice(advice));
}

FillPlan AreaState::plan_tripwire(std::uint64_t index) noexcept {
  const Pattern advice = advices.at(offset_of(index));
  const std::uint64_t count = granule_count();
  if (index >= count) {
    return {};
  }
  const sys::FutexLockGuard guard(streams_lock_);
  return streams_.on_tripwire(index, count, stream_advice(advice));
}

// --- Errors -------------------------------------------------------------------------------------

void AreaState::note_fill_error(std::uint64_t index, std::error_code cause) noexcept {
  int none = 0;
  // The first one stays. The rest is written before anybody can be told of it but by chance.
  fill_error_offset_.store(offset_of(index));
  fill_error_is_ours_.store(cause.category() == quire_category());
  static_cast<void>(fill_error_value_.compare_exchange_strong(none, cause.value()));
}

void AreaState::note_write_error(const Error& error) {
  const MutexLock lock(error_mutex_);
  if (!write_error_) {
    write_error_ = error;
  }
}

void AreaState::clear_write_error() {
  const MutexLock lock(error_mutex_);
  write_error_.reset();
}

Result<void> AreaState::check_zeros() const {
  if (!has_zeros_.load() || !options.is_writable) {
    return {};
  }
  return quire::fail(make_error(Errc::kFailed, "write back", store->name(),
                                "zeros stand where bytes could not be read: nothing is written "
                                "back any more",
                                "check() has the cause; map the file again"));
}

Result<void> AreaState::check() const {
  // That of a fill first: a write-back that is refused because of it says less.
  const int value = fill_error_value_.load();
  if (value == 0) {
    const sys::BlockedSignals blocked;
    const MutexLock lock(error_mutex_);
    return write_error_ ? Result<void>(quire::fail(*write_error_)) : Result<void>();
  }
  const std::error_code code = fill_error_is_ours_.load()
                                   ? make_error_code(static_cast<Errc>(value))
                                   : std::error_code(value, std::system_category());
  const ByteRange range{fill_error_offset_.load(), granule.bytes()};
  return quire::fail(Error({.code = code,
                            .operation = "fault",
                            .subject = store->name() + ", " + describe(range),
                            .cause = code.message(),
                            .remedy = "pin() gives an Error where a pointer gives a signal"}));
}

AreaStats AreaState::stats() const {
  AreaStats stats;
  stats.faults = counters.faults.get();
  stats.load_misses = counters.load_misses.get();
  stats.store_misses = counters.store_misses.get();
  stats.store_upgrades = counters.store_upgrades.get();
  stats.waits = counters.waits.get();
  stats.tripwires = counters.tripwires.get();
  stats.failed_fills = counters.failed_fills.get();
  stats.reads = counters.reads.get();
  stats.read_bytes = counters.read_bytes.get();
  stats.read_ahead_bytes = counters.read_ahead_bytes.get();
  stats.zero_fills = counters.zero_fills.get();
  stats.writes = counters.writes.get();
  stats.write_bytes = counters.write_bytes.get();
  stats.evicted = counters.evicted.get();
  stats.redirtied = counters.redirtied.get();
  stats.commits = counters.commits.get();
  stats.committed_bytes = counters.committed_granules.get() << granule.shift();
  stats.commit_conflicts = counters.commit_conflicts.get();
  stats.spilled_bytes = counters.spilled_bytes.get();
  stats.resident_bytes = counters.resident_granules.get() << granule.shift();
  stats.dirty_bytes = table.dirty_count() << granule.shift();
  return stats;
}

void AreaState::check_invariants() const {
  table.check_invariants();
  std::uint64_t resident = 0;
  const std::uint64_t count = granule_count();
  for (std::uint64_t i = table.next_in_use(0); i < count; i = table.next_in_use(i + 1)) {
    resident += table.word(i).is_resident() ? 1 : 0;
  }
  QUIRE_CHECK_EQ(resident, counters.resident_granules.get());
}

void AreaState::note_written(std::uint64_t end_bytes) noexcept {
  const std::uint64_t end = (end_bytes + granule.mask()) >> granule.shift();
  std::uint64_t blank = blank_from_.load();
  while (blank < end && !blank_from_.compare_exchange_weak(blank, end)) {
  }
}

// --- The end ------------------------------------------------------------------------------------

void AreaState::shut_down() noexcept {
  if (!is_registered_) {
    return;
  }
  is_registered_ = false;
  if (Service::is_in_forked_child()) {
    return;  // Nothing of it was inherited but the numbers.
  }
  // An application's signal handler must not run while locks of the pager are held.
  const sys::BlockedSignals blocked;
  is_closing_.store(true);
  core->evictor.fence();
  core->credits.wake_all();
  core->written.advance();
  core->service->remove_area(*this);
  core->service->wake();
  while (in_service() > 0) {
    const std::uint32_t seen = core->written.generation();
    if (in_service() > 0) {
      core->written.wait(seen, kNap);
    }
  }
  frames->unmap_view();
  RangeRegistry::of_process().remove(slot);
  QUIRE_CHECK(discard_from(0));
  core->evictor.remove_area(*this);
  for (std::uint64_t i = table.next_in_use(0); i < table.granule_count();
       i = table.next_in_use(i)) {
    if (table.begin_give_back(i)) {
      table.finish_give_back(i);
      core->credits.give_back(Credits::Use::kMetadata, core->geometry.leaf_bytes);
    } else {
      std::this_thread::yield();  // Somebody is on his way out of it.
    }
  }
  if (guard_slot_) {
    core->service->unwatch_guardian();
    core->guardian.forget(*guard_slot_);
    static_cast<void>(core->service->watch_guardian());  // For other areas.
  }
  if (commit() != nullptr) {
    commit()->drop_uncommitted();
  }
  frames->close();
  core->areas.fetch_sub(1);
}

}  // namespace quire::internal
