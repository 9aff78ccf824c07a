// SPDX-License-Identifier: Apache-2.0
#include <CLI/App.hpp>
#include <CLI/Option.hpp>
#include <charconv>
#include <memory>
#include <optional>

#include "quire/cli/file_table.h"
#include "quire/cli/process_view.h"
#include "quire/cli/session.h"
#include "quire/cli/top_view.h"
#include "quire/cli/tree_walk.h"
#include "quire/cli/verbs.h"

namespace quire::cli {
namespace {

constexpr std::uint64_t kTopFilesDefault = 20;
constexpr double kWatchDefaultS = 2;
constexpr double kWatchMinS = 0.1;  // Faster than this is a busy loop over the page cache.
constexpr double kWatchMaxS = 86'400;

struct MapArguments {
  TreeArguments tree;
  FileTableOptions table;
  int pid = 0;
  std::string top;
  std::string watch;
  const CLI::Option* pid_option = nullptr;
  const CLI::Option* top_option = nullptr;
  const CLI::Option* watch_option = nullptr;
};

template <typename Number>
std::optional<Number> parse_whole(std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

// "--top [N]" may be followed by a path, which is then what it took for N.
template <typename Number>
Number number_or_path(std::string text, Number otherwise, std::vector<std::string>& paths) {
  if (const auto number = parse_whole<Number>(text); number) {
    return *number;
  }
  if (!text.empty()) {
    paths.push_back(std::move(text));
  }
  return otherwise;
}

ExitCode watch(Session& session, const TreeArguments& tree, bool is_all, double interval_s) {
  if (is_all) {
    return session.wrong_use("--watch shows what fits on the terminal, so not --all");
  }
  if (session.is_json() || !session.is_output_terminal()) {
    return session.wrong_use(
        "--watch redraws a terminal; for a series call 'quire map --json' in a loop");
  }
  if (!(interval_s >= kWatchMinS && interval_s <= kWatchMaxS)) {
    return session.wrong_use("--watch takes 0.1 to 86400 seconds");
  }
  return watch_file_table(session, tree,
                          std::chrono::milliseconds(static_cast<std::int64_t>(interval_s * 1000)));
}

ExitCode run_map(Session& session, const MapArguments& given) {
  TreeArguments tree = given.tree;
  const bool has_pid = given.pid_option->count() > 0;
  const bool has_top = given.top_option->count() > 0;
  const bool has_watch = given.watch_option->count() > 0;
  const auto top = number_or_path<std::uint64_t>(given.top, kTopFilesDefault, tree.paths);
  const auto interval_s = number_or_path<double>(given.watch, kWatchDefaultS, tree.paths);
  if (int{has_pid} + int{has_top} + int{!tree.paths.empty()} != 1) {
    return session.wrong_use("give either PATH... or --pid N or --top [N]");
  }
  if (has_watch && tree.paths.empty()) {
    return session.wrong_use("--watch goes with PATH...");
  }
  if (has_top && (top == 0 || top > kTopFilesMax)) {
    return session.wrong_use(fmt::format("--top takes 1 to {}", kTopFilesMax));
  }
  if (has_pid) {
    return show_process(session, given.pid, given.table.all);
  }
  if (has_top) {
    return show_top(session, top);
  }
  return has_watch ? watch(session, tree, given.table.all, interval_s)
                   : show_file_table(session, tree, given.table);
}

}  // namespace

void add_map(CLI::App& app, Session& session) {
  const auto given = std::make_shared<MapArguments>();
  CLI::App& verb = session.add_verb(
      app,
      {.name = "map",
       .summary = "Show which parts of files, trees and processes are in memory.",
       .example = "quire map /usr/lib\n  quire map --watch 1 data.bin\n  quire map --pid 1234"},
      [given](Session& running) { return run_map(running, *given); });
  add_tree_arguments(verb, given->tree, "Files, directories (with all below) or block devices");
  verb.add_flag("-a,--all", given->table.all, "List every file as it is found, not the largest");
  given->pid_option =
      verb.add_option("--pid", given->pid, "What a process maps, and: is it a leak?")
          ->option_text("N")
          ->check(CLI::PositiveNumber);
  given->top_option = verb.add_option("--top", given->top,
                                      "The files that processes use with most bytes in memory (20)")
                          ->option_text("[N]")
                          ->expected(0, 1);
  given->watch_option =
      verb.add_option("--watch", given->watch, "Redraw every so many seconds (2) until Ctrl-C")
          ->option_text("[SECONDS]")
          ->expected(0, 1);
}

}  // namespace quire::cli
