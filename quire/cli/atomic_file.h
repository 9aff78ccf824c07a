// SPDX-License-Identifier: Apache-2.0
//
// AtomicFile: a file that appears whole or not at all.
//
//   create() --> FILE.tmp-PID, written by the caller --> commit(): fsync, rename over FILE
//                       |
//                 destructor without commit(): removed
//
// A reader of FILE sees the old content or the new one. A link at FILE stays a link: what it points
// at is replaced. Whatever is not a regular file (/dev/null, a directory) is refused, not replaced.
//
// Thread-safety: one thread.
// Errors:        kWrongKind; the errno of open, write, fsync, rename.
#pragma once

#include <string>

#include "quire/base/result.h"
#include "quire/sys/descriptor.h"

namespace quire::cli {

class AtomicFile {
 public:
  [[nodiscard]] static Result<AtomicFile> create(const std::string& path);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();

  [[nodiscard]] int fd() const noexcept { return file_.get(); }
  // Durable under its name when this returns. REQUIRES: called once.
  Result<void> commit();

 private:
  AtomicFile(std::string path, std::string temporary, sys::Descriptor file)
      : path_(std::move(path)), temporary_(std::move(temporary)), file_(std::move(file)) {}

  std::string path_;
  std::string temporary_;  // Empty once committed or moved from.
  sys::Descriptor file_;
};

}  // namespace quire::cli
