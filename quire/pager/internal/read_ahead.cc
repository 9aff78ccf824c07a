// SPDX-License-Identifier: Apache-2.0
#include "quire/pager/internal/read_ahead.h"

#include <algorithm>
#include <thread>

#include "quire/base/check.h"
#include "quire/pager/internal/area_commit.h"
#include "quire/pager/internal/pager_core.h"
#include "quire/pager/internal/service.h"

namespace quire::internal {
namespace {

// Handing a shorter one over costs as much as it saves.
constexpr std::uint64_t kSharedBytesMin = 64_KiB;

bool is_frozen(const AreaState& area) noexcept {
  return area.commit() != nullptr && area.commit()->is_frozen.load();
}

}  // namespace

ReadAhead::ReadAhead(PagerCore& core, IoQueue& queue)
    : core_(core), queue_(queue), may_install_elsewhere_(std::thread::hardware_concurrency() > 1) {
  const std::size_t count = core.geometry.demand_slots + core.geometry.window_slots;
  for (std::size_t i = 0; i < count; ++i) {
    reads_.push_back(std::make_unique<Read>());
    reads_.back()->owner = this;
    idle_.push_back(reads_.back().get());
  }
}

ReadAhead::~ReadAhead() {
  QUIRE_CHECK(is_idle());
}

// The claimed neighbours of a window go to the service thread; or back, when it has too many.
bool ReadAhead::offer_run(Fill& run) noexcept {
  if (run.count == 0) {
    return true;
  }
  AreaState& area = *run.area;
  area.begin_service();
  bool is_taken = false;
  {
    const sys::FutexLockGuard guard(offers_lock_);
    is_taken = offers_count_ < kOffersMax;
    if (is_taken) {
      offers_[(offers_begin_ + offers_count_++) % kOffersMax] = run;
    }
  }
  if (!is_taken) {
    core_.filler.abandon(area, run.first, run.count);
    area.end_service();
  }
  run.first += run.count;
  run.count = 0;
  return is_taken;
}

bool ReadAhead::offer(AreaState& area, const AheadWindow& window, bool maps) noexcept {
  const std::uint64_t most = core_.geometry.granules_in(core_.geometry.window_bytes);
  // There is nothing to be read where the store has nothing.
  const std::uint64_t end = std::min({window.span.end(), area.granule_count(), area.blank_from()});
  Fill run{.area = &area,
           .first = window.span.first,
           .tripwire = window.tripwire,
           .arrival = Arrival::kReadAhead,
           .is_mapped = maps};
  for (std::uint64_t i = window.span.first; i < end; ++i) {
    Filler::Claim claim = Filler::Claim::kTaken;
    const bool has_credit = make_credit(area, i, claim);
    if (claim == Filler::Claim::kClaimed) {
      ++run.count;
    }
    if (claim != Filler::Claim::kClaimed || run.count == most) {
      if (!offer_run(run)) {
        return false;
      }
      run.first = i + 1;
    }
    if (!has_credit) {
      return false;
    }
  }
  return offer_run(run);
}

void ReadAhead::add(std::unique_ptr<PrefetchJob> job) {
  if (!job->spans.empty()) {
    job->cursor = job->spans.front().first;
  }
  jobs_.push_back(std::move(job));
}

bool ReadAhead::step() {
  const bool had_offers = step_offers();
  return step_prefetches() || had_offers;
}

// --- Beginning ----------------------------------------------------------------------------------

bool ReadAhead::has_buffer(std::uint64_t granules) const noexcept {
  if (granules <= core_.geometry.granules_in(core_.geometry.demand_slot_bytes) &&
      core_.demand->free_count() > core_.demand->slot_count() / kKeptFor) {
    return true;
  }
  return core_.windows->free_count() > kKeptForWrites;
}

std::optional<std::pair<SlotPool*, std::uint32_t>> ReadAhead::take_buffer(
    std::uint64_t granules) noexcept {
  if (idle_.empty() || !has_buffer(granules)) {
    return std::nullopt;
  }
  const bool is_small = granules <= core_.geometry.granules_in(core_.geometry.demand_slot_bytes) &&
                        core_.demand->free_count() > core_.demand->slot_count() / kKeptFor;
  SlotPool& pool = is_small ? *core_.demand : *core_.windows;
  const std::optional<std::uint32_t> slot = pool.try_take();
  return slot ? std::optional(std::pair(&pool, *slot)) : std::nullopt;
}

// Makes room once, by evicting; nobody waits for what is read ahead.
bool ReadAhead::make_credit(AreaState& area, std::uint64_t index, Filler::Claim& claim) {
  claim = core_.filler.try_claim(area, index);
  if (claim == Filler::Claim::kNoCredit && core_.evictor.make_room(Evictor::kBatch).evicted > 0) {
    claim = core_.filler.try_claim(area, index);
  }
  return claim != Filler::Claim::kNoCredit;
}

// Reads the first absent granules of the span; `end` is where the next ones are to be looked for.
ReadAhead::Begun ReadAhead::begin(AreaState& area, GranuleSpan span, const Fill& pattern,
                                  PrefetchJob* job, std::uint64_t& end) {
  std::uint64_t first = span.first;
  const std::uint64_t last = std::min(span.end(), area.granule_count());
  Filler::Claim claim = Filler::Claim::kTaken;
  if (!has_buffer(last - std::min(first, last)) || idle_.empty()) {
    return Begun::kNoRoom;
  }
  while (first < last && claim == Filler::Claim::kTaken) {
    if (!make_credit(area, first, claim)) {
      return Begun::kNoRoom;
    }
    first += claim == Filler::Claim::kTaken ? 1 : 0;
  }
  end = first;
  if (first >= last) {
    return Begun::kNothing;
  }
  const std::uint64_t most = core_.geometry.granules_in(core_.geometry.window_bytes);
  const GranuleSpan mine =
      core_.filler.extend_claim(area, first, {first, std::min(last - first, most)});
  const auto buffer = take_buffer(mine.count);
  if (!buffer) {
    core_.filler.abandon(area, mine.first, mine.count);
    return Begun::kNoRoom;
  }
  end = mine.end();
  Fill fill = pattern;
  fill.area = &area;
  fill.first = mine.first;
  fill.count = mine.count;
  start(area, fill, *buffer->first, buffer->second, job);
  return Begun::kBegun;
}

void ReadAhead::start(AreaState& area, const Fill& fill, SlotPool& pool, std::uint32_t slot,
                      PrefetchJob* job) {
  Read& read = *idle_.back();
  idle_.pop_back();
  ++under_way_;
  read.fill = fill;
  read.pool = &pool;
  read.slot = slot;
  read.job = job;
  area.begin_service();
  if (fill.demanded == kNoGranule) {
    area.counters.read_ahead_bytes.add(fill.count << area.granule.shift());
  }
  if (job != nullptr) {
    ++job->pending;
  }
  const std::span<std::byte> memory = pool.bytes(slot).first(fill.count << area.granule.shift());
  if (core_.filler.take_blank(area, {fill.first, fill.count}, fill.need)) {
    area.counters.zero_fills.add(fill.count);
    std::ranges::fill(memory, std::byte{0});
    read.request.done_bytes = memory.size();
    read.request.memory = memory;
    finish(read, {});
    return;
  }
  area.counters.reads.add();
  read.request = {.store = area.store.get(),
                  .offset_bytes = area.offset_of(fill.first),
                  .memory = memory,
                  .on_done = on_done,
                  .context = &read};
  queue_.submit(read.request);
}

bool ReadAhead::step_offers() {
  bool began = false;
  for (;;) {
    if (!current_) {
      const sys::FutexLockGuard guard(offers_lock_);
      if (offers_count_ == 0) {
        return began;
      }
      current_ = offers_[offers_begin_];
      offers_begin_ = (offers_begin_ + 1) % kOffersMax;
      --offers_count_;
    }
    AreaState& area = *current_->area;
    if (area.is_closing() || is_frozen(area)) {
      core_.filler.abandon(area, current_->first, current_->count);
    } else if (const auto buffer = take_buffer(current_->count)) {
      start(area, *current_, *buffer->first, buffer->second, nullptr);
      began = true;
    } else {
      return began;  // Reads under way will give buffers back.
    }
    current_.reset();
    area.end_service();
  }
}

bool ReadAhead::step_prefetches() {
  bool began = false;
  while (!jobs_.empty() && step(*jobs_.front())) {
    began = true;
    PrefetchJob* job = jobs_.front().release();
    jobs_.pop_front();
    if (--job->pending == 0) {
      end_job(*job);
    }
  }
  return began;
}

// True: everything of it that could be begun was.
bool ReadAhead::step(PrefetchJob& job) {
  if (job.pending == 0) {
    job.pending = 1;  // The job's own, until everything is begun.
  }
  const Fill pattern{.arrival = Arrival::kReadAhead, .is_mapped = job.maps};
  while (job.at < job.spans.size() && !job.area->is_closing() && !is_frozen(*job.area)) {
    const GranuleSpan span = job.spans[job.at];
    std::uint64_t end = job.cursor;
    const Begun begun = begin(*job.area, {job.cursor, span.end() - job.cursor}, pattern, &job, end);
    if (begun == Begun::kNoRoom) {
      if (under_way_ > 0) {
        return false;  // Something will be free soon.
      }
      ++job.at;  // Memory is short: this range is left out.
    } else {
      job.cursor = end;
      job.at += job.cursor >= span.end() ? 1 : 0;
    }
    if (job.at < job.spans.size() && job.cursor >= span.end()) {
      job.cursor = job.spans[job.at].first;
    }
  }
  return true;
}

void ReadAhead::end_job(PrefetchJob& job) {
  const std::unique_ptr<PrefetchJob> owned(&job);
  core_.service->deliver(job.source, {});
  job.area->end_service();
}

Filler::Claim ReadAhead::demand(AreaState& area, std::uint64_t index, Need need) {
  if (idle_.empty() || core_.demand->free_count() == 0) {
    return Filler::Claim::kNoCredit;
  }
  const GranuleSpan wanted = core_.filler.plan(area, index, need);
  Filler::Claim claim = Filler::Claim::kTaken;
  if (!make_credit(area, index, claim) || claim == Filler::Claim::kTaken) {
    return claim;
  }
  const GranuleSpan mine = core_.filler.extend_claim(area, index, wanted);
  (need == Need::kStore ? area.counters.store_misses : area.counters.load_misses).add();
  if (need == Need::kStore && core_.filler.take_blank(area, mine, need)) {
    area.store_runs.cut(wanted.end(), mine.end());
    std::error_code cause;
    static_cast<void>(core_.filler.fill_blank(area, mine, index, need, cause));
    return Filler::Claim::kClaimed;
  }
  const std::optional<std::uint32_t> slot = core_.demand->try_take();
  if (!slot) {
    core_.filler.abandon(area, mine.first, mine.count);
    return Filler::Claim::kNoCredit;
  }
  start(area,
        {.area = &area,
         .first = mine.first,
         .count = mine.count,
         .demanded = index,
         .need = need,
         .is_mapped = maps_demand(area)},
        *core_.demand, *slot, nullptr);
  return Filler::Claim::kClaimed;
}

// --- Ending -------------------------------------------------------------------------------------

void ReadAhead::on_done(IoRequest& request) {
  Read& read = *static_cast<Read*>(request.context);
  read.fill.area->counters.read_bytes.add(request.done_bytes);
  read.owner->finish(read, request.error);
}

void ReadAhead::finish(Read& read, std::error_code cause) {
  if (cause) {
    core_.filler.fail(read.fill, cause);
  } else if (may_install_elsewhere_ && read.request.memory.size() >= kSharedBytesMin) {
    install_elsewhere(read);
    return;
  } else {
    install(read);
  }
  end(read);
}

void ReadAhead::install(Read& read) noexcept {
  static_cast<void>(core_.filler.complete(read.fill, read.request.memory, read.request.done_bytes));
}

void ReadAhead::install_elsewhere(Read& read) {
  may_install_elsewhere_ = false;
  read.installation = {.operation = IoOperation::kCall,
                       .call =
                           [](IoRequest& request) {
                             Read& own = *static_cast<Read*>(request.context);
                             own.owner->install(own);
                           },
                       .on_done =
                           [](IoRequest& request) {
                             Read& own = *static_cast<Read*>(request.context);
                             own.owner->may_install_elsewhere_ = true;
                             own.owner->end(own);
                           },
                       .context = &read};
  queue_.submit(read.installation);
}

void ReadAhead::end(Read& read) {
  AreaState& area = *read.fill.area;
  read.pool->give_back(read.slot);
  PrefetchJob* job = read.job;
  idle_.push_back(&read);
  --under_way_;
  if (job != nullptr && --job->pending == 0) {
    end_job(*job);
  }
  area.end_service();
}

}  // namespace quire::internal
