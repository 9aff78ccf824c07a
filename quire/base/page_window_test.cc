// SPDX-License-Identifier: Apache-2.0
//
// Tables that a person can read. What holds for every 64-bit number: page_window_property_test.cc.
#include "quire/base/page_window.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace quire {
namespace {

using literals::operator""_MiB;
using literals::operator""_GiB;
using literals::operator""_TiB;

constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();
constexpr PageSize kPage{4096};

// What can be known at compile time is known at compile time.
static_assert(round_down(4097, kPage) == 4096);
static_assert(round_down(kMax, PageSize(1)) == kMax);
static_assert(round_up(0, kPage) == 0);
static_assert(round_up(1, kPage) == 4096);
static_assert(round_up(4096, kPage) == 4096);
static_assert(round_up(kMax - 4095, kPage) == kMax - 4095);
static_assert(round_up(kMax - 4094, kPage) == kMax - 4095, "saturates at the largest multiple");
static_assert(end_of({.offset_bytes = 5, .length_bytes = 7}) == 12);
static_assert(end_of({.offset_bytes = 5, .length_bytes = kToEnd}) == kMax);
static_assert(end_of(kWholeFile) == kMax);
static_assert(intersect({0, 10}, {5, 10}) == ByteRange{5, 5});
static_assert(intersect({0, 5}, {5, 10}) == ByteRange{5, 0});
static_assert(pages_touched({0, 0}, kPage).value == 0);
static_assert(pages_touched({4095, 2}, kPage).value == 2);
static_assert(pages_touched(kWholeFile, kPage).value == std::uint64_t{1} << 52);
static_assert(PageSize(2_MiB).shift() == 21 && PageSize(2_MiB).mask() == 2_MiB - 1);

// --- make_page_window ---------------------------------------------------------------------------

struct WindowRow {
  const char* name;
  ByteRange wanted;
  PageWindow window;
};

TEST(PageWindowTest, CoversWhatIsWantedWithWholePages) {
  const std::vector<WindowRow> rows{
      {"nothing at the start", {0, 0}, {0, 0, 0, 0}},
      {"nothing inside a page", {5000, 0}, {4096, 0, 0, 0}},
      {"one byte", {0, 1}, {0, 4096, 0, 1}},
      {"the last byte of a page", {4095, 1}, {0, 4096, 4095, 1}},
      {"the first byte of the second page", {4096, 1}, {4096, 4096, 0, 1}},
      {"two bytes over an edge", {4095, 2}, {0, 8192, 4095, 2}},
      {"exactly one page", {4096, 4096}, {4096, 4096, 0, 4096}},
      {"one page and a byte", {4096, 4097}, {4096, 8192, 0, 4097}},
      {"a page's worth at an odd offset", {1, 4096}, {0, 8192, 1, 4096}},
      {"beyond 4 GiB", {4_GiB + 3, 10}, {4_GiB, 4096, 3, 10}},
      {"the last byte of the largest file",
       {kFileOffsetMax - 1, 1},
       {(std::uint64_t{1} << 63) - 4096, 4096, 4094, 1}},
      {"as much as fits the address space", {0, kMapLengthMax}, {0, kMapLengthMax, 0, 128_TiB}},
  };
  for (const WindowRow& row : rows) {
    const Result<PageWindow> window = make_page_window(row.wanted, kPage);
    ASSERT_TRUE(window.has_value()) << row.name;
    EXPECT_EQ(*window, row.window) << row.name;
  }
}

struct RefusalRow {
  const char* name;
  ByteRange wanted;
};

TEST(PageWindowTest, RefusesWhatTheKernelCannotAddress) {
  const std::vector<RefusalRow> rows{
      {"an end past the largest offset", {kFileOffsetMax, 1}},
      {"an offset past the largest offset", {kFileOffsetMax + 1, 1}},
      {"the same with nothing wanted there", {kFileOffsetMax + 1, 0}},
      {"a sum that wraps", {4096, kMax - 100}},
      {"to the end, not yet resolved", {0, kToEnd}},
      {"more than the address space", {0, kMapLengthMax + 1}},
      {"more than the address space, by its skew", {1, kMapLengthMax}},
  };
  for (const RefusalRow& row : rows) {
    const Result<PageWindow> window = make_page_window(row.wanted, kPage);
    ASSERT_FALSE(window.has_value()) << row.name;
    EXPECT_EQ(window.error().code(), Errc::kOutOfRange) << row.name;
  }
}

// --- resolve_range ------------------------------------------------------------------------------

TEST(ResolveRangeTest, KToEndBecomesWhatIsLeft) {
  EXPECT_EQ(resolve_range(kWholeFile, 0), (ByteRange{0, 0}));
  EXPECT_EQ(resolve_range(kWholeFile, 10), (ByteRange{0, 10}));
  EXPECT_EQ(resolve_range({10, kToEnd}, 10), (ByteRange{10, 0}));
  EXPECT_EQ(resolve_range({3, kToEnd}, kMax), (ByteRange{3, kMax - 3}));
}

TEST(ResolveRangeTest, ZeroMeansZero) {
  EXPECT_EQ(resolve_range({0, 0}, 10), (ByteRange{0, 0}));
  EXPECT_EQ(resolve_range({10, 0}, 10), (ByteRange{10, 0}));
}

TEST(ResolveRangeTest, TheErrorSaysWhereTheEndIsAndWhatIsLeft) {
  const Result<ByteRange> too_long = resolve_range({8192, 4096}, 10000);
  ASSERT_FALSE(too_long.has_value());
  EXPECT_EQ(too_long.error().code(), Errc::kOutOfRange);
  EXPECT_EQ(too_long.error().message(),
            "range(offset 8192, 4096 bytes): it ends past the end, at 10000 bytes; "
            "ask for at most 1808 bytes, or for quire::kToEnd");
  const Result<ByteRange> too_far = resolve_range({10001, 0}, 10000);
  ASSERT_FALSE(too_far.has_value());
  EXPECT_EQ(too_far.error().message(),
            "range(offset 10001, 0 bytes): it starts past the end, at 10000 bytes");
}

// --- intersect, pages_touched -------------------------------------------------------------------

TEST(IntersectTest, IsWhatBothContain) {
  EXPECT_EQ(intersect({0, 10}, {3, 4}), (ByteRange{3, 4}));
  EXPECT_EQ(intersect({3, 4}, {0, 10}), (ByteRange{3, 4}));
  EXPECT_EQ(intersect({0, 4}, {8, 4}), (ByteRange{8, 0}));
  EXPECT_EQ(intersect(kWholeFile, {8, 4}), (ByteRange{8, 4}));
  EXPECT_EQ(intersect({5, 0}, {0, 10}), (ByteRange{5, 0}));
}

TEST(PagesTouchedTest, CountsPartialPages) {
  EXPECT_EQ(pages_touched({0, 1}, kPage).value, 1U);
  EXPECT_EQ(pages_touched({0, 4096}, kPage).value, 1U);
  EXPECT_EQ(pages_touched({0, 4097}, kPage).value, 2U);
  EXPECT_EQ(pages_touched({4095, 1}, kPage).value, 1U);
  EXPECT_EQ(pages_touched({4096, 0}, kPage).value, 0U);
  EXPECT_EQ(pages_touched({kMax, 1}, kPage).value, 0U) << "no range holds the byte at 2^64 - 1";
}

// --- inner_pages --------------------------------------------------------------------------------

struct InnerRow {
  const char* name;
  ByteRange range;
  std::uint64_t size_bytes;
  ByteRange inner;
};

TEST(InnerPagesTest, NeverTouchesANeighboursBytes) {
  const std::vector<InnerRow> rows{
      {"less than a page", {100, 1000}, 1_MiB, {4096, 0}},
      {"exactly one page", {4096, 4096}, 1_MiB, {4096, 4096}},
      {"a page less one byte", {4096, 4095}, 1_MiB, {4096, 0}},
      {"a page inside", {4095, 4098}, 1_MiB, {4096, 4096}},
      {"over an edge, no whole page", {4000, 200}, 1_MiB, {4096, 0}},
      {"to the end of the file, which is inside a page", {4096, 904}, 5000, {4096, 4096}},
      {"past the end of the file", {0, 1_MiB}, 5000, {0, 8192}},
      {"one byte short of the end of the file", {4096, 903}, 5000, {4096, 0}},
      {"everything", kWholeFile, 5000, {0, 8192}},
      {"everything of an empty file", kWholeFile, 0, {0, 0}},
      {"all of it past the end of the file", {8192, 4096}, 5000, {8192, 0}},
  };
  for (const InnerRow& row : rows) {
    EXPECT_EQ(inner_pages(row.range, row.size_bytes, kPage), row.inner) << row.name;
  }
}

// --- next_step ----------------------------------------------------------------------------------

std::vector<ByteRange> walk(ByteRange whole, PageSize step) {
  std::vector<ByteRange> pieces;
  for (ByteRange piece = next_step(whole, 0, step); piece.length_bytes != 0;
       piece = next_step(whole, end_of(piece), step)) {
    pieces.push_back(piece);
  }
  return pieces;
}

TEST(NextStepTest, PiecesEndOnMultiplesOfTheStep) {
  EXPECT_EQ(walk({5, 20}, PageSize(8)), (std::vector<ByteRange>{{5, 3}, {8, 8}, {16, 8}, {24, 1}}));
  EXPECT_EQ(walk({8, 16}, PageSize(8)), (std::vector<ByteRange>{{8, 8}, {16, 8}}));
  EXPECT_EQ(walk({9, 2}, PageSize(8)), (std::vector<ByteRange>{{9, 2}}));
  EXPECT_EQ(walk({9, 0}, PageSize(8)), (std::vector<ByteRange>{}));
}

TEST(NextStepTest, GoesToTheEndOfTheNumberLineAndStops) {
  EXPECT_EQ(walk({kMax - 10, kToEnd}, PageSize(8)),
            (std::vector<ByteRange>{{kMax - 10, 3}, {kMax - 7, 7}}));
}

}  // namespace
}  // namespace quire
