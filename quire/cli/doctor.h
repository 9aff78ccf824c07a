// SPDX-License-Identifier: Apache-2.0
//
// doctor: what this machine, file system and set of limits offer, what binds, and what follows.
//
//   examine(path) -> DoctorFacts -> doctor_sections() -> render_sections()    text, one screen
//                                -> write_doctor_json()                      members of the
//                                document
//
// Facts are collected once and then only looked at: the report is a pure function of them, so tests
// can show it any machine.
//
// Thread-safety: plain functions; examine() as sys/probe.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "quire/cli/json_writer.h"
#include "quire/cli/text.h"
#include "quire/sys/limits.h"
#include "quire/sys/probe.h"

namespace quire::cli {

struct DoctorFacts {
  sys::MachineProbe machine;
  sys::ProcessLimits limits;
  sys::MemoryLimits memory;
  sys::MemoryHeadroom headroom;
  sys::PathProbe path;
};

// Errors: those of sys::probe_path.
[[nodiscard]] Result<DoctorFacts> examine(const std::string& path);

enum class Mark : std::uint8_t {
  kGood,
  kMissing,
  kUnknown,
  kWarning,  // It works, and will hurt.
  kFact,
};

struct ReportLine {
  Mark mark = Mark::kFact;
  std::string name;
  std::string value;        // May be empty: the mark says it all.
  std::string consequence;  // "So what".
};

struct ReportSection {
  std::string title;
  std::vector<ReportLine> lines;
};

[[nodiscard]] std::vector<ReportSection> doctor_sections(const DoctorFacts& facts);

// The warnings among the lines, as sentences.
[[nodiscard]] std::vector<std::string> warnings_of(const std::vector<ReportSection>& sections);

struct ReportStyle {
  std::size_t columns = 80;
  Charset charset = Charset::kAscii;
  Paint paint{false};
};

// Each line is wrapped to the columns; nothing is cut off.
[[nodiscard]] std::string render_sections(const std::vector<ReportSection>& sections,
                                          const ReportStyle& style);

// The members "machine", "capabilities", "limits", "memory", "path" and "warnings".
// REQUIRES: the writer stands inside an object.
void write_doctor_json(const DoctorFacts& facts, JsonWriter& json);

}  // namespace quire::cli
