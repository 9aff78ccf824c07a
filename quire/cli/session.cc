// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/session.h"

#include <CLI/App.hpp>
#include <CLI/Option.hpp>
#include <CLI/Validators.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <span>
#include <utility>

#include "quire/sys/file.h"
#include "quire/sys/signals.h"
#include "quire/sys/terminal.h"

namespace quire::cli {
namespace {

constexpr std::size_t kColumnsDefault = 80;
constexpr std::size_t kColumnsMin = 40;  // Narrower windows wrap; a table cannot be squeezed more.
constexpr std::size_t kColumnsMax = 1000;  // A limit against a nonsensical COLUMNS.

// Stable names for the document; the order is that of quire::Errc.
constexpr std::array<const char*, 16> kErrcNames{
    "",        "out_of_range",  "misaligned", "unsupported", "wrong_kind", "truncated",
    "closed",  "limit",         "cancelled",  "corrupt",     "read_only",  "fault",
    "changed", "newer_version", "failed",     "sealed"};

std::string code_name(std::error_code code) {
  if (code.category() == quire_category()) {
    const auto index = static_cast<std::size_t>(code.value());
    return index < kErrcNames.size() ? kErrcNames[index] : "unknown";
  }
  return errno_name(code.value());
}

std::string_view environment(const char* variable) {
  const char* value = std::getenv(variable);
  return value == nullptr ? std::string_view{} : std::string_view(value);
}

bool decide(std::string_view when, bool automatically) {
  return when == "always" || (when == "auto" && automatically);
}

std::size_t columns_from_environment() {
  const std::string text(environment("COLUMNS"));
  const unsigned long value = std::strtoul(text.c_str(), nullptr, 10);
  return value == 0 ? kColumnsDefault : static_cast<std::size_t>(value);
}

}  // namespace

Session::Session() : output_(sys::kStandardOutput), json_(output_) {
  charset_ = sys::use_environment_locale() ? Charset::kUtf8 : Charset::kAscii;
  measure_terminal();
}

CLI::App& Session::add_verb(CLI::App& app, const VerbInfo& info,
                            std::function<ExitCode(Session&)> run) {
  CLI::App& verb = *app.add_subcommand(info.name, info.summary);
  verb.footer(std::string("Example:\n  ") + info.example);
  const auto group = "Output";
  verb.set_help_flag("-h,--help", "Print this text and exit")->group(group);
  verb.add_flag("--json", is_json_, "Print one JSON document instead of text")->group(group);
  const auto when = CLI::IsMember({"auto", "always", "never"});
  verb.add_option("--color", color_, "Colour: on a terminal, always or never")
      ->option_text("auto|always|never")
      ->check(when)
      ->group(group);
  verb.add_option("--progress", progress_, "Progress line: on a terminal, always or never")
      ->option_text("auto|always|never")
      ->check(when)
      ->group(group);
  verb.callback([this, name = std::string(info.name), run = std::move(run)] { choose(name, run); });
  return verb;
}

void Session::choose(std::string verb, std::function<ExitCode(Session&)> run) {
  verb_ = std::move(verb);
  run_ = std::move(run);
}

void Session::measure_terminal() {
  // A dumb terminal prints, and can do nothing else: it is treated like a file.
  is_output_terminal_ = sys::is_terminal(sys::kStandardOutput) && environment("TERM") != "dumb";
  const auto size = sys::window_size(sys::kStandardOutput);
  columns_ = size ? static_cast<std::size_t>(size->columns) : columns_from_environment();
  columns_ = std::clamp(columns_, kColumnsMin, kColumnsMax);
  rows_.reset();
  if (size && size->rows > 0) {
    rows_ = static_cast<std::size_t>(size->rows);
  }
}

void Session::settle_options() {
  const bool is_dumb = environment("TERM") == "dumb";
  has_color_ = decide(color_, is_output_terminal_ && environment("NO_COLOR").empty());
  has_progress_ = decide(progress_, sys::is_terminal(sys::kStandardError) && !is_dumb);
}

ExitCode Session::run_chosen_verb() {
  settle_options();
  const ExitCode code = merge(run_(*this));
  if (is_json_ && code != ExitCode::kWrongUse) {
    close_document(code);
  }
  return finish(code);
}

ExitCode Session::finish(ExitCode code) {
  const auto flushed = output_.flush();
  if (flushed) {
    return code;
  }
  const bool is_closed_pipe = flushed.error().value == EPIPE;
  write_error_line(sys::to_error(flushed.error(), "write", "standard output",
                                 is_closed_pipe
                                     ? "the program that reads the output went away before the end"
                                     : "")
                       .message());
  return ExitCode::kFailed;
}

ExitCode Session::merge(ExitCode code) const noexcept {
  if (code != ExitCode::kDone || error_count_ == 0) {
    return code;
  }
  return unsupported_count_ == error_count_ ? ExitCode::kNotPossible : ExitCode::kFailed;
}

JsonWriter& Session::json() {
  if (json_.depth() == 0) {
    json_.begin_object();
    json_.member("verb", verb_);
  }
  return json_;
}

void Session::close_document(ExitCode code) {
  json().close_to(1);
  json_.key("notes").begin_array();
  for (const std::string& text : notes_) {
    json_.value(text);
  }
  json_.end_array();
  json_.key("errors").begin_array();
  for (const Error& error : errors_) {
    json_.begin_object();
    json_.member("operation", error.operation());
    json_.member("subject", error.subject());
    json_.member("cause", error.cause());
    json_.member("remedy", error.remedy());
    json_.member("code", code_name(error.code()));
    json_.end_object();
  }
  json_.end_array();
  json_.member("errors_omitted", error_count_ - errors_.size());
  json_.member("interrupted", was_interrupted());
  json_.member("exit_code", static_cast<unsigned>(code));
  json_.close_to(0);
}

void Session::write_error_line(std::string_view text) {
  if (progress_line_ != nullptr) {
    progress_line_->erase();
  }
  // What was found before the error is shown before it.
  if (is_output_terminal_) {
    static_cast<void>(output_.flush());
  }
  const std::string line = "quire: " + printable(text, charset_) + "\n";
  // Where standard error is gone too, there is nobody left to tell.
  static_cast<void>(sys::write_all(sys::kStandardError, std::as_bytes(std::span(line))));
}

void Session::report(const Error& error) {
  if (error_sink_ != nullptr) {
    if (error_sink_->size() < kRemarksMax) {
      error_sink_->push_back(error);
    }
    return;
  }
  ++error_count_;
  unsupported_count_ += error.code() == Errc::kUnsupported ? 1 : 0;
  write_error_line(error.message());
  if (is_json_ && errors_.size() < kRemarksMax) {
    errors_.push_back(error);
  }
}

void Session::note(std::string text) {
  write_error_line("note: " + text);
  if (is_json_ && notes_.size() < kRemarksMax) {
    notes_.push_back(std::move(text));
  }
}

ExitCode Session::wrong_use(std::string_view text) {
  const std::string verb = verb_.empty() ? "" : verb_ + " ";
  write_error_line(
      fmt::format("{}{}; see 'quire {}--help'", verb.empty() ? "" : verb_ + ": ", text, verb));
  return ExitCode::kWrongUse;
}

bool Session::stop_requested() const noexcept {
  return was_interrupted() || output_.failure().has_value();
}

bool Session::was_interrupted() noexcept {
  return sys::requested_stop_signal() != 0;
}

bool Session::sleep_unless_stopped(std::chrono::milliseconds duration) {
  static_cast<void>(sys::wait_readable(sys::stop_descriptor(), static_cast<int>(duration.count())));
  return !stop_requested();
}

}  // namespace quire::cli
