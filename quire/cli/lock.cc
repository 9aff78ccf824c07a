// SPDX-License-Identifier: Apache-2.0
#include <CLI/App.hpp>
#include <CLI/Option.hpp>
#include <CLI/Validators.hpp>
#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "quire/base/units.h"
#include "quire/cli/session.h"
#include "quire/cli/tree_walk.h"
#include "quire/cli/verbs.h"
#include "quire/cli/warm_queue.h"
#include "quire/map/page_lock.h"
#include "quire/sys/memory.h"

namespace quire::cli {
namespace {

constexpr double kSecondsMax = 10.0 * 365 * 86'400;
constexpr double kNapSecondsMax = 86'400;  // poll() takes milliseconds in an int.

struct LockArguments {
  TreeArguments tree;
  WarmingChoice choice;
  std::optional<double> seconds;
};

// The pages of a file, mapped and locked. No descriptor stays open: thousands of files may be held.
class LockedFile {
 public:
  static Result<LockedFile> lock(const WarmItem& item) {
    const auto address = sys::map_pages({.length_bytes = item.size_bytes,
                                         .protection = sys::Protection::kRead,
                                         .fd = item.file.get()});
    if (!address) {
      return fail(sys::to_error(address.error(), "lock", item.path));
    }
    LockedFile file(*address, item.size_bytes);
    if (const auto locked = sys::lock_pages(*address, item.size_bytes, LockMode::kNow); !locked) {
      // The limit that stands in the way says more than the errno.
      QUIRE_TRY(preflight_lock(item.size_bytes));
      return fail(sys::to_error(locked.error(), "lock", item.path));
    }
    return file;
  }

  LockedFile(LockedFile&& other) noexcept
      : address_(std::exchange(other.address_, nullptr)), size_bytes_(other.size_bytes_) {}
  LockedFile& operator=(LockedFile&&) = delete;
  ~LockedFile() {
    if (address_ != nullptr) {
      // Unmapping unlocks.
      static_cast<void>(sys::unmap_pages(address_, size_bytes_));
    }
  }

 private:
  LockedFile(sys::Address address, std::uint64_t size_bytes) noexcept
      : address_(address), size_bytes_(size_bytes) {}

  sys::Address address_;
  std::uint64_t size_bytes_;
};

struct LockRun {
  std::vector<LockedFile> files;
  std::uint64_t locked_bytes = 0;
};

void lock_warmed(Session& session, LockRun& run, const WarmItem& item,
                 const Result<WarmReport>& warmed) {
  if (!warmed) {
    session.report(warmed.error().about("lock", item.path));
    return;
  }
  if (warmed->stopped != StopReason::kDone || session.error_count() > 0) {
    return;
  }
  auto locked = LockedFile::lock(item);
  if (!locked) {
    session.report(locked.error().about("lock", item.path));
    return;
  }
  run.files.push_back(std::move(*locked));
  run.locked_bytes += item.size_bytes;
  if (session.is_json()) {
    session.json().begin_object();
    session.json().member_path("path", item.path);
    session.json().member("size_bytes", item.size_bytes);
    session.json().member("locked", true);
    session.json().end_object();
  }
}

// Reading comes first, paced and with progress: the lock itself would stall without a word.
void lock_all(Session& session, const LockArguments& given, std::uint64_t total_bytes,
              LockRun& run) {
  WarmQueue queue(session, "lock", total_bytes, given.choice,
                  [&](const WarmItem& item, const Result<WarmReport>& warmed) {
                    lock_warmed(session, run, item, warmed);
                  });
  TreeWalk walk(session, "lock", {.one_file_system = given.tree.one_file_system});
  walk.walk(given.tree.paths, [&](const WalkedFile& file) {
    const std::uint64_t size_bytes = size_of(file);
    if (size_bytes > 0) {
      queue.add({.path = file.path,
                 .file = std::move(file.file),
                 .size_bytes = size_bytes,
                 .ranges = {{.offset_bytes = 0, .length_bytes = size_bytes}}});
    }
    // All or nothing: the first failure ends it.
    if (queue.is_over() || session.error_count() > 0) {
      walk.stop();
    }
  });
  queue.drain();
  if (queue.binding_limit()) {
    session.report(memory_error("lock", total_bytes - std::min(total_bytes, run.locked_bytes),
                                *queue.binding_limit()));
  }
}

// Until Ctrl-C, or for so long. Returns how it ended.
const char* hold(Session& session, std::optional<double> seconds) {
  double left_s = seconds.value_or(kSecondsMax);
  while (left_s > 0) {
    const double nap_s = std::min(left_s, kNapSecondsMax);
    if (!session.sleep_unless_stopped(
            std::chrono::milliseconds(static_cast<std::int64_t>(nap_s * 1000)))) {
      return "signal";
    }
    left_s -= nap_s;
  }
  return "time";
}

ExitCode announce_and_hold(Session& session, const LockArguments& given, const LockRun& run) {
  if (!session.is_json()) {
    const std::string until =
        given.seconds ? fmt::format("for {:g} s, or until Ctrl-C", *given.seconds) : "until Ctrl-C";
    session.print("{} in {} {}\n",
                  session.paint()(Tone::kStrong, "locked " + human_bytes(run.locked_bytes)),
                  count_of(run.files.size(), "file", "files"), until);
  }
  // Whoever waits for the lock to be in place reads it from the output now.
  static_cast<void>(session.output().flush());
  const char* ended_by = hold(session, given.seconds);
  if (session.is_json()) {
    session.json().member("ended_by", ended_by);
  } else {
    session.print("released\n");
  }
  return ExitCode::kDone;
}

ExitCode run_lock(Session& session, const LockArguments& given) {
  if (given.tree.paths.empty()) {
    return session.wrong_use("PATH... is missing");
  }
  const TreeSize size = measure_trees(session, given.tree);
  if (const auto allowed = preflight_lock(size.size_bytes); !allowed) {
    session.report(allowed.error().about("lock", human_bytes(size.size_bytes)));
    return ExitCode::kFailed;
  }
  LockRun run;
  if (session.is_json()) {
    session.json().key("files").begin_array();
  }
  lock_all(session, given, size.size_bytes, run);
  if (session.is_json()) {
    session.json().end_array();
    session.json().member("locked_bytes", run.locked_bytes);
  }
  if (session.error_count() > 0 || session.stop_requested()) {
    session.note("nothing stays locked");
    return ExitCode::kFailed;
  }
  return announce_and_hold(session, given, run);
}

}  // namespace

void add_lock(CLI::App& app, Session& session) {
  const auto given = std::make_shared<LockArguments>();
  CLI::App& verb =
      session.add_verb(app,
                       {.name = "lock",
                        .summary = "Keep files in memory, in the foreground, until Ctrl-C.",
                        .example = "quire lock index.bin\n  quire lock --seconds 3600 /srv/hot"},
                       [given](Session& running) { return run_lock(running, *given); });
  add_tree_arguments(verb, given->tree, "Files, directories (with all below) or block devices");
  verb.add_option("--seconds", given->seconds, "Release after so many seconds")
      ->option_text("N")
      ->check(CLI::Range(0.0, kSecondsMax));
  verb.add_flag("--allow-reclaim", given->choice.allow_reclaim,
                "Go on when the kernel must give up other pages for it");
}

}  // namespace quire::cli
