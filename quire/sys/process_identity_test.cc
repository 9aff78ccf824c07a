// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/process_identity.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "quire/sys/file.h"
#include "quire/testing/process.h"

namespace quire::sys {
namespace {

using testing::Child;

std::string stat_with(const std::string& name, const std::string& start) {
  std::string text = "17 (" + name + ") S";
  for (int field = 4; field < 22; ++field) {
    text += " " + std::to_string(field);
  }
  return text + " " + start + " 23 24\n";
}

TEST(ProcessIdentity, StartTimeIsFieldTwentyTwoWhateverTheName) {
  for (const char* name : {"plain", "with blank", "a) S 1 2 3", "((", ""}) {
    EXPECT_EQ(parse_start_ticks(stat_with(name, "4711")).value(), 4711U) << name;
  }
}

TEST(ProcessIdentity, OtherTextIsRefused) {
  for (const std::string& text :
       {std::string(), std::string("17 (x"), std::string("17 (x) S 1 2"), stat_with("x", ""),
        stat_with("x", "-1"), stat_with("x", "12a"), stat_with("x", "99999999999999999999999")}) {
    EXPECT_EQ(parse_start_ticks(text).error().value, EBADMSG) << text;
  }
}

TEST(ProcessIdentity, ProcessesThatStartLaterHaveNoEarlierTime) {
  const std::uint64_t own = process_start_ticks(getpid()).value();
  Child child([] { return pause(); });
  EXPECT_GE(process_start_ticks(child.pid()).value(), own);
  EXPECT_EQ(process_start_ticks(getpid()).value(), own);
}

TEST(ProcessIdentity, AProcessThatWasReapedIsGone) {
  Child child([] { return 0; });
  const pid_t pid = child.pid();
  child.join();
  EXPECT_EQ(process_start_ticks(pid).error().value, ESRCH);
  EXPECT_EQ(open_process(pid).error().value, ESRCH);
}

TEST(ProcessIdentity, TheDescriptorIsReadableWhenTheProcessIsAZombieAndNotBefore) {
  Child child([] { return pause(); });
  const Descriptor process = open_process(child.pid()).value();
  EXPECT_EQ(wait_readable(process.get(), 0).value(), PollResult::kTimedOut);
  child.kill(SIGSTOP);
  EXPECT_EQ(wait_readable(process.get(), 0).value(), PollResult::kTimedOut);
  child.kill(SIGKILL);
  EXPECT_EQ(wait_readable(process.get(), -1).value(), PollResult::kReadable);
  EXPECT_TRUE(process_start_ticks(child.pid()).has_value());
}

}  // namespace
}  // namespace quire::sys
