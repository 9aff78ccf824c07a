// SPDX-License-Identifier: Apache-2.0
#include <CLI/App.hpp>
#include <CLI/Option.hpp>
#include <CLI/Validators.hpp>
#include <array>
#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "quire/base/units.h"
#include "quire/cli/cp_output.h"
#include "quire/cli/session.h"
#include "quire/cli/tree_walk.h"
#include "quire/cli/verbs.h"
#include "quire/cli/warm_queue.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/signals.h"
#include "quire/transfer/copy.h"

namespace quire::cli {
namespace {

struct CpArguments {
  std::vector<std::string> paths;  // Sources, then the target.
  std::string method = "automatic";
  std::string durability = "none";
  bool verify = false;
  bool keep_existing = false;
  bool fill_holes = false;
  bool keep_cached = false;
  bool one_file_system = false;
};

constexpr std::array<const char*, 4> kDurabilities{"none", "started", "data", "all"};

std::optional<Durability> durability_of(const std::string& name) {
  if (name == "started") {
    return Durability::kStarted;
  }
  if (name == "data") {
    return Durability::kData;
  }
  return name == "all" ? std::optional(Durability::kAll) : std::nullopt;
}

bool is_directory(const std::string& path) {
  const auto status = sys::path_status(path.c_str(), false);
  return status && status->kind == sys::FileKind::kDirectory;
}

// The last name of a path: "b" for "a/b/"; of "." and "..", what they stand for.
std::string last_name(const std::string& path) {
  std::error_code error;
  std::filesystem::path whole = std::filesystem::path(path).lexically_normal();
  if (!whole.has_filename()) {
    whole = whole.parent_path();
  }
  std::string name = whole.filename().string();
  if (name == "." || name == ".." || name.empty()) {
    return std::filesystem::canonical(path, error).filename().string();
  }
  return name;
}

// One run of the verb.
class CpRun {
 public:
  CpRun(Session& session, const CpArguments& given) : session_(session), given_(given) {
    options_.method = *transfer_method_of(given.method);
    options_.durability = durability_of(given.durability);
    options_.verification = given.verify ? Verification::kReadBack : Verification::kNone;
    options_.existing = given.keep_existing ? ExistingTarget::kRefuse : ExistingTarget::kReplace;
    options_.holes = given.fill_holes ? Holes::kFill : Holes::kKeep;
    options_.source_cache = given.keep_cached ? SourceCache::kKeep : SourceCache::kDropBehind;
    options_.one_file_system = given.one_file_system;
    options_.stop = stop_.get_token();
    options_.stop_fd = sys::stop_descriptor();
  }

  void copy_all(ProgressLine& progress) {
    const std::string target = given_.paths.back();
    const bool goes_inside = is_directory(target);
    for (std::size_t i = 0; i + 1 < given_.paths.size() && !session_.stop_requested(); ++i) {
      const std::string& source = given_.paths[i];
      base_ = totals_.progress;
      options_.on_progress = [&](const CopyProgress& now) {
        totals_.progress = {.done_bytes = base_.done_bytes + now.done_bytes,
                            .file_count = base_.file_count + now.file_count};
        progress.update(totals_.progress.done_bytes, totals_.progress.file_count);
        if (session_.stop_requested()) {
          stop_.request_stop();
        }
      };
      copy_one(source, goes_inside ? target + "/" + last_name(source) : target);
    }
  }

  [[nodiscard]] CpTotals& totals() noexcept { return totals_; }

 private:
  void copy_one(const std::string& source, const std::string& target) {
    if (is_directory(source)) {
      const auto copied = copy_tree(source, target, options_,
                                    {.on_entry = [&](const CopiedEntry& entry) { take(entry); },
                                     .on_error = [&](const Error& error) { take(error); }});
      if (!copied) {
        take(copied.error());
      }
      return;
    }
    const auto copied = copy_file(source, target, options_);
    if (copied) {
      take(*copied);
    } else {
      take(copied.error());
    }
  }

