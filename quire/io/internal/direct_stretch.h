// SPDX-License-Identifier: Apache-2.0
//
// direct_stretch: which part of a transfer comes next, and whether it goes straight into the
// caller's memory or through an aligned buffer.
//
//   file      |....aaaa|bbbbbbbb|bbbbbbbb| ... |bbbbbbbb|cc......|     blocks
//                  '--- bounced, '------- straight -----'  '- bounced
//
// Straight: the offset and the length are whole blocks, and the memory is aligned all the way.
// A straight stretch between two bounced ones costs a request of its own: it pays when copying
// would take longer than the device takes for one more.
//
// Invariants:    a stretch is never empty; a straight one is whole blocks, a bounced one fits into
//                the buffer with the blocks at its edges.
// Thread-safety: plain functions of their arguments.
#pragma once

#include <algorithm>
#include <cstdint>

#include "quire/base/page_window.h"
#include "quire/io/internal/piece_cursor.h"

namespace quire::internal {

struct DirectRules {
  PageSize offset_unit;        // Offsets and lengths.
  PageSize memory_unit;        // Addresses.
  std::uint64_t bounce_bytes;  // Of one aligned buffer.
};

struct Stretch {
  std::uint64_t length_bytes = 0;
  bool is_straight = false;
};

// Copying this much takes some 10 us, a request to a fast device some 50.
inline constexpr std::uint64_t kStraightBytesMin = 64 * 1024;

template <typename Byte>
[[nodiscard]] bool is_aligned(std::span<Byte> memory, PageSize unit) noexcept {
  return (reinterpret_cast<std::uintptr_t>(memory.data()) & unit.mask()) == 0;
}

// Bytes from `offset_bytes` on that can go straight, as far as `cursor` reaches.
template <typename Byte>
[[nodiscard]] std::uint64_t straight_bytes(const PieceCursor<Byte>& cursor,
                                           std::uint64_t offset_bytes, const DirectRules& rules) {
  if ((offset_bytes & rules.offset_unit.mask()) != 0) {
    return 0;
  }
  std::uint64_t total = 0;
  cursor.for_each([&](std::span<Byte> piece) {
    if (!is_aligned(piece, rules.memory_unit)) {
      return false;
    }
    const std::uint64_t whole = round_down(piece.size(), rules.offset_unit);
    total += whole;
    return whole == piece.size();
  });
  return total;
}

// Bytes from `offset_bytes` to where a straight stretch that pays begins; all when there is none.
template <typename Byte>
[[nodiscard]] std::uint64_t bytes_until_straight(const PieceCursor<Byte>& cursor,
                                                 std::uint64_t offset_bytes,
                                                 const DirectRules& rules) {
  std::uint64_t before = 0;
  bool is_found = false;
  cursor.for_each([&](std::span<Byte> piece) {
    const std::uint64_t position = offset_bytes + before;
    const std::uint64_t skip = round_up(position, rules.offset_unit) - position;
    is_found = piece.size() >= skip + kStraightBytesMin &&
               is_aligned(piece.subspan(skip), rules.memory_unit);
    before += is_found ? skip : piece.size();
    return !is_found && before < rules.bounce_bytes;
  });
  return before;
}

// REQUIRES: cursor.left_bytes() > 0.
template <typename Byte>
[[nodiscard]] Stretch next_stretch(const PieceCursor<Byte>& cursor, std::uint64_t offset_bytes,
                                   const DirectRules& rules) {
  const std::uint64_t left = cursor.left_bytes();
  const std::uint64_t straight = straight_bytes(cursor, offset_bytes, rules);
  if (straight > 0 && (straight == left || straight >= kStraightBytesMin)) {
    return {.length_bytes = straight, .is_straight = true};
  }
  const std::uint64_t skew = offset_bytes & rules.offset_unit.mask();
  const std::uint64_t room = rules.bounce_bytes - skew;
  // Full buffers end at block edges, so that only the two ends of a transfer have edges.
  const std::uint64_t wanted = bytes_until_straight(cursor, offset_bytes, rules);
  return {.length_bytes = std::min({left, room, wanted}), .is_straight = false};
}

}  // namespace quire::internal
