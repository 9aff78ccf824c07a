// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/wait_point.h"

#include <algorithm>

namespace quire::ipc {
namespace internal {

using std::chrono::nanoseconds;
using Clock = std::chrono::steady_clock;

namespace {

// Returns what the word was.
std::uint32_t take_note(WaitPoint& point) noexcept {
  std::uint32_t word = point.word.load(std::memory_order_relaxed);
  // Release keeps what was published before the new number; acquire pairs with arm().
  while (!point.word.compare_exchange_weak(word, (word + kWakeUpOne) & ~(kSleeping | kBellArmed),
                                           std::memory_order_acq_rel, std::memory_order_relaxed)) {
  }
  QUIRE_IPC_STEP("wait_point.wake.numbered");
  return word;
}

std::uint64_t take_bells(WaitPoint& point) noexcept {
  return point.bells.exchange(0, std::memory_order_acq_rel);
}

}  // namespace

std::uint64_t wake_sleepers(WaitPoint& point) noexcept {
  const std::uint32_t word = take_note(point);
  if ((word & kSleeping) != 0) {
    sys::shared_futex_wake_all(&point.word);
    QUIRE_IPC_STEP("wait_point.wake.woken");
  }
  return (word & kBellArmed) != 0 ? take_bells(point) : 0;
}

void wake(WaitPoint& point, const Participants& participants) noexcept {
  const std::uint64_t bells = wake_sleepers(point);
  if (bells != 0) {
    QUIRE_IPC_STEP("wait_point.wake.bells_taken");
    ring_bells(participants, bells);
  }
}

TimeLeft::TimeLeft(nanoseconds timeout) noexcept : is_endless_(timeout == kForever) {
  if (is_endless_) {
    return;  // A question to the clock less on the way to sleep.
  }
  const Clock::time_point now = Clock::now();
  // A sum that cannot be had is the end of time.
  is_endless_ = timeout >= Clock::time_point::max() - now;
  end_ = is_endless_ ? Clock::time_point::max() : now + timeout;
}

nanoseconds TimeLeft::left() const noexcept {
  return is_endless_ ? kForever : std::max<nanoseconds>(end_ - Clock::now(), nanoseconds(0));
}

nanoseconds TimeLeft::slice() const noexcept {
  return std::min(left(), kSliceMax);
}

}  // namespace internal

void notify_after_death(WaitPoint& point, const Participants& participants) noexcept {
  internal::take_note(point);
  sys::shared_futex_wake_all(&point.word);
  internal::ring_bells(participants,
                       internal::take_bells(point) | internal::bell_bit(participants.self()));
}

}  // namespace quire::ipc
