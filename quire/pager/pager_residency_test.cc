// SPDX-License-Identifier: Apache-2.0
//
// What of an area is in memory, who keeps it there, and what becomes of stores: counters, pins,
// prefetch, advice, eviction, flush and resize.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "quire/pager/pager.h"
#include "quire/testing/pager_fixture.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::is_pattern;
using testing::kGranule;
using testing::kReadOnly;
using testing::kWritable;
using testing::load_byte;
using testing::pattern;
using testing::pattern_at;
using testing::pattern_bytes;
using testing::read_file;
using testing::settle;
using testing::store_byte;

class PagerResidencyTest : public testing::AreaTest {};

// --- Residency -----------------------------------------------------------------------------------

TEST_P(PagerResidencyTest, CountersTellLoadsStoresAndUpgrades) {
  WritablePagedArea area = map_random(64 * kGranule);
  std::byte* const bytes = area.bytes().data();
  testing::in_fresh_thread([bytes] {
    EXPECT_EQ(load_byte(bytes + 5 * kGranule), pattern_at(5 * kGranule));
    store_byte(bytes + 9 * kGranule, std::byte{1});
    store_byte(bytes + 5 * kGranule, std::byte{2});
    store_byte(bytes + 5 * kGranule + 1, std::byte{3});
  });
  settle(area);
  const AreaStats stats = area.stats();
  EXPECT_EQ(stats.load_misses, 1U);
  EXPECT_EQ(stats.store_misses, 1U);
  EXPECT_EQ(stats.store_upgrades, 1U);
  EXPECT_EQ(stats.faults, 3U);
  EXPECT_EQ(stats.reads, 2U);
  EXPECT_EQ(stats.read_bytes, 2 * kGranule);
  EXPECT_EQ(stats.read_ahead_bytes, 0U);
  EXPECT_EQ(stats.resident_bytes, 2 * kGranule);
  EXPECT_EQ(stats.dirty_bytes, 2 * kGranule);
  EXPECT_EQ(stats.failed_fills, 0U);
  EXPECT_EQ(pager_.stats().page_bytes, 2 * kGranule);
  ASSERT_TRUE(area.flush().has_value());
  EXPECT_EQ(area.stats().writes, 2U);
  EXPECT_EQ(area.stats().write_bytes, 2 * kGranule);
  EXPECT_EQ(area.stats().dirty_bytes, 0U);
  EXPECT_EQ(area.stats().resident_bytes, 2 * kGranule);
}

TEST_P(PagerResidencyTest, ResidentCountsTheRangeThatIsAskedFor) {
  WritablePagedArea area = map_random(8 * kGranule + 100);
  static_cast<void>(load_byte(area.bytes().data() + 2 * kGranule));
  store_byte(area.bytes().data() + 8 * kGranule, std::byte{1});
  const Pin pin = area.pin({2 * kGranule, 1}).value();
  settle(area);
  const PagedResidency all = area.resident().value();
  EXPECT_EQ(all.resident_bytes, kGranule + 100);
  EXPECT_EQ(all.dirty_bytes, 100U);
  EXPECT_EQ(all.pinned_bytes, kGranule);
  EXPECT_EQ(area.resident({2 * kGranule + 96, 4}).value().resident_bytes, 4U);
  EXPECT_EQ(area.resident({3 * kGranule, kGranule}).value().resident_bytes, 0U);
  EXPECT_EQ(area.resident({8 * kGranule, 101}).error().code(), Errc::kOutOfRange);
}

TEST_P(PagerResidencyTest, EvictWritesWhatIsDirtyAndKeepsWhatIsPinned) {
  WritablePagedArea area = map_random(16 * kGranule);
  for (std::uint64_t i = 0; i < 4; ++i) {
    static_cast<void>(load_byte(area.bytes().data() + i * kGranule));
  }
  store_byte(area.bytes().data(), std::byte{0x77});
  Pin pin = area.pin({kGranule, kGranule}).value();
  settle(area);
  const PagedEviction eviction = area.evict().value();
  EXPECT_EQ(eviction.evicted_bytes, 3 * kGranule);
  EXPECT_EQ(eviction.kept_bytes, kGranule);
  EXPECT_EQ(read_file(directory_.file("data"))[0], '\x77');
  EXPECT_EQ(area.stats().resident_bytes, kGranule);
  pin.release();
  EXPECT_EQ(area.evict().value().evicted_bytes, kGranule);
  EXPECT_EQ(pager_.stats().page_bytes, 0U);
  EXPECT_EQ(load_byte(area.bytes().data()), std::byte{0x77});
}

