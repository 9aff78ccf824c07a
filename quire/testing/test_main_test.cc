// SPDX-License-Identifier: Apache-2.0
//
// The harness itself: what test_main.cc promises, seen from outside.
#include <gtest/gtest.h>
#include <signal.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <vector>

#include "quire/testing/process.h"

namespace quire::testing {
namespace {

// Runs one case of the fixture, with variables set as for env(1).
ProgramEnd run_fixture(const std::string& test, const std::vector<std::string>& variables) {
  std::vector<std::string> arguments{"env"};
  arguments.insert(arguments.end(), variables.begin(), variables.end());
  arguments.insert(arguments.end(), {QUIRE_HANG_FIXTURE, "--gtest_filter=HangFixture." + test});
  return run_program(arguments);
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(WatchdogTest, AHangEndsWithEvidenceAndAFailure) {
  const ProgramEnd program = run_fixture("Hangs", {"QUIRE_TEST_TIMEOUT_S=1"});
  EXPECT_EQ(program.end.signal, SIGABRT);
  EXPECT_TRUE(contains(program.standard_error, "hang: no end after 1 s")) << program.standard_error;
  EXPECT_TRUE(contains(program.standard_error, "hang_here") ||
              contains(program.standard_error, "no stacks"))
      << program.standard_error;
}

// Goal:   a child that hangs neither escapes the watchdog nor survives it.
// Method: run_program() returns only when nobody holds the pipes any more, the child included.
TEST(WatchdogTest, AHangInAChildEndsTheChildToo) {
  const ProgramEnd program = run_fixture("HangsInAChild", {"QUIRE_TEST_TIMEOUT_S=1"});
  EXPECT_EQ(program.end.signal, SIGABRT);
  EXPECT_TRUE(contains(program.standard_error, "hang: no end after 1 s")) << program.standard_error;
  EXPECT_TRUE(contains(program.standard_output, "child: ")) << program.standard_output;
}

TEST(WatchdogTest, ATestThatEndsIsLeftAlone) {
  const ProgramEnd program = run_fixture("Passes", {"QUIRE_TEST_TIMEOUT_S=100"});
  EXPECT_TRUE(program.end.exited);
  EXPECT_EQ(program.end.exit_code, 0);
  EXPECT_FALSE(contains(program.standard_error, "hang"));
}

TEST(WatchdogTest, ATimeoutThatIsNoNumberIsTheDefault) {
  for (const char* text : {"", "0", "-5", "soon"}) {
    const ProgramEnd program = run_fixture("Passes", {std::string("QUIRE_TEST_TIMEOUT_S=") + text});
    EXPECT_EQ(program.end.exit_code, 0) << text;
  }
}

TEST(SeedTest, IsPrintedAndReplayed) {
  const ProgramEnd by_variable = run_fixture("Passes", {"QUIRE_SEED=4711"});
  EXPECT_TRUE(contains(by_variable.standard_output, "seed: 4711 ")) << by_variable.standard_output;
  const ProgramEnd by_argument =
      run_program({QUIRE_HANG_FIXTURE, "--gtest_filter=*.Passes", "--seed=0x10"});
  EXPECT_TRUE(contains(by_argument.standard_output, "seed: 16 ")) << by_argument.standard_output;
}

TEST(SeedTest, ADeathTestHasTheSeedOfItsParent) {
  const ProgramEnd program = run_fixture("DiesSayingItsSeed", {"--unset=QUIRE_SEED"});
  EXPECT_EQ(program.end.exit_code, 0) << program.standard_output;
}

TEST(SkipTest, IsAFailureOnlyWhereNoneIsAllowed) {
  const ProgramEnd allowed = run_fixture("Skips", {"QUIRE_NO_SKIP="});
  EXPECT_EQ(allowed.end.exit_code, 0);
  EXPECT_TRUE(contains(allowed.standard_output, "[  SKIPPED ]")) << allowed.standard_output;
  const ProgramEnd forbidden = run_fixture("Skips", {"QUIRE_NO_SKIP=1"});
  EXPECT_EQ(forbidden.end.exit_code, 1);
  EXPECT_TRUE(contains(forbidden.standard_output, "QUIRE_NO_SKIP")) << forbidden.standard_output;
  // CTest takes this mark for a skip, whatever the exit code.
  EXPECT_FALSE(contains(forbidden.standard_output, "[  SKIPPED ]")) << forbidden.standard_output;
}

}  // namespace
}  // namespace quire::testing
