// SPDX-License-Identifier: Apache-2.0
//
// run: one system call behind the door, tried again while it is interrupted. Most wrappers of this
// floor are one of these two; the others say why they are not.
//
// Thread-safety: any thread.
// Errors:        the call's errno, or the one a FaultPlan injects; never EINTR.
#pragma once

#include <cerrno>
#include <cstdint>

#include "quire/sys/call.h"
#include "quire/sys/outcome.h"

namespace quire::sys::internal {

// For a function that returns a number, negative on error: the number, or minus the errno. Where
// calls are so short that an Outcome, built and taken apart, is a tenth of them.
template <typename Function>
std::int64_t run_bare(Call call, Function&& function) noexcept {
  for (;;) {
    const CallSite site = CallSite::enter(call);
    if (site.error == EINTR) {
      continue;
    }
    if (site.error != 0) {
      return -site.error;
    }
    const std::int64_t result = function(site);
    if (result >= 0 || errno != EINTR) {
      return result >= 0 ? result : -std::int64_t{errno};
    }
  }
}

// For a function that returns a number, negative on error.
template <typename Function>
auto run(Call call, Function&& function) noexcept
    -> Outcome<decltype(function(static_cast<const CallSite&>(CallSite{})))> {
  for (;;) {
    const CallSite site = CallSite::enter(call);
    if (site.error == EINTR) {
      continue;
    }
    if (site.error != 0) {
      return refuse(site.error);
    }
    const auto result = function(site);
    if (result >= 0) {
      return result;
    }
    if (errno != EINTR) {
      return refuse_with_errno();
    }
  }
}

// For a function that returns 0 or -1 and whose result says nothing more.
template <typename Function>
Outcome<void> run_void(Call call, Function&& function) noexcept {
  const auto outcome = run(call, [&](const CallSite&) { return function(); });
  if (!outcome) {
    return tl::unexpected<Errno>(outcome.error());
  }
  return {};
}

}  // namespace quire::sys::internal
