// SPDX-License-Identifier: Apache-2.0
//
// typed_view: bytes as whole objects of a type, or the reason why not.
//
// A cast of mapped bytes to a struct goes wrong in three ways: the type is not plain bytes, the
// address does not fit its alignment, or the length is no multiple of its size and a record is cut
// in half. The first does not compile; the others are errors, never a silently shorter span.
//
// The objects are taken as they lie: a file written on another machine keeps its byte order.
//
// Thread-safety: plain values. Cost: two comparisons.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <string>
#include <type_traits>

#include "quire/base/check.h"
#include "quire/base/result.h"

namespace quire {

namespace internal {
// Nothing when the layout fits.
[[nodiscard]] Result<void> check_layout(const void* address, std::uint64_t length_bytes,
                                        std::size_t type_bytes, std::size_t type_alignment,
                                        const std::string& path);
}  // namespace internal

// T is const where `bytes` are. Errors: kMisaligned, naming address, size and type size.
template <typename T, typename Byte>
[[nodiscard]] Result<std::span<T>> typed_view(std::span<Byte> bytes, const std::string& path) {
  static_assert(std::is_trivially_copyable_v<T>, "mapped bytes can only be plain data");
  static_assert(std::is_const_v<T> || !std::is_const_v<Byte>, "this mapping is read-only");
  QUIRE_TRY(internal::check_layout(bytes.data(), bytes.size(), sizeof(T), alignof(T), path));
  return std::span<T>(reinterpret_cast<T*>(bytes.data()), bytes.size() / sizeof(T));
}

// A view in consecutive pieces, for range-for: the last one may be shorter.
class ViewWindows {
 public:
  // REQUIRES: window_bytes > 0.
  ViewWindows(std::span<const std::byte> whole, std::uint64_t window_bytes) noexcept
      : whole_(whole), window_bytes_(window_bytes) {
    QUIRE_CHECK(window_bytes > 0);
  }

  class Iterator {
   public:
    using value_type = std::span<const std::byte>;
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::forward_iterator_tag;
    using pointer = const value_type*;
    using reference = value_type;

    Iterator() = default;
    Iterator(std::span<const std::byte> rest, std::uint64_t window_bytes) noexcept
        : rest_(rest), window_bytes_(window_bytes) {}

    value_type operator*() const noexcept { return rest_.first(step()); }
    Iterator& operator++() noexcept {
      rest_ = rest_.subspan(step());
      return *this;
    }
    Iterator operator++(int) noexcept {
      Iterator before = *this;
      ++*this;
      return before;
    }
    friend bool operator==(const Iterator& a, const Iterator& b) noexcept {
      return a.rest_.size() == b.rest_.size();
    }

   private:
    [[nodiscard]] std::size_t step() const noexcept {
      return static_cast<std::size_t>(std::min<std::uint64_t>(window_bytes_, rest_.size()));
    }

    std::span<const std::byte> rest_;
    std::uint64_t window_bytes_ = 1;
  };

  [[nodiscard]] Iterator begin() const noexcept { return {whole_, window_bytes_}; }
  [[nodiscard]] Iterator end() const noexcept { return {whole_.last(0), window_bytes_}; }

 private:
  std::span<const std::byte> whole_;
  std::uint64_t window_bytes_;
};

}  // namespace quire
