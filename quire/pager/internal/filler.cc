// SPDX-License-Identifier: Apache-2.0
#include "quire/pager/internal/filler.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

#include "quire/base/check.h"
#include "quire/pager/internal/area_commit.h"
#include "quire/pager/internal/pager_core.h"
#include "quire/pager/internal/service.h"

namespace quire::internal {
namespace {

constexpr int kLiftTries = 10;

std::error_code to_code(sys::Errno cause) noexcept {
  return {cause.value, std::system_category()};
}

// How a granule that somebody touched comes in.
Arrival arrival_of(const AreaState& area, std::uint64_t index) noexcept {
  return area.advices.at(area.offset_of(index)) == Pattern::kWillNotReuse ? Arrival::kStream
                                                                          : Arrival::kDemand;
}

GranuleSpan common(GranuleSpan a, GranuleSpan b) noexcept {
  const std::uint64_t first = std::max(a.first, b.first);
  const std::uint64_t end = std::min(a.end(), b.end());
  return {first, end > first ? end - first : 0};
}

// The bytes of some of the fill's granules, as far as there is memory for them.
std::span<const std::byte> bytes_of(const Fill& fill, std::span<const std::byte> memory,
                                    GranuleSpan part) noexcept {
  const AreaState& area = *fill.area;
  const ByteRange range = area.memory_of(part.first, part.count);
  return memory.subspan(range.offset_bytes - area.offset_of(fill.first), range.length_bytes);
}

}  // namespace

GranuleSpan Filler::plan(AreaState& area, std::uint64_t index, Need need) noexcept {
  if (need == Need::kStore && is_blank_for_stores(area, index)) {
    // Nothing is read, neither now nor ahead: as much as the stores before it let expect.
    return blank_span(area, index);
  }
  const FillPlan plan = area.plan_fill(index);
  core_.service->offer(area, plan);
  const std::uint64_t room = core_.geometry.granules_in(core_.geometry.demand_slot_bytes);
  if (plan.demand.count <= room) {
    return plan.demand;
  }
  const GranuleSpan around =
      plan.direction == StreamDirection::kBackward
          ? GranuleSpan{std::max(plan.demand.first, index + 1 - std::min(room, index + 1)), room}
          : GranuleSpan{index, room};
  return common(around, plan.demand);
}

bool Filler::is_blank_for_stores(const AreaState& area, std::uint64_t index) noexcept {
  return index >= area.blank_from() ||
         area.advices.at(area.offset_of(index)) == Pattern::kOverwrite;
}

GranuleSpan Filler::blank_span(AreaState& area, std::uint64_t index) noexcept {
  const GranuleSpan span =
      common({index, area.store_runs.count_at(index)}, {0, area.granule_count()});
  const ByteRange range{.offset_bytes = area.offset_of(span.first),
                        .length_bytes = span.count << area.granule.shift()};
  const bool is_blank =
      span.first >= area.blank_from() || area.advices.covers(range, Pattern::kOverwrite);
  return is_blank && span.count > 0 ? span : GranuleSpan{index, 1};
}

bool Filler::take_blank(AreaState& area, GranuleSpan span, Need need) noexcept {
  if (span.first >= area.blank_from()) {
    return true;
  }
  const ByteRange range{.offset_bytes = area.offset_of(span.first),
                        .length_bytes = span.count << area.granule.shift()};
  return need == Need::kStore && area.advices.covers(range, Pattern::kOverwrite) &&
         area.advices.set(range, Pattern::kNormal);
}

bool Filler::charge_leaf(AreaState& area, std::uint64_t index) noexcept {
  const std::uint64_t bytes = core_.geometry.leaf_bytes;
  for (;;) {
    switch (area.table.enter(index)) {
      case GranuleTable::Entry::kEntered: return true;
      case GranuleTable::Entry::kLeaving: std::this_thread::yield(); continue;
      case GranuleTable::Entry::kMustCharge: break;
    }
    if (!core_.credits.try_take(Credits::Use::kMetadata, bytes)) {
      return false;
    }
    if (!area.table.enter_charged(index)) {
      core_.credits.give_back(Credits::Use::kMetadata, bytes);
    }
    return true;
  }
}

Filler::Claim Filler::try_claim(AreaState& area, std::uint64_t index) noexcept {
  const std::uint64_t bytes = core_.geometry.granule.bytes();
  if (!core_.credits.try_take(Credits::Use::kPages, bytes)) {
    return Claim::kNoCredit;
  }
  if (!charge_leaf(area, index)) {
    core_.credits.give_back(Credits::Use::kPages, bytes);
    return Claim::kNoCredit;
  }
  const bool is_mine = area.table.begin_fill(index);
  area.table.leave(index);
  if (!is_mine) {
    core_.credits.give_back(Credits::Use::kPages, bytes);
    return Claim::kTaken;
  }
  if (core_.credits.free_bytes() < core_.geometry.low_bytes) {
    core_.service->wake();
  }
  return Claim::kClaimed;
}

GranuleSpan Filler::extend_claim(AreaState& area, std::uint64_t index, GranuleSpan span) noexcept {
  GranuleSpan mine{index, 1};
  const std::uint64_t end = std::min(span.end(), area.granule_count());
  bool made_room = false;
  while (mine.end() < end) {
    const Claim claim = try_claim(area, mine.end());
    if (claim == Claim::kClaimed) {
      ++mine.count;
    } else if (claim == Claim::kTaken || made_room) {
      break;
    } else {
      made_room = true;
      static_cast<void>(core_.evictor.make_room(Evictor::kBatch));
    }
  }
  while (mine.first > span.first && try_claim(area, mine.first - 1) == Claim::kClaimed) {
    --mine.first;
    ++mine.count;
  }
  return mine;
}

void Filler::abandon(AreaState& area, std::uint64_t first, std::uint64_t count) noexcept {
  if (count == 0) {
    return;
  }
  for (std::uint64_t i = first; i < first + count; ++i) {
    area.table.finish_fill(i, GranuleState::kAbsent);
  }
  core_.credits.give_back(Credits::Use::kPages, count << core_.geometry.granule.shift());
}

sys::Outcome<void> Filler::install_part(const Fill& fill, std::span<const std::byte> memory,
                                        GranuleSpan part, sys::Installed installed) noexcept {
  AreaState& area = *fill.area;
  const std::span<const std::byte> bytes = bytes_of(fill, memory, part);
  if (bytes.empty()) {
    return {};
  }
  const std::uint64_t offset_bytes = area.offset_of(part.first);
  if (!area.is_inline() && area.counters.failed_fills.get() > 0) {
    // It may have been poisoned when it failed before.
    for (std::uint64_t i = part.first; i < part.end(); ++i) {
      unpoison(area, i);
    }
  }
  return fill.is_mapped ? area.frames->install(offset_bytes, bytes, installed)
                        : area.frames->place(offset_bytes, bytes);
}

// Protected, but for the one that is about to be stored to; a read-only view needs no protection.
// Where stores survive a kill that one is let_store()d afterwards: no store before its state.
sys::Outcome<void> Filler::install(const Fill& fill, std::span<const std::byte> memory,
                                   GranuleSpan part) noexcept {
  const auto usual =
      fill.area->options.is_writable ? sys::Installed::kProtected : sys::Installed::kWritable;
  const bool is_split = fill.need == Need::kStore && !fill.area->options.survives_kill &&
                        fill.demanded >= part.first && fill.demanded < part.end();
  if (!is_split) {
    return install_part(fill, memory, part, usual);
  }
  const GranuleSpan before{part.first, fill.demanded - part.first};
  const GranuleSpan after{fill.demanded + 1, part.end() - fill.demanded - 1};
  if (before.count > 0) {
    QUIRE_TRY(install_part(fill, memory, before, usual));
  }
  QUIRE_TRY(install_part(fill, memory, {fill.demanded, 1}, sys::Installed::kWritable));
  if (after.count > 0) {
    QUIRE_TRY(install_part(fill, memory, after, usual));
  }
  return {};
}

// A granule in kFilling that is in memory, protected. False: it stays so, and clean.
bool Filler::let_store(AreaState& area, std::uint64_t index) noexcept {
  const ByteRange memory = area.memory_of(index, 1);
  area.table.open_fill(index);
  return area.frames->allow_writes(memory.offset_bytes, memory.length_bytes).has_value();
}

void Filler::settle(const Fill& fill, GranuleSpan part) noexcept {
  AreaState& area = *fill.area;
  bool is_dirty = false;
  for (std::uint64_t i = part.first; i < part.end(); ++i) {
    const bool is_demanded = i == fill.demanded;
    const bool is_store = is_demanded && fill.need == Need::kStore &&
                          (!area.options.survives_kill || let_store(area, i));
    is_dirty = is_dirty || is_store;
    area.counters.resident_granules.add();
    core_.evictor.arrived(area.page_id(i), is_demanded ? arrival_of(area, i) : fill.arrival);
    area.table.finish_fill(i, is_store ? GranuleState::kDirty : GranuleState::kClean);
  }
  if (is_dirty) {
    core_.service->note_dirty();
  }
}

bool Filler::hold(const Fill& fill, std::span<const std::byte> memory) noexcept {
  AreaState& area = *fill.area;
  const std::span<const std::byte> bytes = bytes_of(fill, memory, {fill.tripwire, 1});
  if (!core_.held.put(area, fill.tripwire, bytes)) {
    if (const std::optional<HeldGranules::Place> place = core_.held.oldest()) {
      drop_held(*place->area, place->index);
      place->area->end_service();
    }
    if (!core_.held.put(area, fill.tripwire, bytes)) {
      return false;
    }
  }
  area.table.finish_fill(fill.tripwire, GranuleState::kHeld);
  return true;
}

std::error_code Filler::complete(const Fill& fill, std::span<std::byte> memory,
                                 std::uint64_t got_bytes) noexcept {
  AreaState& area = *fill.area;
  area.advices.end_overwriting(area.memory_of(fill.first, fill.count));
  std::memset(memory.data() + got_bytes, 0, memory.size() - got_bytes);
  // Granules that begin past the store's present end cannot be had: it was cut under us.
  const std::uint64_t whole =
      std::min(fill.count, (got_bytes + area.granule.mask()) >> area.granule.shift());
  GranuleSpan part{fill.first, whole};
  const GranuleSpan lost{fill.first + whole, fill.count - whole};
  std::error_code cause;
  if (lost.count > 0) {
    const bool is_demanded = fill.demanded >= lost.first && fill.demanded < lost.end();
    Fill failed = fill;
    failed.first = lost.first;
    failed.count = lost.count;
    failed.demanded = is_demanded ? fill.demanded : kNoGranule;
    cause = is_demanded ? make_error_code(Errc::kTruncated) : std::error_code();
    fail(failed, make_error_code(Errc::kTruncated));
  }
  if (fill.tripwire != kNoGranule && part.count > 0 &&
      (fill.tripwire == part.first || fill.tripwire + 1 == part.end()) && hold(fill, memory)) {
    part.first += fill.tripwire == part.first ? 1 : 0;
    --part.count;
  }
  if (part.count == 0) {
    return cause;
  }
  const std::error_code installed = install_and_settle(fill, memory, part);
  if (installed) {
    Fill failed = fill;
    failed.first = part.first;
    failed.count = part.count;
    fail(failed, installed);
  }
  return installed ? installed : cause;
}

std::error_code Filler::install_and_settle(const Fill& fill, std::span<std::byte> memory,
                                           GranuleSpan part) noexcept {
  AreaState& area = *fill.area;
  const bool is_store = fill.need == Need::kStore && fill.demanded != kNoGranule;
  const InsideGate inside(is_store ? gate_of(area) : nullptr);
  if (is_store) {
    area.table.begin_writable(fill.demanded);
  }
  const sys::Outcome<void> installed = install(fill, memory, part);
  if (installed) {
    settle(fill, part);
  } else {
    // Some of it may be there: out with it, for the state will say absent.
    const ByteRange range = area.memory_of(part.first, part.count);
    static_cast<void>(area.frames->punch(range.offset_bytes, range.length_bytes));
  }
  if (is_store) {
    area.table.end_writable(fill.demanded);
  }
  return installed ? std::error_code() : to_code(installed.error());
}

void Filler::fail(const Fill& fill, std::error_code cause) noexcept {
  AreaState& area = *fill.area;
  if (fill.demanded == kNoGranule || area.is_closing()) {
    abandon(area, fill.first, fill.count);
    return;
  }
  area.counters.failed_fills.add();
  if (fill.asker == Asker::kPin) {
    abandon(area, fill.first, fill.count);  // Who pins gets the cause as a value.
    return;
  }
  area.note_fill_error(fill.demanded, cause);
  const bool wants_zeros = area.options.on_fill_error == OnFillError::kZeros ||
                           (!area.is_inline() && !poison(area, fill.demanded));
  const ByteRange range = area.memory_of(fill.demanded, 1);
  if (wants_zeros) {
    area.note_zeros();
    area.advices.end_overwriting(range);
  }
  const InsideGate inside(wants_zeros && area.options.is_writable ? gate_of(area) : nullptr);
  if (!wants_zeros || !area.frames->install_zeros(range.offset_bytes, range.length_bytes)) {
    abandon(area, fill.first, fill.count);
    return;
  }
  abandon(area, fill.first, fill.demanded - fill.first);
  abandon(area, fill.demanded + 1, fill.first + fill.count - fill.demanded - 1);
  area.counters.resident_granules.add();
  core_.evictor.arrived(area.page_id(fill.demanded), Arrival::kDemand);
  area.table.finish_fill(fill.demanded,
                         area.options.is_writable ? GranuleState::kDirty : GranuleState::kClean);
}

bool Filler::poison(AreaState& area, std::uint64_t index) noexcept {
  const ByteRange range = area.memory_of(index, 1);
  const sys::Outcome<void> poisoned = area.frames->poison(range.offset_bytes, range.length_bytes);
  if (poisoned) {
    core_.service->note_poison(area.page_id(index));
  }
  // Poisoned already: whoever waits gets his signal as well.
  return poisoned || poisoned.error().value == EEXIST;
}

void Filler::unpoison(AreaState& area, std::uint64_t index) noexcept {
  const ByteRange range = area.memory_of(index, 1);
  if (range.length_bytes > 0) {
    const std::span<std::byte> view(area.frames->view() + range.offset_bytes, range.length_bytes);
    static_cast<void>(sys::unmap_from_view({&view, 1}));
  }
}

void Filler::offer_next(AreaState& area, std::uint64_t index) noexcept {
  const FillPlan plan = area.plan_tripwire(index);
  core_.service->offer(area, plan);
}

bool Filler::install_held(AreaState& area, std::uint64_t index, Need need) noexcept {
  if (!area.table.take_held(index)) {
    return false;
  }
  area.counters.tripwires.add();
  const std::optional<std::uint32_t> slot = core_.held.take(area, index);
  if (!slot) {
    abandon(area, index, 1);
    return false;
  }
  const Fill fill{.area = &area, .first = index, .count = 1, .demanded = index, .need = need};
  const std::span<std::byte> memory = core_.held.bytes(*slot);
  const std::error_code cause = complete(fill, memory, memory.size());
  core_.held.give_back(*slot);
  offer_next(area, index);
  return !cause;
}

void Filler::drop_held(AreaState& area, std::uint64_t index) noexcept {
  if (!area.table.take_held(index)) {
    return;
  }
  if (const std::optional<std::uint32_t> slot = core_.held.take(area, index)) {
    core_.held.give_back(*slot);
  }
  abandon(area, index, 1);
}

Filler::Store Filler::let_in(AreaState& area, std::uint64_t index) noexcept {
  const InsideGate inside(gate_of(area));
  const GranuleState state = area.table.word(index).state();
  if (area.commit() != nullptr && area.commit()->holds_up_stores(state == GranuleState::kWriting)) {
    return Store::kHeldUp;
  }
  return lift(area, index) ? Store::kLetIn : Store::kLookAgain;
}

bool Filler::lift(AreaState& area, std::uint64_t index) noexcept {
  if (!area.table.begin_store(index)) {
    return false;
  }
  // Its neighbours come along where stores come in a row: they are clean, and nobody is at them.
  const std::uint64_t most = area.store_runs.count_at(index);
  const std::uint64_t end = std::min(index + most, area.granule_count());
  std::uint64_t last = index + 1;
  while (last < end && area.table.word(last).state() == GranuleState::kClean &&
         area.table.begin_store(last)) {
    ++last;
  }
  area.store_runs.cut(index + most, last);
  const ByteRange memory = area.memory_of(index, last - index);
  // Dirty and protected would be a store that faults for ever: the kernel refuses this only where
  // the view is gone, and the area is closing, or when a test makes it.
  bool is_allowed = false;
  area.table.begin_writable(index);  // Of each leaf: a run has two at most.
  area.table.begin_writable(last - 1);
  for (int tries = 0; !is_allowed && !area.is_closing() && tries < kLiftTries; ++tries) {
    is_allowed = area.frames->allow_writes(memory.offset_bytes, memory.length_bytes).has_value();
  }
  QUIRE_CHECK(is_allowed || area.is_closing());
  for (std::uint64_t i = index; i < last; ++i) {
    area.table.finish_store(i);
  }
  area.table.end_writable(index);
  area.table.end_writable(last - 1);
  area.counters.store_upgrades.add();
  core_.service->note_dirty();
  return true;
}

}  // namespace quire::internal
