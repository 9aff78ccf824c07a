// SPDX-License-Identifier: Apache-2.0
//
// A test program that goes wrong in the ways the harness must cope with. test_main_test.cc runs it
// and looks at what comes out; it is no test itself.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>

#include "quire/testing/process.h"
#include "quire/testing/seed.h"

namespace quire::testing {
namespace {

// Not inlined: the stacks of a hang are looked through for its name.
[[noreturn, gnu::noinline]] int hang_here() {
  for (;;) {
    pause();
  }
}

TEST(HangFixture, Hangs) {
  hang_here();
}

TEST(HangFixture, HangsInAChild) {
  Child child(hang_here);
  std::printf("child: %d\n", child.pid());
  std::fflush(stdout);
  child.join();
}

TEST(HangFixture, Passes) {}

TEST(HangFixture, Skips) {
  GTEST_SKIP() << "nothing: to see here";
}

TEST(HangFixture, DiesSayingItsSeed) {
  ASSERT_DEATH(
      {
        std::fprintf(stderr, "seed in the death test: %llu\n",
                     static_cast<unsigned long long>(test_seed()));
        abort();
      },
      "seed in the death test: " + std::to_string(test_seed()));
}

}  // namespace
}  // namespace quire::testing
