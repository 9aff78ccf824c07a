// SPDX-License-Identifier: Apache-2.0
#include "quire/compare/internal/numbers.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "quire/base/units.h"

namespace quire::compare::internal {
namespace {

TEST(NumbersTest, ThreeFiguresAreThreeWhateverTheSize) {
  EXPECT_EQ(three_figures(0.000532), "0.000532");
  EXPECT_EQ(three_figures(0.042), "0.0420");
  EXPECT_EQ(three_figures(8.414), "8.41");
  EXPECT_EQ(three_figures(31), "31.0");
  EXPECT_EQ(three_figures(312.4), "312");
  EXPECT_EQ(three_figures(1912), "1,910");
  EXPECT_EQ(three_figures(52480), "52,500");
  EXPECT_EQ(three_figures(1234567), "1,230,000");
}

TEST(NumbersTest, RoundingThatAddsADigitTakesOneFromTheOtherEnd) {
  EXPECT_EQ(three_figures(9.996), "10.0");
  EXPECT_EQ(three_figures(99.96), "100");
  EXPECT_EQ(three_figures(999.6), "1,000");
  EXPECT_EQ(three_figures(0.9996), "1.00");
}

TEST(NumbersTest, WhatIsNoNumberIsWrittenAsUnknown) {
  for (const double value : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    EXPECT_EQ(three_figures(value), kUnknown);
    EXPECT_EQ(duration_text(value), kUnknown);
    EXPECT_EQ(factor_text(value), kUnknown);
    EXPECT_EQ(percent_text(value), kUnknown);
  }
  EXPECT_EQ(bytes_text(std::nullopt), kUnknown);
  EXPECT_EQ(three_figures(0), "0");
}

TEST(NumbersTest, UnitsFollowTheSize) {
  EXPECT_EQ(rate_text(31), "31.0 MiB/s");
  EXPECT_EQ(rate_text(1912), "1.87 GiB/s");
  EXPECT_EQ(operations_text(7930, "reads"), "7,930 reads/s");
  EXPECT_EQ(operations_text(1.2e6, "reads"), "1.20 million reads/s");
  EXPECT_EQ(duration_text(410), "410 ns");
  EXPECT_EQ(duration_text(82e3), "82.0 us");
  EXPECT_EQ(duration_text(1.3e6), "1.30 ms");
  EXPECT_EQ(duration_text(2.1e9), "2.10 s");
  EXPECT_EQ(size_text(1_GiB), "1 GiB");
  EXPECT_EQ(size_text(1536_MiB), "1.5 GiB");
  EXPECT_EQ(count_text(1234567), "1,234,567");
}

TEST(NumbersTest, FactorsGetAsManyFiguresAsTheyDeserve) {
  EXPECT_EQ(factor_text(1.254), "1.25");
  EXPECT_EQ(factor_text(6.43), "6.4");
  EXPECT_EQ(factor_text(12.4), "12");
  EXPECT_EQ(factor_text(3400), "3,400");
  EXPECT_EQ(percent_text(0.004), "0.4 %");
  EXPECT_EQ(percent_text(0.12), "12 %");
  EXPECT_EQ(percent_text(20), "2,000 %");
}

TEST(NumbersTest, ListsAreJoinedAsPeopleSpeak) {
  EXPECT_EQ(join_text({}), "");
  EXPECT_EQ(join_text({"a"}), "a");
  EXPECT_EQ(join_text({"a", "b"}), "a and b");
  EXPECT_EQ(join_text({"a", "b", "c"}), "a, b and c");
}

}  // namespace
}  // namespace quire::compare::internal
