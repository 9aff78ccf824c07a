// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/signals.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <thread>

#include "quire/sys/call.h"
#include "quire/sys/file.h"
#include "quire/testing/process.h"

namespace quire::sys {
namespace {

using testing::Child;
using testing::Signal;

// Signal handlers belong to a process: each case runs in a child of its own, which returns the
// number of the first check that failed.

// As a program that nobody has started with a signal ignored, as background jobs of scripts are.
bool listen() {
  for (const int signal_number : {SIGINT, SIGTERM, SIGHUP}) {
    ::signal(signal_number, SIG_DFL);
  }
  return install_stop_signals().has_value();
}

TEST(SignalsTest, TheFirstSignalIsAFlagAndMakesTheDescriptorReadable) {
  Child child([] {
    if (!listen() || requested_stop_signal() != 0) {
      return 1;
    }
    if (wait_readable(stop_descriptor(), 0) != PollResult::kTimedOut) {
      return 2;
    }
    ::raise(SIGTERM);
    if (requested_stop_signal() != SIGTERM) {
      return 3;
    }
    return wait_readable(stop_descriptor(), -1) == PollResult::kReadable ? 0 : 4;
  });
  const testing::ChildEnd end = child.join();
  EXPECT_TRUE(end.exited);
  EXPECT_EQ(end.exit_code, 0);
}

TEST(SignalsTest, ASecondSignalEndsTheProcess) {
  Child child([] {
    if (!listen()) {
      return 1;
    }
    ::raise(SIGINT);
    ::raise(SIGINT);
    return 2;
  });
  const testing::ChildEnd end = child.join();
  EXPECT_FALSE(end.exited);
  EXPECT_EQ(end.signal, SIGINT);
}

TEST(SignalsTest, ASignalThatWasIgnoredStaysIgnored) {
  Child child([] {
    ::signal(SIGHUP, SIG_IGN);
    if (!install_stop_signals()) {
      return 1;
    }
    ::raise(SIGHUP);
    return requested_stop_signal() == 0 ? 0 : 2;
  });
  EXPECT_EQ(child.join().exit_code, 0);
}

// Goal:   a wait that has begun ends when the signal comes from outside.
// Method: the child says that it is about to wait; the parent then sends the signal.
TEST(SignalsTest, AWaitEndsWhenTheSignalArrives) {
  const Signal ready;
  Child child([&ready] {
    if (!listen()) {
      return 1;
    }
    ready.raise();
    const auto woken = wait_readable(stop_descriptor(), -1);
    return woken == PollResult::kReadable && requested_stop_signal() == SIGINT ? 0 : 2;
  });
  ready.wait();
  child.kill(SIGINT);
  EXPECT_EQ(child.join().exit_code, 0);
}

TEST(SignalsTest, WritingToAClosedPipeIsAnErrorAndNotTheEnd) {
  Child child([] {
    int ends[2] = {-1, -1};
    if (!ignore_broken_pipes() || ::pipe(ends) != 0) {
      return 1;
    }
    ::close(ends[0]);
    const char byte = 'x';
    const auto written = write_all(ends[1], std::as_bytes(std::span(&byte, 1)));
    return !written && written.error().value == EPIPE ? 0 : 2;
  });
  const testing::ChildEnd end = child.join();
  EXPECT_TRUE(end.exited);
  EXPECT_EQ(end.exit_code, 0);
}

TEST(SignalsTest, ARefusedHandlerIsAnError) {
  const FaultPlan plan({.call = Call::kSignal, .error = EINVAL});
  const auto ignored = ignore_broken_pipes();
  ASSERT_FALSE(ignored);
  EXPECT_EQ(ignored.error().value, EINVAL);
}

// --- Blocked signals -----------------------------------------------------------------------------

bool is_blocked(int signal_number) {
  sigset_t mask;
  ::pthread_sigmask(SIG_BLOCK, nullptr, &mask);
  return ::sigismember(&mask, signal_number) == 1;
}

TEST(BlockedSignalsTest, AllThatMayWaitAreBlockedAndNoOthers) {
  {
    const BlockedSignals blocked;
    for (const int signal_number :
         {SIGTERM, SIGINT, SIGALRM, SIGUSR1, SIGCHLD, SIGPROF, SIGRTMIN}) {
      EXPECT_TRUE(is_blocked(signal_number)) << signal_number;
    }
    for (const int signal_number : {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGSYS}) {
      EXPECT_FALSE(is_blocked(signal_number)) << signal_number;
    }
  }
  EXPECT_FALSE(is_blocked(SIGTERM));
}

TEST(BlockedSignalsTest, NestedTheyEndWithTheOuterOneAndThreadsInheritThem) {
  const BlockedSignals outer;
  {
    const BlockedSignals inner;
  }
  EXPECT_TRUE(is_blocked(SIGUSR1));
  std::thread([] { EXPECT_TRUE(is_blocked(SIGUSR1)); }).join();
}

TEST(BlockedSignalsTest, AThreadCanBlockThemForGood) {
  std::thread([] {
    block_signals_in_this_thread();
    EXPECT_TRUE(is_blocked(SIGUSR1));
    EXPECT_FALSE(is_blocked(SIGBUS));
  }).join();
  EXPECT_FALSE(is_blocked(SIGUSR1));
}

}  // namespace
}  // namespace quire::sys
