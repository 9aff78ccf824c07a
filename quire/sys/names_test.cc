// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/names.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <string>

#include "quire/sys/call.h"
#include "quire/sys/metadata.h"
#include "quire/sys/transfer_calls.h"
#include "quire/testing/temp_dir.h"

namespace quire::sys {
namespace {

namespace fs = std::filesystem;
using testing::read_file;
using testing::TempDir;

class DirectoryNamesTest : public ::testing::Test {
 protected:
  [[nodiscard]] std::string file(const char* name) const { return temp_.file(name); }

  TempDir temp_;
  const Descriptor directory_ = open_file(temp_.path().c_str(), {.directory = true}).value();
};

TEST_F(DirectoryNamesTest, ANamelessFileIsSeenOnlyOnceItIsNamed) {
  const auto nameless = open_nameless(directory_, 0600);
  if (!nameless) {
    GTEST_SKIP() << "O_TMPFILE: errno " << nameless.error().value;
  }
  const std::string text = "content";
  ASSERT_TRUE(write_some(nameless->get(), std::as_bytes(std::span(text))));
  EXPECT_TRUE(fs::is_empty(temp_.path()));
  ASSERT_TRUE(link_nameless(nameless->get(), directory_, "named"));
  EXPECT_EQ(read_file(file("named")), text);
  EXPECT_EQ(link_nameless(nameless->get(), directory_, "named").error().value, EEXIST);
}

TEST_F(DirectoryNamesTest, RenamingReplacesOrRefusesAsAsked) {
  temp_.write("a", "a");
  temp_.write("b", "b");
  EXPECT_EQ(rename_at(directory_, "a", "b", RenameOver::kRefuse).error().value, EEXIST);
  ASSERT_TRUE(rename_at(directory_, "a", "b", RenameOver::kReplace));
  EXPECT_EQ(read_file(file("b")), "a");
  ASSERT_TRUE(rename_at(directory_, "b", "c", RenameOver::kRefuse));
  EXPECT_EQ(read_file(file("c")), "a");
}

TEST_F(DirectoryNamesTest, LinksAndDirectoriesAreMadeReadAndRemoved) {
  temp_.write("file", "content");
  ASSERT_TRUE(link_at(directory_, "file", directory_, "twin"));
  EXPECT_EQ(fs::hard_link_count(file("file")), 2U);
  ASSERT_TRUE(symlink_at("../some where", directory_, "link"));
  EXPECT_EQ(read_link_at(directory_, "link").value(), "../some where");
  EXPECT_EQ(read_link_at(directory_, "file").error().value, EINVAL);
  ASSERT_TRUE(make_directory_at(directory_, "inside", 0700));
  EXPECT_EQ(make_directory_at(directory_, "inside", 0700).error().value, EEXIST);
  ASSERT_TRUE(make_directory(file("outside").c_str(), 0700));
  ASSERT_TRUE(unlink_at(directory_, "link"));
  EXPECT_FALSE(fs::exists(fs::symlink_status(file("link"))));
  EXPECT_EQ(unlink_at(directory_, "link").error().value, ENOENT);
}

TEST_F(DirectoryNamesTest, MetadataIsReadAndSetWhole) {
  const std::string path = temp_.write("file", "content");
  const Descriptor opened = open_file(path.c_str(), {.write = true}).value();
  const FileTime accessed{.seconds = 1'000, .nanoseconds = 1};
  const FileTime modified{.seconds = 4'102'444'800, .nanoseconds = 999'999'999};
  ASSERT_TRUE(set_mode(opened.get(), 0640));
  ASSERT_TRUE(set_times(opened.get(), accessed, modified));
  ASSERT_TRUE(set_owner(opened.get(), ::geteuid(), ::getegid()));
  const FileMetadata found = metadata_of(opened.get()).value();
  EXPECT_EQ(found.mode, 0640U);
  EXPECT_EQ(found.owner, ::geteuid());
  EXPECT_EQ(found.accessed, accessed);
  EXPECT_EQ(found.modified, modified);
}

TEST_F(DirectoryNamesTest, MetadataOfALinkIsTheLinksOwn) {
  temp_.write("file", "content");
  ASSERT_TRUE(symlink_at("file", directory_, "link"));
  const FileTime then{.seconds = 77, .nanoseconds = 7};
  ASSERT_TRUE(set_times_at(directory_, "link", then, then));
  ASSERT_TRUE(set_owner_at(directory_, "link", ::geteuid(), ::getegid()));
  EXPECT_EQ(metadata_at(directory_, "link").value().modified, then);
  EXPECT_NE(metadata_at(directory_, "file").value().modified, then);
}

TEST_F(DirectoryNamesTest, AttributesOfAnyLengthComeBackWhole) {
  const Descriptor opened = open_file(temp_.write("file", "").c_str(), {.write = true}).value();
  const std::string value = testing::pattern(3'000);
  const auto set = set_attribute(opened.get(), "user.long", value);
  if (!set) {
    GTEST_SKIP() << "extended attributes: errno " << set.error().value;
  }
  ASSERT_TRUE(set_attribute(opened.get(), "user.empty", ""));
  EXPECT_EQ(attribute(opened.get(), "user.long").value(), value);
  EXPECT_EQ(attribute(opened.get(), "user.empty").value(), "");
  const auto names = attribute_names(opened.get()).value();
  EXPECT_EQ(std::ranges::count(names, "user.long"), 1);
  EXPECT_EQ(std::ranges::count(names, "user.empty"), 1);
  EXPECT_EQ(attribute(opened.get(), "user.none").error().value, ENODATA);
}

}  // namespace
}  // namespace quire::sys
