// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "quire/base/check.h"
#include "quire/sim/internal/flash_array.h"

namespace quire::sim::internal {

FlashArray::FlashArray(const DiskModel& model)
    : page_bytes_(model.page_bytes),
      read_ns_(model.read_ns),
      program_ns_(model.program_ns),
      unit_free_(model.units) {
  QUIRE_CHECK(!model.is_rotating());
}

SimTime FlashArray::use_unit(std::size_t unit, SimTime now, std::uint64_t duration_ns) noexcept {
  SimTime& free = unit_free_[unit];
  free = std::max(free, now).plus(duration_ns);
  busy_ns_ += duration_ns;
  return free;
}

SimTime FlashArray::program_page(SimTime now) noexcept {
  const SimTime end = use_unit(next_unit_, now, program_ns_);
  next_unit_ = (next_unit_ + 1) % unit_free_.size();
  ++program_count_;
  return end;
}

void FlashArray::read(OperationId id, ByteRange range, SimTime now) {
  const std::uint64_t first = range.offset_bytes / page_bytes_;
  const std::uint64_t last = (range.offset_bytes + range.length_bytes - 1) / page_bytes_;
  SimTime begin = SimDisk::kForever;
  SimTime end = now;
  for (std::uint64_t page = first; page <= last; ++page) {
    const SimTime done = use_unit(page % unit_free_.size(), now, read_ns_);
    begin = std::min(begin, done);
    end = std::max(end, done);
  }
  report({.kind = MediumEvent::Kind::kReading, .id = id, .begin = begin, .end = end});
}

void FlashArray::write(OperationId id, ByteRange range, SimTime now) {
  const std::uint64_t pages = (range.length_bytes + page_bytes_ - 1) / page_bytes_;
  SimTime end = now;
  for (std::uint64_t i = 0; i < pages; ++i) {
    end = std::max(end, program_page(now));
  }
  programs_.push({.end = end, .sequence = program_count_, .write = id});
}

void FlashArray::program_cached(std::uint64_t bytes, SimTime now) {
  const SimTime end = program_page(now);
  gathered_bytes_ -= bytes;
  programming_bytes_ += bytes;
  programs_.push({.end = end, .sequence = program_count_, .cached_bytes = bytes, .write = {}});
}

void FlashArray::destage(ByteRange range, SimTime now) {
  gathered_bytes_ += range.length_bytes;
  while (gathered_bytes_ >= page_bytes_) {
    program_cached(page_bytes_, now);
  }
  program_partial_if_wanted(now);
}

void FlashArray::set_urgency(Urgency urgency, SimTime now) {
  urgency_ = urgency;
  program_partial_if_wanted(now);
}

// A partial page wastes the rest of it: for a flush, or when nothing else would make room.
void FlashArray::program_partial_if_wanted(SimTime now) {
  const bool is_wanted =
      urgency_ == Urgency::kFlush || (urgency_ == Urgency::kRoom && programming_bytes_ == 0);
  if (is_wanted && gathered_bytes_ > 0) {
    program_cached(gathered_bytes_, now);
  }
}

std::uint64_t FlashArray::unwritten_bytes() const noexcept {
  return gathered_bytes_ + programming_bytes_;
}

std::optional<SimTime> FlashArray::next_event() const noexcept {
  if (programs_.empty()) {
    return std::nullopt;
  }
  return programs_.top().end;
}

void FlashArray::run(SimTime now) {
  const Program done = programs_.top();
  QUIRE_DCHECK(done.end == now);
  programs_.pop();
  programming_bytes_ -= done.cached_bytes;
  if (done.write) {
    report({.kind = MediumEvent::Kind::kWritten, .id = *done.write, .begin = now, .end = now});
  }
  program_partial_if_wanted(now);
}

void FlashArray::add_to(DiskCounters& counters) const noexcept {
  counters.medium_writes += program_count_;
  counters.transfer_ns += busy_ns_;
}

void FlashArray::check_invariants() const {
  QUIRE_CHECK_LT(gathered_bytes_, page_bytes_);
  QUIRE_CHECK_LT(next_unit_, unit_free_.size());
  QUIRE_CHECK(urgency_ != Urgency::kFlush || gathered_bytes_ == 0);
  QUIRE_CHECK(programming_bytes_ == 0 || !programs_.empty());
}

}  // namespace quire::sim::internal
