// SPDX-License-Identifier: Apache-2.0
#include "quire/pager/internal/store_gate.h"

#include "quire/sys/futex.h"

namespace quire::internal {
namespace {

// A change of protection takes a microsecond or two: longer than that is worth a sleep.
constexpr int kSpins = 200;

}  // namespace

void StoreGate::await_open(std::uint32_t seen) noexcept {
  if ((seen & kAwaited) != 0 || word_.compare_exchange_strong(seen, seen | kAwaited)) {
    sys::futex_wait(word_, seen | kAwaited);
  }
}

void StoreGate::enter() noexcept {
  std::uint32_t seen = word_.load(std::memory_order_relaxed);
  for (;;) {
    if ((seen & kShut) != 0) {
      await_open(seen);
      seen = word_.load(std::memory_order_relaxed);
    } else if (word_.compare_exchange_weak(seen, seen + 1)) {
      return;
    }
  }
}

void StoreGate::leave() noexcept {
  const std::uint32_t before = word_.fetch_sub(1);
  if ((before & kShut) != 0 && (before & ~(kShut | kAwaited)) == 1) {
    sys::futex_wake_all(word_);  // The one who shuts it, and those before it, who sleep again.
  }
}

void StoreGate::shut() noexcept {
  std::uint32_t seen = word_.load(std::memory_order_relaxed);
  while ((seen & kShut) != 0 || !word_.compare_exchange_weak(seen, seen | kShut)) {
    if ((seen & kShut) != 0) {
      await_open(seen);
      seen = word_.load(std::memory_order_relaxed);
    }
  }
  int spins = 0;
  for (seen = word_.load(); (seen & ~(kShut | kAwaited)) != 0; seen = word_.load()) {
    if (++spins < kSpins) {
      sys::pause_processor();
    } else {
      sys::futex_wait(word_, seen);
    }
  }
}

void StoreGate::open() noexcept {
  if ((word_.exchange(0) & kAwaited) != 0) {
    sys::futex_wake_all(word_);
  }
}

}  // namespace quire::internal
