// SPDX-License-Identifier: Apache-2.0
//
// What holds for every 64-bit number, checked against 128-bit arithmetic, where nothing can
// overflow: at all pairs of edges and at many random ones. Replay with --seed=N.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <limits>
#include <string>
#include <vector>

#include "quire/base/page_window.h"
#include "quire/base/prng.h"
#include "quire/testing/seed.h"

namespace quire {
namespace {

using literals::operator""_KiB;
using literals::operator""_MiB;
using ::testing::AssertionFailure;
using ::testing::AssertionResult;
using ::testing::AssertionSuccess;

__extension__ using Wide = unsigned __int128;

constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();

// The smallest and the three real sizes, and the largest there can be.
constexpr std::array<std::uint64_t, 5> kPageSizes{1, 4_KiB, 64_KiB, 2_MiB, std::uint64_t{1} << 63};

std::string show(ByteRange range) {
  return "{" + std::to_string(range.offset_bytes) + ", " + std::to_string(range.length_bytes) + "}";
}

// Where mistakes live: around every power of two (page sizes, 2^47 and 2^63 among them) and at both
// ends of the number line.
std::vector<std::uint64_t> edge_values() {
  std::vector<std::uint64_t> values{0, 1, 2, kMax, kMax - 1, kMax - 2};
  for (int k = 1; k < 64; ++k) {
    const std::uint64_t power = std::uint64_t{1} << k;
    values.insert(values.end(), {power - 2, power - 1, power, power + 1, power + 2});
  }
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

// A random number of random size: uniform bits would never be small.
std::uint64_t random_value(Prng& random) {
  return random() >> random.below(64);
}

ByteRange random_range(Prng& random) {
  return {random_value(random), random_value(random)};
}

constexpr int kRandomPairs = 200'000;

// Calls `property(a, b, page)` for every pair of edges and many random pairs, with every page size;
// stops at the first failure.
template <typename Property>
void for_all_pairs(Property&& property) {
  const std::vector<std::uint64_t> edges = edge_values();
  Prng random(testing::test_seed());
  for (const std::uint64_t page_bytes : kPageSizes) {
    const PageSize page(page_bytes);
    for (const std::uint64_t a : edges) {
      for (const std::uint64_t b : edges) {
        ASSERT_TRUE(property(a, b, page)) << "page " << page_bytes;
      }
    }
    for (int i = 0; i < kRandomPairs; ++i) {
      const ByteRange pair = random_range(random);
      ASSERT_TRUE(property(pair.offset_bytes, pair.length_bytes, page)) << "page " << page_bytes;
    }
  }
}

AssertionResult check_that(bool holds, const char* claim, ByteRange input) {
  return holds ? AssertionSuccess()
               : AssertionFailure() << claim << " does not hold for " << show(input);
}

// The end of a range as the number line sees it, cut at its end.
Wide wide_end(ByteRange range) {
  return std::min<Wide>(static_cast<Wide>(range.offset_bytes) + range.length_bytes, kMax);
}

// --- rounding -----------------------------------------------------------------------------------

TEST(RoundingPropertyTest, AgreesWith128BitArithmetic) {
  for_all_pairs([](std::uint64_t value, std::uint64_t, PageSize page) -> AssertionResult {
    const Wide bytes = page.bytes();
    const Wide down = value / bytes * bytes;
    const Wide up = (value + bytes - 1) / bytes * bytes;
    const Wide largest = kMax / bytes * bytes;
    return check_that(round_down(value, page) == down &&
                          round_up(value, page) == std::min(up, largest) &&
                          round_up(value, page) % page.bytes() == 0,
                      "rounding", {value, 0});
  });
}

TEST(EndOfPropertyTest, AgreesWith128BitArithmetic) {
  for_all_pairs([](std::uint64_t offset, std::uint64_t length, PageSize) -> AssertionResult {
    const ByteRange range{offset, length};
    return check_that(end_of(range) == wide_end(range), "end_of", range);
  });
}

// --- make_page_window ---------------------------------------------------------------------------

// The invariants of the header, with nothing that can overflow.
bool is_smallest_cover(const PageWindow& window, ByteRange wanted, PageSize page) {
  const Wide wanted_end = static_cast<Wide>(wanted.offset_bytes) + wanted.length_bytes;
  const Wide map_end = static_cast<Wide>(window.map_offset_bytes) + window.map_length_bytes;
  const bool is_aligned =
      window.map_offset_bytes % page.bytes() == 0 && window.map_length_bytes % page.bytes() == 0;
  if (wanted.length_bytes == 0) {
    return is_aligned && window.map_length_bytes == 0 && window.skew_bytes == 0 &&
           window.length_bytes == 0 && window.map_offset_bytes <= wanted.offset_bytes;
  }
  return is_aligned && window.skew_bytes < page.bytes() &&
         window.map_offset_bytes + window.skew_bytes == wanted.offset_bytes &&
         window.length_bytes == wanted.length_bytes && map_end >= wanted_end &&
         map_end - wanted_end < page.bytes() && window.map_length_bytes <= kMapLengthMax;
}

// Whether any window could hold it.
bool is_addressable(ByteRange wanted, PageSize page) {
  const Wide end = static_cast<Wide>(wanted.offset_bytes) + wanted.length_bytes;
  const Wide start = static_cast<Wide>(wanted.offset_bytes) / page.bytes() * page.bytes();
  const Wide map_length = (end - start + page.bytes() - 1) / page.bytes() * page.bytes();
  return end <= kFileOffsetMax && (wanted.length_bytes == 0 || map_length <= kMapLengthMax);
}

// Goal:   every request either gets the smallest cover or kOutOfRange, and the right one of them.
TEST(PageWindowPropertyTest, IsTheSmallestCoverOrOutOfRange) {
  for_all_pairs([](std::uint64_t offset, std::uint64_t length, PageSize page) -> AssertionResult {
    const ByteRange wanted{offset, length};
    const Result<PageWindow> window = make_page_window(wanted, page);
    if (!window) {
      return check_that(!is_addressable(wanted, page) &&
                            window.error().code() == make_error_code(Errc::kOutOfRange),
                        "refusal", wanted);
    }
    return check_that(is_addressable(wanted, page) && is_smallest_cover(*window, wanted, page),
                      "smallest cover", wanted);
  });
}

// --- resolve_range ------------------------------------------------------------------------------

AssertionResult resolves_rightly(ByteRange wanted, std::uint64_t size_bytes) {
  const Result<ByteRange> range = resolve_range(wanted, size_bytes);
  const Wide length = wanted.length_bytes == kToEnd && wanted.offset_bytes <= size_bytes
                          ? size_bytes - wanted.offset_bytes
                          : wanted.length_bytes;
  const bool fits = static_cast<Wide>(wanted.offset_bytes) + length <= size_bytes;
  const bool is_right =
      range.has_value() == fits &&
      (!fits || (range->offset_bytes == wanted.offset_bytes && range->length_bytes == length));
  return is_right ? AssertionSuccess()
                  : AssertionFailure() << show(wanted) << " in " << size_bytes << " bytes";
}

TEST(ResolveRangePropertyTest, AgreesWith128BitArithmetic) {
  const std::vector<std::uint64_t> edges = edge_values();
  Prng random(testing::test_seed());
  for (const std::uint64_t offset : edges) {
    for (const std::uint64_t length : edges) {
      const std::uint64_t size = edges[random.below(edges.size())];
      ASSERT_TRUE(resolves_rightly({offset, length}, size));
      ASSERT_TRUE(resolves_rightly({offset, length}, end_of({offset, length})));
    }
  }
  for (int i = 0; i < kRandomPairs; ++i) {
    ASSERT_TRUE(resolves_rightly(random_range(random), random_value(random)));
  }
}

// --- intersect, pages_touched -------------------------------------------------------------------

AssertionResult intersects_rightly(ByteRange a, ByteRange b) {
  const Wide start = std::max(a.offset_bytes, b.offset_bytes);
  const Wide end = std::min(wide_end(a), wide_end(b));
  const ByteRange common = intersect(a, b);
  const bool is_right = common == intersect(b, a) && common.offset_bytes == start &&
                        common.length_bytes == (end > start ? end - start : 0);
  return is_right ? AssertionSuccess() : AssertionFailure() << show(a) << " and " << show(b);
}

TEST(IntersectPropertyTest, AgreesWith128BitArithmetic) {
  const std::vector<std::uint64_t> edges = edge_values();
  Prng random(testing::test_seed());
  const auto any_edge = [&] { return edges[random.below(edges.size())]; };
  for (int i = 0; i < 2 * kRandomPairs; ++i) {
    ASSERT_TRUE(intersects_rightly({any_edge(), any_edge()}, {any_edge(), any_edge()}));
    ASSERT_TRUE(intersects_rightly(random_range(random), random_range(random)));
  }
}

TEST(PagesTouchedPropertyTest, AgreesWith128BitArithmetic) {
  for_all_pairs([](std::uint64_t offset, std::uint64_t length, PageSize page) -> AssertionResult {
    const ByteRange range{offset, length};
    const Wide end = wide_end(range);
    const Wide pages = end == offset ? 0 : (end - 1) / page.bytes() - offset / page.bytes() + 1;
    return check_that(pages_touched(range, page).value == pages, "pages_touched", range);
  });
}

// --- inner_pages --------------------------------------------------------------------------------

// Whether the page at `start` holds bytes of the file, and all that it holds are in the range.
bool is_inside(Wide start, ByteRange range, std::uint64_t size_bytes, PageSize page) {
  const Wide last = std::min<Wide>(start + page.bytes(), size_bytes);
  return start < size_bytes && start >= range.offset_bytes && last <= wide_end(range);
}

// Goal:   the result is exactly the pages that are inside.
// Method: pages are inside as one run, so its two ends and their outer neighbours decide. The page
//         whose end is 2^64 cannot be named by a range and is left out.
AssertionResult inner_pages_are_exact(ByteRange range, std::uint64_t size_bytes, PageSize page) {
  const ByteRange inner = inner_pages(range, size_bytes, page);
  const Wide start = inner.offset_bytes;
  const Wide end = start + inner.length_bytes;
  const Wide bytes = page.bytes();
  const bool is_aligned = start % bytes == 0 && end % bytes == 0;
  const bool is_last = end + bytes > kMax;
  const bool ends_right = is_last || !is_inside(end, range, size_bytes, page);
  const bool starts_right = start < bytes || !is_inside(start - bytes, range, size_bytes, page);
  const bool holds = inner.length_bytes == 0 || (is_inside(start, range, size_bytes, page) &&
                                                 is_inside(end - bytes, range, size_bytes, page));
  return is_aligned && ends_right && starts_right && holds
             ? AssertionSuccess()
             : AssertionFailure() << show(range) << " of " << size_bytes << " bytes, page "
                                  << page.bytes() << ": " << show(inner);
}

TEST(InnerPagesPropertyTest, IsExactlyThePagesInside) {
  const std::vector<std::uint64_t> edges = edge_values();
  Prng random(testing::test_seed());
  for (const std::uint64_t page_bytes : kPageSizes) {
    const PageSize page(page_bytes);
    for (const std::uint64_t offset : edges) {
      for (const std::uint64_t length : edges) {
        const ByteRange range{offset, length};
        ASSERT_TRUE(inner_pages_are_exact(range, edges[random.below(edges.size())], page));
        ASSERT_TRUE(inner_pages_are_exact(range, end_of(range), page));
        ASSERT_TRUE(inner_pages_are_exact(range, offset, page));
      }
    }
    for (int i = 0; i < kRandomPairs; ++i) {
      const ByteRange range = random_range(random);
      ASSERT_TRUE(inner_pages_are_exact(range, random_value(random), page));
      // Sizes within a page of the end, on both sides, are where the last page is decided.
      const std::uint64_t near = end_of(range) - page_bytes + random.below(2 * page_bytes + 1);
      ASSERT_TRUE(inner_pages_are_exact(range, near, page));
    }
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

TEST(NextStepPropertyTest, ProgressesByAtMostAStepAndEndsAligned) {
  const std::vector<std::uint64_t> edges = edge_values();
  Prng random(testing::test_seed());
  for_all_pairs([&](std::uint64_t offset, std::uint64_t length, PageSize step) -> AssertionResult {
    const ByteRange whole{offset, length};
    const std::uint64_t position = edges[random.below(edges.size())];
    const ByteRange piece = next_step(whole, position, step);
    const Wide start = std::max(position, offset);
    const Wide end = wide_end(whole);
    if (start >= end) {
      return check_that(piece == ByteRange{end_of(whole), 0}, "the end", whole);
    }
    // The farthest multiple of the step that is at most one step away.
    const Wide stop = (start + step.bytes()) / step.bytes() * step.bytes();
    return check_that(piece.offset_bytes == start && piece.length_bytes > 0 &&
                          piece.length_bytes <= step.bytes() &&
                          start + piece.length_bytes == std::min(stop, end),
                      "the step", whole)
           << " from " << position;
  });
}

TEST(NextStepPropertyTest, AWalkCoversTheRangeExactlyOnce) {
  constexpr std::uint64_t kStepsMax = 20;
  Prng random(testing::test_seed());
  for (int i = 0; i < 20'000; ++i) {
    const PageSize step(std::uint64_t{1} << random.below(59));  // 20 steps still fit 64 bits.
    const ByteRange whole{random_value(random), random.below(kStepsMax * step.bytes())};
    std::uint64_t position = whole.offset_bytes;
    const std::vector<ByteRange> pieces = walk(whole, step);
    ASSERT_LE(pieces.size(), kStepsMax + 1) << show(whole) << " step " << step.bytes();
    for (const ByteRange& piece : pieces) {
      ASSERT_EQ(piece.offset_bytes, position) << show(whole) << " step " << step.bytes();
      position = end_of(piece);
    }
    ASSERT_EQ(position, end_of(whole)) << show(whole) << " step " << step.bytes();
  }
}

}  // namespace
}  // namespace quire
