// SPDX-License-Identifier: Apache-2.0
//
// vector_io: one transfer between a file and several pieces of memory, and the per-call flags of
// preadv2(2) and pwritev2(2).
//
//   file     ...[aaaabbbbbbbbcc]...      one range,
//   memory   [aaaa]  [bbbbbbbb]  [cc]    several pieces, in order
//
// EINTR and short transfers end in read_vector_at() and write_vector_at(), which go on until done,
// the end of the file, or an error; read_vector_some_at() and write_vector_some_at() are the single
// calls, for who knows what a short answer means (no_wait: "the rest is not in the page cache").
//
// Thread-safety: any thread; offsets are explicit.
// Errors:        Outcome with the kernel's errno; EOPNOTSUPP for a flag that this file system or
//                kernel does not know. What went before an error is transferred.
// Cost:          one system call per kPiecesPerCallMax pieces; no allocation.
// Kernel:        each flag names its version.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "quire/sys/outcome.h"

namespace quire::sys {

// Pieces of memory that are one range of the file, in order. Empty ones are passed over.
using ReadPieces = std::span<const std::span<std::byte>>;
using WritePieces = std::span<const std::span<const std::byte>>;

// The most pieces of one system call: 2 KiB of stack, and past the point where more would help.
// (The kernel's limit is 1024.)
inline constexpr std::size_t kPiecesPerCallMax = 128;

// RWF_*: how one transfer is done, whatever the descriptor's own flags are.
struct TransferFlags {
  // EAGAIN instead of waiting for a device (4.14; EOPNOTSUPP on tmpfs). The kernel may start to
  // read what was missing all the same: asking again later can succeed.
  bool no_wait = false;
  bool drop_behind = false;    // RWF_DONTCACHE: pages leave the cache once done with (6.14).
  bool sync_data = false;      // Writes: RWF_DSYNC, durable when it returns (4.7).
  bool high_priority = false;  // RWF_HIPRI: polled completion where the queue offers it (4.6).
  bool append = false;         // Writes: at the end of the file, wherever that is now (4.16).
};

// Reads until the pieces are full or the file ends. Returns the bytes read: fewer means the end,
// or with `no_wait` perhaps that the rest would have to wait: a further call then says EAGAIN.
[[nodiscard]] Outcome<std::uint64_t> read_vector_at(int fd, ReadPieces into,
                                                    std::uint64_t offset_bytes,
                                                    TransferFlags flags = {}) noexcept;
// One preadv2(2), of at most kPiecesPerCallMax pieces.
[[nodiscard]] Outcome<std::uint64_t> read_vector_some_at(int fd, ReadPieces into,
                                                         std::uint64_t offset_bytes,
                                                         TransferFlags flags = {}) noexcept;
// Writes all of it. With `append` the offset is ignored.
Outcome<void> write_vector_at(int fd, WritePieces from, std::uint64_t offset_bytes,
                              TransferFlags flags = {}) noexcept;
// One pwritev2(2), of at most kPiecesPerCallMax pieces.
[[nodiscard]] Outcome<std::uint64_t> write_vector_some_at(int fd, WritePieces from,
                                                          std::uint64_t offset_bytes,
                                                          TransferFlags flags = {}) noexcept;

}  // namespace quire::sys
