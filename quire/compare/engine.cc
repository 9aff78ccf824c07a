// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/engine.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <ctime>

#include "quire/compare/articles.h"
#include "quire/compare/facts.h"
#include "quire/compare/measure.h"
#include "quire/compare/memory_bound.h"
#include "quire/compare/plan.h"
#include "quire/compare/question.h"
#include "quire/compare/schedule.h"
#include "quire/compare/target.h"
#include "quire/compare/verdict.h"
#include "quire/map/eviction.h"
#include "quire/sys/direct_io.h"
#include "quire/sys/limits.h"
#include "quire/sys/transfer_calls.h"
#include "quire/sys/user_fault.h"

namespace quire::compare {
namespace {

using Clock = std::chrono::steady_clock;

// A round that takes this many times as long as it should, and this much on top, hangs.
constexpr double kTimeoutFactor = 20;
constexpr double kTimeoutExtraS = 60;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

std::string utc_now() {
  const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(now));
}

std::optional<std::string> why_not_direct(const Target& target) {
  const auto file = sys::reopen_direct(target.fd(), false);
  if (!file) {
    return fmt::format("{} has no direct I/O ({})", target.file_system().type.name,
                       errno_name(file.error().value));
  }
  const auto support = sys::direct_support_of(file->get());
  if (!support) {
    return fmt::format("{} refuses direct reads ({})", target.file_system().type.name,
                       errno_name(support.error().value));
  }
  return std::nullopt;
}

std::optional<std::string> why_not_paged() {
  const auto faults = sys::open_user_fault({});
  return faults ? std::nullopt : std::optional(faults.error().message());
}

std::optional<std::string> why_never_cold(const Target& target) {
  if (target.file_system().type.kind == sys::StorageKind::kMemory) {
    return target.file_system().type.name + ": the page cache is the storage";
  }
  return std::nullopt;
}

// One run: what it works with, and the report that it fills.
class Comparison {
 public:
  Comparison(const CompareOptions& options, const CompareHooks& hooks)
      : options_(options), hooks_(hooks), begin_(Clock::now()) {}

  Result<Report> run() {
    begin_report();
    bind_memory();
    target_.emplace(QUIRE_TRY(open_target()));
    describe_target();
    report_.facts = gather_facts(*target_);
    QUIRE_TRY(start_cold());
    std::vector<Cell> cells = options_.articles ? plan_article_cells(options_, possibilities())
                                                : plan_cells(options_, possibilities());
    if (cells.empty()) {
      return fail(make_error(Errc::kUnsupported, "compare", report_.title,
                             "what was chosen leaves nothing to compare",
                             "choose other --paths, --patterns or --states; writes need --size"));
    }
    measure(cells);
    if (options_.articles) {
      report_articles(cells, report_);
    } else {
      report_.cells = std::move(cells);
      report_.verdicts = make_verdicts(report_);
    }
    if (bound_) {
      if (const auto closed = bound_->close(); !closed) {
        report_.remarks.push_back(closed.error().message());
      }
    }
    report_.elapsed_s = seconds_since(begin_);
    return std::move(report_);
  }

 private:
  void begin_report() {
    report_.file = options_.file.empty() ? options_.directory : options_.file;
    report_.is_scratch = options_.file.empty();
    report_.memory_limit_bytes = options_.memory_bytes;
    report_.time_budget_s = options_.time_budget_s;
    report_.started_at = utc_now();
    report_.version = options_.version;
    report_.command_line = options_.command_line;
  }

  void bind_memory() {
    if (!options_.memory_bytes) {
      return;
    }
    auto bound = MemoryBound::make(*options_.memory_bytes);
    if (bound) {
      bound_.emplace(std::move(*bound));
      report_.is_memory_limited = true;
      report_.memory_limit_method = bound_->method();
      return;
    }
    report_.memory_limit_method = bound.error().cause();
    report_.remarks.push_back("memory is not limited: " + bound.error().message());
  }

  Result<Target> open_target() {
    if (!options_.file.empty()) {
      return Target::open_user_file(options_.file);
    }
    // Beside it the write patterns have one file at a time, no longer than it.
    return Target::make_scratch(options_, std::min(kNewFileBytesMax, options_.scratch_bytes),
                                hooks_);
  }

