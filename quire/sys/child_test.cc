// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/child.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <optional>
#include <string>

#include "quire/sys/call.h"
#include "quire/sys/process.h"
#include "quire/testing/process.h"

namespace quire::sys {
namespace {

int return_number(void* number) {
  return *static_cast<int*>(number);
}

int touch_memory(void* /*argument*/) {
  constexpr std::size_t kBytes = std::size_t{64} << 12;
  void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  madvise(memory, kBytes, MADV_NOHUGEPAGE);
  for (std::size_t at = 0; at < kBytes; at += 4096) {
    static_cast<volatile char*>(memory)[at] = 1;
  }
  return 0;
}

int die_of_bus(void* /*argument*/) {
  signal(SIGBUS, SIG_DFL);
  raise(SIGBUS);
  return 0;
}

int wait_for_ever(void* /*argument*/) {
  for (;;) {
    pause();
  }
}

// Waits until /proc says so: 'T' stopped, 'S' asleep.
void wait_for_state(int pid, char state) {
  char now = '?';
  while (now != state) {
    std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
    std::string text;
    ASSERT_TRUE(std::getline(stat, text));
    now = text.at(text.rfind(')') + 2);
  }
}

TEST(ChildTest, WhatTheFunctionReturnsIsTheExitCode) {
  int number = 42;
  Child child = Child::start(return_number, &number).value();
  EXPECT_GT(child.pid(), 0);
  const ChildEnd end = child.wait().value();
  EXPECT_EQ(end.exit_code, 42);
  EXPECT_EQ(end.signal, 0);
}

TEST(ChildTest, OneThatIsStoppedHasNotEndedAndCanStillBeKilled) {
  Child child = Child::start(wait_for_ever, nullptr).value();
  EXPECT_FALSE(child.try_wait().value().has_value());
  ASSERT_TRUE(child.stop());
  wait_for_state(child.pid(), 'T');
  EXPECT_FALSE(child.try_wait().value().has_value());
  ASSERT_TRUE(child.go_on());
  wait_for_state(child.pid(), 'S');
  ASSERT_TRUE(child.stop());
  ASSERT_TRUE(child.kill());
  EXPECT_EQ(child.wait().value().signal, SIGKILL);
}

TEST(ChildTest, AnEndIsFoundWithoutWaitingForIt) {
  int number = 7;
  Child child = Child::start(return_number, &number).value();
  std::optional<ChildEnd> end;
  while (!end) {
    end = child.try_wait().value();
  }
  EXPECT_EQ(end->exit_code, 7);
}

TEST(ChildTest, UsageCountsTheFaultsOfTheChildAlone) {
  int number = 0;
  const ChildEnd idle = Child::start(return_number, &number).value().wait().value();
  const ChildEnd busy = Child::start(touch_memory, nullptr).value().wait().value();
  EXPECT_GE(busy.usage.minor_faults, idle.usage.minor_faults + 60);
  EXPECT_GE(own_usage().minor_faults, 1u);
}

TEST(ChildTest, ASignalThatEndsItIsTold) {
  const ChildEnd end = Child::start(die_of_bus, nullptr).value().wait().value();
  EXPECT_EQ(end.exit_code, std::nullopt);
  EXPECT_EQ(end.signal, SIGBUS);
  EXPECT_EQ(signal_name(end.signal), "SIGBUS");
  EXPECT_EQ(signal_name(4711), "signal 4711");
}

TEST(ChildTest, AKilledChildIsReapedWithItsSignal) {
  Child child = Child::start(wait_for_ever, nullptr).value();
  ASSERT_TRUE(child.kill().has_value());
  EXPECT_EQ(child.wait().value().signal, SIGKILL);
}

TEST(ChildTest, DestructorLeavesNoProcess) {
  int pid = 0;
  {
    const Child child = Child::start(wait_for_ever, nullptr).value();
    pid = child.pid();
    EXPECT_TRUE(process_exists(pid));
  }
  EXPECT_FALSE(process_exists(pid));
}

// Goal:   nobody survives whoever started them, however that ended.
// Method: a middle process starts a child and is killed; the grandchild's end closes the pipe.
TEST(ChildTest, AChildDiesWithItsParent) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  {
    const testing::Child middle([&] {
      const Child child = Child::start(wait_for_ever, nullptr).value();
      EXPECT_EQ(write(ends[1], "x", 1), 1);
      wait_for_ever(nullptr);
      return 0;
    });
    char byte = 0;
    ASSERT_EQ(read(ends[0], &byte, 1), 1);
    middle.kill(SIGKILL);
  }
  close(ends[1]);
  char byte = 0;
  EXPECT_EQ(read(ends[0], &byte, 1), 0);  // Waits until the last writer is gone.
  close(ends[0]);
}

TEST(ChildTest, AForkThatIsRefusedIsAnErrno) {
  const FaultPlan plan({.call = Call::kProcess, .error = EAGAIN});
  int number = 0;
  const auto refused = Child::start(return_number, &number);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().value, EAGAIN);
}

TEST(ChildTest, InterruptedWaitGoesOn) {
  int number = 7;
  Child child = Child::start(return_number, &number).value();
  const FaultPlan plan({.call = Call::kProcess, .times = 3, .error = EINTR});
  EXPECT_EQ(child.wait().value().exit_code, 7);
  EXPECT_EQ(plan.hits(), 3u);
}

}  // namespace
}  // namespace quire::sys
