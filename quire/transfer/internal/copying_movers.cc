// SPDX-License-Identifier: Apache-2.0
//
// The methods that hand bytes to write(2): from a buffer that was read, or from a mapping.
#include <algorithm>
#include <optional>

#include "quire/transfer/internal/mover.h"

namespace quire::internal {
namespace {

// A quarter of a usual second-level cache, less than what a socket holds: what was just read is
// still there when it is written.
constexpr std::size_t kCopyBufferBytes = 128 << 10;

class ReadWrite final : public Mover {
 public:
  explicit ReadWrite(Job& job) : job_(job) {}

  Step move(std::uint64_t length_bytes) override {
    if (!buffer_) {
      job_.count_call();
      auto allocated = PageBuffer::allocate(kCopyBufferBytes);
      if (!allocated) {
        return Step::failed({.operation = "mmap", .error = allocated.error().value});
      }
      buffer_.emplace(std::move(*allocated));
    }
    const auto wanted =
        static_cast<std::size_t>(std::min<std::uint64_t>(length_bytes, kCopyBufferBytes));
    std::size_t got = 0;
    if (const Step read = job_.read_piece(buffer_->bytes().first(wanted), 0, got);
        !read.is_moved()) {
      return read;
    }
    return got == 0 ? Step::source_ended() : job_.write_piece(buffer_->bytes().first(got), 2);
  }

  [[nodiscard]] std::uint64_t step_bytes() const override { return kCopyBufferBytes; }

 private:
  Job& job_;
  std::optional<PageBuffer> buffer_;
};

class MapWrite final : public Mover {
 public:
  explicit MapWrite(Job& job) : job_(job) {}

  Step move(std::uint64_t length_bytes) override {
    return move_window(job_, length_bytes, [this](std::span<const std::byte> bytes) {
      return job_.write_piece(bytes, 1);
    });
  }

 private:
  Job& job_;
};

}  // namespace

std::unique_ptr<Mover> make_read_write(Job& job) {
  return std::make_unique<ReadWrite>(job);
}

std::unique_ptr<Mover> make_map_write(Job& job) {
  return std::make_unique<MapWrite>(job);
}

}  // namespace quire::internal