TEST_P(PagerResidencyTest, PinsHoldUntilTheLastOneGoes) {
  WritablePagedArea area = map_random(16 * kGranule);
  Pin first = area.pin({10, 2 * kGranule}).value();  // Touches three granules.
  EXPECT_TRUE(is_pattern(first.bytes(), 10));
  EXPECT_EQ(area.stats().resident_bytes, 3 * kGranule);
  Pin second = area.pin({kGranule, 1}).value();
  Pin third = std::move(first);
  EXPECT_FALSE(first.is_held());  // NOLINT(bugprone-use-after-move): that is the claim.
  EXPECT_EQ(area.evict().value().kept_bytes, 3 * kGranule);
  third.release();
  EXPECT_FALSE(third.is_held());
  EXPECT_EQ(area.evict().value().kept_bytes, kGranule);
  second = area.pin({5 * kGranule, 1}).value();  // Gives back what it had.
  EXPECT_EQ(area.resident({kGranule, kGranule}).value().pinned_bytes, 0U);
  EXPECT_EQ(area.pin({16 * kGranule, 1}).error().code(), Errc::kOutOfRange);
}

// Goal:   windows that were read ahead, and wait for their reader behind what is pinned, do not
//         keep a pin that cannot fit waiting.
// Method: a read-only area and room for several of them, pinned as a stream.
TEST_P(PagerResidencyTest, PinLargerThanTheBudgetIsRefusedAlsoBehindWhatWasReadAhead) {
  const std::string path = map_random(4_MiB).name();
  Pager pager({.memory_bytes = 2_MiB, .fault_path = GetParam()});
  const PagedArea area = pager.map(path).value();
  for (int round = 0; round < 3; ++round) {
    const auto refused = area.pin({});
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code(), Errc::kLimit);
    EXPECT_EQ(area.resident().value().pinned_bytes, 0U);
  }
}

// Goal:   a pin that cannot fit is an Error that leaves nothing pinned; the area goes on working.
TEST_P(PagerResidencyTest, PinLargerThanTheBudgetIsRefusedAndLeavesNothingBehind) {
  const WritablePagedArea area = map_random(4_MiB);
  const auto refused = area.pin({0, 2_MiB});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Errc::kLimit);
  EXPECT_NE(refused.error().message().find("memory_bytes"), std::string::npos)
      << refused.error().message();
  EXPECT_EQ(area.resident().value().pinned_bytes, 0U);
  EXPECT_TRUE(is_pattern(area.bytes()));
  EXPECT_LE(pager_.stats().taken_bytes_max, 1_MiB);
}

TEST_P(PagerResidencyTest, CloseIsRefusedWhileAPinIsHeld) {
  WritablePagedArea area = map_random(4 * kGranule);
  WritablePin pin = area.pin_for_writing({0, kGranule}).value();
  pin.bytes()[3] = std::byte{0x33};
  const auto refused = area.close();
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Errc::kFailed);
  EXPECT_NE(refused.error().message().find("Pin"), std::string::npos);
  ASSERT_TRUE(area.is_open());
  EXPECT_EQ(load_byte(area.bytes().data() + 5), pattern_at(5));
  pin.release();
  EXPECT_TRUE(area.close().has_value());
  EXPECT_EQ(read_file(directory_.file("data"))[3], '\x33');
}

TEST_P(PagerResidencyTest, PrefetchBringsWhatFitsAndEndsAllTheSame) {
  const WritablePagedArea area = map_random(4_MiB);
  const std::array<ByteRange, 3> ranges{
      {{0, 8 * kGranule}, {64 * kGranule, 1}, {100 * kGranule, 3 * kGranule}}};
  ASSERT_TRUE(area.prefetch(ranges).wait().has_value());
  EXPECT_EQ(area.stats().resident_bytes, 12 * kGranule);
  EXPECT_EQ(area.stats().faults, 0U);
  const std::uint64_t reads = area.stats().reads;
  EXPECT_TRUE(is_pattern(area.bytes({0, 8 * kGranule}).value()));
  EXPECT_TRUE(is_pattern(area.bytes({100 * kGranule, 3 * kGranule}).value(), 100 * kGranule));
  EXPECT_EQ(area.stats().reads, reads);
  EXPECT_EQ(area.stats().load_misses, 0U);
  EXPECT_TRUE(area.prefetch(kWholeFile).wait().has_value());  // Four times the memory.
  EXPECT_LE(pager_.stats().taken_bytes_max, 1_MiB);
  EXPECT_EQ(area.prefetch({4_MiB, 1}).wait().error().code(), Errc::kOutOfRange);
}

