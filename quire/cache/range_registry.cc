// SPDX-License-Identifier: Apache-2.0
#include "quire/cache/range_registry.h"

#include <string>
#include <type_traits>

#include "quire/base/check.h"

namespace quire {
namespace {

constexpr std::uint32_t kAwaitedByRemove = 0x80000000;

std::uintptr_t number_of(const void* address) noexcept {
  return reinterpret_cast<std::uintptr_t>(address);
}

// Zeros alone, so that it takes no memory before it is used.
constinit RangeRegistry process_registry;
static_assert(std::is_trivially_destructible_v<RangeRegistry>, "a late fault must find it");

}  // namespace

RangeRegistry& RangeRegistry::of_process() noexcept {
  return process_registry;
}

std::uint32_t RangeRegistry::count() const noexcept {
  return order_of(version_.load()).count.load();
}

// --- Changes -------------------------------------------------------------------------------------

Result<std::uint32_t> RangeRegistry::add(const std::byte* begin, std::uint64_t length_bytes,
                                         void* owner) {
  QUIRE_CHECK(owner != nullptr && length_bytes > 0);
  const sys::FutexLockGuard guard(lock_);
  const Order& order = order_of(version_.load());
  const std::uint32_t count = order.count.load();
  if (count == kRangesMax) {
    return fail(make_error(Errc::kLimit, "range_registry", std::to_string(length_bytes) + " bytes",
                           std::to_string(kRangesMax) + " ranges are mapped",
                           "close some of them"));
  }
  const std::uint32_t position = first_above(order, number_of(begin));
  if (position > 0) {
    QUIRE_CHECK_LE(slots_[order.slots[position - 1].load()].end.load(), number_of(begin));
  }
  if (position < count) {
    QUIRE_CHECK_LE(number_of(begin) + length_bytes,
                   slots_[order.slots[position].load()].begin.load());
  }
  std::uint32_t free_slot = 0;
  while (free_slot < kRangesMax && slots_[free_slot].owner.load() != nullptr) {
    ++free_slot;
  }
  if (free_slot == kRangesMax) {
    return fail(make_error(Errc::kLimit, "range_registry", std::to_string(length_bytes) + " bytes",
                           "ranges that are being closed occupy the last slots",
                           "try again when they are closed"));
  }
  Slot& slot = slots_[free_slot];
  slot.begin.store(number_of(begin));
  slot.end.store(number_of(begin) + length_bytes);
  slot.owner.store(owner);
  insert(position, free_slot);
  return free_slot;
}

void RangeRegistry::remove(std::uint32_t slot_index) noexcept {
  QUIRE_CHECK_LT(slot_index, kRangesMax);
  Slot& slot = slots_[slot_index];
  {
    const sys::FutexLockGuard guard(lock_);
    const std::uint32_t above = first_above(order_of(version_.load()), slot.begin.load());
    QUIRE_CHECK_GT(above, 0U);
    QUIRE_CHECK_EQ(std::uint32_t{order_of(version_.load()).slots[above - 1].load()}, slot_index);
    erase(above - 1);
  }
  // Outside of the lock: others may come and go while this one waits.
  std::uint32_t users = slot.users.fetch_or(kAwaitedByRemove) | kAwaitedByRemove;
  while (users != kAwaitedByRemove) {
    sys::futex_wait(slot.users, users);
    users = slot.users.load();
  }
  // Not a store of 0: a find() that is about to look again may be counted at this instant.
  slot.users.fetch_and(~kAwaitedByRemove);
  slot.owner.store(nullptr);
}

// Each copies the order into the other one with one entry more or less, and makes that the version.
// A find() that still searches the one that is overwritten sees that the version moved, and looks
// again: what it reads here with acquire was stored with release, after that version was.
void RangeRegistry::insert(std::uint32_t position, std::uint32_t slot) noexcept {
  const std::uint64_t version = version_.load();
  const Order& from = order_of(version);
  Order& to = order_of(version + 1);
  const std::uint32_t count = from.count.load();
  copy(from, 0, to, 0, position);
  to.slots[position].store(static_cast<std::uint16_t>(slot), std::memory_order_release);
  copy(from, position, to, position + 1, count - position);
  to.count.store(count + 1, std::memory_order_release);
  version_.store(version + 1);
}

void RangeRegistry::erase(std::uint32_t position) noexcept {
  const std::uint64_t version = version_.load();
  const Order& from = order_of(version);
  Order& to = order_of(version + 1);
  const std::uint32_t count = from.count.load();
  copy(from, 0, to, 0, position);
  copy(from, position + 1, to, position, count - position - 1);
  to.count.store(count - 1, std::memory_order_release);
  version_.store(version + 1);
}

void RangeRegistry::copy(const Order& from, std::uint32_t from_index, Order& to,
                         std::uint32_t to_index, std::uint32_t count) noexcept {
  for (std::uint32_t i = 0; i < count; ++i) {
    to.slots[to_index + i].store(from.slots[from_index + i].load(), std::memory_order_release);
  }
}

// --- Questions -----------------------------------------------------------------------------------

// The position of the first range that begins above the address.
std::uint32_t RangeRegistry::first_above(const Order& order,
                                         std::uintptr_t address) const noexcept {
  std::uint32_t low = 0;
  std::uint32_t high = order.count.load();
  while (low < high) {
    const std::uint32_t middle = low + (high - low) / 2;
    if (slots_[order.slots[middle].load()].begin.load() <= address) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// The claim is counted first, and the version looked at again then; remove() makes a new version
// first, and then looks at the count. By the one order of seq_cst one of the two sees the other:
// either the claim is given up here, or it is waited for there.
RangeRegistry::Claim RangeRegistry::find(const void* address) noexcept {
  for (;;) {
    const std::uint64_t version = version_.load();
    const Order& order = order_of(version);
    const std::uint32_t above = first_above(order, number_of(address));
    const std::uint32_t slot_index = above == 0 ? 0 : order.slots[above - 1].load();
    const bool is_inside = above > 0 && number_of(address) < slots_[slot_index].end.load();
    if (is_inside) {
      slots_[slot_index].users.fetch_add(1);
    }
    if (version_.load() == version) {
      return is_inside ? Claim(*this, slot_index) : Claim();
    }
    if (is_inside) {
      release(slot_index);
    }
  }
}

void RangeRegistry::release(std::uint32_t slot) noexcept {
  std::atomic<std::uint32_t>& users = slots_[slot].users;
  if (users.fetch_sub(1) == kAwaitedByRemove + 1) {
    sys::futex_wake_all(users);
  }
}

RangeRegistry::Claim::~Claim() {
  if (registry_ != nullptr) {
    registry_->release(slot_);
  }
}

void* RangeRegistry::Claim::owner() const noexcept {
  return registry_ == nullptr ? nullptr : registry_->slots_[slot_].owner.load();
}

void RangeRegistry::check_invariants() const {
  const sys::FutexLockGuard guard(lock_);
  const Order& order = order_of(version_.load());
  std::uintptr_t end = 0;
  for (std::uint32_t i = 0; i < order.count.load(); ++i) {
    const Slot& slot = slots_[order.slots[i].load()];
    QUIRE_CHECK(slot.owner.load() != nullptr);
    QUIRE_CHECK_LE(end, slot.begin.load());
    QUIRE_CHECK_LT(slot.begin.load(), slot.end.load());
    end = slot.end.load();
  }
}

}  // namespace quire
