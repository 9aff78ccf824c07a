// SPDX-License-Identifier: Apache-2.0
//
// ResidencyChunks: which ranges of a mapped file can be copied without waiting, for many ranges at
// once.
//
//   mapping  |.. chunk of 2 MiB ..|.. chunk ..|.. chunk ..|
//   ranges      r r    r            r            r r r r r
//               mincore             (alone: not asked here)
//
// One mincore() answers for a chunk, or for neighbours together. It costs about 0.6 ns a page where
// the page tables are filled, and 3.5 ns where the page cache must be searched; so a chunk that is
// found resident has its page tables filled, once (32 ns a page, no I/O), which also spares the
// copy a fault. A call alone costs 200 ns, half of a small copy: for a chunk with fewer than
// kRangesPerChunkMin ranges the question is not worth it.
// (Figures of one virtual machine; what counts is their order.)
//
// Invariants:    a populated chunk was resident when it was populated; when mincore says otherwise
//                it is forgotten.
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
  static constexpr std::size_t kRangesPerChunkMin = 3;

  // REQUIRES: `mapping` starts at a page boundary of memory and file, and outlives this.
  explicit ResidencyChunks(std::span<std::byte> mapping);

  [[nodiscard]] std::uint64_t chunk_count() const noexcept { return populated_.size(); }
  // Asks for chunks [first, first + count), at most kChunksPerCallMax. False: the kernel did not
  // answer, and is_resident() says no to everything.
  bool look(std::uint64_t first_chunk, std::uint64_t count);
  // Of the chunks last looked at: whether every page of the range is in memory.
  // REQUIRES: the range lies inside them.
  [[nodiscard]] bool is_resident(ByteRange range) const noexcept;

 private:
  void populate(std::uint64_t chunk, std::span<const unsigned char> pages);

  std::span<std::byte> mapping_;
  std::uint64_t page_bytes_;
  std::uint64_t first_page_ = 0;      // Of pages_.
  std::size_t page_count_ = 0;        // Looked at; 0 after a refusal.
  std::vector<unsigned char> pages_;  // mincore's answer.
  std::vector<bool> populated_;       // By chunk.
};

}  // namespace quire::internal
