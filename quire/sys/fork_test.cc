// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/fork.h"

#include <gtest/gtest.h>

#include <atomic>

#include "quire/sys/call.h"
#include "quire/testing/process.h"

namespace quire::sys {
namespace {

using testing::Child;

std::atomic<int> g_first{0};
std::atomic<int> g_second{0};

void count_first() {
  ++g_first;
}
void count_second() {
  ++g_second;
}

// Hooks stay for ever: each case has a process of its own, which forks once more.
int in_grandchild(int (*body)()) {
  Child child(body);
  return child.join().exit_code;
}

TEST(ForkTest, AHookRunsOnceInEachChildAndNeverInTheParent) {
  Child child([] {
    for (int i = 0; i < 2; ++i) {
      if (!on_fork_in_child(count_first) || !on_fork_in_child(count_second)) {
        return 1;
      }
    }
    if (in_grandchild([] { return g_first == 1 && g_second == 1 ? 7 : 1; }) != 7) {
      return 2;
    }
    return g_first == 0 && g_second == 0 ? 7 : 3;
  });
  EXPECT_EQ(child.join().exit_code, 7);
}

template <int kNumber>
void other_hook() {}

TEST(ForkTest, OneHookTooManyIsRefused) {
  static_assert(kForkHooksMax == 8);
  Child child([] {
    constexpr ForkHook kHooks[] = {other_hook<0>, other_hook<1>, other_hook<2>, other_hook<3>,
                                   other_hook<4>, other_hook<5>, other_hook<6>, other_hook<7>};
    for (const ForkHook hook : kHooks) {
      if (!on_fork_in_child(hook)) {
        return 1;
      }
    }
    const Outcome<void> refused = on_fork_in_child(count_first);
    return !refused && refused.error().value == ENOSPC && on_fork_in_child(kHooks[7]) ? 7 : 2;
  });
  EXPECT_EQ(child.join().exit_code, 7);
}

TEST(ForkTest, AFailedRegistrationIsAnErrorAndTheNextTryWorks) {
  Child child([] {
    {
      const FaultPlan plan({.call = Call::kProcess, .error = ENOMEM});
      if (on_fork_in_child(count_first)) {
        return 1;
      }
    }
    if (!on_fork_in_child(count_first)) {
      return 2;
    }
    return in_grandchild([] { return g_first == 1 ? 7 : 3; });
  });
  EXPECT_EQ(child.join().exit_code, 7);
}

}  // namespace
}  // namespace quire::sys
