// SPDX-License-Identifier: Apache-2.0
#include <CLI/App.hpp>
#include <CLI/Option.hpp>
#include <array>
#include <memory>

#include "quire/base/units.h"
#include "quire/cli/session.h"
#include "quire/cli/tree_walk.h"
#include "quire/cli/verbs.h"
#include "quire/cli/warm_queue.h"
#include "quire/map/eviction.h"

namespace quire::cli {
namespace {

constexpr std::size_t kReasons = static_cast<std::size_t>(KeptReason::kUnknown) + 1;

struct EvictArguments {
  TreeArguments tree;
  bool best_effort = false;
};

struct EvictTotals {
  std::uint64_t files = 0;
  std::uint64_t before_bytes = 0;
  std::uint64_t after_bytes = 0;
  std::uint64_t unknown_files = 0;
  std::array<std::uint64_t, kReasons> kept_bytes{};

  void add(const EvictionReport& report) noexcept {
    ++files;
    unknown_files += report.known ? 0 : 1;
    before_bytes += report.known ? report.bytes_before : 0;
    after_bytes += report.known ? report.bytes_after : 0;
    for (const Kept& kept : report.remaining) {
      kept_bytes.at(static_cast<std::size_t>(kept.reason)) += kept.bytes;
    }
  }
};

void write_kept(JsonWriter& json, const Kept& kept) {
  json.begin_object();
  json.member("reason", name_of(kept.reason));
  json.member("bytes", kept.bytes);
  json.key("processes").begin_array();
  for (const Holder& holder : kept.holders) {
    json.begin_object();
    json.member("pid", holder.pid);
    json.member("name", holder.name);
    json.end_object();
  }
  json.end_array();
  json.end_object();
}

void write_file(JsonWriter& json, const WalkedFile& file, const EvictionReport& report) {
  json.begin_object();
  json.member_path("path", file.path);
  json.member("size_bytes", size_of(file));
  json.member("resident_known", report.known);
  for (const auto& [key, bytes] : {std::pair{"resident_bytes_before", report.bytes_before},
                                   std::pair{"resident_bytes_after", report.bytes_after}}) {
    if (report.known) {
      json.member(key, bytes);
    } else {
      json.key(key).value_null();
    }
  }
  if (!report.why_unknown.empty()) {
    json.member("why_unknown", report.why_unknown);
  }
  json.key("remaining").begin_array();
  for (const Kept& kept : report.remaining) {
    write_kept(json, kept);
  }
  json.end_array();
  json.member("processes_hidden", report.processes_hidden);
  json.end_object();
}

void write_totals(JsonWriter& json, const EvictTotals& totals) {
  json.key("totals").begin_object();
  json.member("files", totals.files);
  json.member("resident_bytes_before", totals.before_bytes);
  json.member("resident_bytes_after", totals.after_bytes);
  json.member("unknown_files", totals.unknown_files);
  json.key("remaining").begin_array();
  for (std::size_t reason = 0; reason < kReasons; ++reason) {
    if (totals.kept_bytes.at(reason) > 0) {
      json.begin_object();
      json.member("reason", name_of(static_cast<KeptReason>(reason)));
      json.member("bytes", totals.kept_bytes.at(reason));
      json.end_object();
    }
  }
  json.end_array();
  json.end_object();
}

void print_kept(Session& session, const std::string& path, const EvictionReport& report) {
  for (const Kept& kept : report.remaining) {
    session.print("{} {}: {}\n", session.paint()(Tone::kWarning, "stayed"), session.name(path),
                  session.name(describe(kept)));
  }
}

void print_totals(Session& session, const EvictTotals& totals) {
  const std::uint64_t gone =
      totals.before_bytes - std::min(totals.before_bytes, totals.after_bytes);
  std::string line = session.paint()(
      Tone::kStrong,
      fmt::format("evicted {} of {}", human_bytes(gone), count_of(totals.files, "file", "files")));
  line += fmt::format("\n  {} resident before, {} after", human_bytes(totals.before_bytes),
                      human_bytes(totals.after_bytes));
  if (totals.unknown_files > 0) {
    line += fmt::format("; unknown for {}: the kernel tells only who owns or may write a file",
                        count_of(totals.unknown_files, "file", "files"));
  }
  session.print("{}\n", line);
}

void evict_file(Session& session, EvictTotals& totals, const WalkedFile& file) {
  const auto report = evict(file.file.get());
  if (!report) {
    session.report(report.error().about("evict", file.path));
    return;
  }
  totals.add(*report);
  if (session.is_json()) {
    write_file(session.json(), file, *report);
  } else {
    print_kept(session, file.path, *report);
  }
}

ExitCode run_evict(Session& session, const EvictArguments& given) {
  if (given.tree.paths.empty()) {
    return session.wrong_use("PATH... is missing");
  }
  EvictTotals totals;
  if (session.is_json()) {
    session.json().key("files").begin_array();
  }
  {
    ProgressLine progress(session, "evict");
    TreeWalk walk(session, "evict", {.one_file_system = given.tree.one_file_system});
    walk.walk(given.tree.paths, [&](const WalkedFile& file) {
      evict_file(session, totals, file);
      progress.update(totals.before_bytes, totals.files);
    });
  }
  if (session.is_json()) {
    session.json().end_array();
    write_totals(session.json(), totals);
  } else if (totals.files > 0) {
    print_totals(session, totals);
  }
  if (Session::was_interrupted()) {
    session.note(fmt::format("interrupted after {}", count_of(totals.files, "file", "files")));
  }
  const bool has_stayed = totals.after_bytes > 0 && !given.best_effort;
  return session.stop_requested() || has_stayed ? ExitCode::kFailed : ExitCode::kDone;
}

}  // namespace

void add_evict(CLI::App& app, Session& session) {
  const auto given = std::make_shared<EvictArguments>();
  CLI::App& verb =
      session.add_verb(app,
                       {.name = "evict",
                        .summary = "Drop files from memory, check, and say what stayed and why.",
                        .example = "quire evict data.bin\n  quire evict --best-effort /var/log"},
                       [given](Session& running) { return run_evict(running, *given); });
  add_tree_arguments(verb, given->tree, "Files, directories (with all below) or block devices");
  verb.add_flag("--best-effort", given->best_effort, "Exit with 0 also when something stayed");
}

}  // namespace quire::cli
