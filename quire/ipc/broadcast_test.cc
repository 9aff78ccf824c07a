// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/broadcast.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <span>
#include <thread>
#include <vector>

#include "quire/base/prng.h"
#include "quire/ipc/blackboard.h"
#include "quire/ipc/segment.h"
#include "quire/testing/seed.h"

namespace quire::ipc {
namespace {

using testing::test_seed;

// Odd in size, so that the last word is a part of one.
struct Frame {
  std::array<std::uint32_t, 51> words{};

  static Frame make(std::uint64_t number) {
    Frame frame;
    frame.words.fill(static_cast<std::uint32_t>(number));
    return frame;
  }
  [[nodiscard]] bool is_of(std::uint64_t number) const {
    return std::memcmp(this, make(number).words.data(), sizeof(*this)) == 0;
  }
};

constexpr WaitOptions kLook{.timeout = std::chrono::nanoseconds(0)};
constexpr WaitOptions kAsleep{.policy = WaitPolicy::kSleep};
constexpr std::uint64_t kOfAnotherSlot = 0x123456781234567b;
constexpr std::uint64_t kFarAhead = 0x1234567812345679;  // Of the first slot of eight, or of four.
using Frames = Broadcast<Frame>;
using Board = Blackboard<Frame>;

class BroadcastTest : public ::testing::Test {
 protected:
  static Layout layout() {
    Layout layout;
    layout.add(Frames::object("frames", {.capacity = 8, .type = "Frame"}));
    layout.add(Board::object("board", {.type = "Frame"}));
    return layout;
  }
  // The first slot's sequence becomes one that no writer leaves there.
  void damage(const char* name, ObjectKind kind, std::uint64_t sequence = kOfAnotherSlot) const {
    const std::span<std::byte> bytes = segment_.find(name, kind).value().bytes();
    std::memcpy(bytes.data() + sizeof(internal::BroadcastControl), &sequence, sizeof(sequence));
  }

