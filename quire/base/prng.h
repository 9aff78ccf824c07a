// SPDX-License-Identifier: Apache-2.0
//
// Prng: small, fast, seeded random numbers, the same on every machine: a failure replays from its
// printed seed. Never for secrets.
//
// Source: Blackman, Vigna, "Scrambled linear pseudorandom number generators" (2021): xoshiro256**,
//         seeded by SplitMix64 as they recommend.
// Thread-safety: one thread at a time.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <limits>

#include "quire/base/check.h"

namespace quire {

class Prng {
 public:
  using result_type = std::uint64_t;  // The shape <random> and std::shuffle want.

  explicit constexpr Prng(std::uint64_t seed) noexcept {
    for (std::uint64_t& word : state_) {
      seed += 0x9e3779b97f4a7c15;
      std::uint64_t mixed = seed;
      mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
      mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
      word = mixed ^ (mixed >> 31);
    }
  }

  static constexpr result_type min() noexcept { return 0; }
  static constexpr result_type max() noexcept { return std::numeric_limits<result_type>::max(); }

  constexpr result_type operator()() noexcept {
    const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
    const std::uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = std::rotl(state_[3], 45);
    return result;
  }

  // Uniform enough in [0, bound): the bias is below bound / 2^64.
  // REQUIRES: bound > 0.
  constexpr std::uint64_t below(std::uint64_t bound) noexcept {
    QUIRE_DCHECK(bound > 0);
    return static_cast<std::uint64_t>((static_cast<Wide>((*this)()) * bound) >> 64);
  }

 private:
  __extension__ using Wide = unsigned __int128;
  std::array<std::uint64_t, 4> state_{};
};

}  // namespace quire
