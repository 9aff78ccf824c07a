// SPDX-License-Identifier: Apache-2.0
//
// MemoryCgroup: a memory limit for a test's child process, without swap, for those who may make one
// (root; version 1, or version 2 where the memory controller is on at the root).
//
// What is charged: the process's memory, its memfds and page tables, and pages of files that it
// brings into the page cache. Beyond the limit, after all page cache is gone, the kernel kills.
#pragma once

#include <cstdint>
#include <string>

namespace quire::testing {

class MemoryCgroup {
 public:
  MemoryCgroup() = default;
  // REQUIRES: no process is in it any more.
  ~MemoryCgroup();
  MemoryCgroup(const MemoryCgroup&) = delete;
  MemoryCgroup& operator=(const MemoryCgroup&) = delete;

  // Answers why it did not work, "" when it did: the text of the skip.
  [[nodiscard]] std::string make(std::uint64_t limit_bytes);
  // Moves the calling process. False: it could not.
  [[nodiscard]] bool enter() const;
  [[nodiscard]] std::uint64_t usage_bytes() const;
  // The most that was ever charged.
  [[nodiscard]] std::uint64_t peak_bytes() const;
  [[nodiscard]] std::uint64_t killed_processes() const;

 private:
  [[nodiscard]] std::uint64_t number_in(const std::string& file) const;

  std::string directory_;
  bool is_version_1_ = true;
};

}  // namespace quire::testing
