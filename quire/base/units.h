// SPDX-License-Identifier: Apache-2.0
//
// Units: bytes, pages and ranges of bytes as types, so that they cannot be mixed up.
//
// A count of bytes is a std::uint64_t whose name ends in _bytes: it is added, compared and handed
// to system calls everywhere, and a wrapper would only be unwrapped. What gets confused in practice
// is (1) pages with bytes, (2) offset with length, (3) any number with a page size. Those three are
// types here.
//
// Thread-safety: plain values.
#pragma once

#include <bit>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>

#include "quire/base/check.h"

namespace quire {

inline namespace literals {
// NOLINTBEGIN(readability-identifier-naming): SI names are the standard ones.
constexpr std::uint64_t operator""_KiB(unsigned long long count) noexcept {
  return count << 10;
}
constexpr std::uint64_t operator""_MiB(unsigned long long count) noexcept {
  return count << 20;
}
constexpr std::uint64_t operator""_GiB(unsigned long long count) noexcept {
  return count << 30;
}
constexpr std::uint64_t operator""_TiB(unsigned long long count) noexcept {
  return count << 40;
}
// NOLINTEND(readability-identifier-naming)
}  // namespace literals

// A length that means "up to the end", whatever the size turns out to be. Zero means zero.
inline constexpr std::uint64_t kToEnd = std::numeric_limits<std::uint64_t>::max();

// Bytes [offset_bytes, offset_bytes + length_bytes). The default is everything.
// Not validated: the sum may overflow, and page_window.h is where that is found out.
struct ByteRange {
  std::uint64_t offset_bytes = 0;
  std::uint64_t length_bytes = kToEnd;

  friend constexpr bool operator==(const ByteRange&, const ByteRange&) = default;
};

inline constexpr ByteRange kWholeFile{};

// How many pages; never a number of bytes.
struct PageCount {
  std::uint64_t value = 0;

  friend constexpr auto operator<=>(const PageCount&, const PageCount&) = default;
};

// A size of pages: a power of two, by construction.
class PageSize {
 public:
  // REQUIRES: bytes is a power of two.
  explicit constexpr PageSize(std::uint64_t bytes) : bytes_(bytes) {
    QUIRE_CHECK(std::has_single_bit(bytes));
  }

  [[nodiscard]] constexpr std::uint64_t bytes() const noexcept { return bytes_; }
  [[nodiscard]] constexpr std::uint64_t mask() const noexcept { return bytes_ - 1; }
  [[nodiscard]] constexpr int shift() const noexcept { return std::countr_zero(bytes_); }

  friend constexpr bool operator==(const PageSize&, const PageSize&) = default;

 private:
  std::uint64_t bytes_;
};

// "4.0 KiB", "17.3 GiB", "12 B": for people. Machines get the number.
[[nodiscard]] std::string human_bytes(std::uint64_t bytes);

// "offset 8192, 4096 bytes", or "offset 8192 to the end": how a range is written in an Error.
[[nodiscard]] std::string describe(ByteRange range);

}  // namespace quire
