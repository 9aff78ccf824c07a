// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/verdict.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string>

#include "quire/compare/advice.h"
#include "quire/compare/internal/numbers.h"
#include "quire/compare/question.h"

namespace quire::compare {
namespace {

using internal::join_text;

// A cell that may win, and what its rounds say.
struct Candidate {
  const Cell* cell = nullptr;
  double rate = 0;  // MiB/s: paths of one question differ in block size, so operations do not do.
  double margin = 0;
};

struct Contest {
  Question question;
  std::vector<Candidate> ranked;      // Fastest first.
  std::size_t tied_count = 0;         // Of them, not told apart from the first.
  std::vector<std::string> left_out;  // "mmap populated first (was not cold)"
  std::vector<const Cell*> cells;
};

// From the one to try first to the one that costs most lines and care.
constexpr std::array<Path, kPathCount> kSimplestFirst{
    Path::kReadWriteLarge, Path::kReadWriteSmall, Path::kMapDefault,      Path::kMapAdvised,
    Path::kMapPopulated,   Path::kBufferedWriter, Path::kDirect,          Path::kBufferedDropBehind,
    Path::kPaged,          Path::kPagedHandler,   Path::kPagedPrefetched, Path::kBufferedQueued,
    Path::kDirectQueued,   Path::kMemory};

std::size_t effort_of(const Cell& cell) noexcept {
  if (cell.path == usual_path(cell.pattern)) {
    return 0;
  }
  const auto* at = std::find(kSimplestFirst.begin(), kSimplestFirst.end(), cell.path);
  return 1 + static_cast<std::size_t>(at - kSimplestFirst.begin());
}

double margin_of(const Cell& cell) {
  const double least = cell.rounds.size() < kRoundsForSpread ? kMarginFewRounds : kMarginMin;
  return std::max(least, cell.spread() / 2);
}

// Whether the bars of the two reach each other.
bool overlap(const Candidate& faster, const Candidate& slower) noexcept {
  return slower.rate * (1 + slower.margin) >= faster.rate * (1 - faster.margin);
}

const char* small_call_phrase(Pattern pattern) noexcept {
  switch (pattern) {
    case Pattern::kSequentialRead: return "read() in small blocks";
    case Pattern::kRandomRead:
    case Pattern::kSkewedRead: return "pread()";
    case Pattern::kSequentialWrite: return "write() in small blocks";
    case Pattern::kAppend: return "one write() per record";
    case Pattern::kRandomUpdate: break;
  }
  return "pread() and pwrite()";
}

// What a path is called inside a sentence.
std::string phrase_of(const Cell& cell) {
  switch (cell.path) {
    case Path::kReadWriteSmall: return small_call_phrase(cell.pattern);
    case Path::kReadWriteLarge:
      return is_write(cell.pattern) ? "write() in 1 MiB blocks" : "read() in 1 MiB blocks";
    case Path::kBufferedDropBehind: return "buffered I/O with drop-behind";
    case Path::kBufferedWriter: return "gathering records in a buffer";
    case Path::kMapDefault: return "mmap as it comes";
    case Path::kMapAdvised: return "mmap with the best advice";
    case Path::kMapPopulated: return "mmap populated first";
    case Path::kDirect: return "direct I/O one at a time";
    case Path::kDirectQueued: return fmt::format("direct I/O at depth {}", cell.depth);
    case Path::kBufferedQueued: return fmt::format("buffered I/O at depth {}", cell.depth);
    case Path::kPaged: return "quire's pager";
    case Path::kPagedHandler: return "quire's pager with handler faults";
    case Path::kPagedPrefetched:
      return fmt::format("quire's pager prefetching {} ahead", cell.depth);
    case Path::kMemory: break;
  }
  return "memory";
}

std::vector<std::string> phrases_of(std::vector<Candidate>::const_iterator begin,
                                    std::vector<Candidate>::const_iterator end) {
  std::vector<std::string> phrases;
  std::for_each(begin, end, [&](const Candidate& one) { phrases.push_back(phrase_of(*one.cell)); });
  return phrases;
}

// Why a cell with a result may not win; null when it may.
const char* objection_to(const Cell& cell) {
  if (cell.state == State::kCold && cell.verified_cold() == std::optional(false)) {
    return "was not cold";
  }
  const bool is_direct = cell.path == Path::kDirect || cell.path == Path::kDirectQueued;
  if (is_direct && cell.verified_direct() == std::optional(false)) {
    return "was buffered by the file system";
  }
  return nullptr;
}

Contest hold_contest(const Answers& answers) {
  Contest contest{
      .question = answers.question, .ranked = {}, .left_out = {}, .cells = answers.cells};
  for (const Cell* cell : answers.cells) {
    const double rate = cell->median_mib_per_s();
    if (cell->path == Path::kMemory || !(rate > 0)) {
      continue;
    }
    if (const char* objection = objection_to(*cell)) {
      contest.left_out.push_back(fmt::format("{} ({})", phrase_of(*cell), objection));
    } else {
      contest.ranked.push_back({.cell = cell, .rate = rate, .margin = margin_of(*cell)});
    }
  }
  auto& ranked = contest.ranked;
  std::sort(ranked.begin(), ranked.end(), [](const Candidate& left, const Candidate& right) {
    return left.rate != right.rate ? left.rate > right.rate : comes_before(left.cell, right.cell);
  });
  // Whoever is faster than one that ties, ties too.
  for (std::size_t index = 0; index < ranked.size(); ++index) {
    contest.tied_count = overlap(ranked.front(), ranked[index]) ? index + 1 : contest.tied_count;
  }
  const auto ties_end = ranked.begin() + static_cast<std::ptrdiff_t>(contest.tied_count);
  std::sort(ranked.begin(), ties_end, [](const Candidate& left, const Candidate& right) {
    const std::size_t left_effort = effort_of(*left.cell);
    const std::size_t right_effort = effort_of(*right.cell);
    return left_effort != right_effort ? left_effort < right_effort
                                       : comes_before(left.cell, right.cell);
  });
  return contest;
}

const char* operations_word(Pattern pattern) noexcept {
  switch (pattern) {
    case Pattern::kAppend: return "records";
    case Pattern::kRandomUpdate: return "updates";
    case Pattern::kSequentialWrite: return "writes";
    default: return "reads";
  }
}

std::string rate_phrase(const Cell& cell) {
  return counts_operations(cell.pattern) ? internal::operations_text(cell.median_operations_per_s(),
                                                                     operations_word(cell.pattern))
                                         : internal::rate_text(cell.median_mib_per_s());
}

// "6.4 times as fast as", "7 % faster than".
std::string factor_phrase(double factor) {
  constexpr double kTimes = 1.2;  // Below it a percentage is easier to grasp.
  return factor < kTimes ? fmt::format("{} faster than", internal::percent_text(factor - 1))
                         : fmt::format("{} times as fast as", internal::factor_text(factor));
}

// What the winner is held against: the usual choice unless that is among the fastest, then the
// first that is slower.
const Candidate* rival_in(const Contest& contest) {
  const auto begin = contest.ranked.begin() + static_cast<std::ptrdiff_t>(contest.tied_count);
  const Path usual = usual_path(contest.question.pattern);
  const auto found = std::find_if(begin, contest.ranked.end(), [usual](const Candidate& one) {
    return one.cell->path == usual;
  });
  if (found != contest.ranked.end()) {
    return &*found;
  }
  return begin == contest.ranked.end() ? nullptr : &*begin;
}

std::string failure_sentence(const Contest& contest) {
  const char* reason = "the run ended before their turn";
  for (const Cell* cell : contest.cells) {
    if (cell->error) {
      return fmt::format("no path gave a result; the first error: {}", cell->error->message());
    }
    if (cell->has_result()) {
      return "no path gave a result";
    }
    reason = cell->skipped ? cell->skipped->c_str() : reason;
  }
  return fmt::format("no path was run: {}", reason);
}

// What can be said about the winner's rate: against whom, or alone.
std::string claim(const Contest& contest, const Candidate* rival, bool has_ties) {
  const Candidate& winner = contest.ranked.front();
  const std::string name = phrase_of(*winner.cell);
  const std::string rate = rate_phrase(*winner.cell);
  const Path usual = usual_path(contest.question.pattern);
  if (rival == nullptr) {
    return has_ties ? fmt::format("nothing beats {} ({})", name, rate)
                    : fmt::format("only {} gave a result ({})", name, rate);
  }
  const bool is_usual_best = winner.cell->path == usual && has_ties;
  return fmt::format("{} is {} {}{} ({} against {})",
                     is_usual_best ? fmt::format("nothing beats {}: it", name) : name,
                     factor_phrase(winner.rate / rival->rate),
                     rival->cell->path == usual ? "" : "the next, ", phrase_of(*rival->cell), rate,
                     rate_phrase(*rival->cell));
}

// "X is 6.4 times as fast as Y (a against b)", and who does as well.
std::string result_sentence(const Contest& contest, const Candidate* rival) {
  const auto ties_end = contest.ranked.begin() + static_cast<std::ptrdiff_t>(contest.tied_count);
  const std::string ties = join_text(phrases_of(contest.ranked.begin() + 1, ties_end));
  const std::string text = claim(contest, rival, !ties.empty());
  return ties.empty() ? text : fmt::format("{}; the spread cannot tell {} from it", text, ties);
}

// Who of those that are as fast takes much less of the processor.
std::string processor_remark(const Contest& contest) {
  constexpr double kMuchLess = 0.7;
  const Candidate* thriftiest = nullptr;
  for (std::size_t index = 0; index < contest.tied_count; ++index) {
    const auto cost = contest.ranked[index].cell->cpu_s_per_gib();
    if (cost && (thriftiest == nullptr || *cost < *thriftiest->cell->cpu_s_per_gib())) {
      thriftiest = &contest.ranked[index];
    }
  }
  const auto winner_cost = contest.ranked.front().cell->cpu_s_per_gib();
  if (thriftiest == nullptr || !winner_cost ||
      *thriftiest->cell->cpu_s_per_gib() > *winner_cost * kMuchLess) {
    return "";
  }
  return fmt::format(". Of these, {} takes the least CPU: {} against {} s/GiB",
                     phrase_of(*thriftiest->cell),
                     internal::three_figures(*thriftiest->cell->cpu_s_per_gib()),
                     internal::three_figures(*winner_cost));
}

std::string doubts_about(const Contest& contest) {
  std::string text;
  if (!contest.left_out.empty()) {
    text += ". Left out: " + join_text(contest.left_out);
  }
  if (contest.ranked.empty()) {
    return text;
  }
  const Cell& winner = *contest.ranked.front().cell;
  if (winner.state == State::kCold && !winner.verified_cold()) {
    text += ". That it was cold could not be verified";
  }
  if (winner.rounds.size() < kRoundsForSpread && contest.ranked.size() > 1) {
    text += fmt::format(". Too few rounds for a spread: less than {} is not told apart",
                        internal::percent_text(2 * kMarginFewRounds));
  }
  return text;
}

void name_winner(const Contest& contest, Verdict& verdict) {
  const Candidate& winner = contest.ranked.front();
  verdict.winner = winner.cell->path;
  for (std::size_t index = 1; index < contest.tied_count; ++index) {
    verdict.ties.push_back(contest.ranked[index].cell->path);
  }
  if (const Candidate* rival = rival_in(contest)) {
    verdict.compared = rival->cell->path;
    verdict.factor = winner.rate / rival->rate;
  }
  AdviceRequest request{.path = winner.cell->path,
                        .pattern = contest.question.pattern,
                        .durability = contest.question.durability,
                        .depth = winner.cell->depth};
  if (winner.cell->engine) {
    request.memory_bytes = winner.cell->engine->memory_bytes;
  }
  Advice advice = advice_for(request);
  verdict.with_quire = std::move(advice.with_quire);
  verdict.with_system_calls = std::move(advice.with_system_calls);
}

Verdict judge(const Contest& contest) {
  const Question& question = contest.question;
  Verdict verdict;
  verdict.question = question;
  std::string body;
  if (contest.ranked.empty()) {
    body = failure_sentence(contest);
  } else {
    name_winner(contest, verdict);
    body = result_sentence(contest, rival_in(contest)) + processor_remark(contest);
  }
  verdict.sentence = fmt::format("{}, {}: {}{}.", title_of(question.pattern),
                                 conditions_of(question), body, doubts_about(contest));
  return verdict;
}

}  // namespace

Path usual_path(Pattern pattern) noexcept {
  const bool is_stream =
      pattern == Pattern::kSequentialRead || pattern == Pattern::kSequentialWrite;
  return is_stream ? Path::kReadWriteLarge : Path::kReadWriteSmall;
}

std::vector<Verdict> make_verdicts(const Report& report) {
  std::vector<Verdict> verdicts;
  for (const Answers& answers : group_by_question(report.cells)) {
    verdicts.push_back(judge(hold_contest(answers)));
  }
  return verdicts;
}

}  // namespace quire::compare
