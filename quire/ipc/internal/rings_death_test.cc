// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "quire/ipc/internal/rings_under_test.h"
#include "quire/testing/ipc_steps.h"

namespace quire::ipc::internal {
namespace {

using testing::at_every_step;
using testing::AtStep;
using testing::FakePeers;
using testing::SharedMemory;
using testing::SteppedChild;
using testing::StepRound;
using testing::StepVisitor;

constexpr MemberWord kOurs = 1;
constexpr MemberWord kTheirs = 2;
constexpr std::uint64_t kMessages = 3;

// What a test and its child share: a ring, and what the child knows to be done.
template <typename Ring>
struct Shared {
  Ring ring;
  SharedMemory memory{4096};

  std::atomic<std::uint64_t>& acknowledged() { return memory.as<std::atomic<std::uint64_t>>(); }

  // Goes round the ring a few times, so that a lap ends in the middle of what follows.
  void age(std::uint64_t messages) {
    const FakePeers peers(kOurs);
    typename Ring::Reader reader(ring);
    for (std::uint64_t number = 1; number <= messages; ++number) {
      ASSERT_EQ(ring.push(kOurs, number), TryResult::kDone);
      ASSERT_EQ(reader.pop(peers).message.number, number);
    }
  }
};

// The numbers of one member's messages, in the order in which they came; all of them whole.
std::vector<std::uint64_t> numbers_of(MemberWord member, const std::vector<TestMessage>& messages) {
  std::vector<std::uint64_t> numbers;
  for (const TestMessage& message : messages) {
    EXPECT_TRUE(message.is_whole());
    if (message.writer == member) {
      numbers.push_back(message.number);
    }
  }
  return numbers;
}

std::vector<std::uint64_t> count_up(std::uint64_t first, std::uint64_t last) {
  std::vector<std::uint64_t> numbers;
  for (std::uint64_t number = first; number <= last; ++number) {
    numbers.push_back(number);
  }
  return numbers;
}

template <typename Reader>
void drain(Reader& reader, const FakePeers& peers, std::vector<TestMessage>& into) {
  for (Popped popped = reader.pop(peers); popped.result != TryResult::kNothing;
       popped = reader.pop(peers)) {
    ASSERT_EQ(popped.result, TryResult::kDone);
    into.push_back(popped.message);
  }
}

template <typename Ring>
class RingDeathTest : public ::testing::Test {};
using Rings = ::testing::Types<PositionsRing, CellsRing, RecordsRing>;
TYPED_TEST_SUITE(RingDeathTest, Rings);

// Goal:   a writer that is killed at any step loses nothing that it was told is published, leaves
//         nothing half, and keeps neither reader nor other writers.
// Method: it writes three messages; we read, write three of our own and read again.
TYPED_TEST(RingDeathTest, AWriterKilledAtAnyStepHarmsNobody) {
  for (const std::uint64_t age : {0U, 2U, 3U, 13U}) {
    at_every_step(AtStep::kKill, [&] {
      auto shared = std::make_shared<Shared<TypeParam>>();
      shared->age(age);
      const auto body = [shared] {
        for (std::uint64_t number = 1; number <= kMessages; ++number) {
          if (shared->ring.push(kTheirs, number) != TryResult::kDone) {
            return 1;
          }
          shared->acknowledged() = number;
        }
        return 0;
      };
      const auto check = [shared](const SteppedChild& child) {
        FakePeers peers(kOurs);
        peers.die(kTheirs);
        typename TypeParam::Reader reader(shared->ring);
        std::vector<TestMessage> seen;
        drain(reader, peers, seen);
        for (std::uint64_t number = 1; number <= kMessages; ++number) {
          EXPECT_EQ(shared->ring.push(kOurs, number), TryResult::kDone) << child.step();
          drain(reader, peers, seen);
        }
        const std::uint64_t acknowledged = shared->acknowledged();
        const std::vector<std::uint64_t> theirs = numbers_of(kTheirs, seen);
        EXPECT_TRUE(theirs.size() == acknowledged || theirs.size() == acknowledged + 1);
        EXPECT_EQ(theirs, count_up(1, theirs.size()));
        EXPECT_EQ(numbers_of(kOurs, seen), count_up(1, kMessages));
        EXPECT_TRUE(reader.is_sound()) << child.step();
      };
      return StepRound{.body = body, .check = check};
    });
  }
}

// Goal:   a reader that is killed at any step loses nothing that it had not released, and what it
//         had released is not seen again.
TYPED_TEST(RingDeathTest, AReaderKilledAtAnyStepIsSucceededExactlyWhereItWas) {
  for (const std::uint64_t age : {0U, 2U, 3U, 13U}) {
    at_every_step(AtStep::kKill, [&] {
      auto shared = std::make_shared<Shared<TypeParam>>();
      shared->age(age);
      for (std::uint64_t number = 1; number <= kMessages; ++number) {
        EXPECT_EQ(shared->ring.push(kOurs, number), TryResult::kDone);
      }
      const auto body = [shared] {
        const FakePeers peers(kTheirs);
        const Role role = Role::take(shared->ring.reader_role(), peers);
        typename TypeParam::Reader reader(shared->ring);
        for (std::uint64_t number = 1; number <= kMessages; ++number) {
          if (!role.held() || reader.pop(peers).message.number != number) {
            return 1;
          }
          shared->acknowledged() = number;
        }
        return 0;
      };
      const auto check = [shared](const SteppedChild& child) {
        FakePeers peers(kOurs);
        peers.die(kTheirs);
        const Role role = Role::take(shared->ring.reader_role(), peers);
        ASSERT_TRUE(role.held()) << child.step();
        typename TypeParam::Reader reader(shared->ring);
        std::vector<TestMessage> seen;
        drain(reader, peers, seen);
        EXPECT_EQ(shared->ring.push(kOurs, kMessages + 1), TryResult::kDone);
        drain(reader, peers, seen);
        const std::uint64_t acknowledged = shared->acknowledged();
        ASSERT_FALSE(seen.empty());
        const std::uint64_t first = seen.front().number;
        EXPECT_TRUE(first == acknowledged + 1 || first == acknowledged + 2) << child.step();
        EXPECT_EQ(numbers_of(kOurs, seen), count_up(first, kMessages + 1));
        EXPECT_TRUE(reader.is_sound()) << child.step();
      };
      return StepRound{.body = body, .check = check};
    });
  }
}

template <typename Ring>
class ManyWritersDeathTest : public ::testing::Test {};
using ManyWriters = ::testing::Types<CellsRing, RecordsRing>;
TYPED_TEST_SUITE(ManyWritersDeathTest, ManyWriters);

// Goal:   a writer that is stopped at any step keeps no other writer from claiming and publishing,
//         and what it was about to write is there once it goes on.
TYPED_TEST(ManyWritersDeathTest, AWriterStoppedAtAnyStepStopsNoOtherWriter) {
  at_every_step(AtStep::kStop, [&] {
    auto shared = std::make_shared<Shared<TypeParam>>();
    shared->age(3);
    const auto body = [shared] {
      return shared->ring.push(kTheirs, 1) == TryResult::kDone ? 0 : 1;
    };
    const auto check = [shared](SteppedChild& child) {
      const FakePeers peers(kOurs);
      EXPECT_EQ(shared->ring.push(kOurs, 1), TryResult::kDone) << child.step();
      EXPECT_EQ(shared->ring.push(kOurs, 2), TryResult::kDone) << child.step();
      if (child.was_reached()) {
        child.resume();
      }
      EXPECT_EQ(child.end().exit_code, 0) << child.step();
      typename TypeParam::Reader reader(shared->ring);
      std::vector<TestMessage> seen;
      drain(reader, peers, seen);
      EXPECT_EQ(numbers_of(kOurs, seen), count_up(1, 2)) << child.step();
      EXPECT_EQ(numbers_of(kTheirs, seen), count_up(1, 1)) << child.step();
      EXPECT_TRUE(reader.is_sound()) << child.step();
    };
    return StepRound{.body = body, .check = check};
  });
}

// Goal:   whatever another writer and the reader do between any two steps of a writer, every
//         message comes once, whole and in its writer's order.
// Method: at the n-th step of one writer the other one goes round the ring several times.
TYPED_TEST(ManyWritersDeathTest, AWriterThatIsOvertakenAtAnyStepStillWritesItsMessage) {
  for (std::uint64_t others = 1; others <= 20; ++others) {
    std::uint64_t steps = 1;
    for (std::uint64_t nth = 1; nth <= steps; ++nth) {
      const TypeParam ring;
      const FakePeers peers(kOurs);
      typename TypeParam::Reader reader(ring);
      std::vector<TestMessage> seen;
      std::uint64_t pushed = 0;
      std::uint64_t reached = 0;
      bool acts = false;
      {
        const StepVisitor visitor([&](const char*) {
          if (acts || ++reached != nth) {
            return;
          }
          acts = true;
          for (std::uint64_t turn = 0; turn < others; ++turn) {
            pushed += ring.push(kOurs, pushed + 1) == TryResult::kDone ? 1 : 0;
            Popped popped = reader.pop(peers);
            if (popped.result == TryResult::kDone) {
              seen.push_back(popped.message);
            }
          }
          acts = false;
        });
        EXPECT_EQ(ring.push(kTheirs, 1), TryResult::kDone);
      }
      steps = std::max(steps, reached);
      drain(reader, peers, seen);
      EXPECT_EQ(numbers_of(kTheirs, seen), count_up(1, 1)) << "nth = " << nth;
      EXPECT_EQ(numbers_of(kOurs, seen), count_up(1, pushed)) << "nth = " << nth;
      EXPECT_TRUE(reader.is_sound()) << "nth = " << nth << ", others = " << others;
    }
  }
}

// Goal:   a successor finds its place in a ring that is as full as it can be.
TYPED_TEST(RingDeathTest, AReaderOfAFullRingIsSucceededExactlyWhereItWas) {
  for (std::uint64_t age = 0; age < 20; ++age) {
    Shared<TypeParam> shared;
    shared.age(age);
    const FakePeers peers(kOurs);
    std::uint64_t pushed = 0;
    while (shared.ring.push(kTheirs, pushed + 1) == TryResult::kDone) {
      ++pushed;
    }
    std::vector<TestMessage> seen;
    seen.push_back(typename TypeParam::Reader(shared.ring).pop(peers).message);
    pushed += shared.ring.push(kTheirs, pushed + 1) == TryResult::kDone ? 1 : 0;
    typename TypeParam::Reader successor(shared.ring);
    drain(successor, peers, seen);
    EXPECT_EQ(numbers_of(kTheirs, seen), count_up(1, pushed)) << "age " << age;
    EXPECT_TRUE(successor.is_sound());
  }
}

TYPED_TEST(ManyWritersDeathTest, WhatADeadWriterClaimedIsCountedAndPassedOver) {
  const TypeParam ring;
  FakePeers peers(kOurs);
  typename TypeParam::Reader reader(ring);
  ASSERT_EQ(ring.claim_and_leave(kTheirs), TryResult::kDone);
  ASSERT_EQ(ring.push(kOurs, 1), TryResult::kDone);
  EXPECT_EQ(reader.pop(peers).result, TryResult::kBlocked) << "it is alive and may yet write";
  peers.die(kTheirs);
  const Popped popped = reader.pop(peers);
  EXPECT_EQ(popped.result, TryResult::kDone);
  EXPECT_EQ(popped.message.number, 1U);
  EXPECT_EQ(ring.abandoned(), 1U);
}

TYPED_TEST(ManyWritersDeathTest, WhatAWriterGivesUpIsPassedOver) {
  const TypeParam ring;
  const FakePeers peers(kOurs);
  typename TypeParam::Reader reader(ring);
  for (std::uint64_t number = 1; number <= 9; ++number) {
    ASSERT_EQ(ring.claim_and_give_up(kTheirs), TryResult::kDone);
    ASSERT_EQ(ring.push(kOurs, number), TryResult::kDone);
    EXPECT_EQ(reader.pop(peers).message.number, number);
  }
  EXPECT_EQ(ring.abandoned(), 0U);
  EXPECT_TRUE(reader.is_sound());
}

}  // namespace
}  // namespace quire::ipc::internal
