// SPDX-License-Identifier: Apache-2.0
//
// Makes the n-th of something fail, for n = 1, 2, 3 ..., until a run has no n-th:
//
//   testing::fail_each_nth("pwrite", [&](testing::NthFault& fault) {
//     const sys::FaultPlan plan({.call = sys::Call::kWrite, .nth = fault.nth, .error = EIO});
//     const Result<void> worked = work();
//     fault.was_hit = plan.hits() > 0;
//     EXPECT_EQ(worked.has_value(), !fault.was_hit);
//   });
//
// The last run meets no fault, and looks at how all goes well. None comes after one that fails the
// test: what it says names the thing and n. The end of a run feeds the watchdog.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace quire::testing {

struct NthFault {
  std::uint64_t nth = 1;
  bool was_hit = false;  // For the run to say: there was an n-th, and it failed.
};

// Where there are hundreds, later ones are much alike.
enum class NthChoice : std::uint8_t {
  kEach,
  kFewerLater,  // Each in a soak (soak.h), else each of the first hundred and then a twelfth on.
};

// Returns how many there were to fail. It is a failure of the test if there is no end of them.
std::uint64_t fail_each_nth(const std::string& what, const std::function<void(NthFault&)>& run,
                            NthChoice choice = NthChoice::kEach);

}  // namespace quire::testing
