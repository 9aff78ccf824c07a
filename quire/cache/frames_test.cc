// SPDX-License-Identifier: Apache-2.0
#include "quire/cache/frames.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <vector>

#include "quire/cache/internal/frames_fixture_test.h"
#include "quire/sys/call.h"
#include "quire/testing/nth_fault.h"

namespace quire {
namespace {

using sys::Installed;
using testing::FaultServer;
using testing::filled_pages;

// --- Install -------------------------------------------------------------------------------------

TEST_F(FramesTest, InstalledBytesAreThereWithoutAFault) {
  ASSERT_TRUE(frames_->install(2 * kPage, filled_pages(3, kA), Installed::kWritable));
  EXPECT_EQ(resident_pages(), 3U);
  EXPECT_EQ(load(2 * kPage), kA);
  EXPECT_EQ(load(5 * kPage - 1), kA);
  store(2 * kPage, kB);
  EXPECT_EQ(load(2 * kPage), kB);
  EXPECT_EQ(waiting_messages(), 0U);
}

TEST_F(FramesTest, AStoreToAProtectedPageIsToldAndWaits) {
  ASSERT_TRUE(frames_->install(0, filled_pages(2, kA), Installed::kProtected));
  FaultServer server(frames_->faults(), [&](const sys::FaultMessage& message) {
    EXPECT_TRUE(message.is_store && message.is_protected);
    std::vector<std::byte> page(kPage);
    EXPECT_TRUE(frames_->fetch(0, page));
    EXPECT_EQ(page[0], kA);  // Not stored yet.
    EXPECT_TRUE(frames_->allow_writes(0, kPage));
  });
  store(0, kB);
  EXPECT_EQ(load(0), kB);
  store(1, kB);  // The same page: no second message.
  EXPECT_EQ(server.messages().size(), 1U);
}

TEST_F(FramesTest, AnAbsentPageIsInstalledForTheThreadThatWaitsForIt) {
  FaultServer server(frames_->faults(), [&](const sys::FaultMessage& message) {
    EXPECT_FALSE(message.is_protected);
    EXPECT_TRUE(frames_->install(7 * kPage, filled_pages(1, kA), Installed::kProtected));
  });
  EXPECT_EQ(load(7 * kPage + 9), kA);
  EXPECT_EQ(server.messages().size(), 1U);
}

TEST_F(FramesTest, ZerosAreInstalledWritable) {
  ASSERT_TRUE(frames_->install_zeros(kPage, 2 * kPage));
  EXPECT_EQ(resident_pages(), 2U);
  store(3 * kPage - 1, kA);
  EXPECT_EQ(load(kPage), kZero);
  EXPECT_EQ(load(3 * kPage - 1), kA);
  EXPECT_EQ(waiting_messages(), 0U);
}

// Goal:   what was in the memfd although its granule is absent never becomes the granule.
// Method: stray pages at the start, in the middle and at the end of what is installed.
TEST_F(FramesTest, PagesThatShouldNotBeThereAreReplaced) {
  for (const bool is_zeros : {false, true}) {
    ASSERT_TRUE(frames_->punch(0, 16 * kPage));
    for (const std::uint64_t page : {0U, 3U, 4U, 7U}) {
      plant_stray(page);
    }
    const sys::FaultPlan plan({.call = sys::Call::kPunch, .nth = 1000});
    const std::byte expected = is_zeros ? kZero : kA;
    if (is_zeros) {
      ASSERT_TRUE(frames_->install_zeros(0, 8 * kPage));
    } else {
      ASSERT_TRUE(frames_->install(0, filled_pages(8, kA), Installed::kProtected));
    }
    EXPECT_EQ(plan.count(sys::Call::kPunch), 4U);
    for (std::uint64_t page = 0; page < 8; ++page) {
      EXPECT_EQ(load(page * kPage), expected) << "page " << page;
    }
  }
}

TEST_F(FramesTest, APageThatStaysInTheWayIsAnError) {
  plant_stray(0);
  {
    const sys::FaultPlan plan({.call = sys::Call::kPunch, .error = EIO});
    EXPECT_EQ(frames_->install(0, filled_pages(1, kA), Installed::kWritable).error().value, EIO);
  }
  const sys::FaultPlan plan({.call = sys::Call::kUserFault, .times = 2, .error = EEXIST});
  EXPECT_EQ(frames_->install(kPage, filled_pages(1, kA), Installed::kWritable).error().value,
            EEXIST);
  EXPECT_EQ(plan.hits(), 2U);
}

// --- Place ---------------------------------------------------------------------------------------

class PlaceTest : public FramesTest, public ::testing::WithParamInterface<bool> {
 protected:
  void SetUp() override {
    FramesTest::SetUp();
    if (!IsSkipped() && GetParam()) {
      make_placing_by_copy();
    }
  }
};
INSTANTIATE_TEST_SUITE_P(WriteAndCopy, PlaceTest, ::testing::Bool());

TEST_P(PlaceTest, PlacedBytesAreMappedByTheirFirstTouchAndProtected) {
  ASSERT_TRUE(frames_->place(0, filled_pages(4, kA)));
  EXPECT_EQ(resident_pages(), 4U);
  EXPECT_FALSE(is_mapped(1));
  EXPECT_EQ(load(kPage), kA);
  EXPECT_TRUE(is_mapped(1));
  EXPECT_EQ(waiting_messages(), 0U);
  FaultServer server(frames_->faults(), [&](const sys::FaultMessage& message) {
    EXPECT_TRUE(message.is_protected);
    EXPECT_TRUE(frames_->allow_writes(0, 4 * kPage));
  });
  store(kPage, kB);      // Mapped.
  store(2 * kPage, kB);  // Not mapped before.
  EXPECT_EQ(load(2 * kPage), kB);
  EXPECT_EQ(server.messages().size(), 1U);
}

TEST_P(PlaceTest, PlacingWakesWhoWaits) {
  FaultServer server(frames_->faults(), [&](const sys::FaultMessage&) {
    EXPECT_TRUE(frames_->place(0, filled_pages(2, kA)));
  });
  EXPECT_EQ(load(kPage), kA);
  EXPECT_EQ(server.messages().size(), 1U);
}

// Method: fail call 1, 2, 3 ... of each kind, and all after it.
TEST_P(PlaceTest, APlacementThatFailsLeavesNothing) {
  for (const sys::Call call :
       {sys::Call::kUserFault, sys::Call::kWrite, sys::Call::kAdviseMemory}) {
    testing::fail_each_nth(sys::name_of(call), [&](testing::NthFault& fault) {
      const sys::FaultPlan plan({.call = call, .nth = fault.nth, .times = 100, .error = ENOMEM});
      const sys::Outcome<void> placed = frames_->place(0, filled_pages(4, kA));
      fault.was_hit = plan.hits() > 0;
      EXPECT_EQ(placed.has_value(), !fault.was_hit);
      EXPECT_EQ(resident_pages(), placed ? 4U : 0U);
    });
    ASSERT_TRUE(frames_->punch(0, 4 * kPage));
  }
}

TEST_P(PlaceTest, AWriteThatTheKernelCutInTwoGoesOn) {
  const sys::FaultPlan plan({.call = sys::Call::kWrite, .transfer_bytes_max = 2 * kPage});
  EXPECT_TRUE(frames_->place(0, filled_pages(4, kA)));
  EXPECT_EQ(plan.count(sys::Call::kWrite), GetParam() ? 0U : 2U);
  EXPECT_EQ(load(4 * kPage - 1), kA);
}

// --- Fetch and punch -----------------------------------------------------------------------------

TEST_F(FramesTest, FetchGivesWhatWasStoredMappedOrNot) {
  ASSERT_TRUE(frames_->install(0, filled_pages(2, kA), Installed::kWritable));
  store(kPage + 1, kB);
  const std::array<std::span<std::byte>, 1> all = {std::span(frames_->view(), 2 * kPage)};
  ASSERT_TRUE(sys::unmap_from_view(all));
  std::vector<std::byte> bytes(2 * kPage);
  ASSERT_TRUE(frames_->fetch(0, bytes));
  EXPECT_EQ(bytes[0], kA);
  EXPECT_EQ(bytes[kPage + 1], kB);
  EXPECT_FALSE(is_mapped(0));
}

TEST_F(FramesTest, FetchOfAHoleTakesNoMemory) {
  std::vector<std::byte> bytes(4 * kPage, kA);
  ASSERT_TRUE(frames_->fetch(0, bytes));
  EXPECT_EQ(bytes, filled_pages(4, kZero));
  EXPECT_EQ(resident_pages(), 0U);
}

TEST_F(FramesTest, APunchedPageFaultsAgainAndItsNeighboursDoNot) {
  ASSERT_TRUE(frames_->install(0, filled_pages(3, kA), Installed::kProtected));
  ASSERT_TRUE(frames_->punch(kPage, kPage));
  EXPECT_EQ(resident_pages(), 2U);
  EXPECT_EQ(load(0), kA);
  EXPECT_EQ(load(2 * kPage), kA);
  EXPECT_EQ(waiting_messages(), 0U);
  FaultServer server(frames_->faults(), [&](const sys::FaultMessage& message) {
    EXPECT_FALSE(message.is_protected);
    // Over the marker that the protection left.
    EXPECT_TRUE(frames_->install(kPage, filled_pages(1, kB), Installed::kWritable));
  });
  store(kPage, kA);
  EXPECT_EQ(load(kPage), kA);
  EXPECT_EQ(load(kPage + 1), kB);
  EXPECT_EQ(server.messages().size(), 1U);
}

// --- Out of the view only ------------------------------------------------------------------------

TEST_F(FramesTest, APageTakenOutOfTheViewComesBackByItselfAndStaysProtected) {
  ASSERT_TRUE(frames_->install(0, filled_pages(2, kA), Installed::kProtected));
  const std::array<std::span<std::byte>, 1> all = {std::span(frames_->view(), 2 * kPage)};
  ASSERT_TRUE(sys::unmap_from_view(all));
  EXPECT_FALSE(is_mapped(0));
  EXPECT_EQ(load(0), kA);
  EXPECT_TRUE(is_mapped(0));
  EXPECT_FALSE(is_mapped(1));
  EXPECT_EQ(waiting_messages(), 0U);
  FaultServer server(frames_->faults(), [&](const sys::FaultMessage& message) {
    EXPECT_TRUE(message.is_protected);
    EXPECT_TRUE(frames_->allow_writes(kPage, kPage));
  });
  store(kPage, kB);
  EXPECT_EQ(server.messages().size(), 1U);
}

TEST_F(FramesTest, ProtectingStopsStoresThatWereAllowed) {
  ASSERT_TRUE(frames_->install(0, filled_pages(1, kA), Installed::kWritable));
  store(0, kB);
  ASSERT_TRUE(frames_->protect(0, kPage));
  FaultServer server(frames_->faults(), [&](const sys::FaultMessage&) {
    EXPECT_TRUE(frames_->allow_writes(0, kPage));
  });
  store(0, kA);
  EXPECT_EQ(server.messages().size(), 1U);
}

TEST_F(FramesTest, APoisonedPageRaisesASignalUntilItLeavesTheView) {
  if (!frames_->faults().can_poison()) {
    EXPECT_EQ(frames_->poison(0, kPage).error().value, ENOSYS);
    GTEST_SKIP() << "UFFDIO_POISON: not in this kernel";
  }
  ASSERT_TRUE(frames_->protect(0, 2 * kPage));  // Markers, which the kernel would not poison.
  ASSERT_TRUE(frames_->poison(0, kPage));
  EXPECT_TRUE(fault_of_load(8).has_value());
  const std::array<std::span<std::byte>, 1> page = {std::span(frames_->view(), kPage)};
  ASSERT_TRUE(sys::unmap_from_view(page));
  ASSERT_TRUE(frames_->install(0, filled_pages(1, kA), Installed::kProtected));
  EXPECT_EQ(load(8), kA);
}

}  // namespace
}  // namespace quire
