// SPDX-License-Identifier: Apache-2.0
#include "quire/journal/internal/image_arena.h"

#include <algorithm>
#include <system_error>

#include "quire/base/page_window.h"
#include "quire/sys/memory.h"
#include "quire/sys/signals.h"

namespace quire::internal {
namespace {

// Of x86-64, and of arm64 with 4 KiB pages. Where it is another, memory aligned to it does no harm.
constexpr PageSize kHugePage{2_MiB};

std::byte* aligned(std::byte* mapping) {
  const auto address = reinterpret_cast<std::uintptr_t>(mapping);
  return mapping + (round_up(address, kHugePage) - address);
}

}  // namespace

// Not of the heap: what is reused of that has its pages already, and they are ordinary ones.
Result<std::unique_ptr<ImageArena>> ImageArena::make(std::uint64_t size_bytes) {
  const std::uint64_t mapping_bytes = round_up(size_bytes, kHugePage) + kHugePage.bytes();
  const sys::Outcome<sys::Address> mapping =
      sys::map_pages({.length_bytes = mapping_bytes,
                      .protection = sys::Protection::kReadWrite,
                      .visibility = sys::Visibility::kPrivate});
  if (!mapping) {
    return fail(sys::to_error(mapping.error(), "get memory", human_bytes(size_bytes)));
  }
  return std::unique_ptr<ImageArena>(new ImageArena(*mapping, mapping_bytes, size_bytes));
}

ImageArena::ImageArena(std::byte* mapping, std::uint64_t mapping_bytes, std::uint64_t size_bytes)
    : mapping_(mapping),
      mapping_bytes_(mapping_bytes),
      begin_(aligned(mapping)),
      size_bytes_(size_bytes),
      chunk_count_(size_bytes / kHugePage.bytes()),
      next_(chunk_count_),
      in_thread_(chunk_count_) {
  // Refused: there are ordinary pages. The last piece of a huge page would be more than asked for.
  const std::uint64_t huge_bytes = chunk_count_ * kHugePage.bytes();
  if (huge_bytes > 0) {
    static_cast<void>(sys::advise_pages(begin_, huge_bytes, sys::MemoryAdvice::kHugePage));
  }
  if (huge_bytes < size_bytes) {
    static_cast<void>(
        sys::advise_pages(begin_ + huge_bytes, kHugePage.bytes(), sys::MemoryAdvice::kNoHugePage));
  }
}

ImageArena::~ImageArena() {
  is_stopping_.store(true);
  if (thread_.joinable()) {
    thread_.join();
  }
  static_cast<void>(sys::unmap_pages(mapping_, mapping_bytes_));
}

void ImageArena::make_ahead() {
  if (size_bytes_ < kAheadBytesMin) {
    return;
  }
  {
    const MutexLock lock(mutex_);
    next_ = 0;
  }
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error&) {
    // None is to be had: prepare() makes it all.
  }
}

void ImageArena::run() {
  sys::block_signals_in_this_thread();
  while (!is_stopping_.load()) {
    Chunk chunk = 0;
    {
      const MutexLock lock(mutex_);
      in_thread_ = chunk = next_;
      if (chunk == chunk_count_) {
        return;
      }
      ++next_;
    }
    if (!make_chunk(chunk)) {
      break;
    }
  }
  const MutexLock lock(mutex_);
  next_ = in_thread_ = chunk_count_;
}

void ImageArena::prepare(std::uint64_t bytes) {
  const Chunk end = std::min(bytes / kHugePage.bytes() + 1, chunk_count_);
  while (true) {
    Chunk chunk = 0;
    {
      const MutexLock lock(mutex_);
      // While the thread makes what is needed here, the next one is made rather than waited for.
      if (next_ == chunk_count_ || (next_ >= end && in_thread_ >= end)) {
        return;
      }
      chunk = next_++;
    }
    if (!make_chunk(chunk)) {
      const MutexLock lock(mutex_);
      next_ = chunk_count_;
    }
  }
}

bool ImageArena::make_chunk(Chunk chunk) const {
  return sys::advise_pages(begin_ + chunk * kHugePage.bytes(), kHugePage.bytes(),
                           sys::MemoryAdvice::kPopulateWrite)
      .has_value();
}

}  // namespace quire::internal
