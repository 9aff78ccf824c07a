// SPDX-License-Identifier: Apache-2.0
//
// granule_cell: how GranuleTable lays out its memory: the cell of a granule, the word of a leaf.
//
// Memory orders. A state word is changed by compare-exchange or exchange with acq_rel, and read
// with acquire: who wins a state sees everything that was done before it was announced (the bytes
// in the memfd, the protection), and who announces one has done it. A leaf's word is treated the
// same way: the release in finish_give_back() pairs with the acquire in enter_charged(), so that
// the next users find zeros. Counters of the whole table are plain seq_cst.
//
// Thread-safety: atomics, and plain values.
#pragma once

#include <atomic>
#include <cstdint>

#include "quire/cache/granule_table.h"

namespace quire {

struct GranuleTable::Cell {
  std::atomic<std::uint32_t> word;
  std::atomic<std::uint32_t> note;
};

// A leaf's word, taken apart. Zero, as untouched memory is: unused.
//
//   | in use | leaving |  dirty: 10 bits  |  users: 20 bits  |
class GranuleTable::LeafWord {
 public:
  static constexpr std::uint32_t kUserOne = 1;
  static constexpr std::uint32_t kUsersMask = 0xfffff;
  static constexpr std::uint32_t kDirtyOne = 0x100000;
  static constexpr std::uint32_t kDirtyMask = 0x3ff00000;
  static constexpr std::uint32_t kLeaving = 0x40000000;
  static constexpr std::uint32_t kInUse = 0x80000000;
  static_assert(kDirtyMask / kDirtyOne >= kLeafGranules);

  explicit constexpr LeafWord(std::uint32_t bits) noexcept : bits_(bits) {}
  [[nodiscard]] constexpr bool is_in_use() const noexcept { return (bits_ & kInUse) != 0; }
  [[nodiscard]] constexpr bool is_leaving() const noexcept { return (bits_ & kLeaving) != 0; }
  [[nodiscard]] constexpr std::uint32_t users() const noexcept { return bits_ & kUsersMask; }
  [[nodiscard]] constexpr std::uint32_t dirty() const noexcept {
    return (bits_ & kDirtyMask) / kDirtyOne;
  }

 private:
  std::uint32_t bits_;
};

namespace internal {

inline GranuleWord load(const std::atomic<std::uint32_t>& word) noexcept {
  return {word.load(std::memory_order_acquire)};
}

}  // namespace internal
}  // namespace quire
