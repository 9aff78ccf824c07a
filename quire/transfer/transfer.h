// SPDX-License-Identifier: Apache-2.0
//
// transfer: moves bytes from one descriptor to another by the cheapest way that this pair allows,
// and says which it was, why, and what it cost.
//
//   const TransferReport sent = QUIRE_TRY(transfer({.fd = file}, {.fd = socket}));
//   // 2 GiB by sendfile in 2,048 system calls, no byte copied: "a file's pages to a TCP socket"
//
//   method            from    to             copies by the processor, per byte moved
//   kReadWrite        any     any            2
//   kDirect           file    any            1  (read past the page cache into huge pages)
//   kMapWrite         file    any            1  (the mapping is the page cache)
//   kSendFile         file    any            0 to sockets and pipes, 1 to a file
//   kSplice           any     any            0 to sockets and pipes, 1 to a file
//   kCopyFileRange    file    file           1, or 0 where blocks can be shared: the kernel decides
//   kReflink          file    file           0, and no disk traffic: both files share the blocks
//   kZeroCopySend     file    TCP socket     0, or 1 when the kernel had to: it says so per call
//   kRingSend         file    TCP socket     the same through io_uring
//
// kAutomatic starts with the best for the pair and goes on with the next one, from the byte where
// it stopped, when the kernel refuses (EINVAL, EXDEV, ENOSYS, EOPNOTSUPP ...): each such step is in
// TransferReport::fallbacks. A method asked for by name is used or refused, never replaced.
//
// Which bytes: a file with a size ends where it ended at the start, even if it grows meanwhile. A
// source that turns out shorter is an error with the position (kTruncated), never a retry for ever:
// a 0 from the kernel is believed only after a 1-byte read says the same. A file without a size
// (/proc, /sys) and a stream are read until they end. The bytes are those that the source has while
// they travel: sendfile, splice and zero copy share its pages with the network, for as long as that
// takes; SourceStability::kMayChange keeps to methods that copy, so that a byte once handed over
// stays what it was.
//
// Holes of a sparse file are not read, and become holes of the target: where that had bytes they
// are punched, or zeros are written where the file system cannot.
//
// Waiting: a descriptor with O_NONBLOCK is waited for with poll, which `stop_fd` and
// `stall_timeout_ms` can end; a blocking one blocks in the call itself.
//
// Invariants:    memory is bounded by a few buffers (kTransferBufferBytesMax), whatever the size.
//                The source's file position does not move. No signal: a peer that has gone is
//                EPIPE.
// Thread-safety: any thread; one transfer at a time per target.
// Blocks:        yes.
// Errors:        kTruncated; kCancelled; kUnsupported for a method that this pair does not allow;
//                kOutOfRange for a range past the end; EINVAL for a source and target that overlap;
//                ETIMEDOUT for a stall; the errno of the call that failed. The message holds the
//                position; `so_far`, when given, the numbers.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "quire/base/result.h"
#include "quire/base/units.h"

namespace quire {

enum class TransferMethod : std::uint8_t {
  kAutomatic,
  kReadWrite,
  kDirect,
  kMapWrite,
  kSendFile,
  kSplice,
  kCopyFileRange,
  kReflink,
  kZeroCopySend,
  kRingSend,
};
inline constexpr std::size_t kTransferMethodCount = 10;

// "automatic", "read_write", "direct", "mmap_write", "sendfile", "splice", "copy_file_range",
// "reflink", "msg_zerocopy", "send_zc": stable, for options, messages and JSON.
[[nodiscard]] const char* name_of(TransferMethod method) noexcept;
// The method of that name.
[[nodiscard]] std::optional<TransferMethod> transfer_method_of(std::string_view name) noexcept;

struct TransferSource {
  int fd = -1;
  // Of a file. Of a stream (pipe, socket, terminal) the offset is 0, and the length is how many
  // bytes to take; kToEnd: until it ends.
  ByteRange range = kWholeFile;
};

struct TransferTarget {
  int fd = -1;
  // In a file. Nothing: where the descriptor stands, which moves on; its end with O_APPEND; the
  // only choice for streams.
  std::optional<std::uint64_t> offset_bytes = std::nullopt;
};

enum class SourceStability : std::uint8_t { kStable, kMayChange };
enum class Holes : std::uint8_t { kKeep, kFill };
// What becomes of the source's pages that were not in memory before we read them: with kDropBehind
// they are given back in windows of 8 MiB; where the kernel does not tell what was there (to who
// neither owns nor may write the file), and of shorter files, they stay.
enum class SourceCache : std::uint8_t { kKeep, kDropBehind };

struct TransferProgress {
  std::uint64_t done_bytes = 0;                             // Holes included.
  std::optional<std::uint64_t> total_bytes = std::nullopt;  // Unknown for what has no size.
};

// A method that was given up, and where.
struct TransferFallback {
  TransferMethod method = TransferMethod::kAutomatic;
  std::uint64_t at_bytes = 0;  // Moved until then.
  std::string cause = {};      // "copy_file_range: EXDEV: ..."
};

struct TransferReport {
  std::uint64_t bytes = 0;       // From the source's row of bytes to the target's, holes included.
  std::uint64_t hole_bytes = 0;  // Of them, not moved but left out.
  TransferMethod method = TransferMethod::kAutomatic;  // That moved the last of them.
  std::uint64_t system_calls = 0;  // All that this transfer made, waiting and advice included.
  // Bytes that this side's processor copied, the kernel's work for us included; nothing where the
  // kernel does not tell. What the receiver's side copies is not ours.
  std::optional<std::uint64_t> bytes_copied_by_cpu = std::nullopt;
  std::string reason = {};  // Why this method.
  std::vector<TransferFallback> fallbacks = {};
};

struct TransferOptions {
  TransferMethod method = TransferMethod::kAutomatic;
  SourceStability stability = SourceStability::kStable;
  Holes holes = Holes::kKeep;
  SourceCache source_cache = SourceCache::kKeep;
  // Called after each step, in this thread.
  std::function<void(const TransferProgress&)> on_progress = {};
  std::stop_token stop = {};  // Looked at between two steps.
  int stop_fd = -1;           // Readable: stop. Watched between steps and while waiting.
  int stall_timeout_ms = -1;  // The longest wait for a non-blocking descriptor; -1: for ever.
  // Kept up to date, and valid after an error too: how far it came.
  TransferReport* so_far = nullptr;
};

// Buffers, mapped windows and pipes of one transfer stay below this together.
inline constexpr std::uint64_t kTransferBufferBytesMax = 32_MiB;
// The most that one step moves: between two steps lie progress and the look at `stop`.
inline constexpr std::uint64_t kTransferStepBytes = 8_MiB;

[[nodiscard]] Result<TransferReport> transfer(const TransferSource& source,
                                              const TransferTarget& target,
                                              const TransferOptions& options = {});

}  // namespace quire
