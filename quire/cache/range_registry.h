// SPDX-License-Identifier: Apache-2.0
//
// range_registry: which object owns an address, asked in the middle of a fault: the areas of all
// pagers of the process, ordered by address (what the kernel's tree of VMAs is to a fault).
//
//   slots      fixed memory that is never freed: {begin, end, owner, users}
//   orders     slot numbers, sorted by address, twice: version v is in orders[v % 2]. A change
//              writes the next version into the other one, under a lock, and then makes it the
//              version. Readers search without a lock, and look again when the version moved.
//
// Twice, because a reader must never wait for a writer: that may be the very thread whose signal
// handler faulted.
//
//   find(address) --> Claim: the owner stays alive until the Claim goes
//   remove()      --> no new Claims; waits until the last one went
//
// Invariants:    ranges do not overlap; a slot is reused only after its last Claim went.
// Thread-safety: find() from any thread, also in signal handlers: no lock, O(log n); it looks again
//                only when another thread's add() or remove() got done meanwhile.
//                add() and remove(): any thread; they lock, and cost O(n). remove() of a range from
//                inside a Claim of it never returns.
// Errors:        kLimit when kRangesMax ranges exist.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "quire/base/mutex.h"
#include "quire/base/result.h"
#include "quire/sys/futex.h"

namespace quire {

class RangeRegistry {
 public:
  // Chosen arbitrarily: a quarter of the mappings that the kernel allows a process by default
  // (vm.max_map_count), of which each of these needs one. Slot numbers fit 16 bits.
  static constexpr std::uint32_t kRangesMax = 16'384;

  // Keeps the owner of an address alive. Empty when nobody owns it.
  class Claim {
   public:
    Claim() = default;
    Claim(Claim&& other) noexcept
        : registry_(std::exchange(other.registry_, nullptr)), slot_(other.slot_) {}
    Claim& operator=(Claim&&) = delete;
    ~Claim();
    [[nodiscard]] explicit operator bool() const noexcept { return registry_ != nullptr; }
    [[nodiscard]] void* owner() const noexcept;
    [[nodiscard]] std::uint32_t slot() const noexcept { return slot_; }

   private:
    friend class RangeRegistry;
    Claim(RangeRegistry& registry, std::uint32_t slot) noexcept
        : registry_(&registry), slot_(slot) {}
    RangeRegistry* registry_ = nullptr;
    std::uint32_t slot_ = 0;
  };

  // Returns the slot's number, below kRangesMax.
  // REQUIRES: the range is not empty and overlaps no other; there is an owner (checked).
  [[nodiscard]] Result<std::uint32_t> add(const std::byte* begin, std::uint64_t length_bytes,
                                          void* owner);
  // From now on find() does not find it. Waits until every Claim of it went.
  void remove(std::uint32_t slot) noexcept;

  [[nodiscard]] Claim find(const void* address) noexcept;

  [[nodiscard]] std::uint32_t count() const noexcept;
  void check_invariants() const;

  // The process's one: never destroyed, so that a late fault finds it.
  [[nodiscard]] static RangeRegistry& of_process() noexcept;

 private:
  struct Slot {
    std::atomic<std::uintptr_t> begin{0};
    std::atomic<std::uintptr_t> end{0};
    std::atomic<void*> owner{nullptr};    // Null: the slot is free.
    std::atomic<std::uint32_t> users{0};  // Claims; the top bit: somebody waits for the last to go.
  };
  struct Order {
    std::atomic<std::uint32_t> count{0};
    std::array<std::atomic<std::uint16_t>, kRangesMax> slots{};
  };

  [[nodiscard]] Order& order_of(std::uint64_t version) noexcept { return orders_[version % 2]; }
  [[nodiscard]] const Order& order_of(std::uint64_t version) const noexcept {
    return orders_[version % 2];
  }
  [[nodiscard]] std::uint32_t first_above(const Order& order,
                                          std::uintptr_t address) const noexcept;
  void insert(std::uint32_t position, std::uint32_t slot) noexcept QUIRE_REQUIRES(lock_);
  void erase(std::uint32_t position) noexcept QUIRE_REQUIRES(lock_);
  static void copy(const Order& from, std::uint32_t from_index, Order& to, std::uint32_t to_index,
                   std::uint32_t count) noexcept;
  void release(std::uint32_t slot) noexcept;

  mutable sys::FutexLock lock_;  // Of add() and remove().
  std::atomic<std::uint64_t> version_{0};
  std::array<Order, 2> orders_{};
  std::array<Slot, kRangesMax> slots_{};
};

}  // namespace quire
