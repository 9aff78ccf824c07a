// SPDX-License-Identifier: Apache-2.0
//
// wire: a round's report or error as text, for the way from a worker to its parent.
//
//   {"round": {...}, "method": "io_uring", "fallback": null}
//   {"error": {"category": "system", "value": 5, "operation": "pread", ...}}
//
// Both ends are the same program, but the sender may die in the middle: a text that does not end is
// an error like any other.
//
// Thread-safety: pure functions.
#pragma once

#include <string>

#include "quire/base/result.h"
#include "quire/compare/worker.h"

namespace quire::compare::internal {

[[nodiscard]] std::string to_wire(const Result<RoundReport>& result);
// Errors: the one that was sent; kCorrupt for anything else.
[[nodiscard]] Result<RoundReport> from_wire(const std::string& text);

}  // namespace quire::compare::internal
