// SPDX-License-Identifier: Apache-2.0
//
// Frames at their edges: the end of the file, failures while they are made, and their own end.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "quire/cache/internal/frames_fixture_test.h"
#include "quire/sys/call.h"
#include "quire/testing/nth_fault.h"
#include "quire/testing/process.h"

namespace quire {
namespace {

using sys::Installed;
using testing::FaultServer;
using testing::filled_pages;

using FramesEdgeTest = FramesTest;

// --- The end of the file -------------------------------------------------------------------------

TEST_F(FramesEdgeTest, TheLastPageIsWholeAndTheNextOneIsNot) {
  std::vector<std::byte> last = filled_pages(1, kZero);
  std::fill_n(last.begin(), 100, kA);
  ASSERT_TRUE(frames_->install(15 * kPage, last, Installed::kWritable));
  EXPECT_EQ(load(kSize - 1), kA);
  EXPECT_EQ(load(kSize), kZero);
  EXPECT_EQ(load(16 * kPage - 1), kZero);
  const auto fault = fault_of_load(16 * kPage + 5);
  ASSERT_TRUE(fault.has_value());
  EXPECT_EQ(fault->cause, sys::BusCause::kNoBacking);
  EXPECT_EQ(waiting_messages(), 0U);
}

TEST_F(FramesEdgeTest, NothingIsInstalledPlacedOrFetchedPastTheEnd) {
  std::vector<std::byte> two = filled_pages(2, kA);
  EXPECT_EQ(frames_->install(16 * kPage, two, Installed::kWritable).error().value, EFAULT);
  EXPECT_EQ(frames_->install_zeros(16 * kPage, kPage).error().value, EFAULT);
  EXPECT_EQ(frames_->place(15 * kPage, two).error().value, EFAULT);
  EXPECT_EQ(frames_->fetch(15 * kPage, two).error().value, EFAULT);
  EXPECT_EQ(resident_pages(), 0U);
}

// Goal:   a write-back beside set_size() is none that fails.
// Method: set_size() ends half way, where the memfd is no whole number of pages.
TEST_F(FramesEdgeTest, WhatIsFetchedWhileTheSizeChangesHasZerosBehindTheEnd) {
  ASSERT_TRUE(frames_->install(15 * kPage, filled_pages(1, kA), Installed::kWritable));
  {
    const sys::FaultPlan plan({.call = sys::Call::kTruncate, .nth = 2, .times = 2, .error = EIO});
    ASSERT_EQ(frames_->set_size(kSize + 1).error().value, EIO);
  }
  std::vector<std::byte> page = filled_pages(1, kB);
  ASSERT_TRUE(frames_->fetch(15 * kPage, page));
  EXPECT_EQ(page[99], kA);
  EXPECT_EQ(page[100], kZero);
  EXPECT_EQ(page.back(), kZero);
  std::vector<std::byte> two = filled_pages(2, kB);
  EXPECT_EQ(frames_->fetch(15 * kPage, two).error().value, EFAULT);
}

TEST_F(FramesEdgeTest, GrowthMakesRoomAndShrinkingTakesItAway) {
  ASSERT_TRUE(frames_->install(0, filled_pages(16, kA), Installed::kProtected));
  ASSERT_TRUE(frames_->set_size(20 * kPage));
  EXPECT_EQ(frames_->size_bytes(), 20 * kPage);
  ASSERT_TRUE(frames_->install(19 * kPage, filled_pages(1, kB), Installed::kProtected));
  EXPECT_EQ(load(20 * kPage - 1), kB);
  ASSERT_TRUE(frames_->punch(4 * kPage, 16 * kPage));
  ASSERT_TRUE(frames_->set_size(4 * kPage));
  EXPECT_EQ(resident_pages(), 4U);
  EXPECT_EQ(load(4 * kPage - 1), kA);
  EXPECT_TRUE(fault_of_load(4 * kPage).has_value());
  ASSERT_TRUE(frames_->set_size(5 * kPage));
  FaultServer server(frames_->faults(), [&](const sys::FaultMessage&) {
    EXPECT_TRUE(frames_->install_zeros(4 * kPage, kPage));
  });
  EXPECT_EQ(load(4 * kPage), kZero);  // Absent, not what was there before.
  EXPECT_EQ(server.messages().size(), 1U);
}

TEST_F(FramesEdgeTest, WhatWasStoredBehindTheSizeIsGoneWhenTheSizeChanges) {
  for (const std::uint64_t size_bytes : {kSize + 300, 31 * kPage, 15 * kPage + 50}) {
    make(kOptions);
    ASSERT_TRUE(frames_->install(15 * kPage, filled_pages(1, kA), Installed::kWritable));
    ASSERT_TRUE(frames_->set_size(size_bytes));
    ASSERT_TRUE(frames_->set_size(31 * kPage));
    const std::uint64_t kept_bytes = std::min(kSize, size_bytes);
    EXPECT_EQ(load(kept_bytes - 1), kA);
    EXPECT_EQ(load(kept_bytes), kZero);
    EXPECT_EQ(load(16 * kPage - 1), kZero);
    EXPECT_EQ(waiting_messages(), 0U);
  }
}

TEST_F(FramesEdgeTest, ResizingTakesNoMemory) {
  ASSERT_TRUE(frames_->set_size(20 * kPage + 7));
  ASSERT_TRUE(frames_->set_size(11));
  ASSERT_TRUE(frames_->set_size(0));
  EXPECT_EQ(resident_pages(), 0U);
  EXPECT_TRUE(fault_of_load(0).has_value());
}

TEST_F(FramesEdgeTest, AResizeThatFailsChangesNothing) {
  ASSERT_TRUE(frames_->install(15 * kPage, filled_pages(1, kA), Installed::kWritable));
  for (std::uint64_t nth = 1; nth <= 2; ++nth) {
    const sys::FaultPlan plan({.call = sys::Call::kTruncate, .nth = nth, .error = EFBIG});
    EXPECT_EQ(frames_->set_size(20 * kPage).error().value, EFBIG);
    EXPECT_EQ(frames_->size_bytes(), kSize);
  }
  std::vector<std::byte> page(kPage);
  ASSERT_TRUE(frames_->fetch(15 * kPage, page));
  EXPECT_EQ(page[99], kA);
  EXPECT_TRUE(fault_of_load(16 * kPage).has_value());
}

// --- Making and ending ---------------------------------------------------------------------------

TEST_F(FramesEdgeTest, TheViewIsAlignedToPageTablesAndCoversTheReservation) {
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(frames_->view()) % 2_MiB, 0U);
  EXPECT_EQ(frames_->reserved_bytes(), 32 * kPage);
  make({.name = std::string(1000, 'x'), .granule_bytes = 2_MiB});
  EXPECT_EQ(frames_->reserved_bytes(), kPage);
  EXPECT_TRUE(fault_of_load(0).has_value());
}

std::size_t open_descriptors() {
  const std::filesystem::directory_iterator all("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

// Goal:   whatever fails while frames are made is an error or has a way around, and nothing leaks.
// Method: fail call 1, 2, 3 ... of each kind until a run meets no fault.
TEST_F(FramesEdgeTest, EachCallThatFailsWhileTheyAreMadeIsToldAndLeaksNothing) {
  frames_.reset();
  const std::size_t before = open_descriptors();
  for (const sys::Call call :
       {sys::Call::kMap, sys::Call::kMemfd, sys::Call::kTruncate, sys::Call::kAdviseMemory,
        sys::Call::kUserFault, sys::Call::kUnmap}) {
    testing::fail_each_nth(sys::name_of(call), [&](testing::NthFault& fault) {
      const sys::FaultPlan plan({.call = call, .nth = fault.nth, .error = ENOMEM});
      const Result<std::unique_ptr<Frames>> frames = Frames::make(kOptions);
      fault.was_hit = plan.hits() > 0;
      EXPECT_TRUE(fault.was_hit || frames.has_value());
    });
    EXPECT_EQ(open_descriptors(), before) << name_of(call);
  }
}

TEST_F(FramesEdgeTest, SignalsAreDeliveredWhereTheyWereAskedFor) {
  FramesOptions options = kOptions;
  options.delivery = sys::FaultDelivery::kSignals;
  make(options);
  EXPECT_EQ(fault_of_load(3 * kPage).value().address,
            reinterpret_cast<std::uintptr_t>(frames_->view() + 3 * kPage));
  ASSERT_TRUE(frames_->install(3 * kPage, filled_pages(1, kA), Installed::kProtected));
  EXPECT_EQ(load(3 * kPage), kA);
}

// Goal:   closing twice is harmless, also to whoever has got the address meanwhile.
TEST_F(FramesEdgeTest, TheViewIsUnmappedOnce) {
  frames_->unmap_view();
  ASSERT_TRUE(sys::map_pages({.length_bytes = frames_->reserved_bytes(),
                              .visibility = sys::Visibility::kPrivate,
                              .fixed_address = frames_->view()}));
  const std::byte* const foreign = frames_->view();
  frames_->close();
  frames_->close();
  EXPECT_EQ(*foreign, kZero);
  const std::uint64_t length_bytes = frames_->reserved_bytes();
  sys::Address const address = frames_->view();
  frames_.reset();
  EXPECT_EQ(*foreign, kZero);
  EXPECT_TRUE(sys::unmap_pages(address, length_bytes));
}

TEST_F(FramesEdgeTest, TheMemfdOutlivesTheView) {
  ASSERT_TRUE(frames_->install(0, filled_pages(1, kA), Installed::kWritable));
  frames_->unmap_view();
  std::vector<std::byte> page(kPage);
  ASSERT_TRUE(frames_->fetch(0, page));
  EXPECT_EQ(page, filled_pages(1, kA));
}

// Goal:   a thread that waits for a page when the frames are closed gets an error, never zeros.
TEST_F(FramesEdgeTest, AThreadThatWaitsWhenTheyCloseGetsASignal) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "ThreadSanitizer: no threads after fork";
#endif
  testing::Child child([] {
    std::signal(SIGSEGV, SIG_DFL);  // Not a sanitizer's report.
    const auto frames = Frames::make(kOptions).value();
    std::thread waiter(
        [at = frames->view()] { static_cast<void>(*static_cast<volatile std::byte*>(at)); });
    std::array<sys::FaultMessage, 1> message;
    while (frames->faults().read_messages(message).value() == 0) {
      std::this_thread::yield();
    }
    frames->close();
    waiter.join();
    return 1;
  });
  EXPECT_EQ(child.join().signal, SIGSEGV);
}

TEST_F(FramesEdgeTest, AChildHasNoView) {
  ASSERT_TRUE(frames_->install(0, filled_pages(1, kA), Installed::kWritable));
  testing::Child child([&] {
    std::signal(SIGSEGV, SIG_DFL);
    return load(0) == kA ? 1 : 2;
  });
  EXPECT_EQ(child.join().signal, SIGSEGV);
  EXPECT_EQ(load(0), kA);
}

// Goal:   in a child other things may lie where the view was: they are not unmapped with it.
TEST_F(FramesEdgeTest, TheCopyInAForkedChildUnmapsNothing) {
  ASSERT_TRUE(frames_->install(0, filled_pages(1, kA), Installed::kWritable));
  testing::Child child([&] {
    const sys::Outcome<sys::Address> other =
        sys::map_pages({.length_bytes = kPage,
                        .protection = sys::Protection::kReadWrite,
                        .visibility = sys::Visibility::kPrivate,
                        .fixed_address = frames_->view()});
    frames_.reset();
    **other = kB;
    return 7;
  });
  EXPECT_EQ(child.join().exit_code, 7);
  EXPECT_EQ(load(0), kA);
}

}  // namespace
}  // namespace quire
