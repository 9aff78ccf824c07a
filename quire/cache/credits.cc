// SPDX-License-Identifier: Apache-2.0
#include "quire/cache/credits.h"

#include "quire/base/check.h"
#include "quire/cache/internal/deadline.h"
#include "quire/sys/futex.h"

namespace quire {
namespace {

std::size_t index_of(Credits::Use use) noexcept {
  QUIRE_DCHECK_LT(use, Credits::Use::kCount);
  return static_cast<std::size_t>(use);
}

void raise_to(std::atomic<std::uint64_t>& highest, std::uint64_t value) noexcept {
  std::uint64_t seen = highest.load();
  while (seen < value && !highest.compare_exchange_weak(seen, value)) {
  }
}

}  // namespace

Credits::Credits(std::uint64_t budget_bytes) noexcept
    : budget_bytes_(budget_bytes), free_bytes_(budget_bytes) {}

bool Credits::try_take(Use use, std::uint64_t bytes) noexcept {
  std::uint64_t free = free_bytes_.load();
  do {
    if (free < bytes) {
      return false;
    }
  } while (!free_bytes_.compare_exchange_weak(free, free - bytes));
  taken_[index_of(use)].fetch_add(bytes);
  raise_to(taken_max_, budget_bytes_ - (free - bytes));
  return true;
}

void Credits::give_back(Use use, std::uint64_t bytes) noexcept {
  const std::uint64_t before = taken_[index_of(use)].fetch_sub(bytes);
  QUIRE_CHECK_GE(before, bytes);
  free_bytes_.fetch_add(bytes);
  wake_all();
}

std::uint64_t Credits::taken_bytes(Use use) const noexcept {
  return taken_[index_of(use)].load();
}

bool Credits::await_more(std::uint32_t generation, std::uint64_t timeout_ms) noexcept {
  const internal::Deadline deadline(timeout_ms);
  // Counted before the generation is looked at (by the kernel, too), while wake_all() moves it
  // before it looks at the count: one of the two sees the other, by the one order of seq_cst.
  waiters_.fetch_add(1);
  while (generation_.load() == generation && !deadline.is_over()) {
    sys::futex_wait(generation_, generation, deadline.left());
  }
  waiters_.fetch_sub(1);
  return generation_.load() != generation;
}

void Credits::wake_all() noexcept {
  generation_.fetch_add(1);
  if (waiters_.load() > 0) {
    sys::futex_wake_all(generation_);
  }
}

}  // namespace quire
