// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/doctor.h"

#include <CLI/CLI.hpp>
#include <memory>

#include "quire/cli/session.h"
#include "quire/cli/verbs.h"

namespace quire::cli {
namespace {

constexpr std::size_t kNameColumns = 15;
constexpr std::size_t kIndentColumns = 4;  // "  + "

std::string_view symbol(Mark mark, Charset charset) {
  const bool is_utf8 = charset == Charset::kUtf8;
  switch (mark) {
    case Mark::kGood: return is_utf8 ? "✓" : "+";
    case Mark::kMissing: return is_utf8 ? "✗" : "-";
    case Mark::kUnknown: return "?";
    case Mark::kWarning: return "!";
    case Mark::kFact: break;
  }
  return is_utf8 ? "·" : ".";
}

Tone tone_of(Mark mark) {
  switch (mark) {
    case Mark::kGood: return Tone::kGood;
    case Mark::kMissing: return Tone::kDim;
    case Mark::kUnknown: return Tone::kAccent;
    case Mark::kWarning: return Tone::kWarning;
    case Mark::kFact: break;
  }
  return Tone::kPlain;
}

// Breaks text at spaces into lines of at most `columns`; a word that is longer stays whole.
std::vector<std::string> wrap(std::string_view text, std::size_t columns) {
  std::vector<std::string> lines{""};
  while (!text.empty()) {
    const std::size_t space = text.find(' ');
    const std::string_view word = text.substr(0, space);
    std::string& line = lines.back();
    if (line.empty()) {
      line = word;
    } else if (display_width(line) + 1 + display_width(word) <= columns) {
      line.append(" ").append(word);
    } else {
      lines.emplace_back(word);
    }
    text.remove_prefix(space == std::string_view::npos ? text.size() : space + 1);
  }
  return lines;
}

std::string render_line(const ReportLine& line, const ReportStyle& style) {
  const std::size_t start = kIndentColumns + kNameColumns;
  std::string text = printable(line.value, style.charset);
  if (!line.consequence.empty()) {
    text += (text.empty() ? "" : " - ") + printable(line.consequence, style.charset);
  }
  const std::size_t columns =
      style.columns > start + kNameColumns ? style.columns - start : kNameColumns;
  const std::vector<std::string> rows = wrap(text, columns);
  const Tone tone = tone_of(line.mark);
  std::string rendered = "  " + style.paint(tone, symbol(line.mark, style.charset)) + " " +
                         pad_right(line.name, kNameColumns) + style.paint(tone, rows.front()) +
                         "\n";
  for (std::size_t i = 1; i < rows.size(); ++i) {
    rendered += std::string(start, ' ') + style.paint(tone, rows[i]) + "\n";
  }
  return rendered;
}

ExitCode run_doctor(Session& session, const std::string& path) {
  const Result<DoctorFacts> facts = examine(path);
  if (!facts) {
    session.report(facts.error());
    return ExitCode::kFailed;
  }
  if (session.is_json()) {
    write_doctor_json(*facts, session.json());
    return ExitCode::kDone;
  }
  session.output().write(render_sections(
      doctor_sections(*facts),
      {.columns = session.columns(), .charset = session.charset(), .paint = session.paint()}));
  return ExitCode::kDone;
}

}  // namespace

Result<DoctorFacts> examine(const std::string& path) {
  // The path first: a wrong one is told before anything is tried.
  sys::PathProbe probe = QUIRE_TRY(sys::probe_path(path));
  DoctorFacts facts;
  facts.path = std::move(probe);
  facts.machine = sys::probe_machine();
  facts.limits = sys::process_limits();
  facts.memory = sys::memory_limits();
  facts.headroom = sys::headroom(facts.memory);
  return facts;
}

std::string render_sections(const std::vector<ReportSection>& sections, const ReportStyle& style) {
  std::string text;
  for (const ReportSection& section : sections) {
    text += style.paint(Tone::kStrong, printable(section.title, style.charset)) + "\n";
    for (const ReportLine& line : section.lines) {
      text += render_line(line, style);
    }
  }
  return text;
}

void add_doctor(CLI::App& app, Session& session) {
  const auto path = std::make_shared<std::string>(".");
  CLI::App& verb = session.add_verb(
      app,
      {.name = "doctor",
       .summary = "Tell what machine, file system and limits offer, and what follows.",
       .example = "quire doctor\n  quire doctor /var/lib/data --json"},
      [path](Session& running) { return run_doctor(running, *path); });
  verb.add_option("PATH", *path,
                  "A directory (tried with a nameless temporary file), a file or a block device "
                  "(read only); default: the current directory")
      ->option_text("[PATH]");
}

}  // namespace quire::cli
