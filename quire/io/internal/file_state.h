// SPDX-License-Identifier: Apache-2.0
//
// FileState: what is inside a File, and the two ways, buffered and direct, to move bytes with it.
//
//   File ----> read_buffered, write_buffered ---> FileState::read_once, write_once --> sys
//         '--> read_direct, write_direct -----'     flags, counters
//
// Invariants:    what open_file() found (kind, alignment, reasons) never changes afterwards.
// Thread-safety: any thread, except close().
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "quire/base/mutex.h"
#include "quire/base/result.h"
#include "quire/io/buffer_pool.h"
#include "quire/io/file.h"
#include "quire/io/file_options.h"
#include "quire/io/internal/edge_lock.h"
#include "quire/io/internal/read_stream.h"
#include "quire/io/internal/size_gate.h"
#include "quire/io/internal/sticky_error.h"
#include "quire/io/internal/write_stream.h"
#include "quire/io/store.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/direct_io.h"
#include "quire/sys/outcome.h"
#include "quire/sys/vector_io.h"

namespace quire::internal {

// FileStats, while it is being counted.
struct FileCounters {
  using Counter = std::atomic<std::uint64_t>;
  Counter reads{0}, writes{0}, bytes_read{0}, bytes_written{0};
  Counter system_calls{0}, bounced_bytes{0}, edge_reads{0}, resumed_transfers{0};
  Counter read_ahead_bytes{0}, dropped_bytes{0}, write_behind_bytes{0};
  Counter try_read_hits{0}, try_read_misses{0}, syncs{0}, drop_fallbacks{0};

  // Counts are only added up: no order with anything else is needed.
  static void add(Counter& counter, std::uint64_t count = 1) noexcept {
    counter.fetch_add(count, std::memory_order_relaxed);
  }
  [[nodiscard]] FileStats load() const noexcept;
};

// How pages are dropped behind, with CacheUse::kDropBehind. Written ones always go by advice: the
// flag costs small writes half of their speed, since each starts a write-back of its own, and
// (6.18, ext4) leaves pages whose blocks were there before in the cache.
enum class DropMethod : std::uint8_t {
  kNone,    // They are not.
  kFlag,    // Read ones: RWF_DONTCACHE with every read.
  kAdvice,  // Read ones, too: advice behind a moving window.
};

class FileState {
 public:
  std::string name;  // The path it was opened by.
  FileOptions options;
  sys::Descriptor file;
  sys::FileKind kind = sys::FileKind::kRegular;
  std::atomic<bool> is_name_durable{true};  // False: this File made the file.
  std::string advice_reason;    // Why drop-behind is by advice: "RWF_DONTCACHE: EOPNOTSUPP".
  std::string fallback_reason;  // Why kBypass became kDropBehind.
  std::optional<sys::DirectSupport> direct;  // Set: direct.
  DropMethod drop_method = DropMethod::kNone;
  std::optional<KernelTarget> target;

  FileCounters counters;
  StickyError sticky;
  ReadStream read_stream;
  WriteStream write_stream;
  SizeGate size_gate;  // Direct files only.
  EdgeLock edge_lock;  // Direct files only.

  [[nodiscard]] bool is_direct() const noexcept { return direct.has_value(); }
  [[nodiscard]] int fd() const noexcept { return file.get(); }
  [[nodiscard]] sys::TransferFlags read_flags() const noexcept;
  [[nodiscard]] sys::TransferFlags write_flags() const noexcept;

  // --- Errors -----------------------------------------------------------------------------------

  // "name, offset 8192, 4096 bytes"
  [[nodiscard]] std::string subject(ByteRange range) const;
  [[nodiscard]] Error error(sys::Errno cause, const char* operation, ByteRange range) const;
  // The same, and it sticks, when the cause means that written bytes are lost.
  Error write_error(sys::Errno cause, ByteRange range);
  Error sync_error(sys::Errno cause, const char* operation, ByteRange range);

  // Errors: kClosed.
  [[nodiscard]] Result<void> require_open(const char* operation, ByteRange range) const;
  // Errors: kClosed, kReadOnly, kFailed.
  [[nodiscard]] Result<void> require_writable(const char* operation, ByteRange range) const;

  // --- One system call each ---------------------------------------------------------------------

  sys::Outcome<std::uint64_t> read_once(sys::ReadPieces into, std::uint64_t offset_bytes);
  sys::Outcome<std::uint64_t> write_once(sys::WritePieces from, std::uint64_t offset_bytes);
  // The size now. For a direct file: not while somebody cuts it, so call it holding the gate.
  [[nodiscard]] sys::Outcome<std::uint64_t> size_now() const;

  // Aligned buffers for what cannot go straight; made when first needed. Errors: of the pool.
  Result<BufferPool*> bounce_pool();
  // The size of one of them.
  [[nodiscard]] std::uint64_t bounce_bytes() const noexcept;

  // --- The page cache (file_buffered.cc) --------------------------------------------------------

  // Hands a range to the kernel to be dropped, with all pages it touches. Advice: never fails.
  void drop(ByteRange range);
  // Asks for a range, in steps that no device's read-ahead limit cuts. Errors: of the first step
  // that was refused.
  sys::Outcome<void> read_ahead(ByteRange range);
  // Blocks until what was asked for ahead is there: what is on its way cannot be dropped.
  void await_read_ahead(ByteRange range);
  // What a reader that went elsewhere left.
  void leave_run(const ReadStream::Before& left);
  // Errors of a write-back: they stick.
  Result<void> start_write_back(ByteRange range);
  Result<void> finish_write_back(ByteRange range);

 private:
  // How far the kernel reads ahead of a scan, at most.
  [[nodiscard]] std::uint64_t kernel_read_ahead_bytes();

  std::atomic<std::uint64_t> kernel_read_ahead_bytes_{0};  // 0: not asked yet.
  Mutex pool_mutex_;
  std::unique_ptr<BufferPool> pool_ QUIRE_GUARDED_BY(pool_mutex_);
};

// The bodies of File's functions of those names, for a file that is open.
Result<std::uint64_t> read_buffered(FileState& file, std::uint64_t offset_bytes,
                                    MutablePieces into);
Result<void> write_buffered(FileState& file, std::uint64_t offset_bytes, ConstPieces from);
Result<std::uint64_t> read_direct(FileState& file, std::uint64_t offset_bytes, MutablePieces into);
Result<void> write_direct(FileState& file, std::uint64_t offset_bytes, ConstPieces from);
Result<Directness> verify_direct(FileState& file);
std::string explain(const FileState& file);

// The end: waits for pages that are to be dropped, and drops what both leave behind.
Result<void> finish_writes(FileState& file);
void finish_reads(FileState& file);

}  // namespace quire::internal
