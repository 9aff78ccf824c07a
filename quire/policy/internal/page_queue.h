// SPDX-License-Identifier: Apache-2.0
//
// page_queue: first-in, first-out queues of pages that share one memory, each with a line up to
// which its pages are watched.
//
//     tail                 watch line                     head
//      |----- watched -----|--------- not watched --------|
//      v                   v                              v
//   [ chunk ] ---> [ chunk ] ---> [ chunk ] ---> [ chunk ]      a chunk: kChunkPages pages
//      pop_tail()     next_unwatched()           push_head()
//
// An entry is 8 bytes, a page's number, and nothing else. Positions are absolute 64-bit counts of
// what was ever pushed; a position's low bits are its place in its chunk. The queues of one policy
// grow and shrink at each other's expense, so their chunks come from one pool: all of them together
// need 8 bytes for each page that can be in memory, where a ring of its own for each would need
// that as often as there are queues.
//
// Source:        our own; the order is that of any FIFO queue.
// Invariants:    tail <= watch line <= head; a queue holds a chunk for each group of kChunkPages
//                positions from its tail to its head, and no other, but for a partly used one when
//                it is empty; chunks free and in queues add up to the pool.
// Thread-safety: one thread at a time. Cost: O(1) each; keep_if() O(entries). No allocation after
//                construction; memory that was never used is never touched.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "quire/base/check.h"
#include "quire/policy/replacement.h"

namespace quire::internal {

class PagePool {
 public:
  // 512 bytes a chunk: the partly used ones at the ends of a few queues do not matter.
  static constexpr std::size_t kChunkPages = 64;
  static constexpr std::uint32_t kNoChunk = 0xffffffff;

  // Enough for queue_count queues that hold entries_max together, however they are spread.
  PagePool(std::size_t entries_max, std::size_t queue_count)
      : chunk_count_(static_cast<std::uint32_t>(entries_max / kChunkPages + 2 * queue_count)),
        pages_(std::make_unique_for_overwrite<PageId[]>(chunk_count_ * kChunkPages)),
        next_(std::make_unique_for_overwrite<std::uint32_t[]>(chunk_count_)) {
    QUIRE_CHECK_LT(entries_max / kChunkPages + 2 * queue_count, std::size_t{kNoChunk});
  }

  [[nodiscard]] std::uint32_t take() noexcept {
    if (free_ == kNoChunk) {
      QUIRE_CHECK_LT(fresh_, chunk_count_);
      return fresh_++;
    }
    const std::uint32_t chunk = free_;
    free_ = next_[chunk];
    return chunk;
  }
  void give(std::uint32_t chunk) noexcept {
    next_[chunk] = free_;
    free_ = chunk;
  }
  [[nodiscard]] PageId& page(std::uint32_t chunk, std::uint64_t position) noexcept {
    return pages_[chunk * kChunkPages + position % kChunkPages];
  }
  [[nodiscard]] std::uint32_t& next(std::uint32_t chunk) noexcept { return next_[chunk]; }
  [[nodiscard]] std::uint64_t bytes() const noexcept {
    return chunk_count_ * (kChunkPages * sizeof(PageId) + sizeof(std::uint32_t));
  }

 private:
  std::uint32_t chunk_count_;
  std::unique_ptr<PageId[]> pages_;
  std::unique_ptr<std::uint32_t[]> next_;  // Of a free chunk, too.
  std::uint32_t free_ = kNoChunk;
  std::uint32_t fresh_ = 0;  // Chunks from here on were never taken.
};

class PageQueue {
 public:
  explicit PageQueue(PagePool& pool) noexcept : pool_(&pool) {}

  [[nodiscard]] std::uint64_t size() const noexcept { return head_ - tail_; }
  [[nodiscard]] std::uint64_t watched() const noexcept {
    return watch_.position > tail_ ? watch_.position - tail_ : 0;
  }

