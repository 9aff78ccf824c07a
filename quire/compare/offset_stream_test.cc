// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/offset_stream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <vector>

#include "quire/testing/seed.h"

namespace quire::compare {
namespace {

using testing::test_seed;

TEST(PermutationTest, HitsEachIndexOnce) {
  for (const std::uint64_t count : {1u, 2u, 3u, 4u, 5u, 63u, 64u, 65u, 1000u, 4096u, 99'991u}) {
    const Permutation permutation(count, test_seed());
    std::vector<bool> hit(count, false);
    for (std::uint64_t index = 0; index < count; ++index) {
      const std::uint64_t to = permutation(index);
      ASSERT_LT(to, count);
      ASSERT_FALSE(hit[to]) << "count " << count << ", twice " << to;
      hit[to] = true;
    }
  }
}

TEST(PermutationTest, NeighboursAreScattered) {
  const Permutation permutation(100'000, test_seed());
  int neighbours = 0;
  for (std::uint64_t index = 0; index + 1 < 1000; ++index) {
    const auto a = static_cast<double>(permutation(index));
    const auto b = static_cast<double>(permutation(index + 1));
    neighbours += std::abs(a - b) < 100 ? 1 : 0;
  }
  EXPECT_LT(neighbours, 50);  // Of 999; by chance about two.
}

// Goal:   rank r is drawn in proportion to (r + 1)^-0.99.
// Method: counts against the exact distribution; a fixed seed, since a bound on chance fails some.
TEST(ZipfRanksTest, FrequenciesAreThoseOfTheDistribution) {
  constexpr std::uint64_t kCount = 1000;
  constexpr int kDraws = 400'000;
  double zeta = 0;
  for (std::uint64_t rank = 1; rank <= kCount; ++rank) {
    zeta += std::pow(static_cast<double>(rank), -kZipfExponent);
  }
  const ZipfRanks ranks(kCount);
  Prng prng(7);
  std::vector<int> drawn(kCount, 0);
  for (int i = 0; i < kDraws; ++i) {
    const std::uint64_t rank = ranks.draw(prng);
    ASSERT_LT(rank, kCount);
    ++drawn[rank];
  }
  // The first two ranks are exact; the rest is the paper's approximation, good to some percent.
  for (const std::uint64_t rank : {std::uint64_t{0}, std::uint64_t{1}}) {
    const double expected = kDraws / zeta * std::pow(static_cast<double>(rank + 1), -kZipfExponent);
    EXPECT_NEAR(drawn[rank], expected, expected * 0.03) << rank;
  }
  const auto first_tenth = std::accumulate(drawn.begin(), drawn.begin() + kCount / 10, 0.0);
  double expected_tenth = 0;
  for (std::uint64_t rank = 1; rank <= kCount / 10; ++rank) {
    expected_tenth += std::pow(static_cast<double>(rank), -kZipfExponent) / zeta * kDraws;
  }
  EXPECT_NEAR(first_tenth, expected_tenth, expected_tenth * 0.05);
}

TEST(ZipfRanksTest, SmallestCountsStayInside) {
  Prng prng(test_seed());
  for (const std::uint64_t count : {1u, 2u, 3u}) {
    const ZipfRanks ranks(count);
    for (int i = 0; i < 1000; ++i) {
      ASSERT_LT(ranks.draw(prng), count);
    }
  }
}

TEST(DrawPagesTest, SameSeedSamePages) {
  const OffsetRequest request{
      .page_count = 5000, .skew = Skew::kZipf, .draws = 1000, .seed = 3, .hot_seed = 9};
  EXPECT_EQ(draw_pages(request), draw_pages(request));
  OffsetRequest other = request;
  other.seed = 4;
  EXPECT_NE(draw_pages(request), draw_pages(other));
}

TEST(DrawPagesTest, UniformPagesAreInsideAndSpread) {
  const auto pages = draw_pages({.page_count = 16, .draws = 16'000, .seed = test_seed()});
  std::map<std::uint32_t, int> counts;
  for (const std::uint32_t page : pages) {
    ASSERT_LT(page, 16u);
    ++counts[page];
  }
  for (std::uint32_t page = 0; page < 16; ++page) {
    EXPECT_GT(counts[page], 700) << page;  // 1000 expected, ten standard deviations below.
  }
}

// Which page is hot is the run's choice, not the round's: or no cache could ever help.
TEST(DrawPagesTest, HotPageStaysHotInAnotherRound) {
  const auto hottest = [](std::uint64_t seed) {
    std::map<std::uint32_t, int> counts;
    for (const std::uint32_t page : draw_pages({.page_count = 100'000,
                                                .skew = Skew::kZipf,
                                                .draws = 50'000,
                                                .seed = seed,
                                                .hot_seed = 5})) {
      ++counts[page];
    }
    return std::max_element(counts.begin(), counts.end(),
                            [](const auto& a, const auto& b) { return a.second < b.second; })
        ->first;
  };
  EXPECT_EQ(hottest(1), hottest(2));
}

}  // namespace
}  // namespace quire::compare
