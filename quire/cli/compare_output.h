// SPDX-License-Identifier: Apache-2.0
//
// compare_output: a comparison's report on standard output, as a table or as JSON.
//
// Thread-safety: one thread.
#pragma once

#include "quire/cli/session.h"
#include "quire/compare/report.h"

namespace quire::cli {

// The lines of the table, or the members of the document. `with_code`: what gets the winners.
void write_report(Session& session, const compare::Report& report, bool with_code);

}  // namespace quire::cli
