// SPDX-License-Identifier: Apache-2.0
#include "quire/base/check.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>

namespace quire {
namespace {

enum class Colour : std::uint8_t { kRed = 3, kGreen = 4 };

TEST(CheckTest, AHoldingCheckDoesNothing) {
  QUIRE_CHECK(1 + 1 == 2);
  QUIRE_CHECK_EQ(1, 1);
  QUIRE_CHECK_NE(1, 2);
  QUIRE_CHECK_LT(1, 2);
  QUIRE_CHECK_LE(2, 2);
  QUIRE_CHECK_GT(2, 1);
  QUIRE_CHECK_GE(2, 2);
}

TEST(CheckTest, OperandsAreEvaluatedOnce) {
  int evaluations = 0;
  QUIRE_CHECK(++evaluations == 1);
  QUIRE_CHECK_EQ(++evaluations, 2);
  QUIRE_CHECK_LT(0, ++evaluations);
  EXPECT_EQ(evaluations, 3);
}

// A check is one statement: it may stand between if and else.
TEST(CheckTest, IsOneStatement) {
  const bool never = false;
  if (never)
    QUIRE_CHECK_EQ(1, 2);
  else
    QUIRE_CHECK(true);
}

TEST(CheckDeathTest, PrintsPlaceAndCondition) {
  const int answer = 41;
  EXPECT_DEATH(QUIRE_CHECK(answer == 42), "check_test\\.cc:[0-9]+: check failed: answer == 42\n");
}

TEST(CheckDeathTest, PrintsBothValues) {
  const int small = -3;
  const std::uint64_t large = std::numeric_limits<std::uint64_t>::max();
  EXPECT_DEATH(QUIRE_CHECK_EQ(small, 4), "check failed: small == 4 \\(-3, 4\\)\n");
  EXPECT_DEATH(QUIRE_CHECK_NE(large, large), "\\(18446744073709551615, 18446744073709551615\\)");
  EXPECT_DEATH(QUIRE_CHECK_LT(5, small), "5 < small \\(5, -3\\)");
  EXPECT_DEATH(QUIRE_CHECK_LE(5, small), "5 <= small \\(5, -3\\)");
  EXPECT_DEATH(QUIRE_CHECK_GT(small, 5), "small > 5 \\(-3, 5\\)");
  EXPECT_DEATH(QUIRE_CHECK_GE(small, 5), "small >= 5 \\(-3, 5\\)");
}

TEST(CheckDeathTest, PrintsTheMostNegativeNumber) {
  const std::int64_t lowest = std::numeric_limits<std::int64_t>::min();
  EXPECT_DEATH(QUIRE_CHECK_EQ(lowest, 0), "\\(-9223372036854775808, 0\\)");
}

TEST(CheckDeathTest, PrintsEnumeratorsBoolsAndPointersAsNumbers) {
  const Colour colour = Colour::kRed;
  EXPECT_DEATH(QUIRE_CHECK_EQ(colour, Colour::kGreen), "\\(3, 4\\)");
  EXPECT_DEATH(QUIRE_CHECK_EQ(true, false), "\\(1, 0\\)");
  const int* pointer = nullptr;
  EXPECT_DEATH(QUIRE_CHECK_NE(pointer, nullptr), "\\(0, 0\\)");
}

// Goal:   a line that is too long is cut, ends as a line, and overruns nothing.
TEST(CheckDeathTest, AnEndlessConditionIsCut) {
  const std::string condition(2000, 'x');
  EXPECT_DEATH(internal::check_failed(condition.c_str(), "file.cc", 7), "x\n$");
  EXPECT_DEATH(internal::check_failed(condition.c_str(), "file.cc", 7, {}, {}), "x\n$");
}

// Goal:   a price class that is switched off compiles its condition and never runs it.
TEST(CheckTest, ASwitchedOffCheckIsCompiledButNotEvaluated) {
  int evaluations = 0;
  QUIRE_CHECK_IF(false, QUIRE_CHECK(++evaluations < 0));
  EXPECT_EQ(evaluations, 0);
  QUIRE_CHECK_IF(true, QUIRE_CHECK(++evaluations > 0));
  EXPECT_EQ(evaluations, 1);
}

TEST(CheckTest, DebugChecksFollowNdebugAndSlowOnesTheirSwitch) {
#ifdef NDEBUG
  EXPECT_FALSE(kDebugChecks);
#else
  EXPECT_TRUE(kDebugChecks);
#endif
  int evaluations = 0;
  QUIRE_DCHECK(++evaluations > 0);
  QUIRE_DCHECK_EQ(++evaluations, 2);
  QUIRE_DCHECK_LT(0, ++evaluations);
  QUIRE_DCHECK_LE(0, ++evaluations);
  EXPECT_EQ(evaluations, kDebugChecks ? 4 : 0);
  int slow_evaluations = 0;
  QUIRE_DCHECK_SLOW(++slow_evaluations > 0);
  EXPECT_EQ(slow_evaluations, kSlowChecks ? 1 : 0);
}

TEST(CheckDeathTest, DebugChecksDieInDebugBuildsOnly) {
  EXPECT_DEBUG_DEATH(QUIRE_DCHECK(false), "check failed: false");
  EXPECT_DEBUG_DEATH(QUIRE_DCHECK_EQ(1, 2), "\\(1, 2\\)");
}

}  // namespace
}  // namespace quire
