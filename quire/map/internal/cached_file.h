// SPDX-License-Identifier: Apache-2.0
//
// cached_file: one look at a descriptor whose page cache is about to be asked for or changed.
//
// Thread-safety: a plain value; the descriptor is borrowed.
#pragma once

#include <cstdint>
#include <string>

#include "quire/base/page_window.h"
#include "quire/base/result.h"
#include "quire/base/units.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/outcome.h"

namespace quire::internal {

struct CachedFile {
  int fd = -1;
  const char* operation = "";  // For errors: "evict".
  sys::FileStatus status = {};
  ByteRange range = {};  // What was asked for, resolved: inside the file.
  // cachestat(2) means this file. Not so on overlay and its like: it succeeds there and counts the
  // pages of the wrong inode, none (Linux 6.18), so nobody may believe it.
  bool has_counts = true;

  // An Error of this operation on `part` of this file.
  [[nodiscard]] Error error(sys::Errno cause, ByteRange part) const;
  [[nodiscard]] Error error(Errc code, ByteRange part, std::string cause,
                            std::string remedy = {}) const;
};

// status.size_bytes is also set for a block device.
// Errors: kWrongKind for what has no page cache of its own; kOutOfRange as resolve_range().
[[nodiscard]] Result<CachedFile> look_at(int fd, ByteRange wanted, const char* operation);

}  // namespace quire::internal
