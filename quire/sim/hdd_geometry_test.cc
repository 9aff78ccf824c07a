// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdint>

#include "quire/base/prng.h"
#include "quire/base/units.h"
#include "quire/sim/disk_model.h"
#include "quire/sim/internal/hdd_geometry.h"
#include "quire/testing/seed.h"

namespace quire::sim::internal {
namespace {

// A rotation of exactly 10 ms, a switch of 1 ms, one zone: tracks of 100 MB/s * 11 ms.
DiskModel round_model() {
  return parse_disk_model(
             "hdd,rpm=6000,seek_track_ms=1,seek_avg_ms=9,heads=2,zones=1,outer_mb_s=100,"
             "inner_mb_s=100,capacity_gb=10,sector=4096")
      .value();
}
constexpr std::uint64_t kSectors = 100'000 * 11 / 4096;  // 268 a track.
constexpr std::uint64_t kTrackBytes = kSectors * 4096;

TEST(HddGeometryTest, AByteHasItsTrackAndCylinder) {
  const HddGeometry geometry(round_model());
  EXPECT_EQ(geometry.track_bytes_at(0), kTrackBytes);
  EXPECT_EQ(geometry.track_of(0), 0U);
  EXPECT_EQ(geometry.track_of(kTrackBytes - 1), 0U);
  EXPECT_EQ(geometry.track_of(kTrackBytes), 1U);
  EXPECT_EQ(geometry.cylinder_of(2 * kTrackBytes - 1), 0U);
  EXPECT_EQ(geometry.cylinder_of(2 * kTrackBytes), 1U);
  EXPECT_EQ(geometry.cylinder_count(), 10'000'000'000 / kTrackBytes / 2 + 1);
}

TEST(HddGeometryTest, AWholeTrackTakesOneRotationAndTheNextBeginsAfterTheSwitch) {
  const HddGeometry geometry(round_model());
  EXPECT_EQ(geometry.stream_begin_ns(0), 0U);
  EXPECT_EQ(geometry.stream_end_ns(kTrackBytes), 10'000'000U);
  EXPECT_EQ(geometry.stream_begin_ns(kTrackBytes), 11'000'000U);
  EXPECT_EQ(geometry.stream_end_ns(3 * kTrackBytes), 32'000'000U);
}

// Goal:   the sustained rate of the model is what reading a zone gives, to a sector per track.
TEST(HddGeometryTest, ReadingAZoneGivesItsSustainedRate) {
  const DiskModel model = preset(DiskKind::kHdd);
  const HddGeometry geometry(model);
  const std::uint64_t tracks = 700;
  const std::uint64_t bytes = tracks * geometry.track_bytes_at(0);
  const std::uint64_t outer_ns = geometry.stream_begin_ns(bytes) - geometry.stream_begin_ns(0);
  EXPECT_EQ(outer_ns, tracks * geometry.track_period_ns());
  EXPECT_NEAR(static_cast<double>(bytes) / static_cast<double>(outer_ns) * 1e9, 175e6, 0.5e6);
  const std::uint64_t end = model.capacity_bytes / 4096 * 4096;
  EXPECT_NEAR(static_cast<double>(geometry.track_bytes_at(end - 1)) /
                  static_cast<double>(geometry.track_period_ns()) * 1e9,
              83e6, 0.5e6);
}

// Method: random sectors of the preset with its 16 zones; the wait ends at an angle that depends on
//         the sector alone, and neighbours of a track follow one another.
TEST(HddGeometryTest, ASectorPassesOnceInARotationAndItsNeighbourRightAfterIt) {
  const DiskModel model = preset(DiskKind::kHdd);
  const HddGeometry geometry(model);
  const std::uint64_t rotation_ns = geometry.rotation_ns();
  Prng prng(testing::test_seed());
  for (int i = 0; i < 10'000; ++i) {
    const std::uint64_t offset = prng.below(model.capacity_bytes / 4096 - 1) * 4096;
    const SimTime now{prng.below(std::uint64_t{1} << 40)};
    const std::uint64_t wait_ns = geometry.rotational_wait_ns(offset, now);
    ASSERT_LT(wait_ns, rotation_ns);
    const SimTime begin = now.plus(wait_ns);
    EXPECT_EQ(geometry.rotational_wait_ns(offset, begin), 0U);
    EXPECT_EQ(geometry.rotational_wait_ns(offset, begin.plus(rotation_ns)), 0U);
    EXPECT_EQ(geometry.rotational_wait_ns(offset, begin.plus(1)), rotation_ns - 1);
    const std::uint64_t sector_ns =
        geometry.stream_end_ns(offset + 4096) - geometry.stream_begin_ns(offset);
    ASSERT_GT(sector_ns, 0U);
    if (geometry.track_of(offset) == geometry.track_of(offset + 4096)) {
      EXPECT_EQ(geometry.stream_end_ns(offset + 4096), geometry.stream_begin_ns(offset + 4096));
      EXPECT_EQ(geometry.rotational_wait_ns(offset + 4096, begin.plus(sector_ns)), 0U);
    }
    const SimTime next =
        begin.plus(geometry.stream_begin_ns(offset + 4096) - geometry.stream_begin_ns(offset));
    EXPECT_EQ(geometry.rotational_wait_ns(offset + 4096, next), 0U) << offset;
  }
}

TEST(HddGeometryTest, SeeksFollowTheCurve) {
  const DiskModel model = round_model();
  const HddGeometry geometry(model);
  const std::uint64_t last_track = 2 * (geometry.cylinder_count() - 1);
  EXPECT_EQ(geometry.seek_ns(7, 7), 0U);
  EXPECT_EQ(geometry.seek_ns(0, 1), 1'000'000U);  // The other head of the cylinder.
  EXPECT_EQ(geometry.seek_ns(0, 2), 1'000'000U);  // The next cylinder.
  EXPECT_EQ(geometry.seek_ns(0, last_track), 1'000'000U + model.seek_stroke_ns());
  EXPECT_EQ(geometry.seek_ns(last_track, 0), geometry.seek_ns(0, last_track));
  const std::uint64_t quarter = (geometry.cylinder_count() - 1) / 4 * 2;
  EXPECT_NEAR(static_cast<double>(geometry.seek_ns(0, quarter)),
              1e6 + static_cast<double>(model.seek_stroke_ns()) / 2, 5e3);
}

}  // namespace
}  // namespace quire::sim::internal
