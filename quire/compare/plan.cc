// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/plan.h"

#include <algorithm>
#include <initializer_list>

#include "quire/compare/question.h"
#include "quire/compare/workload.h"

namespace quire::compare {
namespace {

using enum Path;

bool is_direct(Path path) noexcept {
  return path == kDirect || path == kDirectQueued;
}

bool is_queued(Path path) noexcept {
  return path == kDirectQueued || path == kBufferedQueued || path == kPagedPrefetched;
}

template <typename T>
bool allows(const std::vector<T>& chosen, T one) {
  return chosen.empty() || std::find(chosen.begin(), chosen.end(), one) != chosen.end();
}

std::uint64_t whole_pages(std::uint64_t bytes) noexcept {
  return std::max(bytes / kPatternPageBytes, std::uint64_t{1}) * kPatternPageBytes;
}

class Planner {
 public:
  Planner(const CompareOptions& options, const Possibilities& possible)
      : options_(options),
        possible_(possible),
        memory_bytes_(possible.limit_bytes.value_or(possible.available_bytes)),
        fitting_bytes_(
            whole_pages(std::min({possible.file_bytes, memory_bytes_ / 2, kWarmBytesMax}))),
        has_excess_(possible.file_bytes > memory_bytes_) {}

  std::vector<Cell> plan() {
    plan_scan();
    plan_random(Pattern::kRandomRead);
    plan_random(Pattern::kSkewedRead);
    if (possible_.is_writable) {
      plan_sequential_write();
      plan_append();
      plan_update();
    }
    return std::move(cells_);
  }

 private:
  void plan_scan() {
    add(ask(Pattern::kSequentialRead, State::kCold, possible_.file_bytes),
        {kReadWriteSmall, kReadWriteLarge, kBufferedDropBehind, kMapDefault, kMapAdvised,
         kMapPopulated, kDirect, kDirectQueued, kBufferedQueued, kPaged});
    add(ask(Pattern::kSequentialRead, State::kWarm, fitting_bytes_),
        {kReadWriteSmall, kReadWriteLarge, kMapDefault, kMapPopulated, kDirectQueued, kPaged,
         kMemory});
  }

  void plan_random(Pattern pattern) {
    const bool is_uniform = pattern == Pattern::kRandomRead;
    add(ask(pattern, State::kCold, possible_.file_bytes),
        {kReadWriteSmall, kMapDefault, kMapAdvised, kDirect, kDirectQueued, kBufferedQueued, kPaged,
         kPagedPrefetched});
    if (is_uniform) {
      // How faults are delivered shows where each of them waits for the device.
      add(ask(pattern, State::kCold, possible_.file_bytes), {kPagedHandler});
    }
    // What fits is read at the same speed whatever is read most.
    if (is_uniform || !has_excess_) {
      add(ask(pattern, State::kWarm, fitting_bytes_),
          {kReadWriteSmall, kMapDefault, kMapPopulated, kDirectQueued, kBufferedQueued, kPaged,
           kMemory});
    }
    if (has_excess_) {
      add(ask(pattern, State::kWarm, possible_.file_bytes),
          {kReadWriteSmall, kMapDefault, kMapAdvised, kDirectQueued, kBufferedQueued, kPaged});
    }
  }

  void plan_sequential_write() {
    Question question = ask_for_new_file(Pattern::kSequentialWrite, kNewFileBytesMax);
    add(question, {kReadWriteSmall, kReadWriteLarge, kMapDefault, kPaged, kMemory});
    question.durability = DurabilityChoice::kAtEnd;
    add(question, {kReadWriteSmall, kReadWriteLarge, kBufferedDropBehind, kMapDefault,
                   kMapPopulated, kDirect, kDirectQueued, kBufferedQueued, kPaged});
  }

  void plan_append() {
    Question question = ask_for_new_file(Pattern::kAppend, kAppendBytesMax);
    add(question, {kReadWriteSmall, kBufferedWriter, kMapDefault, kPaged, kMemory});
    question.durability = DurabilityChoice::kAtEnd;
    add(question, {kReadWriteSmall, kBufferedWriter, kMapDefault, kPaged});
    question.durability = DurabilityChoice::kEachOperation;
    add(question, {kReadWriteSmall, kBufferedWriter, kMapDefault, kPaged});
  }

