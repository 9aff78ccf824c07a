// SPDX-License-Identifier: Apache-2.0
//
// Session: one run of the command, from the options that every verb has to the exit code.
//
//   exit code  0  done
//              1  failed, or done in part: standard error says what
//              2  wrong use: an unknown option, a missing argument
//              3  not possible here: this kernel, file system or user cannot do it
//
// Text goes to standard output through print(), errors and remarks to standard error. With --json
// standard output is one JSON object:
//
//   {"verb": "map", <the verb's own members>, "notes": [...], "errors": [...],
//    "errors_omitted": 0, "interrupted": false, "exit_code": 0}
//
// Session writes what stands around the verb's members, even when the verb stops half-way. Exit
// code 2 comes with no document. Ctrl-C is a flag that verbs look at between two steps
// (stop_requested), never a death in the middle; a standard output that broke counts as a stop too.
//
// Thread-safety: the thread of main(), except stop_requested().
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "quire/base/error.h"
#include "quire/cli/json_writer.h"
#include "quire/cli/output.h"
#include "quire/cli/progress.h"
#include "quire/cli/text.h"

namespace CLI {
class App;
}

namespace quire::cli {

enum class ExitCode : std::uint8_t { kDone = 0, kFailed = 1, kWrongUse = 2, kNotPossible = 3 };

enum class When : std::uint8_t { kAuto, kAlways, kNever };

// What the first lines of a verb's help say.
struct VerbInfo {
  const char* name;
  const char* summary;  // One line, for the table of `quire`.
  const char* example;  // The command line(s) shown at the end of `quire VERB --help`.
};

class Session {
 public:
  // Errors and notes kept for the JSON document; later ones are only counted. All reach stderr.
  static constexpr std::size_t kRemarksMax = 1000;

  Session();

  // Adds a verb with the common options; `run` is called after all of the line was understood.
  CLI::App& add_verb(CLI::App& app, const VerbInfo& info, std::function<ExitCode(Session&)> run);
  // What add_verb does once the verb was named. For verbs without the common options.
  void choose(std::string verb, std::function<ExitCode(Session&)> run);
  // Runs the verb that was chosen while parsing; opens and closes the JSON document around it.
  [[nodiscard]] ExitCode run_chosen_verb();
  // Hands over what was printed; an output that broke makes the code kFailed.
  [[nodiscard]] ExitCode finish(ExitCode code);
  [[nodiscard]] bool has_chosen_verb() const noexcept { return static_cast<bool>(run_); }

  [[nodiscard]] bool is_json() const noexcept { return is_json_; }
  // Only with --json: the document's object, to which the verb adds its members.
  [[nodiscard]] JsonWriter& json();
  // For a verb that writes a series of documents, one on each line: what ends every verb's document
  // becomes the last line. REQUIRES: json() was not called yet.
  void begin_series() noexcept { json_.set_shape(JsonShape::kOneLine); }
  [[nodiscard]] Output& output() noexcept { return output_; }

  // Text for standard output. File names pass through name() first.
  template <typename... Arguments>
  void print(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    output_.write(fmt::format(format, std::forward<Arguments>(arguments)...));
  }

  // A file or process name, safe to print.
  [[nodiscard]] std::string name(std::string_view bytes) const {
    return printable(bytes, charset_);
  }
  [[nodiscard]] Paint paint() const { return Paint(has_color_); }
  [[nodiscard]] Charset charset() const noexcept { return charset_; }
  [[nodiscard]] std::size_t columns() const noexcept { return columns_; }
  [[nodiscard]] std::optional<std::size_t> rows() const noexcept { return rows_; }
  [[nodiscard]] bool is_output_terminal() const noexcept { return is_output_terminal_; }
  // Asks the terminal again; for redrawing.
  void measure_terminal();

  // One line on standard error, `quire: operation(subject): cause; remedy`, and a place in the
  // document. The exit code becomes 1, or 3 when all that went wrong is kUnsupported.
  void report(const Error& error);
  // While not null: errors go there and nowhere else, kRemarksMax of them. For redrawing.
  void redirect_errors(std::vector<Error>* sink) noexcept { error_sink_ = sink; }
  // Something the user should know that is not an error: also to standard error and document.
  void note(std::string text);
  // Wrong use found after parsing: one line, and the exit code to return.
  [[nodiscard]] ExitCode wrong_use(std::string_view text);

  // True after Ctrl-C, SIGTERM, or when standard output is gone. Any thread.
  [[nodiscard]] bool stop_requested() const noexcept;
  // True after Ctrl-C or SIGTERM alone.
  [[nodiscard]] static bool was_interrupted() noexcept;
  // Sleeps until the time is over or a stop is asked for; true: go on. Blocks.
  [[nodiscard]] bool sleep_unless_stopped(std::chrono::milliseconds duration);

  [[nodiscard]] std::uint64_t error_count() const noexcept { return error_count_; }

 private:
  friend class ProgressLine;

  void settle_options();
  void write_error_line(std::string_view text);
  void close_document(ExitCode code);
  [[nodiscard]] ExitCode merge(ExitCode code) const noexcept;

  // Options as parsed.
  bool is_json_ = false;
  std::string color_ = "auto";
  std::string progress_ = "auto";

  std::string verb_;
  std::function<ExitCode(Session&)> run_;
  Output output_;
  JsonWriter json_;
  ProgressLine* progress_line_ = nullptr;

  Charset charset_ = Charset::kAscii;
  bool has_color_ = false;
  bool has_progress_ = false;
  bool is_output_terminal_ = false;
  std::size_t columns_ = 80;
  std::optional<std::size_t> rows_;

  std::vector<Error>* error_sink_ = nullptr;
  std::vector<Error> errors_;
  std::vector<std::string> notes_;
  std::uint64_t error_count_ = 0;
  std::uint64_t unsupported_count_ = 0;
};

}  // namespace quire::cli
