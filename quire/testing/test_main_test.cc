// SPDX-License-Identifier: Apache-2.0
//
// The harness itself: what test_main.cc promises, seen from outside.
#include <gtest/gtest.h>
#include <signal.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "quire/testing/process.h"
#include "quire/testing/temp_dir.h"

namespace quire::testing {
namespace {

// Runs one case of the fixture, with variables set as for env(1).
ProgramEnd run_fixture(const std::string& test, const std::vector<std::string>& variables) {
  std::vector<std::string> arguments{"env", "--unset=QUIRE_SOAK_S"};
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

// Goal:   what takes many rounds may take long; a round may not.
TEST(WatchdogTest, IsFedByEachRoundOfASoak) {
  const ProgramEnd long_run =
      run_fixture("TakesManyRounds", {"QUIRE_TEST_TIMEOUT_S=1", "QUIRE_SOAK_S=2.5"});
  EXPECT_EQ(long_run.end.exit_code, 0) << long_run.standard_error;
  const ProgramEnd hang = run_fixture("HangsInTheThirdRound", {"QUIRE_TEST_TIMEOUT_S=1"});
  EXPECT_EQ(hang.end.signal, SIGABRT);
  EXPECT_TRUE(contains(hang.standard_error, "hang: no end after 1 s")) << hang.standard_error;
}

int count(const std::string& text, const std::string& part) {
  int found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
    ++found;
  }
  return found;
}

TEST(SoakTest, AFailureNamesTheSeedThatMakesItTheFirstRound) {
  const ProgramEnd third = run_fixture("FailsWithSeed4713", {"QUIRE_SEED=4711"});
  EXPECT_EQ(third.end.exit_code, 1);
  EXPECT_EQ(count(third.standard_output, "round with seed"), 3) << third.standard_output;
  EXPECT_TRUE(contains(third.standard_output, "round 2: replay with --seed=4713"))
      << third.standard_output;
  const ProgramEnd first = run_fixture("FailsWithSeed4713", {"QUIRE_SEED=4713"});
  EXPECT_EQ(first.end.exit_code, 1);
  EXPECT_EQ(count(first.standard_output, "round with seed"), 1) << first.standard_output;
}

TEST(SoakTest, WithoutOneThereAreAFewRoundsAndNoneAfterASkip) {
  const ProgramEnd few = run_fixture("FailsWithSeed4713", {"QUIRE_SEED=1"});
  EXPECT_EQ(few.end.exit_code, 0) << few.standard_output;
  EXPECT_EQ(count(few.standard_output, "round with seed"), 5) << few.standard_output;
  const ProgramEnd skipped = run_fixture("SkipsInItsFirstRound", {"QUIRE_NO_SKIP="});
  EXPECT_EQ(count(skipped.standard_output, "a round"), 1) << skipped.standard_output;
}

TEST(SoakTest, TheVariableIsStrongerThanTheArgument) {
  const std::string filter = "--gtest_filter=HangFixture.TakesManyRounds";
  const ProgramEnd argument =
      run_program({"env", "--unset=QUIRE_SOAK_S", QUIRE_HANG_FIXTURE, filter, "--soak=0.1"});
  EXPECT_TRUE(contains(argument.standard_output, "soak: ")) << argument.standard_output;
  const ProgramEnd variable =
      run_program({"env", "QUIRE_SOAK_S=0", QUIRE_HANG_FIXTURE, filter, "--soak=1000"});
  EXPECT_EQ(variable.end.exit_code, 0);
  EXPECT_FALSE(contains(variable.standard_output, "soak: ")) << variable.standard_output;
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

TEST(TempDirTest, NothingIsLeftOfChildrenThatDied) {
  const TempDir directory;
  const ProgramEnd program =
      run_fixture("DiesWithADirectory", {"QUIRE_TEST_DIR=" + directory.path()});
  EXPECT_EQ(program.end.exit_code, 0) << program.standard_output;
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
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
