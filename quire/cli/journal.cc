// SPDX-License-Identifier: Apache-2.0
//
// quire journal: what is in a journal, and whether it is whole. quire recover: brings the files of
// a journal to the last commit.
#include <CLI/App.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "quire/base/units.h"
#include "quire/cli/progress.h"
#include "quire/cli/session.h"
#include "quire/cli/verbs.h"
#include "quire/journal/journal_file.h"
#include "quire/journal/journal_report.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/journal_mark.h"
#include "quire/sys/metadata.h"

namespace quire::cli {
namespace {

namespace fs = std::filesystem;

struct JournalArguments {
  std::string path;
  std::vector<std::string> files;  // Of recover ...
  std::string journal_path;        // ... whose journal is found by the first, where this is "".
  bool verify = false;
  bool records = false;
};

constexpr std::string_view kJournalEnding = ".quire-journal";

// A file's own journal where there is one; else the path is that of a journal.
// Errors: ENOENT where the file says that it needs a journal, which is not beside it.
Result<std::string> find_journal(const std::string& path) {
  std::string beside = journal_path_of(path);
  if (sys::path_status(beside.c_str(), false)) {
    return beside;
  }
  const auto file = sys::open_file(path.c_str(), {});
  if (!file || !sys::has_journal_mark(file->get())) {
    return path;
  }
  return fail(Error({.code = std::make_error_code(std::errc::no_such_file_or_directory),
                     .operation = "find journal",
                     .subject = path,
                     .cause = "the file needs its journal, and " + beside + " is not there",
                     .remedy = "say where it is: quire journal JOURNAL, quire recover --journal "
                               "JOURNAL FILE"}));
}

std::string text_of(const JournalUuid& uuid) {
  std::string text;
  for (const std::byte byte : uuid) {
    text += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
  }
  return text;
}

const char* state_of(const JournalReport& report) {
  if (report.is_clean) {
    return "clean";
  }
  return report.last_commit > report.checkpointed_commit ? "has commits that are not in the files"
                                                         : "open, or left by a crash";
}

void write_record(JsonWriter& json, const JournalRecordReport& record) {
  json.begin_object();
  json.member("lsn", record.lsn);
  if (record.commit == 0) {
    json.key("commit").value_null();
  } else {
    json.member("commit", record.commit);
  }
  json.member("offset_bytes", record.position_bytes);
  json.member("length_bytes", record.length_bytes);
  json.member("images", record.images);
  json.member("resizes", record.resizes);
  json.member("files_committed", record.files_committed);
  json.end_object();
}

void write_report(JsonWriter& json, const std::string& path, const JournalReport& report,
                  const JournalArguments& given) {
  json.member_path("journal", path);
  json.member("uuid", text_of(report.uuid));
  json.member("is_clean", report.is_clean);
  json.member("is_verified", given.verify);
  json.member("page_bytes", report.page_bytes);
  json.member("log_bytes", report.log_bytes);
  json.member("used_bytes", report.used_bytes);
  json.member("generation", report.generation);
  json.member("epoch", report.epoch);
  json.member("tail_offset_bytes", report.tail_position_bytes);
  json.member("checkpointed_commit", report.checkpointed_commit);
  json.member("last_commit", report.last_commit);
  json.key("files").begin_array();
  for (const JournalFileReport& file : report.files) {
    json.begin_object();
    json.member_path("path", file.path);
    json.member("size_bytes", file.size_bytes);
    json.end_object();
  }
  json.end_array();
  json.key("records").begin_array();
  for (const JournalRecordReport& record : report.records) {
    write_record(json, record);
  }
  json.end_array();
}

void print_report(Session& session, const std::string& path, const JournalReport& report,
                  const JournalArguments& given) {
  session.print("{}  {}\n", session.paint()(Tone::kStrong, session.name(path)), state_of(report));
  session.print("  commits      {} to {}; up to {} are in the files\n", report.checkpointed_commit,
                report.last_commit, report.checkpointed_commit);
  session.print("  log          {} of {} in {}, pages of {} bytes{}\n",
                human_bytes(report.used_bytes), human_bytes(report.log_bytes),
                count_of(report.records.size(), "record", "records"), report.page_bytes,
                given.verify ? "; every checksum is right" : "");
  session.print("  journal      {}, generation {}, epoch {}\n", text_of(report.uuid),
                report.generation, report.epoch);
  for (const JournalFileReport& file : report.files) {
    session.print("  file         {}, {} bytes after the last commit\n",
                  file.path.empty() ? "with a path too long to keep" : session.name(file.path),
                  with_thousands(file.size_bytes));
  }
  if (!given.records) {
    return;
  }
  for (const JournalRecordReport& record : report.records) {
    session.print("  record {:<6} at {:<12} {} images, {} resizes, {}\n", record.lsn,
                  record.position_bytes, record.images, record.resizes,
                  record.commit == 0 ? "uncommitted" : fmt::format("commit {}", record.commit));
  }
}

// The progress line of what is done to a journal, in one or more passes, and what ends it.
class JournalProgressLine {
 public:
  JournalProgressLine(Session& session, std::string label)
      : session_(session), line_(session, std::move(label)) {}

