// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/simulated.h"

#include <fmt/format.h>

#include <algorithm>

#include "quire/base/units.h"
#include "quire/compare/internal/simulated_articles.h"
#include "quire/compare/internal/simulated_round.h"
#include "quire/compare/plan.h"
#include "quire/compare/question.h"
#include "quire/compare/verdict.h"
#include "quire/compare/workload.h"

namespace quire::compare {
namespace {

constexpr std::uint64_t kDefaultBytes = 1_GiB;

Error refusal(std::string subject, std::string cause, std::string remedy) {
  return make_error(Errc::kOutOfRange, "simulate", std::move(subject), std::move(cause),
                    std::move(remedy));
}

// The size of the simulated file: whole pages.
Result<std::uint64_t> settle_size(const SimulatedOptions& options) {
  const std::uint64_t asked =
      options.compare.scratch_bytes > 0 ? options.compare.scratch_bytes : kDefaultBytes;
  const std::uint64_t bytes = asked / kPatternPageBytes * kPatternPageBytes;
  if (bytes < kSimulatedBytesMin || bytes > kSimulatedBytesMax) {
    return fail(refusal("size " + human_bytes(asked), "no size for a simulated file",
                        fmt::format("from {} to {}", human_bytes(kSimulatedBytesMin),
                                    human_bytes(kSimulatedBytesMax))));
  }
  if (bytes > options.disk.capacity_bytes) {
    return fail(refusal("size " + human_bytes(asked),
                        "the simulated disk has " + human_bytes(options.disk.capacity_bytes),
                        "a smaller file, or capacity_gb=... of the model"));
  }
  return bytes;
}

Result<void> check_memory(const SimulatedOptions& options) {
  const std::uint64_t memory = options.compare.memory_bytes.value_or(options.host.memory_bytes);
  if (memory < kSimulatedMemoryBytesMin) {
    return fail(refusal("memory " + human_bytes(memory), "too little for the page cache",
                        "at least " + human_bytes(kSimulatedMemoryBytesMin)));
  }
  return {};
}

class SimulatedComparison {
 public:
  SimulatedComparison(const SimulatedOptions& options, const CompareHooks& hooks,
                      std::uint64_t file_bytes)
      : options_(options), hooks_(hooks), file_bytes_(file_bytes) {}

  Result<Report> run() {
    begin_report();
    if (!options_.compare.articles) {
      report_.cells = plan_cells(options_.compare, possibilities());
      if (report_.cells.empty()) {
        return fail(make_error(Errc::kUnsupported, "compare", report_.title,
                               "what was chosen leaves nothing to compare",
                               "choose other --paths, --patterns or --states"));
      }
      simulate_cells();
      report_.verdicts = make_verdicts(report_);
    }
    add_articles();
    return std::move(report_);
  }

 private:
  void begin_report() {
    report_.title = fmt::format("file of {} on a simulated disk ({})", human_bytes(file_bytes_),
                                name_of(options_.disk.kind));
    report_.file = "a simulated disk";
    report_.is_scratch = true;
    report_.is_simulated = true;
    report_.device_model = sim::to_text(options_.disk);
    report_.file_bytes = file_bytes_;
    report_.memory_limit_bytes = options_.compare.memory_bytes;
    report_.is_memory_limited = options_.compare.memory_bytes.has_value();
    report_.memory_limit_method = report_.is_memory_limited ? "simulated page cache" : "";
    report_.version = options_.compare.version;
    report_.command_line = options_.compare.command_line;
    report_.facts = internal::describe_model(options_);
  }

  [[nodiscard]] Possibilities possibilities() const {
    return {.file_bytes = file_bytes_,
            .is_writable = true,
            .limit_bytes = options_.compare.memory_bytes,
            .available_bytes = options_.host.memory_bytes,
            .why_never_cold = {},
            .why_not_direct = {},
            .why_not_paged = {},
            .has_pager = false};
  }

  // Pass after pass over all cells, as on a real disk: a run that is interrupted has something of
  // each.
  void simulate_cells() {
    const int rounds = std::max(options_.compare.rounds_min, 1);
    const auto round_count =
        static_cast<double>(rounds) * static_cast<double>(report_.cells.size());
    std::uint64_t done = 0;
    for (int round = 0; round < rounds; ++round) {
      for (Cell& cell : report_.cells) {
        if (hooks_.should_stop && hooks_.should_stop()) {
          report_.is_interrupted = true;
          return;
        }
        if (hooks_.on_progress) {
          hooks_.on_progress({.doing = doing(cell),
                              .done_share = static_cast<double>(done) / round_count,
                              .left_s = {},
                              .rounds = done});
        }
        simulate_one(cell, round);
        ++done;
      }
    }
  }

  static std::string doing(const Cell& cell) {
    return fmt::format("{}, {}: {}", title_of(cell.pattern), name_of(cell.state), label_of(cell));
  }

  void simulate_one(Cell& cell, int round_index) {
    Round round = internal::simulate_round(cell, options_, file_bytes_, round_index);
    round.start_s = report_.elapsed_s;
    report_.elapsed_s += round.seconds;
    cell.method = "simulated";
    cell.rounds.push_back(round);
  }

  // The arithmetic always, in sentences; the tables when they were asked for.
  void add_articles() {
    if (report_.is_interrupted) {
      return;
    }
    report_.remarks = internal::explain_model(options_, file_bytes_);
    if (options_.compare.articles) {
      internal::SimulatedArticles articles = internal::simulate_articles(options_, file_bytes_);
      report_.articles_way = std::move(articles.way);
      report_.articles_matrix = std::move(articles.matrix);
    }
  }

  const SimulatedOptions& options_;
  const CompareHooks& hooks_;
  const std::uint64_t file_bytes_;
  Report report_;
};

}  // namespace

Result<Report> simulate_comparison(const SimulatedOptions& options, const CompareHooks& hooks) {
  const std::uint64_t file_bytes = QUIRE_TRY(settle_size(options));
  QUIRE_TRY(check_memory(options));
  return SimulatedComparison(options, hooks, file_bytes).run();
}

}  // namespace quire::compare
