// SPDX-License-Identifier: Apache-2.0
//
// Direct writes. Blocks that are written in part are read first and held meanwhile; a block past
// the end is padded with zeros, and the file then cut to its size: see internal/size_gate.h.
#include <algorithm>
#include <cerrno>

#include "quire/base/page_window.h"
#include "quire/io/internal/direct_blocks.h"
#include "quire/io/internal/direct_stretch.h"
#include "quire/io/internal/file_state.h"
#include "quire/io/internal/piece_cursor.h"
#include "quire/sys/file.h"

namespace quire::internal {
namespace {

class DirectWriter {
 public:
  DirectWriter(FileState& file, std::uint64_t offset_bytes, ConstPieces from)
      : file_(file),
        unit_(file.direct->alignment.offset_bytes),
        rules_{.offset_unit = unit_,
               .memory_unit = PageSize(file.direct->alignment.memory_bytes),
               .bounce_bytes = file.bounce_bytes()},
        cursor_(from, kToEnd),
        range_{offset_bytes, cursor_.left_bytes()},
        position_(offset_bytes) {}

  Result<void> run() {
    while (cursor_.left_bytes() > 0) {
      const Stretch stretch = next_stretch(cursor_, position_, rules_);
      QUIRE_TRY(stretch.is_straight ? write_straight(stretch.length_bytes)
                                    : write_bounced(stretch.length_bytes));
    }
    return {};
  }

 private:
  // A transfer that ends inside a block leaves the rest to the next stretch, which is bounced.
  Result<void> write_straight(std::uint64_t length_bytes) {
    const SizeGate::Together gate = file_.size_gate.enter_if_past(position_ + length_bytes);
    PieceCursor<const std::byte>::Batch batch;
    while (length_bytes > 0) {
      const ConstPieces pieces = cursor_.fill(batch, length_bytes);
      const sys::Outcome<std::uint64_t> moved = file_.write_once(pieces, position_);
      if (!moved) {
        return fail(file_.write_error(moved.error(), range_));
      }
      if (*moved < total_bytes(pieces)) {
        FileCounters::add(file_.counters.resumed_transfers);
      }
      cursor_.advance(*moved);
      position_ += *moved;
      length_bytes -= *moved;
      if (gate.owns_lock()) {
        file_.size_gate.raise_floor(position_);
      }
      if ((*moved & unit_.mask()) != 0) {
        break;
      }
    }
    return {};
  }

  Result<void> write_bounced(std::uint64_t length_bytes) {
    BufferPool::Buffer buffer = QUIRE_TRY(file_.bounce_pool())->take();
    const std::uint64_t end = position_ + length_bytes;
    const std::uint64_t block_end = round_up(end, unit_);
    SizeGate::Together together = file_.size_gate.enter();
    SizeGate::Alone alone;
    if (block_end > end && block_end > file_.size_gate.floor_bytes()) {
      together.unlock();
      alone = file_.size_gate.enter_alone();
    }
    const sys::Outcome<void> written = fill_and_write(buffer, length_bytes, alone.owns_lock());
    if (!written) {
      return fail(file_.write_error(written.error(), range_));
    }
    FileCounters::add(file_.counters.bounced_bytes, length_bytes);
    position_ = end;
    file_.size_gate.raise_floor(end);
    return {};
  }

  // The blocks around [position_, position_ + length_bytes), as they are to be on disk.
  sys::Outcome<void> fill_and_write(const BufferPool::Buffer& buffer, std::uint64_t length_bytes,
                                    bool may_pad) {
    const std::uint64_t end = position_ + length_bytes;
    const std::uint64_t begin = round_down(position_, unit_);
    const std::span<std::byte> blocks = buffer.bytes().first(round_up(end, unit_) - begin);
    const EdgeLock::Guard edges(file_.edge_lock, EdgeLock::edges_of(position_, end, unit_.bytes()));
    // Below the floor there is something at both edges; above it only the kernel knows.
    const std::uint64_t floor_bytes = file_.size_gate.floor_bytes();
    const std::uint64_t size_bytes =
        begin + blocks.size() <= floor_bytes ? floor_bytes : QUIRE_TRY(file_.size_now());
    QUIRE_TRY(read_edges(blocks, begin, end, size_bytes));
    gather(cursor_, blocks.subspan(position_ - begin, length_bytes));
    QUIRE_TRY(write_blocks(file_, blocks, begin, unit_));
    const std::uint64_t exact_bytes = std::max(size_bytes, end);
    if (may_pad && begin + blocks.size() > exact_bytes) {
      return cut(exact_bytes);
    }
    return {};
  }

  // What the blocks at the edges hold outside [position_, end); zeros past the end of the file.
  sys::Outcome<void> read_edges(std::span<std::byte> blocks, std::uint64_t begin, std::uint64_t end,
                                std::uint64_t size_bytes) {
    const std::uint64_t last = round_down(end - 1, unit_);
    const bool has_head = position_ > begin;
    if (has_head) {
      QUIRE_TRY(read_edge(blocks.first(unit_.bytes()), begin, size_bytes));
    }
    if (end < begin + blocks.size() && !(has_head && last == begin)) {
      QUIRE_TRY(read_edge(blocks.last(unit_.bytes()), last, size_bytes));
    }
    return {};
  }

  sys::Outcome<void> read_edge(std::span<std::byte> block, std::uint64_t offset_bytes,
                               std::uint64_t size_bytes) {
    std::uint64_t got = 0;
    if (offset_bytes < size_bytes) {
      FileCounters::add(file_.counters.edge_reads);
      got = QUIRE_TRY(read_blocks(file_, block, offset_bytes, unit_));
    }
    std::ranges::fill(block.subspan(got), std::byte{0});
    return {};
  }

  // Takes the padding away again.
  sys::Outcome<void> cut(std::uint64_t size_bytes) {
    FileCounters::add(file_.counters.system_calls);
    QUIRE_TRY(sys::truncate_file(file_.fd(), size_bytes));
    if (file_.options.write_through == WriteThrough::kOnSync) {
      return {};
    }
    // The size is not durable yet.
    FileCounters::add(file_.counters.system_calls);
    const sys::Outcome<void> synced = sys::sync_data(file_.fd());
    if (!synced) {
      file_.sync_error(synced.error(), "write", range_);
    }
    return synced;
  }

  FileState& file_;
  const PageSize unit_;
  const DirectRules rules_;
  PieceCursor<const std::byte> cursor_;
  const ByteRange range_;
  std::uint64_t position_;
};

}  // namespace

Result<void> write_direct(FileState& file, std::uint64_t offset_bytes, ConstPieces from) {
  return DirectWriter(file, offset_bytes, from).run();
}

}  // namespace quire::internal
