// SPDX-License-Identifier: Apache-2.0
//
// A test program that goes wrong in the ways the harness must cope with. test_main_test.cc runs it
// and looks at what comes out; it is no test itself.
#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "quire/testing/process.h"
#include "quire/testing/seed.h"
#include "quire/testing/soak.h"
#include "quire/testing/temp_dir.h"

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

// Each child, and what it runs before it dies, has a directory.
TEST(HangFixture, DiesWithADirectory) {
  const TempDir own;
  for (int child = 0; child < 2; ++child) {
    EXPECT_DEATH(
        {
          const TempDir lost;
          lost.write("file", "x");
          std::abort();
        },
        "");
  }
}

// Longer than a watchdog of one second waits, in rounds that are shorter.
TEST(HangFixture, TakesManyRounds) {
  soak(1, [](std::uint64_t) { poll(nullptr, 0, 10); });
}

TEST(HangFixture, HangsInTheThirdRound) {
  soak(5, [](std::uint64_t seed) {
    if (seed == test_seed() + 2) {
      hang_here();
    }
  });
}

TEST(HangFixture, FailsWithSeed4713) {
  soak(5, [](std::uint64_t seed) {
    std::printf("round with seed %llu\n", static_cast<unsigned long long>(seed));
    EXPECT_NE(seed, 4713U);
  });
}

TEST(HangFixture, SkipsInItsFirstRound) {
  soak(5, [](std::uint64_t) {
    std::printf("a round\n");
    GTEST_SKIP() << "nothing: to see here";
  });
}

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
