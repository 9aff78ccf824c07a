// SPDX-License-Identifier: Apache-2.0
#include "quire/io/internal/residency_chunks.h"

#include <algorithm>

#include "quire/base/check.h"
#include "quire/sys/memory.h"

namespace quire::internal {

ResidencyChunks::ResidencyChunks(std::span<std::byte> mapping)
    : mapping_(mapping),
      page_bytes_(sys::os_page_size().bytes()),
      pages_(kChunksPerCallMax * kChunkBytes / page_bytes_),
      populated_((mapping.size() + kChunkBytes - 1) / kChunkBytes) {}

bool ResidencyChunks::look(std::uint64_t first_chunk, std::uint64_t count) {
  QUIRE_DCHECK(count <= kChunksPerCallMax && first_chunk + count <= chunk_count());
  const std::uint64_t start_bytes = first_chunk * kChunkBytes;
  const std::uint64_t length_bytes =
      std::min<std::uint64_t>(count * kChunkBytes, mapping_.size() - start_bytes);
  first_page_ = start_bytes / page_bytes_;
  page_count_ = (length_bytes + page_bytes_ - 1) / page_bytes_;
  const std::span<unsigned char> answer = std::span(pages_).first(page_count_);
  if (!sys::page_residency(mapping_.data() + start_bytes, length_bytes, answer)) {
    page_count_ = 0;
    return false;
  }
  const std::size_t chunk_pages = kChunkBytes / page_bytes_;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::size_t first = i * chunk_pages;
    populate(first_chunk + i, answer.subspan(first, std::min(chunk_pages, page_count_ - first)));
  }
  return true;
}

// A failure changes nothing but speed: the copy faults the pages in.
void ResidencyChunks::populate(std::uint64_t chunk, std::span<const unsigned char> pages) {
  const bool is_whole =
      std::all_of(pages.begin(), pages.end(), [](unsigned char page) { return (page & 1) != 0; });
  if (is_whole && !populated_[chunk]) {
    std::byte* start = mapping_.data() + chunk * kChunkBytes;
    static_cast<void>(
        sys::advise_pages(start, pages.size() * page_bytes_, sys::MemoryAdvice::kPopulateRead));
  }
  populated_[chunk] = is_whole;
}

bool ResidencyChunks::is_resident(ByteRange range) const noexcept {
  if (page_count_ == 0) {
    return false;
  }
  const std::size_t first = range.offset_bytes / page_bytes_ - first_page_;
  const std::size_t last =
      (range.offset_bytes + range.length_bytes - 1) / page_bytes_ - first_page_;
  QUIRE_DCHECK(first <= last && last < page_count_);
  for (std::size_t page = first; page <= last; ++page) {
    if ((pages_[page] & 1) == 0) {
      return false;
    }
  }
  return true;
}

}  // namespace quire::internal
