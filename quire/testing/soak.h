// SPDX-License-Identifier: Apache-2.0
//
// Soaks. A test that searches at random makes a few rounds in every run, each on a seed of its own;
// in a soak it goes on with fresh ones for as long as it is told to:
//
//   testing::soak(6, [&](std::uint64_t seed) { compare_with_model(seed); });
//
//   --soak=N          each test of the program that can goes on for N seconds
//   QUIRE_SOAK_S=N    the same, and stronger: QUIRE_SOAK_S=5 ctest -C soak -L soak looks at every
//                     row in short (cmake/QuireTest.cmake: quire_soak_test)
//
// Replay: round i has the seed test_seed() + i. Whatever fails in it says so, "round 7: replay with
// --seed=4718", and there it is the first round. Rounds that go on from what the last one left, or
// that kill at an instant which nobody chooses, come close to it that way and no further.
//
// The end of a round feeds the watchdog: a soak may take days, a round no longer than any test.
#pragma once

#include <cstdint>
#include <functional>

namespace quire::testing {

// True in a soak.
[[nodiscard]] bool is_soaking() noexcept;

// Makes so many rounds, and those of a soak; none after one that fails or skips.
void soak(std::uint64_t rounds_min, const std::function<void(std::uint64_t seed)>& round);

}  // namespace quire::testing
