// SPDX-License-Identifier: Apache-2.0
//
// space: making a file longer, with or without disk space behind the new part.
//
// Errors leave the file as long as it was: what an aborted fallocate or write added is cut off.
// Thread-safety: none of its own; the caller owns the file's size.
#pragma once

#include <cstdint>
#include <string>

#include "quire/base/result.h"
#include "quire/map/map_options.h"

namespace quire::internal {

enum class Secured : std::uint8_t {
  kReserved,  // fallocate
  kWritten,   // Zeros were written: the file system cannot reserve.
  kNothing,   // Sparse was asked for.
};

// Grows the file behind `fd` from `old_bytes` to `new_bytes`.
// REQUIRES: old_bytes <= new_bytes.
// Errors:   ENOSPC, EDQUOT, EFBIG, EIO, ... under `operation`, with the path and both sizes.
[[nodiscard]] Result<Secured> grow_file(int fd, std::uint64_t old_bytes, std::uint64_t new_bytes,
                                        Space space, const char* operation,
                                        const std::string& path);

// The same for a memfd, whose space is memory. The kernel hands it out until the machine is out of
// it and something gets killed, so more than there is must not even be asked for. Errors: also
// kLimit, naming what there is.
[[nodiscard]] Result<Secured> grow_memory(int fd, std::uint64_t old_bytes, std::uint64_t new_bytes,
                                          Space space, const char* operation,
                                          const std::string& path);

}  // namespace quire::internal
