// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/json_writer.h"

#include <fmt/format.h>

#include <cmath>

#include "quire/base/check.h"
#include "quire/cli/text.h"

namespace quire::cli {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD

void append_ascii(std::string& text, char character) {
  switch (character) {
    case '"': text += "\\\""; return;
    case '\\': text += "\\\\"; return;
    case '\n': text += "\\n"; return;
    case '\r': text += "\\r"; return;
    case '\t': text += "\\t"; return;
    default: break;
  }
  if (character < 0x20 || character == 0x7f) {
    text += fmt::format("\\u{:04x}", static_cast<unsigned>(character));
  } else {
    text += character;
  }
}

}  // namespace

std::string json_quote(std::string_view bytes) {
  std::string text = "\"";
  while (!bytes.empty()) {
    char32_t code_point = 0;
    const std::size_t length = utf8_sequence(bytes, code_point);
    if (length == 1) {
      append_ascii(text, bytes.front());
    } else if (code_point >= 0x80 && code_point < 0xa0) {
      text += fmt::format("\\u{:04x}", static_cast<unsigned>(code_point));  // C1 controls.
    } else {
      text += length == 0 ? kReplacement : bytes.substr(0, length);
    }
    bytes.remove_prefix(length == 0 ? 1 : length);
  }
  return text + '"';
}

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t index = 0; index < bytes.size(); index += 3) {
    const std::string_view group = bytes.substr(index, 3);
    unsigned bits = 0;
    for (std::size_t at = 0; at < 3; ++at) {
      bits = (bits << 8U) | (at < group.size() ? static_cast<unsigned char>(group[at]) : 0U);
    }
    for (std::size_t digit = 0; digit < 4; ++digit) {
      const bool is_padding = digit > group.size();
      text += is_padding ? '=' : kDigits[(bits >> (18U - 6U * digit)) & 0x3fU];
    }
  }
  return text;
}

void JsonWriter::new_line() {
  output_.write("\n");
  output_.write(std::string(open_.size() * 2, ' '));
}

// What goes between two members, or before the first one.
void JsonWriter::separate() {
  if (has_key_) {
    has_key_ = false;
    return;
  }
  if (open_.empty()) {
    return;
  }
  Container& container = open_.back();
  if (!container.is_empty) {
    output_.write(",");
  }
  if (open_.size() <= lines_to_depth_) {
    new_line();
  } else if (!container.is_empty) {
    output_.write(" ");
  }
  container.is_empty = false;
}

void JsonWriter::begin(char open, char close) {
  separate();
  output_.write({&open, 1});
  open_.push_back({.close = close});
}

void JsonWriter::end(char close) {
  QUIRE_CHECK(!open_.empty() && open_.back().close == close && !has_key_);
  const bool is_empty = open_.back().is_empty;
  const bool has_lines = open_.size() <= lines_to_depth_ && !is_empty;
  open_.pop_back();
  if (has_lines) {
    new_line();
  }
  output_.write({&close, 1});
  if (open_.empty()) {
    output_.write("\n");
  }
}

void JsonWriter::close_to(std::size_t depth) {
  if (has_key_) {
    value_null();
  }
  while (open_.size() > depth) {
    end(open_.back().close);
  }
}

JsonWriter& JsonWriter::key(std::string_view name) {
  QUIRE_CHECK(!open_.empty() && open_.back().close == '}' && !has_key_);
  separate();
  output_.write(json_quote(name));
  output_.write(": ");
  has_key_ = true;
  return *this;
}

void JsonWriter::scalar(std::string_view text) {
  separate();
  output_.write(text);
}

void JsonWriter::value(double number) {
  scalar(std::isfinite(number) ? fmt::format("{:.6g}", number) : "null");
}

void JsonWriter::value_string(std::string_view bytes) {
  scalar(json_quote(bytes));
}

void JsonWriter::member_path(std::string_view name, std::string_view path) {
  key(name).value_string(path);
  if (!is_valid_utf8(path)) {
    key(std::string(name) + "_base64").value_string(base64(path));
  }
}

}  // namespace quire::cli
