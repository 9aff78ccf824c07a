// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/user_fault.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "quire/sys/bus_guard.h"
#include "quire/sys/call.h"
#include "quire/testing/process.h"
#include "quire/testing/temp_dir.h"
#include "quire/testing/watched_memory.h"

namespace quire::sys {
namespace {

using testing::FaultServer;
using testing::filled_pages;
using testing::WatchedMemory;

constexpr std::size_t kPage = testing::kWatchedPageBytes;
constexpr std::size_t kPages = 16;
constexpr std::byte kA{0xa5};
constexpr std::byte kB{0x5b};

// Faults come as messages; system calls wait.
class UserFaultTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Result<UserFault> faults = open_user_fault({.delivery = FaultDelivery::kMessages});
    if (!faults || faults->access() != FaultAccess::kFull) {
      GTEST_SKIP() << "userfaultfd: " << (faults ? faults->explain() : faults.error().message());
    }
    memory_.emplace(std::move(*faults), kPages);
  }

  [[nodiscard]] const UserFault& faults() const { return memory_->faults(); }
  [[nodiscard]] Address page(std::size_t index) const { return memory_->page(index); }

  // Fills the page of a message, or lets its store go on.
  [[nodiscard]] FaultServer::Answer fill_with(std::byte value, Installed installed) const {
    return [this, installed, bytes = filled_pages(1, value)](const FaultMessage& message) {
      const auto offset = static_cast<std::size_t>(message.address - memory_->view().data());
      Address at = page(offset / kPage);
      if (message.is_protected) {
        EXPECT_TRUE(faults().allow_writes(at, kPage).has_value());
      } else {
        EXPECT_EQ(faults().copy_in(at, bytes, installed).value(), kPage);
      }
    };
  }
  [[nodiscard]] std::vector<bool> present() const {
    std::array<bool, kPages> found{};
    EXPECT_TRUE(PageScan::open()->present(page(0), memory_->view().size(), found).has_value());
    return std::vector<bool>(found.begin(), found.end());
  }
  // Puts pages in, protected.
  void install(std::size_t index, std::size_t count, std::byte value) const {
    ASSERT_EQ(faults().copy_in(page(index), filled_pages(count, value), Installed::kProtected),
              count * kPage);
  }

  std::optional<WatchedMemory> memory_;
};

TEST_F(UserFaultTest, ALoadOfAnAbsentPageIsAMessageWithItsAddressAndGetsTheCopiedBytes) {
  const FaultServer server(faults(), fill_with(kA, Installed::kProtected));
  EXPECT_EQ(memory_->load(3 * kPage + 77), kA);
  EXPECT_EQ(memory_->load(3 * kPage + 78), kA);
  const auto messages = server.messages();
  ASSERT_EQ(messages.size(), 1U);
  EXPECT_EQ(messages[0].address, page(3) + 77);
  EXPECT_FALSE(messages[0].is_store);
  EXPECT_FALSE(messages[0].is_protected);
}

TEST_F(UserFaultTest, AStoreToAnAbsentPageIsOneMessageWhenItsPageIsInstalledWritable) {
  const FaultServer server(faults(), fill_with(kA, Installed::kWritable));
  memory_->store(5, kB);
  EXPECT_EQ(memory_->load(4), kA);
  EXPECT_EQ(memory_->load(5), kB);
  const auto messages = server.messages();
  ASSERT_EQ(messages.size(), 1U);
  EXPECT_TRUE(messages[0].is_store);
  EXPECT_FALSE(messages[0].is_protected);
}

TEST_F(UserFaultTest, AStoreToAProtectedPageWaitsUntilWritesAreAllowed) {
  install(0, 2, kA);
  const FaultServer server(faults(), fill_with(kA, Installed::kProtected));
  EXPECT_EQ(memory_->load(0), kA);
  memory_->store(9, kB);
  memory_->store(10, kB);
  EXPECT_EQ(memory_->load(9), kB);
  const auto messages = server.messages();
  ASSERT_EQ(messages.size(), 1U);
  EXPECT_TRUE(messages[0].is_store);
  EXPECT_TRUE(messages[0].is_protected);
  EXPECT_EQ(messages[0].address, page(0) + 9);
  // And again, once it is protected again.
  ASSERT_TRUE(faults().protect(page(0), 2 * kPage).has_value());
  memory_->store(11, kB);
  EXPECT_EQ(server.messages().size(), 2U);
}

