// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/internal/html.h"

#include <nlohmann/json.hpp>

namespace quire::compare::internal {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kReplacement = "\xef\xbf\xbd";  // U+FFFD

// Bytes as UTF-8: the JSON library replaces what is not.
std::string utf8(std::string_view bytes) {
  const std::string quoted = Json(bytes).dump(-1, ' ', false, Json::error_handler_t::replace);
  return Json::parse(quoted).get<std::string>();
}

bool is_control(char character) noexcept {
  const auto code = static_cast<unsigned char>(character);
  return (code < 0x20 && character != '\n' && character != '\t') || code == 0x7f;
}

}  // namespace

std::string escaped(std::string_view bytes) {
  std::string text;
  for (const char character : utf8(bytes)) {
    switch (character) {
      case '<': text += "&lt;"; break;
      case '>': text += "&gt;"; break;
      case '&': text += "&amp;"; break;
      case '"': text += "&quot;"; break;
      case '\'': text += "&#39;"; break;
      default:
        if (is_control(character)) {
          text += kReplacement;
        } else {
          text += character;
        }
    }
  }
  return text;
}

std::string script_json(const Json& json) {
  std::string text;
  for (const char character : json.dump(-1, ' ', false, Json::error_handler_t::replace)) {
    switch (character) {
      case '<': text += "\\u003c"; break;
      case '>': text += "\\u003e"; break;
      case '&': text += "\\u0026"; break;
      default: text += character;
    }
  }
  return text;
}

}  // namespace quire::compare::internal
