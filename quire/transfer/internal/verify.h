// SPDX-License-Identifier: Apache-2.0
//
// verify: whether two files hold the same bytes, as the disk has them.
//
//   target  write back -> evict -> read -> XXH3 ---.
//   source                         read -> XXH3 ---'-- equal?
//
// What stays in memory although it was evicted is compared from there, and told in a remark.
//
// Thread-safety: one thread. Blocks: for the write-back and for reading both.
// Errors:        kCorrupt when they differ; kCancelled; the errno of reading.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "quire/base/result.h"
#include "quire/transfer/copy.h"

namespace quire::internal {

struct ComparedFile {
  int fd = -1;
  const std::string& shown_path;
};

// The checksum of both.
[[nodiscard]] Result<std::uint64_t> verify_copy(const ComparedFile& source,
                                                const ComparedFile& target,
                                                const CopyOptions& options,
                                                std::vector<std::string>& remarks);

}  // namespace quire::internal
