// SPDX-License-Identifier: Apache-2.0
//
// What bites around a userfaultfd, each as the kernel does it: what user_fault.h warns of is
// measured here, so that a kernel that changes its mind is noticed.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <optional>
#include <thread>
#include <vector>

#include "quire/sys/bus_guard.h"
#include "quire/sys/call.h"
#include "quire/sys/user_fault.h"
#include "quire/testing/process.h"
#include "quire/testing/watched_memory.h"

namespace quire::sys {
namespace {

using testing::Child;
using testing::FaultServer;
using testing::filled_pages;
using testing::WatchedMemory;

constexpr std::size_t kPage = testing::kWatchedPageBytes;
constexpr std::size_t kPages = 16;
constexpr std::byte kA{0xa5};
constexpr std::byte kB{0x5b};

// What an ordinary user gets: the two ways to full access are refused.
Result<UserFault> open_for_user_mode(FaultDelivery delivery) {
  const FaultPlan plan({.call = Call::kUserFault, .times = 2, .error = EPERM});
  return open_user_fault({.delivery = delivery});
}

void wait_for_a_message(const UserFault& faults) {
  std::array<FaultMessage, 1> message;
  while (faults.read_messages(message).value() == 0) {
    std::this_thread::yield();
  }
}

class UserFaultTrapTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Result<UserFault> faults = open_user_fault({});
    if (!faults || faults->access() != FaultAccess::kFull) {
      GTEST_SKIP() << "userfaultfd: " << (faults ? faults->explain() : faults.error().message());
    }
    memory_.emplace(std::move(*faults), kPages);
  }

  [[nodiscard]] const UserFault& faults() const { return memory_->faults(); }
  void use(Result<UserFault> faults) { memory_.emplace(std::move(faults.value()), kPages); }

  // Copies a page of the view by a system call: into the same memfd, far away from it.
  [[nodiscard]] Outcome<void> system_call_loads(std::size_t index) const {
    return write_at(memory_->memfd(), memory_->pages(index, 1), (kPages - 1) * kPage);
  }
  [[nodiscard]] Outcome<std::size_t> system_call_stores(std::size_t index) const {
    return read_at(zeros_.get(), memory_->pages(index, 1), 0);
  }

  std::optional<WatchedMemory> memory_;
  Descriptor zeros_ = open_file("/dev/zero", {}).value();
};

const auto kFault = tl::unexpected<Errno>(Errno{EFAULT});

TEST_F(UserFaultTrapTest, SystemCallsWaitLikeLoadsWithFullAccess) {
  const FaultServer server(faults(), [&](const FaultMessage& message) {
    const auto index = static_cast<std::size_t>(message.address - memory_->page(0)) / kPage;
    if (message.is_protected) {
      EXPECT_TRUE(faults().allow_writes(memory_->page(index), kPage).has_value());
    } else {
      EXPECT_TRUE(
          faults().copy_in(memory_->page(index), filled_pages(1, kA), Installed::kProtected));
    }
  });
  EXPECT_TRUE(system_call_loads(0).has_value());
  EXPECT_EQ(memory_->load((kPages - 1) * kPage), kA);
  EXPECT_EQ(system_call_stores(0), kPage);
  EXPECT_EQ(memory_->load(0), std::byte{0});
  EXPECT_EQ(server.messages().size(), 2U);
}

TEST_F(UserFaultTrapTest, SystemCallsFailWithUserModeAccessUntilThePageIsThere) {
  use(open_for_user_mode(FaultDelivery::kMessages));
  ASSERT_EQ(faults().access(), FaultAccess::kUserMode);
  EXPECT_EQ(system_call_loads(0), kFault);
  EXPECT_EQ(system_call_stores(0), kFault);
  EXPECT_EQ(advise_pages(memory_->page(0), kPage, MemoryAdvice::kPopulateRead), kFault);
  ASSERT_EQ(faults().copy_in(memory_->page(0), filled_pages(1, kA), Installed::kProtected), kPage);
  EXPECT_TRUE(system_call_loads(0).has_value());
  EXPECT_EQ(system_call_stores(0), kFault);
  ASSERT_TRUE(faults().allow_writes(memory_->page(0), kPage).has_value());
  EXPECT_EQ(system_call_stores(0), kPage);
}

