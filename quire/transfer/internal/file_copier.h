// SPDX-License-Identifier: Apache-2.0
//
// FileCopier: one open file into one name of one open directory. What copy_file() and copy_tree()
// share: transfer, metadata, the look whether the source held still, durability, verification,
// name.
//
// Invariants:    the name is untouched until all of that has succeeded.
// Thread-safety: one thread.
#pragma once

#include <cstdint>
#include <string>

#include "quire/base/result.h"
#include "quire/sys/descriptor.h"
#include "quire/transfer/copy.h"

namespace quire::internal {

struct CopySource {
  int fd = -1;
  const sys::FileStatus& status;
  const std::string& path;  // For messages.
};

struct CopyPlace {
  const sys::Descriptor& directory;  // Open for reading.
  const std::string& name;
  const std::string& path;  // For messages.
};

class FileCopier {
 public:
  explicit FileCopier(const CopyOptions& options) : options_(options) {}

  // REQUIRES: the source is a regular file.
  [[nodiscard]] Result<CopiedEntry> copy(const CopySource& source, const CopyPlace& target);

  // For progress: an entry that is not a file.
  [[nodiscard]] const CopyProgress& progress() const noexcept { return progress_; }

 private:
  Result<void> check_target(const CopySource& source, const CopyPlace& target) const;
  Result<void> check_space(const CopySource& source, const CopyPlace& target) const;
  Result<TransferReport> move_bytes(const CopySource& source, int target);
  Result<void> make_durable(int target, const std::string& path) const;

  const CopyOptions& options_;
  CopyProgress progress_;
};

// `name` in an open directory; a symbolic link itself.
[[nodiscard]] sys::Outcome<sys::FileStatus> status_at(const sys::Descriptor& directory,
                                                      const std::string& name) noexcept;

// What keeps the name from being given to a copy; nothing when it is free, or stands for something
// that may be replaced. `now` is what status_at() says of it.
// Errors: kWrongKind; EEXIST with ExistingTarget::kRefuse; what `now` says, except ENOENT.
[[nodiscard]] Result<void> check_name(const CopyPlace& target,
                                      const sys::Outcome<sys::FileStatus>& now,
                                      const CopyOptions& options);

}  // namespace quire::internal
