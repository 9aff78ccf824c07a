// SPDX-License-Identifier: Apache-2.0
//
// file: what can be done to an open file by number: read, write, size, space, durability, and the
// kernel's page cache of it.
//
// EINTR ends here. Short transfers end in read_at() and write_at(), which go on until done, the end
// of the file, or an error. The single-call forms (read_some) are for pipes.
//
// Ranges:        a length of 0 is nothing, and no call is made: to the kernel it would often mean
//                "to the end". kToEnd is a length for advice, read-ahead, sync_range and
//                cache_status; space is allocated and freed by explicit lengths only (else EFBIG).
// Thread-safety: any thread; offsets are explicit. The file position, shared by all who share the
//                open file, is used by read_some and write_all and moved by the seeks.
// Errors:        Outcome with the kernel's errno.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "quire/base/units.h"
#include "quire/sys/outcome.h"

namespace quire::sys {

// Reads until `into` is full or the file ends. Returns the bytes read: fewer means the end.
[[nodiscard]] Outcome<std::size_t> read_at(int fd, std::span<std::byte> into,
                                           std::uint64_t offset_bytes) noexcept;
// One read(2) at the file position: pipes. 0 is the end. EAGAIN when it would block.
[[nodiscard]] Outcome<std::size_t> read_some(int fd, std::span<std::byte> into) noexcept;
// One pread(2): for who knows what a short answer means.
[[nodiscard]] Outcome<std::size_t> read_some_at(int fd, std::span<std::byte> into,
                                                std::uint64_t offset_bytes) noexcept;
// Writes all of it, or reports the error of the call that stopped; what went before is written.
Outcome<void> write_at(int fd, std::span<const std::byte> from,
                       std::uint64_t offset_bytes) noexcept;
// write(2) at the file position until all is written: standard output, pipes. Blocks, also on a
// non-blocking descriptor.
Outcome<void> write_all(int fd, std::span<const std::byte> from) noexcept;

// One pread(2) or pwrite(2) with next to nothing around it, for loops that are measured: the bytes
// moved or, negative, the errno.
[[nodiscard]] std::int64_t read_bare(int fd, std::span<std::byte> into,
                                     std::uint64_t offset_bytes) noexcept;
[[nodiscard]] std::int64_t write_bare(int fd, std::span<const std::byte> from,
                                      std::uint64_t offset_bytes) noexcept;

Outcome<void> truncate_file(int fd, std::uint64_t size_bytes) noexcept;

enum class Allocate : std::uint8_t {
  kExtendSize,  // The file's size grows to cover the range.
  kKeepSize,    // Blocks are reserved past the end; the size stays.
};
// fallocate(2). Errors: ENOSPC; EOPNOTSUPP where the file system cannot.
Outcome<void> allocate_space(int fd, ByteRange range, Allocate mode) noexcept;
// Frees the blocks of a range; it reads as zeros. The size stays. Errors: EOPNOTSUPP.
Outcome<void> punch_hole(int fd, ByteRange range) noexcept;

// fdatasync / fsync. Both flush the device's cache on file systems with barriers on.
Outcome<void> sync_data(int fd) noexcept;
Outcome<void> sync_all(int fd) noexcept;

enum class SyncRange : std::uint8_t { kStart, kStartAndWait };
// sync_file_range(2): pages go to the device; no metadata, no device cache flush: pacing only.
Outcome<void> sync_range(int fd, ByteRange range, SyncRange mode) noexcept;

enum class FileAdvice : std::uint8_t { kNormal, kRandom, kSequential, kWillNeed, kDontNeed };
Outcome<void> advise_file(int fd, ByteRange range, FileAdvice advice) noexcept;
// readahead(2): like kWillNeed, but the errors of submission come back.
Outcome<void> read_ahead(int fd, ByteRange range) noexcept;

// The page cache of a range of a file, in pages. Kernel: 6.5.
struct CacheStatus {
  PageCount cached;
  PageCount dirty;
  PageCount writeback;
  PageCount evicted;
  PageCount recently_evicted;
};
// Errors: EPERM for who may not write the file and does not own it; ENOSYS before 6.5;
//         EOPNOTSUPP on hugetlbfs.
[[nodiscard]] Outcome<CacheStatus> cache_status(int fd, ByteRange range) noexcept;

// The next offset >= `from_bytes` that holds data / is a hole. Errors: ENXIO past the last one.
[[nodiscard]] Outcome<std::uint64_t> seek_data(int fd, std::uint64_t from_bytes) noexcept;
[[nodiscard]] Outcome<std::uint64_t> seek_hole(int fd, std::uint64_t from_bytes) noexcept;
// The offset of the end: the size, for a third of what fstat costs. Moves the file position there.
// Errors: ESPIPE for pipes and sockets; EINVAL where the file system has no sizes (/proc).
[[nodiscard]] Outcome<std::uint64_t> seek_end(int fd) noexcept;

// Whether the caller may write the file, owns it, or holds CAP_FOWNER over it: only then does the
// kernel tell the truth about residency (mincore answers "all resident" to others since 5.2).
// False when that cannot be found out (no /proc).
[[nodiscard]] bool residency_is_trustworthy(int fd) noexcept;

enum class PollResult : std::uint8_t { kReadable, kHungUp, kTimedOut };
// Waits until `fd` can be read. A negative timeout waits for ever. Signals do not prolong it.
// Blocks. Errors: EBADF.
[[nodiscard]] Outcome<PollResult> wait_readable(int fd, int timeout_ms) noexcept;

// Locks the open file against whoever else locks it this way (flock); its last descriptor unlocks.
// Errors: EWOULDBLOCK when somebody else holds it.
Outcome<void> lock_file(int fd) noexcept;

Outcome<void> rename_path(const char* from, const char* to) noexcept;
Outcome<void> unlink_path(const char* path) noexcept;

}  // namespace quire::sys