TEST_P(PagerResidencyTest, AdviceIsCheckedAndLimited) {
  WritablePagedArea area = map_random(4_MiB);
  const PagedArea reader = pager_.map(directory_.file("data"), kReadOnly).value();
  EXPECT_EQ(reader.advise({0, 1}, Pattern::kOverwrite).error().code(), Errc::kReadOnly);
  EXPECT_EQ(reader.advise({4_MiB, 1}, Pattern::kRandom).error().code(), Errc::kOutOfRange);
  // Every second granule: as many ranges as there are pieces of advice.
  std::uint64_t accepted = 0;
  Result<void> advised;
  while (advised && accepted <= PagedArea::kAdvicesMax) {
    advised = reader.advise({accepted * 2 * kGranule, kGranule}, Pattern::kSequential);
    accepted += advised ? 1 : 0;
  }
  EXPECT_EQ(accepted, PagedArea::kAdvicesMax);
  EXPECT_EQ(advised.error().code(), Errc::kLimit);
  EXPECT_TRUE(reader.advise(kWholeFile, Pattern::kNormal).has_value());
  EXPECT_TRUE(reader.advise({kGranule, kGranule}, Pattern::kSequential).has_value());
}

TEST_P(PagerResidencyTest, AdviceDecidesWhatAFaultReads) {
  const PagedArea area = pager_.map(file(4_MiB), kReadOnly).value();
  ASSERT_TRUE(area.advise(kWholeFile, Pattern::kRandom).has_value());
  for (std::uint64_t i = 0; i < 8; ++i) {  // A stream, if it were not for the advice.
    static_cast<void>(load_byte(area.bytes().data() + i * kGranule));
  }
  settle(area);
  EXPECT_EQ(area.stats().read_bytes, 8 * kGranule);
  EXPECT_EQ(area.stats().resident_bytes, 8 * kGranule);
  ASSERT_TRUE(area.advise({0, 4 * kGranule}, Pattern::kWillNotReuse).has_value());
  EXPECT_EQ(area.resident({0, 8 * kGranule}).value().resident_bytes, 4 * kGranule);
  ASSERT_TRUE(area.advise({1_MiB, 3_MiB}, Pattern::kSequential).has_value());
  const std::uint64_t before = area.stats().load_misses;
  EXPECT_TRUE(is_pattern(area.bytes({1_MiB, 3_MiB}).value(), 1_MiB));
  EXPECT_LT(area.stats().load_misses - before, 3_MiB / kGranule / 4);
}

// --- Stores, and what becomes of them ------------------------------------------------------------

TEST_P(PagerResidencyTest, FlushWritesItsRangeOnly) {
  WritablePagedArea area = map_random(8 * kGranule);
  for (std::uint64_t i = 0; i < 8; ++i) {
    store_byte(area.bytes().data() + i * kGranule, std::byte{0xcc});
  }
  ASSERT_TRUE(area.flush({2 * kGranule, 2 * kGranule}).has_value());
  std::string expected = pattern(8 * kGranule);
  expected[2 * kGranule] = expected[3 * kGranule] = '\xcc';
  EXPECT_EQ(read_file(directory_.file("data")), expected);
  settle(area);
  EXPECT_EQ(area.stats().dirty_bytes, 6 * kGranule);
  EXPECT_EQ(area.stats().writes, 1U);  // Neighbours are one request.
  ASSERT_TRUE(area.flush_async(kWholeFile, Durability::kAll).wait().has_value());
  EXPECT_EQ(area.stats().dirty_bytes, 0U);
  EXPECT_EQ(area.flush({0, 8 * kGranule + 1}).error().code(), Errc::kOutOfRange);
}

TEST_P(PagerResidencyTest, ResizeKeepsAddressesAndBytesAndAddsZeros) {
  WritablePagedArea area = map_random(3 * kGranule + 50);
  const std::byte* const first = area.bytes().data();
  store_byte(area.bytes().data() + 3 * kGranule + 49, std::byte{0x11});
  ASSERT_TRUE(area.resize(6 * kGranule + 9).has_value());
  EXPECT_EQ(area.bytes().data(), first);
  EXPECT_EQ(area.size_bytes(), 6 * kGranule + 9);
  EXPECT_EQ(load_byte(first + 3 * kGranule + 49), std::byte{0x11});
  for (std::uint64_t i = 3 * kGranule + 50; i < area.size_bytes(); ++i) {
    ASSERT_EQ(load_byte(first + i), std::byte{0}) << i;
  }
  store_byte(area.bytes().data() + 6 * kGranule + 8, std::byte{0x22});
  ASSERT_TRUE(area.resize(kGranule + 10).has_value());
  EXPECT_EQ(std::filesystem::file_size(directory_.file("data")), kGranule + 10);
  ASSERT_TRUE(area.resize(8 * kGranule).has_value());
  EXPECT_TRUE(is_pattern(area.bytes().first(kGranule + 10)));
  for (std::uint64_t i = kGranule + 10; i < 8 * kGranule; ++i) {
    ASSERT_EQ(load_byte(first + i), std::byte{0}) << i;
  }
  settle(area);
  area.check_invariants();
  EXPECT_TRUE(area.close().has_value());
  const std::string expected = pattern(kGranule + 10) + std::string(7 * kGranule - 10, '\0');
  EXPECT_EQ(read_file(directory_.file("data")), expected);
}

