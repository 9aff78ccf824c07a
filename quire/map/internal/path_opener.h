// SPDX-License-Identifier: Apache-2.0
//
// PathOpener: opens many paths for reading, with one walk of the path per run of neighbours.
//
//   a/b/c/1   a/b/c/2   a/b/c/3   x/4
//   '- the directory a/b/c is opened (to look at only) when the next path shares it, then 1, 2
//      and 3 relative to it; x/4 stands alone and is opened whole
//
// Invariants:    at most one directory is open.
// Thread-safety: one thread at a time.
// Errors:        those of open(2) on the whole path. A directory that cannot be opened is not an
//                error itself: each of its files is then opened by its whole path, and says why.
#pragma once

#include <cstdint>
#include <string>

#include "quire/sys/descriptor.h"
#include "quire/sys/outcome.h"

namespace quire::internal {

class PathOpener {
 public:
  // `next_path` is what will be opened after it; null at the end. REQUIRES: no NUL in the paths.
  sys::Outcome<sys::Descriptor> open(const std::string& path, const std::string* next_path);

  // Directories included.
  [[nodiscard]] std::uint64_t open_calls() const noexcept { return open_calls_; }
  [[nodiscard]] std::uint64_t directory_count() const noexcept { return directory_count_; }

 private:
  void enter(std::string_view directory_path);

  sys::Descriptor directory_;
  std::string directory_path_;  // Of `directory_`, or of the one that could not be opened.
  std::uint64_t open_calls_ = 0;
  std::uint64_t directory_count_ = 0;
};

}  // namespace quire::internal
