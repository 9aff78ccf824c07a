// SPDX-License-Identifier: Apache-2.0
//
// Buffered files: pread and pwrite, and what is done about the page cache before and after.
#include <algorithm>

#include "quire/base/page_window.h"
#include "quire/io/internal/file_state.h"
#include "quire/io/internal/piece_cursor.h"
#include "quire/sys/file.h"
#include "quire/sys/file_system.h"
#include "quire/sys/memory.h"

namespace quire::internal {
namespace {

// readahead(2) cuts what exceeds the device's limit, in silence. Hardly any is set below this.
constexpr PageSize kReadAheadStep{128_KiB};
constexpr std::uint64_t kReadAheadBytesDefault = 128_KiB;  // The kernel's own.

// Read ahead are at most two windows: the one at hand and the next.
constexpr std::uint64_t kWindowsAhead = 2;

void prepare_read(FileState& file, ByteRange read) {
  const ReadStream::Before before = file.read_stream.before(read);
  file.leave_run(before);
  if (before.ahead.length_bytes == 0) {
    return;
  }
  // Past the end there is nothing to ask for; a file that cannot tell is asked for all of it.
  const std::uint64_t size_bytes = file.size_now().value_or(kFileOffsetMax);
  const ByteRange ahead = intersect(before.ahead, {0, size_bytes});
  // What is refused is read when it is read.
  static_cast<void>(file.read_ahead(ahead));
}

Result<void> follow_write(FileState& file, ByteRange written) {
  const WriteStream::Steps steps = file.write_stream.after(written);
  QUIRE_TRY(file.start_write_back(steps.jumped_from));
  QUIRE_TRY(file.start_write_back(steps.start));
  for (const ByteRange range : steps.finish) {
    QUIRE_TRY(file.finish_write_back(range));
  }
  return {};
}

}  // namespace

Result<std::uint64_t> read_buffered(FileState& file, std::uint64_t offset_bytes,
                                    MutablePieces into) {
  PieceCursor<std::byte> cursor(into, kFileOffsetMax - std::min(offset_bytes, kFileOffsetMax));
  const ByteRange range{offset_bytes, cursor.left_bytes()};
  const bool is_followed = !file.read_stream.is_idle() && range.length_bytes > 0;
  if (is_followed) {
    prepare_read(file, range);
  }
  PieceCursor<std::byte>::Batch batch;
  std::uint64_t done = 0;
  bool was_short = false;
  while (cursor.left_bytes() > 0) {
    const sys::ReadPieces pieces = cursor.fill(batch, cursor.left_bytes());
    const sys::Outcome<std::uint64_t> moved = file.read_once(pieces, offset_bytes + done);
    if (!moved) {
      return fail(file.error(moved.error(), "read", range));
    }
    if (*moved == 0) {
      break;
    }
    FileCounters::add(file.counters.resumed_transfers, was_short ? 1 : 0);
    was_short = *moved < total_bytes(pieces);
    cursor.advance(*moved);
    done += *moved;
  }
  if (file.drop_method == DropMethod::kFlag) {
    FileCounters::add(file.counters.dropped_bytes, done);
  }
  if (is_followed) {
    file.drop(file.read_stream.after());
  }
  return done;
}

Result<void> write_buffered(FileState& file, std::uint64_t offset_bytes, ConstPieces from) {
  PieceCursor<const std::byte> cursor(from, kToEnd);
  const ByteRange range{offset_bytes, cursor.left_bytes()};
  PieceCursor<const std::byte>::Batch batch;
  std::uint64_t done = 0;
  bool was_short = false;
  while (cursor.left_bytes() > 0) {
    FileCounters::add(file.counters.resumed_transfers, was_short ? 1 : 0);
    const sys::WritePieces pieces = cursor.fill(batch, cursor.left_bytes());
    const sys::Outcome<std::uint64_t> moved = file.write_once(pieces, offset_bytes + done);
    if (!moved) {
      return fail(file.write_error(moved.error(), range));
    }
    was_short = *moved < total_bytes(pieces);
    cursor.advance(*moved);
    done += *moved;
  }
  if (file.write_stream.is_idle() || range.length_bytes == 0) {
    return {};
  }
  return follow_write(file, range);
}

void FileState::drop(ByteRange range) {
  if (range.length_bytes == 0) {
    return;
  }
  const PageSize page = sys::os_page_size();
  const std::uint64_t begin = round_down(range.offset_bytes, page);
  const ByteRange pages{begin, round_up(end_of(range), page) - begin};
  if (sys::advise_file(fd(), pages, sys::FileAdvice::kDontNeed)) {
    FileCounters::add(counters.dropped_bytes, range.length_bytes);
  }
}

void FileState::await_read_ahead(ByteRange range) {
  std::byte last{};
  for (std::uint64_t position = range.offset_bytes; position < end_of(range);) {
    const ByteRange step = next_step(range, position, kReadAheadStep);
    // The kernel answers when the page is there; past the end of the file nothing is.
    static_cast<void>(sys::read_at(fd(), {&last, 1}, end_of(step) - 1));
    position = end_of(step);
  }
}

sys::Outcome<void> FileState::read_ahead(ByteRange range) {
  std::uint64_t position = range.offset_bytes;
  while (position < end_of(range)) {
    const ByteRange step = next_step(range, position, kReadAheadStep);
    QUIRE_TRY(sys::read_ahead(fd(), step));
    FileCounters::add(counters.read_ahead_bytes, step.length_bytes);
    position = end_of(step);
  }
  return {};
}

std::uint64_t FileState::kernel_read_ahead_bytes() {
  std::uint64_t known = kernel_read_ahead_bytes_.load();
  if (known == 0) {
    const Result<sys::FileSystem> found = sys::file_system_of(fd());
    known = found && found->device
                ? found->device->read_ahead_bytes.value_or(kReadAheadBytesDefault)
                : kReadAheadBytesDefault;
    known = std::max(known, kReadAheadBytesDefault);
    kernel_read_ahead_bytes_.store(known);
  }
  return options.read_ahead == ReadAhead::kSequential ? 2 * known : known;
}

void FileState::leave_run(const ReadStream::Before& left) {
  const std::uint64_t drop_end_bytes = end_of(left.drop);
  if (drop_end_bytes > left.run_end_bytes) {
    await_read_ahead({left.run_end_bytes, drop_end_bytes - left.run_end_bytes});
  }
  drop(left.drop);
  if (!left.drop_ahead || options.read_ahead == ReadAhead::kNone) {
    return;
  }
  const std::uint64_t size_bytes = size_now().value_or(0);
  if (left.run_end_bytes < size_bytes) {  // At the end there is nothing ahead.
    drop(intersect({left.run_end_bytes, kWindowsAhead * kernel_read_ahead_bytes()},
                   {0, size_bytes}));
  }
}

Result<void> FileState::start_write_back(ByteRange range) {
  if (range.length_bytes == 0) {
    return {};
  }
  const sys::Outcome<void> started = sys::sync_range(fd(), range, sys::SyncRange::kStart);
  if (started) {
    FileCounters::add(counters.write_behind_bytes, range.length_bytes);
    return {};
  }
  const Error failed = sync_error(started.error(), "write_back", range);
  return sticky.is_set() ? fail(failed) : Result<void>{};  // Where it is refused, sync() does it.
}

Result<void> FileState::finish_write_back(ByteRange range) {
  const sys::Outcome<void> awaited = sys::sync_range(fd(), range, sys::SyncRange::kStartAndWait);
  if (!awaited) {
    const Error failed = sync_error(awaited.error(), "write_back", range);
    if (sticky.is_set()) {
      return fail(failed);
    }
  }
  if (write_stream.drops()) {
    drop(range);
  }
  return {};
}

Result<void> finish_writes(FileState& file) {
  if (file.write_stream.drops()) {
    for (const ByteRange range : file.write_stream.take_all()) {
      QUIRE_TRY(file.finish_write_back(range));
    }
  }
  return {};
}

void finish_reads(FileState& file) {
  if (!file.read_stream.is_idle()) {
    file.leave_run(file.read_stream.finish());
  }
}

}  // namespace quire::internal
