// SPDX-License-Identifier: Apache-2.0
#include "quire/sim/sim_disk.h"

#include <algorithm>
#include <utility>

#include "quire/base/check.h"
#include "quire/base/page_window.h"
#include "quire/sim/internal/flash_array.h"
#include "quire/sim/internal/hdd_mechanism.h"
#include "quire/sim/internal/medium.h"

namespace quire::sim {
namespace {

std::unique_ptr<internal::Medium> make_medium(const DiskModel& model) {
  if (model.is_rotating()) {
    return std::make_unique<internal::HddMechanism>(model);
  }
  return std::make_unique<internal::FlashArray>(model);
}

}  // namespace

SimDisk::SimDisk(const DiskModel& model) : model_(model), medium_(make_medium(model)) {}
SimDisk::~SimDisk() = default;
SimDisk::SimDisk(SimDisk&&) noexcept = default;
SimDisk& SimDisk::operator=(SimDisk&&) noexcept = default;

OperationId SimDisk::submit(const DiskRequest& request, SimTime at) {
  const ByteRange range = request.range;
  QUIRE_CHECK(at >= now_);
  QUIRE_CHECK_EQ(range.offset_bytes % model_.sector_bytes, 0U);
  QUIRE_CHECK_EQ(range.length_bytes % model_.sector_bytes, 0U);
  QUIRE_CHECK((range.length_bytes == 0) == (request.operation == DiskOperation::kFlush));
  QUIRE_CHECK_LE(end_of(range), model_.capacity_bytes);
  const OperationId id = submitted_count_++;
  operations_.emplace(id, Operation{.request = request, .submitted = at});
  schedule(at, Step::kArrive, id);
  return id;
}

void SimDisk::schedule(SimTime at, Step step, OperationId id) {
  events_.push({.at = at, .sequence = event_count_++, .step = step, .id = id});
}

// Events go before the medium's decisions of the same moment, so that those see all of them.
std::optional<DiskCompletion> SimDisk::next_completion(SimTime until) {
  while (true) {
    const SimTime next_event = events_.empty() ? kForever : events_.top().at;
    const SimTime next_medium = medium_->next_event().value_or(kForever);
    const SimTime next = std::min(next_event, next_medium);
    if (next == kForever || next > until) {
      break;
    }
    now_ = next;
    if (next_event > next_medium) {
      run_medium();
      continue;
    }
    const Event event = events_.top();
    events_.pop();
    if (event.step == Step::kComplete) {
      return complete(event.id);
    }
    handle(event);
  }
  if (until != kForever) {
    now_ = std::max(now_, until);
  }
  return std::nullopt;
}

void SimDisk::handle(const Event& event) {
  switch (event.step) {
    case Step::kArrive:
      waiting_.push_back(event.id);
      admit_waiting();
      break;
    case Step::kDecoded: decode(event.id); break;
    case Step::kReceived: receive(event.id); break;
    case Step::kStreaming: send(event.id); break;
    case Step::kComplete: break;  // next_completion() takes it itself.
  }
  QUIRE_DCHECK(inside_count_ <= model_.queue_depth);
}

void SimDisk::admit_waiting() {
  while (!waiting_.empty() && inside_count_ < model_.queue_depth) {
    const OperationId id = waiting_.front();
    waiting_.pop_front();
    ++inside_count_;
    controller_free_ = std::max(controller_free_, now_).plus(model_.controller_ns);
    schedule(controller_free_, Step::kDecoded, id);
  }
}

void SimDisk::decode(OperationId id) {
  const DiskRequest& request = operations_.at(id).request;
  switch (request.operation) {
    case DiskOperation::kRead:
      medium_->read(id, request.range, now_);
      collect_from_medium();
      break;
    case DiskOperation::kWrite:
      schedule(use_link(now_, request.range.length_bytes), Step::kReceived, id);
      break;
    case DiskOperation::kFlush:
      flushes_.push_back(id);
      serve_cache();
      break;
  }
}

// When a transfer that may begin at `ready` has ended.
SimTime SimDisk::use_link(SimTime ready, std::uint64_t bytes) noexcept {
  link_free_ = std::max(ready, link_free_).plus(transfer_ns(bytes, model_.interface_bytes_per_s));
  return link_free_;
}

// The bytes of a write are in the disk.
void SimDisk::receive(OperationId id) {
  if (model_.has_write_cache) {
    waiting_writes_.push_back(id);
    serve_cache();
  } else {
    medium_->write(id, operations_.at(id).request.range, now_);
    collect_from_medium();
  }
}

// The bytes of a read go to the host.
void SimDisk::send(OperationId id) {
  const SimTime sent = use_link(now_, operations_.at(id).request.range.length_bytes);
  schedule(sent.plus(model_.read_latency_ns), Step::kComplete, id);
}

void SimDisk::run_medium() {
  medium_->run(now_);
  collect_from_medium();
  serve_cache();
}

// A read takes the link while the medium still delivers, as late as it can without being late: its
// last sector follows the medium's last byte.
void SimDisk::collect_from_medium() {
  for (const internal::MediumEvent& event : medium_->take_events()) {
    if (event.kind == internal::MediumEvent::Kind::kWritten) {
      schedule(now_, Step::kComplete, event.id);
      continue;
    }
    const std::uint64_t rate = model_.interface_bytes_per_s;
    const std::uint64_t whole_ns =
        transfer_ns(operations_.at(event.id).request.range.length_bytes, rate);
    const SimTime last_sector = event.end.plus(transfer_ns(model_.sector_bytes, rate));
    const SimTime latest{last_sector.ns > whole_ns ? last_sector.ns - whole_ns : 0};
    schedule(std::max({now_, event.begin, latest}), Step::kStreaming, event.id);
  }
}

// Flushes end when the cache is empty; until then it takes nothing. Otherwise it takes what fits,
// in order; a write larger than the whole cache has it to itself.
void SimDisk::serve_cache() {
  if (medium_->unwritten_bytes() == 0) {
    for (const OperationId id : std::exchange(flushes_, {})) {
      schedule(now_.plus(model_.has_write_cache ? model_.flush_ns : 0), Step::kComplete, id);
    }
  }
  while (flushes_.empty() && !waiting_writes_.empty()) {
    const OperationId id = waiting_writes_.front();
    const ByteRange range = operations_.at(id).request.range;
    const std::uint64_t held_bytes = medium_->unwritten_bytes();
    if (held_bytes > 0 && held_bytes + range.length_bytes > model_.cache_bytes) {
      break;
    }
    waiting_writes_.pop_front();
    medium_->destage(range, now_);
    schedule(now_.plus(model_.write_latency_ns), Step::kComplete, id);
  }
  const internal::Urgency urgency = !flushes_.empty()         ? internal::Urgency::kFlush
                                    : waiting_writes_.empty() ? internal::Urgency::kNone
                                                              : internal::Urgency::kRoom;
  medium_->set_urgency(urgency, now_);
}

DiskCompletion SimDisk::complete(OperationId id) {
  const auto at = operations_.find(id);
  const DiskCompletion completion{
      .id = id, .request = at->second.request, .submitted = at->second.submitted, .at = now_};
  operations_.erase(at);
  --inside_count_;
  ++completed_count_;
  const std::uint64_t bytes = completion.request.range.length_bytes;
  switch (completion.request.operation) {
    case DiskOperation::kRead:
      ++counters_.reads;
      counters_.read_bytes += bytes;
      break;
    case DiskOperation::kWrite:
      ++counters_.writes;
      counters_.written_bytes += bytes;
      break;
    case DiskOperation::kFlush: ++counters_.flushes; break;
  }
  admit_waiting();
  return completion;
}

std::uint64_t SimDisk::unflushed_bytes() const noexcept {
  return medium_->unwritten_bytes();
}

DiskCounters SimDisk::counters() const noexcept {
  DiskCounters counters = counters_;
  medium_->add_to(counters);
  return counters;
}

void SimDisk::check_invariants() const {
  QUIRE_CHECK_EQ(submitted_count_ - completed_count_, operations_.size());
  QUIRE_CHECK_LE(inside_count_, model_.queue_depth);
  QUIRE_CHECK_LE(inside_count_ + waiting_.size(), operations_.size());
  QUIRE_CHECK(waiting_.empty() || inside_count_ == model_.queue_depth);
  QUIRE_CHECK_LE(waiting_writes_.size() + flushes_.size(), inside_count_);
  QUIRE_CHECK(model_.has_write_cache || medium_->unwritten_bytes() == 0);
  QUIRE_CHECK(events_.empty() || events_.top().at >= now_);
  QUIRE_CHECK(medium_->next_event().value_or(kForever) >= now_);
  medium_->check_invariants();
}

}  // namespace quire::sim
