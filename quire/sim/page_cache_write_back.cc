// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <bit>
#include <utility>

#include "quire/base/check.h"
#include "quire/sim/page_cache.h"

namespace quire::sim {

void PageCache::mark_dirty(std::uint64_t page) {
  Page& changed = pages_[page];
  QUIRE_DCHECK(changed.presence == Presence::kPresent);
  changed.is_used = true;
  if (!changed.is_dirty) {
    changed.is_dirty = true;
    dirty_bits_[page / 64] |= std::uint64_t{1} << (page % 64);
    ++dirty_pages_;
  }
}

// The first dirty page at or after `from`; page_count() when there is none.
std::uint64_t PageCache::next_dirty(std::uint64_t from) const noexcept {
  std::uint64_t word = from / 64;
  if (word >= dirty_bits_.size()) {
    return pages_.size();
  }
  std::uint64_t bits = dirty_bits_[word] & (~std::uint64_t{0} << (from % 64));
  while (bits == 0) {
    if (++word == dirty_bits_.size()) {
      return pages_.size();
    }
    bits = dirty_bits_[word];
  }
  return word * 64 + static_cast<std::uint64_t>(std::countr_zero(bits));
}

// Writes dirty pages that follow one another from `first_page` on; where it stopped.
std::uint64_t PageCache::start_run(std::uint64_t first_page, std::uint64_t end_page,
                                   Written written) {
  std::uint64_t page = first_page;
  const std::uint64_t end = std::min(end_page, first_page + kRequestPages);
  while (page < end && pages_[page].is_dirty && !pages_[page].is_writing) {
    pages_[page].is_dirty = false;
    pages_[page].is_writing = true;
    pages_[page].is_writable = false;  // The next change is seen as one.
    dirty_bits_[page / 64] &= ~(std::uint64_t{1} << (page % 64));
    ++page;
  }
  const std::uint64_t count = page - first_page;
  if (count > 0) {
    dirty_pages_ -= count;
    writing_pages_ += count;
    host_->spend(host_->model().request_ns);
    const OperationId id =
        host_->submit({.operation = DiskOperation::kWrite, .range = on_disk(first_page, count)});
    writes_.push_back(
        {.id = id, .first_page = first_page, .page_count = count, .written = written});
  }
  return page;
}

// Starts writes, in rising order from where the last call ended, until no more than so many pages
// are dirty, or as many writes are under way as may be.
void PageCache::start_writes(std::uint64_t dirty_pages_wanted) {
  bool has_wrapped = false;
  while (dirty_pages_ > dirty_pages_wanted && writes_.size() < kWritesUnderWayMax) {
    const std::uint64_t page = next_dirty(sweep_page_);
    if (page < pages_.size()) {
      // A page that is still being written waits for the next sweep.
      sweep_page_ = std::max(start_run(page, pages_.size(), Written::kKeep), page + 1);
    } else if (has_wrapped) {
      return;
    } else {
      has_wrapped = true;
      sweep_page_ = 0;
    }
  }
}

void PageCache::reap_writes() {
  const std::uint64_t completed = host_->completed_count();
  if (std::exchange(reaped_count_, completed) == completed) {
    return;
  }
  const auto is_over = [this](const WriteUnderWay& write) {
    if (!host_->is_done(write.id)) {
      return false;
    }
    for (std::uint64_t i = 0; i < write.page_count; ++i) {
      const std::uint64_t page = write.first_page + i;
      pages_[page].is_writing = false;
      if (write.written == Written::kDrop) {
        drop_if_clean(page);
      }
    }
    writing_pages_ -= write.page_count;
    return true;
  };
  std::erase_if(writes_, is_over);
}

void PageCache::wait_for_oldest_write() {
  if (!writes_.empty()) {
    host_->wait(writes_.front().id);
  }
  reap_writes();
}

void PageCache::balance() {
  const std::uint64_t background_pages = memory_pages_ / 10;
  const std::uint64_t limit_pages = memory_pages_ / 5;
  if (dirty_pages_ > background_pages) {
    reap_writes();
    start_writes(background_pages);
  }
  while (dirty_pages() > limit_pages) {
    wait_for_oldest_write();
    start_writes(background_pages);
  }
}

void PageCache::write_back(std::uint64_t first_page, std::uint64_t page_count, Written written) {
  const std::uint64_t end = std::min<std::uint64_t>(first_page + page_count, pages_.size());
  std::uint64_t page = next_dirty(first_page);
  while (page < end) {
    while (writes_.size() >= kWritesUnderWayMax) {
      wait_for_oldest_write();
    }
    page = next_dirty(std::max(start_run(page, end, written), page + 1));
  }
}

void PageCache::sync() {
  while (dirty_pages() > 0) {
    start_writes(0);
    wait_for_oldest_write();
  }
  host_->spend(host_->model().request_ns);
  host_->wait(host_->submit({.operation = DiskOperation::kFlush, .range = {0, 0}}));
}

}  // namespace quire::sim
