// SPDX-License-Identifier: Apache-2.0
#include "quire/map/internal/byte_arena.h"

#include <algorithm>
#include <cstring>

#include "quire/base/check.h"
#include "quire/base/page_window.h"

namespace quire::internal {
namespace {

// Address space only, so large; small at first, so that a small set does not reserve much. The
// second chunk of a large set is a huge page.
constexpr std::uint64_t kChunkBytesMin = 256_KiB;
constexpr std::uint64_t kChunkBytesMax = 64_MiB;
constexpr std::uint64_t kChunkGrowth = 8;

// Pages that one madvise populates, at least and at most; a quarter of the chunk in between. What
// was populated in vain goes back with trim().
constexpr std::uint64_t kPopulateBytesMin = 64_KiB;
constexpr std::uint64_t kPopulateBytesMax = 1_MiB;
// Transparent huge pages on x86-64, and on arm64 with pages of 4 KiB. A chunk of them is at least
// one.
constexpr PageSize kHugePage(2_MiB);

// A file may claim to be larger than it is: beyond this, only what is read takes memory.
constexpr std::uint64_t kPopulateBytesOnce = 64_MiB;
static_assert(kPopulateBytesMax <= kChunkBytesMax && kPopulateBytesMin <= kChunkBytesMin);

}  // namespace

ByteArena::ByteArena(std::size_t alignment_bytes) noexcept
    : alignment_bytes_(alignment_bytes), next_chunk_bytes_(kChunkBytesMin) {}

std::uint64_t ByteArena::expected_bytes() const noexcept {
  const std::uint64_t mean_bytes = committed_bytes_ / std::max<std::uint64_t>(entries_so_far_, 1);
  return mean_bytes * entries_to_come_;
}

sys::Outcome<std::span<std::byte>> ByteArena::room(std::uint64_t bytes) {
  if (chunks_.empty() || chunks_.back().length_bytes - chunks_.back().used_bytes < bytes) {
    if (!chunks_.empty()) {
      cut(chunks_.size() - 1);
    }
    QUIRE_TRY(add_chunk(bytes));
  }
  Chunk& chunk = chunks_.back();
  populate(chunk, chunk.used_bytes + bytes);
  return std::span(chunk.first + chunk.used_bytes, bytes);
}

sys::Outcome<std::span<std::byte>> ByteArena::enlarge(std::uint64_t used_bytes,
                                                      std::uint64_t bytes) {
  const Chunk old = chunks_.back();
  if (old.length_bytes - old.used_bytes >= bytes) {
    return room(bytes);
  }
  QUIRE_TRY(add_chunk(bytes));
  const std::span<std::byte> bigger = QUIRE_TRY(room(bytes));
  std::memcpy(bigger.data(), old.first + old.used_bytes, used_bytes);
  cut(chunks_.size() - 2);
  return bigger;
}

std::span<const std::byte> ByteArena::commit(std::uint64_t bytes) noexcept {
  Chunk& chunk = chunks_.back();
  const std::span<const std::byte> entry(chunk.first + chunk.used_bytes, bytes);
  const std::uint64_t end = round_up(chunk.used_bytes + bytes, PageSize(alignment_bytes_));
  committed_bytes_ += end - chunk.used_bytes;
  chunk.used_bytes = std::min(end, chunk.length_bytes);
  chunk.populated_bytes =
      std::max(chunk.populated_bytes, round_up(chunk.used_bytes, sys::os_page_size()));
  return entry;
}

sys::Outcome<void> ByteArena::add_chunk(std::uint64_t bytes_min) {
  const std::uint64_t huge_bytes =
      round_down(std::min(expected_bytes(), next_chunk_bytes_), kHugePage);
  const bool is_huge = huge_bytes > 0 && huge_bytes >= bytes_min;
  const std::uint64_t length_bytes =
      is_huge ? huge_bytes : std::max(round_up(bytes_min, sys::os_page_size()), next_chunk_bytes_);
  ++call_count_;
  const sys::Address first = QUIRE_TRY(sys::map_pages({.length_bytes = length_bytes,
                                                       .protection = sys::Protection::kReadWrite,
                                                       .visibility = sys::Visibility::kPrivate}));
  std::uint64_t step_bytes = std::clamp(length_bytes / 4, kPopulateBytesMin, kPopulateBytesMax);
  if (is_huge) {
    // Where the kernel has no huge pages to give, these are ordinary ones: nothing else changes.
    ++call_count_;
    static_cast<void>(sys::advise_pages(first, length_bytes, sys::MemoryAdvice::kHugePage));
    step_bytes = kHugePage.bytes();
  }
  chunks_.push_back({.first = first, .length_bytes = length_bytes, .step_bytes = step_bytes});
  next_chunk_bytes_ = std::min(next_chunk_bytes_ * kChunkGrowth, kChunkBytesMax);
  return {};
}

void ByteArena::populate(Chunk& chunk, std::uint64_t end_bytes) noexcept {
  if (end_bytes <= chunk.populated_bytes) {
    return;
  }
  const std::uint64_t end =
      std::min({chunk.length_bytes, chunk.populated_bytes + kPopulateBytesOnce,
                round_up(end_bytes, sys::os_page_size()) + chunk.step_bytes});
  if (can_populate_) {
    ++call_count_;
    const sys::Outcome<void> outcome =
        sys::advise_pages(chunk.first + chunk.populated_bytes, end - chunk.populated_bytes,
                          sys::MemoryAdvice::kPopulateWrite);
    // Refused (a kernel before 5.14) it is only slower: reading into the pages makes them.
    can_populate_ = outcome.has_value();
  }
  chunk.populated_bytes = end;
}

void ByteArena::cut(std::size_t index) noexcept {
  Chunk& chunk = chunks_[index];
  const std::uint64_t keep_bytes = round_up(chunk.used_bytes, sys::os_page_size());
  if (keep_bytes == chunk.length_bytes) {
    return;
  }
  ++call_count_;
  if (!sys::unmap_pages(chunk.first + keep_bytes, chunk.length_bytes - keep_bytes)) {
    return;  // Still whole, so release() unmaps all of it.
  }
  chunk.length_bytes = keep_bytes;
  chunk.populated_bytes = std::min(chunk.populated_bytes, keep_bytes);
  if (keep_bytes == 0) {
    chunks_.erase(chunks_.begin() + static_cast<std::ptrdiff_t>(index));
  }
}

void ByteArena::trim() noexcept {
  if (!chunks_.empty()) {
    cut(chunks_.size() - 1);
  }
}

sys::Outcome<void> ByteArena::release() noexcept {
  sys::Outcome<void> first_error;
  for (const Chunk& chunk : chunks_) {
    const sys::Outcome<void> outcome = sys::unmap_pages(chunk.first, chunk.length_bytes);
    if (!outcome && first_error) {
      first_error = outcome;
    }
  }
  chunks_.clear();
  return first_error;
}

std::uint64_t ByteArena::held_bytes() const noexcept {
  std::uint64_t held_bytes = 0;
  for (const Chunk& chunk : chunks_) {
    held_bytes += chunk.populated_bytes;
  }
  return held_bytes;
}

}  // namespace quire::internal
