// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/core/mpsc_cells.h"

namespace quire::ipc::internal {

MpscCellsReader::MpscCellsReader(const MpscCellsPlace& place) noexcept
    : place_(place), head_(place.control->head.load(std::memory_order_acquire)) {
  // What the last reader released without having said so in head: at most every cell.
  std::uint64_t passed = 0;
  while (passed <= place_.cell_count) {
    const std::uint64_t seen = place_.word(head_).load(std::memory_order_acquire);
    if (laps_ahead(seen, place_.lap(head_)) != 1) {
      break;
    }
    ++head_;
    ++passed;
  }
  // One more than tail says may be claimed, published and released: see the invariants.
  const std::uint64_t tail = place_.control->tail.load(std::memory_order_acquire);
  corrupt_ = passed > place_.cell_count || tail + 1 - head_ > place_.cell_count + 1;
  if (!corrupt_ && passed != 0) {
    place_.control->head.store(head_, std::memory_order_release);
  }
}

MemberWord MpscCellsReader::blocked_by() const noexcept {
  const std::uint64_t seen = place_.word(head_).load(std::memory_order_acquire);
  return is_published(seen) ? kNobody : member_of(seen);
}

bool MpscCellsReader::abandon_dead(const Peers& peers) noexcept {
  const MemberWord member = blocked_by();
  if (member == kNobody || corrupt_ || !peers.is_dead(member)) {
    return false;
  }
  // Its last stores are visible only now: it may have published before it died.
  if (blocked_by() != member) {
    return false;
  }
  QUIRE_IPC_STEP("mpsc.abandon");
  place_.control->abandoned.fetch_add(1, std::memory_order_relaxed);
  QUIRE_IPC_STEP("mpsc.counted");
  release();
  return true;
}

bool MpscCellsReader::is_sound() const noexcept {
  const std::uint64_t tail = place_.control->tail.load(std::memory_order_acquire);
  if (corrupt_ || tail + 1 - head_ > place_.cell_count + 1) {
    return false;
  }
  for (std::uint64_t position = head_; position != head_ + place_.cell_count; ++position) {
    const std::uint64_t seen = place_.word(position).load(std::memory_order_acquire);
    const bool is_free = seen == free_word(place_.lap(position));
    const bool in_lap = laps_ahead(seen, place_.lap(position)) == 0;
    // Signed: tail may be one short of head.
    const bool before_tail = static_cast<std::int64_t>(position - tail) < 0;
    if (!in_lap || (before_tail && is_free) || (!before_tail && position != tail && !is_free)) {
      return false;
    }
  }
  return true;
}

}  // namespace quire::ipc::internal
