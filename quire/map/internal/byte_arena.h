// SPDX-License-Identifier: Apache-2.0
//
// ByteArena: bytes laid one after the other into a few large chunks of anonymous memory.
//
//   chunk   |entry|entry |e|entry  |-- room --|.....unpopulated.....|
//                                  ^ cursor, aligned                ^ end of the chunk
//                                             ^ populated up to here, a step ahead of the cursor
//
// A chunk that cannot hold the next entry is cut after its last one. Pages are populated in steps
// by one call each, because a page fault per page costs more than copying the files in it. trim()
// gives back what lies behind the last entry, so that the arena holds what its entries need.
//
// Invariants:    populated <= length of the chunk; the cursor is in the last chunk and aligned;
//                entries never move once committed.
// Thread-safety: one thread at a time.
// Errors:        Outcome: ENOMEM of mmap; a failed munmap only in release().
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "quire/sys/memory.h"
#include "quire/sys/outcome.h"

namespace quire::internal {

class ByteArena {
 public:
  // REQUIRES: alignment_bytes is a power of two, at most an OS page.
  explicit ByteArena(std::size_t alignment_bytes) noexcept;
  ~ByteArena() { static_cast<void>(release()); }
  ByteArena(const ByteArena&) = delete;
  ByteArena& operator=(const ByteArena&) = delete;

  // How many entries were asked for so far, empty ones too, and how many will be: only a hint.
  void expect(std::uint64_t entries_so_far, std::uint64_t entries_to_come) noexcept {
    entries_so_far_ = entries_so_far;
    entries_to_come_ = entries_to_come;
  }
  // Writable memory for the next entry, at least `bytes` of it. Asking again gives it up.
  sys::Outcome<std::span<std::byte>> room(std::uint64_t bytes);
  // The same with more bytes; the first `used_bytes` are kept, the address may change.
  sys::Outcome<std::span<std::byte>> enlarge(std::uint64_t used_bytes, std::uint64_t bytes);
  // Makes the first `bytes` of the room an entry.
  // REQUIRES: room() or enlarge() gave at least `bytes`.
  std::span<const std::byte> commit(std::uint64_t bytes) noexcept;

  // Gives back what no entry uses.
  void trim() noexcept;
  // Gives back everything. The first error of a munmap; all are tried.
  sys::Outcome<void> release() noexcept;

  // Memory that stands behind the arena now.
  [[nodiscard]] std::uint64_t held_bytes() const noexcept;
  [[nodiscard]] std::uint64_t metadata_bytes() const noexcept {
    return chunks_.capacity() * sizeof(Chunk);
  }
  [[nodiscard]] std::uint64_t call_count() const noexcept { return call_count_; }

 private:
  struct Chunk {
    sys::Address first = nullptr;
    std::uint64_t length_bytes = 0;
    std::uint64_t populated_bytes = 0;
    std::uint64_t used_bytes = 0;  // The cursor of this chunk.
    std::uint64_t step_bytes = 0;  // Populated at a time.
  };

  // A fresh last chunk; the one before keeps its room until it is cut.
  sys::Outcome<void> add_chunk(std::uint64_t bytes_min);
  // What the entries to come will take, if they are like those so far.
  [[nodiscard]] std::uint64_t expected_bytes() const noexcept;
  // Unmaps what lies behind the chunk's last entry: all of it, when there is none.
  void cut(std::size_t index) noexcept;
  void populate(Chunk& chunk, std::uint64_t end_bytes) noexcept;

  std::size_t alignment_bytes_;
  std::vector<Chunk> chunks_;
  std::uint64_t call_count_ = 0;
  std::uint64_t committed_bytes_ = 0;  // Alignment included.
  std::uint64_t entries_so_far_ = 0;
  std::uint64_t entries_to_come_ = 0;
  std::uint64_t next_chunk_bytes_;
  bool can_populate_ = true;
};

}  // namespace quire::internal
