// SPDX-License-Identifier: Apache-2.0
//
// What happens in the pager while a request to the store is under way: a gate holds the request
// for as long as the test looks around. Nothing here depends on time.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "quire/base/page_window.h"
#include "quire/pager/pager.h"
#include "quire/testing/slow_store.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::pattern_at;
using testing::SlowStore;
using testing::StoreOperation;

constexpr std::uint64_t kGranule = 4_KiB;
constexpr std::uint64_t kFileBytes = 4_MiB;

const WritablePagedOptions kPaged{.access = Access::kReadWrite, .engine = PagingEngine::kPaged};

class PagerGateTest : public ::testing::TestWithParam<FaultPath> {
 protected:
  PagerGateTest()
      : memory_(std::make_shared<testing::MemoryStore>(testing::pattern_bytes(0, kFileBytes))),
        slow_(std::make_shared<SlowStore>(memory_)),
        pager_({.memory_bytes = 1_MiB, .fault_path = GetParam()}) {}

  void SetUp() override {
#if defined(__SANITIZE_THREAD__)
    if (GetParam() == FaultPath::kInline) {
      GTEST_SKIP() << "inline delivery: not under ThreadSanitizer";
    }
#endif
    area_ = pager_.map(slow_, kPaged).value();
    ASSERT_TRUE(area_.advise(kWholeFile, Pattern::kRandom).has_value());
  }

  [[nodiscard]] std::byte load(std::uint64_t offset) const {
    return *static_cast<const volatile std::byte*>(area_.bytes().data() + offset);
  }
  void store(std::uint64_t offset, std::byte value) {
    *static_cast<volatile std::byte*>(area_.bytes().data() + offset) = value;
  }
  [[nodiscard]] std::byte in_store(std::uint64_t offset) const { return memory_->image()[offset]; }

  std::shared_ptr<testing::MemoryStore> memory_;
  std::shared_ptr<SlowStore> slow_;
  Pager pager_;
  WritablePagedArea area_;
};

// Goal:   faults on one granule do one read, however many threads have them.
TEST_P(PagerGateTest, FaultsOnOneGranuleDoOneRead) {
  constexpr std::uint64_t kOffset = 5 * kGranule;
  std::atomic<int> right = 0;
  std::vector<std::jthread> threads;
  {
    const SlowStore::Gate gate(*slow_, StoreOperation::kRead, {kOffset, kGranule});
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&, i] {
        const std::uint64_t offset = kOffset + static_cast<std::uint64_t>(i) * 100;
        right += load(offset) == pattern_at(offset) ? 1 : 0;
      });
    }
    gate.await_arrivals(1);
  }
  threads.clear();
  EXPECT_EQ(right, 8);
  EXPECT_EQ(slow_->count(StoreOperation::kRead), 1u);
}

// Goal:   a prefetch works in the background, and what it brought is not read again.
TEST_P(PagerGateTest, PrefetchIsDoneWhenItsReadsAre) {
  SlowStore::Gate gate(*slow_, StoreOperation::kRead);
  const Ticket ticket = area_.prefetch({64 * kGranule, 2 * kGranule});
  gate.await_arrivals(1);
  EXPECT_FALSE(ticket.is_done());
  gate.open();
  EXPECT_TRUE(ticket.wait().has_value());
  const std::uint64_t reads = slow_->count(StoreOperation::kRead);
  EXPECT_EQ(load(64 * kGranule), pattern_at(64 * kGranule));
  EXPECT_EQ(load(66 * kGranule - 1), pattern_at(66 * kGranule - 1));
  EXPECT_EQ(slow_->count(StoreOperation::kRead), reads);
}

// Goal:   whole granules that are stored to under kOverwrite are never read, and reach the store.
TEST_P(PagerGateTest, OverwritingReadsNothing) {
  constexpr ByteRange kRange{16 * kGranule, 8 * kGranule};
  ASSERT_TRUE(area_.advise(kRange, Pattern::kOverwrite).has_value());
  std::ranges::fill(area_.bytes(kRange).value(), std::byte{0xee});
  ASSERT_TRUE(area_.flush().has_value());
  EXPECT_EQ(slow_->count(StoreOperation::kRead), 0u);
  const std::vector<std::byte> image = memory_->image();
  for (std::uint64_t i = kRange.offset_bytes; i < end_of(kRange); ++i) {
    ASSERT_EQ(image[i], std::byte{0xee}) << i;
  }
  EXPECT_EQ(image[kRange.offset_bytes - 1], pattern_at(kRange.offset_bytes - 1));
}

