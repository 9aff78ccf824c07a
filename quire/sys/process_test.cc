// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/process.h"

#include <gtest/gtest.h>
#include <sched.h>

#include "quire/testing/process.h"

namespace quire::sys {
namespace {

// The processor it is bound to; -1: more than one.
int bound_to() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0 || CPU_COUNT(&set) != 1) {
    return -1;
  }
  return ::sched_getcpu();
}

TEST(ProcessTest, AThreadStaysOnTheProcessorThatItWasBoundTo) {
  testing::Child first([] { return stay_on_processor(0) ? bound_to() : 100; });
  testing::Child last([] { return stay_on_processor(4095) ? bound_to() : 100; });
  cpu_set_t usable;
  CPU_ZERO(&usable);
  ASSERT_EQ(::sched_getaffinity(0, sizeof usable, &usable), 0);
  for (testing::Child* child : {&first, &last}) {
    const int processor = child->join().exit_code;
    ASSERT_LT(processor, 100);
    EXPECT_TRUE(CPU_ISSET(static_cast<unsigned>(processor), &usable));
  }
}

TEST(ProcessTest, WhoIsBoundToOneProcessorStaysThere) {
  testing::Child child([] {
    const bool is_bound = stay_on_processor(0).has_value();
    const int processor = bound_to();
    return is_bound && stay_on_processor(1) && bound_to() == processor ? 0 : 1;
  });
  EXPECT_EQ(child.join().exit_code, 0);
}

}  // namespace
}  // namespace quire::sys
