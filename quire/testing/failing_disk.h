// SPDX-License-Identifier: Apache-2.0
//
// FailingDisk: a file that reads as zeros up to an offset and with EIO from there on: nbdkit behind
// nbdfuse. Writes are accepted and forgotten. For those who may mount (root); `problem()` is the
// text of the skip.
//
// Its server dies with the process, however that ends.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "quire/testing/temp_dir.h"

namespace quire::testing {

class FailingDisk {
 public:
  FailingDisk(const TempDir& directory, std::uint64_t size_bytes, std::uint64_t bad_from_bytes);
  ~FailingDisk();
  FailingDisk(const FailingDisk&) = delete;
  FailingDisk& operator=(const FailingDisk&) = delete;

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] const std::string& problem() const noexcept { return problem_; }

 private:
  void serve(const std::string& ready_path, std::uint64_t size_bytes, std::uint64_t bad_from_bytes);
  void wait_until_ready(int ready);

  std::string path_;
  std::string problem_;
  pid_t server_ = -1;
};

}  // namespace quire::testing
