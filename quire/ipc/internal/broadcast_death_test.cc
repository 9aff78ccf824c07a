// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "quire/base/prng.h"
#include "quire/ipc/core/broadcast_core.h"
#include "quire/ipc/internal/rings_under_test.h"
#include "quire/testing/ipc_steps.h"
#include "quire/testing/seed.h"

namespace quire::ipc::internal {
namespace {

using testing::at_every_step;
using testing::AtStep;
using testing::SharedMemory;
using testing::SteppedChild;
using testing::StepRound;

constexpr std::uint64_t kSlots = 4;
constexpr std::uint64_t kMessages = 3;

struct SharedBroadcast {
  SharedMemory memory{sizeof(BroadcastControl) + kSlots * 64};
  SharedMemory notes{4096};

  [[nodiscard]] BroadcastPlace place() const {
    return {.control = &memory.as<BroadcastControl>(),
            .slots = memory.data() + sizeof(BroadcastControl),
            .slot_count = kSlots,
            .stride_bytes = 64};
  }
  std::atomic<std::uint64_t>& acknowledged() { return notes.as<std::atomic<std::uint64_t>>(); }
  void publish(BroadcastWriterCore& writer) const {
    const std::uint64_t number = writer.number();
    store_message(writer.begin(), TestMessage::make(1, number));
    writer.publish();
  }
};

// Whether what is at `number` is whole, and nothing else is taken for it.
bool shows(const BroadcastReaderCore& reader, std::uint64_t number) {
  if (reader.look(number) != Sight::kWhole) {
    return false;
  }
  TestMessage message;
  copy_words_out(reinterpret_cast<std::byte*>(&message), reader.payload(number), sizeof(message));
  const bool is_still = reader.is_still(number);
  EXPECT_TRUE(is_still);
  EXPECT_TRUE(message.is_whole());
  EXPECT_EQ(message.number, number);
  return is_still;
}

// Goal:   a writer that is killed at any step leaves whole objects only, loses none that it knew to
//         be published, and is succeeded without a gap and without changing what was seen.
TEST(BroadcastDeathTest, AWriterKilledAtAnyStepLeavesWholeObjectsAndNoGap) {
  for (const std::uint64_t age : {0U, 2U, 3U, 9U}) {
    at_every_step(AtStep::kKill, [&] {
      auto shared = std::make_shared<SharedBroadcast>();
      BroadcastWriterCore before(shared->place());
      for (std::uint64_t number = 0; number < age; ++number) {
        shared->publish(before);
      }
      shared->acknowledged() = age;
      const auto body = [shared] {
        BroadcastWriterCore writer(shared->place());
        for (std::uint64_t count = 0; count < kMessages; ++count) {
          shared->publish(writer);
          shared->acknowledged() = writer.number();
        }
        return 0;
      };
      const auto check = [shared](const SteppedChild& child) {
        const BroadcastReaderCore reader(shared->place());
        EXPECT_TRUE(reader.is_sound()) << child.step();
        const std::uint64_t acknowledged = shared->acknowledged();
        const bool one_more = shows(reader, acknowledged);
        BroadcastWriterCore successor(shared->place());
        EXPECT_EQ(successor.number(), acknowledged + (one_more ? 1 : 0)) << child.step();
        EXPECT_TRUE(acknowledged == 0 || shows(reader, acknowledged - 1)) << child.step();
        const std::uint64_t first = successor.number();
        for (std::uint64_t count = 0; count < 2 * kSlots; ++count) {
          shared->publish(successor);
          EXPECT_TRUE(shows(reader, first + count)) << child.step();
        }
        EXPECT_TRUE(reader.is_sound()) << child.step();
      };
      return StepRound{.body = body, .check = check};
    });
  }
}

// Goal:   a writer that is stopped at any step keeps no reader from what was published before.
TEST(BroadcastDeathTest, AWriterStoppedAtAnyStepHidesNothingThatReadersMaySee) {
  at_every_step(AtStep::kStop, [&] {
    auto shared = std::make_shared<SharedBroadcast>();
    BroadcastWriterCore before(shared->place());
    for (std::uint64_t number = 0; number < 6; ++number) {
      shared->publish(before);
    }
    const auto body = [shared] {
      BroadcastWriterCore writer(shared->place());
      shared->publish(writer);
      return 0;
    };
    const auto check = [shared](SteppedChild& child) {
      const BroadcastReaderCore reader(shared->place());
      for (std::uint64_t number = reader.oldest(6); number < 6; ++number) {
        EXPECT_TRUE(shows(reader, number)) << child.step();
      }
      if (child.was_reached()) {
        child.resume();
      }
      EXPECT_EQ(child.end().exit_code, 0);
      EXPECT_TRUE(shows(reader, 6)) << child.step();
    };
    return StepRound{.body = body, .check = check};
  });
}

// Goal:   whatever stands in shared memory, every operation ends.
TEST(BroadcastDeathTest, EveryOperationEndsWhateverIsWrittenOverTheSlots) {
  Prng random(testing::test_seed());
  for (int round = 0; round < 4'000; ++round) {
    const SharedBroadcast shared;
    const std::span<std::byte> bytes = shared.memory.bytes();
    for (std::byte& byte : bytes.first(sizeof(BroadcastControl) + random.below(kSlots * 64))) {
      byte = static_cast<std::byte>(random.below(3) == 0 ? random() : 0);
    }
    const BroadcastReaderCore reader(shared.place());
    BroadcastWriterCore writer(shared.place());
    for (int step = 0; step < 6; ++step) {
      shared.publish(writer);
      EXPECT_TRUE(reader.is_still(writer.number() - 1)) << "what was just written is whole";
      static_cast<void>(reader.look(random()));
    }
    static_cast<void>(reader.oldest(reader.tail()));
  }
}

}  // namespace
}  // namespace quire::ipc::internal
