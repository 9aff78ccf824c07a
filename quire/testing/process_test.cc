// SPDX-License-Identifier: Apache-2.0
#include "quire/testing/process.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <optional>
#include <stdexcept>

#include "quire/testing/temp_dir.h"

namespace quire::testing {
namespace {

TEST(ChildTest, ReportsItsExitCode) {
  Child child([] { return 42; });
  const ChildEnd end = child.join();
  EXPECT_TRUE(end.exited);
  EXPECT_EQ(end.exit_code, 42);
  EXPECT_EQ(end.signal, 0);
}

TEST(ChildTest, ReportsTheSignalThatEndedIt) {
  Child child([] { return pause(); });
  child.kill(SIGTERM);
  const ChildEnd end = child.join();
  EXPECT_FALSE(end.exited);
  EXPECT_EQ(end.exit_code, -1);
  EXPECT_EQ(end.signal, SIGTERM);
}

TEST(ChildTest, AnExceptionEndsItWithoutRunningTheRestOfTheProgram) {
  Child child([]() -> int {
    signal(SIGABRT, SIG_DFL);
    close(STDERR_FILENO);  // What terminate() prints is expected, and of no interest.
    throw std::runtime_error("on purpose");
  });
  EXPECT_EQ(child.join().signal, SIGABRT);
}

TEST(ChildTest, TheDestructorEndsAChildThatWouldGoOn) {
  pid_t pid = 0;
  {
    const Child child([] { return pause(); });
    pid = child.pid();
  }
  EXPECT_EQ(kill(pid, 0), -1);
  EXPECT_EQ(errno, ESRCH);
}

TEST(ChildDeathTest, JoiningOrKillingTwiceDies) {
  Child child([] { return 0; });
  child.join();
  EXPECT_DEATH(child.join(), "pid_ > 0");
  EXPECT_DEATH(child.kill(SIGTERM), "pid_ > 0") << "kill(-1) reaches every process there is";
}

TEST(SignalTest, OrdersParentAndChild) {
  const Signal ready;
  const Signal go_on;
  Child child([&] {
    ready.raise();
    go_on.wait();
    return 7;
  });
  ready.wait();
  go_on.raise();
  EXPECT_EQ(child.join().exit_code, 7);
}

TEST(RunProgramTest, SeparatesOutputErrorAndExitCode) {
  const ProgramEnd program = run_program({"sh", "-c", "echo out; echo err >&2; exit 3"});
  EXPECT_EQ(program.standard_output, "out\n");
  EXPECT_EQ(program.standard_error, "err\n");
  EXPECT_EQ(program.end.exit_code, 3);
}

TEST(RunProgramTest, TakesMoreThanAPipeHoldsFromBothStreams) {
  const ProgramEnd program =
      run_program({"sh", "-c", "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2"});
  EXPECT_EQ(program.standard_output.size(), 300000U);
  EXPECT_EQ(program.standard_error.size(), 300000U);
}

TEST(RunProgramTest, StandardInputIsEmpty) {
  EXPECT_EQ(run_program({"cat"}).end.exit_code, 0);
}

TEST(RunProgramTest, AProgramThatIsNotThereIs127) {
  EXPECT_EQ(run_program({"quire-no-such-program"}).end.exit_code, 127);
}

TEST(TempDirTest, IsRemovedWithAllThatIsInIt) {
  std::optional<TempDir> directory(std::in_place);
  const std::string path = directory->path();
  std::filesystem::create_directories(directory->file("a/b"));
  const std::string file = directory->write("a/b/c", "text");
  EXPECT_EQ(read_file(file), "text");
  directory.reset();
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(TempDirTest, PatternDependsOnTheOffsetAlone) {
  const std::string long_one = pattern(10000);
  EXPECT_EQ(long_one.substr(0, 100), pattern(100));
  for (const std::size_t offset : {std::size_t{0}, std::size_t{4095}, std::size_t{9999}}) {
    EXPECT_EQ(static_cast<std::byte>(long_one[offset]), pattern_at(offset));
  }
  EXPECT_NE(long_one.substr(0, 4096), long_one.substr(4096, 4096)) << "pages look different";
}

TEST(TempDirTest, CountsDescriptors) {
  const int before = count_open_descriptors();
  const int copy = dup(STDERR_FILENO);
  EXPECT_EQ(count_open_descriptors(), before + 1);
  close(copy);
  EXPECT_EQ(count_open_descriptors(), before);
}

TEST(TempDirDeathTest, ReadingNoFileDies) {
  EXPECT_DEATH(static_cast<void>(read_file("/nonexistent/file")), "is_open");
}

}  // namespace
}  // namespace quire::testing
