// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/verdict.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "quire/base/prng.h"
#include "quire/compare/question.h"
#include "quire/compare/report_samples.h"
#include "quire/testing/seed.h"

namespace quire::compare {
namespace {

Verdict only_verdict(std::vector<Cell> cells) {
  const std::vector<Verdict> verdicts = make_verdicts(sample_report(std::move(cells)));
  EXPECT_EQ(verdicts.size(), 1U);
  return verdicts.empty() ? Verdict{} : verdicts.front();
}

bool says(const Verdict& verdict, const std::string& words) {
  return verdict.sentence.find(words) != std::string::npos;
}

TEST(VerdictTest, TheFastestIsHeldAgainstTheUsualChoice) {
  const Verdict verdict =
      only_verdict({sample_cell({.path = Path::kReadWriteSmall, .mib_per_s = 31}),
                    sample_cell({.path = Path::kMapAdvised, .mib_per_s = 60}),
                    sample_cell({.path = Path::kDirectQueued, .mib_per_s = 198, .depth = 32})});
  EXPECT_EQ(verdict.winner, Path::kDirectQueued);
  EXPECT_EQ(verdict.compared, Path::kReadWriteSmall);
  EXPECT_TRUE(verdict.ties.empty());
  EXPECT_NEAR(verdict.factor, 198.0 / 31, 0.05);
  EXPECT_EQ(verdict.sentence,
            "random 4 KiB reads, cold, 128 MiB in 256 MiB of memory: direct I/O at depth 32 is 6.4 "
            "times as fast as pread() (50,700 reads/s against 7,940 reads/s).");
}

TEST(VerdictTest, APagerThatWinsIsNamedWithTheBudgetThatItHad) {
  const Verdict verdict =
      only_verdict({sample_cell({.path = Path::kReadWriteSmall, .mib_per_s = 31}),
                    sample_cell({.path = Path::kPagedPrefetched, .mib_per_s = 124, .depth = 32})});
  EXPECT_EQ(verdict.winner, Path::kPagedPrefetched);
  EXPECT_TRUE(says(verdict, "quire's pager prefetching 32 ahead is 4.0 times as fast as pread()"))
      << verdict.sentence;
  ASSERT_FALSE(verdict.with_quire.empty());
  EXPECT_NE(verdict.with_quire.front().find("{240} << 20"), std::string::npos)
      << verdict.with_quire.front();
  EXPECT_TRUE(verdict.with_system_calls.empty());
}

TEST(VerdictTest, AUsualChoiceThatWinsIsHeldAgainstTheNext) {
  const Verdict verdict = only_verdict({sample_cell({.mib_per_s = 100}),
                                        sample_cell({.path = Path::kDirect, .mib_per_s = 50}),
                                        sample_cell({.path = Path::kMapDefault, .mib_per_s = 20})});
  EXPECT_EQ(verdict.winner, Path::kReadWriteSmall);
  EXPECT_EQ(verdict.compared, Path::kDirect);
  EXPECT_NEAR(verdict.factor, 2, 0.01);
  EXPECT_TRUE(says(verdict, "pread() is 2.0 times as fast as the next, direct I/O"))
      << verdict.sentence;
}

TEST(VerdictTest, ASmallLeadIsAPercentage) {
  const Verdict verdict =
      only_verdict({sample_cell({.mib_per_s = 100, .spread = 0.01}),
                    sample_cell({.path = Path::kMapDefault, .mib_per_s = 110, .spread = 0.01})});
  EXPECT_TRUE(says(verdict, "mmap as it comes is 10 % faster than pread()")) << verdict.sentence;
}

TEST(VerdictTest, WithinTheSpreadTheSimplerPathWins) {
  const Verdict verdict = only_verdict(
      {sample_cell({.mib_per_s = 100, .spread = 0.08}),
       sample_cell({.path = Path::kDirectQueued, .mib_per_s = 105, .spread = 0.08, .depth = 8}),
       sample_cell({.path = Path::kMapDefault, .mib_per_s = 50})});
  EXPECT_EQ(verdict.winner, Path::kReadWriteSmall);
  EXPECT_EQ(verdict.ties, std::vector<Path>{Path::kDirectQueued});
  EXPECT_EQ(verdict.compared, Path::kMapDefault);
  EXPECT_TRUE(says(verdict, "nothing beats pread(): it is 2.0 times as fast as the next, mmap"))
      << verdict.sentence;
  EXPECT_TRUE(says(verdict, "the spread cannot tell direct I/O at depth 8 from it"))
      << verdict.sentence;
}

TEST(VerdictTest, TheSameDistanceIsADifferenceWhenTheSpreadIsSmall) {
  const Verdict verdict =
      only_verdict({sample_cell({.mib_per_s = 100, .spread = 0.01}),
                    sample_cell({.path = Path::kMapDefault, .mib_per_s = 105, .spread = 0.01})});
  EXPECT_EQ(verdict.winner, Path::kMapDefault);
  EXPECT_TRUE(verdict.ties.empty());
}

TEST(VerdictTest, WhenAllTieNothingIsComparedAndTheSentenceSaysSo) {
  const Verdict verdict =
      only_verdict({sample_cell({.mib_per_s = 100, .spread = 0.1}),
                    sample_cell({.path = Path::kMapDefault, .mib_per_s = 101, .spread = 0.1}),
                    sample_cell({.path = Path::kDirect, .mib_per_s = 99, .spread = 0.1})});
  EXPECT_EQ(verdict.winner, Path::kReadWriteSmall);
  EXPECT_EQ(verdict.ties.size(), 2U);
  EXPECT_FALSE(verdict.compared);
  EXPECT_DOUBLE_EQ(verdict.factor, 1);
  EXPECT_TRUE(says(verdict, "nothing beats pread()")) << verdict.sentence;
}

// Goal: A ties with C because C is noisy; B lies between them and is quiet. B must not be called
//       slower than a path that is slower than B.
TEST(VerdictTest, WhoIsFasterThanATieTiesToo) {
  const Verdict verdict =
      only_verdict({sample_cell({.path = Path::kMapDefault, .mib_per_s = 100, .spread = 0.001}),
                    sample_cell({.path = Path::kMapAdvised, .mib_per_s = 94, .spread = 0.001}),
                    sample_cell({.path = Path::kDirect, .mib_per_s = 92, .spread = 0.3})});
  EXPECT_EQ(verdict.winner, Path::kMapDefault);
  EXPECT_EQ(verdict.ties, (std::vector<Path>{Path::kMapAdvised, Path::kDirect}));
}

TEST(VerdictTest, FewRoundsTellOnlyLargeDifferencesApart) {
  const auto verdict_for = [](double faster) {
    return only_verdict(
        {sample_cell({.mib_per_s = 100, .rounds = 1}),
         sample_cell({.path = Path::kMapDefault, .mib_per_s = faster, .rounds = 1})});
  };
  EXPECT_EQ(verdict_for(115).winner, Path::kReadWriteSmall);
  EXPECT_EQ(verdict_for(150).winner, Path::kMapDefault);
  EXPECT_TRUE(says(verdict_for(115), "Too few rounds for a spread"));
}

TEST(VerdictTest, FewRoundsThatDisagreeAreNoBetterThanTheirSpread) {
  const Verdict verdict = only_verdict(
      {sample_cell({.mib_per_s = 100, .spread = 0.5, .rounds = 2}),
       sample_cell({.path = Path::kMapDefault, .mib_per_s = 130, .spread = 0.5, .rounds = 2})});
  EXPECT_EQ(verdict.winner, Path::kReadWriteSmall);
  EXPECT_EQ(verdict.ties, std::vector<Path>{Path::kMapDefault});
}

TEST(VerdictTest, MemoryIsTheCeilingAndNoCompetitor) {
  const Verdict verdict = only_verdict(
      {sample_cell({.mib_per_s = 100}), sample_cell({.path = Path::kMemory, .mib_per_s = 9000})});
  EXPECT_EQ(verdict.winner, Path::kReadWriteSmall);
  EXPECT_FALSE(verdict.compared);
  EXPECT_TRUE(says(verdict, "only pread() gave a result")) << verdict.sentence;
}

TEST(VerdictTest, WhatWasNotColdDoesNotWinTheColdQuestion) {
  Cell warm_by_accident = sample_cell({.path = Path::kMapPopulated, .mib_per_s = 900});
  warm_by_accident.rounds[1].verified_cold = false;
  const Verdict verdict =
      only_verdict({sample_cell({.mib_per_s = 100}), std::move(warm_by_accident),
                    sample_cell({.path = Path::kDirect, .mib_per_s = 200})});
  EXPECT_EQ(verdict.winner, Path::kDirect);
  EXPECT_TRUE(says(verdict, "Left out: mmap populated first (was not cold)")) << verdict.sentence;
}

TEST(VerdictTest, WhatTheFileSystemBufferedIsNotCalledDirect) {
  Cell buffered = sample_cell({.path = Path::kDirect, .mib_per_s = 900});
  buffered.rounds[0].verified_direct = false;
  const Verdict verdict = only_verdict({sample_cell({.mib_per_s = 100}), std::move(buffered)});
  EXPECT_EQ(verdict.winner, Path::kReadWriteSmall);
  EXPECT_TRUE(says(verdict, "was buffered by the file system")) << verdict.sentence;
}

TEST(VerdictTest, ColdThatCannotBeSeenIsSaid) {
  Cell cell = sample_cell({.mib_per_s = 100});
  for (Round& round : cell.rounds) {
    round.verified_cold.reset();
  }
  EXPECT_TRUE(says(only_verdict({std::move(cell)}), "That it was cold could not be verified"));
}

TEST(VerdictTest, OfThoseThatTieTheThriftyOneIsNamed) {
  const Verdict verdict = only_verdict(
      {sample_cell({.mib_per_s = 100, .spread = 0.05, .cpu_s_per_gib = 0.9}),
       sample_cell(
           {.path = Path::kDirect, .mib_per_s = 101, .spread = 0.05, .cpu_s_per_gib = 0.2})});
  EXPECT_TRUE(says(verdict, "direct I/O one at a time takes the least CPU: 0.200 against 0.900"))
      << verdict.sentence;
}

TEST(VerdictTest, AFailedCellIsNoAnswerAndDoesNotStopTheOthers) {
  const Verdict verdict = only_verdict({failed_cell({.path = Path::kDirect}, "it broke"),
                                        sample_cell({.path = Path::kMapDefault, .mib_per_s = 9}),
                                        sample_cell({.mib_per_s = 90})});
  EXPECT_EQ(verdict.winner, Path::kReadWriteSmall);
  EXPECT_EQ(verdict.compared, Path::kMapDefault);
}

TEST(VerdictTest, WhenAllFailedTheFirstErrorIsTheVerdict) {
  const Verdict verdict = only_verdict(
      {failed_cell({}, "the file vanished"), failed_cell({.path = Path::kDirect}, "later")});
  EXPECT_FALSE(verdict.winner);
  EXPECT_FALSE(verdict.compared);
  EXPECT_TRUE(verdict.with_quire.empty());
  EXPECT_TRUE(says(verdict, "no path gave a result; the first error: ")) << verdict.sentence;
  EXPECT_TRUE(says(verdict, "the file vanished")) << verdict.sentence;
}

TEST(VerdictTest, WhenNothingWasRunTheReasonIsTheVerdict) {
  Cell cell = sample_cell({.rounds = 0});
  EXPECT_TRUE(says(only_verdict({cell}), "no path was run: the run ended before their turn"));
  cell.skipped = "no space for a scratch file";
  EXPECT_TRUE(says(only_verdict({cell}), "no path was run: no space for a scratch file"));
}

TEST(VerdictTest, ColdAndWarmAndWhatExceedsMemoryGetVerdictsOfTheirOwn) {
  std::vector<Cell> cells;
  for (const bool exceeds_memory : {false, true}) {
    for (const State state : {State::kCold, State::kWarm}) {
      const bool is_mapped_best = state == State::kWarm && !exceeds_memory;
      cells.push_back(sample_cell({.path = Path::kMapDefault,
                                   .state = state,
                                   .mib_per_s = is_mapped_best ? 4000.0 : 3.0,
                                   .exceeds_memory = exceeds_memory}));
      cells.push_back(sample_cell({.path = Path::kDirectQueued,
                                   .state = state,
                                   .mib_per_s = 200,
                                   .exceeds_memory = exceeds_memory,
                                   .depth = 32}));
    }
  }
  const std::vector<Verdict> verdicts = make_verdicts(sample_report(std::move(cells)));
  ASSERT_EQ(verdicts.size(), 4U);
  EXPECT_EQ(verdicts[0].winner, Path::kDirectQueued);
  EXPECT_EQ(verdicts[1].winner, Path::kMapDefault);
  EXPECT_EQ(verdicts[2].winner, Path::kDirectQueued);
  EXPECT_TRUE(verdicts[2].question.exceeds_memory);
  EXPECT_EQ(verdicts[3].winner, Path::kDirectQueued);
  EXPECT_TRUE(says(verdicts[3], "warm, 1 GiB in 256 MiB of memory"));
}

TEST(VerdictTest, TheSameSizeInLessMemoryIsAnotherQuestion) {
  Cell unlimited = sample_cell({.path = Path::kMapDefault, .mib_per_s = 900});
  unlimited.memory_bytes.reset();
  const Report report = sample_report({sample_cell({.mib_per_s = 100}), unlimited});
  const std::vector<Verdict> verdicts = make_verdicts(report);
  ASSERT_EQ(verdicts.size(), 2U);
  EXPECT_NE(verdicts[0].winner, verdicts[1].winner);
  EXPECT_EQ(verdicts[0].question, question_of(unlimited));
  EXPECT_NE(verdicts[1].question, question_of(unlimited));
}

TEST(VerdictTest, AWinnerComesWithTheLinesThatGetIt) {
  const Verdict verdict =
      only_verdict({sample_cell({.path = Path::kDirectQueued, .mib_per_s = 200, .depth = 16})});
  ASSERT_FALSE(verdict.with_quire.empty());
  EXPECT_NE(verdict.with_quire[0].find(".depth = 16"), std::string::npos);
  ASSERT_FALSE(verdict.with_system_calls.empty());
  EXPECT_NE(verdict.with_system_calls[0].find("O_DIRECT"), std::string::npos);
}

TEST(VerdictTest, NoCellsNoVerdicts) {
  EXPECT_TRUE(make_verdicts(sample_report({})).empty());
}

// Goal:   whatever the rates, a verdict is one sentence with a finite factor of at least 1, its
//         winner and ties have results, and nobody is in two roles.
// Method: random cells, some of them failed, unverified, or without a measurable rate.
TEST(VerdictTest, RandomReportsGiveSoundVerdicts) {
  Prng random(testing::test_seed());
  for (int run = 0; run < 500; ++run) {
    std::vector<Cell> cells;
    for (int path = 0; path < kPathCount; ++path) {
      Cell cell = sample_cell({.path = static_cast<Path>(path),
                               .mib_per_s = 1 + static_cast<double>(random.below(1000)) / 5,
                               .spread = static_cast<double>(random.below(40)) / 100,
                               .rounds = random.below(6)});
      if (!cell.rounds.empty() && random.below(5) == 0) {
        cell.rounds[0].seconds = 0;
      }
      if (!cell.rounds.empty() && random.below(5) == 0) {
        cell.rounds[0].verified_cold = false;
      }
      cells.push_back(std::move(cell));
    }
    const Verdict verdict = only_verdict(std::move(cells));
    EXPECT_TRUE(std::isfinite(verdict.factor) && verdict.factor >= 1) << verdict.factor;
    EXPECT_EQ(verdict.sentence.find("nan"), std::string::npos) << verdict.sentence;
    EXPECT_EQ(verdict.sentence.back(), '.');
    EXPECT_NE(verdict.winner, std::optional(Path::kMemory));
    for (const Path tie : verdict.ties) {
      EXPECT_NE(verdict.winner, std::optional(tie));
      EXPECT_NE(verdict.compared, std::optional(tie));
    }
    EXPECT_TRUE(verdict.winner || !verdict.compared);
  }
}

}  // namespace
}  // namespace quire::compare
