// SPDX-License-Identifier: Apache-2.0
//
// PieceCursor: how far one transfer has come in the caller's pieces of memory.
//
//   pieces   [aaaa]  [bbbbbbbb]  [cc]
//             done    ..^ front() = the rest of this piece
//
// Invariants:    left_bytes() is what the pieces still hold, cut to the limit it was made with;
//                front() is never empty while left_bytes() > 0.
// Thread-safety: one thread at a time.
// Cost:          no allocation.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "quire/base/check.h"
#include "quire/sys/vector_io.h"

namespace quire::internal {

template <typename Byte>
[[nodiscard]] std::uint64_t total_bytes(std::span<const std::span<Byte>> pieces) noexcept {
  std::uint64_t total = 0;
  for (const std::span<Byte> piece : pieces) {
    total += piece.size();
  }
  return total;
}

// `Byte` is std::byte for reads, const std::byte for writes.
template <typename Byte>
class PieceCursor {
 public:
  using Pieces = std::span<const std::span<Byte>>;
  // What one system call is given.
  using Batch = std::array<std::span<Byte>, sys::kPiecesPerCallMax>;

  PieceCursor(Pieces pieces, std::uint64_t limit_bytes)
      : pieces_(pieces), left_bytes_(std::min(total_bytes(pieces), limit_bytes)) {
    settle();
  }

  [[nodiscard]] std::uint64_t left_bytes() const noexcept { return left_bytes_; }

  // What is left of the piece at hand.
  [[nodiscard]] std::span<Byte> front() const noexcept {
    if (left_bytes_ == 0) {
      return {};
    }
    const std::span<Byte> rest = pieces_[index_].subspan(within_bytes_);
    return rest.first(std::min<std::uint64_t>(rest.size(), left_bytes_));
  }

  // Calls visit(piece) for what is left, piece by piece, until it returns false.
  template <typename Visit>
  void for_each(Visit&& visit) const {
    std::uint64_t left = left_bytes_;
    std::size_t within = within_bytes_;
    for (std::size_t i = index_; left > 0; ++i) {
      const std::span<Byte> rest = pieces_[i].subspan(within);
      const std::span<Byte> piece = rest.first(std::min<std::uint64_t>(rest.size(), left));
      left -= piece.size();
      within = 0;
      if (!piece.empty() && !visit(piece)) {
        return;
      }
    }
  }

  // The next pieces, of at most `bytes_max` together, as many as fit into `batch`.
  [[nodiscard]] Pieces fill(Batch& batch, std::uint64_t bytes_max) const {
    std::size_t count = 0;
    for_each([&](std::span<Byte> piece) {
      batch[count] = piece.first(std::min<std::uint64_t>(piece.size(), bytes_max));
      bytes_max -= batch[count].size();
      ++count;
      return bytes_max > 0 && count < batch.size();
    });
    return Pieces(batch).first(count);
  }

  // REQUIRES: bytes <= left_bytes().
  void advance(std::uint64_t bytes) {
    QUIRE_DCHECK_LE(bytes, left_bytes_);
    left_bytes_ -= bytes;
    within_bytes_ += bytes;
    settle();
  }

 private:
  // Steps over the pieces that are done, and empty ones.
  void settle() {
    while (left_bytes_ > 0 && within_bytes_ >= pieces_[index_].size()) {
      within_bytes_ -= pieces_[index_].size();
      ++index_;
    }
  }

  Pieces pieces_;
  std::size_t index_ = 0;
  std::size_t within_bytes_ = 0;
  std::uint64_t left_bytes_ = 0;
};

// Copies `from` into the pieces, and steps over it. REQUIRES: it fits.
inline void scatter(PieceCursor<std::byte>& into, std::span<const std::byte> from) {
  while (!from.empty()) {
    const std::span<std::byte> piece = into.front();
    const std::size_t count = std::min(piece.size(), from.size());
    std::memcpy(piece.data(), from.data(), count);
    from = from.subspan(count);
    into.advance(count);
  }
}

// Fills `into` from the pieces, and steps over them. REQUIRES: there is that much left.
inline void gather(PieceCursor<const std::byte>& from, std::span<std::byte> into) {
  while (!into.empty()) {
    const std::span<const std::byte> piece = from.front();
    const std::size_t count = std::min(piece.size(), into.size());
    std::memcpy(into.data(), piece.data(), count);
    into = into.subspan(count);
    from.advance(count);
  }
}

}  // namespace quire::internal
