// SPDX-License-Identifier: Apache-2.0
//
// direct: reads past the page cache, several pieces ahead, into huge pages, and writes in order.
//
//   source  ...| 1 MiB | 1 MiB | 1 MiB | ...      aligned pieces, kDepth of them on their way
//                 |       |       '-- being read by the device
//                 |       '-- read, waits for its turn
//                 '-- front: being written to the target by this thread
//
// An unaligned start is read from the boundary before it; what is before it is not written. Huge
// pages matter: a device fills one in a few long segments.
#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>

#include "quire/base/page_window.h"
#include "quire/sys/direct_io.h"
#include "quire/sys/ring.h"
#include "quire/transfer/internal/mover.h"

namespace quire::internal {
namespace {

constexpr std::size_t kPieceBytes = 1 << 20;
constexpr std::size_t kDepth = 8;
static_assert(kDepth * kPieceBytes <= kTransferBufferBytesMax);
// The largest alignment that direct_support_of() gives.
static_assert(kPieceBytes >= 1 << 20);

class DirectRead final : public Mover {
 public:
  explicit DirectRead(Job& job) : job_(job) {}
  ~DirectRead() override { static_cast<void>(finish()); }

  Step move(std::uint64_t length_bytes) override {
    if (!ring_) {
      if (const Step opened = open(); !opened.is_moved()) {
        return opened;
      }
    }
    if (piece_count_ == 0 || job_.source_offset() != expected_offset_) {
      if (const Step restarted = restart(); !restarted.is_moved()) {
        return restarted;
      }
    }
    const std::uint64_t end_bytes = end_of({job_.source_offset(), length_bytes});
    fill_queue(end_bytes);
    if (const Step waited = wait_for_front(); !waited.is_moved()) {
      return waited;
    }
    return write_front(end_bytes);
  }

  // Every read writes into memory of ours: it must end before that goes.
  Step finish() override {
    while (ring_ && ring_->in_flight() > 0) {
      if (const Step taken = take_completions(); !taken.is_moved()) {
        return taken;
      }
    }
    piece_count_ = 0;
    return Step::moved();
  }

  // One piece for each move(); how far to read ahead is what move() is told.
  [[nodiscard]] std::uint64_t step_bytes() const override { return kToEnd; }

 private:
  struct Piece {
    std::uint64_t offset_bytes = 0;
    std::optional<std::int32_t> result;
  };

  Step open() {
    job_.count_call();
    auto file = sys::reopen_direct(job_.source().fd, false);
    if (!file) {
      return refused_or_failed("open(O_DIRECT)", file.error());
    }
    const auto support = sys::direct_support_of(file->get());
    job_.count_call();
    if (!support) {
      return refused_or_failed("read(O_DIRECT)", support.error());
    }
    alignment_bytes_ = std::max(support->alignment.offset_bytes, support->alignment.memory_bytes);
    job_.count_call();
    auto buffer = PageBuffer::allocate(kDepth * kPieceBytes);
    if (!buffer) {
      return refused_or_failed("mmap", buffer.error());
    }
    job_.count_call();
    auto ring = sys::Ring::open({.submission_entries = kDepth});
    if (!ring) {
      return Step::refused({.operation = "io_uring_setup", .error = ring.error().value});
    }
    file_ = std::move(*file);
    buffer_.emplace(std::move(*buffer));
    ring_.emplace(std::move(*ring));
    return Step::moved();
  }

  Step restart() {
    if (const Step ended = finish(); !ended.is_moved()) {
      return ended;
    }
    first_piece_ = 0;
    next_offset_ = round_down(job_.source_offset(), PageSize(alignment_bytes_));
    return Step::moved();
  }

  [[nodiscard]] Piece& piece(std::size_t nth) { return pieces_[(first_piece_ + nth) % kDepth]; }
  [[nodiscard]] std::span<std::byte> memory(std::size_t nth) const {
    return buffer_->bytes().subspan((first_piece_ + nth) % kDepth * kPieceBytes, kPieceBytes);
  }

  void fill_queue(std::uint64_t end_bytes) {
    while (piece_count_ < kDepth && next_offset_ < end_bytes) {
      piece(piece_count_) = {.offset_bytes = next_offset_, .result = std::nullopt};
      const std::uint64_t wanted =
          round_up(std::min<std::uint64_t>(end_bytes - next_offset_, kPieceBytes),
                   PageSize(alignment_bytes_));
      const bool is_prepared = ring_->prepare_read(
          sys::ring_file(file_.get()), memory(piece_count_).first(static_cast<std::size_t>(wanted)),
          next_offset_, {.tag = (first_piece_ + piece_count_) % kDepth});
      QUIRE_CHECK(is_prepared);  // As many entries as pieces.
      ++piece_count_;
      next_offset_ += kPieceBytes;
    }
  }

  Step wait_for_front() {
    while (!piece(0).result) {
      if (const Step taken = take_completions(); !taken.is_moved()) {
        return taken;
      }
    }
    // What was prepared above starts now, to be read while the front is written.
    if (ring_->unsubmitted() > 0) {
      job_.count_call();
      static_cast<void>(ring_->submit());  // What it refuses comes back from the next wait.
    }
    return Step::moved();
  }

  Step take_completions() {
    job_.count_call();
    const auto ready = ring_->submit_and_wait(1);
    if (!ready) {
      return Step::failed({.operation = "io_uring_enter", .error = ready.error().value});
    }
    const auto taken = ring_->drain([this](const sys::Completion& completion) {
      pieces_[completion.tag].result = completion.result;
    });
    if (!taken) {
      return Step::failed({.operation = "io_uring_enter", .error = taken.error().value});
    }
    return Step::moved();
  }

  Step write_front(std::uint64_t end_bytes) {
    const Piece front = piece(0);
    const std::span<std::byte> bytes = memory(0);
    const std::int32_t result = *front.result;
    const std::uint64_t skew_bytes = job_.source_offset() - front.offset_bytes;
    first_piece_ = (first_piece_ + 1) % kDepth;
    --piece_count_;
    if (result < 0) {
      const Fault fault{.operation = "read(O_DIRECT)", .error = -result};
      // EAGAIN: the ring gave up, not the file. Another method can still read it.
      return result == -EIO ? Step::failed(fault) : Step::refused(fault);
    }
    const auto got = static_cast<std::uint64_t>(result);
    if (got <= skew_bytes) {
      return Step::source_ended();
    }
    const std::uint64_t length = std::min(got - skew_bytes, end_bytes - job_.source_offset());
    const Step written = job_.write_piece(
        bytes.subspan(static_cast<std::size_t>(skew_bytes), static_cast<std::size_t>(length)), 1);
    // After a short read the next piece does not follow on: move() starts again from there.
    expected_offset_ = front.offset_bytes + kPieceBytes;
    return written;
  }

  Job& job_;
  sys::Descriptor file_;
  std::uint32_t alignment_bytes_ = 0;
  std::optional<PageBuffer> buffer_;  // Outlives the ring: declared before it.
  std::optional<sys::Ring> ring_;
  std::array<Piece, kDepth> pieces_;
  std::size_t first_piece_ = 0;
  std::size_t piece_count_ = 0;
  std::uint64_t next_offset_ = 0;
  std::uint64_t expected_offset_ = 0;
};

}  // namespace

std::unique_ptr<Mover> make_direct(Job& job) {
  return std::make_unique<DirectRead>(job);
}

}  // namespace quire::internal
