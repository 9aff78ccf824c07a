// SPDX-License-Identifier: Apache-2.0
#include <CLI/App.hpp>
#include <CLI/Option.hpp>
#include <filesystem>
#include <memory>

#include "quire/base/units.h"
#include "quire/cli/atomic_file.h"
#include "quire/cli/session.h"
#include "quire/cli/tree_walk.h"
#include "quire/cli/verbs.h"
#include "quire/map/residency.h"
#include "quire/map/snapshot.h"

namespace quire::cli {
namespace {

struct SaveArguments {
  TreeArguments tree;
  std::string output;
};

struct SaveRun {
  SnapshotWriter writer;
  sys::FileStatus own;  // The snapshot under construction, which is not part of itself.
  std::uint64_t files_seen = 0;
  std::uint64_t files_saved = 0;
  std::uint64_t bytes_saved = 0;
};

// The extents from `from_bytes` on; a file with very many has several entries.
Result<void> save_extents(SaveRun& run, const WalkedFile& file, SnapshotEntry& entry) {
  std::uint64_t position = 0;
  bool is_saved = false;
  while (position < entry.size_bytes) {
    const ByteRange rest{position, entry.size_bytes - position};
    ResidentExtents found = QUIRE_TRY(resident_extents(file.file.get(), rest, kSnapshotExtentsMax));
    if (!found.known) {
      return fail(make_error(Errc::kUnsupported, "save", file.path, found.why_unknown,
                             "run as the owner of the file, or as root"));
    }
    entry.resident = std::move(found.extents);
    position += found.covered_bytes;
    if (!entry.resident.empty()) {
      QUIRE_TRY(run.writer.add(entry));
      is_saved = true;
    }
    for (const ByteRange& extent : entry.resident) {
      run.bytes_saved += extent.length_bytes;
    }
    if (found.complete || found.covered_bytes == 0) {
      break;
    }
  }
  run.files_saved += is_saved ? 1 : 0;
  return {};
}

Result<void> save_file(SaveRun& run, const WalkedFile& file) {
  const sys::FileStatus& status = file.status;
  if (status.device == run.own.device && status.inode == run.own.inode) {
    return {};
  }
  ++run.files_seen;
  if (status.kind != sys::FileKind::kRegular) {
    return fail(make_error(
        Errc::kWrongKind, "save", file.path,
        fmt::format("it is {}, of which nobody can tell whether it changed", describe(status.kind)),
        "name files or directories"));
  }
  std::error_code error;
  SnapshotEntry entry{.path = std::filesystem::absolute(file.path, error).lexically_normal(),
                      .size_bytes = status.size_bytes,
                      .modified_ns = status.modified_ns,
                      .device = status.device,
                      .inode = status.inode,
                      .resident = {}};
  if (error) {
    return fail(Error({.code = error, .operation = "save", .subject = file.path}));
  }
  return save_extents(run, file, entry);
}

void print_result(Session& session, const std::string& path, const SaveRun& run) {
  if (session.is_json()) {
    JsonWriter& json = session.json();
    json.key("snapshot").begin_object();
    json.member_path("path", path);
    json.member("files", run.files_saved);
    json.member("resident_bytes", run.bytes_saved);
    json.end_object();
    json.key("totals").begin_object();
    json.member("files", run.files_seen);
    json.end_object();
    return;
  }
  session.print("{} of {} resident in {} of {}: {}\n", session.paint()(Tone::kStrong, "saved"),
                human_bytes(run.bytes_saved), with_thousands(run.files_saved),
                count_of(run.files_seen, "file", "files"), session.name(path));
}

ExitCode save_into(Session& session, const SaveArguments& given, AtomicFile& file) {
  const auto own = sys::file_status(file.fd());
  SaveRun run{.writer = SnapshotWriter(snapshot_sink(file.fd())),
              .own = own.value_or(sys::FileStatus{})};
  {
    ProgressLine progress(session, "save");
    TreeWalk walk(session, "save", {.one_file_system = given.tree.one_file_system});
    walk.walk(given.tree.paths, [&](const WalkedFile& walked) {
      if (const auto saved = save_file(run, walked); !saved) {
        session.report(saved.error().about("save", walked.path));
      }
      progress.update(run.bytes_saved, run.files_seen);
    });
  }
  if (session.stop_requested()) {
    session.note("interrupted; no snapshot was written");
    return ExitCode::kFailed;
  }
  if (const auto finished = run.writer.finish(); !finished) {
    session.report(finished.error().about("save", given.output));
    return ExitCode::kFailed;
  }
  if (const auto committed = file.commit(); !committed) {
    session.report(committed.error());
    return ExitCode::kFailed;
  }
  print_result(session, given.output, run);
  return ExitCode::kDone;
}

ExitCode run_save(Session& session, const SaveArguments& given) {
  if (given.tree.paths.empty()) {
    return session.wrong_use("PATH... is missing");
  }
  auto file = AtomicFile::create(given.output);
  if (!file) {
    session.report(file.error());
    return ExitCode::kFailed;
  }
  return save_into(session, given, *file);
}

}  // namespace

void add_save(CLI::App& app, Session& session) {
  const auto given = std::make_shared<SaveArguments>();
  CLI::App& verb =
      session.add_verb(app,
                       {.name = "save",
                        .summary = "Write down which parts of files are in memory.",
                        .example = "quire save /srv/index -o index.quire"},
                       [given](Session& running) { return run_save(running, *given); });
  add_tree_arguments(verb, given->tree, "Files, or directories with all below");
  verb.add_option("-o,--output", given->output, "Where the snapshot goes; replaced at once")
      ->option_text("FILE")
      ->required();
}

}  // namespace quire::cli
