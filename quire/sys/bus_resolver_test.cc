// SPDX-License-Identifier: Apache-2.0
//
// The resolver of bus_guard.h.
#include <gtest/gtest.h>
#include <signal.h>

#include <cerrno>
#include <thread>

#include "quire/sys/bus_guard.h"
#include "quire/sys/call.h"
#include "quire/sys/internal/bus_guard_test.h"
#include "quire/testing/process.h"

namespace quire::sys {
namespace {

using internal::BarePages;
using internal::BusGuardTest;
using internal::escape_plain;
using internal::escapes;
using internal::g_seen_mask_bus;
using internal::g_seen_mask_usr1;
using internal::g_seen_mask_usr2;
using internal::guard;
using internal::install;

// One function for the process: what it works on, and what it saw.
const BarePages* g_bare = nullptr;
int g_calls = 0;
BusFault g_fault;
bool g_usr1_ran = false;
bool g_usr1_ran_inside = false;

// Gives the file its pages back, as the kernel would have wanted it.
bool grow(const BusFault& fault) noexcept {
  ++g_calls;
  g_fault = fault;
  errno = EDOM;
  return g_bare->grow();
}

bool decline(const BusFault&) noexcept {
  ++g_calls;
  errno = EDOM;
  return false;
}

bool raise_and_grow(const BusFault&) noexcept {
  raise(SIGUSR1);
  g_usr1_ran_inside = g_usr1_ran;
  return g_bare->grow();
}

class BusResolverTest : public BusGuardTest {
 protected:
  void SetUp() override {
    BusGuardTest::SetUp();
    g_bare = &bare_;
    g_calls = 0;
  }
  void TearDown() override {
    EXPECT_TRUE(set_bus_resolver(nullptr).has_value());
    BusGuardTest::TearDown();
  }
};

TEST_F(BusResolverTest, AResolvedAccessIsRepeatedAndErrnoIsKept) {
  ASSERT_TRUE(set_bus_resolver(grow).has_value());
  errno = ELOOP;
  bare_.store(4097);
  EXPECT_EQ(errno, ELOOP);
  EXPECT_EQ(bare_.load(4097), std::byte{1});
  EXPECT_EQ(g_calls, 1);
  EXPECT_EQ(g_fault.address, bare_.address(4097));
  EXPECT_EQ(g_fault.cause, BusCause::kNoBacking);
#if defined(__x86_64__)
  EXPECT_EQ(g_fault.access, BusAccess::kStore);
#endif
}

TEST_F(BusResolverTest, TheResolverComesBeforeTheGuardsAndWhatItDeclinesIsTheirs) {
  ASSERT_TRUE(set_bus_resolver(decline).has_value());
  const auto fault = guard(bare_.bytes(), [&] { bare_.store(3); });
  ASSERT_TRUE(fault.has_value());
  EXPECT_EQ(fault->address, bare_.address(3));
  EXPECT_EQ(g_calls, 1);
  ASSERT_TRUE(set_bus_resolver(grow).has_value());
  EXPECT_FALSE(guard(bare_.bytes(), [&] { bare_.store(3); }).has_value());
  EXPECT_EQ(g_calls, 2);
}

TEST_F(BusResolverTest, WhatItDeclinesGoesToThePreviousActionWithItsOwnMask) {
  install(escape_plain);
  ASSERT_TRUE(set_bus_resolver(decline).has_value());
  EXPECT_TRUE(escapes([&] { bare_.store(3); }));
  EXPECT_EQ(g_calls, 1);
  EXPECT_TRUE(g_seen_mask_usr1);  // Asked for,
  EXPECT_TRUE(g_seen_mask_bus);
  EXPECT_FALSE(g_seen_mask_usr2);  // and not asked for: ours is over.
}

TEST_F(BusResolverTest, WithoutOneAndWithoutAGuardTheDefaultActionKills) {
  testing::Child child([&] {
    signal(SIGBUS, SIG_DFL);
    if (!set_bus_resolver(decline)) {
      return 1;
    }
    bare_.store(0);
    return 2;
  });
  EXPECT_EQ(child.join().signal, SIGBUS);
}

TEST_F(BusResolverTest, NoHandlerOfTheProgramRunsInsideOfIt) {
  struct sigaction before{};
  struct sigaction action{};
  action.sa_handler = [](int) { g_usr1_ran = true; };
  ASSERT_EQ(sigaction(SIGUSR1, &action, &before), 0);
  g_usr1_ran = false;
  ASSERT_TRUE(set_bus_resolver(raise_and_grow).has_value());
  bare_.store(0);
  EXPECT_FALSE(g_usr1_ran_inside);
  EXPECT_TRUE(g_usr1_ran);  // Right afterwards.
  ASSERT_EQ(sigaction(SIGUSR1, &before, nullptr), 0);
}

TEST_F(BusResolverTest, ASentSignalIsNotItsBusiness) {
  install(escape_plain);
  ASSERT_TRUE(set_bus_resolver(grow).has_value());
  EXPECT_TRUE(escapes([] { raise(SIGBUS); }));
  EXPECT_EQ(g_calls, 0);
}

TEST_F(BusResolverTest, TheHandlerStaysWhileOneIsSet) {
  ASSERT_TRUE(set_bus_resolver(grow).has_value());
  const Result<void> removed = remove_guard_handler();
  ASSERT_FALSE(removed.has_value());
  EXPECT_EQ(removed.error().code(), Errc::kFailed);
  bare_.store(0);
  ASSERT_TRUE(set_bus_resolver(nullptr).has_value());
  EXPECT_TRUE(remove_guard_handler().has_value());
}

TEST_F(BusResolverTest, WithoutTheHandlerThereIsNoResolver) {
  {
    const FaultPlan plan({.call = Call::kSignal, .error = EPERM});
    EXPECT_FALSE(set_bus_resolver(grow).has_value());
  }
  EXPECT_TRUE(guard(bare_.bytes(), [&] { bare_.store(3); }).has_value());
  EXPECT_EQ(g_calls, 0);
}

TEST_F(BusResolverTest, WhetherSigbusIsBlockedIsTheThreadsOwnMatter) {
  EXPECT_FALSE(is_bus_blocked());
  std::thread([] {
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGBUS);
    pthread_sigmask(SIG_BLOCK, &mask, nullptr);
    EXPECT_TRUE(is_bus_blocked());
  }).join();
  EXPECT_FALSE(is_bus_blocked());
}

}  // namespace
}  // namespace quire::sys
