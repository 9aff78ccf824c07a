// SPDX-License-Identifier: Apache-2.0
//
// Filler's half that blocks: for who faults inline, and who pins.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "quire/pager/internal/area_commit.h"
#include "quire/pager/internal/filler.h"
#include "quire/pager/internal/pager_core.h"
#include "quire/pager/internal/report.h"
#include "quire/pager/internal/service.h"
#include "quire/pager/internal/store_reader.h"

namespace quire::internal {
namespace {

// One sleep of a fault that waits: then it looks whether it is late, or the area is closing.
constexpr std::chrono::milliseconds kNap{200};

}  // namespace

Served Filler::serve(AreaState& area, std::uint64_t index, Need need, std::error_code& cause,
                     Asker asker) noexcept {
  Patience patience{.asker = asker};
  area.counters.faults.add();
  if (core_.recorder.note(area.page_id(index), need)) {
    core_.service->wake();
  }
  for (;;) {
    if (area.is_closing()) {
      return Served::kClosing;
    }
    const GranuleWord word = area.table.word(index);
    if (word.is_in_transition()) {
      await_granule(area, index, word, patience);
      continue;
    }
    const std::optional<Served> served = word.is_resident()
                                             ? serve_resident(area, index, need, patience)
                                             : bring_in(area, index, need, patience, cause);
    if (served) {
      return *served;
    }
  }
}

// Nothing: look again.
std::optional<Served> Filler::bring_in(AreaState& area, std::uint64_t index, Need need,
                                       Patience& patience, std::error_code& cause) noexcept {
  if (area.commit() == nullptr || patience.asker == Asker::kPin) {
    if (area.table.word(index).state() == GranuleState::kHeld) {
      return install_held(area, index, need) ? std::optional(Served::kServed) : std::nullopt;
    }
    const Served served = fill(area, index, need, patience, cause);
    const bool is_over = served != Served::kServed || area.table.word(index).is_resident();
    return is_over ? std::optional(served) : std::nullopt;
  }
  const Served served = hand_over(area, index, need);
  return served == Served::kServed ? std::nullopt : std::optional(served);
}

std::optional<Served> Filler::serve_resident(AreaState& area, std::uint64_t index, Need need,
                                             Patience& patience) noexcept {
  if (need == Need::kLoad || area.table.word(index).state() == GranuleState::kDirty) {
    return Served::kServed;
  }
  throttle(area, patience);
  switch (core_.service->let_in(area, index)) {
    case Store::kLetIn: return Served::kServed;
    case Store::kHeldUp: return hand_over(area, index, need);
    case Store::kLookAgain: break;
  }
  return std::nullopt;
}

// The service thread has begun what is to be done, or done it, when this comes back.
Served Filler::hand_over(AreaState& area, std::uint64_t index, Need need) noexcept {
  const std::uint64_t failed_before = area.counters.failed_fills.get();
  core_.service->serve_handed_over(area.page_id(index), need);
  for (GranuleWord word = area.table.word(index); word.is_in_transition();
       word = area.table.word(index)) {
    Patience patience;
    await_granule(area, index, word, patience);
  }
  const bool has_failed = area.counters.failed_fills.get() != failed_before &&
                          !area.table.word(index).is_resident() && area.was_fill_error(index);
  return has_failed ? Served::kFailed : Served::kServed;
}

Served Filler::fill(AreaState& area, std::uint64_t index, Need need, Patience& patience,
                    std::error_code& cause) noexcept {
  const GranuleSpan wanted = plan(area, index, need);
  if (need == Need::kStore) {
    throttle(area, patience);
  }
  for (;;) {
    const Claim claim = try_claim(area, index);
    if (claim == Claim::kTaken) {
      return Served::kServed;  // Somebody else is at it: look again.
    }
    if (claim == Claim::kClaimed) {
      break;
    }
    const Served room = take_room(area, patience, cause);
    if (room != Served::kServed) {
      if (room == Served::kFailed) {
        area.counters.failed_fills.add();
        if (patience.asker == Asker::kAccess) {
          area.note_fill_error(index, cause);
        }
      }
      return room;
    }
  }
  const GranuleSpan span = extend_claim(area, index, wanted);
  (need == Need::kStore ? area.counters.store_misses : area.counters.load_misses).add();
  if (need == Need::kStore && take_blank(area, span, need)) {
    area.store_runs.cut(wanted.end(), span.end());
    return fill_blank(area, span, index, need, cause);
  }
  std::uint32_t slot = 0;
  const Served got_slot = await_slot(area, patience, slot);
  if (got_slot != Served::kServed) {
    abandon(area, span.first, span.count);
    return got_slot;
  }
  const Served served = read_into({.area = &area,
                                   .first = span.first,
                                   .count = span.count,
                                   .demanded = index,
                                   .need = need,
                                   .asker = patience.asker,
                                   .is_mapped = maps_demand(area)},
                                  slot, cause);
  core_.demand->give_back(slot);
  return served;
}

Served Filler::read_into(const Fill& claimed, std::uint32_t slot, std::error_code& cause) noexcept {
  AreaState& area = *claimed.area;
  const std::span<std::byte> memory =
      core_.demand->bytes(slot).first(claimed.count << area.granule.shift());
  std::uint64_t got_bytes = memory.size();
  if (take_blank(area, {claimed.first, claimed.count}, Need::kLoad)) {
    std::memset(memory.data(), 0, memory.size());
    area.counters.zero_fills.add(claimed.count);
  } else {
    cause = read_store(area, area.offset_of(claimed.first), memory, got_bytes);
    if (cause) {
      fail(claimed, cause);
      return area.is_closing() ? Served::kClosing : Served::kFailed;
    }
  }
  cause = complete(claimed, memory, got_bytes);
  if (!cause) {
    return Served::kServed;
  }
  return area.is_closing() ? Served::kClosing : Served::kFailed;
}

Served Filler::fill_blank(AreaState& area, GranuleSpan span, std::uint64_t index, Need need,
                          std::error_code& cause) noexcept {
  const sys::Outcome<void> installed = install_blank(area, span);
  if (installed) {
    core_.service->note_dirty();
    return Served::kServed;
  }
  cause = {installed.error().value, std::system_category()};
  fail({.area = &area, .first = span.first, .count = span.count, .demanded = index, .need = need},
       cause);
  return area.is_closing() ? Served::kClosing : Served::kFailed;
}

sys::Outcome<void> Filler::install_blank(AreaState& area, GranuleSpan span) noexcept {
  const InsideGate inside(gate_of(area));
  const ByteRange memory = area.memory_of(span.first, span.count);
  area.table.begin_writable(span.first);  // Of each leaf: a stretch has two at most.
  area.table.begin_writable(span.end() - 1);
  for (std::uint64_t i = span.first; area.options.survives_kill && i < span.end(); ++i) {
    area.table.open_fill(i);
  }
  sys::Outcome<void> installed =
      area.frames->install_zeros(memory.offset_bytes, memory.length_bytes);
  for (std::uint64_t i = span.first; installed && i < span.end(); ++i) {
    area.counters.zero_fills.add();
    area.counters.resident_granules.add();
    core_.evictor.arrived(area.page_id(i), Arrival::kDemand);
    area.table.finish_fill(i, GranuleState::kDirty);
  }
  area.table.end_writable(span.first);
  area.table.end_writable(span.end() - 1);
  return installed;
}

Served Filler::take_room(AreaState& area, Patience& patience, std::error_code& cause) noexcept {
  const std::uint32_t credits_seen = core_.credits.generation();
  const std::uint32_t written_seen = core_.written.generation();
  core_.counters.direct_reclaims.add();
  const Evictor::Room room = core_.evictor.make_room(Evictor::kBatch / 4);
  if (room.evicted > 0) {
    return Served::kServed;
  }
  if (area.is_closing()) {
    return Served::kClosing;
  }
  if (room.dirty > 0 && core_.is_write_back_failing.load()) {
    const Evictor::LastRoom last = core_.evictor.make_last_room();
    if (last == Evictor::LastRoom::kMade) {
      return Served::kServed;
    }
    if (last == Evictor::LastRoom::kNone) {
      cause = {core_.write_back_errno.load(), std::system_category()};
      return Served::kFailed;
    }
  }
  core_.service->wake();
  if (room.dirty == 0 && core_.evictor.is_all_pinned()) {
    const Evictor::LastRoom last = core_.evictor.make_last_room();
    if (last == Evictor::LastRoom::kMade) {
      return Served::kServed;
    }
    if (last == Evictor::LastRoom::kNone) {
      cause = make_error_code(Errc::kLimit);
      return Served::kFailed;
    }
  }
  core_.counters.credit_waits.add();
  // Either makes room: credits given back, or pages that became clean.
  if (core_.written.generation() == written_seen) {
    static_cast<void>(core_.credits.await_more(credits_seen, room.dirty > 0 ? 20 : 5));
  }
  complain(area, kNoGranule, patience, "no memory can be made free");
  return Served::kServed;
}

Served Filler::await_slot(AreaState& area, Patience& patience, std::uint32_t& slot) noexcept {
  for (;;) {
    if (const auto taken = core_.demand->take(static_cast<std::uint64_t>(kNap.count()))) {
      slot = *taken;
      return Served::kServed;
    }
    if (area.is_closing()) {
      return Served::kClosing;
    }
    complain(area, kNoGranule, patience, "all buffers are in use");
  }
}

void Filler::await_granule(AreaState& area, std::uint64_t index, GranuleWord word,
                           Patience& patience) noexcept {
  area.counters.waits.add();
  if (!area.table.await_change(index, word, static_cast<std::uint64_t>(kNap.count()))) {
    complain(area, index, patience, "somebody else is at work on the granule");
  }
}

// A store waits while too much is dirty and write-back gets on.
void Filler::throttle(AreaState& area, Patience& patience) noexcept {
  if (core_.dirty_bytes() < core_.dirty_max_bytes.load()) {
    return;
  }
  core_.counters.dirty_waits.add();
  while (!area.is_closing() && !core_.is_write_back_failing.load()) {
    const std::uint32_t seen = core_.written.generation();
    if (core_.dirty_bytes() < core_.dirty_max_bytes.load()) {
      return;
    }
    core_.service->wake();
    core_.written.wait(seen, kNap);
    complain(area, kNoGranule, patience, "too much is dirty");
  }
}

void Filler::complain(const AreaState& area, std::uint64_t index, Patience& patience,
                      const char* what) noexcept {
  const auto limit = core_.options.slow_fault_report;
  if (patience.was_reported || limit.count() == 0 || Clock::now() - patience.began < limit) {
    return;
  }
  patience.was_reported = true;
  core_.counters.slow_faults.add();
  report_slow_fault({.what = what, .index = index, .waited = Clock::now() - patience.began}, area,
                    core_);
}

}  // namespace quire::internal
