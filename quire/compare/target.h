// SPDX-License-Identifier: Apache-2.0
//
// target: the file that is measured: a user's, which is only ever read, or a scratch file.
//
//   user's file   opened read-only; looked up again before each round: gone, replaced or shortened
//                 is an error of that round
//   scratch file  without a name (O_TMPFILE), else named .quire-compare-PID and unlinked at once:
//                 it vanishes with the process, however that ends. Space is checked and reserved
//                 first; the bytes go past the page cache, or are dropped from it.
//
// Invariants:    size_bytes() is a multiple of kPatternPageBytes and at least one page: what a file
//                has beyond is left alone.
// Thread-safety: const members from any thread; a child of fork() may use them too.
// Errors:        kWrongKind for what is neither file nor block device; kOutOfRange for less than a
//                page; kLimit when there is too little space; the errno of open, write, ...
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "quire/base/result.h"
#include "quire/compare/options.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file_system.h"

namespace quire::compare {

class Target {
 public:
  [[nodiscard]] static Result<Target> open_user_file(const std::string& path);
  // `room_bytes` must be free beyond the file: for what the write patterns write.
  // Errors: also kCancelled.
  [[nodiscard]] static Result<Target> make_scratch(const CompareOptions& options,
                                                   std::uint64_t room_bytes,
                                                   const CompareHooks& hooks);

  [[nodiscard]] bool is_scratch() const noexcept { return directory_.is_open(); }
  [[nodiscard]] std::uint64_t size_bytes() const noexcept { return size_bytes_; }
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  // For looking at the page cache, eviction, sizes. The paths open the file anew.
  [[nodiscard]] int fd() const noexcept { return file_.get(); }
  // A path that opens the same file again, with a position, flags and read-ahead of its own; works
  // without a name.
  [[nodiscard]] std::string path_to_reopen() const;
  [[nodiscard]] const sys::FileSystem& file_system() const noexcept { return file_system_; }

  // Whether the kernel tells how much of the file is cached, and tells the truth: overlayfs always
  // says nothing. Seen by reading a page and asking for it.
  [[nodiscard]] bool is_cache_visible() const noexcept { return is_cache_visible_; }

  // The file is what it was when it was opened. Errors: ENOENT; kChanged; kTruncated.
  [[nodiscard]] Result<void> check() const;
  // An empty file beside a scratch file, without a name, with space reserved. For write patterns.
  // REQUIRES: is_scratch().
  [[nodiscard]] Result<sys::Descriptor> make_beside(std::uint64_t size_bytes) const;

 private:
  Target() = default;

  std::string name_;
  sys::Descriptor file_;
  sys::Descriptor directory_;  // Of a scratch file.
  sys::FileStatus status_;
  std::uint64_t size_bytes_ = 0;
  sys::FileSystem file_system_;
  bool is_cache_visible_ = false;
};

}  // namespace quire::compare