  void describe_target() {
    report_.file_bytes = target_->size_bytes();
    report_.title = report_.is_scratch ? "scratch file of " + human_bytes(target_->size_bytes())
                                       : options_.file;
    if (!report_.is_scratch) {
      report_.remarks.push_back(
          "only reads: a user's file is never written; --size compares writes on a scratch file");
    }
    const auto status = sys::file_status(target_->fd());
    if (!report_.is_scratch && status && status->kind == sys::FileKind::kRegular &&
        status->allocated_bytes < status->size_bytes) {
      report_.remarks.push_back(fmt::format(
          "the file is sparse: {} of {} lie on the disk, the rest reads as zeros without it",
          human_bytes(status->allocated_bytes), human_bytes(status->size_bytes)));
    }
  }

  // What somebody brought into memory earlier is charged to them: under a limit of ours it would be
  // read for free. And what cannot be evicted now never will be.
  Result<void> start_cold() {
    const auto evicted = evict(target_->fd());
    if (!evicted) {
      return fail(evicted.error().about("evict", report_.title));
    }
    if (!evicted->known || !target_->is_cache_visible()) {
      report_.remarks.push_back(
          "cold and direct cannot be verified: " +
          (evicted->known ? target_->file_system().type.name + " does not count its cached pages"
                          : evicted->why_unknown));
    }
    if (evicted->known && evicted->bytes_after > 0 && !why_never_cold(*target_)) {
      std::string reasons;
      for (const Kept& kept : evicted->remaining) {
        reasons += (reasons.empty() ? "" : ", ") + describe(kept);
      }
      report_.remarks.push_back(fmt::format("{} of the file cannot be evicted: {}",
                                            human_bytes(evicted->bytes_after), reasons));
    }
    return {};
  }

  [[nodiscard]] Possibilities possibilities() const {
    const sys::MemoryLimits limits = sys::memory_limits();
    return {.file_bytes = target_->size_bytes(),
            .is_writable = target_->is_scratch(),
            .limit_bytes = bound_ ? std::optional(bound_->limit_bytes()) : std::nullopt,
            .available_bytes = limits.binding_bytes.value_or(target_->size_bytes()),
            .why_never_cold = why_never_cold(*target_),
            .why_not_direct = why_not_direct(*target_),
            .why_not_paged = why_not_paged()};
  }

  void measure(std::vector<Cell>& cells) {
    const ScheduleParts parts{
        .run_round = [this](const Cell& cell, int index,
                            double seconds) { return run_round(cell, index, seconds); },
        .now_s = [this] { return seconds_since(begin_); },
        .hooks = hooks_};
    const ScheduleEnd end = run_schedule(cells, options_, parts);
    report_.is_interrupted = end.is_interrupted;
    if (end.cells_short > 0 && !end.is_interrupted) {
      report_.remarks.push_back(fmt::format(
          "{} cells have fewer than {} rounds: {:.0f} s are short for {} cells (--time)",
          end.cells_short, options_.rounds_min, options_.time_budget_s, cells.size()));
    }
  }

  Result<RoundReport> run_round(const Cell& cell, int index, double seconds) {
    QUIRE_TRY(target_->check());
    const MemoryBound* bound = bound_ ? &*bound_ : nullptr;
    const RoundRequest request{.index = index, .seconds = seconds, .seed = options_.seed};
    return run_in_worker([&] { return measure_round(cell, *target_, request, bound); },
                         {.subject = fmt::format("{}, {}: {}", title_of(cell.pattern),
                                                 conditions_of(question_of(cell)), label_of(cell)),
                          .timeout_s = seconds * kTimeoutFactor + kTimeoutExtraS,
                          .bound = bound,
                          .should_stop = hooks_.should_stop});
  }

  const CompareOptions& options_;
  const CompareHooks& hooks_;
  const Clock::time_point begin_;
  Report report_;
  std::optional<MemoryBound> bound_;
  std::optional<Target> target_;
};

}  // namespace

Result<Report> run_comparison(const CompareOptions& options, const CompareHooks& hooks) {
  return Comparison(options, hooks).run();
}

}  // namespace quire::compare
