// SPDX-License-Identifier: Apache-2.0
//
// text_scan: taking lines, words and numbers off the front of a text. What the parsers of /proc are
// made of.
//
// Invariants:    each function leaves `rest` a suffix of what it was; nothing allocates.
// Thread-safety: plain functions of their arguments.
// Errors:        std::nullopt, and for numbers also when they do not fit 64 bits.
#pragma once

#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

namespace quire::sys::internal {

inline constexpr std::string_view kBlanks = " \t";
inline constexpr std::string_view kWhiteSpace = " \t\n\r";

// Up to the next `separator`, which is taken too but not returned; everything when there is none.
[[nodiscard]] inline std::string_view take_until(std::string_view& rest, char separator) noexcept {
  const std::size_t length = rest.find(separator);
  const std::string_view part = rest.substr(0, length);
  rest.remove_prefix(length == std::string_view::npos ? rest.size() : length + 1);
  return part;
}

[[nodiscard]] inline std::string_view take_line(std::string_view& rest) noexcept {
  return take_until(rest, '\n');
}

[[nodiscard]] inline std::string_view trim(std::string_view text) noexcept {
  const std::size_t first = text.find_first_not_of(kWhiteSpace);
  if (first == std::string_view::npos) {
    return {};
  }
  return text.substr(first, text.find_last_not_of(kWhiteSpace) - first + 1);
}

// The next word of a line; "" at its end.
[[nodiscard]] inline std::string_view take_word(std::string_view& rest) noexcept {
  const std::size_t first = rest.find_first_not_of(kBlanks);
  rest.remove_prefix(first == std::string_view::npos ? rest.size() : first);
  const std::string_view word = rest.substr(0, rest.find_first_of(kBlanks));
  rest.remove_prefix(word.size());
  return word;
}

// The whole of `text` as one number without sign: "123", "7f00" with base 16.
[[nodiscard]] inline std::optional<std::uint64_t> to_number(std::string_view text,
                                                            int base = 10) noexcept {
  std::uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value, base);
  if (error != std::errc{} || stopped != end || text.empty()) {
    return std::nullopt;
  }
  return value;
}

}  // namespace quire::sys::internal
