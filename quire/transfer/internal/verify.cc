// SPDX-License-Identifier: Apache-2.0
#include "quire/transfer/internal/verify.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstddef>

#include "quire/base/units.h"
#include "quire/map/eviction.h"
#include "quire/sys/file.h"
#include "quire/transfer/internal/mover.h"
#include "quire/transfer/internal/running_checksum.h"
#include "quire/transfer/internal/stop.h"

namespace quire::internal {
namespace {

constexpr const char* kOperation = "verify";
constexpr std::size_t kBufferBytes = 1 << 20;
// What is asked of the device in front of the reading.
constexpr std::uint64_t kAheadBytes = 8_MiB;

// From the first byte to the end, wherever that is.
Result<std::uint64_t> checksum_of(const ComparedFile& file, std::span<std::byte> buffer,
                                  const CopyOptions& options) {
  RunningChecksum checksum;
  for (std::uint64_t offset_bytes = 0;;) {
    if (is_stop_requested(options.stop, options.stop_fd)) {
      return fail(make_error(Errc::kCancelled, kOperation, file.shown_path));
    }
    if (offset_bytes % kAheadBytes == 0) {
      static_cast<void>(sys::read_ahead(file.fd, {offset_bytes + kAheadBytes, kAheadBytes}));
    }
    const auto got = sys::read_at(file.fd, buffer, offset_bytes);
    if (!got) {
      return fail(sys::to_error(got.error(), kOperation,
                                fmt::format("{}, offset {}", file.shown_path, offset_bytes)));
    }
    checksum.add(buffer.first(*got));
    offset_bytes += *got;
    if (*got < buffer.size()) {
      return checksum.value();
    }
  }
}

Result<void> get_out_of_memory(const ComparedFile& file, std::vector<std::string>& remarks) {
  const auto evicted = evict(file.fd);
  if (!evicted) {
    return fail(evicted.error().about(kOperation, file.shown_path));
  }
  if (!evicted->known) {
    remarks.push_back("verified; whether from the disk is unknown: " + evicted->why_unknown);
  } else if (evicted->bytes_after > 0) {
    std::string why;
    for (const Kept& kept : evicted->remaining) {
      why += (why.empty() ? "" : ", ") + describe(kept);
    }
    remarks.push_back(
        fmt::format("verified, but {} of the copy from memory and not from the disk: "
                    "{}",
                    human_bytes(evicted->bytes_after), why));
  }
  return {};
}

}  // namespace

Result<std::uint64_t> verify_copy(const ComparedFile& source, const ComparedFile& target,
                                  const CopyOptions& options, std::vector<std::string>& remarks) {
  QUIRE_TRY(get_out_of_memory(target, remarks));
  const auto buffer = PageBuffer::allocate(kBufferBytes);
  if (!buffer) {
    return fail(sys::to_error(buffer.error(), kOperation, target.shown_path));
  }
  const std::uint64_t copied = QUIRE_TRY(checksum_of(target, buffer->bytes(), options));
  const std::uint64_t original = QUIRE_TRY(checksum_of(source, buffer->bytes(), options));
  if (copied != original) {
    return fail(make_error(
        Errc::kCorrupt, kOperation, target.shown_path,
        fmt::format("its checksum is {:016x}, but {} has {:016x}", copied, source.shown_path,
                    original),
        "the copy was dropped; suspect the disk or the memory, or a source that changes"));
  }
  return original;
}

}  // namespace quire::internal
