// SPDX-License-Identifier: Apache-2.0
//
// TempDir: a directory for one test, removed with all that is in it. Made under QUIRE_TEST_DIR,
// else the working directory, so that tests run on a real disk and not on a tmpfs. test_main.cc
// removes what tests leave that do not come to their end.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace quire::testing {

class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }
  // Writes a file and returns its path. Aborts on failure: there is no test without its file.
  std::string write(const std::string& name, const std::string& content) const;

 private:
  std::string path_;
};

// Bytes that differ from page to page and from offset to offset: pattern(n)[i] depends on i alone.
[[nodiscard]] std::string pattern(std::size_t length_bytes);
[[nodiscard]] std::byte pattern_at(std::uint64_t offset_bytes) noexcept;
using Bytes = std::vector<std::byte>;
// The pattern's bytes from an offset on.
[[nodiscard]] Bytes pattern_bytes(std::uint64_t offset_bytes, std::size_t length_bytes);

// The whole content, read with read(2): what other programs see. Aborts when there is no file.
[[nodiscard]] std::string read_file(const std::string& path);

// How many descriptors this process has open: a leak shows as a difference.
[[nodiscard]] int count_open_descriptors();

}  // namespace quire::testing
