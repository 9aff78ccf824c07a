// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "quire/base/page_window.h"
#include "quire/map/internal/mapping_builder.h"
#include "quire/sys/file.h"

namespace quire::internal {
namespace {

constexpr std::uint64_t kFirstBytes = 64 << 10;  // Holds nearly every /proc file in one read.

constexpr AddressSpace::Backing kPrivateMemory{.protection = sys::Protection::kReadWrite,
                                               .visibility = sys::Visibility::kPrivate};

// Memory that doubles: what was read is copied when it moves, at most once per byte on average.
class GrowingMemory {
 public:
  // Room behind what is used, at least one byte of it.
  sys::Outcome<std::span<std::byte>> room() {
    if (used_bytes_ == space_.backed_bytes()) {
      const std::uint64_t next_bytes = std::max(kFirstBytes, 2 * space_.backed_bytes());
      AddressSpace next = QUIRE_TRY(AddressSpace::map(kPrivateMemory, next_bytes, next_bytes));
      if (used_bytes_ > 0) {
        std::memcpy(next.address(), space_.address(), used_bytes_);
      }
      space_ = std::move(next);
    }
    return std::span(space_.address() + used_bytes_,
                     static_cast<std::size_t>(space_.backed_bytes() - used_bytes_));
  }

  void use(std::uint64_t bytes) noexcept { used_bytes_ += bytes; }
  [[nodiscard]] std::uint64_t used_bytes() const noexcept { return used_bytes_; }
  AddressSpace take() noexcept { return std::move(space_); }

 private:
  AddressSpace space_;
  std::uint64_t used_bytes_ = 0;
};

// One read that waits for a writer who is there; 0 at the end.
sys::Outcome<std::size_t> read_pipe(int fd, std::span<std::byte> into) {
  for (;;) {
    const sys::Outcome<std::size_t> got = sys::read_some(fd, into);
    if (got || got.error().value != EAGAIN) {
      return got;
    }
    QUIRE_TRY(sys::wait_readable(fd, -1));
  }
}

}  // namespace

Result<CopiedBytes> read_whole(int fd, bool is_pipe, std::uint64_t bytes_max,
                               const std::string& path) {
  GrowingMemory memory;
  for (;;) {
    const sys::Outcome<std::span<std::byte>> room = memory.room();
    if (!room) {
      return fail(sys::to_error(room.error(), "map", path));
    }
    const sys::Outcome<std::size_t> got =
        is_pipe ? read_pipe(fd, *room) : sys::read_at(fd, *room, memory.used_bytes());
    if (!got) {
      return fail(sys::to_error(got.error(), "read", path));
    }
    memory.use(*got);
    if (memory.used_bytes() > bytes_max) {
      return fail(
          make_error(Errc::kLimit, "map", path,
                     fmt::format("it has no size and gave more than {}", human_bytes(bytes_max)),
                     "raise MapOptions::stream_bytes_max, or write it to a file first"));
    }
    if (*got == 0 || (!is_pipe && *got < room->size())) {
      break;
    }
  }
  const std::uint64_t used_bytes = memory.used_bytes();
  return CopiedBytes{.space = memory.take(), .size_bytes = used_bytes};
}

}  // namespace quire::internal
