// SPDX-License-Identifier: Apache-2.0
//
// The seed of this test run: printed at the start, replayed with --seed=N or QUIRE_SEED=N.
#pragma once

#include <cstdint>

namespace quire::testing {

[[nodiscard]] std::uint64_t test_seed() noexcept;

}  // namespace quire::testing
