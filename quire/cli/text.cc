// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cwchar>

namespace quire::cli {
namespace {

// What a sequence of one to four bytes looks like: leading bits, and the smallest code point that
// needs that many bytes.
struct SequenceForm {
  unsigned lead_mask;
  unsigned lead_bits;
  char32_t smallest;
};
constexpr std::array<SequenceForm, 4> kForms{
    {{0x80, 0x00, 0x0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}}};
constexpr char32_t kCodePointMax = 0x10ffff;

unsigned byte_at(std::string_view bytes, std::size_t index) noexcept {
  return static_cast<unsigned char>(bytes[index]);
}

// Characters that print nothing, or that reorder what stands around them.
bool is_deceptive(char32_t code_point) noexcept {
  return (code_point >= 0x80 && code_point < 0xa0) || code_point == 0xad ||
         (code_point >= 0x200b && code_point <= 0x200f) ||
         (code_point >= 0x2028 && code_point <= 0x202e) ||
         (code_point >= 0x2060 && code_point <= 0x206f) || code_point == 0xfeff ||
         (code_point >= 0xfff0 && code_point <= 0xfffb) || code_point >= 0xe0000;
}

int columns_of(char32_t code_point) noexcept {
  return code_point < 0x7f ? 1 : ::wcwidth(static_cast<wchar_t>(code_point));
}

void append_escaped_byte(std::string& text, unsigned byte) {
  switch (byte) {
    case '\n': text += "\\n"; return;
    case '\r': text += "\\r"; return;
    case '\t': text += "\\t"; return;
    case '\\': text += "\\\\"; return;
    default: text += fmt::format("\\x{:02x}", byte);
  }
}

// Cuts a printable string into its characters: calls visit(bytes, columns) for each.
template <typename Visit>
void for_each_character(std::string_view text, Visit&& visit) {
  while (!text.empty()) {
    char32_t code_point = 0;
    std::size_t length = utf8_sequence(text, code_point);
    const int columns = length == 0 ? 1 : columns_of(code_point);
    length = length == 0 ? 1 : length;
    visit(text.substr(0, length), static_cast<std::size_t>(columns < 0 ? 1 : columns));
    text.remove_prefix(length);
  }
}

// The longest start of `text` that takes at most `columns`.
std::string_view head(std::string_view text, std::size_t columns) {
  std::size_t used = 0;
  std::size_t length = 0;
  bool is_full = false;
  for_each_character(text, [&](std::string_view character, std::size_t width) {
    is_full = is_full || used + width > columns;
    if (!is_full) {
      used += width;
      length += character.size();
    }
  });
  return text.substr(0, length);
}

// The longest end of `text` that takes at most `columns`.
std::string_view tail(std::string_view text, std::size_t columns) {
  std::size_t excess = display_width(text);
  std::size_t dropped = 0;
  for_each_character(text, [&](std::string_view character, std::size_t width) {
    if (excess > columns) {
      excess -= width;
      dropped += character.size();
    }
  });
  return text.substr(dropped);
}

}  // namespace

std::size_t utf8_sequence(std::string_view bytes, char32_t& code_point) noexcept {
  for (std::size_t index = 0; index < kForms.size() && !bytes.empty(); ++index) {
    const SequenceForm& form = kForms[index];
    if ((byte_at(bytes, 0) & form.lead_mask) != form.lead_bits) {
      continue;
    }
    const std::size_t length = index + 1;
    if (bytes.size() < length) {
      return 0;
    }
    char32_t value = byte_at(bytes, 0) & ~form.lead_mask;
    for (std::size_t next = 1; next < length; ++next) {
      if ((byte_at(bytes, next) & 0xc0U) != 0x80U) {
        return 0;
      }
      value = (value << 6U) | (byte_at(bytes, next) & 0x3fU);
    }
    const bool is_surrogate = value >= 0xd800 && value <= 0xdfff;
    if (value < form.smallest || value > kCodePointMax || is_surrogate) {
      return 0;
    }
    code_point = value;
    return length;
  }
  return 0;
}

bool is_valid_utf8(std::string_view bytes) noexcept {
  while (!bytes.empty()) {
    char32_t code_point = 0;
    const std::size_t length = utf8_sequence(bytes, code_point);
    if (length == 0) {
      return false;
    }
    bytes.remove_prefix(length);
  }
  return true;
}

std::string printable(std::string_view bytes, Charset charset) {
  std::string text;
  text.reserve(bytes.size());
  while (!bytes.empty()) {
    char32_t code_point = 0;
    const std::size_t length = utf8_sequence(bytes, code_point);
    if (length == 0 ||
        (length == 1 && (code_point < 0x20 || code_point == 0x7f || code_point == U'\\'))) {
      append_escaped_byte(text, byte_at(bytes, 0));
      bytes.remove_prefix(1);
      continue;
    }
    const bool is_shown = length == 1 || (charset == Charset::kUtf8 && !is_deceptive(code_point) &&
                                          columns_of(code_point) >= 0);
    text += is_shown ? std::string(bytes.substr(0, length))
                     : fmt::format("\\u{{{:x}}}", static_cast<std::uint32_t>(code_point));
    bytes.remove_prefix(length);
  }
  return text;
}

std::size_t display_width(std::string_view text) {
  std::size_t columns = 0;
  for_each_character(text, [&](std::string_view, std::size_t width) { columns += width; });
  return columns;
}

std::string pad_left(std::string_view text, std::size_t columns) {
  const std::size_t width = display_width(text);
  return std::string(width < columns ? columns - width : 0, ' ') + std::string(text);
}

std::string pad_right(std::string_view text, std::size_t columns) {
  const std::size_t width = display_width(text);
  return std::string(text) + std::string(width < columns ? columns - width : 0, ' ');
}

std::string indented(std::string_view text, std::size_t columns) {
  constexpr std::string_view kIndent = "  ";
  std::string lines(kIndent);
  std::size_t used = kIndent.size();
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    const bool is_line_start = used == kIndent.size();
    const std::size_t width = display_width(word);
    if (!is_line_start && used + 1 + width > columns) {
      lines += "\n" + std::string(kIndent);
      used = kIndent.size();
    } else if (!is_line_start) {
      lines += ' ';
      ++used;
    }
    lines += word;
    used += width;
    text.remove_prefix(std::min(word.size() + 1, text.size()));
  }
  return lines;
}

