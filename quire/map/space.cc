// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <vector>

#include "quire/map/internal/space.h"
#include "quire/sys/file.h"
#include "quire/sys/limits.h"

namespace quire::internal {
namespace {

// Less than this at once cannot hurt a machine that still runs, and is not worth reading /proc for.
constexpr std::uint64_t kAskFirstBytes = 64 << 20;

// Large enough for the device, small enough for a stack of buffers.
constexpr std::uint64_t kZerosBytes = 1 << 20;

sys::Outcome<void> write_zeros(int fd, std::uint64_t from_bytes, std::uint64_t to_bytes) {
  const std::vector<std::byte> zeros(
      static_cast<std::size_t>(std::min(kZerosBytes, to_bytes - from_bytes)));
  while (from_bytes < to_bytes) {
    const std::uint64_t step = std::min<std::uint64_t>(zeros.size(), to_bytes - from_bytes);
    QUIRE_TRY(
        sys::write_at(fd, std::span(zeros).first(static_cast<std::size_t>(step)), from_bytes));
    from_bytes += step;
  }
  return {};
}

sys::Outcome<Secured> extend(int fd, std::uint64_t old_bytes, std::uint64_t new_bytes,
                             Space space) {
  if (space == Space::kSparse) {
    QUIRE_TRY(sys::truncate_file(fd, new_bytes));
    return Secured::kNothing;
  }
  const sys::Outcome<void> allocated =
      sys::allocate_space(fd, {old_bytes, new_bytes - old_bytes}, sys::Allocate::kExtendSize);
  if (allocated) {
    return Secured::kReserved;
  }
  if (allocated.error().value != EOPNOTSUPP && allocated.error().value != ENOSYS) {
    return tl::unexpected<sys::Errno>(allocated.error());
  }
  QUIRE_TRY(write_zeros(fd, old_bytes, new_bytes));
  return Secured::kWritten;
}

}  // namespace

Result<Secured> grow_file(int fd, std::uint64_t old_bytes, std::uint64_t new_bytes, Space space,
                          const char* operation, const std::string& path) {
  QUIRE_CHECK_LE(old_bytes, new_bytes);
  if (new_bytes > old_bytes) {
    const sys::Outcome<Secured> outcome = extend(fd, old_bytes, new_bytes, space);
    if (!outcome) {
      // The file may have become longer before the disk was full. If even this fails, the size is
      // wrong but no byte is: the first error is the one worth reporting.
      static_cast<void>(sys::truncate_file(fd, old_bytes));
      return fail(sys::to_error(outcome.error(), operation,
                                fmt::format("{}, {} to {} bytes", path, old_bytes, new_bytes)));
    }
    return *outcome;
  }
  return space == Space::kSparse ? Secured::kNothing : Secured::kReserved;
}

Result<Secured> grow_memory(int fd, std::uint64_t old_bytes, std::uint64_t new_bytes, Space space,
                            const char* operation, const std::string& path) {
  const std::uint64_t more_bytes = new_bytes - std::min(old_bytes, new_bytes);
  if (space == Space::kSecured && more_bytes >= kAskFirstBytes) {
    const sys::MemoryLimits limits = sys::memory_limits();
    const std::optional<std::uint64_t> there_are = sys::obtainable_bytes(limits);
    if (there_are && more_bytes > *there_are) {
      return fail(make_error(Errc::kLimit, operation,
                             fmt::format("{}, {} to {} bytes", path, old_bytes, new_bytes),
                             fmt::format("{} of memory can be had at most; what binds is {}",
                                         human_bytes(*there_are), limits.binding),
                             "ask for less, or for Space::kSparse and take the pages one by one"));
    }
  }
  return grow_file(fd, old_bytes, new_bytes, space, operation, path);
}

}  // namespace quire::internal
