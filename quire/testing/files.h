// SPDX-License-Identifier: Apache-2.0
//
// files: what a test asks of files and directories by plain system calls, as other programs do. A
// call that fails is a failed expectation.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <set>
#include <string>

namespace quire::testing {

// Of a symbolic link: the link's own.
inline struct stat status_of(const std::string& path) {
  struct stat status{};
  EXPECT_EQ(::lstat(path.c_str(), &status), 0) << path;
  return status;
}

// Since the epoch.
inline std::int64_t nanoseconds(const timespec& time) {
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

using Names = std::set<std::string>;

// The names in a directory, hidden ones too.
inline Names names_in(const std::string& directory) {
  Names names;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    names.insert(entry.path().filename().string());
  }
  return names;
}

}  // namespace quire::testing
