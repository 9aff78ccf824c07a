// SPDX-License-Identifier: Apache-2.0
#include "quire/testing/nth_fault.h"

#include <gtest/gtest-spi.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "quire/testing/soak.h"

namespace quire::testing {
namespace {

TEST(NthFaultTest, EachHasItsTurnAndThenNone) {
  std::vector<std::uint64_t> seen;
  const auto run = [&seen](NthFault& fault) {
    seen.push_back(fault.nth);
    fault.was_hit = fault.nth <= 3;
  };
  EXPECT_EQ(fail_each_nth("step", run), 3U);
  EXPECT_EQ(seen, (std::vector<std::uint64_t>{1, 2, 3, 4}));
  EXPECT_EQ(fail_each_nth("nothing", [](NthFault&) {}), 0U);
}

TEST(NthFaultTest, OfHundredsSomeAreLeftOutButInASoak) {
  std::uint64_t runs = 0;
  const auto run = [&runs](NthFault& fault) {
    ++runs;
    fault.was_hit = fault.nth <= 2000;
  };
  fail_each_nth("step", run, NthChoice::kFewerLater);
  EXPECT_EQ(runs < 200, !is_soaking()) << runs;
  EXPECT_GT(runs, 100U);
}

TEST(NthFaultTest, FaultsWithoutEndAreAFailure) {
  const auto run = [](NthFault& fault) { fault.was_hit = true; };
  EXPECT_NONFATAL_FAILURE(fail_each_nth("step", run), "step: no run without a fault");
}

}  // namespace
}  // namespace quire::testing
