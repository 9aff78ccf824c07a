// SPDX-License-Identifier: Apache-2.0
//
// lap_word: the word that says what a cell of a ring is, for whom, and in which lap of the ring.
//
//   63            33  32  31                  0
//   |---- lap -----|-p-|------ member ---------|
//
//   free       p = 0, nobody    for whoever claims it in this lap
//   claimed    p = 0, member    the member writes; nobody reads
//   published  p = 1, member    whole; the member is done with it
//   void       p = 1, nobody    given up by who claimed it; there is nothing to read
//
//   free(lap) --claim (CAS)--> claimed --publish--> published --release--> free(lap + 1)
//                                 |  '--give up--> void --------release-----^
//                                 '--the member died: the reader abandons it-'
//
// A claim is one compare-and-swap of the word from "free in the lap I mean": there is no moment
// in which a cell is taken and nobody knows by whom. A claimant that slept through 2^31 laps could
// take a free cell out of turn; at ten laps a second that takes seven years.
#pragma once

#include <cstdint>

#include "quire/ipc/core/peers.h"

namespace quire::ipc::internal {

inline constexpr unsigned kLapBits = 31;
inline constexpr std::uint64_t kLapMask = (std::uint64_t{1} << kLapBits) - 1;
inline constexpr std::uint64_t kPublishedBit = std::uint64_t{1} << 32;

constexpr std::uint64_t free_word(std::uint64_t lap) noexcept {
  return (lap & kLapMask) << 33;
}
constexpr std::uint64_t claimed_word(std::uint64_t lap, MemberWord member) noexcept {
  return free_word(lap) | member;
}
constexpr std::uint64_t published_word(std::uint64_t lap, MemberWord member) noexcept {
  return free_word(lap) | kPublishedBit | member;
}
constexpr std::uint64_t void_word(std::uint64_t lap) noexcept {
  return published_word(lap, kNobody);
}

constexpr MemberWord member_of(std::uint64_t word) noexcept {
  return static_cast<MemberWord>(word);
}
constexpr bool is_published(std::uint64_t word) noexcept {
  return (word & kPublishedBit) != 0;
}

// How many laps `word` is ahead of `lap`, at most 2^30 either way.
constexpr std::int32_t laps_ahead(std::uint64_t word, std::uint64_t lap) noexcept {
  const std::uint64_t difference = ((word >> 33) - lap) & kLapMask;
  const std::uint64_t half = std::uint64_t{1} << (kLapBits - 1);
  return static_cast<std::int32_t>(static_cast<std::int64_t>(difference) -
                                   (difference >= half ? std::int64_t{1} << kLapBits : 0));
}

}  // namespace quire::ipc::internal
