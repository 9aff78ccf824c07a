// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/bar.h"

#include <gtest/gtest.h>

#include <limits>
#include <numeric>
#include <vector>

#include "quire/base/prng.h"
#include "quire/testing/seed.h"

namespace quire::cli {
namespace {

constexpr double kAlmostNothing = 1e-9;
constexpr double kAlmostAll = 1 - 1e-9;

TEST(BarTest, NothingAndAllAreShownOnlyWhenTheyAreTrue) {
  const std::vector<double> shares{0, kAlmostNothing, 0.5, kAlmostAll, 1};
  EXPECT_EQ(render_bar(shares, Charset::kAscii), "| .:+#|");
  EXPECT_EQ(render_bar(shares, Charset::kUtf8), "\u2595 \u2581\u2584\u2587\u2588\u258f");
}

TEST(BarTest, HeightsRiseWithTheShare) {
  std::string last;
  for (int eighth = 0; eighth <= 8; ++eighth) {
    const std::vector<double> shares{eighth / 8.0};
    const std::string bar = render_bar(shares, Charset::kUtf8);
    EXPECT_GE(bar, last);  // The blocks are in the order of their code points; blank comes first.
    last = bar;
  }
}

TEST(BarTest, AShareThatIsNoNumberIsBlank) {
  const std::vector<double> shares{std::numeric_limits<double>::quiet_NaN(), -1, 2};
  EXPECT_EQ(render_bar(shares, Charset::kAscii), "|  #|");
}

TEST(BarTest, UnknownAndEmptyAreWordsAndNotBars) {
  EXPECT_EQ(render_unknown_bar(11, Charset::kAscii), "|  unknown  |");
  EXPECT_EQ(render_empty_bar(9, Charset::kAscii), "|  empty  |");
  EXPECT_EQ(render_unknown_bar(3, Charset::kAscii), "|unk|");
}

// Goal:   resampling neither loses nor invents: the mean stays, all stays all, nothing nothing.
// Method: random shares and sizes, compared with the mean.
TEST(BarTest, ResamplingKeepsTheMean) {
  Prng random(testing::test_seed());
  for (int round = 0; round < 2000; ++round) {
    std::vector<double> shares(1 + random.below(50));
    for (double& share : shares) {
      share = static_cast<double>(random.below(1001)) / 1000;
    }
    const std::size_t cells = 1 + random.below(50);
    const std::vector<double> stretched = resample(shares, cells);
    ASSERT_EQ(stretched.size(), cells);
    const auto mean = [](const std::vector<double>& values) {
      return std::accumulate(values.begin(), values.end(), 0.0) /
             static_cast<double>(values.size());
    };
    EXPECT_NEAR(mean(stretched), mean(shares), 1e-9);
  }
  EXPECT_EQ(resample(std::vector<double>(7, 1.0), 30), std::vector<double>(30, 1.0));
  EXPECT_EQ(resample(std::vector<double>{}, 3), std::vector<double>(3, 0.0));
}

TEST(BarTest, ResamplingToFewerCellsKeepsASinglePageVisible) {
  std::vector<double> shares(1000, 0.0);
  shares[500] = 1;
  const std::string bar = render_bar(resample(shares, 10), Charset::kAscii);
  EXPECT_EQ(bar, "|     .    |");
}

}  // namespace
}  // namespace quire::cli
