// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/process_barrier.h"

#include <gtest/gtest.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "quire/sys/call.h"
#include "quire/testing/process.h"

namespace quire::sys {
namespace {

constexpr int kGetRegistrations = 1 << 9;  // MEMBARRIER_CMD_GET_REGISTRATIONS, 6.3.

long registrations() {
  return ::syscall(SYS_membarrier, kGetRegistrations, 0U, 0);
}

bool has_joined() {
  return (registrations() & MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED) != 0;
}

// Goal:   what rings believe of a child of fork() is true: it takes part as its maker does.
// Method: ask the kernel for the registrations of a process that joins, and of its child.
TEST(ProcessBarrierTest, JoiningLastsAndIsInheritedByAChild) {
  if (registrations() < 0) {
    GTEST_SKIP() << "membarrier: registrations can be asked for since 6.3";
  }
  testing::Child maker([] {
    if (has_joined() || !join_barriers() || !join_barriers() || !has_joined()) {
      return 1;
    }
    testing::Child child([] { return has_joined() ? 0 : 2; });
    return child.join().exit_code;
  });
  EXPECT_EQ(maker.join().exit_code, 0);
}

TEST(ProcessBarrierTest, WhoHasNotJoinedMayAskForABarrier) {
  if (::syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0U, 0) < 0) {
    GTEST_SKIP() << "membarrier: refused";
  }
  testing::Child child([] { return !has_joined() && barrier_in_all() ? 0 : 1; });
  EXPECT_EQ(child.join().exit_code, 0);
}

TEST(ProcessBarrierTest, ARefusalIsToldAndErrnoIsKept) {
  const FaultPlan plan({.call = Call::kBarrier, .times = 2, .error = EPERM});
  errno = ELOOP;
  EXPECT_FALSE(join_barriers());
  EXPECT_FALSE(barrier_in_all());
  EXPECT_EQ(errno, ELOOP);
  EXPECT_EQ(plan.count(Call::kBarrier), 2U);
}

}  // namespace
}  // namespace quire::sys