  void take(const CopiedEntry& entry) {
    totals_.add(entry);
    for (const std::string& remark : entry.remarks) {
      session_.note(fmt::format("{}: {}", session_.name(entry.target), session_.name(remark)));
    }
    if (session_.is_json()) {
      write_entry(session_.json(), entry);
    }
  }

  void take(const Error& error) {
    if (error.code() == Errc::kCancelled) {
      return;  // Whoever asked to stop knows; the end says what was done.
    }
    ++totals_.failures;
    session_.report(error);
  }

  Session& session_;
  const CpArguments& given_;
  CopyOptions options_;
  std::stop_source stop_;
  CopyProgress base_;
  CpTotals totals_;
};

// For the progress line.
std::uint64_t measure(Session& session, const CpArguments& given) {
  TreeArguments trees{.paths = given.paths, .one_file_system = given.one_file_system};
  trees.paths.pop_back();
  return measure_trees(session, trees).size_bytes;
}

ExitCode run_cp(Session& session, const CpArguments& given) {
  if (given.paths.size() < 2) {
    return session.wrong_use(given.paths.empty() ? "SOURCE... TARGET is missing"
                                                 : "TARGET is missing");
  }
  if (given.paths.size() > 2 && !is_directory(given.paths.back())) {
    return session.wrong_use("with several SOURCEs, TARGET must be a directory that exists");
  }
  const std::uint64_t total_bytes = measure(session, given);
  CpRun run(session, given);
  if (session.is_json()) {
    session.json().key("files").begin_array();
  }
  const auto started = std::chrono::steady_clock::now();
  {
    ProgressLine progress(session, "cp", total_bytes);
    run.copy_all(progress);
  }
  CpTotals& totals = run.totals();
  totals.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  if (session.is_json()) {
    session.json().end_array();
    write_totals(session.json(), totals);
  } else if (totals.entry_count() > 0) {
    print_totals(session, totals);
  }
  if (Session::was_interrupted()) {
    session.note(fmt::format("interrupted after {}; nothing half-copied was left under its name",
                             count_of(totals.files, "file", "files")));
  }
  return session.stop_requested() ? ExitCode::kFailed : ExitCode::kDone;
}

std::vector<std::string> method_names() {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < kTransferMethodCount; ++i) {
    const auto method = static_cast<TransferMethod>(i);
    const bool sends =
        method == TransferMethod::kZeroCopySend || method == TransferMethod::kRingSend;
    if (!sends) {
      names.emplace_back(name_of(method));
    }
  }
  return names;
}

}  // namespace

void add_cp(CLI::App& app, Session& session) {
  const auto given = std::make_shared<CpArguments>();
  CLI::App& verb = session.add_verb(
      app,
      {.name = "cp",
       .summary = "Copy files and trees, whole or not at all; share blocks if possible.",
       .example = "quire cp --verify --durability all data.bin /mnt/backup/\n"
                  "  quire cp --json /srv/index /srv/index.copy"},
      [given](Session& running) { return run_cp(running, *given); });
  verb.add_option("PATH", given->paths,
                  "Files or directories (with all below); a TARGET that is a directory takes "
                  "them in")
      ->option_text("SOURCE... TARGET");
  verb.add_flag("--verify", given->verify,
                "Read both back, the copy from the disk, and compare checksums (XXH3)");
  verb.add_option("--durability", given->durability,
                  "What is on the disk before the copy gets its name: none, started, data or all")
      ->option_text("LEVEL")
      ->check(CLI::IsMember(kDurabilities));
  verb.add_option("--method", given->method, "How the bytes move (automatic)")
      ->option_text("NAME")
      ->check(CLI::IsMember(method_names()));
  verb.add_flag("--keep-existing", given->keep_existing, "Refuse to replace a file that exists");
  verb.add_flag("--fill-holes", given->fill_holes, "Write zeros where the source has holes");
  verb.add_flag("--keep-cached", given->keep_cached,
                "Leave in memory what was read of the sources; else only what was there before");
  verb.add_flag("-x,--one-file-system", given->one_file_system,
                "Do not enter directories of other file systems");
}

}  // namespace quire::cli