  // For the next pass.
  [[nodiscard]] JournalWatch watch() {
    before_bytes_ = done_bytes_;
    return {.on_progress = [this](const JournalProgress& now) { update(now); },
            .stop = stop_.get_token()};
  }

 private:
  void update(const JournalProgress& now) {
    done_bytes_ = before_bytes_ + now.done_bytes;
    if (now.total_bytes > 0) {
      line_.set_total(before_bytes_ + now.total_bytes);
    }
    line_.update(done_bytes_, 0);
    if (session_.stop_requested()) {
      stop_.request_stop();
    }
  }

  Session& session_;
  ProgressLine line_;
  std::stop_source stop_;
  std::uint64_t before_bytes_ = 0;  // Of the passes before this one.
  std::uint64_t done_bytes_ = 0;
};

// What ended it, and for who ended it, what that leaves.
ExitCode give_up(Session& session, const Error& error, const char* what_is_left) {
  if (session.stop_requested() && error.code() == Errc::kCancelled) {
    session.note(fmt::format("interrupted; {}", what_is_left));
  } else {
    session.report(error);
  }
  return ExitCode::kFailed;
}

Result<JournalReport> inspect(Session& session, const std::string& path, JournalCheck check) {
  JournalProgressLine progress(session, "journal");
  return inspect_journal(path, check, progress.watch());
}

ExitCode run_journal(Session& session, const JournalArguments& given) {
  if (given.path.empty()) {
    return session.wrong_use("PATH is missing");
  }
  const auto path = find_journal(given.path);
  if (!path) {
    session.report(path.error());
    return ExitCode::kFailed;
  }
  const auto report =
      inspect(session, *path, given.verify ? JournalCheck::kImages : JournalCheck::kHeaders);
  if (!report) {
    return give_up(session, report.error(), "nothing was changed");
  }
  if (session.is_json()) {
    write_report(session.json(), *path, *report, given);
  } else {
    print_report(session, *path, *report, given);
  }
  return ExitCode::kDone;
}

// The first file of a journal, where that stands beside it; "": it does not.
std::string file_beside(const JournalReport& report, const std::string& journal) {
  if (!journal.ends_with(kJournalEnding)) {
    return "";
  }
  std::string path = journal.substr(0, journal.size() - kJournalEnding.size());
  const auto file = sys::open_file(path.c_str(), {});
  if (!file) {
    return "";
  }
  const auto mark = sys::attribute(file->get(), sys::kJournalAttribute);
  const bool is_marked = mark && mark->starts_with(text_of(report.uuid));
  const bool has_name = fs::path(path).filename() == fs::path(report.files[0].path).filename();
  return is_marked || has_name ? path : "";
}

// What was moved or copied together with its journal is recovered, and not what it was copied from:
// the other files are looked for where they were when the journal was open last, from the first.
Result<std::vector<std::string>> known_files(const JournalReport& report,
                                             const std::string& journal) {
  const std::string first = report.files.empty() ? "" : file_beside(report, journal);
  std::vector<std::string> paths;
  for (const JournalFileReport& file : report.files) {
    if (paths.empty() && !first.empty()) {
      paths.push_back(first);
      continue;
    }
    if (file.path.empty() || report.files[0].path.empty()) {
      return fail(make_error(Errc::kUnsupported, "recover", journal,
                             "it does not know the path of one of its files, which was too long",
                             "name the files: quire recover --journal JOURNAL FILE..."));
    }
    const fs::path before = fs::path(report.files[0].path).parent_path();
    const fs::path now = fs::path(first).parent_path();
    paths.push_back(first.empty()
                        ? file.path
                        : (now / fs::path(file.path).lexically_relative(before)).string());
  }
  return paths;
}

// Where the journal's files are: those that were named, or as it knows them.
Result<std::vector<std::string>> files_of(const JournalReport& report,
                                          const std::vector<std::string>& named,
                                          const std::string& journal) {
  const bool are_named = named[0] != journal && (named.size() > 1 || report.files.size() <= 1);
  return are_named ? named : known_files(report, journal);
}

struct Recovered {
  std::string journal;
  std::vector<std::string> files;
  JournalStats stats;
};

Result<Recovered> recover(Session& session, const JournalArguments& given) {
  Recovered done{.journal = given.journal_path, .files = {}, .stats = {}};
  if (done.journal.empty()) {
    done.journal = QUIRE_TRY(find_journal(given.files[0]));
  }
  JournalProgressLine progress(session, "recover");
  const JournalReport report =
      QUIRE_TRY(inspect_journal(done.journal, JournalCheck::kHeaders, progress.watch()));
  done.files = QUIRE_TRY(files_of(report, given.files, done.journal));
  const JournalFileOptions options{.path = done.journal,
                                   .journal = {.page_bytes = report.page_bytes,
                                               .checkpointing = Checkpointing::kOnDemand,
                                               .recovery_watch = progress.watch()}};
  const auto opened = QUIRE_TRY(open_journal(done.files, options));
  done.stats = opened->stats();
  QUIRE_TRY(opened->close());
  return done;
}

void write_recovered(JsonWriter& json, const Recovered& done) {
  json.member_path("journal", done.journal);
  json.member("last_commit", done.stats.last_commit);
  json.member("recovered_commits", done.stats.recovered_commits);
  json.member("recovered_pages", done.stats.recovered_pages);
  json.key("files").begin_array();
  for (const std::string& path : done.files) {
    json.begin_object();
    json.member_path("path", path);
    json.end_object();
  }
  json.end_array();
}

ExitCode run_recover(Session& session, const JournalArguments& given) {
  if (given.files.empty() || std::ranges::count(given.files, "") > 0) {
    return session.wrong_use("FILE is missing");
  }
  const auto done = recover(session, given);
  if (!done) {
    return give_up(session, done.error(),
                   "files may be changed in part, and the journal still has everything: run it "
                   "again to bring them to the last commit");
  }
  if (session.is_json()) {
    write_recovered(session.json(), *done);
    return ExitCode::kDone;
  }
  for (const std::string& path : done->files) {
    session.print("{} is at commit {}\n", session.paint()(Tone::kStrong, session.name(path)),
                  done->stats.last_commit);
  }
  session.print("{} and {} were brought from the journal\n",
                count_of(done->stats.recovered_commits, "commit", "commits"),
                count_of(done->stats.recovered_pages, "page", "pages"));
  return ExitCode::kDone;
}

}  // namespace

void add_journal(CLI::App& app, Session& session) {
  const auto given = std::make_shared<JournalArguments>();
  CLI::App& verb = session.add_verb(
      app,
      {.name = "journal",
       .summary = "Show what is in a journal, and check that it is whole.",
       .example = "quire journal table.db\n  quire journal --verify table.db.quire-journal"},
      [given](Session& running) { return run_journal(running, *given); });
  verb.add_option("PATH", given->path, "A journal, or a file that has one beside it")
      ->option_text("PATH");
  verb.add_flag("--verify", given->verify, "Read every image and compare its checksum");
  verb.add_flag("--records", given->records, "List the records");
}

void add_recover(CLI::App& app, Session& session) {
  const auto given = std::make_shared<JournalArguments>();
  CLI::App& verb = session.add_verb(
      app,
      {.name = "recover",
       .summary = "Bring the files of a journal to the last commit, and leave it clean.",
       .example = "quire recover table.db\n  quire recover --journal bank.journal accounts.db"},
      [given](Session& running) { return run_recover(running, *given); });
  verb.add_option("FILE", given->files,
                  "A file that has a journal, or a journal; or all files of one, in their order")
      ->option_text("FILE...");
  verb.add_option("--journal", given->journal_path, "Where its journal is")->option_text("PATH");
}

}  // namespace quire::cli
