// SPDX-License-Identifier: Apache-2.0
#include "quire/io/file.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "quire/base/page_window.h"
#include "quire/io/internal/file_state.h"
#include "quire/io/internal/piece_cursor.h"
#include "quire/io/io_queue.h"
#include "quire/sys/directory.h"
#include "quire/sys/file.h"

namespace quire {

using internal::FileCounters;
using internal::FileState;

namespace {

template <typename Byte>
ByteRange range_of(std::uint64_t offset_bytes, std::span<const std::span<Byte>> pieces) noexcept {
  return {offset_bytes, internal::total_bytes(pieces)};
}

sys::Outcome<void> sync_file(const FileState& file, Durability durability, ByteRange range) {
  switch (durability) {
    case Durability::kStarted:
      // A direct write is at the device when it returns.
      return file.is_direct() ? sys::Outcome<void>{}
                              : sys::sync_range(file.fd(), range, sys::SyncRange::kStart);
    case Durability::kData: return sys::sync_data(file.fd());
    case Durability::kAll: break;
  }
  return sys::sync_all(file.fd());
}

const char* name_of_sync(Durability durability) noexcept {
  switch (durability) {
    case Durability::kStarted: return "sync_file_range";
    case Durability::kData: return "fdatasync";
    case Durability::kAll: break;
  }
  return "fsync";
}

}  // namespace

File::File(std::unique_ptr<FileState> state) : state_(std::move(state)) {}

File::~File() {
  if (state_->file.is_open()) {
    internal::finish_reads(*state_);
  }
}

const std::string& File::name() const noexcept {
  return state_->name;
}

Result<std::uint64_t> File::size_bytes() const {
  QUIRE_TRY(state_->require_open("size", kWholeFile));
  internal::SizeGate::Together gate;
  if (state_->is_direct()) {
    gate = state_->size_gate.enter();
  }
  const sys::Outcome<std::uint64_t> size = state_->size_now();
  return size ? Result<std::uint64_t>(*size)
              : fail(state_->error(size.error(), "size", kWholeFile));
}

Result<std::uint64_t> File::read_pieces(std::uint64_t offset_bytes, MutablePieces into) {
  FileState& file = *state_;
  QUIRE_TRY(file.require_open("read", {offset_bytes, 0}));
  const std::uint64_t done =
      QUIRE_TRY(file.is_direct() ? internal::read_direct(file, offset_bytes, into)
                                 : internal::read_buffered(file, offset_bytes, into));
  FileCounters::add(file.counters.reads);
  FileCounters::add(file.counters.bytes_read, done);
  return done;
}

Result<void> File::write_pieces(std::uint64_t offset_bytes, ConstPieces from) {
  FileState& file = *state_;
  const ByteRange range = range_of(offset_bytes, from);
  QUIRE_TRY(file.require_writable("write", range));
  if (end_of(range) > kFileOffsetMax) {
    return fail(file.error({EFBIG}, "write", range));
  }
  QUIRE_TRY(file.is_direct() ? internal::write_direct(file, offset_bytes, from)
                             : internal::write_buffered(file, offset_bytes, from));
  FileCounters::add(file.counters.writes);
  FileCounters::add(file.counters.bytes_written, range.length_bytes);
  return {};
}

Result<void> File::resize(std::uint64_t size_bytes) {
  FileState& file = *state_;
  const ByteRange range{0, size_bytes};
  QUIRE_TRY(file.require_writable("resize", range));
  if (file.kind == sys::FileKind::kBlockDevice) {
    return fail(
        make_error(Errc::kUnsupported, "resize", file.name, "a device has the size it has"));
  }
  const internal::SizeGate::Alone gate = file.size_gate.enter_alone();
  // Lowered first: whoever passes below the floor meanwhile must find it true.
  const std::uint64_t floor_bytes = file.size_gate.floor_bytes();
  file.size_gate.set_floor(std::min(floor_bytes, size_bytes));
  const sys::Outcome<void> done = sys::truncate_file(file.fd(), size_bytes);
  if (!done) {
    return fail(file.error(done.error(), "resize", range));
  }
  file.size_gate.set_floor(size_bytes);
  return {};
}

Result<void> File::allocate(ByteRange range) {
  FileState& file = *state_;
  QUIRE_TRY(file.require_writable("allocate", range));
  if (range.length_bytes == kToEnd) {
    const std::uint64_t size = QUIRE_TRY(size_bytes());
    range.length_bytes = size > range.offset_bytes ? size - range.offset_bytes : 0;
  }
  const internal::SizeGate::Alone gate = file.size_gate.enter_alone();
  const sys::Outcome<void> done = sys::allocate_space(file.fd(), range, sys::Allocate::kExtendSize);
  if (!done && done.error().value == EOPNOTSUPP) {
    return fail(make_error(Errc::kUnsupported, "allocate", file.subject(range),
                           "this file system cannot reserve space", "write zeros there instead"));
  }
  if (!done) {
    return fail(file.error(done.error(), "allocate", range));
  }
  file.size_gate.raise_floor(range.length_bytes > 0 ? end_of(range) : 0);
  return {};
}

Result<void> File::punch(ByteRange range) {
  FileState& file = *state_;
  QUIRE_TRY(file.require_writable("punch", range));
  const ByteRange inside = intersect(range, {0, QUIRE_TRY(size_bytes())});
  if (inside.length_bytes == 0) {
    return {};
  }
  sys::Outcome<void> done;
  {
    // A writer who holds a block that is punched in part would write the old bytes back.
    const std::uint64_t unit = file.is_direct() ? file.direct->alignment.offset_bytes : 1;
    const internal::EdgeLock::Guard edges(
        file.edge_lock, internal::EdgeLock::edges_of(inside.offset_bytes, end_of(inside), unit));
    done = sys::punch_hole(file.fd(), inside);
  }
  if (!done && done.error().value == EOPNOTSUPP) {
    return write_zeros(inside);
  }
  return done ? Result<void>{} : fail(file.error(done.error(), "punch", range));
}

Result<void> File::write_zeros(ByteRange range) {
  // Aligned, so that direct files need no other memory for most of it.
  alignas(4096) static constexpr std::array<std::byte, 65536> kZeros{};
  std::uint64_t position = range.offset_bytes;
  while (position < end_of(range)) {
    const ByteRange step = next_step(range, position, PageSize(kZeros.size()));
    QUIRE_TRY(write(position, std::span(kZeros).first(step.length_bytes)));
    position = end_of(step);
  }
  return {};
}

Result<void> File::sync(Durability durability, ByteRange range) {
  FileState& file = *state_;
  const char* operation = name_of_sync(durability);
  QUIRE_TRY(file.require_open(operation, range));
  QUIRE_TRY(file.sticky.require_none(operation, file.subject(range)));
  // Before it: what is written meanwhile may not be on disk when it returns.
  std::vector<ByteRange> to_drop;
  if (durability != Durability::kStarted && file.write_stream.drops()) {
    to_drop = file.write_stream.take_all();
  }
  const sys::Outcome<void> synced = sync_file(file, durability, range);
  if (!synced) {
    return fail(file.sync_error(synced.error(), operation, range));
  }
  FileCounters::add(file.counters.syncs);
  for (const ByteRange written : to_drop) {
    file.drop(written);
  }
  if (durability == Durability::kAll && !file.is_name_durable.load()) {
    QUIRE_TRY(sys::sync_parent_directory(file.name));
    file.is_name_durable.store(true);
  }
  return {};
}

const KernelTarget* File::kernel_target() const noexcept {
  return state_->target ? &*state_->target : nullptr;
}

bool File::may_kernel_do(const IoRequest& request) const noexcept {
  const FileState& file = *state_;
  if (!file.file.is_open()) {
    return false;
  }
  if (request.operation == IoOperation::kRead) {
    return true;
  }
  if (file.sticky.is_set() || !file.options.writable) {
    return false;
  }
  // Written pages that are followed, and dropped after a sync.
  if (!file.write_stream.is_idle()) {
    return false;
  }
  // A sync may have a directory to sync as well.
  if (request.operation == IoOperation::kSync) {
    return request.durability == Durability::kData;
  }
  // Past the floor a write has to be kept apart from those that cut the file.
  const std::uint64_t end = end_of({request.offset_bytes, request.memory.size()});
  return !file.is_direct() || end <= file.size_gate.floor_bytes();
}

void File::on_kernel_completion(const IoRequest& request) noexcept {
  FileState& file = *state_;
  const ByteRange range{request.offset_bytes, request.memory.size()};
  // What the queue itself says (cancelled, closed) says nothing about the file.
  const bool is_of_kernel = request.error.category() == std::system_category();
  const sys::Errno cause{is_of_kernel ? request.error.value() : EINVAL};
  switch (request.operation) {
    case IoOperation::kRead:
      FileCounters::add(file.counters.reads);
      FileCounters::add(file.counters.bytes_read, request.done_bytes);
      if (file.drop_method == internal::DropMethod::kFlag) {
        FileCounters::add(file.counters.dropped_bytes, request.done_bytes);
      }
      return;
    case IoOperation::kWrite:
      if (request.error) {
        file.write_error(cause, range);
        return;
      }
      FileCounters::add(file.counters.writes);
      FileCounters::add(file.counters.bytes_written, request.done_bytes);
      return;
    case IoOperation::kSync:
      if (request.error) {
        file.sync_error(cause, name_of_sync(request.durability), kWholeFile);
        return;
      }
      FileCounters::add(file.counters.syncs);
      return;
    case IoOperation::kAwaitReadable:
    case IoOperation::kCall: return;  // Never a file's.
  }
}

Result<std::optional<std::uint64_t>> File::try_read(std::uint64_t offset_bytes,
                                                    std::span<std::byte> into) {
  FileState& file = *state_;
  const ByteRange range{offset_bytes, into.size()};
  QUIRE_TRY(file.require_open("try_read", range));
  if (file.is_direct()) {
    return fail(make_error(Errc::kUnsupported, "try_read", file.subject(range),
                           "a direct file has nothing in memory", "read() it"));
  }
  FileCounters::add(file.counters.system_calls);
  const sys::Outcome<std::uint64_t> moved =
      sys::read_vector_some_at(file.fd(), {&into, 1}, offset_bytes, {.no_wait = true});
  if (!moved && moved.error().value == EOPNOTSUPP) {
    return fail(make_error(Errc::kUnsupported, "try_read", file.subject(range),
                           "this file system cannot tell what would wait (RWF_NOWAIT)",
                           "read() it: on tmpfs all of it is in memory"));
  }
  if (!moved && moved.error().value != EAGAIN) {
    return fail(file.error(moved.error(), "try_read", range));
  }
  // Fewer bytes: the rest is not in memory, or there is no rest.
  const bool is_hit = moved && (*moved == into.size() ||
                                file.size_now().value_or(kFileOffsetMax) <= offset_bytes + *moved);
  FileCounters::add(is_hit ? file.counters.try_read_hits : file.counters.try_read_misses);
  return is_hit ? std::optional(*moved) : std::nullopt;
}

Result<void> File::prefetch(ByteRange range) {
  FileState& file = *state_;
  QUIRE_TRY(file.require_open("prefetch", range));
  if (file.is_direct()) {
    return fail(make_error(Errc::kUnsupported, "prefetch", file.subject(range),
                           "direct reads do not look into the page cache",
                           "read it into memory of your own, at some depth"));
  }
  const ByteRange inside = intersect(range, {0, QUIRE_TRY(size_bytes())});
  const sys::Outcome<void> asked = file.read_ahead(inside);
  return asked ? Result<void>{} : fail(file.error(asked.error(), "prefetch", range));
}

Result<Directness> File::verify_direct() {
  QUIRE_TRY(state_->require_open("verify_direct", kWholeFile));
  return internal::verify_direct(*state_);
}

std::optional<Error> File::sticky_error() const {
  return state_->sticky.get();
}

const FileOptions& File::options() const noexcept {
  return state_->options;
}

bool File::is_direct() const noexcept {
  return state_->is_direct();
}

FileStats File::stats() const noexcept {
  return state_->counters.load();
}

std::string File::explain() const {
  return internal::explain(*state_);
}

int File::fd() const noexcept {
  return state_->fd();
}

Result<void> File::close() {
  FileState& file = *state_;
  QUIRE_TRY(file.require_open("close", kWholeFile));
  internal::finish_reads(file);
  // Its error sticks, and is given below.
  static_cast<void>(internal::finish_writes(file));
  const sys::Outcome<void> closed = file.file.close();
  if (const std::optional<Error> error = file.sticky.get()) {
    return fail(*error);
  }
  return closed ? Result<void>{} : fail(file.error(closed.error(), "close", kWholeFile));
}

}  // namespace quire