TEST_F(UserFaultTest, ZerosCanBeInstalledAndStoredTo) {
  ASSERT_EQ(faults().zero_in(page(0), 3 * kPage), 3 * kPage);
  EXPECT_EQ(memory_->load(2 * kPage), std::byte{0});
  memory_->store(0, kA);
  EXPECT_EQ(memory_->load(0), kA);
  std::array<FaultMessage, 1> none;
  EXPECT_EQ(faults().read_messages(none), 0U);
}

TEST_F(UserFaultTest, AFillStopsAtThePageThatIsThere) {
  install(2, 1, kB);
  const auto bytes = filled_pages(4, kA);
  EXPECT_EQ(faults().copy_in(page(0), bytes, Installed::kProtected), 2 * kPage);
  EXPECT_EQ(faults().copy_in(page(2), bytes, Installed::kProtected), 0U);
  EXPECT_EQ(faults().zero_in(page(1), 3 * kPage), 0U);
  EXPECT_EQ(memory_->load(2 * kPage), kB);
  EXPECT_EQ(memory_->resident_pages(), 3U);
  // A page that is in the memfd only is there, too.
  memory_->write(3, filled_pages(1, kB));
  EXPECT_EQ(faults().copy_in(page(3), bytes, Installed::kProtected), 0U);
}

// Goal:   who waits for a page that came by another way is woken by wake().
// Method: without it this test would not end.
TEST_F(UserFaultTest, WakeAnswersThoseWhoWaitForAPageThatIsThere) {
  std::thread waiter([&] { EXPECT_EQ(memory_->load(kPage), kA); });
  std::array<FaultMessage, 4> messages;
  while (faults().read_messages(messages).value() == 0) {
    std::this_thread::yield();
  }
  memory_->write(1, filled_pages(1, kA));
  EXPECT_EQ(faults().copy_in(page(1), filled_pages(1, kB), Installed::kProtected), 0U);
  EXPECT_TRUE(faults().wake(page(1), kPage).has_value());
  waiter.join();
}

TEST_F(UserFaultTest, ThereIsAMessageForEachThreadAndNoneMeansZero) {
  std::array<FaultMessage, 8> messages;
  EXPECT_EQ(faults().read_messages(messages), 0U);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] { EXPECT_EQ(memory_->load(i * kPage), kA); });
  }
  std::size_t taken = 0;
  while (taken < threads.size()) {
    taken += faults().read_messages(std::span(messages).subspan(taken, 2)).value();
  }
  std::vector<bool> seen(3);
  for (std::size_t i = 0; i < 3; ++i) {
    seen.at(static_cast<std::size_t>(messages[i].address - page(0)) / kPage) = true;
  }
  EXPECT_EQ(seen, std::vector<bool>(3, true));
  EXPECT_EQ(faults().copy_in(page(0), filled_pages(3, kA), Installed::kWritable), 3 * kPage);
  for (std::thread& thread : threads) {
    thread.join();
  }
}

TEST_F(UserFaultTest, APageTakenOutOfTheViewComesBackWithoutAWordAndStaysProtected) {
  install(0, 4, kA);
  EXPECT_EQ(present()[1], true);
  const std::array ranges{memory_->pages(1, 1), memory_->pages(3, 1)};
  ASSERT_TRUE(unmap_from_view(ranges).has_value());
  EXPECT_EQ(memory_->resident_pages(), 4U);
  const std::vector<bool> after = present();
  EXPECT_EQ(std::vector<bool>(after.begin(), after.begin() + 4),
            (std::vector<bool>{true, false, true, false}));
  const FaultServer server(faults(), fill_with(kB, Installed::kProtected));
  EXPECT_EQ(memory_->load(kPage), kA);
  EXPECT_TRUE(present()[1]);
  EXPECT_TRUE(server.messages().empty());
  memory_->store(kPage, kB);
  memory_->store(3 * kPage, kB);  // Not mapped when it is stored to.
  const auto messages = server.messages();
  ASSERT_EQ(messages.size(), 2U);
  EXPECT_TRUE(messages[0].is_protected);
  EXPECT_TRUE(messages[1].is_protected);
  EXPECT_EQ(memory_->load(3 * kPage + 1), kA);
}

