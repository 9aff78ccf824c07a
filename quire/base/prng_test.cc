// SPDX-License-Identifier: Apache-2.0
#include "quire/base/prng.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <vector>

#include "quire/testing/seed.h"

namespace quire {
namespace {

// The published algorithms once more, as their authors write them, to compare with.
struct SplitMix64 {
  std::uint64_t x = 0;

  std::uint64_t next() {
    std::uint64_t z = (x += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
};

struct Xoshiro256StarStar {
  std::uint64_t s[4];

  static std::uint64_t rotl(std::uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

  std::uint64_t next() {
    const std::uint64_t result = rotl(s[1] * 5, 7) * 9;
    const std::uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
  }
};

// The comparison is worth something only if the reference itself is right.
TEST(PrngTest, TheReferenceGivesThePublishedVectors) {
  SplitMix64 mix{1234567};
  for (const std::uint64_t expected :
       {6457827717110365317U, 3203168211198807973U, 9817491932198370423U, 4593380528125082431U,
        16408922859458223821U}) {
    EXPECT_EQ(mix.next(), expected);
  }
  Xoshiro256StarStar xoshiro{{1, 2, 3, 4}};
  for (const std::uint64_t expected :
       {std::uint64_t{11520}, std::uint64_t{0}, std::uint64_t{1509978240}, 1215971899390074240U,
        1216172134540287360U, 607988272756665600U, 16172922978634559625U, 8476171486693032832U,
        10595114339597558777U, 2904607092377533576U}) {
    EXPECT_EQ(xoshiro.next(), expected);
  }
}

TEST(PrngTest, IsXoshiro256StarStarSeededBySplitMix64) {
  for (const std::uint64_t seed : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1234567},
                                   ~std::uint64_t{0}, testing::test_seed()}) {
    SplitMix64 mix{seed};
    Xoshiro256StarStar reference{{mix.next(), mix.next(), mix.next(), mix.next()}};
    Prng random(seed);
    for (int i = 0; i < 1000; ++i) {
      ASSERT_EQ(random(), reference.next()) << "seed " << seed << ", number " << i;
    }
  }
}

TEST(PrngTest, EqualSeedsGiveEqualNumbersAlsoAtCompileTime) {
  constexpr std::uint64_t kThird = [] {
    Prng random(42);
    random();
    random();
    return random();
  }();
  Prng random(42);
  random();
  random();
  EXPECT_EQ(random(), kThird);
}

TEST(PrngTest, BelowStaysBelowWhateverTheBound) {
  Prng random(testing::test_seed());
  for (int shift = 0; shift < 64; ++shift) {
    for (const std::uint64_t bound : {std::uint64_t{1} << shift, (std::uint64_t{2} << shift) - 1}) {
      for (int i = 0; i < 1000; ++i) {
        ASSERT_LT(random.below(bound), bound);
      }
    }
  }
}

// Goal:   each of ten numbers comes up a tenth of the time.
// Method: chi-squared over 100,000 draws; 9 degrees of freedom exceed 60 once in 10^9 runs.
TEST(PrngTest, BelowIsRoughlyUniform) {
  constexpr int kDraws = 100'000;
  constexpr int kKinds = 10;
  Prng random(testing::test_seed());
  std::array<int, kKinds> counts{};
  for (int i = 0; i < kDraws; ++i) {
    ++counts.at(random.below(kKinds));
  }
  const double expected = static_cast<double>(kDraws) / kKinds;
  double chi_squared = 0;
  for (const int count : counts) {
    chi_squared += (count - expected) * (count - expected) / expected;
  }
  EXPECT_LT(chi_squared, 60);
}

TEST(PrngTest, ShufflesLikeAStandardGenerator) {
  std::vector<int> shuffled(100);
  std::iota(shuffled.begin(), shuffled.end(), 0);
  const std::vector<int> sorted = shuffled;
  std::shuffle(shuffled.begin(), shuffled.end(), Prng(testing::test_seed()));
  EXPECT_NE(shuffled, sorted);
  EXPECT_TRUE(std::is_permutation(shuffled.begin(), shuffled.end(), sorted.begin()));
}

TEST(PrngDeathTest, BelowNothingDiesInDebugBuilds) {
  Prng random(1);
  EXPECT_DEBUG_DEATH(static_cast<void>(random.below(0)), "bound > 0");
}

}  // namespace
}  // namespace quire
