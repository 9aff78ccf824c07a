// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/bus_guard.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "quire/sys/call.h"
#include "quire/sys/internal/bus_guard_test.h"
#include "quire/testing/process.h"

namespace quire::sys {
namespace {

using internal::BarePages;
using internal::BusGuardTest;
using internal::escape_plain;
using internal::escape_with_info;
using internal::escapes;
using internal::g_seen_address;
using internal::g_seen_mask_bus;
using internal::g_seen_mask_usr1;
using internal::g_seen_signal;
using internal::guard;
using internal::install;
using internal::kPageBytes;

TEST_F(BusGuardTest, AFaultGivesItsAddressAndAccess) {
  const auto load = guard(bare_.bytes(), [&] { static_cast<void>(bare_.load(4097)); });
  ASSERT_TRUE(load.has_value());
  EXPECT_EQ(load->address, bare_.address(4097));
  EXPECT_EQ(load->cause, BusCause::kNoBacking);
  const auto store = guard(bare_.bytes(), [&] { bare_.store(0); });
  ASSERT_TRUE(store.has_value());
  EXPECT_EQ(store->address, bare_.address(0));
#if defined(__x86_64__)
  EXPECT_EQ(load->access, BusAccess::kLoad);
  EXPECT_EQ(store->access, BusAccess::kStore);
#endif
}

TEST_F(BusGuardTest, WithoutAFaultTheFunctionRunsToItsEnd) {
  int runs = 0;
  EXPECT_FALSE(guard(bare_.bytes(), [&] { ++runs; }).has_value());
  EXPECT_EQ(runs, 1);
}

TEST_F(BusGuardTest, TheFirstUseOfAThreadMakesSystemCallsAndLaterOnesNone) {
  std::thread([&] {
    const FaultPlan plan({});
    EXPECT_FALSE(guard({}, [] {}).has_value());
    EXPECT_EQ(plan.count(Call::kSignal), 3U);
    for (int i = 0; i < 100; ++i) {
      EXPECT_TRUE(guard(bare_.bytes(), [&] { bare_.store(1); }).has_value());
    }
    EXPECT_EQ(plan.count(Call::kSignal), 3U);
  }).join();
}

// Goal:   a jump out of the handler leaves no trace: the mask stays as it was, and the alternate
//         stack can be used again.
TEST_F(BusGuardTest, AThousandFaultsOnAnAlternateStackLeaveTheMaskAlone) {
  std::thread([&] {
    std::vector<char> memory(static_cast<std::size_t>(SIGSTKSZ) * 4);
    stack_t previous{};
    const stack_t stack{.ss_sp = memory.data(), .ss_flags = 0, .ss_size = memory.size()};
    ASSERT_EQ(sigaltstack(&stack, &previous), 0);
    sigset_t before;
    pthread_sigmask(SIG_BLOCK, nullptr, &before);
    for (int i = 0; i < 1000; ++i) {
      ASSERT_TRUE(guard(bare_.bytes(), [&] { bare_.store(2); }).has_value());
    }
    sigset_t after;
    pthread_sigmask(SIG_BLOCK, nullptr, &after);
    for (int signal = 1; signal < NSIG; ++signal) {
      EXPECT_EQ(sigismember(&before, signal), sigismember(&after, signal)) << signal;
    }
    ASSERT_EQ(sigaltstack(&previous, nullptr), 0);
  }).join();
}

TEST_F(BusGuardTest, TheInnermostFrameThatHoldsTheAddressGetsIt) {
  const BarePages other;
  int after_inner = 0;
  const auto outer = guard(bare_.bytes(), [&] {
    const auto inner = guard(bare_.bytes(), [&] { bare_.store(5); });
    EXPECT_EQ(inner->address, bare_.address(5));
    ++after_inner;
    static_cast<void>(guard(other.bytes(), [&] { bare_.store(6); }));  // Past the inner frame.
    ++after_inner;
  });
  ASSERT_TRUE(outer.has_value());
  EXPECT_EQ(outer->address, bare_.address(6));
  EXPECT_EQ(after_inner, 1);
  // The dropped frame is gone: its region is nobody's any more, the outer one's is guarded anew.
  EXPECT_EQ(guard(bare_.bytes(), [&] { bare_.store(7); })->address, bare_.address(7));
}

TEST_F(BusGuardTest, OnlyTheRegionsOwnBytesCount) {
  const auto middle = bare_.bytes().subspan(kPageBytes, kPageBytes);
  const auto outer = guard(bare_.bytes(), [&] {
    EXPECT_TRUE(guard(middle, [&] { bare_.store(kPageBytes); }).has_value());
    EXPECT_TRUE(guard(middle, [&] { bare_.store(2 * kPageBytes - 1); }).has_value());
    static_cast<void>(guard(middle, [&] { bare_.store(2 * kPageBytes); }));
    ADD_FAILURE() << "the fault behind the inner region stayed inside";
  });
  EXPECT_EQ(outer->address, bare_.address(2 * kPageBytes));
}

TEST_F(BusGuardTest, AnExceptionTakesItsFrameAlong) {
  // In a child: with the frame still linked, the fault would jump into a dead frame of the stack.
  testing::Child child([&] {
    signal(SIGBUS, SIG_DFL);
    try {
      static_cast<void>(guard(bare_.bytes(), [] { throw 42; }));
      return 1;
    } catch (int) {
      bare_.store(0);
    }
    return 2;
  });
  EXPECT_EQ(child.join().signal, SIGBUS);
}

// --- The actions before ours ---------------------------------------------------------------------

TEST_F(BusGuardTest, AForeignFaultGoesToTheProgramsHandlerWithItsMask) {
  struct sigaction action{};
  action.sa_sigaction = escape_with_info;
  action.sa_flags = SA_SIGINFO;
  sigaddset(&action.sa_mask, SIGUSR1);
  sigaction(SIGBUS, &action, nullptr);
  const BarePages other;
  EXPECT_FALSE(guard(other.bytes(), [] {}).has_value());
  EXPECT_TRUE(escapes([&] { bare_.store(3); }));
  EXPECT_EQ(g_seen_signal, SIGBUS);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(g_seen_address), bare_.address(3));
  EXPECT_TRUE(g_seen_mask_usr1);
  EXPECT_TRUE(g_seen_mask_bus);
}

TEST_F(BusGuardTest, APlainHandlerAndNodeferAreHonoured) {
  install(escape_plain, SA_NODEFER);
  EXPECT_FALSE(guard({}, [] {}).has_value());
  EXPECT_TRUE(escapes([&] { bare_.store(3); }));
  EXPECT_EQ(g_seen_signal, SIGBUS);
  EXPECT_TRUE(g_seen_mask_usr1);
  EXPECT_FALSE(g_seen_mask_bus);
}

TEST_F(BusGuardTest, AHandlerThatRunsOnceRunsOnce) {
  testing::Child child([&] {
    install(escape_plain, SA_RESETHAND);
    static_cast<void>(guard({}, [] {}));
    if (!escapes([&] { bare_.store(3); })) {
      return 1;
    }
    static_cast<void>(escapes([&] { bare_.store(3); }));
    return 2;
  });
  EXPECT_EQ(child.join().signal, SIGBUS);
}

TEST_F(BusGuardTest, TheDefaultActionKillsOnARaisedAndOnASentSignal) {
  testing::Child raised([&] {
    signal(SIGBUS, SIG_DFL);
    static_cast<void>(guard({}, [] {}));
    bare_.store(0);
    return 1;
  });
  EXPECT_EQ(raised.join().signal, SIGBUS);
  testing::Child sent([&] {
    signal(SIGBUS, SIG_DFL);
    static_cast<void>(guard({}, [] {}));
    kill(getpid(), SIGBUS);
    return 1;
  });
  EXPECT_EQ(sent.join().signal, SIGBUS);
}

TEST_F(BusGuardTest, AnIgnoredSignalIsIgnoredWhenSentAndKillsWhenRaised) {
  testing::Child child([&] {
    signal(SIGBUS, SIG_IGN);
    static_cast<void>(guard({}, [] {}));
    kill(getpid(), SIGBUS);  // Survived: otherwise the signal below is not the one that kills.
    bare_.store(0);
    return 1;
  });
  EXPECT_EQ(child.join().signal, SIGBUS);
  testing::Child survivor([&] {
    signal(SIGBUS, SIG_IGN);
    static_cast<void>(guard({}, [] {}));
    kill(getpid(), SIGBUS);
    return 7;
  });
  EXPECT_EQ(survivor.join().exit_code, 7);
}

// Goal: a signal somebody sends is never taken for a fault, whatever its payload looks like.
TEST_F(BusGuardTest, ASentSignalDoesNotEndAGuardedFunction) {
  testing::Child child([&] {
    signal(SIGBUS, SIG_IGN);
    bool reached_end = false;
    const auto fault = guard(bare_.bytes(), [&] {
      const union sigval value{.sival_ptr = const_cast<std::byte*>(bare_.bytes().data())};
      sigqueue(getpid(), SIGBUS, value);
      reached_end = true;
    });
    return !fault && reached_end ? 7 : 1;
  });
  EXPECT_EQ(child.join().exit_code, 7);
}

TEST_F(BusGuardTest, RemovingRestoresThePreviousActionExactly) {
  struct sigaction action{};
  action.sa_sigaction = escape_with_info;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigaddset(&action.sa_mask, SIGUSR2);
  sigaction(SIGBUS, &action, nullptr);
  ASSERT_TRUE(install_guard_handler().has_value());
  ASSERT_TRUE(install_guard_handler().has_value());  // Again: nothing happens.
  ASSERT_TRUE(remove_guard_handler().has_value());
  struct sigaction now{};
  sigaction(SIGBUS, nullptr, &now);
  EXPECT_EQ(now.sa_sigaction, &escape_with_info);
  EXPECT_EQ(now.sa_flags & (SA_SIGINFO | SA_RESTART | SA_NODEFER | SA_ONSTACK),
            SA_SIGINFO | SA_RESTART);
  EXPECT_EQ(sigismember(&now.sa_mask, SIGUSR2), 1);
  EXPECT_EQ(sigismember(&now.sa_mask, SIGUSR1), 0);
  // And the next guard works again, with the same action behind it.
  EXPECT_TRUE(guard(bare_.bytes(), [&] { bare_.store(0); }).has_value());
  EXPECT_TRUE(escapes([&] { bare_.store(9); }));
}

struct sigaction g_chained_before{};

void pass_on(int signal, siginfo_t* info, void* context) {
  g_chained_before.sa_sigaction(signal, info, context);
}

TEST_F(BusGuardTest, AHandlerInstalledLaterMayPassOnAndForbidsRemoval) {
  ASSERT_TRUE(install_guard_handler().has_value());
  struct sigaction action{};
  action.sa_sigaction = pass_on;
  action.sa_flags = SA_SIGINFO;  // SIGBUS is blocked when the signal comes to us.
  sigaction(SIGBUS, &action, &g_chained_before);
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(guard(bare_.bytes(), [&] { bare_.store(0); }).has_value());
  }
  const Result<void> removed = remove_guard_handler();
  ASSERT_FALSE(removed.has_value());
  EXPECT_EQ(removed.error().code(), Errc::kChanged);
  sigaction(SIGBUS, &g_chained_before, nullptr);
  EXPECT_TRUE(remove_guard_handler().has_value());
}

