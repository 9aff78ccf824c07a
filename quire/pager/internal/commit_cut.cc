// SPDX-License-Identifier: Apache-2.0
#include "quire/pager/internal/commit_cut.h"

#include <algorithm>
#include <cstring>

#include "quire/base/check.h"
#include "quire/base/page_window.h"
#include "quire/pager/internal/area_commit.h"
#include "quire/pager/internal/pager_core.h"

namespace quire::internal {
namespace {

// To protect as much in vain costs less than another system call. Chosen by the cost of one of
// them, about as much as of eight page table entries.
constexpr std::uint64_t kBridgedMax = 8;
// Demand buffers that conflicts leave to faults, of so many one.
constexpr std::uint32_t kKeptFor = 4;

}  // namespace

// --- The cut ------------------------------------------------------------------------------------

bool CommitCut::begin(std::span<AreaState* const> areas) {
  QUIRE_CHECK(areas_.empty() && runs_.empty() && aside_.empty());
  areas_.assign(areas.begin(), areas.end());
  const std::uint64_t places =
      core_.demand->slot_count() * (core_.demand->slot_bytes() >> core_.geometry.granule.shift());
  aside_.reserve(places);
  slots_.reserve(core_.demand->slot_count());
  left_ = 0;
  at_ = 0;
  bool is_protected = true;
  for (AreaState* const area : areas_) {
    area->commit()->stores.shut();
  }
  for (std::size_t number = 0; number < areas_.size() && is_protected; ++number) {
    is_protected = sweep(number);
  }
  for (AreaState* const area : areas_) {
    area->commit()->is_imaging.store(left_ > 0);
    area->commit()->stores.open();
  }
  cursor_ = runs_.empty() ? 0 : runs_.front().span.first;
  return is_protected;
}

bool CommitCut::sweep(std::size_t number) {
  AreaState& area = *areas_[number];
  GranuleSpan stretch;
  bool is_protected = true;
  area.store_runs.note_commit();
  for (std::uint64_t leaf = area.table.next_in_use(0); leaf < area.granule_count();) {
    const std::uint64_t end =
        (leaf / GranuleTable::kLeafGranules + 1) * GranuleTable::kLeafGranules;
    // Counted anew when all are found: what was in the leaf before the cut must not be missed.
    std::uint32_t found = 0;
    std::uint32_t dirty = area.table.dirty_in_leaf(leaf);
    for (std::uint64_t i = leaf; i < std::min(end, area.granule_count()) && found < dirty; ++i) {
      if (!area.table.begin_cut(i)) {
        continue;
      }
      add(number, i);
      if (stretch.count == 0 || i - stretch.end() > kBridgedMax) {
        is_protected = protect(area, stretch) && is_protected;
        stretch = {i, 0};
      }
      stretch.count = i + 1 - stretch.first;
      dirty = ++found < dirty ? dirty : area.table.dirty_in_leaf(leaf);
    }
    leaf = area.table.next_in_use(end);
  }
  return protect(area, stretch) && is_protected;
}

void CommitCut::add(std::size_t number, std::uint64_t index) {
  ++left_;
  if (!runs_.empty() && runs_.back().area == number && runs_.back().span.end() == index) {
    ++runs_.back().span.count;
  } else {
    runs_.push_back({.area = number, .span = {index, 1}});
  }
}

bool CommitCut::protect(AreaState& area, GranuleSpan run) {
  if (run.count == 0) {
    return true;
  }
  const ByteRange memory = area.memory_of(run.first, run.count);
  const bool is_protected =
      area.frames->protect(memory.offset_bytes, memory.length_bytes).has_value();
  for (std::uint64_t i = run.first; i < run.end(); ++i) {
    if (area.table.word(i).state() == GranuleState::kWriting) {
      area.table.written_protected(i);
    }
  }
  return is_protected;
}

// --- Images -------------------------------------------------------------------------------------

std::optional<std::uint64_t> CommitCut::take(std::span<std::byte> window,
                                             std::span<std::vector<PageImages>> images) {
  std::uint64_t used_bytes = 0;
  while (left_ > 0) {
    QUIRE_CHECK_LT(at_, runs_.size());
    const Run& run = runs_[at_];
    AreaState& area = *areas_[run.area];
    const std::uint64_t most = (window.size() - used_bytes) >> area.granule.shift();
    if (most == 0) {
      break;
    }
    const GranuleSpan span = next_span(area, most);
    const std::uint64_t bytes = span.count << area.granule.shift();
    if (!copy(area, span, window.subspan(used_bytes, bytes), images[run.area])) {
      return std::nullopt;
    }
    used_bytes += bytes;
    left_ -= span.count;
    if (left_ == 0) {
      end_imaging();
    }
    cursor_ = span.end();
    if (cursor_ == run.span.end() && ++at_ < runs_.size()) {
      cursor_ = runs_[at_].span.first;
    }
  }
  return used_bytes;
}

void CommitCut::end_imaging() {
  for (AreaState* const area : areas_) {
    area->commit()->is_imaging.store(false);
  }
}

// Neighbours that are not aside; or one that is.
GranuleSpan CommitCut::next_span(const AreaState& area, std::uint64_t count_max) const {
  const std::uint64_t end = std::min(runs_[at_].span.end(), cursor_ + count_max);
  const auto next = aside_from(area.page_id(cursor_));
  if (next == aside_.end() || next->page >= area.page_id(end)) {
    return {cursor_, end - cursor_};
  }
  const std::uint64_t index = AreaState::index_of(next->page);
  return {cursor_, std::max<std::uint64_t>(index - cursor_, 1)};
}

std::vector<CommitCut::Aside>::const_iterator CommitCut::aside_from(PageId page) const {
  return std::ranges::lower_bound(aside_, page, {}, &Aside::page);
}

bool CommitCut::is_aside(PageId page) const {
  const auto found = aside_from(page);
  return found != aside_.end() && found->page == page;
}

// The rest of the journal's last page, past the store's end, is zeros, whatever was stored there.
bool CommitCut::copy(AreaState& area, GranuleSpan run, std::span<std::byte> into,
                     std::vector<PageImages>& images) const {
  const ByteRange memory = area.memory_of(run.first, run.count);
  const ByteRange stored = area.stored_of(run.first, run.count);
  const auto aside = aside_from(area.page_id(run.first));
  if (aside != aside_.end() && aside->page == area.page_id(run.first)) {
    std::memcpy(into.data(), aside->image.data(), memory.length_bytes);
  } else if (!area.frames->fetch(memory.offset_bytes, into.first(memory.length_bytes))) {
    return false;
  }
  area.note_written(end_of(stored));
  const PageSize page(area.commit()->journal->page_bytes());
  const std::span<std::byte> image = into.first(round_up(stored.length_bytes, page));
  std::ranges::fill(image.subspan(stored.length_bytes), std::byte{0});
  const bool goes_on =
      !images.empty() &&
      end_of({images.back().offset_bytes, images.back().bytes.size()}) == stored.offset_bytes &&
      images.back().bytes.data() + images.back().bytes.size() == image.data();
  if (goes_on) {
    images.back().bytes = {images.back().bytes.data(), images.back().bytes.size() + image.size()};
  } else if (!image.empty()) {
    images.push_back({.offset_bytes = stored.offset_bytes, .bytes = image});
  }
  return true;
}

// --- Conflicts ----------------------------------------------------------------------------------

bool CommitCut::has_image(const AreaState& area, std::uint64_t index) const {
  const auto mine = std::ranges::find(areas_, &area);
  if (left_ == 0 || mine == areas_.end()) {
    return true;
  }
  const auto number = static_cast<std::size_t>(mine - areas_.begin());
  const std::size_t at = runs_[at_].area;
  return number < at || (number == at && index < cursor_) || is_aside(area.page_id(index));
}

bool CommitCut::take_aside(AreaState& area, std::uint64_t index) {
  if (area.table.word(index).state() != GranuleState::kWriting || has_image(area, index)) {
    return true;
  }
  const std::span<std::byte> place = take_place();
  const ByteRange memory = area.memory_of(index, 1);
  if (place.empty() || !area.frames->fetch(memory.offset_bytes, place.first(memory.length_bytes))) {
    return false;
  }
  QUIRE_CHECK_LT(aside_.size(), aside_.capacity());
  aside_.insert(aside_from(area.page_id(index)), {area.page_id(index), place});
  area.counters.commit_conflicts.add();
  return true;
}

std::span<std::byte> CommitCut::take_place() {
  const std::uint64_t bytes = core_.geometry.granule.bytes();
  if (slots_.empty() || last_slot_used_bytes_ + bytes > core_.demand->slot_bytes()) {
    if (core_.demand->free_count() <= core_.demand->slot_count() / kKeptFor) {
      return {};
    }
    const std::optional<std::uint32_t> slot = core_.demand->try_take();
    if (!slot) {
      return {};
    }
    slots_.push_back(*slot);
    last_slot_used_bytes_ = 0;
  }
  const std::span<std::byte> place =
      core_.demand->bytes(slots_.back()).subspan(last_slot_used_bytes_, bytes);
  last_slot_used_bytes_ += bytes;
  return place;
}

// --- The end ------------------------------------------------------------------------------------

void CommitCut::finish(bool was_written) {
  for (const Run& run : runs_) {
    end_run(*areas_[run.area], run.span, was_written);
  }
  for (const std::uint32_t slot : slots_) {
    core_.demand->give_back(slot);
  }
  end_imaging();
  slots_.clear();
  aside_.clear();
  areas_.clear();
  runs_.clear();
  left_ = 0;
}

void CommitCut::end_run(AreaState& area, GranuleSpan run, bool was_written) {
  if (!was_written) {
    // Dirty is not protected. Where this is refused the view is going, and nobody stores to it.
    const ByteRange memory = area.memory_of(run.first, run.count);
    static_cast<void>(area.frames->allow_writes(memory.offset_bytes, memory.length_bytes));
  }
  for (std::uint64_t i = run.first; i < run.end(); ++i) {
    const GranuleState state = area.table.finish_write(i, was_written);
    area.counters.redirtied.add(was_written && state == GranuleState::kDirty ? 1 : 0);
  }
  area.counters.committed_granules.add(was_written ? run.count : 0);
}

}  // namespace quire::internal
