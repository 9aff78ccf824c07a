// SPDX-License-Identifier: Apache-2.0
//
// transfer_calls: the system calls that move bytes between two descriptors without a stop in user
// space, each as one call: what a short answer, a zero or a refusal means is transfer's business.
//
//   sendfile          file -> socket, pipe, file     the page cache's own pages travel
//   splice            file/socket <-> pipe           a pipe holds references to pages
//   copy_file_range   file -> file                   the file system may share, the server may copy
//   ioctl FICLONE...  file -> file                   no bytes move: both files name the same blocks
//
// A length is what one call moves at most; kCallBytesMax where it is larger.
// Thread-safety: any thread.
// Errors:        Outcome with the kernel's errno; EINTR never. EPIPE comes with SIGPIPE from every
//                call that writes to a pipe or socket here: see HeldBrokenPipe in signals.h.
// Kernel:        5.10 is assumed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "quire/base/units.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/outcome.h"

namespace quire::sys {

// The most that one read, write, sendfile, splice or copy_file_range moves (MAX_RW_COUNT).
inline constexpr std::size_t kCallBytesMax = 0x7ffff000;

// One write(2) at the file position, or at the end with O_APPEND: may be short, may be EAGAIN.
Outcome<std::size_t> write_some(int fd, std::span<const std::byte> from) noexcept;
// One pwrite(2).
Outcome<std::size_t> write_some_at(int fd, std::span<const std::byte> from,
                                   std::uint64_t offset_bytes) noexcept;

// One sendfile(2), from an explicit offset of `source` to the position of `target`.
// Errors: EINVAL for a target opened with O_APPEND, or a source without pages (a pipe).
Outcome<std::size_t> send_file(int target, int source, std::uint64_t source_offset_bytes,
                               std::size_t length_bytes) noexcept;

// One side of a splice: an offset for files that have one and shall not use their position.
struct SpliceEnd {
  int fd = -1;
  std::optional<std::uint64_t> offset_bytes = std::nullopt;
};
enum class SpliceMore : std::uint8_t { kNo, kYes };
// One splice(2); one of the two must be a pipe. kYes tells a socket that more follows at once.
// Errors: EINVAL when neither is a pipe, or the file cannot be spliced (O_APPEND targets).
Outcome<std::size_t> splice(const SpliceEnd& from, const SpliceEnd& to, std::size_t length_bytes,
                            SpliceMore more) noexcept;

// One copy_file_range(2). 0 at the end of the source, and also for sources that are made up when
// they are read (/proc): who believes a 0 loses data.
// Errors: EXDEV, EOPNOTSUPP, EINVAL, ETXTBSY, EBADF (O_APPEND): see transfer.
Outcome<std::size_t> copy_range(int target, std::uint64_t target_offset_bytes, int source,
                                ByteRange range) noexcept;

// Lets the whole of `target` share the blocks of `source`. Constant time.
// Errors: EXDEV across file systems, EOPNOTSUPP or ENOTTY where blocks cannot be shared.
Outcome<void> clone_file(int target, int source) noexcept;
// The same for a range; a length of kToEnd is the rest. Errors also: EINVAL when not block-aligned.
Outcome<void> clone_range(int target, std::uint64_t target_offset_bytes, int source,
                          ByteRange range) noexcept;

struct Pipe {
  Descriptor read_end;
  Descriptor write_end;
  std::size_t capacity_bytes = 0;
};
// A pipe that holds `capacity_bytes` if the kernel allows (/proc/sys/fs/pipe-max-size, 1 MiB for
// who is not privileged), else what it allows. Its ends do not block where `non_blocking`.
[[nodiscard]] Outcome<Pipe> create_pipe(std::size_t capacity_bytes, bool non_blocking) noexcept;
// The capacity of a pipe; and a try to enlarge it, which answers what it then is.
[[nodiscard]] Outcome<std::size_t> pipe_capacity(int fd) noexcept;
Outcome<std::size_t> enlarge_pipe(int fd, std::size_t capacity_bytes) noexcept;

// How a descriptor was opened: what decides which calls it allows.
struct OpenState {
  bool is_readable = false;
  bool is_writable = false;
  bool is_appending = false;
  bool is_non_blocking = false;
  bool is_direct = false;
};
[[nodiscard]] Outcome<OpenState> open_state(int fd) noexcept;
// Switches O_NONBLOCK of the open file, which all its descriptors share.
Outcome<void> set_non_blocking(int fd, bool on) noexcept;

// The same file opened again, with a position and flags of its own and O_DIRECT: through /proc.
// Errors: EINVAL where the file system has no direct I/O; ENOENT without /proc.
[[nodiscard]] Outcome<Descriptor> reopen_direct(int fd, bool write) noexcept;

// The file position. Errors: ESPIPE.
[[nodiscard]] Outcome<std::uint64_t> file_position(int fd) noexcept;
Outcome<void> set_file_position(int fd, std::uint64_t offset_bytes) noexcept;

enum class WaitEnd : std::uint8_t {
  kReady,
  kHungUp,   // Nothing more will come or be taken, or the descriptor has an error to fetch.
  kStopped,  // The stop descriptor became readable.
  kTimedOut,
};
enum class WaitFor : std::uint8_t {
  kReadable,
  kWritable,
  kNotice,  // Only what comes unasked: an error, a hang-up, a message in the error queue.
};
// Waits for one descriptor, and for `stop_fd` where that is not -1. A negative timeout waits for
// ever. Blocks. Errors: EBADF.
[[nodiscard]] Outcome<WaitEnd> wait_for(int fd, WaitFor what, int stop_fd, int timeout_ms) noexcept;

}  // namespace quire::sys
