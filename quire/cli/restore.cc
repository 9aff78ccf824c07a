// SPDX-License-Identifier: Apache-2.0
#include <CLI/App.hpp>
#include <CLI/Option.hpp>
#include <CLI/Validators.hpp>
#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "quire/base/units.h"
#include "quire/cli/session.h"
#include "quire/cli/tree_walk.h"
#include "quire/cli/verbs.h"
#include "quire/cli/warm_queue.h"
#include "quire/map/snapshot.h"

namespace quire::cli {
namespace {

struct RestoreArguments {
  std::string snapshot;
  WarmingChoice choice;
};

struct RestoreTotals {
  std::uint64_t files = 0;
  std::uint64_t restored_files = 0;
  std::uint64_t skipped_files = 0;
  std::uint64_t saved_bytes = 0;
  std::uint64_t skipped_bytes = 0;
  std::uint64_t before_bytes = 0;
  std::uint64_t after_bytes = 0;
  std::uint64_t read_bytes = 0;
  double seconds = 0;
};

// The entry's file, open, or why it is not the one that was saved.
tl::expected<sys::Descriptor, std::string> open_unchanged(const SnapshotEntry& entry,
                                                          MadeUpFiles& made_up_files) {
  // Looked at before it is opened: opening a device could do things.
  const auto looked = sys::path_status(entry.path.c_str(), false);
  if (!looked) {
    return tl::unexpected(sys::to_error(looked.error(), "open", entry.path).cause());
  }
  if (const RestoreDecision decision = should_restore(entry, *looked); !decision.restore) {
    return tl::unexpected(decision.why_not);
  }
  auto file = sys::open_file(entry.path.c_str(), {});
  const auto status =
      file ? sys::file_status(file->get()) : tl::unexpected<sys::Errno>(file.error());
  if (!status) {
    return tl::unexpected(sys::to_error(status.error(), "open", entry.path).cause());
  }
  if (const RestoreDecision decision = should_restore(entry, *status); !decision.restore) {
    return tl::unexpected(decision.why_not);
  }
  if (made_up_files.contains(file->get(), status->device)) {
    return tl::unexpected(MadeUpFiles::error("open", entry.path).cause());
  }
  return std::move(*file);
}

// `why_not` is empty for what was restored.
void write_item(Session& session, const WarmItem& item, const WarmReport& report,
                const std::string& why_not) {
  if (!session.is_json()) {
    return;
  }
  JsonWriter& json = session.json();
  json.begin_object();
  json.member_path("path", item.path);
  json.member("size_bytes", item.size_bytes);
  json.member("restored", why_not.empty());
  json.key("why_not");
  if (why_not.empty()) {
    json.value_null();
  } else {
    json.value(why_not);
  }
  json.member("saved_bytes", item.wanted_bytes());
  json.member("resident_known", report.known);
  json.member("resident_bytes_before", report.bytes_resident_before);
  json.member("resident_bytes_after", report.bytes_resident_after);
  json.member("read_bytes", bytes_brought_in(report));
  json.end_object();
}

void take_result(Session& session, RestoreTotals& totals, const WarmItem& item,
                 const Result<WarmReport>& report) {
  if (!report) {
    session.report(report.error().about("restore", item.path));
    write_item(session, item, WarmReport{.known = false}, report.error().cause());
    return;
  }
  ++totals.restored_files;
  totals.before_bytes += report->bytes_resident_before;
  totals.after_bytes += report->bytes_resident_after;
  totals.read_bytes += bytes_brought_in(*report);
  write_item(session, item, *report, {});
}

void restore_entry(Session& session, WarmQueue& queue, MadeUpFiles& made_up_files,
                   RestoreTotals& totals, SnapshotEntry& entry) {
  auto file = open_unchanged(entry, made_up_files);
  WarmItem item{.path = std::move(entry.path),
                .file = {},
                .size_bytes = entry.size_bytes,
                .ranges = std::move(entry.resident)};
  ++totals.files;
  totals.saved_bytes += item.wanted_bytes();
  if (!file) {
    ++totals.skipped_files;
    totals.skipped_bytes += item.wanted_bytes();
    queue.skip(item.wanted_bytes());
    session.note(fmt::format("skipped {}: {}", item.path, file.error()));
    write_item(session, item, WarmReport{.known = false}, file.error());
    return;
  }
  item.file = std::move(*file);
  queue.add(std::move(item));
}

// Every entry of a snapshot that has been validated. Returns the limit that ended it early.
std::optional<std::string> restore_all(Session& session, const RestoreArguments& given, int fd,
                                       const SnapshotSummary& summary, RestoreTotals& totals) {
  WarmQueue queue(session, "restore", summary.resident_bytes, given.choice,
                  [&](const WarmItem& item, const Result<WarmReport>& report) {
                    take_result(session, totals, item, report);
                  });
  MadeUpFiles made_up_files;
  SnapshotReader reader(snapshot_source(fd));
  while (!queue.is_over()) {
    auto entry = reader.next();
    if (!entry) {  // It was whole a moment ago: somebody is writing to it.
      session.report(entry.error().about("restore", given.snapshot));
      break;
    }
    if (!*entry) {
      break;
    }
    restore_entry(session, queue, made_up_files, totals, **entry);
  }
  queue.drain();
  totals.seconds = queue.seconds();
  return queue.binding_limit();
}

void print_totals(Session& session, const RestoreTotals& totals) {
  std::string line = session.paint()(
      Tone::kStrong, fmt::format("{} of {} resident in {}", human_bytes(totals.after_bytes),
                                 human_bytes(totals.saved_bytes),
                                 count_of(totals.restored_files, "file", "files")));
  line += fmt::format("\n  {} before; read {} in {:.2f} s", human_bytes(totals.before_bytes),
                      human_bytes(totals.read_bytes), totals.seconds);
  if (totals.skipped_files > 0) {
    line += fmt::format("; skipped {} that changed or went",
                        count_of(totals.skipped_files, "file", "files"));
  }
  session.print("{}\n", line);
}

void write_totals(JsonWriter& json, const RestoreTotals& totals, std::uint64_t left_out_bytes) {
  json.key("totals").begin_object();
  json.member("files", totals.files);
  json.member("restored_files", totals.restored_files);
  json.member("skipped_files", totals.skipped_files);
  json.member("saved_bytes", totals.saved_bytes);
  json.member("resident_bytes_before", totals.before_bytes);
  json.member("resident_bytes_after", totals.after_bytes);
  json.member("read_bytes", totals.read_bytes);
  json.member("left_out_bytes", left_out_bytes);
  json.member("seconds", totals.seconds);
  json.end_object();
}

ExitCode restore_from(Session& session, const RestoreArguments& given, int fd,
                      const SnapshotSummary& summary) {
  RestoreTotals totals;
  if (session.is_json()) {
    session.json().key("files").begin_array();
  }
  const auto binding_limit = restore_all(session, given, fd, summary, totals);
  // What was skipped is not left out: it is another file now.
  const std::uint64_t accounted_bytes = totals.after_bytes + totals.skipped_bytes;
  const bool is_cut = binding_limit || session.stop_requested();
  const std::uint64_t left_out_bytes =
      is_cut ? summary.resident_bytes - std::min(summary.resident_bytes, accounted_bytes) : 0;
  if (binding_limit) {
    session.report(memory_error("restore", left_out_bytes, *binding_limit));
  }
  if (session.is_json()) {
    session.json().end_array();
    write_totals(session.json(), totals, left_out_bytes);
  } else {
    print_totals(session, totals);
  }
  if (Session::was_interrupted()) {
    session.note(fmt::format("interrupted; {} were not reached", human_bytes(left_out_bytes)));
  }
  return session.stop_requested() ? ExitCode::kFailed : ExitCode::kDone;
}

ExitCode run_restore(Session& session, const RestoreArguments& given) {
  const auto looked = sys::path_status(given.snapshot.c_str(), false);
  if (looked && looked->kind != sys::FileKind::kRegular) {
    session.report(
        make_error(Errc::kWrongKind, "restore", given.snapshot,
                   fmt::format("it is {}; a snapshot is read twice", describe(looked->kind)),
                   "name the file that 'quire save' wrote"));
    return ExitCode::kFailed;
  }
  const auto file = sys::open_file(given.snapshot.c_str(), {});
  if (!file) {
    session.report(sys::to_error(file.error(), "restore", given.snapshot));
    return ExitCode::kFailed;
  }
  // Nothing is touched before all of it has proved to be as it was written.
  const auto summary = validate_snapshot(snapshot_source(file->get()));
  if (!summary) {
    session.report(summary.error().about("restore", given.snapshot));
    return ExitCode::kFailed;
  }
  return restore_from(session, given, file->get(), *summary);
}

}  // namespace

void add_restore(CLI::App& app, Session& session) {
  const auto given = std::make_shared<RestoreArguments>();
  CLI::App& verb =
      session.add_verb(app,
                       {.name = "restore",
                        .summary = "Read into memory again what 'quire save' wrote down.",
                        .example = "quire restore index.quire"},
                       [given](Session& running) { return run_restore(running, *given); });
  verb.add_option("SNAPSHOT", given->snapshot, "What 'quire save' wrote")
      ->option_text("FILE")
      ->required();
  verb.add_flag("--allow-reclaim", given->choice.allow_reclaim,
                "Go on when the kernel must give up other pages for it");
}

}  // namespace quire::cli