// --- What is refused -----------------------------------------------------------------------------

TEST_F(BusGuardTest, ABlockedSignalIsAnErrorThatNamesTheRemedy) {
  std::thread([] {
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGBUS);
    pthread_sigmask(SIG_BLOCK, &mask, nullptr);
    const Result<void> blocked = prepare_guard();
    ASSERT_FALSE(blocked.has_value());
    EXPECT_EQ(blocked.error().code(), Errc::kFailed);
    EXPECT_NE(blocked.error().remedy().find("SIG_UNBLOCK"), std::string::npos);
    pthread_sigmask(SIG_UNBLOCK, &mask, nullptr);
    EXPECT_TRUE(prepare_guard().has_value());
  }).join();
}

TEST_F(BusGuardTest, EveryFailedSystemCallIsAnErrorAndTheNextTryWorks) {
  for (std::uint64_t nth = 1; nth <= 3; ++nth) {
    std::thread([nth] {
      ASSERT_TRUE(remove_guard_handler().has_value());
      {
        const FaultPlan plan({.call = Call::kSignal, .nth = nth, .error = EPERM});
        const Result<void> ready = prepare_guard();
        ASSERT_FALSE(ready.has_value()) << nth;
        EXPECT_EQ(ready.error().code(), std::errc::operation_not_permitted);
      }
      EXPECT_TRUE(prepare_guard().has_value());
    }).join();
  }
}

TEST_F(BusGuardTest, AFailedRemovalKeepsTheGuardWorking) {
  for (std::uint64_t nth = 1; nth <= 2; ++nth) {
    ASSERT_TRUE(install_guard_handler().has_value());
    {
      const FaultPlan plan({.call = Call::kSignal, .nth = nth, .error = EPERM});
      EXPECT_FALSE(remove_guard_handler().has_value()) << nth;
    }
    EXPECT_TRUE(guard(bare_.bytes(), [&] { bare_.store(0); }).has_value());
  }
}

TEST_F(BusGuardTest, AForkedChildIsGuardedToo) {
  EXPECT_FALSE(guard({}, [] {}).has_value());
  testing::Child child(
      [&] { return guard(bare_.bytes(), [&] { bare_.store(0); }).has_value() ? 7 : 1; });
  EXPECT_EQ(child.join().exit_code, 7);
}

}  // namespace
}  // namespace quire::sys
