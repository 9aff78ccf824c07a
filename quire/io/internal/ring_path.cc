// SPDX-License-Identifier: Apache-2.0
#include "quire/io/internal/ring_path.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "quire/base/check.h"
#include "quire/base/page_window.h"

namespace quire::internal {
namespace {

// Unaligned reads up to this go through one buffer in one entry; larger ones piece by piece.
constexpr std::uint64_t kBounceBytes = 128_KiB;
// Bounds the pool to 8 MiB: that many bounced reads keep any one device busy.
constexpr std::uint32_t kBouncesMax = 64;

// An entry that is interrupted goes to a worker of the kernel, which may wait; four times is more
// than chance.
constexpr std::uint32_t kTriesMax = 4;

bool is_multiple(std::uint64_t value, std::uint64_t alignment) noexcept {
  return value % alignment == 0;
}

bool is_aligned(std::span<const std::byte> memory, std::uint64_t alignment) noexcept {
  return is_multiple(reinterpret_cast<std::uintptr_t>(memory.data()), alignment);
}

std::error_code to_code(int value) noexcept {
  return {value, std::system_category()};
}

// One for each slot of the queue, and the wake-up.
std::uint32_t entries_of(const IoQueueOptions& options) noexcept {
  return options.depth + IoQueueOptions::kAwaitsMax + 1;
}

}  // namespace

sys::Outcome<std::unique_ptr<RingPath>> RingPath::open(const IoQueueOptions& options,
                                                       const sys::Descriptor& wake) {
  sys::Ring ring = QUIRE_TRY(sys::Ring::open({.submission_entries = entries_of(options)}));
  return std::unique_ptr<RingPath>(new RingPath(std::move(ring), options, wake));
}

RingPath::RingPath(sys::Ring ring, const IoQueueOptions& options, const sys::Descriptor& wake)
    : ring_(std::move(ring)), options_(options), wake_(wake) {
  prepared_.reserve(entries_of(options));
  register_all();
}

sys::Outcome<void> RingPath::adopt() {
  QUIRE_CHECK_EQ(ring_.in_flight(), 0U);
  sys::Ring ring = QUIRE_TRY(sys::Ring::open({.submission_entries = entries_of(options_)}));
  system_calls_before_ += ring_.system_calls();
  ring_ = std::move(ring);
  owner_ = std::this_thread::get_id();
  register_all();
  return {};
}

// What a ring is told at its beginning. All of it is done without where the kernel refuses.
void RingPath::register_all() {
  register_buffers();
  has_file_table_ = false;
  for (std::uint32_t slot = 0; slot < registered_targets_.size(); ++slot) {
    if (registered_targets_[slot] != nullptr) {
      register_file(slot);
    }
  }
}

void RingPath::register_buffers() {
  if (options_.registered == nullptr) {
    return;
  }
  const BufferPool& pool = *options_.registered;
  std::vector<sys::Buffer> buffers;
  for (std::uint32_t i = 0; i < pool.buffer_count(); ++i) {
    buffers.push_back({.data = pool.memory().data() + i * pool.buffer_bytes(),
                       .length_bytes = pool.buffer_bytes()});
  }
  const sys::Outcome<void> outcome = ring_.register_buffers(buffers);
  is_registered_ = outcome.has_value();
  note_ = is_registered_ ? "registered buffers"
                         : "buffers not registered: " + errno_name(outcome.error().value);
}

void RingPath::register_target(const KernelTarget& target) {
  const auto* const free_slot = std::ranges::find(registered_targets_, nullptr);
  if (free_slot == registered_targets_.end() ||
      std::ranges::find(registered_targets_, &target) != registered_targets_.end()) {
    return;
  }
  const auto slot = static_cast<std::uint32_t>(free_slot - registered_targets_.begin());
  registered_targets_[slot] = &target;
  register_file(slot);
}

void RingPath::forget_target(const KernelTarget& target) {
  for (std::uint32_t slot = 0; slot < registered_targets_.size(); ++slot) {
    if (registered_targets_[slot] == &target) {
      registered_targets_[slot] = nullptr;
      // Cannot fail but for a bug: the slot is there, and emptying it takes nothing.
      static_cast<void>(ring_.update_file(slot, -1));
    }
  }
}

void RingPath::register_file(std::uint32_t slot) {
  if (!has_file_table_) {
    has_file_table_ = ring_.register_files(IoQueueOptions::kRegisteredStoresMax).has_value();
  }
  if (!has_file_table_ || !ring_.update_file(slot, registered_targets_[slot]->fd)) {
    registered_targets_[slot] = nullptr;
  }
}

sys::RingFile RingPath::file_of(const KernelTarget& target) const noexcept {
  if (has_file_table_) {
    const auto* const found = std::ranges::find(registered_targets_, &target);
    if (found != registered_targets_.end()) {
      return sys::registered_file(static_cast<std::uint32_t>(found - registered_targets_.begin()));
    }
  }
  return sys::ring_file(target.fd);
}

// --- preparing ----------------------------------------------------------------------------------

Next RingPath::prepare(QueueSlot& slot) {
  if (slot.is_await()) {
    return prepare_await(slot);
  }
  const KernelTarget& target = *slot.request->store->kernel_target();
  if (slot.rest().size() > kFileOffsetMax - std::min(slot.position_bytes(), kFileOffsetMax)) {
    return Next::kHandOver;  // Beyond any file: the Store says what that means.
  }
  slot.is_kernels = true;
  return slot.request->operation == IoOperation::kRead ? prepare_read(slot, target)
                                                       : prepare_write(slot, target);
}

Next RingPath::prepare_read(QueueSlot& slot, const KernelTarget& target) {
  const std::span<std::byte> rest = slot.rest();
  const std::uint64_t block_bytes = target.read_alignment_bytes;
  const bool starts_aligned = is_multiple(slot.position_bytes(), block_bytes) &&
                              is_aligned(rest, target.memory_alignment_bytes);
  if (!starts_aligned || rest.size() < block_bytes ||
      (!is_multiple(rest.size(), block_bytes) && rest.size() < kBounceBytes)) {
    return prepare_bounced(slot, target);
  }
  slot.bounce.reset();
  enter_read(slot, target, rest.first(rest.size() - rest.size() % block_bytes),
             slot.position_bytes());
  return Next::kUnderWay;
}

// Whole blocks around what is wanted, as many as fit the buffer.
Next RingPath::prepare_bounced(QueueSlot& slot, const KernelTarget& target) {
  const PageSize block(std::max(target.read_alignment_bytes, std::uint32_t{1}));
  if (block.bytes() > kBounceBytes || target.memory_alignment_bytes > kBounceBytes) {
    return Next::kHandOver;
  }
  if (!slot.bounce && bounce_pool_ == nullptr && !make_bounce_pool()) {
    return Next::kHandOver;
  }
  if (!slot.bounce) {
    slot.bounce = bounce_pool_->try_take();
  }
  if (!slot.bounce) {
    return Next::kNoRoom;
  }
  bounced_ += slot.was_bounced ? 0 : 1;
  slot.was_bounced = true;
  const std::uint64_t begin = round_down(slot.position_bytes(), block);
  slot.skew_bytes = slot.position_bytes() - begin;
  std::uint64_t end =
      std::min(round_up(slot.position_bytes() + slot.rest().size(), block), begin + kBounceBytes);
  // A long read whose memory fits once its first block is done goes on without a buffer then.
  const std::uint64_t head_bytes = block.bytes() - slot.skew_bytes;
  if (end - begin == kBounceBytes && slot.skew_bytes > 0 &&
      is_aligned(slot.rest().subspan(head_bytes), target.memory_alignment_bytes)) {
    end = begin + block.bytes();
  }
  enter_read(slot, target, slot.bounce->bytes().first(end - begin), begin);
  return Next::kUnderWay;
}

bool RingPath::make_bounce_pool() {
  if (is_bounce_pool_refused_) {
    return false;
  }
  auto pool = BufferPool::make(
      {.buffer_bytes = kBounceBytes, .buffer_count = std::min(options_.depth, kBouncesMax)});
  is_bounce_pool_refused_ = !pool.has_value();
  if (pool) {
    bounce_pool_ = std::move(*pool);
  }
  return !is_bounce_pool_refused_;
}

void RingPath::enter_read(QueueSlot& slot, const KernelTarget& target, std::span<std::byte> memory,
                          std::uint64_t offset_bytes) {
  slot.asked_bytes = memory.size();
  const sys::RingFile file = file_of(target);
  const sys::EntryOptions entry = entry_of(slot);
  const std::optional<std::uint16_t> index = registered_index(memory);
  const bool is_prepared =
      index ? ring_.prepare_read_fixed(file, memory, offset_bytes, *index, entry, target.read_flags)
            : ring_.prepare_read(file, memory, offset_bytes, entry, target.read_flags);
  QUIRE_CHECK(is_prepared);  // The queue has an entry for each slot.
  prepared_.push_back(&slot);
}

Next RingPath::prepare_write(QueueSlot& slot, const KernelTarget& target) {
  const std::span<const std::byte> rest = slot.rest();
  const std::uint64_t block_bytes = target.write_alignment_bytes;
  if (!is_multiple(slot.position_bytes(), block_bytes) || !is_multiple(rest.size(), block_bytes) ||
      !is_aligned(rest, target.memory_alignment_bytes)) {
    ++bounced_;
    return Next::kHandOver;
  }
  slot.asked_bytes = rest.size();
  const sys::RingFile file = file_of(target);
  const sys::EntryOptions entry = entry_of(slot);
  const std::optional<std::uint16_t> index = registered_index(rest);
  const bool is_prepared =
      index ? ring_.prepare_write_fixed(file, rest, slot.position_bytes(), *index, entry,
                                        target.write_flags)
            : ring_.prepare_write(file, rest, slot.position_bytes(), entry, target.write_flags);
  QUIRE_CHECK(is_prepared);
  prepared_.push_back(&slot);
  return Next::kUnderWay;
}

// Not the kernel's as transfers are: there is no Store to be told of its end.
Next RingPath::prepare_await(QueueSlot& slot) {
  QUIRE_CHECK(ring_.prepare_poll(sys::ring_file(slot.request->fd), sys::PollFor::kReadable,
                                 entry_of(slot)));
  prepared_.push_back(&slot);
  ++awaits_in_flight_;
  return Next::kUnderWay;
}

sys::EntryOptions RingPath::entry_of(const QueueSlot& slot) noexcept {
  return {.tag = slot.tag, .force_async = slot.tries > 0};
}

std::optional<std::uint16_t> RingPath::registered_index(
    std::span<const std::byte> memory) const noexcept {
  if (!is_registered_) {
    return std::nullopt;
  }
  const BufferPool& pool = *options_.registered;
  const auto base = reinterpret_cast<std::uintptr_t>(pool.memory().data());
  const auto start = reinterpret_cast<std::uintptr_t>(memory.data());
  if (start < base || start - base >= pool.memory().size()) {
    return std::nullopt;
  }
  const std::uint64_t index = (start - base) / pool.buffer_bytes();
  const std::uint64_t last_index = (start - base + memory.size() - 1) / pool.buffer_bytes();
  return index == last_index ? std::optional(static_cast<std::uint16_t>(index)) : std::nullopt;
}

// --- completing ---------------------------------------------------------------------------------

Next RingPath::complete(QueueSlot& slot, const sys::Outcome<std::uint32_t>& outcome) {
  awaits_in_flight_ -= slot.is_await() ? 1 : 0;
  if (!outcome) {
    return on_error(slot, outcome.error());
  }
  if (slot.is_await()) {
    return Next::kDone;
  }
  slot.tries = 0;
  const std::uint64_t moved_bytes = *outcome;
  const Next next = slot.request->operation == IoOperation::kRead ? keep_read(slot, moved_bytes)
                                                                  : keep_written(slot, moved_bytes);
  if (next != Next::kUnderWay) {
    return next;
  }
  resumed_ += moved_bytes < slot.asked_bytes ? 1 : 0;
  return go_on(slot);
}

// kUnderWay: there is more to do.
Next RingPath::keep_read(QueueSlot& slot, std::uint64_t moved_bytes) {
  if (moved_bytes == 0) {
    return Next::kDone;  // The end of the file.
  }
  if (slot.bounce) {
    if (moved_bytes <= slot.skew_bytes) {
      return Next::kHandOver;  // Nothing of what is wanted: the Store knows whether that is the
                               // end.
    }
    moved_bytes = std::min<std::uint64_t>(moved_bytes - slot.skew_bytes, slot.rest().size());
    std::memcpy(slot.rest().data(), slot.bounce->bytes().data() + slot.skew_bytes, moved_bytes);
  }
  slot.done_bytes += moved_bytes;
  return slot.rest().empty() ? Next::kDone : Next::kUnderWay;
}

Next RingPath::keep_written(QueueSlot& slot, std::uint64_t moved_bytes) {
  if (moved_bytes == 0) {
    slot.error = to_code(EIO);  // A write that moves nothing and says nothing would go on for ever.
    return Next::kDone;
  }
  slot.done_bytes += moved_bytes;
  return slot.rest().empty() ? Next::kDone : Next::kUnderWay;
}

Next RingPath::on_error(QueueSlot& slot, sys::Errno cause) {
  switch (cause.value) {
    case EINTR:
    case EAGAIN: return ++slot.tries < kTriesMax ? go_on(slot) : Next::kHandOver;
    case EINVAL:
    case EOPNOTSUPP: return Next::kHandOver;
    default: slot.error = to_code(cause.value); return Next::kDone;
  }
}

Next RingPath::go_on(QueueSlot& slot) {
  const Next next = prepare(slot);
  return next == Next::kNoRoom ? Next::kHandOver : next;
}

// --- submitting and waiting ---------------------------------------------------------------------

void RingPath::arm_wake() {
  if (is_wake_armed_) {
    return;
  }
  QUIRE_CHECK(ring_.prepare_read(sys::ring_file(wake_.get()), wake_bytes_, sys::kAtPosition,
                                 {.tag = kWakeTag}));
  prepared_.push_back(nullptr);
  is_wake_armed_ = true;
}

sys::Outcome<void> RingPath::flush(std::uint32_t wait_count) {
  const sys::Outcome<std::uint32_t> outcome = ring_.submit_and_wait(wait_count);
  // The kernel takes entries in their order: what it has not taken is the end of the list.
  prepared_.erase(prepared_.begin(),
                  prepared_.end() - static_cast<std::ptrdiff_t>(ring_.unsubmitted()));
  QUIRE_TRY(outcome);
  return {};
}

std::uint32_t RingPath::transfers_in_kernel() const noexcept {
  const auto transfers_prepared = std::ranges::count_if(
      prepared_, [](const QueueSlot* slot) { return slot != nullptr && !slot->is_await(); });
  return requests_in_flight() - awaits_in_flight_ - static_cast<std::uint32_t>(transfers_prepared);
}

sys::Outcome<void> RingPath::wait(std::uint32_t count,
                                  std::optional<std::chrono::nanoseconds> timeout) {
  QUIRE_TRY(ring_.wait(count, timeout));
  return {};
}

void RingPath::take_back(std::vector<QueueSlot*>& slots) {
  QUIRE_CHECK_EQ(ring_.drop_unsubmitted(), prepared_.size());
  for (QueueSlot* slot : prepared_) {
    if (slot != nullptr) {
      awaits_in_flight_ -= slot->is_await() ? 1 : 0;
      slots.push_back(slot);
    } else {
      is_wake_armed_ = false;
    }
  }
  prepared_.clear();
}

}  // namespace quire::internal