TEST_F(UserFaultTrapTest, LoadsOfUserCodeAreServedWithUserModeAccess) {
  use(open_for_user_mode(FaultDelivery::kMessages));
  const FaultServer server(faults(), [&](const FaultMessage&) {
    EXPECT_TRUE(faults().copy_in(memory_->page(2), filled_pages(1, kA), Installed::kProtected));
  });
  EXPECT_EQ(memory_->load(2 * kPage), kA);
}

TEST_F(UserFaultTrapTest, SystemCallsFailWithSignals) {
  use(open_user_fault({.delivery = FaultDelivery::kSignals}));
  EXPECT_EQ(system_call_loads(0), kFault);
  ASSERT_EQ(faults().copy_in(memory_->page(0), filled_pages(1, kA), Installed::kProtected), kPage);
  EXPECT_TRUE(system_call_loads(0).has_value());
  EXPECT_EQ(system_call_stores(0), kFault);
}

// --- Signals -------------------------------------------------------------------------------------

// What the resolver works on: it is one function for the process.
const WatchedMemory* g_memory = nullptr;
alignas(kPage) std::array<std::byte, kPage> g_page_bytes;
std::atomic<int> g_loads{0};
std::atomic<int> g_stores{0};
std::atomic<std::uintptr_t> g_last_address{0};

bool fill_page(const BusFault& fault) noexcept {
  const auto begin = reinterpret_cast<std::uintptr_t>(g_memory->view().data());
  if (fault.address - begin >= g_memory->view().size()) {
    return false;
  }
  g_last_address = fault.address;
  Address page = g_memory->page((fault.address - begin) / kPage);
  ++(fault.access == BusAccess::kStore ? g_stores : g_loads);
  const auto filled = g_memory->faults().copy_in(page, g_page_bytes, Installed::kProtected);
  if (filled == 0U) {  // It is there: somebody was faster, or the store is what is refused.
    return fault.access != BusAccess::kStore ||
           g_memory->faults().allow_writes(page, kPage).has_value();
  }
  return filled.has_value();
}

class UserFaultSignalTest : public UserFaultTrapTest {
 protected:
  void SetUp() override {
    UserFaultTrapTest::SetUp();
    if (!IsSkipped()) {
      use(open_user_fault({.delivery = FaultDelivery::kSignals}));
      g_memory = &*memory_;
      g_page_bytes.fill(kA);
      g_loads = 0;
      g_stores = 0;
      ASSERT_TRUE(set_bus_resolver(fill_page).has_value());
    }
  }
  void TearDown() override { ASSERT_TRUE(set_bus_resolver(nullptr).has_value()); }
};

TEST_F(UserFaultSignalTest, ALoadIsResolvedInItsOwnThreadAndRepeated) {
  EXPECT_EQ(memory_->load(2 * kPage + 5), kA);
  EXPECT_EQ(g_last_address, reinterpret_cast<std::uintptr_t>(memory_->page(2) + 5));
  EXPECT_EQ(g_loads + g_stores, 1);
  std::array<FaultMessage, 1> none;
  EXPECT_EQ(faults().read_messages(none), 0U);
}

TEST_F(UserFaultSignalTest, AStoreFaultsForThePageAndForItsProtection) {
  memory_->store(5, kB);
  EXPECT_EQ(memory_->load(5), kB);
  EXPECT_EQ(memory_->load(6), kA);
#if defined(__x86_64__)
  EXPECT_EQ(g_stores, 2);
  EXPECT_EQ(g_loads, 0);
#endif
}

