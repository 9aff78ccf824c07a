// SPDX-License-Identifier: Apache-2.0
//
// html: strings made fit for an HTML page. What is not markup passes through escaped(), without
// exception; that is the only defence there is, so it is in one place.
//
//   text and attribute values (in double quotes)    escaped()
//   JSON inside a <script> element                  script_json()
//
// Thread-safety: pure functions.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace quire::compare::internal {

// `< > & " '` as entities; bytes that are not UTF-8, and control characters, as U+FFFD.
[[nodiscard]] std::string escaped(std::string_view bytes);

// JSON text without `<`, `>`, `&`: it cannot end the script element, nor begin a comment.
[[nodiscard]] std::string script_json(const nlohmann::ordered_json& json);

}  // namespace quire::compare::internal