// Goal:   a granule that goes while it is being overwritten comes back with what was stored: only
//         the bytes from before the advice may be lost, never a store.
// Method: evict between the two halves of the overwriting, as memory pressure does.
TEST_P(PagerGateTest, OverwritingSurvivesAnEvictionInTheMiddle) {
  constexpr ByteRange kRange{16 * kGranule, kGranule};
  ASSERT_TRUE(area_.advise(kRange, Pattern::kOverwrite).has_value());
  const std::span<std::byte> bytes = area_.bytes(kRange).value();
  std::ranges::fill(bytes.first(kGranule / 2), std::byte{0xee});
  ASSERT_EQ(area_.evict(kRange).value().evicted_bytes, kGranule);
  std::ranges::fill(bytes.subspan(kGranule / 2), std::byte{0xef});
  EXPECT_EQ(bytes.front(), std::byte{0xee});
  EXPECT_EQ(bytes.back(), std::byte{0xef});
  ASSERT_EQ(area_.evict(kRange).value().evicted_bytes, kGranule);
  EXPECT_EQ(std::as_const(bytes.front()), std::byte{0xee});
  EXPECT_EQ(in_store(kRange.offset_bytes), std::byte{0xee});
}

// Goal:   the same of granules that were in memory when the advice came, or came in by a load.
// Method: a dirty one, to whose next stores no fault is seen; and one that is loaded first.
TEST_P(PagerGateTest, OverwritingWhatIsInMemorySurvivesAnEvictionInTheMiddle) {
  constexpr ByteRange kDirty{16 * kGranule, kGranule};
  constexpr ByteRange kLoaded{17 * kGranule, kGranule};
  area_.bytes(kDirty).value().back() = std::byte{0xed};
  ASSERT_TRUE(area_.advise({16 * kGranule, 2 * kGranule}, Pattern::kOverwrite).has_value());
  EXPECT_EQ(load(kLoaded.offset_bytes), pattern_at(kLoaded.offset_bytes));
  for (const ByteRange range : {kDirty, kLoaded}) {
    const std::span<std::byte> bytes = area_.bytes(range).value();
    std::ranges::fill(bytes.first(kGranule / 2), std::byte{0xee});
    ASSERT_EQ(area_.evict(range).value().evicted_bytes, kGranule);
    std::ranges::fill(bytes.subspan(kGranule / 2), std::byte{0xef});
    EXPECT_EQ(bytes.front(), std::byte{0xee});
    EXPECT_EQ(bytes.back(), std::byte{0xef});
  }
}

// Goal:   where there is no room for the parts of a range none of it is overwritten any more.
TEST_P(PagerGateTest, WithoutRoomForAdviceOverwritingReads) {
  constexpr ByteRange kRange{16 * kGranule, 8 * kGranule};
  ASSERT_TRUE(area_.advise(kRange, Pattern::kOverwrite).has_value());
  std::uint64_t next = end_of(kRange) + kGranule;
  for (const Pattern pattern : {Pattern::kSequential, Pattern::kNormal}) {  // Two more, one more.
    while (area_.advise({next, kGranule}, pattern).has_value()) {
      next += 2 * kGranule;
      ASSERT_LT(next, kFileBytes);
    }
  }
  for (const std::uint64_t offset : {19 * kGranule, kRange.offset_bytes}) {
    area_.bytes({offset, 1}).value().front() = std::byte{0xee};
    EXPECT_EQ(load(offset + 1), pattern_at(offset + 1));
  }
}

// Goal:   one slow page holds up those who touch it, and nobody else.
TEST_P(PagerGateTest, SlowPageDoesNotHoldUpOthers) {
  std::jthread slow;  // Joined after the gate has gone.
  SlowStore::Gate gate(*slow_, StoreOperation::kRead, {0, kGranule});
  slow = std::jthread([this] { EXPECT_EQ(load(17), pattern_at(17)); });
  gate.await_arrivals(1);
  for (std::uint64_t offset = kGranule; offset < kFileBytes; offset += kGranule) {
    ASSERT_EQ(load(offset), pattern_at(offset));  // More than the memory: evictions go on, too.
  }
  gate.open();
}

