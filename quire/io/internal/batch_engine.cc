// SPDX-License-Identifier: Apache-2.0
#include "quire/io/internal/batch_engine.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <utility>

#include "quire/base/check.h"
#include "quire/base/page_window.h"
#include "quire/sys/bus_guard.h"
#include "quire/sys/memory.h"

namespace quire::internal {
namespace {

// Copied between two looks at the queue: about 20 us of work at 4 KiB, less than a device takes.
constexpr std::size_t kCopiesPerSlice = 64;

// Classified before the first of them are read: the device shall not wait for all of a batch.
constexpr std::size_t kKeysPerSlice = 256;

// From this size on a range is asked for in the mapping, alone in its chunk or not: the copy is
// dearer than the question.
constexpr std::uint64_t kLargeRangeBytes = 64_KiB;

PageSize alignment_of(const File& file) {
  const KernelTarget* target = file.kernel_target();
  return PageSize(target != nullptr ? std::max(target->read_alignment_bytes, 1U) : 1);
}

}  // namespace

Result<std::unique_ptr<BatchEngine>> BatchEngine::make(const BatchSource& source) {
  auto queue = QUIRE_TRY(IoQueue::make({.depth = source.options().depth}));
  QUIRE_TRY(sys::prepare_guard());
  return std::unique_ptr<BatchEngine>(new BatchEngine(source, std::move(queue)));
}

BatchEngine::BatchEngine(const BatchSource& source, std::unique_ptr<IoQueue> queue)
    : source_(source),
      queue_(std::move(queue)),
      chunks_(source.mapping(), source.cached().fd()),
      alignment_(alignment_of(source.deep())),
      slots_(source.options().depth),
      can_try_(source.options().cache == CacheUse::kKeep) {
  for (Slot& slot : slots_) {
    slot.engine = this;
    free_slots_.push_back(&slot);
  }
}

Result<BatchReport> BatchEngine::read(std::span<ReadRange> ranges) {
  ranges_ = ranges;
  report_ = {.ranges = ranges.size()};
  error_.reset();
  readable_bytes_ = QUIRE_TRY(readable_bytes());
  resident_.clear();
  absent_.clear();
  requests_.clear();
  next_request_ = 0;
  next_copy_ = 0;
  sort_ranges(ranges_, keys_);
  for (std::size_t at = 0; at < keys_.size();) {
    const std::size_t planned = absent_.size();
    at = classify(at, at + kKeysPerSlice);
    plan(planned);
    while (submit_next()) {
    }
    queue_->poll();
  }
  run();
  QUIRE_TRY(read_what_shrank());
  QUIRE_CHECK_EQ(queue_->under_way(), 0U);
  if (error_) {
    return fail(*error_);
  }
  for (const ReadRange& range : ranges_) {
    report_.bytes += range.done_bytes;
  }
  return report_;
}

// From key number `at` at least to `end`; returns the first that was not.
std::size_t BatchEngine::classify(std::size_t at, std::size_t end) {
  end = std::min(end, keys_.size());
  while (at < end) {
    const Run run = next_run(at);
    if (is_filled(run)) {
      at = classify_filled(run);
      continue;
    }
    if (run.is_worth_asking) {
      classify_asked(run);
    } else {
      classify_alone(run.first, run.last);
    }
    at = run.last;
  }
  return at;
}

// Requests for the absent keys from number `first` on, and staging buffers for them.
void BatchEngine::plan(std::size_t first) {
  const std::size_t first_request = requests_.size();
  // What aligning adds at both ends must fit the staging buffer, too.
  const std::uint64_t room_bytes = source_.options().request_bytes_max;
  coalesce(ranges_, absent_, first,
           {.gap_bytes_max = source_.options().coalesce_gap_bytes,
            .request_bytes_max = room_bytes - std::min(room_bytes, 2 * alignment_.bytes())},
           requests_);
  if (const Result<void> made = make_staging(first_request); !made) {
    keep_first(made.error());
  }
}

bool BatchEngine::is_filled(const Run& run) const {
  if (!run.can_be_asked) {
    return false;
  }
  for (std::uint64_t chunk = run.chunk; chunk < run.end_chunk; ++chunk) {
    if (!chunks_.is_filled(chunk)) {
      return false;
    }
  }
  return true;
}

BatchEngine::Run BatchEngine::next_run(std::size_t first) const {
  const std::uint64_t chunk = keys_[first].offset_bytes / ResidencyChunks::kChunkBytes;
  Run run{.first = first, .last = first, .chunk = chunk, .end_chunk = chunk + 1};
  bool has_large = false;
  while (run.last < keys_.size() &&
         keys_[run.last].offset_bytes / ResidencyChunks::kChunkBytes == chunk) {
    const ReadRange& range = range_of(keys_[run.last]);
    const std::uint64_t last_byte = range.offset_bytes + (range.into.size() - 1);
    run.end_chunk = std::max(run.end_chunk, last_byte / ResidencyChunks::kChunkBytes + 1);
    has_large = has_large || range.into.size() >= kLargeRangeBytes;
    ++run.last;
  }
  run.can_be_asked = source_.has_truth() && run.end_chunk <= chunks_.chunk_count() &&
                     run.end_chunk - chunk <= ResidencyChunks::kChunksPerCallMax;
  run.is_worth_asking =
      run.can_be_asked &&
      (has_large || !can_try_ || run.last - run.first >= ResidencyChunks::kRangesPerChunkMin);
  return run;
}

// Filled chunks that touch share a call. Returns the first key that was not in them.
std::size_t BatchEngine::classify_filled(const Run& run) {
  std::size_t last = run.last;
  std::uint64_t end_chunk = run.end_chunk;
  while (last < keys_.size()) {
    const Run next = next_run(last);
    const std::uint64_t joined_end = std::max(end_chunk, next.end_chunk);
    if (!is_filled(next) || next.chunk > end_chunk ||
        joined_end - run.chunk > ResidencyChunks::kChunksPerCallMax) {
      break;
    }
    last = next.last;
    end_chunk = joined_end;
  }
  chunks_.look(run.chunk, end_chunk - run.chunk);
  for (std::size_t i = run.first; i < last; ++i) {
    const bool can_copy = is_readable(keys_[i]) && chunks_.was_resident(bytes_of(keys_[i]));
    (can_copy ? resident_ : absent_).push_back(keys_[i]);
  }
  return last;
}

void BatchEngine::classify_asked(const Run& run) {
  using Presence = ResidencyChunks::Presence;
  bool has_all = true;
  bool has_some = false;
  for (std::uint64_t chunk = run.chunk; chunk < run.end_chunk; ++chunk) {
    const Presence presence = chunks_.ask(chunk);
    has_all = has_all && presence == Presence::kAll;
    has_some = has_some || presence != Presence::kNone;
  }
  for (std::size_t i = run.first; i < run.last; ++i) {
    const bool can_copy = is_readable(keys_[i]) &&
                          (has_all || (has_some && chunks_.is_range_resident(bytes_of(keys_[i]))));
    if (can_copy && !has_all && try_now(keys_[i])) {
      continue;  // Cheaper than the fault that a copy would take.
    }
    (can_copy ? resident_ : absent_).push_back(keys_[i]);
  }
}

// A read that must not wait may start one all the same, which leaves a page in the cache: right for
// kKeep, and the first half of the work; wrong for who wants to go past the cache.
void BatchEngine::classify_alone(std::size_t first, std::size_t last) {
  for (std::size_t i = first; i < last; ++i) {
    if (!can_try_ || !try_now(keys_[i])) {
      absent_.push_back(keys_[i]);
    }
  }
}

bool BatchEngine::try_now(const RangeKey& key) {
  ReadRange& range = range_of(key);
  const auto done = source_.cached().try_read(range.offset_bytes, range.into);
  if (!done || !done->has_value()) {
    // An error is the queue's to find again; one that means "never on this file" is kept.
    can_try_ = can_try_ && (done.has_value() || done.error().code() != Errc::kUnsupported);
    return false;
  }
  range.done_bytes = **done;
  ++report_.resident_ranges;
  return true;
}

// What can be copied from the mapping: not past its end, and not past the file's, where the last
// page goes on with zeros.
Result<std::uint64_t> BatchEngine::readable_bytes() const {
  const std::uint64_t size_bytes = QUIRE_TRY(source_.cached().size_bytes());
  return std::min<std::uint64_t>(size_bytes, source_.mapping().size());
}

// A file that shrank while ranges were copied gave zeros for what it lost of its last page: those
// ranges are read again, which finds the end.
Result<void> BatchEngine::read_what_shrank() {
  const std::uint64_t readable_now = QUIRE_TRY(readable_bytes());
  if (readable_now >= readable_bytes_) {
    return {};
  }
  absent_.clear();
  requests_.clear();
  next_request_ = 0;
  for (const RangeKey& key : resident_) {
    if (key.offset_bytes + range_of(key).into.size() > readable_now) {
      absent_.push_back(key);
    }
  }
  resident_.clear();
  next_copy_ = 0;
  coalesce(ranges_, absent_, 0, {}, requests_);
  run();
  return {};
}

void BatchEngine::run() {
  while (next_request_ < requests_.size() || next_copy_ < resident_.size()) {
    while (submit_next()) {
    }
    if (next_copy_ < resident_.size()) {
      queue_->poll();
      copy_slice();
    } else if (next_request_ < requests_.size()) {
      queue_->wait();
    }
  }
  queue_->drain();
}

// False: nothing left, or no room now.
bool BatchEngine::submit_next() {
  if (next_request_ == requests_.size() || free_slots_.empty()) {
    return false;
  }
  if (error_) {  // The batch has failed: the rest is not started.
    next_request_ = requests_.size();
    return false;
  }
  Slot& slot = *free_slots_.back();
  slot.plan = requests_[next_request_];
  const std::span<std::byte> memory = memory_for(slot);
  free_slots_.pop_back();
  ++next_request_;
  ++report_.requests;
  report_.requested_bytes += slot.plan.length_bytes;
  slot.request = {.store = &source_.deep(),
                  .operation = IoOperation::kRead,
                  .offset_bytes = slot.plan.offset_bytes,
                  .memory = memory,
                  .on_done =
                      [](IoRequest& request) {
                        Slot& done = *static_cast<Slot*>(request.context);
                        done.engine->finish(done);
                      },
                  .context = &slot};
  queue_->submit(slot.request);
  return true;
}

// Where a request reads to.
std::span<std::byte> BatchEngine::memory_for(Slot& slot) {
  if (slot.plan.count == 1) {
    return range_of(absent_[slot.plan.first]).into;
  }
  const std::uint64_t end_bytes =
      round_up(slot.plan.offset_bytes + slot.plan.length_bytes, alignment_);
  slot.plan.offset_bytes = round_down(slot.plan.offset_bytes, alignment_);
  slot.plan.length_bytes = end_bytes - slot.plan.offset_bytes;
  slot.staging = staging_->try_take();
  QUIRE_CHECK(slot.staging.has_value());  // As many buffers as slots.
  return slot.staging->bytes().first(slot.plan.length_bytes);
}

// Buffers as large as the largest request from that number on: touching memory for nothing costs
// more than a request.
Result<void> BatchEngine::make_staging(std::size_t first_request) {
  std::uint64_t largest_bytes = 0;
  for (const PlannedRequest& request : std::span(requests_).subspan(first_request)) {
    if (request.count > 1) {
      largest_bytes = std::max(largest_bytes, request.length_bytes + 2 * alignment_.bytes());
    }
  }
  if (largest_bytes == 0 || (staging_ != nullptr && staging_->buffer_bytes() >= largest_bytes)) {
    return {};
  }
  queue_->drain();  // The smaller buffers are in use until then.
  staging_.reset();
  const std::uint64_t page_bytes = sys::os_page_size().bytes();
  staging_ = QUIRE_TRY(
      BufferPool::make({.buffer_bytes = std::bit_ceil(std::max(largest_bytes, page_bytes)),
                        .buffer_count = source_.options().depth}));
  return {};
}

void BatchEngine::finish(Slot& slot) {
  const Result<std::uint64_t> done = slot.request.result();
  if (!done) {
    keep_first(done.error());
  }
  const std::uint64_t done_bytes = done.value_or(0);
  for (std::size_t i = 0; i < slot.plan.count; ++i) {
    ReadRange& range = range_of(absent_[slot.plan.first + i]);
    range.done_bytes = share_of(slot.plan, done_bytes, range);
    if (slot.staging) {
      const std::byte* from =
          slot.staging->bytes().data() + (range.offset_bytes - slot.plan.offset_bytes);
      std::memcpy(range.into.data(), from, range.done_bytes);
    }
  }
  slot.staging.reset();
  free_slots_.push_back(&slot);
}

void BatchEngine::copy_slice() {
  slice_end_ = std::min(resident_.size(), next_copy_ + kCopiesPerSlice);
  while (next_copy_ < slice_end_) {
    const auto fault = sys::run_guarded(
        source_.mapping(),
        {.run = [](void* engine) { static_cast<BatchEngine*>(engine)->copy_guarded(); },
         .argument = this});
    if (fault) {
      // The range at next_copy_ lost its page: the queue finds out whether that is an end.
      const ReadRange& range = range_of(resident_[next_copy_]);
      absent_.push_back(resident_[next_copy_]);
      requests_.push_back({.offset_bytes = range.offset_bytes,
                           .length_bytes = range.into.size(),
                           .first = absent_.size() - 1,
                           .count = 1});
      ++next_copy_;
    }
  }
}

// Owns nothing: a fault leaves it by a jump, and next_copy_ tells where it was.
void BatchEngine::copy_guarded() {
  const std::byte* base = source_.mapping().data();
  while (next_copy_ < slice_end_) {
    ReadRange& range = range_of(resident_[next_copy_]);
    std::memcpy(range.into.data(), base + range.offset_bytes, range.into.size());
    range.done_bytes = range.into.size();
    // The jump of a fault must find the count in memory, not in a register.
    std::atomic_signal_fence(std::memory_order_seq_cst);
    ++next_copy_;
    ++report_.resident_ranges;
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
}

void BatchEngine::keep_first(std::optional<Error> error) {
  if (!error_) {
    error_ = std::move(error);
  }
}

}  // namespace quire::internal
