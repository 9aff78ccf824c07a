// SPDX-License-Identifier: Apache-2.0
#include "quire/map/internal/path_opener.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <vector>

#include "quire/sys/call.h"
#include "quire/sys/file.h"
#include "quire/testing/temp_dir.h"

namespace quire::internal {
namespace {

class PathOpenerTest : public ::testing::Test {
 protected:
  PathOpenerTest() {
    std::filesystem::create_directories(directory_.file("a/b"));
    std::filesystem::create_directories(directory_.file("x"));
    for (const char* name : {"a/b/1", "a/b/2", "x/1", "top"}) {
      directory_.write(name, name);
    }
  }

  // What each path leads to: the content, or the errno as text.
  std::vector<std::string> open_all(const std::vector<std::string>& paths) {
    std::vector<std::string> found;
    for (std::size_t i = 0; i < paths.size(); ++i) {
      const auto file = opener_.open(paths[i], i + 1 < paths.size() ? &paths[i + 1] : nullptr);
      found.push_back(file ? content(*file) : errno_name(file.error().value));
    }
    return found;
  }

  static std::string content(const sys::Descriptor& file) {
    std::string text(16, '\0');
    const auto got = sys::read_at(file.get(), std::as_writable_bytes(std::span(text)), 0);
    text.resize(got.value());
    return text;
  }

  testing::TempDir directory_;
  PathOpener opener_;
};

using Texts = std::vector<std::string>;

TEST_F(PathOpenerTest, NeighboursShareOneWalkAndLonersNeedNone) {
  const std::string& root = directory_.path();
  const Texts paths{root + "/a/b/1", root + "/a/b/2", root + "/x/1", root + "/top"};
  EXPECT_EQ(open_all(paths), (Texts{"a/b/1", "a/b/2", "x/1", "top"}));
  EXPECT_EQ(opener_.directory_count(), 1U);
  EXPECT_EQ(opener_.open_calls(), 5U);
}

TEST_F(PathOpenerTest, OddlyWrittenPathsMeanWhatTheyMeanToTheKernel) {
  const std::string& root = directory_.path();
  const Texts paths{root + "/a/../x/1", root + "/a/../x/1", root + "//x//1", root + "//x//1",
                    root + "/top/",     root + "/top/",     root + "/x/1",   root + "/x/./1"};
  EXPECT_EQ(open_all(paths),
            (Texts{"x/1", "x/1", "x/1", "x/1", "ENOTDIR", "ENOTDIR", "x/1", "x/1"}));
}

TEST_F(PathOpenerTest, RelativePathsAndNamesWithoutADirectory) {
  const std::filesystem::path previous = std::filesystem::current_path();
  std::filesystem::current_path(directory_.path());
  EXPECT_EQ(open_all({"top", "top", "x/1", "x/1", "./top", "./top", "", "missing"}),
            (Texts{"top", "top", "x/1", "x/1", "top", "top", "ENOENT", "ENOENT"}));
  std::filesystem::current_path(previous);
}

TEST_F(PathOpenerTest, FilesOfTheRootDirectory) {
  EXPECT_EQ(open_all({"/no-such-file", "/no-such-file"}), (Texts{"ENOENT", "ENOENT"}));
  EXPECT_EQ(opener_.directory_count(), 1U);
}

// Goal: the directory is a short cut; where it cannot be taken the error is the file's own.
TEST_F(PathOpenerTest, ADirectoryThatCannotBeOpenedIsTriedOnceAndTheFilesSayWhy) {
  const std::string& root = directory_.path();
  const Texts paths{root + "/gone/1", root + "/gone/2", root + "/gone/3", root + "/top/1",
                    root + "/top/2"};
  EXPECT_EQ(open_all(paths), (Texts{"ENOENT", "ENOENT", "ENOENT", "ENOTDIR", "ENOTDIR"}));
  EXPECT_EQ(opener_.directory_count(), 0U);
  EXPECT_EQ(opener_.open_calls(), 7U);
}

TEST_F(PathOpenerTest, APathTooLongForTheKernelStaysTooLong) {
  std::string deep = directory_.path();
  while (deep.size() < 4080) {
    deep += "/.";
  }
  const Texts fits{deep + "/top", deep + "/top"};
  EXPECT_EQ(open_all(fits), (Texts{"top", "top"}));
  const std::string far = deep + std::string(40, '/') + "top";
  EXPECT_EQ(open_all({far, far}), (Texts{"ENAMETOOLONG", "ENAMETOOLONG"}));
}

}  // namespace
}  // namespace quire::internal