  void plan_update() {
    add(ask(Pattern::kRandomUpdate, State::kWarm, fitting_bytes_),
        {kReadWriteSmall, kMapDefault, kPaged, kMemory});
    Question question = ask(Pattern::kRandomUpdate, State::kCold, possible_.file_bytes);
    question.durability = DurabilityChoice::kAtEnd;
    add(question, {kReadWriteSmall, kMapDefault, kMapAdvised, kDirect, kDirectQueued, kPaged});
    question.durability = DurabilityChoice::kEachOperation;
    add(question, {kReadWriteSmall, kMapDefault, kMapAdvised, kDirect, kDirectQueued, kPaged});
  }

  [[nodiscard]] Question ask(Pattern pattern, State state, std::uint64_t set_bytes) const {
    return {.pattern = pattern,
            .state = state,
            .durability = DurabilityChoice::kNone,
            .working_set_bytes = set_bytes,
            .memory_bytes = possible_.limit_bytes,
            .exceeds_memory = set_bytes > memory_bytes_};
  }

  // A new file has nothing in memory: cold by its nature.
  [[nodiscard]] Question ask_for_new_file(Pattern pattern, std::uint64_t bytes_max) const {
    return ask(pattern, State::kCold,
               whole_pages(std::min({possible_.file_bytes, memory_bytes_ / 2, bytes_max})));
  }

  void add(const Question& question, std::initializer_list<Path> paths) {
    const bool has_new_file =
        question.pattern == Pattern::kSequentialWrite || question.pattern == Pattern::kAppend;
    if (!allows(options_.patterns, question.pattern) ||
        (!has_new_file && !allows(options_.states, question.state)) ||
        (is_write(question.pattern) && !allows(options_.durabilities, question.durability))) {
      return;
    }
    for (const Path path : paths) {
      if (allows(options_.paths, path) && (possible_.has_pager || !is_paged(path))) {
        cells_.push_back(make_cell(question, path, has_new_file));
      }
    }
  }

  [[nodiscard]] Cell make_cell(const Question& question, Path path, bool has_new_file) const {
    Cell cell;
    cell.path = path;
    cell.pattern = question.pattern;
    cell.state = question.state;
    cell.durability = question.durability;
    cell.working_set_bytes = question.working_set_bytes;
    cell.memory_bytes = question.memory_bytes;
    cell.exceeds_memory = question.exceeds_memory;
    cell.block_bytes = block_bytes_of(question.pattern, path);
    if (is_queued(path)) {
      cell.depth =
          is_random(question.pattern) ? options_.depth : std::min(options_.depth, kScanDepthMax);
    }
    if (is_direct(path) && possible_.why_not_direct) {
      cell.skipped = possible_.why_not_direct;
    } else if (is_paged(path) && possible_.why_not_paged) {
      cell.skipped = possible_.why_not_paged;
    } else if (question.state == State::kCold && !has_new_file && possible_.why_never_cold) {
      cell.skipped = possible_.why_never_cold;
    }
    return cell;
  }

  [[nodiscard]] std::uint64_t block_bytes_of(Pattern pattern, Path path) const {
    if (pattern == Pattern::kAppend) {
      return options_.blocks.record_bytes;
    }
    return is_random(pattern) || path == kReadWriteSmall ? options_.blocks.small_bytes
                                                         : options_.blocks.large_bytes;
  }

  const CompareOptions& options_;
  const Possibilities& possible_;
  const std::uint64_t memory_bytes_;
  const std::uint64_t fitting_bytes_;
  const bool has_excess_;
  std::vector<Cell> cells_;
};

}  // namespace

std::vector<Cell> plan_cells(const CompareOptions& options, const Possibilities& possible) {
  return Planner(options, possible).plan();
}

}  // namespace quire::compare
