// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/progress.h"

#include <gtest/gtest.h>

#include "quire/base/units.h"

namespace quire::cli {
namespace {

using literals::operator""_GiB;

const ProgressState kHalf{
    .label = "warm", .done_bytes = 2_GiB, .total_bytes = 4_GiB, .file_count = 12, .elapsed_s = 2.0};

TEST(ProgressTest, SaysHowFarHowFastAndHowLongStill) {
  EXPECT_EQ(render_progress(kHalf, 120, Charset::kAscii),
            "warm  ##########..........   50.0 %  2.0 GiB of 4.0 GiB  1.0 GiB/s  ETA 0:02  "
            "12 files");
}

TEST(ProgressTest, LeavesOutFromTheRightWhatDoesNotFit) {
  for (std::size_t columns = 10; columns < 100; ++columns) {
    const std::string line = render_progress(kHalf, columns, Charset::kAscii);
    EXPECT_LE(display_width(line), columns);
    EXPECT_TRUE(line.starts_with("warm"));
  }
}

TEST(ProgressTest, WithoutATotalThereIsNoBarAndNoEnd) {
  EXPECT_EQ(render_progress({.label = "map",
                             .done_bytes = 3_GiB,
                             .total_bytes = {},
                             .file_count = 14'212,
                             .elapsed_s = 0.1},
                            80, Charset::kAscii),
            "map  3.0 GiB  14,212 files");
}

TEST(ProgressTest, AnEmptyTotalAndAnOvershootDoNoHarm) {
  EXPECT_EQ(render_progress({.label = "warm", .total_bytes = 0}, 80, Charset::kAscii), "warm  0 B");
  ProgressState over = kHalf;
  over.done_bytes = 5_GiB;  // The file grew meanwhile.
  const std::string line = render_progress(over, 120, Charset::kAscii);
  EXPECT_NE(line.find("100.0 %"), std::string::npos) << line;
  EXPECT_NE(line.find("ETA 0:00"), std::string::npos) << line;
}

TEST(ProgressTest, LongTimesHaveHours) {
  ProgressState slow = kHalf;
  slow.done_bytes = 1_GiB;
  slow.total_bytes = 3_GiB;
  slow.elapsed_s = 3725;
  EXPECT_NE(render_progress(slow, 120, Charset::kAscii).find("ETA 2:04:10"), std::string::npos);
}

}  // namespace
}  // namespace quire::cli
