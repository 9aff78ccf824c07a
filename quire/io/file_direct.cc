// SPDX-License-Identifier: Apache-2.0
//
// Direct reads, and whole blocks in either direction.
#include <algorithm>

#include "quire/base/page_window.h"
#include "quire/io/internal/direct_blocks.h"
#include "quire/io/internal/direct_stretch.h"
#include "quire/io/internal/file_state.h"
#include "quire/io/internal/piece_cursor.h"

namespace quire::internal {
namespace {

class DirectReader {
 public:
  DirectReader(FileState& file, std::uint64_t offset_bytes, MutablePieces into)
      : file_(file),
        unit_(
            file.direct->alignment.read_offset_bytes.value_or(file.direct->alignment.offset_bytes)),
        rules_{.offset_unit = unit_,
               .memory_unit = PageSize(file.direct->alignment.memory_bytes),
               .bounce_bytes = file.bounce_bytes()},
        cursor_(into, kFileOffsetMax - std::min(offset_bytes, kFileOffsetMax)),
        range_{offset_bytes, cursor_.left_bytes()} {}

  Result<std::uint64_t> run() {
    while (cursor_.left_bytes() > 0 && !is_at_end_) {
      const Stretch stretch = next_stretch(cursor_, position(), rules_);
      QUIRE_TRY(stretch.is_straight ? read_straight(stretch.length_bytes)
                                    : read_bounced(stretch.length_bytes));
    }
    return done_bytes_;
  }

 private:
  [[nodiscard]] std::uint64_t position() const { return range_.offset_bytes + done_bytes_; }

  // Where there are bytes, the file reaches: known for sure while nobody may cut it.
  void advance(std::uint64_t bytes, const SizeGate::Together& gate) {
    done_bytes_ += bytes;
    if (gate.owns_lock() && bytes > 0) {
      file_.size_gate.raise_floor(position());
    }
  }

  Result<void> read_straight(std::uint64_t length_bytes) {
    const SizeGate::Together gate = file_.size_gate.enter_if_past(position() + length_bytes);
    PieceCursor<std::byte>::Batch batch;
    bool was_short = false;
    while (length_bytes > 0) {
      const MutablePieces pieces = cursor_.fill(batch, length_bytes);
      const sys::Outcome<std::uint64_t> moved = file_.read_once(pieces, position());
      if (!moved) {
        return fail(file_.error(moved.error(), "read", range_));
      }
      if (*moved == 0) {
        is_at_end_ = true;
        return {};
      }
      FileCounters::add(file_.counters.resumed_transfers, was_short ? 1 : 0);
      was_short = *moved < total_bytes(pieces);
      cursor_.advance(*moved);
      advance(*moved, gate);
      length_bytes -= *moved;
      if ((*moved & unit_.mask()) != 0) {
        is_at_end_ = true;
        return {};
      }
    }
    return {};
  }

  Result<void> read_bounced(std::uint64_t length_bytes) {
    BufferPool::Buffer buffer = QUIRE_TRY(file_.bounce_pool())->take();
    const SizeGate::Together gate = file_.size_gate.enter_if_past(position() + length_bytes);
    const std::uint64_t begin = round_down(position(), unit_);
    const std::uint64_t end = round_up(position() + length_bytes, unit_);
    const std::uint64_t skew = position() - begin;
    const std::span<std::byte> blocks = buffer.bytes().first(end - begin);
    const sys::Outcome<std::uint64_t> got = read_blocks(file_, blocks, begin, unit_);
    if (!got) {
      return fail(file_.error(got.error(), "read", range_));
    }
    const std::uint64_t useful = std::min(*got > skew ? *got - skew : 0, length_bytes);
    scatter(cursor_, blocks.subspan(skew, useful));
    FileCounters::add(file_.counters.bounced_bytes, useful);
    advance(useful, gate);
    is_at_end_ = useful < length_bytes;
    return {};
  }

  FileState& file_;
  const PageSize unit_;
  const DirectRules rules_;
  PieceCursor<std::byte> cursor_;
  const ByteRange range_;
  std::uint64_t done_bytes_ = 0;
  bool is_at_end_ = false;
};

}  // namespace

sys::Outcome<std::uint64_t> read_blocks(FileState& file, std::span<std::byte> into,
                                        std::uint64_t offset_bytes, PageSize unit) {
  std::uint64_t done = 0;
  while (done < into.size()) {
    const std::span<std::byte> rest = into.subspan(done);
    const std::uint64_t moved = QUIRE_TRY(file.read_once({&rest, 1}, offset_bytes + done));
    FileCounters::add(file.counters.resumed_transfers, done > 0 && moved > 0 ? 1 : 0);
    done += moved;
    if (moved == 0 || (moved & unit.mask()) != 0) {
      break;
    }
  }
  return done;
}

sys::Outcome<void> write_blocks(FileState& file, std::span<const std::byte> from,
                                std::uint64_t offset_bytes, PageSize unit) {
  std::uint64_t done = 0;
  while (done < from.size()) {
    const std::span<const std::byte> rest = from.subspan(done);
    const std::uint64_t moved = QUIRE_TRY(file.write_once({&rest, 1}, offset_bytes + done));
    const std::uint64_t whole = round_down(moved, unit);
    if (whole == 0) {
      return sys::refuse(EIO);  // Less than a block again and again would loop for ever.
    }
    done += whole;
    FileCounters::add(file.counters.resumed_transfers, done < from.size() ? 1 : 0);
  }
  return {};
}

Result<std::uint64_t> read_direct(FileState& file, std::uint64_t offset_bytes, MutablePieces into) {
  return DirectReader(file, offset_bytes, into).run();
}

}  // namespace quire::internal