// Goal:   streams that were left in the middle do not keep later ones from being seen.
// Method: more of them than there are places for held granules; then one that goes on.
TEST_P(PagerResidencyTest, AbandonedStreamsMakeWayForLaterOnes) {
  constexpr std::uint64_t kPart = 512_KiB;
  constexpr std::uint64_t kAbandoned = 12;
  const PagedArea area = pager_.map(file((kAbandoned + 2) * kPart), kReadOnly).value();
  const std::byte* const bytes = area.bytes().data();
  const auto read = [&](std::uint64_t from, std::uint64_t length) {
    for (std::uint64_t at = from; at < from + length; at += kGranule) {
      EXPECT_EQ(load_byte(bytes + at), pattern_at(at));
    }
    settle(area);
  };
  for (std::uint64_t i = 0; i < kAbandoned; ++i) {
    read(i * kPart, 16 * kGranule);
  }
  const std::uint64_t before = area.stats().tripwires;
  read(kAbandoned * kPart, 2 * kPart);
  EXPECT_GE(area.stats().tripwires, before + 4);
}

// Goal:   what a resize adds to the granule that the file ended in can be loaded and stored to,
//         whatever that granule is when it happens, and reaches the file.
TEST_P(PagerResidencyTest, ResizeCompletesTheGranuleThatTheFileEndedIn) {
  constexpr std::uint64_t kLarge = 64_KiB;
  constexpr std::uint64_t kOld = kLarge + 2 * kGranule + 50;  // In the third of 16 OS pages.
  constexpr std::uint64_t kNew = 3 * kLarge;
  Pager pager({.memory_bytes = 4_MiB, .fault_path = GetParam(), .granule_bytes = kLarge});
  for (const std::string last : {"absent", "clean", "dirty", "pinned"}) {
    const std::string path = directory_.write(last, pattern(kOld));
    WritablePagedArea area = pager.map(path, kWritable).value();
    std::byte* const bytes = area.bytes().data();
    std::optional<Pin> pin;
    if (last == "clean") {
      EXPECT_EQ(load_byte(bytes + kLarge), pattern_at(kLarge));
    } else if (last == "dirty") {
      store_byte(bytes + kLarge, pattern_at(kLarge));
    } else if (last == "pinned") {
      pin = area.pin({kLarge, 1}).value();
    }
    ASSERT_TRUE(area.resize(kNew).has_value()) << last;
    EXPECT_EQ(load_byte(bytes + kOld), std::byte{0}) << last;
    for (std::uint64_t at = kLarge; at < kNew; at += kGranule) {
      store_byte(bytes + at + kGranule - 1, std::byte{0x7e});
    }
    EXPECT_EQ(load_byte(bytes + kLarge + 2 * kGranule + 49), pattern_at(kOld - 1)) << last;
    pin.reset();
    ASSERT_TRUE(area.flush().has_value()) << last;
    area.check_invariants();
    ASSERT_TRUE(area.close().has_value()) << last;
    std::string expected = pattern(kOld) + std::string(kNew - kOld, '\0');
    for (std::uint64_t at = kLarge; at < kNew; at += kGranule) {
      expected[at + kGranule - 1] = 0x7e;
    }
    EXPECT_TRUE(read_file(path) == expected) << last;
  }
}

TEST_P(PagerResidencyTest, ResizeIsRefusedBeyondTheReservationAndOverPins) {
  WritablePagedArea area = map_random(4 * kGranule);
  const auto beyond = area.resize(16_MiB + 1);
  EXPECT_EQ(beyond.error().code(), Errc::kLimit);
  EXPECT_NE(beyond.error().message().find("reserve_bytes"), std::string::npos);
  store_byte(area.bytes().data() + 2 * kGranule, std::byte{0x44});
  Pin pin = area.pin({3 * kGranule, 1}).value();
  EXPECT_EQ(area.resize(kGranule).error().code(), Errc::kFailed);
  EXPECT_EQ(area.size_bytes(), 4 * kGranule);
  EXPECT_EQ(load_byte(area.bytes().data() + 2 * kGranule), std::byte{0x44});  // Nothing was lost.
  pin.release();
  EXPECT_TRUE(area.resize(kGranule).has_value());
  EXPECT_TRUE(area.resize(0).has_value());
  EXPECT_TRUE(area.resize(16_MiB).has_value());
}

INSTANTIATE_TEST_SUITE_P(Paths, PagerResidencyTest,
                         ::testing::Values(FaultPath::kInline, FaultPath::kHandler),
                         testing::path_name);

}  // namespace
}  // namespace quire
