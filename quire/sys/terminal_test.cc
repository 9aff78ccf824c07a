// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/terminal.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "quire/sys/descriptor.h"
#include "quire/testing/process.h"
#include "quire/testing/temp_dir.h"

namespace quire::sys {
namespace {

// The two ends of a terminal that nobody looks at.
struct Terminal {
  Descriptor ours{::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC)};
  Descriptor program;

  Terminal() {
    if (!ours.is_open() || ::grantpt(ours.get()) != 0 || ::unlockpt(ours.get()) != 0) {
      return;
    }
    char name[64];
    if (::ptsname_r(ours.get(), name, sizeof name) == 0) {
      program = Descriptor(::open(name, O_RDWR | O_NOCTTY | O_CLOEXEC));
    }
  }
  void resize(unsigned short columns, unsigned short rows) const {
    const winsize size{.ws_row = rows, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
    ASSERT_EQ(::ioctl(ours.get(), TIOCSWINSZ, &size), 0);
  }
};

TEST(TerminalTest, ATerminalIsOneAndKnowsItsSize) {
  const Terminal terminal;
  if (!terminal.program.is_open()) {
    GTEST_SKIP() << "pseudo terminal: /dev/ptmx cannot be used";
  }
  EXPECT_TRUE(is_terminal(terminal.program.get()));
  terminal.resize(100, 30);
  const auto size = window_size(terminal.program.get());
  ASSERT_TRUE(size);
  EXPECT_EQ(size->columns, 100);
  EXPECT_EQ(size->rows, 30);
}

TEST(TerminalTest, ATerminalWithoutASizeSaysNothing) {
  const Terminal terminal;
  if (!terminal.program.is_open()) {
    GTEST_SKIP() << "pseudo terminal: /dev/ptmx cannot be used";
  }
  terminal.resize(0, 0);
  EXPECT_FALSE(window_size(terminal.program.get()));
}

TEST(TerminalTest, FilesPipesAndClosedDescriptorsAreNone) {
  const testing::TempDir dir;
  const auto file = open_file(dir.write("file", "x").c_str(), {});
  ASSERT_TRUE(file);
  for (const int fd : {file->get(), -1}) {
    EXPECT_FALSE(is_terminal(fd));
    EXPECT_FALSE(window_size(fd));
  }
}

// Goal:   a file opened by a program whose standard descriptors were closed is not written to by
//         what the program prints.
// Method: a child closes all three; the next descriptor must be none of them, and writes must fail.
TEST(TerminalTest, ClosedStandardDescriptorsAreOccupied) {
  testing::Child child([] {
    for (const int fd : {kStandardInput, kStandardOutput, kStandardError}) {
      ::close(fd);
    }
    if (!occupy_standard_descriptors()) {
      return 1;
    }
    const int next = ::open("/dev/null", O_RDONLY);
    return next > kStandardError && ::write(kStandardOutput, "x", 1) < 0 ? 0 : 2;
  });
  EXPECT_EQ(child.join().exit_code, 0);
}

// Goal:   only a UTF-8 locale that is really installed allows more than ASCII.
// Method: a child per environment, since the locale belongs to the process.
TEST(TerminalTest, OnlyAnInstalledUtf8LocaleIsUtf8) {
  struct Row {
    const char* locale;
    bool is_utf8;
  };
  for (const Row& row : {Row{"C.UTF-8", true}, Row{"C", false}, Row{"xx_XX.UTF-8", false}}) {
    testing::Child child([&row] {
      ::setenv("LC_ALL", row.locale, 1);
      return use_environment_locale() == row.is_utf8 ? 0 : 1;
    });
    EXPECT_EQ(child.join().exit_code, 0) << row.locale;
  }
}

}  // namespace
}  // namespace quire::sys
