// SPDX-License-Identifier: Apache-2.0
//
// Residency, reading and eviction; write-back is in page_cache_write_back.cc.
#include "quire/sim/page_cache.h"

#include <algorithm>
#include <bit>

#include "quire/base/check.h"

namespace quire::sim {

PageCache::PageCache(SimHost& host, ByteRange place, std::uint64_t memory_bytes)
    : host_(&host),
      disk_offset_bytes_(place.offset_bytes),
      memory_pages_(memory_bytes / kSimPageBytes),
      stretch_pages_max_(memory_pages_ / 4),
      pages_(place.length_bytes / kSimPageBytes),
      dirty_bits_((pages_.size() + 63) / 64) {
  QUIRE_CHECK(!pages_.empty());
  QUIRE_CHECK_LT(pages_.size(), std::size_t{kNone});
  QUIRE_CHECK_EQ(place.offset_bytes % kSimPageBytes, 0U);
  QUIRE_CHECK_EQ(place.length_bytes % kSimPageBytes, 0U);
  QUIRE_CHECK_GE(memory_pages_, kMemoryPagesMin);
}

bool PageCache::warm(std::uint64_t page) {
  if (resident_pages_ == memory_pages_) {
    return false;
  }
  if (pages_[page].presence == Presence::kAbsent) {
    insert(page, Presence::kPresent);
  }
  return true;
}

void PageCache::warm_all() {
  for (std::uint64_t page = 0; page < pages_.size() && warm(page); ++page) {
  }
}

// --- reading -----------------------------------------------------------------------------------

ByteRange PageCache::on_disk(std::uint64_t first_page, std::uint64_t page_count) const noexcept {
  return {.offset_bytes = disk_offset_bytes_ + first_page * kSimPageBytes,
          .length_bytes = page_count * kSimPageBytes};
}

// Pages of the largest window.
std::uint64_t PageCache::window_max(const SimReader& reader) const noexcept {
  const std::uint64_t pages = host_->model().read_ahead_bytes / kSimPageBytes;
  return std::min(reader.is_doubled ? 2 * pages : pages, stretch_pages_max_);
}

void PageCache::bring(std::uint64_t page, std::uint64_t request_pages, SimReader& reader) {
  needed_page_ = page;
  if (pages_[page].presence == Presence::kAbsent) {
    start_window(page, std::min(request_pages, stretch_pages_max_), reader);
  } else if (pages_[page].is_marked) {
    continue_window(page, reader);
  }
  wait_for(page);
  needed_page_ = kNone;
  pages_[page].is_used = true;
  reader.expected_page = page + 1;
}

bool PageCache::bring_for_fault(std::uint64_t page, SimReader& reader) {
  needed_page_ = page;
  const bool is_major = pages_[page].presence == Presence::kAbsent;
  const std::uint64_t window = window_max(reader);
  if (!is_major) {
    reader.around_misses -= reader.around_misses > 0 ? 1 : 0;
    if (pages_[page].is_marked) {
      continue_window(page, reader);
    }
  } else if (reader.advice == SimAdvice::kSequential) {
    reader.expected_page = page;  // Said to be a stream, wherever it begins.
    start_window(page, window, reader);
  } else if (reader.advice == SimAdvice::kRandom || window == 0 ||
             ++reader.around_misses > kAroundMissesMax) {
    read_window(page, 1, pages_.size());
  } else {
    const std::uint64_t first = page > window / 2 ? page - window / 2 : 0;
    reader.window_first = first;
    reader.window_pages = window;
    reader.window_ahead = window / 4;
    read_window(first, window, first + window - reader.window_ahead);
  }
  wait_for(page);
  needed_page_ = kNone;
  return is_major;
}

void PageCache::ask(std::uint64_t first_page, std::uint64_t page_count) {
  read_window(first_page, std::min(page_count, stretch_pages_max_), pages_.size());
}

void PageCache::bring_empty(std::uint64_t page) {
  if (pages_[page].presence == Presence::kAbsent) {
    make_room(1);
    insert(page, Presence::kPresent);
  } else {
    wait_for(page);
  }
}

// A page that is needed now and not there.
void PageCache::start_window(std::uint64_t page, std::uint64_t request_pages, SimReader& reader) {
  const std::uint64_t most = window_max(reader);
  const bool is_sequential = page == 0 || page == reader.expected_page;
  if (reader.advice == SimAdvice::kRandom || most == 0 ||
      (!is_sequential && request_pages <= most)) {
    read_window(page, request_pages, pages_.size());
    return;
  }
  const std::uint64_t rounded = std::bit_ceil(request_pages);
  const std::uint64_t size = rounded <= most / 32  ? rounded * 4
                             : rounded <= most / 4 ? rounded * 2
                                                   : std::max(most, request_pages);
  reader.window_first = page;
  reader.window_pages = size;
  reader.window_ahead = size > request_pages ? size - request_pages : size / 2;
  read_window(page, size, page + size - reader.window_ahead);
}

// The reader has come to the marked page: the next window, before it is needed.
void PageCache::continue_window(std::uint64_t page, SimReader& reader) {
  pages_[page].is_marked = false;
  const std::uint64_t most = window_max(reader);
  const std::uint64_t current = reader.window_pages;
  reader.window_first += current;
  reader.window_pages =
      current < most / 16 ? current * 4 : (current <= most / 2 ? current * 2 : most);
  reader.window_ahead = reader.window_pages;
  read_window(reader.window_first, reader.window_pages, reader.window_first);
}

// Asks for what is absent of a window, cut at the end of the file.
void PageCache::read_window(std::uint64_t first_page, std::uint64_t page_count,
                            std::uint64_t marked_page) {
  const std::uint64_t end = std::min<std::uint64_t>(first_page + page_count, pages_.size());
  std::uint64_t page = first_page;
  while (page < end) {
    if (pages_[page].presence != Presence::kAbsent) {
      ++page;
      continue;
    }
    std::uint64_t run_end = page + 1;
    while (run_end < end && run_end - page < std::min(kRequestPages, stretch_pages_max_) &&
           pages_[run_end].presence == Presence::kAbsent) {
      ++run_end;
    }
    read_run(page, run_end - page);
    page = run_end;
  }
  if (marked_page < end && pages_[marked_page].presence != Presence::kAbsent) {
    pages_[marked_page].is_marked = true;
  }
}

void PageCache::read_run(std::uint64_t first_page, std::uint64_t page_count) {
  make_room(page_count);
  host_->spend(host_->model().request_ns);
  const OperationId id =
      host_->submit({.operation = DiskOperation::kRead, .range = on_disk(first_page, page_count)});
  for (std::uint64_t page = first_page; page < first_page + page_count; ++page) {
    insert(page, Presence::kReading);
    pages_[page].read = id;
  }
}

void PageCache::wait_for(std::uint64_t page) {
  Page& waited = pages_[page];
  QUIRE_DCHECK(waited.presence != Presence::kAbsent);
  if (waited.presence == Presence::kReading) {
    host_->wait(waited.read);
    waited.presence = Presence::kPresent;
  }
}

// A page whose request has ended meanwhile is present.
void PageCache::settle(Page& page) {
  if (page.presence == Presence::kReading && host_->is_done(page.read)) {
    page.presence = Presence::kPresent;
  }
}

// --- mapping -----------------------------------------------------------------------------------

void PageCache::map_page(std::uint64_t page) noexcept {
  pages_[page].is_mapped = true;
  pages_[page].is_used = true;
}

std::uint64_t PageCache::map_present(std::uint64_t first_page, std::uint64_t page_count) {
  const std::uint64_t end = std::min<std::uint64_t>(first_page + page_count, pages_.size());
  std::uint64_t mapped = 0;
  for (std::uint64_t page = first_page; page < end; ++page) {
    settle(pages_[page]);
    const Page& found = pages_[page];
    if (found.presence == Presence::kPresent && !found.is_mapped && !found.is_marked) {
      pages_[page].is_mapped = true;
      ++mapped;
    }
  }
  return mapped;
}

// --- residency ---------------------------------------------------------------------------------

void PageCache::link_youngest(std::uint64_t page) noexcept {
  const auto index = static_cast<std::uint32_t>(page);
  pages_[page].older = youngest_;
  pages_[page].younger = kNone;
  (youngest_ == kNone ? oldest_ : pages_[youngest_].younger) = index;
  youngest_ = index;
}

void PageCache::unlink(std::uint64_t page) noexcept {
  const Page& gone = pages_[page];
  (gone.older == kNone ? oldest_ : pages_[gone.older].younger) = gone.younger;
  (gone.younger == kNone ? youngest_ : pages_[gone.younger].older) = gone.older;
}

void PageCache::insert(std::uint64_t page, Presence presence) noexcept {
  QUIRE_DCHECK(resident_pages_ < memory_pages_);
  pages_[page].presence = presence;
  link_youngest(page);
  ++resident_pages_;
}

void PageCache::remove(std::uint64_t page) noexcept {
  unlink(page);
  pages_[page] = {};
  --resident_pages_;
}

void PageCache::make_room(std::uint64_t page_count) {
  while (resident_pages_ + page_count > memory_pages_) {
    if (evict_one()) {
      continue;
    }
    // Every page is dirty or under way.
    reap_writes();
    start_writes(0);
    host_->wait_next();
    reap_writes();
  }
}

// Looks at each page twice at most: a used one gets another turn, a busy one too.
bool PageCache::evict_one() {
  for (std::uint64_t looks = 0; looks < 2 * resident_pages_; ++looks) {
    const std::uint32_t index = oldest_;
    Page& page = pages_[index];
    settle(page);
    if (page.presence == Presence::kPresent && !page.is_dirty && !page.is_writing &&
        !page.is_used && index != needed_page_) {
      remove(index);
      return true;
    }
    page.is_used = false;
    unlink(index);
    link_youngest(index);
  }
  return false;
}

void PageCache::drop_if_clean(std::uint64_t page) {
  settle(pages_[page]);
  if (pages_[page].presence == Presence::kPresent && !pages_[page].is_dirty &&
      !pages_[page].is_writing && page != needed_page_) {
    remove(page);
  }
}

void PageCache::drop(std::uint64_t first_page, std::uint64_t page_count) {
  reap_writes();
  const std::uint64_t end = std::min<std::uint64_t>(first_page + page_count, pages_.size());
  for (std::uint64_t page = first_page; page < end; ++page) {
    drop_if_clean(page);
  }
}

void PageCache::check_invariants() const {
  std::uint64_t resident = 0;
  std::uint64_t dirty = 0;
  std::uint64_t writing = 0;
  for (std::uint64_t index = 0; index < pages_.size(); ++index) {
    const Page& page = pages_[index];
    const bool is_held = page.presence != Presence::kAbsent;
    resident += is_held ? 1 : 0;
    dirty += page.is_dirty ? 1 : 0;
    writing += page.is_writing ? 1 : 0;
    QUIRE_CHECK(is_held || (!page.is_dirty && !page.is_writing && !page.is_mapped));
    QUIRE_CHECK(page.presence == Presence::kPresent || (!page.is_dirty && !page.is_mapped));
    QUIRE_CHECK(page.is_mapped || !page.is_writable);
    QUIRE_CHECK_EQ(page.is_dirty, (dirty_bits_[index / 64] >> (index % 64) & 1) != 0);
  }
  QUIRE_CHECK_EQ(resident, resident_pages_);
  QUIRE_CHECK_EQ(dirty, dirty_pages_);
  QUIRE_CHECK_EQ(writing, writing_pages_);
  QUIRE_CHECK_LE(resident_pages_, memory_pages_);
  QUIRE_CHECK_LE(writes_.size(), kWritesUnderWayMax);
  std::uint64_t linked = 0;
  for (std::uint32_t index = oldest_; index != kNone; index = pages_[index].younger) {
    ++linked;
  }
  QUIRE_CHECK_EQ(linked, resident_pages_);
}

}  // namespace quire::sim
