// SPDX-License-Identifier: Apache-2.0
#include "quire/journal/update.h"

#include <chrono>

#include "quire/base/check.h"
#include "quire/sys/futex.h"

namespace quire {
namespace {

// Most updates are a few stores: longer than this, of some microseconds, is worth a sleep.
constexpr int kSpins = 300;

// How long who begins an update waits for those under way to end, the first one for a cut.
constexpr std::chrono::milliseconds kPatience(1);

// Of this thread, of all gates.
thread_local std::uint32_t updates_under_way = 0;

}  // namespace

// While a cut is still waited for, who begins an update waits as well, so that it comes; but not
// for ever: he may have what an update under way waits for.
void UpdateGate::enter() noexcept {
  bool may_join = updates_under_way > 0;
  std::uint32_t seen = word_.load(std::memory_order_relaxed);
  for (int spins = 0;;) {
    const bool is_open = (seen & kShut) == 0 || (may_join && count_in(seen) > 0);
    if (is_open && word_.compare_exchange_weak(seen, seen + 1)) {
      break;
    }
    if (!is_open) {
      may_join = (++spins > kSpins && has_waited_enough(seen)) || may_join;
      sys::pause_processor();
      seen = word_.load(std::memory_order_relaxed);
    }
  }
  ++updates_under_way;
}

// Each who joins makes the next one wait longer: where all updates are long, they end before that.
bool UpdateGate::has_waited_enough(std::uint32_t seen) noexcept {
  const bool is_noted =
      (seen & kAwaited) != 0 || word_.compare_exchange_strong(seen, seen | kAwaited);
  if (!is_noted || sys::futex_wait(word_, seen | kAwaited, kPatience * (1 + joins_.load()))) {
    return false;
  }
  joins_.fetch_add(1);
  return true;
}

void UpdateGate::leave() noexcept {
  --updates_under_way;
  const std::uint32_t before = word_.fetch_sub(1);
  QUIRE_CHECK_GT(count_in(before), 0U);
  if (count_in(before) > 1 || (before & (kSleeps | kWakes)) == 0) {
    return;
  }
  if ((before & kSleeps) != 0) {
    emptied_.fetch_add(1);
    sys::futex_wake_one(emptied_);
  }
  if ((before & kWakes) != 0) {
    wake_(context_);
  }
}

void UpdateGate::begin_shut() noexcept {
  QUIRE_CHECK_EQ(word_.fetch_or(kShut) & kShut, 0U);
}

bool UpdateGate::is_empty_or(std::uint32_t wish) noexcept {
  std::uint32_t seen = word_.load();
  while (count_in(seen) > 0) {
    if ((seen & wish) != 0 || word_.compare_exchange_weak(seen, seen | wish)) {
      return false;
    }
  }
  return true;
}

bool UpdateGate::is_empty_or_wakes() noexcept {
  QUIRE_CHECK(wake_ != nullptr);
  return is_empty_or(kWakes);
}

void UpdateGate::await_empty() noexcept {
  for (int spins = 0; spins < kSpins && count_in(word_.load()) > 0; ++spins) {
    sys::pause_processor();
  }
  for (std::uint32_t seen = emptied_.load(); !is_empty_or(kSleeps); seen = emptied_.load()) {
    sys::futex_wait(emptied_, seen);
  }
}

void UpdateGate::open() noexcept {
  joins_.store(0);
  const std::uint32_t before = word_.exchange(0);
  QUIRE_CHECK_EQ(before & ~(kAwaited | kSleeps | kWakes), kShut);
  if ((before & kAwaited) != 0) {
    sys::futex_wake_all(word_);
  }
}

Result<void> UpdateGate::require_outside(const char* operation, const std::string& subject) {
  if (updates_under_way == 0) {
    return {};
  }
  return fail(make_error(Errc::kFailed, operation, subject,
                         "this thread is inside of an Update, which it would wait for",
                         "end the Update first"));
}

}  // namespace quire