  Segment segment_ = Segment::make_anonymous(layout()).value();
  Frame frame_;
};

// Goal:   objects read and objects missed are all objects, for each of several readers.
// Method: random writes and reads; the model is two counters.
TEST_F(BroadcastTest, EachReaderIsToldExactlyWhatItMissed) {
  Prng random(test_seed());
  auto writer = Frames::writer(segment_, "frames").value();
  std::vector<Frames::Reader> readers;
  std::array<std::uint64_t, 3> seen{};
  for (std::size_t index = 0; index < seen.size(); ++index) {
    readers.push_back(Frames::reader(segment_, "frames").value());
  }
  for (int turn = 0; turn < 20'000; ++turn) {
    const std::uint64_t who = random.below(12);
    if (who >= seen.size()) {
      writer.publish(Frame::make(writer.published()));
    } else if (readers[who].try_read(frame_)) {
      const News& news = readers[who].news();
      ASSERT_TRUE(frame_.is_of(news.number));
      ASSERT_EQ(news.number, seen[who] + news.missed);
      ASSERT_LE(writer.published() - news.number, 8U);
      seen[who] = news.number + 1;
    } else {
      ASSERT_EQ(seen[who], writer.published());
    }
  }
}

TEST_F(BroadcastTest, AReaderBeginsWithTheNewestOrTheOldest) {
  auto writer = Frames::writer(segment_, "frames").value();
  for (std::uint64_t number = 0; number < 20; ++number) {
    writer.publish(Frame::make(number));
  }
  auto newest = Frames::reader(segment_, "frames").value();
  EXPECT_FALSE(newest.try_read(frame_));
  auto oldest = Frames::reader(segment_, "frames", Frames::From::kOldest).value();
  ASSERT_TRUE(oldest.try_read(frame_));
  EXPECT_EQ(oldest.news().number, 13U) << "seven are safe from the writer's next step";
  writer.publish(Frame::make(20));
  ASSERT_TRUE(newest.try_read(frame_));
  EXPECT_EQ(newest.news().number, 20U);
  EXPECT_EQ(newest.news().missed, 0U);
}

TEST_F(BroadcastTest, AnObjectThatIsWrittenOverWhileItIsLookedAtIsDisowned) {
  auto writer = Frames::writer(segment_, "frames").value();
  auto reader = Frames::reader(segment_, "frames").value();
  writer.begin() = Frame::make(0);
  EXPECT_EQ(reader.peek(), nullptr) << "not published yet";
  writer.commit();
  const Frame* seen = reader.peek();
  ASSERT_NE(seen, nullptr);
  EXPECT_TRUE(seen->is_of(0));
  for (std::uint64_t number = 1; number <= 8; ++number) {
    writer.publish(Frame::make(number));
  }
  EXPECT_FALSE(reader.finish());
  ASSERT_NE(reader.peek(), nullptr);
  EXPECT_TRUE(reader.finish());
  EXPECT_EQ(reader.news().missed, 2U);
}

// Goal:   no reader ever sees half an object, while the writer goes round and round.
TEST_F(BroadcastTest, ThreadsSeeOnlyWholeObjects) {
  constexpr std::uint64_t kFrames = 20'000;
  auto writer = Frames::writer(segment_, "frames").value();
  std::vector<std::thread> reading;
  std::vector<Frames::Reader> readers;
  readers.push_back(Frames::reader(segment_, "frames").value());
  readers.push_back(Frames::reader(segment_, "frames").value());
  std::array<std::uint64_t, 2> accounted{};
  for (std::size_t index = 0; index < readers.size(); ++index) {
    reading.emplace_back([&, index] {
      Frame frame;
      while (accounted[index] < kFrames) {
        const Result<News> news = readers[index].read(frame, kAsleep);
        ASSERT_TRUE(news.has_value());
        ASSERT_TRUE(frame.is_of(news->number));
        accounted[index] += 1 + news->missed;
        ASSERT_EQ(accounted[index], news->number + 1);
      }
    });
  }
  for (std::uint64_t number = 0; number < kFrames; ++number) {
    writer.publish(Frame::make(number));
  }
  for (std::thread& thread : reading) {
    thread.join();
  }
  EXPECT_TRUE(readers[0].check_invariants());
}

TEST_F(BroadcastTest, AWriterKeepsItsPlaceWhileItLives) {
  auto writer = Frames::writer(segment_, "frames").value();
  EXPECT_EQ(Frames::writer(segment_, "frames").error().code(), std::errc::device_or_resource_busy);
  writer.publish(Frame::make(0));
  static_cast<void>(writer.begin());  // And never commits.
  {
    const Frames::Writer gone = std::move(writer);
  }
  auto next = Frames::writer(segment_, "frames").value();
  EXPECT_EQ(next.published(), 1U);
  auto reader = Frames::reader(segment_, "frames").value();
  EXPECT_EQ(reader.read(frame_, kLook).error().code(), std::errc::timed_out);
  next.publish(Frame::make(1));
  EXPECT_EQ(reader.read(frame_, kLook)->number, 1U);
}

TEST_F(BroadcastTest, ASequenceThatCannotBeIsTold) {
  auto reader = Frames::reader(segment_, "frames").value();
  damage("frames", ObjectKind::kBroadcast);
  EXPECT_EQ(reader.read(frame_, kLook).error().code(), Errc::kCorrupt);
  EXPECT_TRUE(reader.is_corrupt());
}

// Goal:   whoever looks in place, and waits when there is nothing to see, is told, too: whichever
//         of the two comes first, and although the sequence is mended later.
TEST_F(BroadcastTest, ASequenceThatCannotBeEndsALoopOfPeekAndWait) {
  auto first_waits = Frames::reader(segment_, "frames").value();
  auto first_peeks = Frames::reader(segment_, "frames").value();
  damage("frames", ObjectKind::kBroadcast);
  EXPECT_EQ(first_waits.wait(kLook).error().code(), Errc::kCorrupt);
  EXPECT_TRUE(first_waits.is_corrupt());
  EXPECT_EQ(first_peeks.peek(), nullptr);
  EXPECT_EQ(first_peeks.wait(kAsleep).error().code(), Errc::kCorrupt);
  Frames::writer(segment_, "frames")->publish(frame_);
  for (Frames::Reader* reader : {&first_waits, &first_peeks}) {
    EXPECT_EQ(reader->peek(), nullptr);
    EXPECT_EQ(reader->wait(kLook).error().code(), Errc::kCorrupt);
  }
}

// Goal:   what was written over is no reason to wait, nor an error: peek() goes on behind it.
TEST_F(BroadcastTest, WhatWasWrittenOverIsWaitedForByNobody) {
  auto reader = Frames::reader(segment_, "frames").value();
  auto writer = Frames::writer(segment_, "frames").value();
  for (std::uint64_t number = 0; number < 20; ++number) {
    writer.publish(Frame::make(number));
  }
  EXPECT_TRUE(reader.wait(kLook).has_value());
  EXPECT_NE(reader.peek(), nullptr);
  EXPECT_TRUE(reader.finish());
  EXPECT_EQ(reader.news().missed, reader.news().number);
}

// --- Blackboard ---------------------------------------------------------------------------------

TEST_F(BroadcastTest, ABoardHasTheLatestValueAndItsVersion) {
  auto writer = Board::writer(segment_, "board").value();
  auto reader = Board::reader(segment_, "board").value();
  EXPECT_EQ(reader.read(frame_).value(), 0U) << "nothing was written";
  EXPECT_EQ(reader.wait_for_change(kLook).error().code(), std::errc::timed_out);
  for (std::uint64_t version = 1; version <= 30; ++version) {
    writer.write(Frame::make(version));
    EXPECT_TRUE(reader.wait_for_change(kLook).has_value());
    EXPECT_EQ(reader.read(frame_).value(), version);
    EXPECT_TRUE(frame_.is_of(version));
    EXPECT_EQ(reader.read(frame_).value(), version) << "it stays";
  }
  EXPECT_TRUE(reader.check_invariants());
}

// Goal:   a loop of waiting and reading ends when the place of the next value is damaged; the
//         value that is there can be read, and a writer mends it.
TEST_F(BroadcastTest, ABoardWhoseNextPlaceIsDamagedSaysSoToWhoeverWaits) {
  auto reader = Board::reader(segment_, "board").value();
  auto writer = Board::writer(segment_, "board").value();
  for (std::uint64_t version = 1; version <= 8; ++version) {
    writer.write(Frame::make(version));
  }
  ASSERT_EQ(reader.read(frame_).value(), 8U);
  damage("board", ObjectKind::kBlackboard);
  const auto waited = reader.wait_for_change(kAsleep);
  ASSERT_FALSE(waited.has_value());
  EXPECT_EQ(waited.error().code(), Errc::kCorrupt);
  EXPECT_EQ(reader.read(frame_).value(), 8U);
  EXPECT_TRUE(frame_.is_of(8));
  writer.write(Frame::make(9));
  EXPECT_TRUE(reader.wait_for_change(kLook).has_value());
  EXPECT_EQ(reader.read(frame_).value(), 9U);
}

// Goal:   the same when a value that nobody wrote seems to be there, which is no wait: read() says
//         that it does not find it, and not that the old one is the latest.
TEST_F(BroadcastTest, ABoardWhoseNextPlaceIsFarAheadIsNotReadAsIfNothingHadChanged) {
  auto reader = Board::reader(segment_, "board").value();
  damage("board", ObjectKind::kBlackboard, kFarAhead);
  EXPECT_TRUE(reader.wait_for_change(kAsleep).has_value());
  const auto read = reader.read(frame_);
  ASSERT_FALSE(read.has_value());
  EXPECT_EQ(read.error().code(), std::errc::resource_unavailable_try_again);
}

TEST_F(BroadcastTest, ValuesOfABoardAreNeverTornAndNeverOlder) {
  constexpr std::uint64_t kVersions = 20'000;
  auto writer = Board::writer(segment_, "board").value();
  auto reader = Board::reader(segment_, "board").value();
  std::thread reading([&] {
    Frame value;
    std::uint64_t last = 0;
    while (last < kVersions) {
      const Result<std::uint64_t> version = reader.read(value);
      if (!version) {
        ASSERT_EQ(version.error().code(), std::errc::resource_unavailable_try_again);
        continue;
      }
      ASSERT_GE(*version, last);
      ASSERT_TRUE(*version == 0 || value.is_of(*version));
      last = *version;
      if (last < kVersions) {
        reader.wait_for_change().value();
      }
    }
  });
  for (std::uint64_t version = 1; version <= kVersions; ++version) {
    writer.write(Frame::make(version));
  }
  reading.join();
}

}  // namespace
}  // namespace quire::ipc