TEST_F(UserFaultTest, ProtectionMayComeBeforeThePage) {
  ASSERT_TRUE(faults().protect(page(0), 2 * kPage).has_value());
  memory_->write(0, filled_pages(2, kA));
  const FaultServer server(faults(), fill_with(kB, Installed::kProtected));
  EXPECT_EQ(memory_->load(0), kA);
  EXPECT_TRUE(server.messages().empty());
  memory_->store(0, kB);
  memory_->store(kPage, kB);
  ASSERT_EQ(server.messages().size(), 2U);
  EXPECT_TRUE(server.messages()[0].is_protected);
  EXPECT_TRUE(server.messages()[1].is_protected);
}

TEST_F(UserFaultTest, ThePastOfAnUnwatchedRangeIsForgotten) {
  install(0, 1, kA);
  ASSERT_TRUE(faults().unwatch(page(0), memory_->view().size()).has_value());
  memory_->store(0, kB);
  EXPECT_EQ(memory_->load(kPage), std::byte{0});
  std::array<FaultMessage, 1> none;
  EXPECT_EQ(faults().read_messages(none), 0U);
}

TEST_F(UserFaultTest, WhatCannotBeWatchedOrFilledIsRefused) {
  const Result<UserFault> other = open_user_fault({});
  EXPECT_EQ(other->watch(page(0), kPage), tl::unexpected<Errno>(Errno{EBUSY}));
  const testing::TempDir directory;
  const Descriptor file =
      open_file(directory.write("file", std::string(kPage, 'x')).c_str(), {.write = true}).value();
  Address mapped =
      map_pages({.length_bytes = kPage, .protection = Protection::kReadWrite, .fd = file.get()})
          .value();
  EXPECT_EQ(other->watch(mapped, kPage), tl::unexpected<Errno>(Errno{EINVAL}));
  EXPECT_TRUE(unmap_pages(mapped, kPage).has_value());
  ASSERT_TRUE(truncate_file(memory_->memfd(), 2 * kPage).has_value());
  EXPECT_EQ(faults().copy_in(page(1), filled_pages(2, kA), Installed::kWritable),
            tl::unexpected<Errno>(Errno{EFAULT}));
}

TEST_F(UserFaultTest, APoisonedPageRaisesSigbusUntilItIsUnmapped) {
  if (!faults().can_poison()) {
    GTEST_SKIP() << "userfaultfd: no poison before 6.6";
  }
  ASSERT_TRUE(faults().poison(page(1), 2 * kPage).has_value());
  ASSERT_TRUE(prepare_guard().has_value());
  const auto fault = run_guarded(
      memory_->view(),
      {.run = [](void* at) { *static_cast<volatile std::byte*>(at); }, .argument = page(2)});
  ASSERT_TRUE(fault.has_value());
  // The latter from kernels built without CONFIG_MEMORY_FAILURE.
  EXPECT_TRUE(fault->cause == BusCause::kHardware || fault->cause == BusCause::kNoBacking);
  EXPECT_EQ(write_at(memory_->memfd(), memory_->pages(1, 1), 0),
            tl::unexpected<Errno>(Errno{EFAULT}));
  const std::array range{memory_->pages(1, 2)};
  ASSERT_TRUE(unmap_from_view(range).has_value());
  const FaultServer server(faults(), fill_with(kA, Installed::kProtected));
  EXPECT_EQ(memory_->load(2 * kPage), kA);
}

TEST_F(UserFaultTest, PoisonNeedsAnEmptyPlaceWithoutProtection) {
  if (!faults().can_poison()) {
    GTEST_SKIP() << "userfaultfd: no poison before 6.6";
  }
  install(2, 1, kA);
  const auto refused = tl::unexpected<Errno>(Errno{EEXIST});
  EXPECT_EQ(faults().poison(page(2), kPage), refused);
  EXPECT_EQ(faults().poison(page(0), 4 * kPage), refused);  // Stops half way.
  ASSERT_TRUE(faults().protect(page(5), kPage).has_value());
  EXPECT_EQ(faults().poison(page(5), kPage), refused);
  ASSERT_TRUE(faults().allow_writes(page(5), kPage).has_value());
  EXPECT_TRUE(faults().poison(page(5), kPage).has_value());
}

