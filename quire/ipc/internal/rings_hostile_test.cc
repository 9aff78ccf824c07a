// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstring>

#include "quire/base/prng.h"
#include "quire/ipc/internal/rings_under_test.h"
#include "quire/testing/seed.h"

namespace quire::ipc::internal {
namespace {

using testing::FakePeers;
using testing::test_seed;

constexpr int kRounds = 4'000;

// Writes over some of the bytes that everybody shares: all of them, a word, or a bit.
void scribble(std::span<std::byte> bytes, Prng& random) {
  const std::uint64_t words = bytes.size() / 8;
  const auto at = [&](std::uint64_t word) { return bytes.data() + word * 8; };
  const auto store = [&](std::uint64_t word, std::uint64_t value) {
    std::memcpy(at(word), &value, sizeof(value));
  };
  switch (random.below(4)) {
    case 0:
      for (std::uint64_t word = 0; word < words; ++word) {
        store(word, random());
      }
      break;
    case 1: store(random.below(words), random()); break;
    case 2: store(random.below(words), random.below(64)); break;
    default: {
      const std::uint64_t word = random.below(words);
      std::uint64_t value = 0;
      std::memcpy(&value, at(word), sizeof(value));
      store(word, value ^ (std::uint64_t{1} << random.below(64)));
    }
  }
}

template <typename Ring>
class RingHostileTest : public ::testing::Test {};
using Rings = ::testing::Types<PositionsRing, CellsRing, RecordsRing>;
TYPED_TEST_SUITE(RingHostileTest, Rings);

// Goal:   whatever stands in shared memory, every operation ends, and touches nothing outside.
// Method: random bytes between operations; half of the members named there are dead. Memory beside
//         the ring is not mapped (the sanitizer of addresses does not know it, the kernel does).
TYPED_TEST(RingHostileTest, EveryOperationEndsWhateverIsWrittenOverTheRing) {
  Prng random(test_seed());
  for (int round = 0; round < kRounds; ++round) {
    const TypeParam ring;
    FakePeers peers(1);
    for (MemberWord member = 2; member < 64; member += 2) {
      peers.die(member);
    }
    typename TypeParam::Reader reader(ring);
    for (int step = 0; step < 12; ++step) {
      switch (random.below(4)) {
        case 0: scribble(ring.bookkeeping(), random); break;
        case 1: ring.push(1, random.below(100)); break;
        case 2: reader.pop(peers); break;
        default: reader = typename TypeParam::Reader(ring);
      }
    }
    static_cast<void>(reader.is_sound());
  }
}

// Goal:   a position that cannot be is told, not obeyed.
TEST(RingHostileWordsTest, ATailBeyondTheCapacityCondemnsTheReader) {
  const PositionsRing ring;
  SpscReaderCore reader(ring.control(), PositionsRing::kCapacity);
  ring.control().tail = PositionsRing::kCapacity + 1;
  EXPECT_EQ(reader.ready(), 0U);
  EXPECT_TRUE(reader.corrupt());
  ring.control().tail = 1;
  EXPECT_EQ(reader.ready(), 0U) << "once corrupt, always";
}

TEST(RingHostileWordsTest, AHeadThatFallsCondemnsTheWriter) {
  const PositionsRing ring;
  ring.control().tail = 8;
  ring.control().head = 8;
  SpscWriterCore writer(ring.control(), PositionsRing::kCapacity);
  ring.control().head = 7;
  EXPECT_EQ(writer.room(4), 4U) << "known without looking";
  writer.publish(4);
  EXPECT_EQ(writer.room(1), 0U);
  EXPECT_TRUE(writer.corrupt());
}

TEST(RingHostileWordsTest, ALapThatCannotBeCondemnsTheReaderOfCells) {
  const CellsRing ring;
  MpscCellsReader reader(ring.place());
  ring.place().word(0) = published_word(5, 1);
  EXPECT_EQ(reader.look(), TryResult::kCorrupt);
}

TEST(RingHostileWordsTest, ARecordLongerThanTheRingCondemnsItsReader) {
  const RecordsRing ring;
  ASSERT_EQ(ring.push(1, 1), TryResult::kDone);
  MpscRecordsReader reader(ring.place());
  ring.place().slot(0).length = RecordsRing::kCapacityBytes + 1;
  EXPECT_EQ(reader.look(), TryResult::kCorrupt);
}

TEST(RingHostileWordsTest, AnEndBeyondTheCapacityCondemnsTheReaderOfRecords) {
  const RecordsRing ring;
  ASSERT_EQ(ring.push(1, 1), TryResult::kDone);
  MpscRecordsReader reader(ring.place());
  ring.place().slot(0).end = RecordsRing::kCapacityBytes + 8;
  EXPECT_EQ(reader.look(), TryResult::kCorrupt);
}

TEST(RingHostileWordsTest, ALivingHolderKeepsItsRoleAndAnyOtherWordGivesItUp) {
  const PositionsRing ring;
  FakePeers peers(1);
  ring.reader_role() = 7;
  EXPECT_FALSE(Role::take(ring.reader_role(), peers).held());
  peers.die(7);
  const Role role = Role::take(ring.reader_role(), peers);
  EXPECT_TRUE(role.held());
  EXPECT_EQ(ring.reader_role(), 1U);
  EXPECT_FALSE(Role::take(ring.reader_role(), peers).held()) << "not twice, not even for itself";
}

}  // namespace
}  // namespace quire::ipc::internal
