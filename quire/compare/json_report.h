// SPDX-License-Identifier: Apache-2.0
//
// json_report: a Report as a JSON document, member by member. docs/json.md, `compare`, describes
// it.
//
// What is not known is null, never 0; a rate that does not exist is null too. Strings are as they
// came, which may be bytes that are no UTF-8: whoever writes the text decides what becomes of them
// (the command adds base64, the HTML report replaces them).
//
// Invariants:    every cell has every key; no number is infinite or NaN.
// Thread-safety: a pure function.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "quire/compare/report.h"

namespace quire::compare {

// An object with the members in the order of docs/json.md.
[[nodiscard]] nlohmann::ordered_json json_report(const Report& report);

// The same as text on one line; U+FFFD where a string is not UTF-8.
[[nodiscard]] std::string json_text(const Report& report);

}  // namespace quire::compare
