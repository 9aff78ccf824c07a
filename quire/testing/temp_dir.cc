// SPDX-License-Identifier: Apache-2.0
#include "quire/testing/temp_dir.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "quire/base/check.h"

namespace quire::testing {

TempDir::TempDir() {
  const char* parent = std::getenv("QUIRE_TEST_DIR");
  path_ = std::string(parent != nullptr ? parent : std::filesystem::current_path().string()) +
          "/quire-test-XXXXXX";
  QUIRE_CHECK(mkdtemp(path_.data()) != nullptr);
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string TempDir::write(const std::string& name, const std::string& content) const {
  std::string path = file(name);
  std::ofstream out(path, std::ios::binary);
  out.write(content.data(), static_cast<std::streamsize>(content.size()));
  out.close();
  QUIRE_CHECK(out.good());
  return path;
}

std::byte pattern_at(std::uint64_t offset_bytes) noexcept {
  // Fibonacci hashing: neighbouring offsets and equal offsets of other pages all differ.
  return static_cast<std::byte>((offset_bytes * 0x9e3779b97f4a7c15) >> 56);
}

std::string pattern(std::size_t length_bytes) {
  std::string text(length_bytes, '\0');
  for (std::size_t i = 0; i < length_bytes; ++i) {
    text[i] = static_cast<char>(pattern_at(i));
  }
  return text;
}

std::vector<std::byte> pattern_bytes(std::uint64_t offset_bytes, std::size_t length_bytes) {
  std::vector<std::byte> bytes(length_bytes);
  for (std::size_t i = 0; i < length_bytes; ++i) {
    bytes[i] = pattern_at(offset_bytes + i);
  }
  return bytes;
}

std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  QUIRE_CHECK(in.is_open());
  std::ostringstream out;
  out << in.rdbuf();
  return std::move(out).str();
}

int count_open_descriptors() {
  const std::filesystem::directory_iterator entries("/proc/self/fd");
  return static_cast<int>(std::distance(begin(entries), end(entries)));
}

}  // namespace quire::testing
