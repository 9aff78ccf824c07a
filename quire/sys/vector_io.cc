// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/vector_io.h"

#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "quire/base/page_window.h"
#include "quire/sys/call.h"
#include "quire/sys/internal/run.h"
#include "quire/sys/internal/transfer_flags.h"

namespace quire::sys {
namespace {

using internal::kTransferBytesMax;
using internal::run;
using internal::to_kernel_flags;

// Walks over the pieces of one transfer, as far as it has come.
template <typename Byte>
class Walk {
 public:
  explicit Walk(std::span<const std::span<Byte>> pieces) noexcept : pieces_(pieces) {
    advance(0);  // A call that moves nothing would mean the end of the file.
  }

  [[nodiscard]] bool is_done() const noexcept { return index_ == pieces_.size(); }

  // What the next call is to move: at most `length_bytes_max`.
  std::span<const iovec> next(std::size_t length_bytes_max) noexcept {
    std::size_t count = 0;
    std::size_t within_bytes = within_bytes_;
    for (std::size_t i = index_; i < pieces_.size() && count < vectors_.size(); ++i) {
      const std::span<Byte> piece = pieces_[i].subspan(within_bytes);
      const std::size_t length_bytes = std::min(piece.size(), length_bytes_max);
      if (length_bytes > 0) {
        // pwritev2(2) only reads, whatever its types say.
        vectors_[count++] = {.iov_base = const_cast<std::byte*>(piece.data()),
                             .iov_len = length_bytes};
      }
      length_bytes_max -= length_bytes;
      within_bytes = 0;
    }
    return std::span(vectors_).first(count);
  }

  void advance(std::size_t moved_bytes) noexcept {
    within_bytes_ += moved_bytes;
    while (index_ < pieces_.size() && within_bytes_ >= pieces_[index_].size()) {
      within_bytes_ -= pieces_[index_].size();
      ++index_;
    }
  }

 private:
  std::span<const std::span<Byte>> pieces_;
  std::size_t index_ = 0;         // Of the piece that comes next,
  std::size_t within_bytes_ = 0;  // and where in it.
  std::array<iovec, kPiecesPerCallMax> vectors_;
};

off_t to_off(std::uint64_t bytes) noexcept {
  return static_cast<off_t>(std::min(bytes, kFileOffsetMax));
}

std::size_t bytes_max(const CallSite& site) noexcept {
  return std::min(kTransferBytesMax, site.transfer_bytes_max);
}

Outcome<std::size_t> read_next(int fd, Walk<std::byte>& walk, std::uint64_t offset_bytes,
                               int flags) noexcept {
  const auto outcome = run(Call::kRead, [&](const CallSite& site) {
    const std::span<const iovec> next = walk.next(bytes_max(site));
    return ::preadv2(fd, next.data(), static_cast<int>(next.size()), to_off(offset_bytes), flags);
  });
  return outcome.map([](ssize_t moved) { return static_cast<std::size_t>(moved); });
}

Outcome<std::size_t> write_next(int fd, Walk<const std::byte>& walk, std::uint64_t offset_bytes,
                                int flags) noexcept {
  const auto outcome = run(Call::kWrite, [&](const CallSite& site) {
    const std::span<const iovec> next = walk.next(bytes_max(site));
    return ::pwritev2(fd, next.data(), static_cast<int>(next.size()), to_off(offset_bytes), flags);
  });
  return outcome.map([](ssize_t moved) { return static_cast<std::size_t>(moved); });
}

}  // namespace

Outcome<std::uint64_t> read_vector_at(int fd, ReadPieces into, std::uint64_t offset_bytes,
                                      TransferFlags flags) noexcept {
  Walk<std::byte> walk(into);
  std::uint64_t done = 0;
  while (!walk.is_done()) {
    const Outcome<std::size_t> moved =
        read_next(fd, walk, offset_bytes + done, to_kernel_flags(flags));
    if (!moved && moved.error().value == EAGAIN && done > 0) {
      break;
    }
    done += QUIRE_TRY(moved);
    if (*moved == 0) {
      break;
    }
    walk.advance(*moved);
  }
  return done;
}

Outcome<std::uint64_t> read_vector_some_at(int fd, ReadPieces into, std::uint64_t offset_bytes,
                                           TransferFlags flags) noexcept {
  Walk<std::byte> walk(into);
  if (walk.is_done()) {
    return 0;
  }
  return read_next(fd, walk, offset_bytes, to_kernel_flags(flags));
}

Outcome<void> write_vector_at(int fd, WritePieces from, std::uint64_t offset_bytes,
                              TransferFlags flags) noexcept {
  Walk<const std::byte> walk(from);
  std::uint64_t done = 0;
  while (!walk.is_done()) {
    const std::size_t moved =
        QUIRE_TRY(write_next(fd, walk, offset_bytes + done, to_kernel_flags(flags)));
    if (moved == 0) {
      return refuse(EIO);  // A write that moves nothing and says nothing would loop for ever.
    }
    done += moved;
    walk.advance(moved);
  }
  return {};
}

Outcome<std::uint64_t> write_vector_some_at(int fd, WritePieces from, std::uint64_t offset_bytes,
                                            TransferFlags flags) noexcept {
  Walk<const std::byte> walk(from);
  if (walk.is_done()) {
    return 0;
  }
  return write_next(fd, walk, offset_bytes, to_kernel_flags(flags));
}

}  // namespace quire::sys
