// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <deque>
#include <string>
#include <thread>
#include <vector>

#include "quire/base/prng.h"
#include "quire/ipc/mpsc_bytes.h"
#include "quire/ipc/mpsc_ring.h"
#include "quire/ipc/segment.h"
#include "quire/ipc/spsc_bytes.h"
#include "quire/ipc/spsc_ring.h"
#include "quire/testing/seed.h"

namespace quire::ipc {
namespace {

using testing::test_seed;

struct Tick {
  std::uint64_t writer = 0;
  std::uint64_t number = 0;
  std::uint64_t twice = 0;

  static Tick make(std::uint64_t writer, std::uint64_t number) {
    return {writer, number, 2 * number};
  }
};

constexpr WaitOptions kLook{.timeout = std::chrono::nanoseconds(0)};
constexpr WaitOptions kShortly{.policy = WaitPolicy::kSleep,
                               .timeout = std::chrono::milliseconds(1)};
constexpr WaitOptions kAsleep{.policy = WaitPolicy::kSleep};

Layout small_layout() {
  Layout layout;
  layout.add(SpscRing<Tick>::object("spsc", {.capacity = 8, .type = "Tick"}));
  layout.add(MpscRing<Tick>::object("mpsc", {.capacity = 8, .type = "Tick"}));
  layout.add(SpscBytes::object("spsc_bytes", {.capacity_bytes = 4096}));
  layout.add(MpscBytes::object("mpsc_bytes", {.capacity_bytes = 4096, .capacity_records = 16}));
  return layout;
}

// One segment, opened by two participants.
class RingsTest : public ::testing::Test {
 protected:
  Layout layout_ = small_layout();
  Segment ours_ = Segment::make_anonymous(layout_).value();
  Segment theirs_ = Segment::adopt(sys::Descriptor(::dup(ours_.descriptor())), layout_).value();
};

// --- The same for both rings of objects ---------------------------------------------------------

template <typename Ring>
struct Named;
template <>
struct Named<SpscRing<Tick>> {
  static constexpr const char* kName = "spsc";
};
template <>
struct Named<MpscRing<Tick>> {
  static constexpr const char* kName = "mpsc";
};

template <typename Ring>
class ObjectRingTest : public RingsTest {
 protected:
  typename Ring::Writer writer_ = Ring::writer(ours_, Named<Ring>::kName).value();
  typename Ring::Reader reader_ = Ring::reader(theirs_, Named<Ring>::kName).value();
};
using ObjectRings = ::testing::Types<SpscRing<Tick>, MpscRing<Tick>>;
TYPED_TEST_SUITE(ObjectRingTest, ObjectRings);

TYPED_TEST(ObjectRingTest, ObjectsComeInOrderAndOnce) {
  Prng random(test_seed());
  std::deque<std::uint64_t> model;
  std::uint64_t pushed = 0;
  for (int turn = 0; turn < 20'000; ++turn) {
    if (random.below(2) == 0) {
      const bool has_room = this->writer_.try_push(Tick::make(1, pushed));
      ASSERT_EQ(has_room, model.size() < 8);
      if (has_room) {
        model.push_back(pushed++);
      }
    } else {
      Tick tick;
      const bool has_one = this->reader_.try_pop(tick);
      ASSERT_EQ(has_one, !model.empty());
      if (has_one) {
        ASSERT_EQ(tick.number, model.front());
        ASSERT_EQ(tick.twice, 2 * tick.number);
        model.pop_front();
      }
    }
  }
}

TYPED_TEST(ObjectRingTest, WaitingEndsWithTheTimeout) {
  EXPECT_EQ(this->reader_.pop(kLook).error().code(), std::errc::timed_out);
  EXPECT_EQ(this->reader_.pop(kShortly).error().code(), std::errc::timed_out);
  while (this->writer_.try_push(Tick{})) {
  }
  EXPECT_EQ(this->writer_.push(Tick{}, kLook).error().code(), std::errc::timed_out);
  EXPECT_EQ(this->writer_.push(Tick{}, kShortly).error().code(), std::errc::timed_out);
}

TYPED_TEST(ObjectRingTest, ASecondReaderIsRefusedUntilTheFirstIsGone) {
  const auto second = TypeParam::reader(this->ours_, Named<TypeParam>::kName);
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code(), std::errc::device_or_resource_busy);
  ASSERT_TRUE(this->writer_.try_push(Tick::make(1, 5)));
  {
    const typename TypeParam::Reader gone = std::move(this->reader_);
  }
  auto third = TypeParam::reader(this->ours_, Named<TypeParam>::kName).value();
  EXPECT_EQ(third.pop(kLook)->number, 5U);
}

TYPED_TEST(ObjectRingTest, SleepersOnBothSidesAreWoken) {
  constexpr std::uint64_t kTicks = 20'000;
  std::thread writing([&] {
    for (std::uint64_t number = 0; number < kTicks; ++number) {
      this->writer_.push(Tick::make(1, number), kAsleep).value();
    }
  });
  for (std::uint64_t number = 0; number < kTicks; ++number) {
    ASSERT_EQ(this->reader_.pop(kAsleep)->number, number);
  }
  writing.join();
}

TYPED_TEST(ObjectRingTest, ABellRingsForAnArmedReader) {
  const Doorbell bell = Doorbell::open(this->theirs_.participants()).value();
  ASSERT_TRUE(this->reader_.arm(bell));
  pollfd look{.fd = bell.fd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&look, 1, 0), 0);
  ASSERT_TRUE(this->writer_.try_push(Tick::make(1, 1)));
  EXPECT_EQ(::poll(&look, 1, 10'000), 1);
  bell.drain();
  EXPECT_FALSE(this->reader_.arm(bell)) << "there is something to read";
}

TYPED_TEST(ObjectRingTest, AnotherTypeIsRefusedWithBoth) {
  const auto other = SpscRing<std::uint32_t>::writer(this->ours_, "spsc");
  ASSERT_FALSE(other.has_value());
  EXPECT_EQ(other.error().code(), Errc::kWrongKind);
  EXPECT_NE(other.error().message().find("Tick[8]"), std::string::npos);
  EXPECT_NE(other.error().message().find("4 bytes"), std::string::npos);
  EXPECT_FALSE(TypeParam::writer(this->ours_, "no such ring").has_value());
}

// --- One writer ---------------------------------------------------------------------------------

TEST_F(RingsTest, WhatIsReservedIsNotSeenAndWhatIsPeekedStays) {
  auto writer = SpscRing<Tick>::writer(ours_, "spsc").value();
  auto reader = SpscRing<Tick>::reader(theirs_, "spsc").value();
  for (std::uint64_t lap = 0; lap < 20; ++lap) {
    const std::span<Tick> room = writer.reserve(3);
    ASSERT_GE(room.size(), 1U);
    room[0] = Tick::make(1, lap);
    EXPECT_TRUE(reader.peek().empty());
    writer.commit();
    ASSERT_EQ(reader.peek().size(), 1U);
    EXPECT_EQ(reader.peek()[0].number, lap);
    reader.release();
  }
}

TEST_F(RingsTest, AReservationEndsWhereTheRingEnds) {
  auto writer = SpscRing<Tick>::writer(ours_, "spsc").value();
  auto reader = SpscRing<Tick>::reader(theirs_, "spsc").value();
  ASSERT_EQ(writer.reserve(100).size(), 8U);
  writer.commit(6);
  ASSERT_EQ(reader.peek().size(), 6U);
  reader.release(6);
  EXPECT_EQ(writer.reserve(100).size(), 2U) << "two to the end, six from the beginning on";
  writer.commit(2);
  EXPECT_EQ(writer.reserve(100).size(), 6U);
}

TEST_F(RingsTest, ALivingWriterKeepsItsPlace) {
  auto writer = SpscRing<Tick>::writer(ours_, "spsc").value();
  EXPECT_EQ(SpscRing<Tick>::writer(theirs_, "spsc").error().code(),
            std::errc::device_or_resource_busy);
  ASSERT_TRUE(writer.try_push(Tick::make(1, 1)));
  static_cast<void>(writer.reserve(2));  // And is never committed.
  {
    const auto gone = std::move(writer);
  }
  auto next = SpscRing<Tick>::writer(theirs_, "spsc").value();
  ASSERT_TRUE(next.try_push(Tick::make(1, 2)));
  auto reader = SpscRing<Tick>::reader(ours_, "spsc").value();
  EXPECT_EQ(reader.pop(kLook)->number, 1U);
  EXPECT_EQ(reader.pop(kLook)->number, 2U);
}

// --- Many writers -------------------------------------------------------------------------------

// Goal:   with many writers at once every object comes once, whole, and in its writer's order.
TEST_F(RingsTest, FourThreadsWriteToOneReader) {
  constexpr std::uint64_t kWriters = 4;
  constexpr std::uint64_t kTicks = 10'000;
  const auto writer = MpscRing<Tick>::writer(ours_, "mpsc").value();
  auto reader = MpscRing<Tick>::reader(theirs_, "mpsc").value();
  std::vector<std::thread> writing;
  for (std::uint64_t id = 0; id < kWriters; ++id) {
    writing.emplace_back([&writer, id] {
      for (std::uint64_t number = 0; number < kTicks; ++number) {
        if (number % 16 == 15) {
          static_cast<void>(writer.reserve());  // Given up.
        }
        writer.push(Tick::make(id, number)).value();
      }
    });
  }
  std::array<std::uint64_t, kWriters> next{};
  for (std::uint64_t count = 0; count < kWriters * kTicks; ++count) {
    const Tick tick = reader.pop().value();
    ASSERT_LT(tick.writer, kWriters);
    ASSERT_EQ(tick.number, next[tick.writer]++);
    ASSERT_EQ(tick.twice, 2 * tick.number);
  }
  for (std::thread& thread : writing) {
    thread.join();
  }
  EXPECT_EQ(reader.peek(), nullptr);
  EXPECT_EQ(reader.abandoned(), 0U);
  EXPECT_TRUE(reader.check_invariants());
}

TEST_F(RingsTest, AClaimIsNamedUntilItIsCommitted) {
  const auto writer = MpscRing<Tick>::writer(ours_, "mpsc").value();
  auto reader = MpscRing<Tick>::reader(theirs_, "mpsc").value();
  EXPECT_TRUE(reader.awaited().is_nobody());
  auto claim = writer.reserve();
  ASSERT_TRUE(claim);
  EXPECT_EQ(reader.awaited(), ours_.participants().self());
  EXPECT_EQ(reader.peek(), nullptr);
  *claim = Tick::make(1, 7);
  claim.commit();
  ASSERT_NE(reader.peek(), nullptr);
  EXPECT_EQ(reader.peek()->number, 7U);
}

// --- Records of bytes ---------------------------------------------------------------------------

// The bytes of a record follow from its number.
std::vector<std::byte> record_of(std::uint64_t number, std::size_t length) {
  std::vector<std::byte> bytes(length);
  Prng random(number);
  for (std::byte& byte : bytes) {
    byte = static_cast<std::byte>(random());
  }
  return bytes;
}

template <typename Ring>
class BytesRingTest : public RingsTest {
 protected:
  static constexpr const char* kName =
      std::is_same_v<Ring, SpscBytes> ? "spsc_bytes" : "mpsc_bytes";
  typename Ring::Writer writer_ = Ring::writer(ours_, kName).value();
  typename Ring::Reader reader_ = Ring::reader(theirs_, kName).value();
};
using BytesRings = ::testing::Types<SpscBytes, MpscBytes>;
TYPED_TEST_SUITE(BytesRingTest, BytesRings);

TYPED_TEST(BytesRingTest, RecordsOfAnyLengthComeWholeAndInOrder) {
  Prng random(test_seed());
  std::deque<std::vector<std::byte>> model;
  std::uint64_t number = 0;
  for (int turn = 0; turn < 20'000; ++turn) {
    if (random.below(2) == 0) {
      const std::size_t length_max = random.below(8) == 0 ? 4000 : 300;
      std::vector<std::byte> record = record_of(number, random.below(length_max));
      if (this->writer_.try_push(record)) {
        model.push_back(std::move(record));
        ++number;
      } else {
        ASSERT_FALSE(model.empty()) << "an empty ring has room for " << record.size();
      }
    } else if (const auto record = this->reader_.peek()) {
      ASSERT_FALSE(model.empty());
      ASSERT_TRUE(std::ranges::equal(*record, model.front()));
      model.pop_front();
      this->reader_.release();
    } else {
      ASSERT_TRUE(model.empty());
    }
  }
}

TYPED_TEST(BytesRingTest, ThreadsPassRecordsThatCrossTheEnd) {
  constexpr std::uint64_t kRecords = 5'000;
  std::thread writing([&] {
    for (std::uint64_t number = 0; number < kRecords; ++number) {
      this->writer_.push(record_of(number, number * 37 % 1500)).value();
    }
  });
  for (std::uint64_t number = 0; number < kRecords; ++number) {
    const auto record = this->reader_.peek(WaitOptions{});
    ASSERT_TRUE(record.has_value()) << record.error().message();
    ASSERT_TRUE(std::ranges::equal(*record, record_of(number, number * 37 % 1500)));
    this->reader_.release();
  }
  writing.join();
}

TYPED_TEST(BytesRingTest, ARecordThatCanNeverFitIsAnErrorThatSaysSo) {
  const std::vector<std::byte> record(this->writer_.record_bytes_max() + 1);
  EXPECT_FALSE(this->writer_.try_push(record));
  const auto pushed = this->writer_.push(record);
  ASSERT_FALSE(pushed.has_value());
  EXPECT_EQ(pushed.error().code(), Errc::kLimit);
  const std::vector<std::byte> largest(this->writer_.record_bytes_max());
  EXPECT_TRUE(this->writer_.try_push(largest));
  EXPECT_EQ(this->reader_.peek()->size(), largest.size());
}

TYPED_TEST(BytesRingTest, ARecordMayBeShorterThanItsReservation) {
  if constexpr (std::is_same_v<TypeParam, SpscBytes>) {
    ASSERT_EQ(this->writer_.reserve(100).size(), 100U);
    this->writer_.commit(3);
  } else {
    auto claim = this->writer_.reserve(100);
    ASSERT_EQ(claim.bytes().size(), 100U);
    claim.commit(3);
  }
  ASSERT_TRUE(this->writer_.try_push(record_of(1, 8)));
  EXPECT_EQ(this->reader_.peek()->size(), 3U);
  this->reader_.release();
  EXPECT_TRUE(std::ranges::equal(*this->reader_.peek(), record_of(1, 8)));
}

// Goal:   a length that a peer made up is told, not followed.
TEST_F(RingsTest, ALengthBeyondWhatWasPublishedCondemnsTheReader) {
  auto writer = SpscBytes::writer(ours_, "spsc_bytes").value();
  auto reader = SpscBytes::reader(theirs_, "spsc_bytes").value();
  ASSERT_TRUE(writer.try_push(record_of(1, 16)));
  const ObjectRef object = ours_.find("spsc_bytes", ObjectKind::kSpscBytes).value();
  const std::uint64_t length_bytes = 17;  // A record of 24 bytes with its prefix was published.
  std::memcpy(object.mirrored(), &length_bytes, sizeof(length_bytes));
  EXPECT_FALSE(reader.peek().has_value());
  EXPECT_TRUE(reader.is_corrupt());
  EXPECT_EQ(reader.peek(kLook).error().code(), Errc::kCorrupt);
}

}  // namespace
}  // namespace quire::ipc
