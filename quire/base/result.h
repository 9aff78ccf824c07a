// SPDX-License-Identifier: Apache-2.0
//
// Result<T>: a value, or the Error that kept us from it.
//
// The whole API of quire returns Result; no exception crosses it. tl::expected gives value(),
// error(), map(), and_then() and or_else(); value() on an error throws tl::bad_expected_access,
// which is the caller's decision to crash.
//
//   quire::Result<Header> read_header(const char* path) {
//     auto file = QUIRE_TRY(quire::map(path));        // returns the Error to our caller
//     auto headers = QUIRE_TRY(file.as<const Header>());
//     ...
//   }
//
// Thread-safety: a plain value.
#pragma once

#include <tl/expected.hpp>
#include <utility>

#include "quire/base/error.h"

namespace quire {

// tl::expected<void, Error> with the value() that 1.0.0 of it, the one in Debian 12, left out:
// without it `log.flush().value()` would not compile.
class VoidResult : public tl::expected<void, Error> {
 public:
  using tl::expected<void, Error>::expected;

  // Throws tl::bad_expected_access<Error> when there is an error.
  void value() const {
    if (!has_value()) {
      throw tl::bad_expected_access<Error>(error());
    }
  }
};

namespace internal {

template <typename T>
struct ResultOf {
  using Type = tl::expected<T, Error>;
};
template <>
struct ResultOf<void> {
  using Type = VoidResult;
};

}  // namespace internal

template <typename T>
using Result = typename internal::ResultOf<T>::Type;

// Wraps an error for a return statement: `return fail(error);`.
[[nodiscard]] inline tl::unexpected<Error> fail(Error error) noexcept {
  return tl::unexpected<Error>(std::move(error));
}

}  // namespace quire

// Evaluates to the value of `expression`, or returns its error from the enclosing function.
// Works with every tl::expected, and with Result<void> as a statement. A GNU statement expression:
// GCC and Clang, which are the compilers of Linux, both have it.
#define QUIRE_TRY(expression) QUIRE_TRY_NAMED(QUIRE_TRY_JOIN(quire_try_, __COUNTER__), expression)

// A name of its own for each use, so that one QUIRE_TRY can stand inside another.
#define QUIRE_TRY_JOIN(a, b) QUIRE_TRY_JOIN_EXPANDED(a, b)
#define QUIRE_TRY_JOIN_EXPANDED(a, b) a##b
// NOLINTBEGIN(bugprone-macro-parentheses): the name of a variable cannot stand in parentheses.
#define QUIRE_TRY_NAMED(name, expression)                    \
  __extension__({                                            \
    auto name = (expression);                                \
    if (!name.has_value()) [[unlikely]] {                    \
      return ::tl::make_unexpected(std::move(name).error()); \
    }                                                        \
    ::quire::internal::take_value(std::move(name));          \
  })
// NOLINTEND(bugprone-macro-parentheses)

namespace quire::internal {

template <typename T, typename E>
T take_value(tl::expected<T, E>&& result) {
  if constexpr (!std::is_void_v<T>) {
    return std::move(*result);
  }
}

}  // namespace quire::internal
