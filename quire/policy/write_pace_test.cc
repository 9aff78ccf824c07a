// SPDX-License-Identifier: Apache-2.0
#include "quire/policy/write_pace.h"

#include <gtest/gtest.h>

#include "quire/base/units.h"

namespace quire {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr WritePaceOptions kOptions{.dirty_start_bytes = 200_MiB,
                                    .dirty_max_bytes = 500_MiB,
                                    .dirty_least_bytes = 8_MiB,
                                    .backlog_time_max = seconds(5)};

// A device in made-up time: writes of one size one after the other, or many at a time.
class Device {
 public:
  explicit Device(WritePace& pace) : pace_(pace) {}

  void write(std::uint64_t bytes, nanoseconds latency) {
    pace_.begun(now_);
    now_ += latency;
    pace_.completed(bytes, latency, now_);
  }
  void idle(nanoseconds time) { now_ += time; }
  // As many as may, all of which end together and took as long as all of them take in a row.
  void write_in_line(std::uint64_t bytes, nanoseconds each) {
    std::size_t count = 0;
    while (pace_.may_begin()) {
      pace_.begun(now_);
      ++count;
    }
    const Moment began = now_;
    for (std::size_t i = 0; i < count; ++i) {
      now_ += each;
      pace_.completed(bytes, now_ - began, now_);
    }
  }

 private:
  using Moment = WritePace::Moment;
  WritePace& pace_;
  Moment now_{};
};

TEST(WritePaceTest, BeforeAnythingIsMeasuredTheLimitsAreThoseConfigured) {
  const WritePace pace(kOptions);
  EXPECT_EQ(pace.dirty_start_bytes(), 200_MiB);
  EXPECT_EQ(pace.dirty_max_bytes(), 500_MiB);
  EXPECT_EQ(pace.writes_max(), WritePace::kWritesMax);
  EXPECT_FALSE(pace.rate().has_value());
}

TEST(WritePaceTest, ASlowDeviceShrinksBothLimitsToWhatItWritesInTime) {
  WritePace pace(kOptions);
  Device device(pace);
  for (int i = 0; i < 100; ++i) {
    device.write(1_MiB, milliseconds(100));  // 10 MiB/s.
  }
  EXPECT_NEAR(static_cast<double>(*pace.rate()), 10.0 * (1 << 20), 1e5);
  EXPECT_NEAR(static_cast<double>(pace.dirty_max_bytes()), 50.0 * (1 << 20), 1e6);
  EXPECT_NEAR(static_cast<double>(pace.dirty_start_bytes()), 20.0 * (1 << 20), 1e6);
}

TEST(WritePaceTest, AFastDeviceLeavesThemAlone) {
  WritePace pace(kOptions);
  Device device(pace);
  for (int i = 0; i < 1000; ++i) {
    device.write(1_MiB, milliseconds(1));
  }
  EXPECT_EQ(pace.dirty_max_bytes(), 500_MiB);
  EXPECT_EQ(pace.dirty_start_bytes(), 200_MiB);
}

TEST(WritePaceTest, HoweverSlowSomethingMayBeDirty) {
  WritePace pace(kOptions);
  Device device(pace);
  device.write(4_KiB, seconds(10));
  EXPECT_EQ(pace.dirty_max_bytes(), 8_MiB);
  EXPECT_GT(pace.dirty_start_bytes(), 0U);
  EXPECT_LE(pace.dirty_start_bytes(), pace.dirty_max_bytes());
}

TEST(WritePaceTest, TimeWithNothingUnderWayDoesNotCount) {
  WritePace pace(kOptions);
  Device device(pace);
  for (int i = 0; i < 100; ++i) {
    device.write(1_MiB, milliseconds(10));
    device.idle(seconds(1));
  }
  EXPECT_NEAR(static_cast<double>(*pace.rate()), 100.0 * (1 << 20), 1e6);
}

TEST(WritePaceTest, ADeviceThatGetsFasterIsBelievedAfterAWhile) {
  WritePace pace(kOptions);
  Device device(pace);
  device.write(1_MiB, seconds(1));
  for (int i = 0; i < 2000; ++i) {
    device.write(1_MiB, milliseconds(2));
  }
  EXPECT_EQ(pace.dirty_max_bytes(), 500_MiB);
}

// Goal:   a failed write says nothing about the device's speed, and does not stop the pace.
TEST(WritePaceTest, AFailedWriteTeachesNoLatency) {
  WritePace pace(kOptions);
  Device device(pace);
  for (int i = 0; i < 1000; ++i) {
    device.write(0, nanoseconds(1));
    device.write(4_KiB, microseconds(100));
  }
  EXPECT_EQ(pace.writes_max(), WritePace::kWritesMax);
}

// Goal:   a device that does one at a time gets few at a time: more of them would only stand in
//         line in front of reads.
TEST(WritePaceTest, ADeviceThatDoesOneAtATimeGetsFew) {
  WritePace pace(kOptions);
  Device device(pace);
  for (int i = 0; i < 20; ++i) {
    device.write(64_KiB, milliseconds(1));
  }
  for (int i = 0; i < 200; ++i) {
    device.write_in_line(64_KiB, milliseconds(1));
  }
  EXPECT_LE(pace.writes_max(), 16U);
  EXPECT_GE(pace.writes_max(), WritePace::kWritesMin);
}

// Goal:   what takes long because it is long is not crowded.
TEST(WritePaceTest, LargeWritesAreComparedWithLargeOnes) {
  WritePace pace(kOptions);
  Device device(pace);
  for (int i = 0; i < 1000; ++i) {
    device.write(4_KiB, microseconds(10));
    device.write(2_MiB, milliseconds(5));
    device.write(2_MiB, milliseconds(6));
  }
  EXPECT_EQ(pace.writes_max(), WritePace::kWritesMax);
}

TEST(WritePaceTest, TheWindowGrowsAgain) {
  WritePace pace(kOptions);
  Device device(pace);
  for (int i = 0; i < 200; ++i) {
    device.write_in_line(64_KiB, milliseconds(1));
  }
  const std::size_t small = pace.writes_max();
  for (int i = 0; i < 20'000; ++i) {
    device.write(64_KiB, milliseconds(1));
  }
  EXPECT_LT(small, pace.writes_max());
  EXPECT_EQ(pace.writes_max(), WritePace::kWritesMax);
}

}  // namespace
}  // namespace quire
