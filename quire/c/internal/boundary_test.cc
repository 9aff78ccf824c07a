// SPDX-License-Identifier: Apache-2.0
#include "quire/c/internal/boundary.h"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

// Published with 8 bytes; grew to 16 and 24.
struct GrowingOptions {
  std::uint32_t struct_size = 0;
  std::uint32_t first = 0;
  std::uint64_t second = 0;
  std::uint64_t third = 0;
};

template <>
inline constexpr std::size_t quire::c::kFirstVersionBytes<GrowingOptions> = 8;

namespace quire::c {
namespace {

struct LaterOptions {
  GrowingOptions known;
  std::uint64_t fourth = 0;
};

quire_error fresh_error() {
  quire_error error{};
  error.struct_size = sizeof(error);
  return error;
}

// Goal:   a program that was built when the structure was shorter gets defaults for the rest, and
//         nothing beyond its own structure is read.
// Method: put other bytes behind it.
TEST(BoundaryTest, OptionsOfAnEarlierVersionHaveZerosForWhatCameLater) {
  for (const std::uint32_t size : {8U, 12U, 16U, 24U}) {
    GrowingOptions given{.struct_size = size, .first = 1, .second = ~0ULL, .third = 3};
    const Result<GrowingOptions> read = read_options("test", "options", &given);
    ASSERT_TRUE(read) << size;
    EXPECT_EQ(read->first, 1U);
    EXPECT_EQ(read->second, size == 8 ? 0 : size == 12 ? 0xFFFFFFFFULL : ~0ULL) << size;
    EXPECT_EQ(read->third, size == 24 ? 3U : 0U) << size;
  }
}

TEST(BoundaryTest, OptionsOfALaterVersionAreRefusedOnlyWhenTheyAskForWhatIsNew) {
  LaterOptions given{.known = {.struct_size = sizeof(LaterOptions), .third = 3}, .fourth = 0};
  ASSERT_TRUE(read_options("test", "options", &given.known));
  EXPECT_EQ(read_options("test", "options", &given.known)->third, 3U);
  given.fourth = 1;
  const Result<GrowingOptions> refused = read_options("test", "options", &given.known);
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error().code() == Errc::kUnsupported);
}

TEST(BoundaryTest, SizesThatNoVersionHadAreRefused) {
  for (const std::uint32_t size : {0U, 7U, kStructBytesMax + 1, ~0U}) {
    const GrowingOptions given{.struct_size = size};
    const Result<GrowingOptions> refused = read_options("test", "options", &given);
    ASSERT_FALSE(refused) << size;
    EXPECT_EQ(refused.error().code().value(), EINVAL);
    EXPECT_FALSE(check_results("test", "results", &given)) << size;
  }
}

TEST(BoundaryTest, NullOptionsAreDefaults) {
  const GrowingOptions* none = nullptr;
  ASSERT_TRUE(read_options("test", "options", none));
  EXPECT_EQ(read_options("test", "options", none)->third, 0U);
}

TEST(BoundaryTest, ResultsAreWrittenAsFarAsTheCallerKnowsThem) {
  GrowingOptions into{.struct_size = 16, .first = 7, .second = 7, .third = 7};
  write_results(GrowingOptions{.struct_size = 0, .first = 1, .second = 2, .third = 3}, &into);
  EXPECT_EQ(into.struct_size, 16U);
  EXPECT_EQ(into.first, 1U);
  EXPECT_EQ(into.second, 2U);
  EXPECT_EQ(into.third, 7U);
}

TEST(BoundaryTest, ResultsThatOnlyALaterVersionKnowsAreZero) {
  LaterOptions into{.known = {.struct_size = sizeof(LaterOptions)}, .fourth = 7};
  write_results(GrowingOptions{.third = 3}, &into.known);
  EXPECT_EQ(into.known.third, 3U);
  EXPECT_EQ(into.fourth, 0U);
}

TEST(BoundaryTest, NoMemoryIsACodeAndASentence) {
  quire_error error = fresh_error();
  const quire_code code =
      run("work", &error, [](const char*) -> Result<void> { throw std::bad_alloc(); });
  EXPECT_EQ(code, -ENOMEM);
  EXPECT_EQ(error.code, -ENOMEM);
  EXPECT_EQ(error.system_errno, ENOMEM);
  EXPECT_STREQ(error.message, "work(): no memory for it (ENOMEM)");
  EXPECT_EQ(run("work", nullptr, [](const char*) -> Result<void> { throw std::bad_alloc(); }),
            -ENOMEM);
}

TEST(BoundaryTest, NoMemoryForAHandleOrATextLeavesNone) {
  int* handle = nullptr;
  int before = 0;
  handle = &before;
  const auto make = [](const char*) -> Result<int> { throw std::bad_alloc(); };
  EXPECT_EQ(make_handle("make", "handle", &handle, nullptr, make), -ENOMEM);
  EXPECT_EQ(handle, nullptr);
  std::array<char, 8> text{"before"};
  const auto explain = []() -> std::string { throw std::bad_alloc(); };
  EXPECT_EQ(give_text(text.data(), text.size(), explain), 0U);
  EXPECT_STREQ(text.data(), "");
}

TEST(BoundaryTest, AnErrorIsToldWhole) {
  quire_error error = fresh_error();
  const Error from = make_error(Errc::kLimit, "work", "thing", "it is too much", "ask for less");
  EXPECT_EQ(tell(from, &error), QUIRE_ERROR_LIMIT);
  EXPECT_EQ(error.system_errno, 0);
  EXPECT_STREQ(error.message, "work(thing): it is too much; ask for less");
  EXPECT_STREQ(error.remedy, "ask for less");
}

// Position by position, through characters of one to four bytes.
TEST(BoundaryTest, TextsAreCutBetweenCharacters) {
  const std::string text = "a\u00e4\u20ac\U0001F600";
  const std::array<std::size_t, 11> whole = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10};
  for (std::size_t room = 0; room < whole.size(); ++room) {
    std::array<char, 16> into{};
    into.fill('#');
    copy_text(text, std::span(into).first(room + 1));
    EXPECT_EQ(std::string(into.data()), text.substr(0, whole.at(room))) << room;
    EXPECT_EQ(into.at(room + 1), '#');
  }
}

}  // namespace
}  // namespace quire::c