TEST_F(UserFaultSignalTest, APageTakenOutOfTheViewRaisesNothing) {
  EXPECT_EQ(memory_->load(0), kA);
  const std::array range{memory_->pages(0, 1)};
  ASSERT_TRUE(unmap_from_view(range).has_value());
  EXPECT_EQ(memory_->load(0), kA);
  EXPECT_EQ(g_loads + g_stores, 1);
}

TEST_F(UserFaultSignalTest, ThreadsThatFaultAtOnceAllSeeTheBytes) {
  constexpr int kRounds = 50;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<std::thread> threads;
    std::atomic<int> wrong{0};
    for (std::size_t i = 0; i < 4; ++i) {
      threads.emplace_back([&, i] {
        for (std::size_t index = 0; index < kPages; ++index) {
          wrong += memory_->load(index * kPage) == kA ? 0 : 1;
          memory_->store(index * kPage + 1 + i, kB);
        }
      });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
    ASSERT_EQ(wrong, 0);
    ASSERT_TRUE(punch_hole(memory_->memfd(), {0, kPages * kPage}).has_value());
  }
}

// Goal:   a resolver runs on the smallest stack a program may give its signals, plus 8 KiB.
TEST_F(UserFaultSignalTest, ASmallAlternateStackIsEnough) {
  std::thread([&] {
    constexpr std::size_t kRoom = 8192;
    const auto guarded = filled_pages(1, kB);
    std::vector<std::byte> stack(static_cast<std::size_t>(sysconf(_SC_MINSIGSTKSZ)) + kRoom, kB);
    stack_t before{};
    const stack_t now{.ss_sp = stack.data(), .ss_flags = 0, .ss_size = stack.size()};
    ASSERT_EQ(sigaltstack(&now, &before), 0);
    EXPECT_EQ(memory_->load(0), kA);
    ASSERT_EQ(sigaltstack(&before, nullptr), 0);
    const auto untouched =
        std::find_if(stack.begin(), stack.end(), [](std::byte b) { return b != kB; });
    EXPECT_GT(untouched - stack.begin(), 1024) << "less than 1 KiB was left";
    EXPECT_NE(untouched, stack.end()) << "the stack was not used";
  }).join();
}

// --- The ends of things --------------------------------------------------------------------------

TEST_F(UserFaultTrapTest, ClosingWhileAThreadWaitsGivesItZerosThatEnterTheMemfd) {
  std::thread waiter([&] { EXPECT_EQ(memory_->load(0), std::byte{0}); });
  wait_for_a_message(faults());
  EXPECT_EQ(memory_->resident_pages(), 0U);
  memory_->close_faults();
  waiter.join();
  EXPECT_EQ(memory_->resident_pages(), 1U);
}

// Goal:   the safe order: whoever waits gets SIGSEGV, and no zeros enter the memfd.
TEST_F(UserFaultTrapTest, ClosingAfterUnmappingEndsTheWaitWithAnError) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "ThreadSanitizer: no threads after fork";
#endif
  Child child([&] {
    std::signal(SIGSEGV, SIG_DFL);  // Not a sanitizer's report.
    WatchedMemory own(std::move(*open_user_fault({})), kPages);
    std::thread waiter([load = own.page(0)] { *static_cast<volatile std::byte*>(load); });
    wait_for_a_message(own.faults());
    own.unmap();
    if (own.resident_pages() != 0) {
      return 1;
    }
    own.close_faults();
    waiter.join();
    return 2;
  });
  EXPECT_EQ(child.join().signal, SIGSEGV);
}

TEST_F(UserFaultTrapTest, AForkedChildReadsZerosIntoTheMemfd) {
  Child child([&] { return memory_->load(0) == std::byte{0} ? 7 : 1; });
  EXPECT_EQ(child.join().exit_code, 7);
  EXPECT_EQ(memory_->resident_pages(), 1U);
}

