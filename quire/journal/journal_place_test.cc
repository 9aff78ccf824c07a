// SPDX-License-Identifier: Apache-2.0
//
// Where the journal of a file stands, who may read it, and who makes it when several come.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>

#include "quire/journal/journal_file.h"
#include "quire/journal/journal_report.h"
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

TEST_F(JournalPlaceTest, ASymbolicLinkLeadsToTheJournalOfItsFile) {
  ASSERT_TRUE(std::filesystem::create_directory(directory_.file("deep")));
  const std::string target = directory_.write("deep/target", "");
  const std::string link = directory_.file("link");
  std::filesystem::create_symlink("deep/target", link);
  EXPECT_EQ(std::filesystem::canonical(directory_.path()).string() + "/deep/target.quire-journal",
            journal_path_of(link));
  {
    const auto journal = open_journal({link}, small()).value();
    EXPECT_FALSE(std::filesystem::exists(link + ".quire-journal"));
    ASSERT_TRUE(journal->file(0).write(0, std::vector<std::byte>(4096, std::byte{7})));
    ASSERT_TRUE(journal->commit().has_value());
    const auto second = open_journal({target}, small());
    ASSERT_FALSE(second.has_value());
    EXPECT_EQ(second.error().code(), std::errc::device_or_resource_busy);
  }
  EXPECT_TRUE(open_journal({target}, small()).has_value());
  EXPECT_EQ(testing::read_file(link), std::string(4096, '\7'));
}

TEST_F(JournalPlaceTest, AHardLinkIsToldThatTheJournalMayStandElsewhere) {
  const auto journal = open_journal({path_}, small()).value();
  std::filesystem::create_hard_link(path_, directory_.file("other"));
  const auto second = open_journal({directory_.file("other")}, small());
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().code(), std::errc::no_such_file_or_directory);
  EXPECT_NE(second.error().remedy().find("beside another name"), std::string::npos)
      << second.error().message();
}

// Goal:   of two processes that find no journal one makes it, and the other opens that one.
// Method: what is there is reported as missing, once, as it would be to who looked before.
TEST_F(JournalPlaceTest, AJournalThatWasMadeMeanwhileIsNotReplaced) {
  ASSERT_TRUE(open_journal({path_}, small()).value()->close().has_value());
  const JournalUuid uuid = inspect_journal(journal_path_, JournalCheck::kHeaders).value().uuid;
  const auto open_late = [&](std::uint64_t nth) {
    const sys::FaultPlan plan({.call = sys::Call::kStatus, .nth = nth, .error = ENOENT});
    static_cast<void>(open_journal({path_}, small()));
    return plan.hits() > 0;
  };
  std::uint64_t nth = 1;
  while (open_late(nth)) {
    EXPECT_EQ(inspect_journal(journal_path_, JournalCheck::kHeaders).value().uuid, uuid) << nth;
    EXPECT_FALSE(std::filesystem::exists(journal_path_ + ".new")) << nth;
    ++nth;
  }
  EXPECT_GT(nth, 1U);
}

TEST_F(JournalPlaceTest, ALinkInThePlaceOfAnUnfinishedJournalIsNotFollowed) {
  const std::string victim = directory_.write("victim", "precious");
  std::filesystem::create_symlink(victim, journal_path_ + ".new");
  const auto opened = open_journal({path_}, small());
  ASSERT_FALSE(opened.has_value());
  EXPECT_NE(opened.error().message().find("make journal(" + journal_path_ + ")"), std::string::npos)
      << opened.error().message();
  EXPECT_EQ(testing::read_file(victim), "precious");
}

// Goal:   a copy of a journal from before a later commit takes nothing back.
TEST_F(JournalPlaceTest, AnOldCopyOfAJournalIsRefused) {
  const auto commit = [&](int value) {
    auto journal = open_journal({path_}, small()).value();
    const std::vector<std::byte> page(4096, static_cast<std::byte>(value));
    EXPECT_TRUE(journal->file(0).write(0, page).has_value());
    EXPECT_TRUE(journal->commit().has_value());
    return journal;
  };
  commit(1).reset();
  std::filesystem::copy_file(journal_path_, directory_.file("old"));
  ASSERT_TRUE(commit(2)->close().has_value());
  std::filesystem::copy_file(directory_.file("old"), journal_path_,
                             std::filesystem::copy_options::overwrite_existing);
  const auto opened = open_journal({path_}, small());
  ASSERT_FALSE(opened.has_value());
  EXPECT_EQ(opened.error().code(), Errc::kChanged);
  EXPECT_NE(opened.error().message().find("old copy"), std::string::npos)
      << opened.error().message();
  EXPECT_EQ(testing::read_file(path_), std::string(4096, '\2'));
  std::filesystem::remove(journal_path_);  // As the error says.
  EXPECT_TRUE(open_journal({path_}, small()).has_value());
}

TEST_F(JournalPlaceTest, AFileIsInAJournalOnce) {
  const std::string link = directory_.file("link");
  auto journal = open_journal({path_}, small()).value();
  std::filesystem::create_hard_link(path_, link);
  const auto added = journal->add_file(open_journal_file(link).value());
  ASSERT_FALSE(added.has_value());
  EXPECT_EQ(added.error().code(), std::errc::invalid_argument) << added.error().message();
  ASSERT_TRUE(journal->close().has_value());
  journal.reset();
  for (const std::string& second : {path_, link, journal_path_}) {
    const auto opened = open_journal({path_, second}, small());
    ASSERT_FALSE(opened.has_value()) << second;
    EXPECT_EQ(opened.error().code(), std::errc::invalid_argument) << opened.error().message();
    EXPECT_LT(::getxattr(path_.c_str(), "user.quire.journal", nullptr, 0), 0);
  }
}

}  // namespace
}  // namespace quire
