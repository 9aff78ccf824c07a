// SPDX-License-Identifier: Apache-2.0
//
// Broadcast and Blackboard while somebody writes nonsense over them: whatever stands there, reading
// and writing end, and with an error where there is nothing else to say.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <span>

#include "quire/base/prng.h"
#include "quire/ipc/blackboard.h"
#include "quire/ipc/broadcast.h"
#include "quire/ipc/segment.h"
#include "quire/testing/process.h"
#include "quire/testing/seed.h"

namespace quire::ipc {
namespace {

constexpr std::uint64_t kSlots = 8;
constexpr WaitOptions kShort{.timeout = std::chrono::microseconds(50)};

struct Value {
  std::array<std::uint64_t, 5> words;
};
using News = Broadcast<Value>;
using Board = Blackboard<Value>;

Layout layout() {
  Layout layout;
  layout.add(News::object("object", {.capacity = kSlots, .type = "Value"}));
  layout.add(Board::object("board", {.type = "Value"}));
  return layout;
}

std::span<std::byte> bytes_of(const Segment& segment, const ObjectSpec& spec) {
  return segment.find(spec.name, spec.kind, spec.signature).value().bytes();
}
std::span<std::byte> news_bytes(const Segment& segment) {
  return bytes_of(segment, News::object("object", {.capacity = kSlots, .type = "Value"}));
}
std::span<std::byte> board_bytes(const Segment& segment) {
  return bytes_of(segment, Board::object("board", {.type = "Value"}));
}

// Random words, small ones, and words that differ in a bit from what is there: but for the roles,
// which decide who may open, not what is read.
void scribble(std::span<std::byte> bytes, Prng& random) {
  const std::size_t at = random.below(bytes.size() / 8) * 8;
  if (at == 8) {
    return;
  }
  std::uint64_t word = 0;
  std::memcpy(&word, bytes.data() + at, sizeof(word));
  switch (random.below(3)) {
    case 0: word = random(); break;
    case 1: word = random.below(64); break;
    default: word ^= std::uint64_t{1} << random.below(64);
  }
  std::memcpy(bytes.data() + at, &word, sizeof(word));
}

class BroadcastHostileTest : public ::testing::Test {
 protected:
  static constexpr int kHandles = 300;
  static constexpr int kUses = 60;

  // Another process that does nothing else, until it is killed.
  [[nodiscard]] testing::Child start_scribbler(std::span<std::byte> bytes) const {
    return testing::Child([bytes] {
      for (Prng random(testing::test_seed());;) {
        scribble(bytes, random);
      }
      return 0;
    });
  }

  Segment segment_ = Segment::make_anonymous(layout()).value();
};

TEST_F(BroadcastHostileTest, EveryUseOfABroadcastEndsWhileItIsWrittenOver) {
  const testing::Child scribbler = start_scribbler(news_bytes(segment_));
  Value value{};
  for (int handle = 0; handle < kHandles; ++handle) {
    auto writer = News::writer(segment_, "object").value();
    auto reader = News::reader(segment_, "object",
                               handle % 2 == 0 ? News::From::kOldest : News::From::kNewest)
                      .value();
    for (int use = 0; use < kUses; ++use) {
      writer.publish(value);
      reader.try_read(value);
      static_cast<void>(reader.read(value, kShort));
      if (reader.peek() != nullptr) {
        static_cast<void>(reader.finish());
      }
    }
    static_cast<void>(reader.check_invariants());
  }
}

TEST_F(BroadcastHostileTest, EveryUseOfABlackboardEndsWhileItIsWrittenOver) {
  const testing::Child scribbler = start_scribbler(board_bytes(segment_));
  Value value{};
  for (int handle = 0; handle < kHandles; ++handle) {
    auto writer = Board::writer(segment_, "board").value();
    auto reader = Board::reader(segment_, "board").value();
    for (int use = 0; use < kUses; ++use) {
      writer.write(value);
      static_cast<void>(reader.read(value));
      static_cast<void>(reader.wait_for_change(kShort));
    }
    static_cast<void>(reader.check_invariants());
  }
}

// Goal:   sequences of laps that nobody will ever come to are an error or time out, and are not
//         walked through one by one.
TEST_F(BroadcastHostileTest, SequencesFarAheadDoNotKeepAReader) {
  auto reader = News::reader(segment_, "object", News::From::kOldest).value();
  const std::span<std::byte> bytes = news_bytes(segment_);
  const std::size_t slot_bytes = (bytes.size() - 192) / kSlots;
  for (std::uint64_t slot = 0; slot < kSlots; ++slot) {
    const std::uint64_t number = (std::uint64_t{1} << 60U) + slot * (kSlots + 1);
    const std::uint64_t writing = 2 * number + 1;
    std::memcpy(bytes.data() + 192 + slot * slot_bytes, &writing, sizeof(writing));
  }
  Value value{};
  EXPECT_FALSE(reader.try_read(value));
  const auto read = reader.read(value, kShort);
  ASSERT_FALSE(read.has_value());
}

}  // namespace
}  // namespace quire::ipc
