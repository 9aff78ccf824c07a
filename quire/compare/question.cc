// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/question.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "quire/compare/internal/numbers.h"

namespace quire::compare {
namespace {

// What fits before what exceeds, small before large, unflushed before flushed, cold before warm.
auto rank_of(const Question& question) {
  return std::tuple(question.pattern, question.exceeds_memory, question.working_set_bytes,
                    question.memory_bytes, question.durability, question.state);
}

const char* durability_phrase(DurabilityChoice durability) noexcept {
  switch (durability) {
    case DurabilityChoice::kNone: return "not flushed";
    case DurabilityChoice::kAtEnd: return "flushed at the end";
    case DurabilityChoice::kEachOperation: break;
  }
  return "each write flushed";
}

}  // namespace

Question question_of(const Cell& cell) noexcept {
  return {.pattern = cell.pattern,
          .state = cell.state,
          .durability = cell.durability,
          .working_set_bytes = cell.working_set_bytes,
          .memory_bytes = cell.memory_bytes,
          .exceeds_memory = cell.exceeds_memory};
}

bool comes_before(const Cell* left, const Cell* right) noexcept {
  return std::tuple(left->path, left->depth, left) < std::tuple(right->path, right->depth, right);
}

std::vector<Answers> group_by_question(const std::vector<Cell>& cells) {
  std::vector<Answers> groups;
  for (const Cell& cell : cells) {
    const Question question = question_of(cell);
    auto group = std::find_if(groups.begin(), groups.end(),
                              [&](const Answers& known) { return known.question == question; });
    if (group == groups.end()) {
      group = groups.insert(groups.end(), {.question = question, .cells = {}});
    }
    group->cells.push_back(&cell);
  }
  std::sort(groups.begin(), groups.end(), [](const Answers& left, const Answers& right) {
    return rank_of(left.question) < rank_of(right.question);
  });
  for (Answers& group : groups) {
    std::sort(group.cells.begin(), group.cells.end(), comes_before);
  }
  return groups;
}

std::string conditions_of(const Question& question) {
  std::string text = fmt::format("{}, {}", name_of(question.state),
                                 internal::size_text(question.working_set_bytes));
  if (question.memory_bytes) {
    text += fmt::format(" in {} of memory", internal::size_text(*question.memory_bytes));
  }
  if (is_write(question.pattern)) {
    text += fmt::format(", {}", durability_phrase(question.durability));
  }
  return text;
}

std::string label_of(const Cell& cell) {
  return cell.depth > 1 ? fmt::format("{} ({})", title_of(cell.path), cell.depth)
                        : title_of(cell.path);
}

}  // namespace quire::compare
