// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "quire/base/check.h"
#include "quire/base/page_window.h"
#include "quire/sim/internal/hdd_mechanism.h"

namespace quire::sim::internal {

HddMechanism::HddMechanism(const DiskModel& model)
    : geometry_(model),
      capacity_bytes_(model.capacity_bytes / model.sector_bytes * model.sector_bytes),
      read_ahead_bytes_(model.read_ahead_bytes / model.sector_bytes * model.sector_bytes),
      buffer_bytes_(model.cache_bytes) {}

// --- where the head is -------------------------------------------------------------------------

// When the head, reading on along the stretch, comes to a byte; long ago, if the buffer has it.
SimTime HddMechanism::stretch_begin(std::uint64_t offset_bytes) const noexcept {
  if (offset_bytes < stretch_->base_bytes) {
    return {0};
  }
  return stretch_->base_at.plus(geometry_.stream_begin_ns(offset_bytes) -
                                geometry_.stream_begin_ns(stretch_->base_bytes));
}

// When it has passed everything before `end_bytes`.
SimTime HddMechanism::stretch_end(std::uint64_t end_bytes) const noexcept {
  if (end_bytes <= stretch_->base_bytes) {
    return {0};
  }
  return stretch_->base_at.plus(geometry_.stream_end_ns(end_bytes) -
                                geometry_.stream_begin_ns(stretch_->base_bytes));
}

SimTime HddMechanism::stretch_stop() const noexcept {
  return stretch_end(stretch_->limit_bytes);
}

std::uint64_t HddMechanism::track_now(SimTime now) const noexcept {
  if (!stretch_) {
    return track_;
  }
  if (now >= stretch_stop()) {
    return geometry_.track_of(stretch_->limit_bytes - 1);
  }
  const std::uint64_t base_ns = geometry_.stream_begin_ns(stretch_->base_bytes);
  return now <= stretch_->base_at
             ? geometry_.track_of(stretch_->base_bytes)
             : geometry_.track_at_stream(base_ns + (now.ns - stretch_->base_at.ns));
}

HddMechanism::Positioning HddMechanism::position(std::uint64_t offset_bytes,
                                                 SimTime now) const noexcept {
  const std::uint64_t seek_ns = geometry_.seek_ns(track_now(now), geometry_.track_of(offset_bytes));
  return {.seek_ns = seek_ns,
          .rotation_ns = geometry_.rotational_wait_ns(offset_bytes, now.plus(seek_ns))};
}

bool HddMechanism::continues_stretch(ByteRange range) const noexcept {
  return stretch_ && range.offset_bytes >= stretch_->begin_bytes &&
         range.offset_bytes <= stretch_->limit_bytes;
}

// How long until the first byte of a job, which is what the choice goes by.
std::uint64_t HddMechanism::cost_ns(const Job& job, SimTime now) const noexcept {
  if (job.is_write || !continues_stretch(job.range)) {
    return position(job.range.offset_bytes, now).total_ns();
  }
  if (now <= stretch_stop() || end_of(job.range) <= stretch_->limit_bytes) {
    const SimTime there = stretch_begin(job.range.offset_bytes);
    return there > now ? there.ns - now.ns : 0;
  }
  return position(stretch_->limit_bytes, now).total_ns();
}

void HddMechanism::count(const Positioning& positioning) noexcept {
  counters_.seeks += positioning.seek_ns > 0 ? 1 : 0;
  counters_.seek_ns += positioning.seek_ns;
  counters_.rotation_ns += positioning.rotation_ns;
}

// --- work arrives ------------------------------------------------------------------------------

void HddMechanism::read(OperationId id, ByteRange range, SimTime now) {
  jobs_.push_back({.id = id, .is_write = false, .range = range, .arrived = now});
  decide_at_ = now;
}

void HddMechanism::write(OperationId id, ByteRange range, SimTime now) {
  jobs_.push_back({.id = id, .is_write = true, .range = range, .arrived = now});
  decide_at_ = now;
}

void HddMechanism::destage(ByteRange range, SimTime now) {
  std::uint64_t begin = range.offset_bytes;
  std::uint64_t end = end_of(range);
  auto at = cached_.upper_bound(begin);
  if (at != cached_.begin() && std::prev(at)->second >= begin) {
    --at;
  }
  while (at != cached_.end() && at->first <= end) {
    begin = std::min(begin, at->first);
    end = std::max(end, at->second);
    cached_bytes_ -= at->second - at->first;
    at = cached_.erase(at);
  }
  cached_.emplace(begin, end);
  cached_bytes_ += end - begin;
  decide_at_ = now;
}

void HddMechanism::set_urgency(Urgency urgency, SimTime now) {
  urgency_ = urgency;
  decide_at_ = now;
}

std::uint64_t HddMechanism::unwritten_bytes() const noexcept {
  return cached_bytes_ + (running_ ? running_->cached_bytes : 0);
}

std::optional<SimTime> HddMechanism::next_event() const noexcept {
  if (running_) {
    return running_->end;
  }
  if (jobs_.empty() && cached_.empty()) {
    return std::nullopt;
  }
  return decide_at_;
}

// --- work is done ------------------------------------------------------------------------------

void HddMechanism::run(SimTime now) {
  if (running_) {
    finish_running(now);
    return;
  }
  const bool is_cache_first = urgency_ != Urgency::kNone && !was_destaging_;
  if (!cached_.empty() && (jobs_.empty() || is_cache_first)) {
    was_destaging_ = true;
    start_destage(now);
    return;
  }
  was_destaging_ = false;
  const auto chosen = choose_job(now);
  const Job job = *chosen;
  jobs_.erase(chosen);
  start_job(job, now);
}

void HddMechanism::finish_running(SimTime now) {
  const Running done = *running_;
  running_.reset();
  decide_at_ = now;
  if (done.write) {
    report({.kind = MediumEvent::Kind::kWritten, .id = *done.write, .begin = now, .end = now});
  }
}

// Jobs lie in the order of arrival, so the first is the oldest and wins ties.
std::vector<HddMechanism::Job>::iterator HddMechanism::choose_job(SimTime now) {
  if (now.ns - jobs_.front().arrived.ns >= kStarvationNs) {
    return jobs_.begin();
  }
  auto best = jobs_.begin();
  std::uint64_t best_ns = cost_ns(*best, now);
  for (auto job = std::next(best); job != jobs_.end(); ++job) {
    const std::uint64_t job_ns = cost_ns(*job, now);
    if (job_ns < best_ns) {
      best = job;
      best_ns = job_ns;
    }
  }
  return best;
}

void HddMechanism::start_job(const Job& job, SimTime now) {
  if (job.is_write) {
    running_ = Running{.end = start_write(job.range, now), .write = job.id};
  } else {
    start_read(job, now);
  }
}

void HddMechanism::start_read(const Job& job, SimTime now) {
  const std::uint64_t begin_bytes = job.range.offset_bytes;
  const std::uint64_t end_bytes = end_of(job.range);
  const bool is_buffered = continues_stretch(job.range) && end_bytes <= stretch_->limit_bytes;
  if (!continues_stretch(job.range)) {
    const Positioning positioning = position(begin_bytes, now);
    count(positioning);
    stretch_ = Stretch{.begin_bytes = begin_bytes,
                       .base_bytes = begin_bytes,
                       .base_at = now.plus(positioning.total_ns()),
                       .limit_bytes = end_bytes};
  } else if (now > stretch_stop()) {
    // The head stopped at the limit; it goes on from there, for this read or for the next.
    const std::uint64_t resume_bytes = stretch_->limit_bytes;
    if (resume_bytes < capacity_bytes_) {
      const Positioning positioning = position(resume_bytes, now);
      if (!is_buffered) {
        count(positioning);
      }
      stretch_->base_at = now.plus(positioning.total_ns());
      stretch_->base_bytes = resume_bytes;
    }
  }
  const std::uint64_t ahead_bytes = std::min(end_bytes + read_ahead_bytes_, capacity_bytes_);
  stretch_->limit_bytes = std::max(stretch_->limit_bytes, ahead_bytes);
  if (stretch_->limit_bytes - stretch_->begin_bytes > buffer_bytes_) {
    stretch_->begin_bytes = std::min(begin_bytes, stretch_->limit_bytes - buffer_bytes_);
  }
  const SimTime data_begin = std::max(now, stretch_begin(begin_bytes));
  const SimTime data_end = std::max(now, stretch_end(end_bytes));
  counters_.read_ahead_hits += data_end == now ? 1 : 0;
  counters_.transfer_ns += data_end.ns - data_begin.ns;
  report({.kind = MediumEvent::Kind::kReading, .id = job.id, .begin = data_begin, .end = data_end});
  if (data_end > now) {
    running_ = Running{.end = data_end, .write = {}};
  }
}

// Returns when the last byte is on the platter.
SimTime HddMechanism::start_write(ByteRange range, SimTime now) {
  const Positioning positioning = position(range.offset_bytes, now);
  const std::uint64_t duration_ns =
      geometry_.stream_end_ns(end_of(range)) - geometry_.stream_begin_ns(range.offset_bytes);
  count(positioning);
  ++counters_.medium_writes;
  counters_.transfer_ns += duration_ns;
  stretch_.reset();
  track_ = geometry_.track_of(end_of(range) - 1);
  return now.plus(positioning.total_ns() + duration_ns);
}

// The next cached bytes at or after where the last ended, then from the start of the disk again.
void HddMechanism::start_destage(SimTime now) {
  auto at = cached_.lower_bound(sweep_bytes_);
  if (at == cached_.end()) {
    at = cached_.begin();
  }
  const auto [begin, end] = *at;
  const std::uint64_t taken = std::min(end - begin, kDestageBytesMax);
  cached_.erase(at);
  if (begin + taken < end) {
    cached_.emplace(begin + taken, end);
  }
  cached_bytes_ -= taken;
  sweep_bytes_ = begin + taken;
  running_ = Running{.end = start_write({.offset_bytes = begin, .length_bytes = taken}, now),
                     .write = {},
                     .cached_bytes = taken};
}

void HddMechanism::add_to(DiskCounters& counters) const noexcept {
  counters.read_ahead_hits += counters_.read_ahead_hits;
  counters.medium_writes += counters_.medium_writes;
  counters.seeks += counters_.seeks;
  counters.seek_ns += counters_.seek_ns;
  counters.rotation_ns += counters_.rotation_ns;
  counters.transfer_ns += counters_.transfer_ns;
}

void HddMechanism::check_invariants() const {
  std::uint64_t bytes = 0;
  std::uint64_t last_end = 0;
  for (const auto& [begin, end] : cached_) {
    QUIRE_CHECK_LT(begin, end);
    QUIRE_CHECK(bytes == 0 || begin > last_end);
    bytes += end - begin;
    last_end = end;
  }
  QUIRE_CHECK_EQ(bytes, cached_bytes_);
  QUIRE_CHECK_LE(last_end, capacity_bytes_);
  if (stretch_) {
    QUIRE_CHECK_LE(stretch_->begin_bytes, stretch_->limit_bytes);
    QUIRE_CHECK_LE(stretch_->base_bytes, stretch_->limit_bytes);
    QUIRE_CHECK_LE(stretch_->limit_bytes, capacity_bytes_);
  }
}

}  // namespace quire::sim::internal
