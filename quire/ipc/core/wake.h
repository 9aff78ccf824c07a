// SPDX-License-Identifier: Apache-2.0
//
// wake: a WaitPoint for those who publish millions of times a second: they notify only once
// somebody has ever slept there.
//
//   WakeWord 0 --the first sleep--> 1      of the ring; set back by who takes the sleeper's role
//
// A notify() is a read-modify-write, which waits for all stores before it: as costly as everything
// else that publishing does. Who only spins sets no word, and is published to by plain stores.
//
// The word may be read just before it is set, and what was published just before that may not be
// seen yet by who sets it: processors keep stores to themselves for a while, far less than a
// microsecond. So a sleeper spins once more after setting it, and only then sleeps, and no sleep is
// longer than a slice. From then on every publisher notifies and nothing of this matters.
#pragma once

#include <atomic>
#include <cstdint>

#include "quire/ipc/wait_point.h"

namespace quire::ipc::internal {

using WakeWord = std::atomic<std::uint32_t>;

inline void notify_if_wanted(const WakeWord& wanted, WaitPoint& point,
                             const Participants& participants) noexcept {
  if (wanted.load(std::memory_order_relaxed) != 0) [[unlikely]] {
    notify(point, participants);
  }
}

// After giving room back. Bells are rung at once, but sleepers are woken only when there `is_much`:
// each of many writers would be woken for each place, and all but one for nothing. A reader that
// frees little and then does something else has enough to read until they look by themselves, after
// a slice; one that finds nothing more to read tells them.
inline void notify_of_room(const WakeWord& wanted, WaitPoint& point,
                           const Participants& participants, bool is_much) noexcept {
  if (wanted.load(std::memory_order_relaxed) == 0) [[likely]] {
    return;
  }
  QUIRE_IPC_STEP("wake.room");
  const std::uint32_t who = is_much ? kSleeping | kBellArmed : kBellArmed;
  // Acquire and release: as notify() of wait_point.h.
  if ((point.word.fetch_add(0, std::memory_order_acq_rel) & who) != 0) [[unlikely]] {
    wake(point, participants);
  }
}

// Before sleeping, or arming a bell. True: ready() came true meanwhile.
template <typename Ready>
bool want_wake_ups(WakeWord& wanted, Ready& ready) {
  if (wanted.load(std::memory_order_relaxed) != 0) {
    return false;
  }
  wanted.store(1, std::memory_order_seq_cst);
  const WaitOptions spin_once{.policy = WaitPolicy::kSpinThenSleep};
  return spin(spin_once, ready);
}

// wait() of wait_point.h for a point with a WakeWord.
template <typename Ready, typename EachSlice>
bool wait_wanted(WakeWord& wanted, WaitPoint& point, const WaitOptions& options, Ready ready,
                 EachSlice each_slice) {
  if (ready()) {
    return true;
  }
  if (options.timeout.count() > 0 && options.policy != WaitPolicy::kSpin &&
      want_wake_ups(wanted, ready)) {
    return true;
  }
  return wait(point, options, ready, each_slice);
}

}  // namespace quire::ipc::internal
