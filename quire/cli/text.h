// SPDX-License-Identifier: Apache-2.0
//
// text: strings from outside, made fit for a terminal; widths in columns; tones of colour.
//
// A file name is any bytes but '/' and NUL. Printed raw, it could move the cursor, retitle the
// window or hide itself. printable() therefore lets through printable characters only and writes
// everything else as an escape that names the bytes:
//
//   newline: \n    ESC: \x1b    a byte that is not UTF-8: \xff    U+202E: \u{202e}
//
// and a backslash is doubled.
// Two names therefore never look the same, and a shell's $'...' form is easily read off.
//
// Thread-safety: pure functions of their arguments; widths use the locale set at program start.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace quire::cli {

enum class Charset : std::uint8_t { kAscii, kUtf8 };

// REQUIRES: nothing; any bytes are welcome.
[[nodiscard]] std::string printable(std::string_view bytes, Charset charset);

// The columns that a printable() string takes: 2 for wide characters, 0 for combining ones.
[[nodiscard]] std::size_t display_width(std::string_view text);

// `text` in exactly `columns`: padded on the right, or cut in the middle with "..." so that the
// end of a path, which tells files apart, stays visible.
[[nodiscard]] std::string fit_path(std::string_view text, std::size_t columns, Charset charset);

// `text` broken between words into lines of at most `columns`, each indented by two.
[[nodiscard]] std::string indented(std::string_view text, std::size_t columns);

// Padding by display width. Longer text is returned whole.
[[nodiscard]] std::string pad_left(std::string_view text, std::size_t columns);
[[nodiscard]] std::string pad_right(std::string_view text, std::size_t columns);

// The length of the valid UTF-8 sequence at the start of `bytes`; 0 when there is none. Overlong
// forms, surrogates and code points past U+10FFFF are not valid. `code_point` receives it.
[[nodiscard]] std::size_t utf8_sequence(std::string_view bytes, char32_t& code_point) noexcept;
[[nodiscard]] bool is_valid_utf8(std::string_view bytes) noexcept;

// "29.3 %"; "100 %" only for all of it, "0 %" only for nothing.
[[nodiscard]] std::string percent(std::uint64_t part, std::uint64_t whole);
[[nodiscard]] std::string with_thousands(std::uint64_t count);
// "1 file", "14,212 files".
[[nodiscard]] std::string count_of(std::uint64_t count, const char* one, const char* many);

// What a piece of text means; the terminal's own palette decides how it looks.
enum class Tone : std::uint8_t { kPlain, kStrong, kDim, kGood, kWarning, kBad, kAccent };

// Wraps text in colour, or does not.
class Paint {
 public:
  explicit Paint(bool is_on) : is_on_(is_on) {}
  [[nodiscard]] bool is_on() const noexcept { return is_on_; }
  [[nodiscard]] std::string operator()(Tone tone, std::string_view text) const;

 private:
  bool is_on_;
};

}  // namespace quire::cli
