// SPDX-License-Identifier: Apache-2.0
//
// direct_io: O_DIRECT of an open file, and the alignment it asks for.
//
//   statx: STATX_DIOALIGN (6.1)          states memory and offset alignment; 0: no direct I/O
//      '-- STATX_DIO_READ_ALIGN (6.14)   reads may do with less
//   else BLKSSZGET of a block device     its logical block
//   else the OS page                     what works nearly everywhere
//   then one read of exactly that alignment, and the next larger candidate when it says EINVAL
//
// Memory and offsets have alignments of their own, which differ from file to file: 512 and 4096 are
// guesses. That a direct read works does not say that it went past the page cache: btrfs buffers
// checksummed files without a word. cache_status() before and after tells.
//
// Thread-safety: any thread. O_DIRECT belongs to the open file, which all duplicates of the
//                descriptor share: switching it under transfers in flight changes what they are.
// Errors:        Outcome.
// Cost:          direct_alignment_of(): a statx, a mapping, and one small device read.
#pragma once

#include <cstdint>
#include <optional>

#include "quire/sys/outcome.h"

namespace quire::sys {

// Alignment that direct I/O asks for.
// Invariants: powers of two, at most 1 MiB.
struct DirectAlignment {
  std::uint32_t memory_bytes = 0;
  std::uint32_t offset_bytes = 0;                  // Of offsets and lengths in the file.
  std::optional<std::uint32_t> read_offset_bytes;  // STATX_DIO_READ_ALIGN (6.14), where smaller.

  friend bool operator==(const DirectAlignment&, const DirectAlignment&) = default;
};

struct DirectSupport {
  DirectAlignment alignment;
  bool is_stated = false;     // By statx; else assumed.
  bool is_confirmed = false;  // A read of that alignment worked. An empty file cannot confirm.
};

// Of a file that is open with O_DIRECT; to confirm, it is read at most once per candidate.
// Errors: EINVAL when it is not open with O_DIRECT, or refuses every candidate;
//         EOPNOTSUPP when the kernel states that this file has no direct I/O;
//         the errno of the probe read (EIO) or of statx.
[[nodiscard]] Outcome<DirectSupport> direct_support_of(int fd) noexcept;

// The most that one direct write (RWF_ATOMIC) leaves whole or not there at all after a power cut,
// as statx states it; 0: nothing is promised. Kernel: 6.11.
[[nodiscard]] Outcome<std::uint32_t> atomic_write_bytes_max(int fd) noexcept;

[[nodiscard]] Outcome<bool> is_direct(int fd) noexcept;
// Switches O_DIRECT of the open file on or off. Errors: EINVAL where the file system has none.
Outcome<void> set_direct(int fd, bool direct) noexcept;

}  // namespace quire::sys
