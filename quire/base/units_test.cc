// SPDX-License-Identifier: Apache-2.0
#include "quire/base/units.h"

#include <gtest/gtest.h>

#include <vector>

namespace quire {
namespace {

using literals::operator""_KiB;
using literals::operator""_MiB;
using literals::operator""_GiB;
using literals::operator""_TiB;

static_assert(1_KiB == 1024 && 1_MiB == 1024_KiB && 1_GiB == 1024_MiB && 1_TiB == 1024_GiB);
static_assert(ByteRange{} == kWholeFile);
static_assert(PageCount{1} < PageCount{2});
static_assert(PageSize(4096).shift() == 12 && PageSize(4096).mask() == 4095);

struct HumanRow {
  std::uint64_t bytes;
  const char* text;
};

TEST(HumanBytesTest, ScalesByPowersOf1024) {
  const std::vector<HumanRow> rows{
      {0, "0 B"},
      {1, "1 B"},
      {1023, "1023 B"},
      {1024, "1.0 KiB"},
      {1025, "1.0 KiB"},
      {1536, "1.5 KiB"},
      {4096, "4.0 KiB"},
      {1_MiB - 1, "1.0 MiB"},
      {1_MiB, "1.0 MiB"},
      {10000, "9.8 KiB"},
      {17_GiB + 300_MiB, "17.3 GiB"},
      {1_TiB, "1.0 TiB"},
      {1024_TiB, "1.0 PiB"},
      {std::uint64_t{1} << 60, "1.0 EiB"},
      {(std::uint64_t{1} << 63) - 1, "8.0 EiB"},
      {std::numeric_limits<std::uint64_t>::max(), "16.0 EiB"},
  };
  for (const HumanRow& row : rows) {
    EXPECT_EQ(human_bytes(row.bytes), row.text) << row.bytes;
  }
}

// Goal:   no unit ever shows "1024.0", whatever is rounded: 1023.95 is where one decimal steps up.
TEST(HumanBytesTest, StepsUpBeforeRoundingWould) {
  EXPECT_EQ(human_bytes(1048524), "1023.9 KiB");  // 1023.94921875
  EXPECT_EQ(human_bytes(1048525), "1.0 MiB");     // 1023.9501953125
  for (int shift = 20; shift < 64; ++shift) {
    for (std::uint64_t below = 1; below < 100'000; below = below * 3 + 1) {
      const std::uint64_t bytes = (std::uint64_t{1} << shift) - below;
      EXPECT_EQ(human_bytes(bytes).find("1024"), std::string::npos) << bytes;
    }
  }
}

TEST(DescribeTest, SaysARangeAsAnErrorWould) {
  EXPECT_EQ(describe(kWholeFile), "whole file");
  EXPECT_EQ(describe({0, kToEnd}), "whole file");
  EXPECT_EQ(describe({8192, kToEnd}), "offset 8192 to the end");
  EXPECT_EQ(describe({8192, 4096}), "offset 8192, 4096 bytes");
  EXPECT_EQ(describe({0, 0}), "offset 0, 0 bytes");
}

TEST(PageSizeDeathTest, OnlyPowersOfTwoAreSizesOfPages) {
  EXPECT_DEATH(static_cast<void>(PageSize(0)), "has_single_bit");
  EXPECT_DEATH(static_cast<void>(PageSize(4095)), "has_single_bit");
  EXPECT_DEATH(static_cast<void>(PageSize(3)), "has_single_bit");
}

}  // namespace
}  // namespace quire