// --- Which pages are mapped, and bulk unmapping --------------------------------------------------

TEST_F(UserFaultTest, ThePagesThatAreMappedAreFoundHoweverManyRegionsTheyAre) {
  constexpr std::size_t kMany = 1000;
  memory_.emplace(std::move(*open_user_fault({})), kMany);
  std::vector<std::uint8_t> expected(kMany);
  for (std::size_t i = 0; i < kMany; ++i) {
    if (i % 2 == 1 || i % 7 == 0) {  // Several hundred regions.
      install(i, 1, kA);
      expected[i] = 1;
    }
  }
  ASSERT_TRUE(faults().protect(page(2), kPage).has_value());  // A marker is no page.
  const auto found_by = [&](const PageScan& scan) {
    const auto found = std::make_unique<bool[]>(kMany);
    std::fill_n(found.get(), kMany, true);
    EXPECT_TRUE(scan.present(page(0), kMany * kPage, {found.get(), kMany}).has_value());
    return std::vector<std::uint8_t>(found.get(), found.get() + kMany);
  };
  EXPECT_EQ(found_by(PageScan::open().value()), expected);
  // The same as it was before 6.7.
  std::optional<PageScan> words;
  {
    const FaultPlan plan({.call = Call::kPageScan, .error = ENOTTY});
    words.emplace(PageScan::open().value());
  }
  const FaultPlan plan({});
  EXPECT_EQ(found_by(*words), expected);
  EXPECT_EQ(plan.count(Call::kPageScan), 0U);
}

TEST_F(UserFaultTest, ManyRangesLeaveTheViewInOneCallPerBatch) {
  constexpr std::size_t kMany = 130;
  memory_.emplace(std::move(*open_user_fault({})), kMany);
  install(0, kMany, kA);
  std::vector<std::span<std::byte>> ranges;
  for (std::size_t i = 0; i < kMany; ++i) {
    ranges.push_back(memory_->pages(i, 1));
  }
  const auto unmap_all = [&] {
    const FaultPlan plan({});
    EXPECT_TRUE(unmap_from_view(ranges).has_value());
    std::array<bool, kMany> found{};
    EXPECT_TRUE(PageScan::open()->present(page(0), kMany * kPage, found).has_value());
    EXPECT_EQ(std::count(found.begin(), found.end(), true), 0);
    return plan.count(Call::kAdviseMemory);
  };
  const std::uint64_t calls = unmap_all();
  // 130 = 64 + 64 + 2; or the kernel refuses the first batch, and no more are tried.
  EXPECT_TRUE(calls == 3 || calls == 1 + kMany) << calls;
}

// Goal:   a kernel that refuses the call for many ranges is asked once.
// Method: in a child, because the answer is remembered for the whole process.
TEST_F(UserFaultTest, ARefusedBulkCallIsDoneOneByOneAndRemembered) {
  testing::Child child([&] {
    UserFault own = std::move(*open_user_fault({}));
    const WatchedMemory memory(std::move(own), 4);
    const std::array ranges{memory.pages(0, 1), memory.pages(2, 1), memory.pages(3, 1)};
    for (const std::uint64_t calls : {4U, 3U}) {
      const FaultPlan plan(
          {.call = Call::kAdviseMemory, .nth = calls == 4 ? 1U : 100U, .error = EPERM});
      if (!memory.faults().copy_in(memory.page(0), filled_pages(1, kA), Installed::kWritable) ||
          !unmap_from_view(ranges) || plan.count(Call::kAdviseMemory) != calls) {
        return 1;
      }
    }
    return 7;
  });
  EXPECT_EQ(child.join().exit_code, 7);
}

TEST_F(UserFaultTest, ABulkUnmappingOfBadMemoryFailsAndIsNotTakenForARefusal) {
  const std::array bad{memory_->pages(0, 1), std::span<std::byte>(page(1) + 1, kPage)};
  EXPECT_EQ(unmap_from_view(bad), tl::unexpected<Errno>(Errno{EINVAL}));
  const FaultPlan plan({});
  const std::array good{memory_->pages(0, 1), memory_->pages(1, 1)};
  EXPECT_TRUE(unmap_from_view(good).has_value());
  EXPECT_EQ(plan.count(Call::kAdviseMemory), 1U);
}

}  // namespace
}  // namespace quire::sys
