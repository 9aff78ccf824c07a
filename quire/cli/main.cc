// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

#include "quire/cli/help.h"
#include "quire/cli/session.h"
#include "quire/cli/verbs.h"
#include "quire/sys/signals.h"
#include "quire/sys/terminal.h"

namespace quire::cli {
namespace {

void add_all_verbs(CLI::App& app, Session& session) {
  add_doctor(app, session);
  add_map(app, session);
  add_warm(app, session);
  add_evict(app, session);
  add_lock(app, session);
  add_save(app, session);
  add_restore(app, session);
  add_compare(app, session);
  add_cp(app, session);
  add_send(app, session);
  add_receive(app, session);
  add_journal(app, session);
  add_recover(app, session);
  add_ipc(app, session);
  add_simulate(app, session);
  add_completion(app, session);
}

ExitCode print_text(Session& session, const std::string& text) {
  session.output().write(text);
  return session.finish(ExitCode::kDone);
}

ExitCode run(int argc, char** argv) {
  const auto occupied = sys::occupy_standard_descriptors();  // Before anything is opened.
  Session session;
  for (const auto& prepared : {occupied, sys::ignore_broken_pipes(), sys::install_stop_signals()}) {
    if (!prepared) {
      session.report(sys::to_error(prepared.error(), "start", "quire"));
      return ExitCode::kFailed;
    }
  }
  CLI::App app("Files as memory, under your control.", "quire");
  set_help_style(app);
  app.set_version_flag("--version", "quire " QUIRE_VERSION, "Print the version and exit");
  app.require_subcommand(0, 1);
  add_all_verbs(app, session);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return print_text(session, help_of_chosen(app));
  } catch (const CLI::CallForVersion&) {
    return print_text(session, "quire " QUIRE_VERSION "\n");
  } catch (const CLI::ParseError& error) {
    session.choose(chosen_name(app), {});
    return session.wrong_use(explain(app, error, {argv + 1, argv + argc}));
  }
  if (!session.has_chosen_verb()) {
    return print_text(session, app.help());
  }
  return session.run_chosen_verb();
}

}  // namespace
}  // namespace quire::cli

int main(int argc, char** argv) {
  try {
    return static_cast<int>(quire::cli::run(argc, argv));
  } catch (const std::exception& error) {
    // Out of memory, above all: the library reports everything else as a value.
    std::fputs("quire: stopped: ", stderr);
    std::fputs(error.what(), stderr);
    std::fputs("\n", stderr);
    return static_cast<int>(quire::cli::ExitCode::kFailed);
  }
}
