// SPDX-License-Identifier: Apache-2.0
#include "quire/pager/internal/evictor.h"

#include <algorithm>

#include "quire/base/check.h"
#include "quire/pager/internal/area_state.h"
#include "quire/pager/internal/pager_core.h"

namespace quire::internal {

Evictor::Evictor(PagerCore& core) : core_(core) {}

Result<void> Evictor::start() {
  const auto pages_max =
      static_cast<std::size_t>(core_.geometry.memory_bytes >> core_.geometry.granule.shift());
  policy_ = make_replacement({.kind = core_.options.policy, .pages_max = pages_max}, *this);
  areas_.resize(RangeRegistry::kRangesMax);
  if (sys::Outcome<sys::PageScan> scan = sys::PageScan::open()) {
    scan_.emplace(std::move(*scan));
  }
  if (!core_.credits.try_take(Credits::Use::kMetadata, policy_->metadata_bytes())) {
    return fail(make_error(Errc::kLimit, "pager", human_bytes(core_.geometry.memory_bytes),
                           "the budget does not hold the policy's own lists",
                           "give it more memory_bytes"));
  }
  return {};
}

void Evictor::add_area(AreaState& area) {
  const sys::FutexLockGuard guard(lock_);
  areas_[area.slot] = &area;
}

void Evictor::remove_area(AreaState& area) {
  const sys::FutexLockGuard guard(lock_);
  drain_inbox();
  const std::uint32_t slot = area.slot;
  policy_->purge(
      [](const void* context, PageId page) {
        return AreaState::slot_of(page) == *static_cast<const std::uint32_t*>(context);
      },
      &slot);
  areas_[slot] = nullptr;
  const auto* const kept =
      std::remove_if(dirty_.begin(), dirty_.begin() + dirty_count_,
                     [=](PageId page) { return AreaState::slot_of(page) == slot; });
  dirty_count_ = static_cast<std::size_t>(kept - dirty_.begin());
}

void Evictor::fence() noexcept {
  const sys::FutexLockGuard guard(lock_);
}

void Evictor::arrived(PageId page, Arrival arrival) noexcept {
  for (;;) {
    {
      const sys::FutexLockGuard guard(inbox_lock_);
      if (inbox_count_ < kInbox) {
        inbox_[inbox_count_++] = {page, arrival};
        return;
      }
    }
    const sys::FutexLockGuard guard(lock_);
    drain_inbox();
  }
}

void Evictor::left(PageId page) noexcept {
  const sys::FutexLockGuard guard(lock_);
  drain_inbox();
  policy_->erased(page);
}

void Evictor::drain_inbox() noexcept {
  const sys::FutexLockGuard guard(inbox_lock_);
  for (std::size_t i = 0; i < inbox_count_; ++i) {
    policy_->inserted(inbox_[i].page, inbox_[i].arrival);
  }
  inbox_count_ = 0;
}

AreaState* Evictor::area_of(PageId page) const noexcept {
  return areas_[AreaState::slot_of(page)];
}

AreaState* Evictor::enter_area(PageId page) noexcept {
  const sys::FutexLockGuard guard(lock_);
  AreaState* area = area_of(page);
  if (area == nullptr || area->is_closing()) {
    return nullptr;
  }
  area->begin_service();
  return area;
}

// --- The policy's questions. All under lock_ ----------------------------------------------------

PageNote Evictor::note(PageId page) const noexcept {
  return area_of(page)->table.note(AreaState::index_of(page));
}

void Evictor::set_note(PageId page, PageNote note) noexcept {
  area_of(page)->table.set_note(AreaState::index_of(page), note);
}

PageHost::Standing Evictor::standing(PageId page) const noexcept {
  const AreaState* area = area_of(page);
  if (area == nullptr) {
    return Standing::kGone;
  }
  const GranuleWord word = area->table.word(AreaState::index_of(page));
  switch (word.state()) {
    case GranuleState::kAbsent: return Standing::kGone;
    case GranuleState::kClean:
    case GranuleState::kDirty:
      return word.pins() > 0 || word.has(GranuleWord::kLocked) ? Standing::kBusy
                                                               : Standing::kEvictable;
    default: return Standing::kBusy;
  }
}

// How many of the pages, from the first on, are neighbours.
std::size_t Evictor::run_length(std::span<const PageId> pages) noexcept {
  std::size_t count = 1;
  while (count < pages.size() && pages[count] == pages[count - 1] + 1) {
    ++count;
  }
  return count;
}

void Evictor::watch(std::span<const PageId> pages) noexcept {
  std::size_t count = 0;
  for (std::size_t run = 0; !pages.empty(); pages = pages.subspan(run)) {
    run = run_length(pages);
    const AreaState& area = *area_of(pages.front());
    const ByteRange memory = area.memory_of(AreaState::index_of(pages.front()), run);
    if (memory.length_bytes > 0 && !area.is_closing()) {
      watched_[count++] = {area.frames->view() + memory.offset_bytes, memory.length_bytes};
    }
  }
  // A page that stays mapped counts as used once more than it was: no harm.
  static_cast<void>(sys::unmap_from_view(std::span(watched_).first(count)));
}

void Evictor::look(std::span<const PageId> pages, std::span<bool> used) noexcept {
  std::ranges::fill(used, false);
  for (std::size_t run = 0; scan_ && !pages.empty();
       pages = pages.subspan(run), used = used.subspan(run)) {
    const std::size_t most =
        present_.size() * sys::os_page_size().bytes() >> core_.geometry.granule.shift();
    run = run_length(pages.first(std::min(pages.size(), std::max<std::size_t>(most, 1))));
    if (!area_of(pages.front())->is_closing()) {
      look_at_run(pages.first(run), used);
    }
  }
}

// REQUIRES: neighbours, whose OS pages fit into present_ (or one granule, which is looked at in
// pieces).
void Evictor::look_at_run(std::span<const PageId> pages, std::span<bool> used) noexcept {
  const AreaState& area = *area_of(pages.front());
  const ByteRange memory = area.memory_of(AreaState::index_of(pages.front()), pages.size());
  const std::uint64_t page_bytes = sys::os_page_size().bytes();
  for (std::uint64_t at = 0; at < memory.length_bytes; at += present_.size() * page_bytes) {
    const std::uint64_t length = std::min(memory.length_bytes - at, present_.size() * page_bytes);
    const std::span<bool> answer(present_.data(), (length + page_bytes - 1) / page_bytes);
    if (!scan_->present(area.frames->view() + memory.offset_bytes + at, length, answer)) {
      continue;  // Not known: not used.
    }
    for (std::size_t i = 0; i < answer.size(); ++i) {
      used[(at + i * page_bytes) >> area.granule.shift()] |= answer[i];
    }
  }
}

// --- Making room --------------------------------------------------------------------------------

void Evictor::name_dirty(PageId page) noexcept {
  if (dirty_count_ < kDirtyMax) {
    dirty_[dirty_count_++] = page;
  }
}

Evictor::Room Evictor::make_room(std::size_t granules) noexcept {
  Room room;
  std::array<PageId, kBatch> chosen{};
  {
    const sys::FutexLockGuard guard(lock_);
    drain_inbox();
    const std::size_t count =
        policy_->choose_victims(std::span(chosen).first(std::min(granules, kBatch)));
    for (std::size_t i = 0; i < count; ++i) {
      const PageId page = chosen[i];
      AreaState& area = *area_of(page);
      const std::uint64_t index = AreaState::index_of(page);
      if (area.table.begin_evict(index)) {
        chosen[room.evicted++] = page;
        continue;
      }
      policy_->kept(page);
      const GranuleWord word = area.table.word(index);
      if (word.state() == GranuleState::kDirty && word.pins() == 0) {
        ++room.dirty;
        name_dirty(page);
      } else {
        ++room.busy;
      }
    }
  }
  // What is kEvicting keeps its area alive.
  const std::span<PageId> evicting(chosen.data(), room.evicted);
  std::ranges::sort(evicting);
  for (std::size_t begin = 0; begin < evicting.size();) {
    std::size_t end = begin + 1;
    while (end < evicting.size() && evicting[end] == evicting[end - 1] + 1) {
      ++end;
    }
    AreaState& area = *areas_[AreaState::slot_of(evicting[begin])];
    punch(area, evicting.subspan(begin, end - begin));
    begin = end;
  }
  return room;
}

void Evictor::punch(AreaState& area, std::span<const PageId> run) noexcept {
  const std::uint64_t first = AreaState::index_of(run.front());
  const ByteRange memory = area.memory_of(first, run.size());
  if (memory.length_bytes > 0) {
    // A hole in a memfd needs no memory and cannot fail but for a bug, or a test that makes it:
    // then the memory stays taken, and so must the credit; it is tried once more.
    if (!area.frames->punch(memory.offset_bytes, memory.length_bytes)) {
      QUIRE_CHECK(area.frames->punch(memory.offset_bytes, memory.length_bytes).has_value());
    }
  }
  area.on_gone(run.size());
  area.counters.evicted.add(run.size());
  evicted_.add(run.size());
  for (std::size_t i = 0; i < run.size(); ++i) {
    // The last one first: when the first is absent, nothing keeps the area.
    const std::uint64_t index = first + run.size() - 1 - i;
    const bool is_last = i + 1 == run.size();
    if (!is_last) {
      area.table.finish_evict(index);
    } else {
      core_.credits.give_back(Credits::Use::kPages, run.size() * core_.geometry.granule.bytes());
      if (core_.credits.taken_bytes(Credits::Use::kMetadata) > core_.geometry.metadata_bytes) {
        area.begin_service();
        area.table.finish_evict(index);
        give_back_leaf(area, index);
        area.end_service();
      } else {
        area.table.finish_evict(index);
      }
    }
  }
}

void Evictor::give_back_leaf(AreaState& area, std::uint64_t index) noexcept {
  if (!area.table.begin_give_back(index)) {
    return;
  }
  const std::uint64_t leaf = index / GranuleTable::kLeafGranules;
  const ByteRange memory =
      area.memory_of(leaf * GranuleTable::kLeafGranules, GranuleTable::kLeafGranules);
  // What the kernel keeps of its tables only costs memory. A view that is about to go is left
  // alone: see fence().
  if (!area.is_closing()) {
    static_cast<void>(area.frames->forget_page_tables(memory.offset_bytes, memory.length_bytes));
  }
  area.table.finish_give_back(index);
  core_.credits.give_back(Credits::Use::kMetadata, core_.geometry.leaf_bytes);
}

void Evictor::evict_one(AreaState& area, std::uint64_t index) noexcept {
  left(area.page_id(index));
  const PageId page = area.page_id(index);
  punch(area, {&page, 1});
}

std::size_t Evictor::take_dirty(std::span<PageId> pages) noexcept {
  const sys::FutexLockGuard guard(lock_);
  const std::size_t count = std::min(pages.size(), dirty_count_);
  dirty_count_ -= count;
  std::copy_n(dirty_.begin() + static_cast<std::ptrdiff_t>(dirty_count_), count, pages.begin());
  return count;
}

std::size_t Evictor::collect_dirty(PageId& from, std::span<PageId> into, Reason reason) noexcept {
  const sys::FutexLockGuard guard(lock_);
  std::size_t count = 0;
  for (std::uint32_t slot = AreaState::slot_of(from); slot < areas_.size(); ++slot) {
    const AreaState* area = areas_[slot];
    if (area == nullptr || area->table.dirty_count() == 0 ||
        (reason == Reason::kOld && area->commit() != nullptr)) {
      continue;
    }
    const std::uint64_t end = area->granule_count();
    std::uint64_t i = slot == AreaState::slot_of(from) ? AreaState::index_of(from) : 0;
    while ((i = area->table.next_in_use(i)) < end) {
      if (area->table.dirty_in_leaf(i) == 0) {
        i = (i / GranuleTable::kLeafGranules + 1) * GranuleTable::kLeafGranules;
        continue;
      }
      if (area->table.word(i).state() == GranuleState::kDirty) {
        into[count++] = area->page_id(i);
        if (count == into.size()) {
          from = area->page_id(i) + 1;
          return count;
        }
      }
      ++i;
    }
  }
  from = 0;
  return count;
}

template <typename Predicate>
bool Evictor::any_granule(Predicate&& predicate) noexcept {
  for (AreaState* area : areas_) {
    if (area == nullptr) {
      continue;
    }
    const std::uint64_t end = area->granule_count();
    for (std::uint64_t i = area->table.next_in_use(0); i < end;
         i = area->table.next_in_use(i + 1)) {
      const GranuleWord word = area->table.word(i);
      if (word.state() != GranuleState::kAbsent && predicate(*area, i, word)) {
        return true;
      }
    }
  }
  return false;
}

Evictor::LastRoom Evictor::make_last_room() noexcept {
  AreaState* owner = nullptr;
  std::uint64_t index = 0;
  bool is_held = false;
  bool is_coming = false;
  {
    const sys::FutexLockGuard guard(lock_);
    static_cast<void>(any_granule([&](AreaState& area, std::uint64_t i, GranuleWord word) {
      is_coming = is_coming || (word.is_in_transition() && word.state() != GranuleState::kWriting);
      is_held = word.state() == GranuleState::kHeld;
      if (area.is_closing() || (!is_held && !area.table.begin_evict(i))) {
        return false;
      }
      if (is_held) {
        area.begin_service();
      }
      owner = &area;
      index = i;
      return true;
    }));
  }
  if (owner == nullptr) {
    return is_coming ? LastRoom::kComing : LastRoom::kNone;
  }
  if (is_held) {
    core_.filler.drop_held(*owner, index);
    owner->end_service();
  } else {
    evict_one(*owner, index);
  }
  return LastRoom::kMade;
}

bool Evictor::is_all_pinned() noexcept {
  const sys::FutexLockGuard guard(lock_);
  const auto is_pinned = [](const AreaState&, std::uint64_t, GranuleWord word) {
    return word.pins() > 0;
  };
  const auto is_evictable = [](const AreaState&, std::uint64_t, GranuleWord word) {
    return word.pins() == 0 && word.state() != GranuleState::kHeld;
  };
  return any_granule(is_pinned) && !any_granule(is_evictable);
}

PolicyStats Evictor::stats() noexcept {
  const sys::FutexLockGuard guard(lock_);
  return policy_->stats();
}

void Evictor::check_invariants() {
  const sys::FutexLockGuard guard(lock_);
  drain_inbox();
  policy_->check_invariants();
}

}  // namespace quire::internal
