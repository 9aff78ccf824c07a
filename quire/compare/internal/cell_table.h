// SPDX-License-Identifier: Apache-2.0
//
// cell_table: every cell of a report with everything that is known about it, as one HTML table that
// the report's script can sort: a number that is printed for people stands beside itself as
// data-v="..." for machines.
//
// Thread-safety: a pure function.
#pragma once

#include <string>

#include "quire/compare/report.h"

namespace quire::compare::internal {

[[nodiscard]] std::string cell_table_html(const Report& report);

}  // namespace quire::compare::internal
