// SPDX-License-Identifier: Apache-2.0
//
// ends: what the two descriptors of a transfer are, found out once before the first byte.
//
//   kPlaced   has offsets: a regular file or a block device     (a target without O_APPEND)
//   kStream   has none: pipe, socket, terminal, O_APPEND target
//
// A regular file that the file system makes up when it is read (/proc, /sys) has offsets and no
// size worth believing.
//
// Thread-safety: plain values.
// Cost:          three or four system calls per end; counted in the report.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "quire/base/result.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/socket_io.h"
#include "quire/sys/transfer_calls.h"
#include "quire/transfer/transfer.h"

namespace quire::internal {

enum class Placement : std::uint8_t { kPlaced, kStream };

struct TransferEnd {
  int fd = -1;
  sys::FileStatus status;
  sys::OpenState open;
  sys::SocketFacts socket;  // Of a socket.
  Placement placement = Placement::kStream;
  std::string file_system = {};  // "ext4"; of regular files only.

  [[nodiscard]] bool is_regular() const noexcept { return status.kind == sys::FileKind::kRegular; }
  [[nodiscard]] bool is_pipe() const noexcept { return status.kind == sys::FileKind::kPipe; }
  [[nodiscard]] bool is_socket() const noexcept { return status.kind == sys::FileKind::kSocket; }
  [[nodiscard]] bool is_placed() const noexcept { return placement == Placement::kPlaced; }
};

struct SourceEnd : TransferEnd {
  std::uint64_t start_bytes = 0;              // Offset of the first byte; 0 for streams.
  std::optional<std::uint64_t> length_bytes;  // Nothing: until it ends.
  bool is_sized = false;                      // Its size is a promise: less is truncation.
};

struct TargetEnd : TransferEnd {
  std::uint64_t start_bytes = 0;  // Where the first byte goes; placed targets.
  bool moves_position = false;    // Placed, and named without an offset.
};

// Errors: EBADF; kWrongKind for a directory or a descriptor that is not open for it; kOutOfRange.
[[nodiscard]] Result<SourceEnd> look_at_source(const TransferSource& source,
                                               std::uint64_t& system_calls);
[[nodiscard]] Result<TargetEnd> look_at_target(const TransferTarget& target,
                                               std::uint64_t& system_calls);
// Errors: EINVAL when both are one file and the ranges meet.
[[nodiscard]] Result<void> check_overlap(const SourceEnd& source, const TargetEnd& target);

// Whether two files of that file system can share blocks at all.
[[nodiscard]] bool may_share_blocks(const std::string& file_system) noexcept;

// "data.bin to socket:[4711]": for messages.
[[nodiscard]] std::string describe(const TransferEnd& source, const TransferEnd& target);

}  // namespace quire::internal
