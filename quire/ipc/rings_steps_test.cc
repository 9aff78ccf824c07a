// SPDX-License-Identifier: Apache-2.0
//
// The rings as their users see them, in a segment, with a participant that is killed at each of its
// steps: attaching, taking its role, passing messages, waking, giving the role back, detaching. The
// cores without all that: internal/rings_death_test.cc.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <type_traits>
#include <vector>

#include "quire/ipc/blackboard.h"
#include "quire/ipc/broadcast.h"
#include "quire/ipc/mpsc_bytes.h"
#include "quire/ipc/mpsc_ring.h"
#include "quire/ipc/segment.h"
#include "quire/ipc/spsc_bytes.h"
#include "quire/ipc/spsc_ring.h"
#include "quire/testing/ipc_memory.h"
#include "quire/testing/ipc_steps.h"

namespace quire::ipc {
namespace {

using testing::at_every_step;
using testing::AtStep;
using testing::SteppedChild;
using testing::StepRound;

constexpr std::uint64_t kMessages = 2;
constexpr WaitOptions kLook{.timeout = std::chrono::nanoseconds(0)};

template <typename Ring>
inline constexpr bool kOfBytes = std::is_same_v<Ring, SpscBytes> || std::is_same_v<Ring, MpscBytes>;

template <typename Ring>
Layout layout_of() {
  Layout layout;
  if constexpr (kOfBytes<Ring>) {
    layout.add(Ring::object("ring", {.capacity_bytes = 4096}));
  } else {
    layout.add(Ring::object("ring", {.capacity = 4, .type = "number"}));
  }
  return layout;
}

template <typename Writer>
bool push(Writer& writer, std::uint64_t number) {
  if constexpr (requires { writer.record_bytes_max(); }) {
    return writer.push(std::as_bytes(std::span(&number, 1)), kLook).has_value();
  } else {
    return writer.push(number, kLook).has_value();
  }
}

// 0: there is nothing.
template <typename Reader>
std::uint64_t pop(Reader& reader) {
  std::uint64_t number = 0;
  if constexpr (requires { reader.try_pop(number); }) {
    reader.try_pop(number);
  } else if (const auto record = reader.peek()) {
    std::memcpy(&number, record->data(), sizeof(number));
    reader.release();
  }
  return number;
}

// What a test and its child share: a segment, by its descriptor, and what the child knows.
template <typename Ring>
struct Shared {
  Segment segment = Segment::make_anonymous(layout_of<Ring>()).value();
  testing::SharedMemory memory{4096};