std::string fit_path(std::string_view text, std::size_t columns, Charset charset) {
  if (display_width(text) <= columns) {
    return pad_right(text, columns);
  }
  const std::string_view mark = charset == Charset::kUtf8 ? "\u2026" : "...";
  const std::size_t mark_width = display_width(mark);
  if (columns <= mark_width) {
    return pad_right(head(text, columns), columns);
  }
  // A third for the start, the rest for the end.
  const std::size_t head_columns = (columns - mark_width) / 3;
  const std::string start(head(text, head_columns));
  const std::string_view end = tail(text, columns - mark_width - display_width(start));
  return pad_right(start + std::string(mark) + std::string(end), columns);
}

std::string with_thousands(std::uint64_t count) {
  std::string digits = std::to_string(count);
  for (std::size_t at = digits.size(); at > 3; at -= 3) {
    digits.insert(at - 3, ",");
  }
  return digits;
}

std::string count_of(std::uint64_t count, const char* one, const char* many) {
  return with_thousands(count) + " " + (count == 1 ? one : many);
}

std::string percent(std::uint64_t part, std::uint64_t whole) {
  if (whole == 0 || part == 0) {
    return "0 %";
  }
  if (part >= whole) {
    return "100 %";
  }
  const double exact = 100.0 * static_cast<double>(part) / static_cast<double>(whole);
  return fmt::format("{:.1f} %", std::clamp(exact, 0.1, 99.9));
}

std::string Paint::operator()(Tone tone, std::string_view text) const {
  const char* code = "";
  switch (tone) {
    case Tone::kPlain: break;
    case Tone::kStrong: code = "1"; break;
    case Tone::kDim: code = "2"; break;
    case Tone::kGood: code = "32"; break;
    case Tone::kWarning: code = "33"; break;
    case Tone::kBad: code = "31"; break;
    case Tone::kAccent: code = "36"; break;
  }
  if (!is_on_ || tone == Tone::kPlain || text.empty()) {
    return std::string(text);
  }
  return fmt::format("\x1b[{}m{}\x1b[0m", code, text);
}

}  // namespace quire::cli
