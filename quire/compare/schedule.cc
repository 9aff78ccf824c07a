// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/schedule.h"

#include <fmt/format.h>

#include <algorithm>

#include "quire/compare/question.h"

namespace quire::compare {
namespace {

// Of the time of the first passes; the rest is for making states, and for rounds that run over.
constexpr double kMeasuringShare = 0.5;

class Schedule {
 public:
  Schedule(std::vector<Cell>& cells, const CompareOptions& options, const ScheduleParts& parts)
      : cells_(cells), options_(options), parts_(parts), begin_s_(parts.now_s()) {
    for (std::size_t i = 0; i < cells.size(); ++i) {
      if (cells[i].skipped) {
        continue;
      }
      if (groups_.empty() ||
          !(question_of(cells[groups_.back().front()]) == question_of(cells[i]))) {
        groups_.emplace_back();
      }
      groups_.back().push_back(i);
    }
  }

  ScheduleEnd run() {
    round_s_ = round_seconds();
    for (int pass = 0; pass < options_.rounds_max && !is_over(); ++pass) {
      is_settling_ = pass >= options_.rounds_min;
      if (is_settling_ && !has_unsettled()) {
        break;
      }
      for (const std::vector<std::size_t>& group : groups_) {
        run_group(group, pass);
      }
    }
    ScheduleEnd end{.is_interrupted = is_interrupted_};
    for (const Cell& cell : cells_) {
      const bool is_short = cell.rounds.size() < static_cast<std::size_t>(options_.rounds_min);
      end.cells_short += !cell.skipped && !cell.error && is_short ? 1U : 0U;
    }
    return end;
  }

 private:
  [[nodiscard]] double elapsed_s() const { return parts_.now_s() - begin_s_; }
  [[nodiscard]] double left_s() const { return options_.time_budget_s - elapsed_s(); }

  [[nodiscard]] bool is_over() const {
    return is_interrupted_ || elapsed_s() >= options_.time_budget_s * (is_settling_ ? 1 : kOverrun);
  }

  [[nodiscard]] bool wants_round(const Cell& cell) const {
    if (cell.error) {
      return false;
    }
    return !is_settling_ || cell.spread() > options_.spread_target;
  }

  [[nodiscard]] bool has_unsettled() const {
    return std::any_of(cells_.begin(), cells_.end(),
                       [&](const Cell& cell) { return !cell.skipped && wants_round(cell); });
  }

  // The same for all rounds of a run: a cache that warms up while a round lasts would make longer
  // rounds faster ones.
  [[nodiscard]] double round_seconds() const {
    std::size_t cell_count = 0;
    for (const std::vector<std::size_t>& group : groups_) {
      cell_count += group.size();
    }
    const double rounds = static_cast<double>(std::max(cell_count, std::size_t{1})) *
                          static_cast<double>(options_.rounds_min);
    return std::clamp(options_.time_budget_s / rounds * kMeasuringShare, kRoundSecondsMin,
                      kRoundSecondsMax);
  }

  void run_group(const std::vector<std::size_t>& group, int pass) {
    for (std::size_t i = 0; i < group.size() && !is_over(); ++i) {
      const std::size_t rotated = (i + static_cast<std::size_t>(pass)) % group.size();
      Cell& cell = cells_[group[rotated]];
      if (wants_round(cell)) {
        run_cell(cell);
      }
    }
  }

  void run_cell(Cell& cell) {
    tell(cell);
    const double begin_s = elapsed_s();
    const int index = static_cast<int>(cell.rounds.size());
    Result<RoundReport> report = parts_.run_round(cell, index, round_s_);
    if (!report) {
      is_interrupted_ = report.error().code() == Errc::kCancelled;
      if (!is_interrupted_) {
        cell.error = report.error();
      }
      return;
    }
    ++rounds_;
    report->round.start_s = begin_s;
    cell.rounds.push_back(report->round);
    cell.method = std::move(report->method);
    cell.fallback = std::move(report->fallback);
    cell.engine = std::move(report->engine);
    if (parts_.hooks.should_stop && parts_.hooks.should_stop()) {
      is_interrupted_ = true;
    }
  }

  void tell(const Cell& cell) const {
    if (!parts_.hooks.on_progress) {
      return;
    }
    parts_.hooks.on_progress(
        {.doing = fmt::format("{}, {}: {}", title_of(cell.pattern), name_of(cell.state),
                              title_of(cell.path)),
         .done_share = std::clamp(elapsed_s() / options_.time_budget_s, 0.0, 1.0),
         .left_s = std::max(left_s(), 0.0),
         .rounds = rounds_});
  }

  std::vector<Cell>& cells_;
  const CompareOptions& options_;
  const ScheduleParts& parts_;
  const double begin_s_;
  std::vector<std::vector<std::size_t>> groups_;  // Indices of cells, by question.
  double round_s_ = 0;
  std::uint64_t rounds_ = 0;
  bool is_settling_ = false;
  bool is_interrupted_ = false;
};

}  // namespace

ScheduleEnd run_schedule(std::vector<Cell>& cells, const CompareOptions& options,
                         const ScheduleParts& parts) {
  return Schedule(cells, options, parts).run();
}

}  // namespace quire::compare
