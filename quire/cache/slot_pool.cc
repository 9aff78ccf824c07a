// SPDX-License-Identifier: Apache-2.0
#include "quire/cache/slot_pool.h"

#include <algorithm>
#include <cerrno>

#include "quire/base/check.h"
#include "quire/base/page_window.h"
#include "quire/cache/internal/deadline.h"
#include "quire/sys/futex.h"

namespace quire {
namespace {

// Of x86-64, and of arm64 with 4 KiB pages. Where it is another, memory aligned to it does no harm.
constexpr PageSize kHugePage{2_MiB};

constexpr std::uint32_t kEnd = UINT32_MAX;      // Behind the last slot of the list.
constexpr std::uint32_t kOut = UINT32_MAX - 1;  // Behind a slot that is not in it.

std::uint32_t slot_of(std::uint64_t head) noexcept {
  return static_cast<std::uint32_t>(head);
}

std::uint64_t changed(std::uint64_t head, std::uint32_t slot) noexcept {
  return (((head >> 32) + 1) << 32) | slot;
}

sys::Outcome<void> touch(sys::Address memory, std::uint64_t length_bytes) {
  const sys::Outcome<void> populated =
      sys::advise_pages(memory, length_bytes, sys::MemoryAdvice::kPopulateWrite);
  if (populated || populated.error().value != EINVAL) {
    return populated;
  }
  for (std::uint64_t at = 0; at < length_bytes; at += sys::os_page_size().bytes()) {
    memory[at] = std::byte{0};  // Before 5.14.
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<SlotPool>> SlotPool::make(const SlotPoolOptions& options) {
  QUIRE_CHECK(options.slot_bytes > 0 && options.slot_count > 0 && options.slot_count < kOut);
  QUIRE_CHECK_EQ(options.slot_bytes % sys::os_page_size().bytes(), 0U);
  const std::string subject = std::to_string(options.slot_count) + " slots of " +
                              std::to_string(options.slot_bytes) + " bytes";
  if (options.slot_bytes > kMapLengthMax / options.slot_count) {
    return fail(sys::to_error(sys::Errno{ENOMEM}, "slot_pool", subject));
  }
  std::unique_ptr<SlotPool> pool(new SlotPool(options));
  const sys::Outcome<void> mapped = pool->map();
  if (!mapped) {
    return fail(sys::to_error(mapped.error(), "slot_pool", subject));
  }
  return pool;
}

SlotPool::SlotPool(const SlotPoolOptions& options)
    : slot_bytes_(options.slot_bytes),
      slot_count_(options.slot_count),
      head_(0),
      next_(options.slot_count),
      free_count_(options.slot_count) {
  for (std::uint32_t slot = 0; slot < slot_count_; ++slot) {
    next_[slot].store(slot + 1 < slot_count_ ? slot + 1 : kEnd);
  }
}

SlotPool::~SlotPool() {
  if (fork_mark_.is_in_child()) {
    return;
  }
  QUIRE_CHECK_EQ(free_count(), slot_count_);
  if (mapping_ != nullptr) {
    static_cast<void>(sys::unmap_pages(mapping_, mapping_bytes_));
  }
}

sys::Outcome<void> SlotPool::map() {
  QUIRE_TRY(ForkMark::prepare());
  const std::uint64_t length_bytes = slot_bytes_ * slot_count_;
  mapping_bytes_ = length_bytes + kHugePage.bytes();
  mapping_ = QUIRE_TRY(sys::map_pages({.length_bytes = mapping_bytes_,
                                       .protection = sys::Protection::kReadWrite,
                                       .visibility = sys::Visibility::kPrivate}));
  const std::uint64_t address = reinterpret_cast<std::uintptr_t>(mapping_);
  memory_ = mapping_ + (round_up(address, kHugePage) - address);
  QUIRE_TRY(sys::advise_pages(mapping_, mapping_bytes_, sys::MemoryAdvice::kDontFork));
  QUIRE_TRY(sys::advise_pages(mapping_, mapping_bytes_, sys::MemoryAdvice::kDontDump));
  // A kernel without huge pages refuses this advice: then there are ordinary ones. What lies
  // behind the slots in the last huge page is theirs to waste: only whole ones are asked for.
  const std::uint64_t huge_bytes = round_down(length_bytes, kHugePage);
  if (huge_bytes > 0) {
    static_cast<void>(sys::advise_pages(memory_, huge_bytes, sys::MemoryAdvice::kHugePage));
  }
  if (huge_bytes < length_bytes) {
    static_cast<void>(sys::advise_pages(memory_ + huge_bytes, length_bytes - huge_bytes,
                                        sys::MemoryAdvice::kNoHugePage));
  }
  return touch(memory_, length_bytes);
}

// Loads of the head are acquire and changes of it release, so that who sees a slot at the head
// sees what was written behind it, too. free_count_ and waiters_ are seq_cst: see take().
std::optional<std::uint32_t> SlotPool::try_take() noexcept {
  std::uint64_t head = head_.load(std::memory_order_acquire);
  for (;;) {
    const std::uint32_t slot = slot_of(head);
    if (slot == kEnd) {
      return std::nullopt;
    }
    // Stale, or even kOut, when another thread took the slot meanwhile: then the exchange fails.
    const std::uint32_t next = next_[slot].load(std::memory_order_relaxed);
    if (head_.compare_exchange_weak(head, changed(head, next), std::memory_order_acq_rel,
                                    std::memory_order_acquire)) {
      next_[slot].store(kOut, std::memory_order_relaxed);
      free_count_.fetch_sub(1);
      return slot;
    }
  }
}

std::optional<std::uint32_t> SlotPool::take(std::uint64_t timeout_ms) noexcept {
  std::optional<std::uint32_t> slot = try_take();
  if (slot) {
    return slot;
  }
  const internal::Deadline deadline(timeout_ms);
  // Counted before free_count_ is looked at, while give_back() raises it before it looks at the
  // waiters: one of the two sees the other.
  waiters_.fetch_add(1);
  for (;;) {
    sys::futex_wait(free_count_, 0, deadline.left());
    slot = try_take();
    if (slot || deadline.is_over()) {
      waiters_.fetch_sub(1);
      return slot;
    }
  }
}

void SlotPool::give_back(std::uint32_t slot) noexcept {
  QUIRE_CHECK_LT(slot, slot_count_);
  std::uint64_t head = head_.load(std::memory_order_acquire);
  std::uint32_t expected = kOut;
  QUIRE_CHECK(
      next_[slot].compare_exchange_strong(expected, slot_of(head), std::memory_order_relaxed));
  free_count_.fetch_add(1);  // Before it can be taken again: the count never falls below zero.
  while (!head_.compare_exchange_weak(head, changed(head, slot), std::memory_order_acq_rel,
                                      std::memory_order_acquire)) {
    next_[slot].store(slot_of(head), std::memory_order_relaxed);
  }
  if (waiters_.load() > 0) {
    sys::futex_wake_one(free_count_);
  }
}

std::span<std::byte> SlotPool::bytes(std::uint32_t slot) const noexcept {
  QUIRE_DCHECK_LT(slot, slot_count_);
  return {memory_ + slot * slot_bytes_, slot_bytes_};
}

void SlotPool::check_invariants() const {
  std::uint32_t in_count = 0;
  for (std::uint32_t slot = slot_of(head_.load()); slot != kEnd; slot = next_[slot].load()) {
    QUIRE_CHECK_LT(slot, slot_count_);
    QUIRE_CHECK_LT(in_count, slot_count_);  // Else the list bites its tail.
    ++in_count;
  }
  QUIRE_CHECK_EQ(in_count, free_count_.load());
  const auto out_count = static_cast<std::uint32_t>(
      std::ranges::count_if(next_, [](const auto& next) { return next.load() == kOut; }));
  QUIRE_CHECK_EQ(in_count + out_count, slot_count_);
}

}  // namespace quire
