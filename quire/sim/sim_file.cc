// SPDX-License-Identifier: Apache-2.0
#include "quire/sim/sim_file.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "quire/base/check.h"
#include "quire/base/page_window.h"

namespace quire::sim {
namespace {

constexpr PageSize kPage{kSimPageBytes};

constexpr DiskRequest kFlush{.operation = DiskOperation::kFlush, .range = {0, 0}};

std::uint64_t first_page_of(ByteRange range) noexcept {
  return range.offset_bytes / kSimPageBytes;
}

std::uint64_t pages_of(ByteRange range) noexcept {
  return pages_touched(range, kPage).value;
}

}  // namespace

// --- UnbufferedFile ----------------------------------------------------------------------------

DiskRequest UnbufferedFile::request(DiskOperation operation, ByteRange range) const noexcept {
  const PageSize sector{host_->disk().model().sector_bytes};
  const std::uint64_t begin = round_down(place_.offset_bytes + range.offset_bytes, sector);
  const std::uint64_t end = round_up(place_.offset_bytes + end_of(range), sector);
  QUIRE_DCHECK(range.length_bytes > 0 && end <= end_of(place_));
  return {.operation = operation, .range = {.offset_bytes = begin, .length_bytes = end - begin}};
}

void UnbufferedFile::read(ByteRange range) {
  host_->enter_kernel();
  host_->spend(host_->model().request_ns);
  host_->wait(host_->submit(request(DiskOperation::kRead, range)));
}

void UnbufferedFile::write(ByteRange range, SimDurability durability) {
  host_->enter_kernel();
  host_->spend(host_->model().request_ns);
  host_->wait(host_->submit(request(DiskOperation::kWrite, range)));
  if (durability == SimDurability::kSync) {
    host_->wait(host_->submit(kFlush));
  }
}

void UnbufferedFile::sync() {
  host_->enter_kernel();
  host_->wait(host_->submit(kFlush));
}

void UnbufferedFile::run(const Queue& queue, const OnDone& on_done) {
  struct Slot {
    std::size_t index = 0;
    std::size_t step = 0;
    SimTime begun;
  };
  QUIRE_CHECK(!queue.steps.empty() && queue.depth > 0);
  std::unordered_map<OperationId, Slot> under_way;
  const auto start_step = [&](const Slot& slot) {
    host_->spend(host_->model().queued_request_ns);
    const DiskOperation operation = queue.steps[slot.step];
    under_way.emplace(host_->submit(operation == DiskOperation::kFlush
                                        ? kFlush
                                        : request(operation, queue.ranges[slot.index])),
                      slot);
  };
  std::size_t next = 0;
  host_->enter_kernel();  // One call takes as many requests as there is room for.
  while (next < queue.ranges.size() && under_way.size() < queue.depth) {
    start_step({.index = next++, .step = 0, .begun = host_->now()});
  }
  while (!under_way.empty()) {
    const auto done = under_way.find(host_->wait_next());
    QUIRE_CHECK(done != under_way.end());
    Slot slot = done->second;
    under_way.erase(done);
    host_->enter_kernel();
    if (++slot.step < queue.steps.size()) {
      start_step(slot);
      continue;
    }
    on_done(slot.index, host_->now().ns - slot.begun.ns);
    if (next < queue.ranges.size()) {
      start_step({.index = next++, .step = 0, .begun = host_->now()});
    }
  }
}

// --- BufferedFile ------------------------------------------------------------------------------

void BufferedFile::read(ByteRange range) {
  SimHost& host = cache_->host();
  host.enter_kernel();
  const std::uint64_t first = first_page_of(range);
  const std::uint64_t count = pages_of(range);
  for (std::uint64_t i = 0; i < count; ++i) {
    cache_->bring(first + i, count - i, reader_);
  }
  host.spend(count * host.model().page_lookup_ns);
  host.spend_copy(range.length_bytes);
}

// A page that is written in part keeps the rest, which has to be there first; beyond the end of the
// file there is none.
void BufferedFile::touch_for_write(std::uint64_t page, ByteRange range) {
  const std::uint64_t begin = page * kSimPageBytes;
  const ByteRange whole{.offset_bytes = begin, .length_bytes = kSimPageBytes};
  if (begin >= size_bytes_ || intersect(whole, range).length_bytes == kSimPageBytes) {
    cache_->bring_empty(page);
  } else {
    cache_->bring(page, 1, reader_);
  }
  cache_->mark_dirty(page);
}

void BufferedFile::write(ByteRange range) {
  SimHost& host = cache_->host();
  host.enter_kernel();
  const std::uint64_t first = first_page_of(range);
  const std::uint64_t count = pages_of(range);
  for (std::uint64_t page = first; page < first + count; ++page) {
    touch_for_write(page, range);
  }
  size_bytes_ = std::max(size_bytes_, end_of(range));
  host.spend(count * host.model().page_lookup_ns);
  host.spend_copy(range.length_bytes);
  cache_->balance();
}

void BufferedFile::read_and_drop(ByteRange range) {
  read(range);
  cache_->drop(first_page_of(range), pages_of(range));
}

void BufferedFile::write_and_drop(ByteRange range) {
  write(range);
  cache_->write_back(first_page_of(range), pages_of(range), PageCache::Written::kDrop);
}

void BufferedFile::ask(ByteRange range) {
  cache_->host().spend(cache_->host().model().queued_request_ns);
  cache_->ask(first_page_of(range), pages_of(range));
}

void BufferedFile::sync() {
  cache_->host().enter_kernel();
  cache_->sync();
}

// --- MappedFile --------------------------------------------------------------------------------

void MappedFile::fault(std::uint64_t page) {
  SimHost& host = cache_->host();
  host.spend(host.model().minor_fault_ns);
  const bool is_major = cache_->bring_for_fault(page, reader_);
  ++(is_major ? major_faults_ : minor_faults_);
  cache_->map_page(page);
  const std::uint64_t around = page / kFaultAroundPages * kFaultAroundPages;
  host.spend(cache_->map_present(around, kFaultAroundPages) * host.model().populate_page_ns);
}

// A store to a clean page traps even when the page is mapped: the kernel marks it dirty.
void MappedFile::fault_for_store(std::uint64_t page) {
  SimHost& host = cache_->host();
  host.spend(host.model().minor_fault_ns);
  bool is_major = false;
  if (is_new(page)) {
    cache_->bring_empty(page);
  } else if (!cache_->is_mapped(page)) {
    is_major = cache_->bring_for_fault(page, reader_);
  }
  ++(is_major ? major_faults_ : minor_faults_);
  cache_->map_page(page);
  cache_->set_writable(page);
  cache_->mark_dirty(page);
  cache_->balance();
}

void MappedFile::load(ByteRange range) {
  const std::uint64_t first = first_page_of(range);
  for (std::uint64_t page = first; page < first + pages_of(range); ++page) {
    if (!cache_->is_mapped(page)) {
      fault(page);
    }
    cache_->note_use(page);
  }
  cache_->host().spend_copy(range.length_bytes);
}

void MappedFile::store(ByteRange range) {
  const std::uint64_t first = first_page_of(range);
  for (std::uint64_t page = first; page < first + pages_of(range); ++page) {
    if (!cache_->is_writable(page)) {
      fault_for_store(page);
    }
    cache_->note_use(page);
  }
  cache_->host().spend_copy(range.length_bytes);
}

void MappedFile::populate(ByteRange range) {
  SimHost& host = cache_->host();
  host.enter_kernel();
  SimReader sequential{.advice = SimAdvice::kSequential};
  const std::uint64_t first = first_page_of(range);
  for (std::uint64_t page = first; page < first + pages_of(range); ++page) {
    cache_->bring(page, 1, sequential);
    cache_->map_page(page);
    host.spend(host.model().populate_page_ns);
  }
}

void MappedFile::populate_for_store(ByteRange range) {
  SimHost& host = cache_->host();
  host.enter_kernel();
  SimReader sequential{.advice = SimAdvice::kSequential};
  const std::uint64_t first = first_page_of(range);
  for (std::uint64_t page = first; page < first + pages_of(range); ++page) {
    if (is_new(page)) {
      cache_->bring_empty(page);
    } else {
      cache_->bring(page, 1, sequential);
    }
    cache_->map_page(page);
    cache_->set_writable(page);
    cache_->mark_dirty(page);
    host.spend(host.model().populate_page_ns);
  }
  cache_->balance();
}

void MappedFile::sync() {
  cache_->host().enter_kernel();
  cache_->sync();
}

}  // namespace quire::sim
