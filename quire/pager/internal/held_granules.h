// SPDX-License-Identifier: Apache-2.0
//
// HeldGranules: the bytes of tripwires: granules that were read ahead and are held back, so that
// their reader's arrival is seen. Bounded: the oldest, whose reader has not come for longest, makes
// way for the next.
//
// Invariants:    an entry exists for each granule in kHeld, and for no other, but for moments; an
//                area takes its entries out before it goes.
// Thread-safety: every member from any thread, also where a fault is being served.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "quire/base/result.h"
#include "quire/cache/slot_pool.h"
#include "quire/sys/futex.h"

namespace quire::internal {

class AreaState;

class HeldGranules {
 public:
  static constexpr std::size_t kMax = 32;

  // Errors: ENOMEM.
  Result<void> start(std::uint64_t granule_bytes, std::uint32_t count);

  // Keeps a copy. False: no slot is free; see oldest().
  [[nodiscard]] bool put(AreaState& area, std::uint64_t index,
                         std::span<const std::byte> bytes) noexcept;
  // The slot with the granule's bytes, which the caller gives back. Nothing: it is not here.
  [[nodiscard]] std::optional<std::uint32_t> take(const AreaState& area,
                                                  std::uint64_t index) noexcept;
  struct Place {
    AreaState* area = nullptr;  // begin_service()d.
    std::uint64_t index = 0;
  };
  // What was put first of what is here. Somebody may take it meanwhile.
  [[nodiscard]] std::optional<Place> oldest() noexcept;
  [[nodiscard]] std::span<std::byte> bytes(std::uint32_t slot) const noexcept {
    return slots_->bytes(slot);
  }
  void give_back(std::uint32_t slot) noexcept { slots_->give_back(slot); }

 private:
  struct Entry {
    AreaState* area = nullptr;
    std::uint64_t index = 0;
    std::uint32_t slot = 0;
    std::uint64_t number = 0;  // In the order of put().
  };

  std::unique_ptr<SlotPool> slots_;
  sys::FutexLock lock_;
  std::array<Entry, kMax> entries_ QUIRE_GUARDED_BY(lock_){};
  std::uint64_t put_count_ QUIRE_GUARDED_BY(lock_) = 0;
};

}  // namespace quire::internal
