// SPDX-License-Identifier: Apache-2.0
#include "quire/io/internal/file_state.h"

#include <algorithm>
#include <cerrno>

namespace quire::internal {
namespace {

// One huge page for a file that needs it at all; 256 KiB are enough to keep a device busy, and
// eight threads can be at it.
constexpr std::uint64_t kBounceBytes = 256 * 1024;
constexpr std::uint32_t kBounceCount = 8;

// The kernel said no before it tried: nothing is lost.
bool is_refusal(int value) noexcept {
  return value == EINVAL || value == EROFS || value == EBADF || value == EOPNOTSUPP ||
         value == ENOSYS;
}

}  // namespace

FileStats FileCounters::load() const noexcept {
  return {.reads = reads.load(),
          .writes = writes.load(),
          .bytes_read = bytes_read.load(),
          .bytes_written = bytes_written.load(),
          .system_calls = system_calls.load(),
          .bounced_bytes = bounced_bytes.load(),
          .edge_reads = edge_reads.load(),
          .resumed_transfers = resumed_transfers.load(),
          .read_ahead_bytes = read_ahead_bytes.load(),
          .dropped_bytes = dropped_bytes.load(),
          .write_behind_bytes = write_behind_bytes.load(),
          .try_read_hits = try_read_hits.load(),
          .try_read_misses = try_read_misses.load(),
          .syncs = syncs.load(),
          .drop_fallbacks = drop_fallbacks.load()};
}

std::string FileState::subject(ByteRange range) const {
  return range == kWholeFile ? name : name + ", " + describe(range);
}

Error FileState::error(sys::Errno cause, const char* operation, ByteRange range) const {
  return sys::to_error(cause, operation, subject(range));
}

Error FileState::write_error(sys::Errno cause, ByteRange range) {
  Error failed = error(cause, "write", range);
  if (cause.value == EIO) {
    sticky.set(failed);
  }
  return failed;
}

Error FileState::sync_error(sys::Errno cause, const char* operation, ByteRange range) {
  Error failed = error(cause, operation, range);
  if (!is_refusal(cause.value)) {
    sticky.set(failed);
  }
  return failed;
}

Result<void> FileState::require_open(const char* operation, ByteRange range) const {
  if (!file.is_open()) {
    return fail(make_error(Errc::kClosed, operation, subject(range)));
  }
  return {};
}

Result<void> FileState::require_writable(const char* operation, ByteRange range) const {
  QUIRE_TRY(require_open(operation, range));
  if (!options.writable) {
    return fail(make_error(Errc::kReadOnly, operation, subject(range),
                           "the file was opened for reading only",
                           "open it with .writable = true"));
  }
  return sticky.is_set() ? sticky.require_none(operation, subject(range)) : Result<void>{};
}

sys::TransferFlags FileState::read_flags() const noexcept {
  return {.drop_behind = drop_method == DropMethod::kFlag};
}

sys::TransferFlags FileState::write_flags() const noexcept {
  return {.sync_data = options.write_through == WriteThrough::kEachWrite};
}

sys::Outcome<std::uint64_t> FileState::read_once(sys::ReadPieces into, std::uint64_t offset_bytes) {
  FileCounters::add(counters.system_calls);
  return sys::read_vector_some_at(fd(), into, offset_bytes, read_flags());
}

sys::Outcome<std::uint64_t> FileState::write_once(sys::WritePieces from,
                                                  std::uint64_t offset_bytes) {
  FileCounters::add(counters.system_calls);
  const sys::Outcome<std::uint64_t> moved =
      sys::write_vector_some_at(fd(), from, offset_bytes, write_flags());
  if (moved && *moved == 0) {
    return sys::refuse(EIO);  // A write that moves nothing and says nothing would loop for ever.
  }
  return moved;
}

sys::Outcome<std::uint64_t> FileState::size_now() const {
  if (kind == sys::FileKind::kBlockDevice) {
    return sys::block_device_bytes(fd());
  }
  return QUIRE_TRY(sys::file_status(fd())).size_bytes;
}

std::uint64_t FileState::bounce_bytes() const noexcept {
  // A write of a few bytes may touch two blocks.
  const sys::DirectAlignment& alignment = direct->alignment;
  const std::uint64_t block_bytes = std::max(alignment.offset_bytes, alignment.memory_bytes);
  return std::max(kBounceBytes, 2 * block_bytes);
}

Result<BufferPool*> FileState::bounce_pool() {
  const MutexLock lock(pool_mutex_);
  if (pool_ == nullptr) {
    pool_ =
        QUIRE_TRY(BufferPool::make({.buffer_bytes = bounce_bytes(), .buffer_count = kBounceCount}));
  }
  return pool_.get();
}

}  // namespace quire::internal
