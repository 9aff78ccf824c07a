// SPDX-License-Identifier: Apache-2.0
#include "quire/io/internal/residency_chunks.h"

#include <algorithm>

#include "quire/base/check.h"
#include "quire/base/page_window.h"
#include "quire/sys/file.h"
#include "quire/sys/file_system.h"
#include "quire/sys/memory.h"

namespace quire::internal {
namespace {

bool is_present(unsigned char page) noexcept {
  return (page & 1) != 0;
}

}  // namespace

ResidencyChunks::ResidencyChunks(std::span<std::byte> mapping, int fd)
    : mapping_(mapping),
      fd_(fd),
      can_count_(sys::has_cache_counts(fd).value_or(false)),
      page_bytes_(sys::os_page_size().bytes()),
      pages_(kChunksPerCallMax * kChunkBytes / page_bytes_),
      filled_((mapping.size() + kChunkBytes - 1) / kChunkBytes) {}

ByteRange ResidencyChunks::bytes_of(std::uint64_t first_chunk, std::uint64_t count) const noexcept {
  return intersect({first_chunk * kChunkBytes, count * kChunkBytes}, {0, mapping_.size()});
}

bool ResidencyChunks::look(std::uint64_t first_chunk, std::uint64_t count) {
  QUIRE_DCHECK(count <= kChunksPerCallMax && first_chunk + count <= chunk_count());
  const ByteRange bytes = bytes_of(first_chunk, count);
  first_page_ = bytes.offset_bytes / page_bytes_;
  page_count_ = (bytes.length_bytes + page_bytes_ - 1) / page_bytes_;
  const std::span<unsigned char> answer = std::span(pages_).first(page_count_);
  if (!sys::page_residency(mapping_.data() + bytes.offset_bytes, bytes.length_bytes, answer)) {
    page_count_ = 0;
    return false;
  }
  const std::size_t chunk_pages = kChunkBytes / page_bytes_;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::size_t first = i * chunk_pages;
    note(first_chunk + i, answer.subspan(first, std::min(chunk_pages, page_count_ - first)));
  }
  return true;
}

void ResidencyChunks::note(std::uint64_t chunk, std::span<const unsigned char> pages) {
  if (!std::all_of(pages.begin(), pages.end(), is_present)) {
    filled_[chunk] = false;
  } else if (!filled_[chunk]) {
    fill(chunk);
  }
}

// A failure changes nothing but speed: the copy faults the pages in.
void ResidencyChunks::fill(std::uint64_t chunk) {
  const ByteRange bytes = bytes_of(chunk, 1);
  const std::uint64_t length_bytes = round_up(bytes.length_bytes, sys::os_page_size());
  static_cast<void>(sys::advise_pages(mapping_.data() + bytes.offset_bytes, length_bytes,
                                      sys::MemoryAdvice::kPopulateRead));
  filled_[chunk] = true;
}

bool ResidencyChunks::was_resident(ByteRange range) const noexcept {
  if (page_count_ == 0) {
    return false;
  }
  const std::size_t first = range.offset_bytes / page_bytes_ - first_page_;
  const std::size_t last = (end_of(range) - 1) / page_bytes_ - first_page_;
  QUIRE_DCHECK(first <= last && last < page_count_);
  return std::all_of(pages_.begin() + std::ptrdiff_t(first),
                     pages_.begin() + std::ptrdiff_t(last) + 1, is_present);
}

ResidencyChunks::Presence ResidencyChunks::ask(std::uint64_t chunk) {
  const ByteRange bytes = bytes_of(chunk, 1);
  if (can_count_) {
    const sys::Outcome<sys::CacheStatus> status = sys::cache_status(fd_, bytes);
    if (status) {
      const std::uint64_t pages = (bytes.length_bytes + page_bytes_ - 1) / page_bytes_;
      if (status->cached.value >= pages) {
        fill(chunk);
        return Presence::kAll;
      }
      return status->cached.value == 0 ? Presence::kNone : Presence::kSome;
    }
    can_count_ = false;
  }
  if (!look(chunk, 1)) {
    return Presence::kNone;
  }
  return filled_[chunk] ? Presence::kAll : Presence::kSome;
}

bool ResidencyChunks::is_range_resident(ByteRange range) {
  const std::uint64_t start = round_down(range.offset_bytes, sys::os_page_size());
  const std::uint64_t length_bytes = end_of(range) - start;
  const std::size_t count = (length_bytes + page_bytes_ - 1) / page_bytes_;
  QUIRE_DCHECK(end_of(range) <= mapping_.size());
  page_count_ = 0;  // What was looked at is overwritten.
  if (count > pages_.size()) {
    return false;
  }
  const std::span<unsigned char> answer = std::span(pages_).first(count);
  return sys::page_residency(mapping_.data() + start, length_bytes, answer) &&
         std::all_of(answer.begin(), answer.end(), is_present);
}

}  // namespace quire::internal
