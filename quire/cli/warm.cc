// SPDX-License-Identifier: Apache-2.0
#include <CLI/App.hpp>
#include <CLI/Option.hpp>
#include <CLI/Validators.hpp>
#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "quire/base/units.h"
#include "quire/cli/file_view.h"
#include "quire/cli/session.h"
#include "quire/cli/tree_walk.h"
#include "quire/cli/verbs.h"
#include "quire/cli/warm_queue.h"
#include "quire/map/warming.h"

namespace quire::cli {
namespace {

struct WarmArguments {
  TreeArguments tree;
  WarmingChoice choice;
};

struct WarmTotals {
  std::uint64_t files = 0;
  std::uint64_t size_bytes = 0;
  std::uint64_t before_bytes = 0;
  std::uint64_t after_bytes = 0;
  std::uint64_t read_bytes = 0;
  std::uint64_t skipped_bytes = 0;
  std::uint64_t unknown_files = 0;
  double seconds = 0;

  void add(const WarmReport& report) noexcept {
    ++files;
    size_bytes += report.size_bytes;
    before_bytes += report.known ? report.bytes_resident_before : 0;
    after_bytes += report.known ? report.bytes_resident_after : 0;
    read_bytes += bytes_brought_in(report);
    skipped_bytes += report.bytes_skipped;
    unknown_files += report.known ? 0 : 1;
  }
};

// Bytes that were read and yet are not there: something pushed them out again.
std::uint64_t missing_bytes(const WarmReport& report) noexcept {
  const std::uint64_t accounted =
      report.bytes_resident_after + report.bytes_skipped + report.bytes_left_out;
  return report.known ? report.size_bytes - std::min(report.size_bytes, accounted) : 0;
}

void write_bytes_or_null(JsonWriter& json, const char* key, std::uint64_t bytes, bool is_known) {
  if (is_known) {
    json.member(key, bytes);
  } else {
    json.key(key).value_null();
  }
}

void write_file(JsonWriter& json, const std::string& path, const WarmReport& report) {
  json.begin_object();
  json.member_path("path", path);
  json.member("size_bytes", report.size_bytes);
  json.member("resident_known", report.known);
  write_bytes_or_null(json, "resident_bytes_before", report.bytes_resident_before, report.known);
  write_bytes_or_null(json, "resident_bytes_after", report.bytes_resident_after, report.known);
  json.member("read_bytes", bytes_brought_in(report));
  json.member("hole_bytes", report.bytes_skipped);
  json.member("left_out_bytes", report.bytes_left_out);
  json.member("stopped", name_of(report.stopped));
  json.end_object();
}

void write_totals(JsonWriter& json, const WarmTotals& totals, std::uint64_t left_out_bytes) {
  json.key("totals").begin_object();
  json.member("files", totals.files);
  json.member("size_bytes", totals.size_bytes);
  json.member("resident_bytes_before", totals.before_bytes);
  json.member("resident_bytes_after", totals.after_bytes);
  json.member("read_bytes", totals.read_bytes);
  json.member("hole_bytes", totals.skipped_bytes);
  json.member("left_out_bytes", left_out_bytes);
  json.member("unknown_files", totals.unknown_files);
  json.member("seconds", totals.seconds);
  json.end_object();
}

void print_totals(Session& session, const WarmTotals& totals) {
  std::string line = session.paint()(
      Tone::kStrong,
      fmt::format("{} of {} resident ({}) in {}", human_bytes(totals.after_bytes),
                  human_bytes(totals.size_bytes), percent(totals.after_bytes, totals.size_bytes),
                  count_of(totals.files, "file", "files")));
  line += fmt::format("\n  {} before; ", human_bytes(totals.before_bytes));
  if (totals.read_bytes == 0) {
    line += "nothing to read";
  } else {
    line += fmt::format("read {} in {:.2f} s", human_bytes(totals.read_bytes), totals.seconds);
    const double rate = static_cast<double>(totals.read_bytes) / totals.seconds;
    line += totals.seconds > 0
                ? fmt::format(" ({}/s)", human_bytes(static_cast<std::uint64_t>(rate)))
                : "";
  }
  if (totals.skipped_bytes > 0) {
    line += fmt::format("; {} are holes", human_bytes(totals.skipped_bytes));
  }
  if (totals.unknown_files > 0) {
    line += fmt::format("; unknown for {}", count_of(totals.unknown_files, "file", "files"));
  }
  session.print("{}\n", line);
}

void take_result(Session& session, WarmTotals& totals, const std::string& path,
                 const Result<WarmReport>& report) {
  if (!report) {
    session.report(report.error().about("warm", path));
    return;
  }
  totals.add(*report);
  if (session.is_json()) {
    write_file(session.json(), path, *report);
  }
  if (const std::uint64_t missing = missing_bytes(*report); missing > 0) {
    session.report(make_error(Errc::kLimit, "warm", path,
                              human_bytes(missing) + " were read and did not stay in memory",
                              "memory is short; see 'quire doctor'"));
  }
}

// Returns the limit that ended it early, if one did.
std::optional<std::string> warm_all(Session& session, const WarmArguments& given,
                                    std::uint64_t total_bytes, WarmTotals& totals) {
  WarmQueue queue(session, "warm", total_bytes, given.choice,
                  [&](const WarmItem& item, const Result<WarmReport>& report) {
                    take_result(session, totals, item.path, report);
                  });
  TreeWalk walk(session, "warm", {.one_file_system = given.tree.one_file_system});
  walk.walk(given.tree.paths, [&](const WalkedFile& file) {
    const std::uint64_t size_bytes = size_of(file);
    WarmItem item{.path = file.path, .file = std::move(file.file), .size_bytes = size_bytes};
    if (size_bytes > 0) {
      item.ranges.push_back({.offset_bytes = 0, .length_bytes = size_bytes});
    }
    queue.add(std::move(item));
    if (queue.is_over()) {
      walk.stop();
    }
  });
  queue.drain();
  totals.seconds = queue.seconds();
  return queue.binding_limit();
}

ExitCode run_warm(Session& session, const WarmArguments& given) {
  if (given.tree.paths.empty()) {
    return session.wrong_use("PATH... is missing");
  }
  const TreeSize size = measure_trees(session, given.tree);
  WarmTotals totals;
  if (session.is_json()) {
    session.json().key("files").begin_array();
  }
  const auto binding_limit = warm_all(session, given, size.size_bytes, totals);
  const std::uint64_t done_bytes = totals.after_bytes + totals.skipped_bytes;
  const std::uint64_t left_out_bytes = binding_limit || session.stop_requested()
                                           ? size.size_bytes - std::min(size.size_bytes, done_bytes)
                                           : 0;
  if (binding_limit) {
    session.report(memory_error("warm", left_out_bytes, *binding_limit));
  }
  if (session.is_json()) {
    session.json().end_array();
    write_totals(session.json(), totals, left_out_bytes);
  } else if (totals.files > 0) {
    print_totals(session, totals);
  }
  if (Session::was_interrupted()) {
    session.note(fmt::format("interrupted; {} were not reached", human_bytes(left_out_bytes)));
  }
  return session.stop_requested() ? ExitCode::kFailed : ExitCode::kDone;
}

}  // namespace

void add_warm(CLI::App& app, Session& session) {
  const auto given = std::make_shared<WarmArguments>();
  CLI::App& verb =
      session.add_verb(app,
                       {.name = "warm",
                        .summary = "Read files into memory, fast, without pushing others out.",
                        .example = "quire warm model.bin\n  quire warm --json /srv/index"},
                       [given](Session& running) { return run_warm(running, *given); });
  add_tree_arguments(verb, given->tree, "Files, directories (with all below) or block devices");
  verb.add_flag("--allow-reclaim", given->choice.allow_reclaim,
                "Go on when the kernel must give up other pages for it");
  verb.add_option("--threads", given->choice.threads,
                  fmt::format("How many parts of a large file are read at once ({})",
                              given->choice.threads))
      ->option_text("N")
      ->check(CLI::Range(1, kWarmThreadsMax));
}

}  // namespace quire::cli
