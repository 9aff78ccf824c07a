// SPDX-License-Identifier: Apache-2.0
//
// running_checksum: XXH3 of a file from its first byte to wherever we are, without a copy of it.
//
// The bytes of a file are looked at where they are, in the page cache, through a mapping of one
// piece: the sender's have just been handed to the network from there, the receiver's have just
// been put there, so no page is read twice and none is copied for the sake of the checksum. Where
// the file cannot be mapped, they are read into a buffer.
//
// Invariants:    value() is XXH3 (64 bits, seed 0) of exactly the bytes added, in their order; it
//                may be asked at any time. A copy is a state to come back to.
// Thread-safety: one thread at a time.
// Errors:        kTruncated when the file ends before the range; kFault when the device cannot read
//                a page; the errno of a failed read. After an error the state means nothing.
// Cost:          one mmap and one munmap per call; the processor passes over the bytes once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "quire/base/result.h"
#include "quire/base/units.h"

#define XXH_INLINE_ALL  // NOLINT(readability-identifier-naming): xxhash wants it so.
#include <xxhash.h>

namespace quire::internal {

class RunningChecksum {
 public:
  RunningChecksum() noexcept { static_cast<void>(XXH3_64bits_reset(&state_)); }

  void add(std::span<const std::byte> bytes) noexcept {
    static_cast<void>(XXH3_64bits_update(&state_, bytes.data(), bytes.size()));
  }
  // What a hole reads as.
  void add_zeros(std::uint64_t length_bytes) noexcept;
  // A range of an open file, whose name is for errors. Memory and address space are those of the
  // range: callers go in chunks.
  Result<void> add_file(int fd, ByteRange range, const std::string& path);

  [[nodiscard]] std::uint64_t value() const noexcept { return XXH3_64bits_digest(&state_); }

 private:
  Result<void> add_read(int fd, ByteRange range, const std::string& path);

  XXH3_state_t state_;
};

}  // namespace quire::internal
