// SPDX-License-Identifier: Apache-2.0
//
// quire ipc: segments of shared memory: which there are, who uses them, and away with the stale;
// how fast they are, and whether they survive their users.
#include <CLI/App.hpp>
#include <CLI/Validators.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "quire/cli/ipc_bench.h"
#include "quire/cli/ipc_chaos.h"
#include "quire/cli/ipc_output.h"
#include "quire/cli/session.h"
#include "quire/cli/verbs.h"
#include "quire/ipc/inventory.h"
#include "quire/ipc/segment.h"

namespace quire::cli {
namespace {

constexpr double kIntervalDefaultS = 1;

struct IpcArguments {
  std::string action;
  std::vector<std::string> names;
  std::string directory;
  bool stale = false;
  bool force = false;
  bool no_pin = false;
  double interval_s = kIntervalDefaultS;
  std::uint64_t rounds = 0;  // 0: until Ctrl-C.
  std::optional<double> seconds;
  std::optional<std::uint64_t> seed;
};

// The segments that were named, or all; what cannot be looked at is reported.
std::vector<ipc::SegmentInfo> look_at(Session& session, const IpcArguments& given) {
  std::vector<std::string> names = given.names;
  if (names.empty()) {
    auto all = ipc::list_segments(given.directory);
    if (!all) {
      session.report(all.error());
      return {};
    }
    names = std::move(*all);
  }
  std::vector<ipc::SegmentInfo> segments;
  for (const std::string& name : names) {
    auto info = ipc::inspect_segment(name, given.directory);
    // One that went away since it was listed is no error; one that was asked for is.
    const bool may_be_gone =
        given.names.empty() && !info && info.error().code() == std::errc::no_such_file_or_directory;
    if (info) {
      segments.push_back(std::move(*info));
    } else if (!may_be_gone) {
      session.report(info.error());
    }
  }
  return segments;
}

ExitCode code_of(const Session& session) {
  return session.error_count() == 0 ? ExitCode::kDone : ExitCode::kFailed;
}

ExitCode list(Session& session, const IpcArguments& given) {
  const std::vector<ipc::SegmentInfo> segments = look_at(session, given);
  if (session.is_json()) {
    session.json().key("segments").begin_array();
    for (const ipc::SegmentInfo& info : segments) {
      write_segment_summary(session.json(), info);
    }
    session.json().end_array();
  } else if (segments.empty() && session.error_count() == 0) {
    session.print("no segments\n");
  } else if (!segments.empty()) {
    session.output().write(segment_table(session, segments));
  }
  return code_of(session);
}

ExitCode stat(Session& session, const IpcArguments& given) {
  const std::vector<ipc::SegmentInfo> segments = look_at(session, given);
  if (session.is_json()) {
    session.json().key("segments").begin_array();
  }
  for (const ipc::SegmentInfo& info : segments) {
    if (session.is_json()) {
      session.json().begin_object();
      write_segment(session.json(), info);
      session.json().end_object();
    } else {
      session.output().write(segment_text(session, info));
    }
  }
  if (session.is_json()) {
    session.json().end_array();
  }
  return code_of(session);
}

// One document, on one line: the segments as `stat` shows them.
void write_look(Session& session, const std::vector<ipc::SegmentInfo>& segments, double seconds) {
  JsonWriter json(session.output());
  json.set_shape(JsonShape::kOneLine);
  json.begin_object();
  json.member("elapsed_s", seconds);
  json.key("segments").begin_array();
  for (const ipc::SegmentInfo& info : segments) {
    json.begin_object();
    write_segment(json, info);
    json.end_object();
  }
  json.close_to(0);
}

void show_look(Session& session, const std::vector<ipc::SegmentInfo>& segments,
               const Counts& before, double seconds) {
  if (session.is_json()) {
    write_look(session, segments, seconds);
  } else {
    session.measure_terminal();
    if (session.is_output_terminal()) {
      session.print("\x1b[H\x1b[2J");
    }
    session.output().write(watch_text(session, segments, before, seconds));
  }
  static_cast<void>(session.output().flush());
}

ExitCode watch(Session& session, const IpcArguments& given) {
  const auto interval =
      std::chrono::milliseconds(static_cast<std::int64_t>(given.interval_s * 1e3));
  Counts before;
  auto last = std::chrono::steady_clock::now();
  for (std::uint64_t round = 1;; ++round) {
    const std::vector<ipc::SegmentInfo> segments = look_at(session, given);
    const auto now = std::chrono::steady_clock::now();
    const double seconds = round == 1 ? 0 : std::chrono::duration<double>(now - last).count();
    show_look(session, segments, before, seconds);
    before = counts_of(segments);
    last = now;
    if (round == given.rounds || session.error_count() > 0 ||
        !session.sleep_unless_stopped(interval)) {
      return code_of(session);  // Ctrl-C is how watching ends.
    }
  }
}

// Their names, as they go.
std::vector<std::string> remove_named(Session& session, const IpcArguments& given) {
  std::vector<std::string> removed;
  for (const std::string& name : given.names) {
    const auto outcome =
        ipc::remove_segment(name, {.directory = given.directory, .force = given.force});
    if (outcome) {
      removed.push_back(name);
    } else {
      session.report(outcome.error());
    }
  }
  return removed;
}

std::vector<std::string> remove_stale(Session& session, const IpcArguments& given) {
  auto removed = ipc::remove_stale_segments(given.directory);
  if (!removed) {
    session.report(removed.error());
    return {};
  }
  return std::move(*removed);
}

ExitCode remove(Session& session, const IpcArguments& given) {
  if (given.stale == !given.names.empty() || (given.stale && given.force)) {
    return session.wrong_use("rm takes either NAME... (with --force, even if in use) or --stale");
  }
  const std::vector<std::string> removed =
      given.stale ? remove_stale(session, given) : remove_named(session, given);
  if (session.is_json()) {
    session.json().key("removed").begin_array();
    for (const std::string& name : removed) {
      session.json().value(name);
    }
    session.json().end_array();
    return code_of(session);
  }
  for (const std::string& name : removed) {
    session.print("removed {}\n", session.name(name));
  }
  return code_of(session);
}

ExitCode chaos(Session& session, const IpcArguments& given) {
  return run_ipc_chaos(session,
                       {.seconds = given.seconds, .seed = given.seed, .structures = given.names});
}

ExitCode bench(Session& session, const IpcArguments& given) {
  if (!given.names.empty()) {
    return session.wrong_use("bench measures everything: it takes no NAME");
  }
  return measure_ipc(session, given.seconds, !given.no_pin);
}

struct Action {
  std::string_view name;
  ExitCode (*run)(Session&, const IpcArguments&);
};
constexpr std::array kActions = {
    Action{.name = "ls", .run = list},     Action{.name = "stat", .run = stat},
    Action{.name = "watch", .run = watch}, Action{.name = "rm", .run = remove},
    Action{.name = "bench", .run = bench}, Action{.name = "chaos", .run = chaos}};

ExitCode run_ipc(Session& session, const IpcArguments& given) {
  const auto action = std::find_if(kActions.begin(), kActions.end(),
                                   [&](const Action& one) { return one.name == given.action; });
  if (action == kActions.end()) {
    std::string names;
    for (const Action& one : kActions) {
      names += (names.empty() ? "" : ", ") + std::string(one.name);
    }
    return session.wrong_use(given.action.empty()
                                 ? "ACTION is missing: one of " + names
                                 : "there is no action '" + session.name(given.action) +
                                       "': it is one of " + names);
  }
  if (session.is_json() && action->run == watch) {
    session.begin_series();
  } else if (session.is_json()) {
    const auto directory =
        given.directory.empty() ? ipc::runtime_directory() : Result<std::string>(given.directory);
    session.json().member("action", given.action);
    session.json().member_path("directory", directory.value_or(std::string()));
  }
  return action->run(session, given);
}

}  // namespace

void add_ipc(CLI::App& app, Session& session) {
  const auto given = std::make_shared<IpcArguments>();
  CLI::App& verb = session.add_verb(
      app,
      {.name = "ipc",
       .summary = "Show shared memory and who uses it, and remove what nobody uses.",
       .example = "quire ipc ls\n  quire ipc stat prices\n  quire ipc rm --stale\n  quire ipc "
                  "chaos --seconds 60"},
      [given](Session& running) { return run_ipc(running, *given); });
  verb.add_option("ACTION", given->action, "ls, stat, watch, rm, bench or chaos")
      ->option_text("ACTION");
  verb.add_option("NAME", given->names, "Segments; for chaos: structures. Else all of them")
      ->option_text("[NAME...]");
  verb.add_option("--directory", given->directory,
                  "Where they are ($QUIRE_IPC_DIR, else /dev/shm/quire-UID)")
      ->option_text("PATH");
  verb.add_flag("--stale", given->stale, "rm: every segment in which no process lives");
  verb.add_flag("--force", given->force, "rm: even in use, or no segment at all");
  verb.add_option("--interval", given->interval_s, "watch: seconds between two looks (1)")
      ->option_text("SECONDS")
      ->check(CLI::Range(0.01, 86400.0));
  verb.add_option("--rounds", given->rounds,
                  "watch: how many looks; else until Ctrl-C. With --json each is a line")
      ->option_text("N")
      ->check(CLI::PositiveNumber);
  verb.add_option("--seconds", given->seconds, "bench, chaos: how long (20, 10)")
      ->option_text("SECONDS")
      ->check(CLI::Range(0.01, 1e6));
  verb.add_flag("--no-pin", given->no_pin, "bench: bind no process to a processor");
  verb.add_option("--seed", given->seed, "chaos: draw the same misfortunes again")
      ->option_text("N");
}

}  // namespace quire::cli
