// SPDX-License-Identifier: Apache-2.0
//
// Outcome<T>: what a system call gave, or the errno it failed with.
//
// The floors above turn an Errno into an Error when they know what was being done to what; here
// nothing allocates, so wrappers may be used on fault paths and in signal handlers where the
// system call itself may.
//
// Thread-safety: plain values.
#pragma once

#include <string>
#include <tl/expected.hpp>

#include "quire/base/error.h"
#include "quire/base/result.h"

namespace quire::sys {

struct Errno {
  int value = 0;

  friend constexpr bool operator==(Errno, Errno) = default;
};

template <typename T>
using Outcome = tl::expected<T, Errno>;

// Wraps an errno value for a return statement: `return refuse(EINVAL);`.
[[nodiscard]] inline tl::unexpected<Errno> refuse(int value) noexcept {
  return tl::unexpected<Errno>(Errno{value});
}

// The errno of the system call that just failed.
[[nodiscard]] tl::unexpected<Errno> refuse_with_errno() noexcept;

// An Error from an Errno. An empty remedy is replaced by the usual one for that errno, if any.
[[nodiscard]] Error to_error(Errno cause, std::string operation, std::string subject,
                             std::string remedy = {});

}  // namespace quire::sys
