// SPDX-License-Identifier: Apache-2.0
//
// Checks: "we are wrong", never "the world said no". Three price classes:
//
//   QUIRE_CHECK        always compiled in: a few instructions, and going on would lose data
//   QUIRE_DCHECK       debug builds: cheap, but on a hot path
//   QUIRE_DCHECK_SLOW  builds with QUIRE_SLOW_CHECKS: walks whole structures
//
// Each has forms that print both values: QUIRE_CHECK_EQ(a, b), _NE, _LT, _LE, _GT, _GE.
// A check that fails writes one line to standard error, unbuffered, and aborts.
// Input from outside is never checked this way: it gets a Result.
//
// Thread-safety: any thread; the message is formatted without allocation, and cut at 512 bytes.
#pragma once

#include <cstdint>
#include <type_traits>

namespace quire::internal {

// One operand, reduced to what can be printed without allocating.
struct CheckOperand {
  bool is_negative = false;
  std::uint64_t magnitude = 0;
};

template <typename T>
constexpr CheckOperand check_operand(const T& value) noexcept {
  if constexpr (std::is_enum_v<T>) {
    return check_operand(static_cast<std::underlying_type_t<T>>(value));
  } else if constexpr (std::is_null_pointer_v<T>) {
    return {};
  } else if constexpr (std::is_pointer_v<T>) {
    return {false, reinterpret_cast<std::uintptr_t>(value)};
  } else if constexpr (std::is_signed_v<T>) {
    static_assert(std::is_integral_v<T>, "checks compare integers, enumerators and pointers");
    const bool is_negative = value < 0;
    const auto bits = static_cast<std::uint64_t>(value);
    return {is_negative, is_negative ? 0 - bits : bits};
  } else {
    return {false, static_cast<std::uint64_t>(value)};
  }
}

[[noreturn]] void check_failed(const char* condition, const char* file, int line) noexcept;
[[noreturn]] void check_failed(const char* condition, const char* file, int line, CheckOperand left,
                               CheckOperand right) noexcept;

}  // namespace quire::internal

#define QUIRE_CHECK(condition)                         \
  (static_cast<bool>(condition) ? static_cast<void>(0) \
                                : ::quire::internal::check_failed(#condition, __FILE__, __LINE__))

#define QUIRE_CHECK_COMPARE(left, op, right)                                                \
  do {                                                                                      \
    const auto quire_check_left = (left);                                                   \
    const auto quire_check_right = (right);                                                 \
    if (!(quire_check_left op quire_check_right)) [[unlikely]] {                            \
      ::quire::internal::check_failed(#left " " #op " " #right, __FILE__, __LINE__,         \
                                      ::quire::internal::check_operand(quire_check_left),   \
                                      ::quire::internal::check_operand(quire_check_right)); \
    }                                                                                       \
  } while (false)

#define QUIRE_CHECK_EQ(left, right) QUIRE_CHECK_COMPARE(left, ==, right)
#define QUIRE_CHECK_NE(left, right) QUIRE_CHECK_COMPARE(left, !=, right)
#define QUIRE_CHECK_LT(left, right) QUIRE_CHECK_COMPARE(left, <, right)
#define QUIRE_CHECK_LE(left, right) QUIRE_CHECK_COMPARE(left, <=, right)
#define QUIRE_CHECK_GT(left, right) QUIRE_CHECK_COMPARE(left, >, right)
#define QUIRE_CHECK_GE(left, right) QUIRE_CHECK_COMPARE(left, >=, right)

// The `if constexpr` keeps the condition compiled, so it cannot rot, and free.
#define QUIRE_CHECK_IF(enabled, check) \
  do {                                 \
    if constexpr (enabled) {           \
      check;                           \
    }                                  \
  } while (false)

namespace quire {
#ifdef NDEBUG
inline constexpr bool kDebugChecks = false;
#else
inline constexpr bool kDebugChecks = true;
#endif
#ifdef QUIRE_SLOW_CHECKS
inline constexpr bool kSlowChecks = true;
#else
inline constexpr bool kSlowChecks = false;
#endif
}  // namespace quire

#define QUIRE_DCHECK(condition) QUIRE_CHECK_IF(::quire::kDebugChecks, QUIRE_CHECK(condition))
#define QUIRE_DCHECK_EQ(left, right) \
  QUIRE_CHECK_IF(::quire::kDebugChecks, QUIRE_CHECK_EQ(left, right))
#define QUIRE_DCHECK_LE(left, right) \
  QUIRE_CHECK_IF(::quire::kDebugChecks, QUIRE_CHECK_LE(left, right))
#define QUIRE_DCHECK_LT(left, right) \
  QUIRE_CHECK_IF(::quire::kDebugChecks, QUIRE_CHECK_LT(left, right))
#define QUIRE_DCHECK_SLOW(condition) QUIRE_CHECK_IF(::quire::kSlowChecks, QUIRE_CHECK(condition))
