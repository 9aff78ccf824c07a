// SPDX-License-Identifier: Apache-2.0
//
// Where the journal of a file stands, who may read it, and who makes it when several come.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>

#include "quire/journal/journal_file.h"
#include "quire/journal/journaled_store.h"
#include "quire/sys/call.h"
#include "quire/testing/process.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

JournalFileOptions small() {
  return {.create = true, .journal = {.log_bytes = 256 * 1024}};
}

class JournalPlaceTest : public ::testing::Test {
 protected:
  testing::TempDir directory_;
  const std::string path_ = directory_.file("data");
  const std::string journal_path_ = journal_path_of(path_);
};

std::uint32_t mode_of(const std::string& path) {
  struct stat status{};
  EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
  return status.st_mode & 07777U;
}

// Goal:   nobody reads in a journal what he may not read in its files.
TEST_F(JournalPlaceTest, ItsModeAllowsWhatAllOfItsFilesAllow) {
  const std::string other = directory_.write("other", "");
  directory_.write("data", "");
  for (const auto& [first, second, expected] :
       {std::array{0600U, 0644U, 0600U}, std::array{0664U, 0666U, 0664U},
        std::array{0640U, 0604U, 0600U}, std::array{0755U, 0777U, 0644U}}) {
    SCOPED_TRACE(first);
    ASSERT_EQ(::chmod(path_.c_str(), first), 0);
    ASSERT_EQ(::chmod(other.c_str(), second), 0);
    std::filesystem::remove(journal_path_);
    ASSERT_TRUE(open_journal({path_, other}, small()).value()->close().has_value());
    EXPECT_EQ(mode_of(journal_path_), expected);
  }
}

TEST_F(JournalPlaceTest, ItsOwnerIsThatOfItsFiles) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "chown: needs root";
  }
  constexpr uid_t kSomebody = 65534;
  const std::string other = directory_.write("other", "");
  directory_.write("data", "");
  ASSERT_EQ(::chmod(path_.c_str(), 0660), 0);
  ASSERT_EQ(::chmod(other.c_str(), 0660), 0);
  ASSERT_EQ(::chown(path_.c_str(), kSomebody, kSomebody), 0);
  ASSERT_TRUE(open_journal({path_}, small()).value()->close().has_value());
  struct stat status{};
  ASSERT_EQ(::stat(journal_path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_uid, kSomebody);
  EXPECT_EQ(status.st_gid, kSomebody);
  EXPECT_EQ(status.st_mode & 07777U, 0660U);

  std::filesystem::remove(journal_path_);
  ASSERT_TRUE(open_journal({path_, other}, small()).value()->close().has_value());
  ASSERT_EQ(::stat(journal_path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_uid, 0U);               // Neither of the two owners ...
  EXPECT_EQ(status.st_mode & 07777U, 0600U);  // ... nor groups may read what the other has.
}

}  // namespace
}  // namespace quire
