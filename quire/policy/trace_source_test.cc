// SPDX-License-Identifier: Apache-2.0
#include "quire/policy/trace_source.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "quire/testing/seed.h"

namespace quire {
namespace {

std::vector<std::uint32_t> pages_of(const SyntheticOptions& options) {
  SyntheticSource source(options);
  std::vector<PageAccess> accesses(options.accesses);
  EXPECT_EQ(source.next(accesses), options.accesses);
  std::vector<std::uint32_t> pages;
  for (const PageAccess access : accesses) {
    pages.push_back(access.page());
  }
  return pages;
}

std::vector<std::uint32_t> pages_of(std::string_view workload, std::uint32_t pages,
                                    std::uint64_t accesses) {
  return pages_of({.workload = parse_workload(workload).value(),
                   .pages = pages,
                   .accesses = accesses,
                   .seed = testing::test_seed()});
}

using Pages = std::vector<std::uint32_t>;

TEST(WorkloadTest, WhatIsWrittenIsWhatIsMeant) {
  const Workload workload =
      parse_workload("zipf:1.2*3+uniform*2+scan:50/1000+loop+stride:8/7").value();
  ASSERT_EQ(workload.size(), 5U);
  EXPECT_EQ(workload[0].kind, WorkloadPart::Kind::kZipf);
  EXPECT_EQ(workload[0].theta, 1.2);
  EXPECT_EQ(workload[0].weight, 3U);
  EXPECT_EQ(workload[1].kind, WorkloadPart::Kind::kUniform);
  EXPECT_EQ(workload[1].weight, 2U);
  EXPECT_EQ(workload[2].kind, WorkloadPart::Kind::kScan);
  EXPECT_EQ(workload[2].number, 50U);
  EXPECT_EQ(workload[2].every, 1000U);
  EXPECT_EQ(workload[3].kind, WorkloadPart::Kind::kLoop);
  EXPECT_EQ(workload[3].number, 0U);
  EXPECT_EQ(workload[4].kind, WorkloadPart::Kind::kStride);
  EXPECT_EQ(workload[4].every, 7U);
  EXPECT_EQ(parse_workload("zipf").value()[0].theta, kZipfThetaDefault);
}

TEST(WorkloadTest, WhatMakesNoSenseIsAnErrorThatNamesThePart) {
  for (const char* const text :
       {"",           "+",         "zipf+",         "+zipf",    "zip",          "Zipf",
        "zipf:",      "zipf:-1",   "zipf:11",       "zipf:nan", "zipf:1x",      "zipf:1:2",
        "uniform:3",  "uniform/5", "zipf/5",        "scan:0",   "scan:-1",      "scan:2147483648",
        "scan/0",     "scan/x",    "scan/1*2",      "loop*0",   "loop*1000001", "loop*",
        "stride:1.5", "scan/100",  "scan/9+loop/8", "zipf scan"}) {
    const auto workload = parse_workload(text);
    ASSERT_FALSE(workload.has_value()) << text;
    EXPECT_EQ(workload.error().code(), Errc::kOutOfRange) << text;
    EXPECT_FALSE(workload.error().cause().empty()) << text;
  }
  EXPECT_NE(parse_workload("zipf+scam/5").error().message().find("scam"), std::string::npos);
  std::string many = "loop";
  for (std::size_t i = 1; i < kWorkloadPartsMax; ++i) {
    many += "+loop";
  }
  EXPECT_TRUE(parse_workload(many).has_value());
  EXPECT_FALSE(parse_workload(many + "+loop").has_value());
}

TEST(SyntheticSourceTest, OrderedKindsGoAsDescribed) {
  EXPECT_EQ(pages_of("scan", 4, 6), (Pages{0, 1, 2, 3, 0, 1}));
  EXPECT_EQ(pages_of("loop:3", 10, 7), (Pages{0, 1, 2, 0, 1, 2, 0}));
  EXPECT_EQ(pages_of("loop", 5, 4), (Pages{0, 1, 2, 0}));
  EXPECT_EQ(pages_of("stride:3", 8, 9), (Pages{0, 3, 6, 1, 4, 7, 2, 5, 0}));
  EXPECT_EQ(pages_of("stride:9", 3, 4), (Pages{0, 1, 2, 0}));
}

TEST(SyntheticSourceTest, APassComesWhenItIsDueAndGoesOnWhereItStopped) {
  EXPECT_EQ(pages_of("loop:2+scan:3/4", 8, 16),
            (Pages{0, 1, 0, 1, 0, 1, 2, 0, 1, 0, 1, 3, 4, 5, 0, 1}));
  // Two that are due at once follow each other; without a length a scan is of everything.
  EXPECT_EQ(pages_of("loop:1+scan/2+stride:2/2", 4, 10), (Pages{0, 0, 0, 1, 2, 3, 0, 2, 0, 0}));
}

TEST(SyntheticSourceTest, MixedPartsTakeTurnsByWeight) {
  const Pages pages = pages_of("loop:1*3+scan", 1'000'000, 40'000);
  const auto zeros = std::count(pages.begin(), pages.end(), 0U);
  EXPECT_NEAR(static_cast<double>(zeros), 30'000, 600);
  EXPECT_EQ(*std::max_element(pages.begin(), pages.end()), 40'000 - zeros);
}

TEST(SyntheticSourceTest, StoresAreTheShareThatWasAskedFor) {
  for (const std::uint32_t percent : {0U, 30U, 100U}) {
    SyntheticSource source({.workload = parse_workload("uniform").value(),
                            .pages = 100,
                            .accesses = 50'000,
                            .store_percent = percent,
                            .seed = testing::test_seed()});
    std::vector<PageAccess> accesses(50'000);
    FootprintSurvey survey(source.page_span());
    survey.add(std::span(accesses).first(source.next(accesses)));
    EXPECT_NEAR(static_cast<double>(survey.stores()), 500.0 * percent,
                percent % 100 == 0 ? 0 : 700);
    EXPECT_EQ(survey.accesses(), 50'000U);
    EXPECT_EQ(survey.pages(), 100U);
  }
}

TEST(SyntheticSourceTest, TheSameSeedGivesTheSameAgainAndAnotherDoesNot) {
  SyntheticOptions options{.workload = parse_workload("zipf+uniform+scan/100").value(),
                           .pages = 10'000,
                           .accesses = 5'000,
                           .store_percent = 10,
                           .seed = testing::test_seed()};
  SyntheticSource source(options);
  std::vector<PageAccess> first(options.accesses);
  std::vector<PageAccess> second(options.accesses);
  EXPECT_EQ(source.next(first), options.accesses);
  EXPECT_EQ(source.next(second), 0U);
  source.rewind();
  // In pieces: their size must not matter.
  for (std::size_t at = 0; at < second.size(); at += 499) {
    const std::size_t piece = std::min<std::size_t>(499, second.size() - at);
    EXPECT_EQ(source.next(std::span(second).subspan(at, piece)), piece);
  }
  EXPECT_EQ(first, second);
  const Pages pages = pages_of(options);
  ++options.seed;
  EXPECT_NE(pages_of(options), pages);
}

// Goal:   ranks come in proportion to 1 / rank^theta, for exponents below, at and above 1.
// Method: a chi-squared test against exact weights, ranks from 50 on in groups of powers of two.
TEST(ZipfDrawTest, RanksComeInProportionToTheirWeights) {
  constexpr std::uint64_t kCount = 1000;
  constexpr std::uint64_t kDraws = 200'000;
  const auto cell_of = [](std::uint64_t rank) -> std::size_t {
    return rank < 50 ? rank : 50 + static_cast<std::size_t>(std::log2(static_cast<double>(rank)));
  };
  for (const double theta : {0.0, 0.5, 0.99, 1.0, 1.2, 2.0}) {
    Prng random(testing::test_seed());
    const ZipfDraw draw(kCount, theta);
    std::vector<double> seen(64);
    std::vector<double> expected(64);
    double weights = 0;
    for (std::uint64_t rank = 1; rank <= kCount; ++rank) {
      weights += std::pow(static_cast<double>(rank), -theta);
    }
    for (std::uint64_t rank = 1; rank <= kCount; ++rank) {
      expected[cell_of(rank)] +=
          std::pow(static_cast<double>(rank), -theta) / weights * static_cast<double>(kDraws);
    }
    for (std::uint64_t i = 0; i < kDraws; ++i) {
      const std::uint64_t rank = draw(random);
      ASSERT_GE(rank, 1U);
      ASSERT_LE(rank, kCount);
      ++seen[cell_of(rank)];
    }
    double chi_squared = 0;
    for (std::size_t i = 0; i < seen.size(); ++i) {
      if (expected[i] > 0) {
        chi_squared += (seen[i] - expected[i]) * (seen[i] - expected[i]) / expected[i];
      }
    }
    // 53 degrees of freedom: beyond 120 once in five million seeds.
    EXPECT_LT(chi_squared, 120) << "theta = " << theta;
  }
}

TEST(ZipfDrawTest, FewRanksAndHugeCountsAreFine) {
  Prng random(testing::test_seed());
  const ZipfDraw one(1, 0.99);
  const ZipfDraw steep(1'000'000, kZipfThetaMax);
  const ZipfDraw wide(kSimulatedPagesMax, 0.01);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(one(random), 1U);
    EXPECT_LE(steep(random), 20U);
    EXPECT_LE(wide(random), kSimulatedPagesMax);
  }
}

// Goal:   ranks are scattered one to one: as many pages as ranks, and hot ones not side by side.
// Method: theta 0 draws every rank; the hottest pages of 0.99 are compared with their neighbours.
TEST(SyntheticSourceTest, RanksAreScatteredOneToOne) {
  for (const std::uint32_t count : {1U, 2U, 3U, 97U, 1024U}) {
    const Pages pages = pages_of("zipf:0", count, std::uint64_t{30} * count);
    const std::set<std::uint32_t> different(pages.begin(), pages.end());
    EXPECT_EQ(different.size(), count);
    EXPECT_LT(*different.rbegin(), count);
  }
  std::vector<std::uint64_t> drawn(10'000);
  for (const std::uint32_t page : pages_of("zipf", 10'000, 100'000)) {
    ++drawn[page];
  }
  int hot = 0;
  for (std::size_t page = 0; page + 1 < drawn.size(); ++page) {
    if (drawn[page] > 500) {
      ++hot;
      EXPECT_LT(drawn[page + 1], 500U) << page;
    }
  }
  EXPECT_GT(hot, 10);
}

}  // namespace
}  // namespace quire
