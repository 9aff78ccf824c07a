// SPDX-License-Identifier: Apache-2.0
#include "quire/testing/nth_fault.h"

#include <gtest/gtest.h>

#include "quire/testing/soak.h"
#include "quire/testing/watchdog.h"

namespace quire::testing {
namespace {

// Some times as many as the longest run makes: a run whose faults never end is to be noticed.
constexpr std::uint64_t kNthMax = 5000;

std::uint64_t next(std::uint64_t nth, NthChoice choice) {
  constexpr std::uint64_t kEachUpTo = 100;
  constexpr std::uint64_t kShareLeftOut = 12;  // So that thousands take some fifty runs.
  const bool is_each = choice == NthChoice::kEach || nth < kEachUpTo || is_soaking();
  return nth + (is_each ? 1 : nth / kShareLeftOut);
}

}  // namespace

std::uint64_t fail_each_nth(const std::string& what, const std::function<void(NthFault&)>& run,
                            NthChoice choice) {
  std::uint64_t hit_last = 0;
  for (std::uint64_t nth = 1; nth <= kNthMax; nth = next(nth, choice)) {
    const ::testing::ScopedTrace trace(__FILE__, __LINE__, what + " no. " + std::to_string(nth));
    NthFault fault{.nth = nth};
    run(fault);
    feed_watchdog();
    if (!fault.was_hit || ::testing::Test::HasFailure() || ::testing::Test::IsSkipped()) {
      return hit_last;
    }
    hit_last = nth;
  }
  ADD_FAILURE() << what << ": no run without a fault within " << kNthMax;
  return hit_last;
}

}  // namespace quire::testing