  void push_head(PageId page) noexcept {
    if (head_ % PagePool::kChunkPages == 0) {
      const std::uint32_t chunk = pool_->take();
      (size() == 0 ? tail_chunk_ : pool_->next(head_chunk_)) = chunk;
      head_chunk_ = chunk;
    }
    pool_->page(head_chunk_, head_++) = page;
  }

  // REQUIRES: size() > 0.
  PageId pop_tail() noexcept {
    QUIRE_DCHECK_LT(tail_, head_);
    const PageId page = pool_->page(tail_chunk_, tail_++);
    if (tail_ % PagePool::kChunkPages == 0) {
      const std::uint32_t chunk = tail_chunk_;
      tail_chunk_ = size() == 0 ? PagePool::kNoChunk : pool_->next(chunk);
      pool_->give(chunk);
    }
    return page;
  }

  // Moves the watch line over as many pages as `pages` holds, or up to the head, and tells them.
  std::size_t next_unwatched(std::span<PageId> pages) noexcept {
    std::size_t count = 0;
    watch_.position = std::max(watch_.position, tail_);
    while (count < pages.size() && watch_.position < head_) {
      pages[count++] = read(watch_);
    }
    return count;
  }

  // Calls see(page) from the tail on, until it returns false.
  template <typename See>
  void for_each(See see) const {
    Cursor cursor{.position = tail_, .chunk = tail_chunk_};
    while (cursor.position < head_ && see(read(cursor))) {
    }
  }

  // Keeps the entries for which keep(page), in their order, on their side of the watch line.
  template <typename Keep>
  void keep_if(Keep keep) {
    const std::uint64_t watched_end = std::max(watch_.position, tail_);
    Cursor from{.position = tail_, .chunk = tail_chunk_};
    Cursor to = from;
    watch_ = from;
    while (from.position < head_) {
      const bool is_watched = from.position < watched_end;
      const PageId page = read(from);
      if (keep(page)) {
        read(to) = page;
      }
      if (is_watched) {
        watch_ = to;
      }
    }
    cut_at(to);
  }

 private:
  struct Cursor {
    std::uint64_t position = 0;
    std::uint32_t chunk = PagePool::kNoChunk;  // Of the position before, when that is in the queue.
  };

  // The entry at the cursor, which moves on. The next chunk is looked up when it is needed: at the
  // head it does not exist before. REQUIRES: position < head.
  PageId& read(Cursor& cursor) const noexcept {
    if (cursor.position == tail_) {
      cursor.chunk = tail_chunk_;
    } else if (cursor.position % PagePool::kChunkPages == 0) {
      cursor.chunk = pool_->next(cursor.chunk);
    }
    return pool_->page(cursor.chunk, cursor.position++);
  }

  // Makes `end` the head, and frees the chunks after it.
  void cut_at(Cursor end) noexcept {
    if (head_chunk_ == PagePool::kNoChunk || end.position == head_) {
      return;
    }
    const bool is_empty = end.position == tail_;
    std::uint32_t chunk = is_empty ? tail_chunk_ : end.chunk;
    const std::uint32_t last = head_chunk_;
    while (chunk != last) {
      const std::uint32_t next = pool_->next(chunk);
      if (is_empty || chunk != end.chunk) {
        pool_->give(chunk);
      }
      chunk = next;
    }
    if (is_empty || last != end.chunk) {
      pool_->give(last);
    }
    head_ = end.position;
    head_chunk_ = is_empty ? PagePool::kNoChunk : end.chunk;
    if (is_empty) {  // On to the beginning of a chunk, which the next push takes.
      tail_ = head_ =
          (head_ + PagePool::kChunkPages - 1) / PagePool::kChunkPages * PagePool::kChunkPages;
      tail_chunk_ = PagePool::kNoChunk;
    }
  }

  PagePool* pool_;
  std::uint64_t tail_ = 0;
  std::uint64_t head_ = 0;
  std::uint32_t tail_chunk_ = PagePool::kNoChunk;
  std::uint32_t head_chunk_ = PagePool::kNoChunk;
  Cursor watch_;
};

}  // namespace quire::internal
