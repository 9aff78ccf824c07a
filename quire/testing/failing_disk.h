// SPDX-License-Identifier: Apache-2.0
//
// FailingDisk: a file that reads as zeros up to an offset and with EIO from there on: nbdkit behind
// nbdfuse. Writes are accepted and forgotten. For those who may mount (root); `problem()` is the
// text of the skip.
#pragma once

#include <cstdint>
#include <string>

#include "quire/testing/nbd_file.h"
#include "quire/testing/temp_dir.h"

namespace quire::testing {

class FailingDisk {
 public:
  FailingDisk(const TempDir& directory, std::uint64_t size_bytes, std::uint64_t bad_from_bytes);

  [[nodiscard]] const std::string& path() const noexcept { return file_.path(); }
  [[nodiscard]] const std::string& problem() const noexcept { return file_.problem(); }

 private:
  NbdFile file_;
};

}  // namespace quire::testing
