// SPDX-License-Identifier: Apache-2.0
#include "quire/testing/soak.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "quire/testing/seed.h"
#include "quire/testing/watchdog.h"

namespace quire::testing {
namespace {

std::chrono::duration<double> soak_time() noexcept {
  const char* text = std::getenv("QUIRE_SOAK_S");
  return std::chrono::duration<double>(text == nullptr ? 0 : std::strtod(text, nullptr));
}

}  // namespace

bool is_soaking() noexcept {
  return soak_time().count() > 0;
}

void soak(std::uint64_t rounds_min, const std::function<void(std::uint64_t)>& round) {
  const auto end = std::chrono::steady_clock::now() + soak_time();
  std::uint64_t i = 0;
  while ((i < rounds_min || std::chrono::steady_clock::now() < end) &&
         !::testing::Test::HasFailure() && !::testing::Test::IsSkipped()) {
    const std::uint64_t seed = test_seed() + i;
    const ::testing::ScopedTrace trace(
        __FILE__, __LINE__,
        "round " + std::to_string(i) + ": replay with --seed=" + std::to_string(seed));
    round(seed);
    feed_watchdog();
    ++i;
  }
  if (is_soaking()) {
    std::printf("soak: %" PRIu64 " rounds from seed %" PRIu64 "\n", i, test_seed());
  }
}

}  // namespace quire::testing
