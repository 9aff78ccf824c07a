// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/outcome.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace quire::sys {
namespace {

TEST(OutcomeTest, AnErrnoBecomesAnErrorWithTheUsualRemedy) {
  const Error error = to_error(Errno{ENOENT}, "map", "data.bin");
  EXPECT_TRUE(error.code() == std::errc::no_such_file_or_directory);
  EXPECT_EQ(error.message(), "map(data.bin): No such file or directory (ENOENT); check the path");
}

TEST(OutcomeTest, ARemedyOfTheCallersOwnWins) {
  EXPECT_EQ(to_error(Errno{ENOENT}, "map", "a", "create it first").remedy(), "create it first");
}

TEST(OutcomeTest, WithoutAUsualRemedyThereIsNone) {
  EXPECT_EQ(to_error(Errno{EBADF}, "read", "a").message(), "read(a): Bad file descriptor (EBADF)");
}

TEST(OutcomeTest, RefusalsCarryTheErrno) {
  const Outcome<int> given = refuse(EDOM);
  EXPECT_EQ(given.error(), Errno{EDOM});
  errno = ERANGE;
  const Outcome<int> last = refuse_with_errno();
  EXPECT_EQ(last.error(), Errno{ERANGE});
}

}  // namespace
}  // namespace quire::sys
