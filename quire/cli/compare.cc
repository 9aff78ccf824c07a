// SPDX-License-Identifier: Apache-2.0
#include <CLI/App.hpp>
#include <CLI/Option.hpp>
#include <CLI/Validators.hpp>
#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "quire/cli/atomic_file.h"
#include "quire/cli/compare_output.h"
#include "quire/cli/session.h"
#include "quire/cli/verbs.h"
#include "quire/compare/engine.h"
#include "quire/compare/html_report.h"
#include "quire/compare/simulated.h"
#include "quire/sys/file.h"
#include "quire/sys/proc_files.h"

namespace quire::cli {
namespace {

constexpr double kQuickTimeS = 15;
constexpr std::uint32_t kDepthMax = 1024;
constexpr double kTimeMaxS = 24 * 3600;

struct CompareArguments {
  compare::CompareOptions options;
  std::uint64_t memory_bytes = 0;
  std::vector<std::string> paths;
  std::vector<std::string> patterns;
  std::vector<std::string> states;
  std::vector<std::string> durabilities;
  std::string html;
  std::string device_model;
  bool quick = false;
  bool with_code = false;
  const CLI::Option* memory_option = nullptr;
  const CLI::Option* time_option = nullptr;
};

Error wrong_argument(std::string why) {
  return make_error(Errc::kOutOfRange, "compare", "arguments", std::move(why));
}

// Turns the names that an option was given into values.
// Errors: a name that there is not, with those that there are.
template <int kCount, typename Enum, typename Find>
Result<void> choose(const char* option, const std::vector<std::string>& names, Find&& find,
                    std::vector<Enum>& chosen) {
  for (const std::string& name : names) {
    const std::optional<Enum> found = find(name);
    if (!found) {
      std::string known;
      for (int i = 0; i < kCount; ++i) {
        known += (known.empty() ? "" : ", ") + std::string(compare::name_of(static_cast<Enum>(i)));
      }
      return fail(wrong_argument(fmt::format("{} knows no '{}', but {}", option, name, known)));
    }
    chosen.push_back(*found);
  }
  return {};
}

// As it was typed, but for the quoting; "" without /proc.
std::string command_line() {
  std::string text = sys::read_proc_file("/proc/self/cmdline").value_or("");
  std::replace(text.begin(), text.end(), '\0', ' ');
  return text.substr(0, text.find_last_not_of(' ') + 1);
}

// Nothing: a real disk.
Result<std::optional<sim::DiskModel>> parse_model(const std::string& text) {
  if (text.empty()) {
    return std::nullopt;
  }
  const auto model = sim::parse_disk_model(text);
  if (!model) {
    return fail(wrong_argument("--device-model: " + model.error().message()));
  }
  return *model;
}

// What the command line says, as options; or why it says nothing sensible.
Result<compare::CompareOptions> settle(const CompareArguments& given) {
  compare::CompareOptions options = given.options;
  const bool is_simulated = !given.device_model.empty();
  if (is_simulated && !options.file.empty()) {
    return fail(wrong_argument("--device-model simulates a file of --size, and reads none"));
  }
  if (!is_simulated && options.file.empty() == (options.scratch_bytes == 0)) {
    return fail(wrong_argument("give either FILE or --size"));
  }
  if (options.articles && !options.file.empty()) {
    return fail(
        wrong_argument("--articles writes, and FILE is only ever read: give --size instead"));
  }
  QUIRE_TRY(
      choose<compare::kPathCount>("--paths", given.paths, compare::path_named, options.paths));
  QUIRE_TRY(choose<compare::kPatternCount>("--patterns", given.patterns, compare::pattern_named,
                                           options.patterns));
  QUIRE_TRY(
      choose<compare::kStateCount>("--states", given.states, compare::state_named, options.states));
  QUIRE_TRY(choose<compare::kDurabilityCount>("--durability", given.durabilities,
                                              compare::durability_named, options.durabilities));
  if (given.memory_option->count() > 0) {
    options.memory_bytes = given.memory_bytes;
  }
  if (given.quick) {
    options.rounds_min = 1;
    options.time_budget_s = given.time_option->count() > 0 ? options.time_budget_s : kQuickTimeS;
  }
  if (options.articles) {
    options.rounds_max = options.rounds_min;  // Many figures, and none of them is a close call.
  }
  options.version = QUIRE_VERSION;
  options.command_line = command_line();
  return options;
}

// Anything that can go wrong with it goes wrong before the measuring.
Result<std::optional<AtomicFile>> open_html(const std::string& path) {
  if (path.empty()) {
    return std::nullopt;
  }
  return std::optional(QUIRE_TRY(AtomicFile::create(path)));
}

Result<void> write_html(AtomicFile& file, const std::string& path, const compare::Report& report) {
  const std::string text = compare::html_report(report);
  if (const auto written = sys::write_all(file.fd(), std::as_bytes(std::span(text))); !written) {
    return fail(to_error(written.error(), "write", path));
  }
  return file.commit();
}

Result<compare::Report> run_with_progress(Session& session, const compare::CompareOptions& options,
                                          const std::optional<sim::DiskModel>& model) {
  ProgressLine progress(session, "compare");
  const compare::CompareHooks hooks{
      .on_progress =
          [&](const compare::CompareProgress& state) {
            progress.update(
                {.done = state.done_share, .left_s = state.left_s, .doing = state.doing});
          },
      .should_stop = [&] { return session.stop_requested(); }};
  if (!model) {
    return compare::run_comparison(options, hooks);
  }
  return compare::simulate_comparison({.compare = options, .disk = *model, .host = {}}, hooks);
}

void report_troubles(Session& session, const compare::Report& report) {
  for (const compare::Cell& cell : report.cells) {
    if (cell.error) {
      session.report(*cell.error);
    }
  }
  if (report.is_interrupted) {
    session.note(fmt::format("interrupted after {:.0f} s: the cells are what there was until then",
                             report.elapsed_s));
  }
}

ExitCode run_compare(Session& session, const CompareArguments& given) {
  const auto options = settle(given);
  const auto model = parse_model(given.device_model);
  if (!options || !model) {
    return session.wrong_use((options ? model.error() : options.error()).cause());
  }
  auto html = open_html(given.html);
  if (!html) {
    session.report(html.error());
    return ExitCode::kFailed;
  }
  const auto report = run_with_progress(session, *options, *model);
  if (!report) {
    session.report(report.error());
    return ExitCode::kDone;  // Failed, or not possible: what was reported decides.
  }
  write_report(session, *report, given.with_code);
  if (*html) {
    if (const auto written = write_html(**html, given.html, *report); !written) {
      session.report(written.error());
    } else if (!session.is_json()) {
      session.print("\nreport: {}\n", session.name(given.html));
    }
  }
  report_troubles(session, *report);
  return report->is_interrupted ? ExitCode::kFailed : ExitCode::kDone;
}

void add_size(CLI::App& verb, const char* name, std::uint64_t& bytes, const char* text) {
  verb.add_option(name, bytes, text)->option_text("SIZE")->transform(CLI::AsSizeValue(false));
}

void add_names(CLI::App& verb, const char* name, std::vector<std::string>& names,
               const char* what) {
  verb.add_option(name, names, "Only these, by their names in --json")
      ->option_text(what)
      ->delimiter(',');
}

}  // namespace

void add_compare(CLI::App& app, Session& session) {
  const auto given = std::make_shared<CompareArguments>();
  compare::CompareOptions& options = given->options;
  CLI::App& verb = session.add_verb(
      app,
      {.name = "compare",
       .summary = "Measure which way of reading and writing a file is fastest here.",
       .example = "quire compare data.bin\n"
                  "  quire compare --size 1G --memory 256M --html report.html\n"
                  "  quire compare data.bin --patterns random_read --depth 64"},
      [given](Session& running) { return run_compare(running, *given); });
  verb.add_option("file", options.file, "A file or block device: it is only read")
      ->option_text("[FILE]");
  add_size(verb, "--size", options.scratch_bytes,
           "Compare writes too, on a scratch file this large");
  verb.add_option("--dir", options.directory, "Where the scratch file is made (.)")
      ->option_text("DIR");
  add_size(verb, "--memory", given->memory_bytes,
           "Allow this much memory, page cache and pager included");
  given->memory_option = verb.get_option("--memory");
  given->time_option =
      verb.add_option("--time", options.time_budget_s, "How long to measure at most (60s)")
          ->option_text("SECONDS")
          ->transform(
              CLI::AsNumberWithUnit(std::map<std::string, double>{{"s", 1}, {"m", 60}, {"h", 3600}},
                                    CLI::AsNumberWithUnit::UNIT_OPTIONAL))
          ->check(CLI::Range(1.0, kTimeMaxS));
  add_names(verb, "--paths", given->paths, "PATH,...");
  add_names(verb, "--patterns", given->patterns, "PATTERN,...");
  add_names(verb, "--states", given->states, "STATE,...");
  add_names(verb, "--durability", given->durabilities, "KIND,...");
  verb.add_option("--depth", options.depth,
                  "Requests under way of the queued and prefetched paths (32)")
      ->option_text("N")
      ->check(CLI::Range(1U, kDepthMax));
  verb.add_option("--seed", options.seed, "Ask for other pages (1)")->option_text("N");
  verb.add_flag("--quick", given->quick, "One round of each cell, within 15 seconds");
  verb.add_flag("--articles", options.articles,
                "Instead: the articles' small writes, and what explains them");
  verb.add_option("--device-model", given->device_model,
                  "Simulate a disk: hdd, ssd, nvme, with parameters")
      ->option_text("MODEL");
  verb.add_flag("--code", given->with_code, "Show the lines of code behind each verdict");
  verb.add_option("--html", given->html, "Write a report with charts, to open offline")
      ->option_text("FILE");
}

}  // namespace quire::cli
