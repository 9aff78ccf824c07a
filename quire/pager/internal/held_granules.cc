// SPDX-License-Identifier: Apache-2.0
#include "quire/pager/internal/held_granules.h"

#include <algorithm>
#include <cstring>

#include "quire/pager/internal/area_state.h"

namespace quire::internal {

Result<void> HeldGranules::start(std::uint64_t granule_bytes, std::uint32_t count) {
  slots_ = QUIRE_TRY(SlotPool::make({.slot_bytes = granule_bytes, .slot_count = count}));
  return {};
}

bool HeldGranules::put(AreaState& area, std::uint64_t index,
                       std::span<const std::byte> bytes) noexcept {
  const std::optional<std::uint32_t> slot = slots_->try_take();
  if (!slot) {
    return false;
  }
  const std::span<std::byte> kept = slots_->bytes(*slot);
  std::memcpy(kept.data(), bytes.data(), bytes.size());
  std::memset(kept.data() + bytes.size(), 0, kept.size() - bytes.size());
  const sys::FutexLockGuard guard(lock_);
  Entry* const free_entry = std::ranges::find(entries_, nullptr, &Entry::area);
  *free_entry = {.area = &area, .index = index, .slot = *slot, .number = ++put_count_};
  return true;
}

std::optional<HeldGranules::Place> HeldGranules::oldest() noexcept {
  const sys::FutexLockGuard guard(lock_);
  Entry* found = nullptr;
  for (Entry& entry : entries_) {
    if (entry.area != nullptr && (found == nullptr || entry.number < found->number)) {
      found = &entry;
    }
  }
  if (found == nullptr) {
    return std::nullopt;
  }
  found->area->begin_service();
  return Place{.area = found->area, .index = found->index};
}

std::optional<std::uint32_t> HeldGranules::take(const AreaState& area,
                                                std::uint64_t index) noexcept {
  const sys::FutexLockGuard guard(lock_);
  for (Entry& entry : entries_) {
    if (entry.area == &area && entry.index == index) {
      entry.area = nullptr;
      return entry.slot;
    }
  }
  return std::nullopt;
}

}  // namespace quire::internal
