// SPDX-License-Identifier: Apache-2.0
//
// ResidencyChunks: which ranges of a mapped file can be had without waiting, for many ranges at
// once, in chunks of 2 MiB.
//
//   a chunk              asked by                        a page costs, or a call
//   filled before        look(): mincore, neighbours     0.6 ns: the page tables answer
//                        together
//   not filled           ask(): cachestat, which counts  0 when nothing is there; a call 300 ns
//   of which some        is_range_resident(): mincore    200 ns a call, and 60 ns for each page
//                        of one range                    that is searched in the page cache
//
// A chunk that is found resident has its page tables filled, once (32 ns a page, no I/O): from then
// on asking is cheap, and copies do not fault. (Figures of one virtual machine; what counts is
// their order: mincore over all of a file that is half in memory costs more than reading it.)
//
// Invariants:    a filled chunk was resident when it was filled; when mincore says otherwise it is
//                forgotten.
// Thread-safety: one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "quire/base/units.h"

namespace quire::internal {

class ResidencyChunks {
 public:
  static constexpr std::uint64_t kChunkBytes = 2_MiB;
  static constexpr std::uint64_t kChunksPerCallMax = 64;
  // For fewer ranges in a chunk that is not filled, the question is not worth its price.
  static constexpr std::size_t kRangesPerChunkMin = 3;

  enum class Presence : std::uint8_t { kNone, kSome, kAll };

  // REQUIRES: `mapping` shows the file of `fd` from its start; both outlive this.
  ResidencyChunks(std::span<std::byte> mapping, int fd);

  [[nodiscard]] std::uint64_t chunk_count() const noexcept { return filled_.size(); }
  [[nodiscard]] bool is_filled(std::uint64_t chunk) const noexcept { return filled_[chunk]; }

  // Asks for chunks [first, first + count), at most kChunksPerCallMax. False: the kernel did not
  // answer, and was_resident() says no to everything.
  bool look(std::uint64_t first_chunk, std::uint64_t count);
  // Of the chunks last looked at: whether every page of the range is in memory.
  // REQUIRES: the range lies inside them.
  [[nodiscard]] bool was_resident(ByteRange range) const noexcept;

  // How much of one chunk is in memory; fills it when all is.
  Presence ask(std::uint64_t chunk);
  // REQUIRES: the range is not empty and lies inside the mapping.
  [[nodiscard]] bool is_range_resident(ByteRange range);

 private:
  void note(std::uint64_t chunk, std::span<const unsigned char> pages);
  void fill(std::uint64_t chunk);
  [[nodiscard]] ByteRange bytes_of(std::uint64_t first_chunk, std::uint64_t count) const noexcept;

  std::span<std::byte> mapping_;
  int fd_;
  bool can_count_;  // cachestat answers, and is to be believed.
  std::uint64_t page_bytes_;
  std::uint64_t first_page_ = 0;      // Of pages_.
  std::size_t page_count_ = 0;        // Looked at; 0 after a refusal.
  std::vector<unsigned char> pages_;  // mincore's answer.
  std::vector<bool> filled_;          // By chunk.
};

}  // namespace quire::internal