TEST_F(UserFaultTrapTest, AForkedChildGetsSigsegvWhereTheViewIsNotForked) {
  ASSERT_TRUE(advise_pages(memory_->page(0), kPages * kPage, MemoryAdvice::kDontFork).has_value());
  Child child([&] {
    std::signal(SIGSEGV, SIG_DFL);  // Not a sanitizer's report.
    return static_cast<int>(memory_->load(0));
  });
  EXPECT_EQ(child.join().signal, SIGSEGV);
  EXPECT_EQ(memory_->resident_pages(), 0U);
}

TEST_F(UserFaultTrapTest, ProtectionSurvivesThePunchingOfItsPage) {
  ASSERT_EQ(faults().copy_in(memory_->page(0), filled_pages(2, kA), Installed::kProtected),
            2 * kPage);
  ASSERT_TRUE(punch_hole(memory_->memfd(), {0, 2 * kPage}).has_value());
  EXPECT_EQ(memory_->resident_pages(), 0U);
  memory_->write(0, filled_pages(1, kB));
  ASSERT_EQ(faults().copy_in(memory_->page(1), filled_pages(1, kB), Installed::kProtected), kPage);
  std::vector<FaultMessage> messages;
  {
    const FaultServer server(faults(), [&](const FaultMessage&) {
      EXPECT_TRUE(faults().allow_writes(memory_->page(0), 2 * kPage).has_value());
    });
    EXPECT_EQ(memory_->load(0), kB);
    memory_->store(0, kA);
    messages = server.messages();
  }
  ASSERT_EQ(messages.size(), 1U);
  EXPECT_TRUE(messages[0].is_protected);
}

TEST_F(UserFaultTrapTest, AWritablePageLeavesNothingBehindWhenItIsUnmapped) {
  ASSERT_EQ(faults().copy_in(memory_->page(0), filled_pages(1, kA), Installed::kWritable), kPage);
  const std::array range{memory_->pages(0, 1)};
  ASSERT_TRUE(unmap_from_view(range).has_value());
  memory_->store(0, kB);  // Without a message: it would wait for ever.
  EXPECT_EQ(memory_->load(0), kB);
}

TEST_F(UserFaultTrapTest, PastTheMemfdsEndASigbusComesWithoutAMessage) {
  ASSERT_TRUE(truncate_file(memory_->memfd(), 2 * kPage).has_value());
  ASSERT_TRUE(prepare_guard().has_value());
  const auto fault =
      run_guarded(memory_->view(), {.run = [](void* at) { *static_cast<volatile std::byte*>(at); },
                                    .argument = memory_->page(2)});
  ASSERT_TRUE(fault.has_value());
  EXPECT_EQ(fault->cause, BusCause::kNoBacking);
  std::array<FaultMessage, 1> none;
  EXPECT_EQ(faults().read_messages(none), 0U);
}

TEST_F(UserFaultTrapTest, MappingOverAWatchedRangeEndsTheWatchWithoutAWord) {
  ASSERT_TRUE(map_pages({.length_bytes = kPage,
                         .protection = Protection::kReadWrite,
                         .fd = memory_->memfd(),
                         .fixed_address = memory_->page(0)})
                  .has_value());
  EXPECT_EQ(memory_->load(0), std::byte{0});  // Not a message that nobody would answer.
  EXPECT_EQ(faults().copy_in(memory_->page(0), filled_pages(1, kA), Installed::kWritable),
            tl::unexpected<Errno>(Errno{ENOENT}));
}

TEST_F(UserFaultTrapTest, AThreadThatBlocksSigbusDiesAtItsFirstFault) {
  Child child([&] {
    const WatchedMemory own(std::move(*open_user_fault({.delivery = FaultDelivery::kSignals})),
                            kPages);
    g_memory = &own;
    if (!set_bus_resolver(fill_page) || is_bus_blocked()) {
      return 1;
    }
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGBUS);
    pthread_sigmask(SIG_BLOCK, &mask, nullptr);
    if (!is_bus_blocked()) {
      return 2;
    }
    return static_cast<int>(own.load(0));
  });
  EXPECT_EQ(child.join().signal, SIGBUS);
}

}  // namespace
}  // namespace quire::sys
