// SPDX-License-Identifier: Apache-2.0
//
// File: a Store on a file of the operating system: buffered or direct, by one policy object.
//
//   auto file = QUIRE_TRY(quire::open_file("table.db", {.cache = CacheUse::kBypass}));
//   QUIRE_TRY(file->read(12345, buffer));             // any offset, any length, any memory
//   file->explain();  // "table.db: direct: O_DIRECT, in units of 512 bytes, memory at ..."
//
//   caller's range      ......|--head--|=========== whole blocks ===========|--tail--|......
//   buffered            pread / pwrite, with the flags the policy asks for
//   direct, aligned     straight into the caller's memory
//   direct, otherwise   through an aligned buffer; a write reads the blocks at its edges first, and
//                       holds them (edge_lock) so that a neighbour's bytes are not lost
//   direct, past end    a padded block, then ftruncate to the exact size, holding the size
//
// Alignment is asked of statx (STATX_DIOALIGN, STATX_DIO_READ_ALIGN), else of the device, and
// confirmed by a read. Never mix a direct File with buffered or mapped access to the same bytes
// while either is under way: coherence is best effort in the kernel. Edges and end are known to one
// File: nobody else, and no second File, may write blocks at the edges of its writes, or cut it.
//
// The end of a direct file: the padding past it lasts from the write to the ftruncate. This File
// hides it from its own callers; other readers see it, and after a crash in between the file is
// longer than it should be by less than a block of zeros. When the ftruncate fails, so does the
// write.
//
// Truncated under way by somebody else: a read gives what there is, which is fewer bytes.
// Overlapping writes: in a block that both touch, bytes that only one of them wrote may be older.
//
// Errors that stick: a failed sync or write-back (EIO, ENOSPC, EDQUOT, ...) and a write that fails
// with EIO. Nothing is tried again: the kernel marks pages that it could not write as clean, and
// the next fsync would call them durable. A write that finds the disk full fails alone.
//
// Invariants:    direct transfers are multiples of the alignment, from aligned memory, always;
//                an error that sticks is set once, and never cleared.
// Thread-safety: as Store's. ReadAhead::kWindow, drop-behind and write-behind follow one reader and
//                one writer at a time; several count as one that jumps.
// Blocks:        everything that moves bytes.
// Cost:          one system call per read or write that fits; aligned direct ones, and buffered
//                ones that keep their pages, allocate nothing. A direct file takes 2 MiB of memory
//                for its aligned buffers when it first needs one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "quire/base/path_argument.h"
#include "quire/base/result.h"
#include "quire/io/file_options.h"
#include "quire/io/store.h"

namespace quire {

namespace internal {
class FileState;
}

// Asked for, and what was observed to happen. Since opening.
struct FileStats {
  std::uint64_t reads = 0;  // Requests of callers.
  std::uint64_t writes = 0;
  std::uint64_t bytes_read = 0;
  std::uint64_t bytes_written = 0;
  std::uint64_t system_calls = 0;        // Made for them; those of an IoQueue are its own.
  std::uint64_t bounced_bytes = 0;       // Copied through an aligned buffer.
  std::uint64_t edge_reads = 0;          // Blocks read because a write covers part of them.
  std::uint64_t resumed_transfers = 0;   // Short ones that were gone on with.
  std::uint64_t read_ahead_bytes = 0;    // Asked for by kWindow and prefetch().
  std::uint64_t dropped_bytes = 0;       // Handed to the kernel to be dropped.
  std::uint64_t write_behind_bytes = 0;  // Whose write-back was started.
  std::uint64_t try_read_hits = 0;       // try_read(): found in memory ...
  std::uint64_t try_read_misses = 0;     // ... and not.
  std::uint64_t syncs = 0;
  std::uint64_t drop_fallbacks = 0;  // RWF_DONTCACHE refused: advice was used.
};

// Whether direct transfers go past the page cache, seen by reading: btrfs and others buffer some in
// silence.
enum class Directness : std::uint8_t {
  kVerified,          // The page cache did not grow.
  kSilentlyBuffered,  // It did.
  kUnknown,           // The kernel does not tell (cachestat), or the file is not direct.
};

class File final : public Store {
 public:
  ~File() override;  // Closes; does not sync. close() reports what this would swallow.

  [[nodiscard]] const std::string& name() const noexcept override;
  [[nodiscard]] Result<std::uint64_t> size_bytes() const override;
  Result<std::uint64_t> read_pieces(std::uint64_t offset_bytes, MutablePieces into) override;
  Result<void> write_pieces(std::uint64_t offset_bytes, ConstPieces from) override;
  Result<void> resize(std::uint64_t size_bytes) override;
  Result<void> allocate(ByteRange range) override;
  Result<void> punch(ByteRange range) override;
  Result<void> sync(Durability durability, ByteRange range = kWholeFile) override;
  [[nodiscard]] const KernelTarget* kernel_target() const noexcept override;
  [[nodiscard]] bool may_kernel_do(const IoRequest& request) const noexcept override;
  void on_kernel_completion(const IoRequest& request) noexcept override;

  // Reads only what needs no device: all of `into` (or up to the end), or nothing.
  // std::nullopt: not in memory; nothing is promised about `into` then, and the kernel may have
  // started to read it. Errors: kUnsupported for direct files, and where the kernel cannot tell
  // (tmpfs: everything there is in memory). Never waits for the device. Kernel: 4.14.
  Result<std::optional<std::uint64_t>> try_read(std::uint64_t offset_bytes,
                                                std::span<std::byte> into);

  // Asks the kernel to read a range into the page cache, in the background. kUnsupported: direct.
  Result<void> prefetch(ByteRange range);

  // Reads a block that is not in the page cache, and looks whether it is afterwards. A place to try
  // it at is looked for at 16 offsets. Two reads of the device, of a page each.
  [[nodiscard]] Result<Directness> verify_direct();

  // The first error that sticks; nothing while all is well.
  [[nodiscard]] std::optional<Error> sticky_error() const;
  [[nodiscard]] const FileOptions& options() const noexcept;
  [[nodiscard]] bool is_direct() const noexcept;
  [[nodiscard]] FileStats stats() const noexcept;
  // What was chosen, why, and what was not to be had: one line.
  [[nodiscard]] std::string explain() const;
  [[nodiscard]] int fd() const noexcept;

  // Ends the file; the error of the kernel's close, or the one that sticks. A second call, and
  // every other function after it, gives kClosed. REQUIRES: nothing is under way.
  Result<void> close();

 private:
  friend Result<std::unique_ptr<File>> open_file(PathArgument path, const FileOptions& options);
  explicit File(std::unique_ptr<internal::FileState> state);
  Result<void> write_zeros(ByteRange range);

  std::unique_ptr<internal::FileState> state_;
};

// Opens a regular file or a block device.
// Errors: those of open(2); EINVAL for options that contradict each other; kWrongKind for
//         directories, pipes, sockets; kUnsupported when kBypass is refused and Fallback::kRefused
//         was asked for; EBUSY for writing to a file whose last commits may be in its journal, and
//         not in it (BehindJournal). Who only reads such a file is told by explain().
// Blocks: when direct, for one small read.
[[nodiscard]] Result<std::unique_ptr<File>> open_file(PathArgument path,
                                                      const FileOptions& options = {});

}  // namespace quire
