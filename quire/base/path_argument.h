// SPDX-License-Identifier: Apache-2.0
//
// PathArgument: a path, however the caller has it: literal, string, view or std::filesystem::path.
//
// A function that takes a std::filesystem::path makes every caller pay for splitting the text into
// components, half a microsecond and several allocations, although the kernel wants the text.
//
// Thread-safety: a plain value. Cost: one string.
#pragma once

#include <concepts>
#include <string>
#include <string_view>
#include <utility>

namespace quire {

class PathArgument {
 public:
  // Implicit: this type exists to be a parameter.
  PathArgument(const char* text) : text_(text) {}
  PathArgument(std::string text) : text_(std::move(text)) {}
  PathArgument(std::string_view text) : text_(text) {}
  template <typename Path>
    requires requires(const Path& path) {
      { path.native() } -> std::convertible_to<const std::string&>;
    }
  PathArgument(const Path& path) : text_(path.native()) {}

  [[nodiscard]] const std::string& text() const noexcept { return text_; }
  [[nodiscard]] std::string take() noexcept { return std::move(text_); }

 private:
  std::string text_;
};

}  // namespace quire