// Goal:   a store to a page that is just being written does not wait for the device, and is
//         written by the next flush.
TEST_P(PagerGateTest, StoreWhileItsPageIsWrittenDoesNotWaitAndIsNotLost) {
  store(17, std::byte{1});
  SlowStore::Gate gate(*slow_, StoreOperation::kWrite);
  const Ticket ticket = area_.flush_async();
  gate.await_arrivals(1);
  store(17, std::byte{2});
  EXPECT_FALSE(ticket.is_done());
  gate.open();
  ASSERT_TRUE(ticket.wait().has_value());
  EXPECT_NE(in_store(17), pattern_at(17));
  ASSERT_TRUE(area_.flush().has_value());
  EXPECT_EQ(in_store(17), std::byte{2});
  EXPECT_EQ(load(17), std::byte{2});
}

// Goal:   flush() of a range that is just being written by somebody else waits for those bytes to
//         be in the store.
TEST_P(PagerGateTest, FlushWaitsForAWriteBackThatIsUnderWay) {
  store(17, std::byte{1});
  SlowStore::Gate gate(*slow_, StoreOperation::kWrite);
  const Ticket first = area_.flush_async();
  gate.await_arrivals(1);
  std::jthread second([this] {
    EXPECT_TRUE(area_.flush({0, kGranule}).has_value());
    EXPECT_EQ(in_store(17), std::byte{1});
  });
  gate.open();
  second.join();
  EXPECT_TRUE(first.wait().has_value());
}

// Goal:   a flush() whose write failed says so, whoever else flushes something else meanwhile.
// Method: of two writes of one flush the first fails and the second is held, while another flush
//         begins.
TEST_P(PagerGateTest, FlushDoesNotLoseItsErrorToAnotherFlush) {
  store(0, std::byte{1});
  store(100 * kGranule, std::byte{1});
  slow_->fail({.operation = StoreOperation::kWrite, .nth = 1});
  SlowStore::Gate gate(*slow_, StoreOperation::kWrite, {100 * kGranule, kGranule});
  const Ticket first = area_.flush_async({0, 101 * kGranule});
  gate.await_arrivals(1);
  while (area_.check()) {
    std::this_thread::yield();  // Until the first write has failed.
  }
  const Ticket second = area_.flush_async({200 * kGranule, kGranule});
  gate.open();
  EXPECT_TRUE(second.wait().has_value());
  EXPECT_FALSE(first.wait().has_value());
  EXPECT_TRUE(area_.flush().has_value());
  EXPECT_EQ(in_store(0), std::byte{1});
}

// Goal:   what a resize() cuts off is no write that fails, and is not lost when the store refuses.
// Method: the store's resize is held; meanwhile so much is read that all else must go, and what is
//         being cut off is to be written for it.
class PagerCutGateTest : public PagerGateTest {
 protected:
  static constexpr std::uint64_t kCut = 40;
  static constexpr std::uint64_t kKept = kFileBytes - kCut * kGranule;

  Result<void> cut_under_write_back() {
    for (std::uint64_t at = kKept; at < kFileBytes; at += kGranule) {
      store(at, std::byte{1});
    }
    std::optional<SlowStore::Gate> gate(std::in_place, *slow_, StoreOperation::kResize);
    Result<void> resized;
    std::thread resizer([&] { resized = area_.resize(kKept); });
    gate->await_arrivals(1);
    for (std::uint64_t at = 0; at < kKept; at += kGranule) {
      EXPECT_EQ(load(at), pattern_at(at));
    }
    gate.reset();
    resizer.join();
    EXPECT_EQ(pager_.stats().write_errors, 0U);
    EXPECT_TRUE(area_.check().has_value());
    EXPECT_TRUE(area_.flush().has_value());
    return resized;
  }
};

TEST_P(PagerCutGateTest, WhatAResizeCutsOffIsNoFailedWrite) {
  ASSERT_TRUE(cut_under_write_back().has_value());
  EXPECT_EQ(memory_->image().size(), kKept);
}

TEST_P(PagerCutGateTest, WhatARefusedResizeWouldHaveCutOffIsKept) {
  slow_->fail({.operation = StoreOperation::kResize});
  ASSERT_FALSE(cut_under_write_back().has_value());
  for (std::uint64_t at = kKept; at < kFileBytes; at += kGranule) {
    EXPECT_EQ(in_store(at), std::byte{1}) << at;
  }
}

INSTANTIATE_TEST_SUITE_P(Paths, PagerGateTest,
                         ::testing::Values(FaultPath::kInline, FaultPath::kHandler),
                         [](const auto& path) { return std::string(name_of(path.param)); });
INSTANTIATE_TEST_SUITE_P(Paths, PagerCutGateTest,
                         ::testing::Values(FaultPath::kInline, FaultPath::kHandler),
                         [](const auto& path) { return std::string(name_of(path.param)); });

}  // namespace
}  // namespace quire
