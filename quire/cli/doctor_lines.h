// SPDX-License-Identifier: Apache-2.0
//
// doctor_lines: what the sections of the report are made with.
//
// Thread-safety: pure functions.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "quire/cli/doctor.h"

namespace quire::cli {

[[nodiscard]] Mark mark_of(sys::Availability available);

[[nodiscard]] ReportLine line_of(std::string label, const sys::Capability& capability);

// One line for several capabilities: the first that is not there speaks, else the first.
[[nodiscard]] ReportLine line_for(const std::vector<sys::Capability>& capabilities,
                                  std::string label, std::initializer_list<std::string_view> names);

// The section about the file system and device of the path.
[[nodiscard]] ReportSection path_section(const sys::PathProbe& path);

}  // namespace quire::cli