  std::atomic<std::uint64_t>& acknowledged() { return memory.as<std::atomic<std::uint64_t>>(); }
  [[nodiscard]] Segment join() const {
    return Segment::adopt(sys::Descriptor(::dup(segment.descriptor())), layout_of<Ring>()).value();
  }
};

template <typename Ring>
class RingStepsTest : public ::testing::Test {};
using Rings =
    ::testing::Types<SpscRing<std::uint64_t>, MpscRing<std::uint64_t>, SpscBytes, MpscBytes>;
TYPED_TEST_SUITE(RingStepsTest, Rings);

TYPED_TEST(RingStepsTest, AWriterKilledAtAnyStepIsReplacedAndLosesNothingPublished) {
  at_every_step(AtStep::kKill, [&] {
    auto shared = std::make_shared<Shared<TypeParam>>();
    const auto body = [shared] {
      const Segment segment = shared->join();
      auto writer = TypeParam::writer(segment, "ring").value();
      for (std::uint64_t number = 1; number <= kMessages; ++number) {
        if (!push(writer, number)) {
          return 1;
        }
        shared->acknowledged() = number;
      }
      return 0;
    };
    const auto check = [shared](const SteppedChild& child) {
      auto writer = TypeParam::writer(shared->segment, "ring");
      ASSERT_TRUE(writer.has_value()) << child.step() << ": " << writer.error().message();
      auto reader = TypeParam::reader(shared->segment, "ring").value();
      std::uint64_t last = 0;
      for (std::uint64_t number = pop(reader); number != 0; number = pop(reader)) {
        EXPECT_EQ(number, ++last) << child.step();
      }
      EXPECT_GE(last, shared->acknowledged()) << child.step();
      ASSERT_TRUE(push(*writer, 77)) << child.step();
      // What the dead one had claimed is before it, and is passed over by who waits.
      const auto waited = reader.wait({.timeout = std::chrono::seconds(60)});
      ASSERT_TRUE(waited.has_value()) << child.step();
      EXPECT_EQ(pop(reader), 77U) << child.step();
    };
    return StepRound{.body = body, .check = check};
  });
}

TYPED_TEST(RingStepsTest, AReaderKilledAtAnyStepIsReplacedAndLosesNothingUnreleased) {
  at_every_step(AtStep::kKill, [&] {
    auto shared = std::make_shared<Shared<TypeParam>>();
    auto writer = std::make_shared<typename TypeParam::Writer>(
        TypeParam::writer(shared->segment, "ring").value());
    for (std::uint64_t number = 1; number <= kMessages; ++number) {
      EXPECT_TRUE(push(*writer, number));
    }
    const auto body = [shared] {
      const Segment segment = shared->join();
      auto reader = TypeParam::reader(segment, "ring").value();
      for (std::uint64_t number = 1; number <= kMessages; ++number) {
        if (pop(reader) != number) {
          return 1;
        }
        shared->acknowledged() = number;
      }
      return 0;
    };
    const auto check = [shared, writer](const SteppedChild& child) {
      auto reader = TypeParam::reader(shared->segment, "ring");
      ASSERT_TRUE(reader.has_value()) << child.step() << ": " << reader.error().message();
      EXPECT_TRUE(push(*writer, kMessages + 1)) << child.step();
      const std::uint64_t first = pop(*reader);
      const std::uint64_t acknowledged = shared->acknowledged();
      EXPECT_TRUE(first == acknowledged + 1 || first == acknowledged + 2) << child.step();
      for (std::uint64_t number = first + 1; number <= kMessages + 1; ++number) {
        EXPECT_EQ(pop(*reader), number) << child.step();
      }
    };
    return StepRound{.body = body, .check = check};
  });
}

struct Value {
  std::uint64_t version = 0;
  std::uint64_t twice = 0;
};

// Goal:   a board shows a whole value, at least as new as its writer knew, whatever kills him.
TEST(BlackboardStepsTest, AWriterKilledAtAnyStepLeavesAWholeValueAndIsReplaced) {
  using Board = Blackboard<Value>;
  Layout layout;
  layout.add(Board::object("board"));
  at_every_step(AtStep::kKill, [&] {
    const auto segment = std::make_shared<Segment>(Segment::make_anonymous(layout).value());
    const auto memory = std::make_shared<testing::SharedMemory>(4096);
    const auto body = [=, &layout] {
      const Segment mine =
          Segment::adopt(sys::Descriptor(::dup(segment->descriptor())), layout).value();
      auto board = Board::writer(mine, "board").value();
      for (std::uint64_t version = 1; version <= kMessages; ++version) {
        board.write({version, 2 * version});
        memory->as<std::atomic<std::uint64_t>>() = version;
      }
      return 0;
    };
    const auto check = [=](const SteppedChild& child) {
      auto reader = Board::reader(*segment, "board").value();
      Value value;
      const std::uint64_t version = reader.read(value).value();
      EXPECT_GE(version, memory->as<std::atomic<std::uint64_t>>()) << child.step();
      EXPECT_EQ(value.version, version) << child.step();
      EXPECT_EQ(value.twice, 2 * version) << child.step();
      EXPECT_TRUE(reader.check_invariants()) << child.step();
      auto board = Board::writer(*segment, "board").value();
      EXPECT_EQ(board.version(), version) << child.step();
      board.write({version + 1, 2 * version + 2});
      EXPECT_EQ(reader.read(value).value(), version + 1) << child.step();
      EXPECT_EQ(value.version, version + 1) << child.step();
    };
    return StepRound{.body = body, .check = check};
  });
}

// A child of fork() has copies of handles that are not its own.
TEST(RingForkTest, AChildsCopyOfAHandleDoesNotGiveItsRoleBack) {
  const auto shared = std::make_shared<Shared<SpscRing<std::uint64_t>>>();
  auto writer = std::make_unique<SpscRing<std::uint64_t>::Writer>(
      SpscRing<std::uint64_t>::writer(shared->segment, "ring").value());
  testing::Child child([&] {
    writer.reset();
    return 0;
  });
  EXPECT_EQ(child.join().exit_code, 0);
  EXPECT_FALSE(SpscRing<std::uint64_t>::writer(shared->segment, "ring").has_value());
}

}  // namespace
}  // namespace quire::ipc
