// SPDX-License-Identifier: Apache-2.0
//
// wake: a WaitPoint for those who publish millions of times a second: they notify only while
// somebody may sleep there.
//
//   one who publishes                     one who waits
//   -----------------                     -------------
//   store the data                        spins for a while, if that is its policy
//   (compiler keeps the order)            wanted: 0 -> 1
//   wanted == 0: done, a plain load       barrier in all processes (sys/process_barrier.h)
//   else notify()                         wanted: 1 -> 2, wait point: announce, look, sleep
//
//   WakeWord   0 nobody sleeps or will without a barrier   1 somebody is about to have one
//              2 everybody notifies
//
// A notify() is a read-modify-write, which waits for all stores before it: for each line of the
// message to come over from the reader's processor, one after the other, where they could come all
// together. It takes longer than everything else that publishing does.
//
// Why no wake-up is lost. Whoever publishes reads the word after its store. If it reads 1 or 2 it
// notifies, and wait_point.h has the proof. If it reads 0, then before the instant at which the
// waiter's barrier stopped it, so its store is visible to the look that comes after; who reads it
// later reads 1. Several may wait: one that finds 1 has a barrier of its own, as that of the other
// may still be under way; one that finds 2 needs none.
//
// Back to 0 goes the word only where one waiter alone uses it, by that one's hand, while it neither
// sleeps nor has a bell armed that nobody rang (WakeWish): so each sleep is either after a barrier,
// or with the word at 2 since the one before. Where many wait it stays at 2.
//
// Without the barrier:
//   a publisher whose process could not join   notifies always, whatever the word says: it needs
//                                              none
//   a waiter that is refused the barrier       sets the word once, and never back; spins on for a
//                                              while before it sleeps, far longer than a processor
//                                              keeps a store to itself, and no sleep is longer than
//                                              a slice. From then on every publisher notifies.
#pragma once

#include <atomic>
#include <cstdint>

#include "quire/ipc/wait_point.h"
#include "quire/sys/process_barrier.h"

namespace quire::ipc::internal {

using WakeWord = std::atomic<std::uint32_t>;

inline constexpr std::uint32_t kUnwanted = 0;
inline constexpr std::uint32_t kWanting = 1;
inline constexpr std::uint32_t kWanted = 2;

// A waiter that found something so often without sleeping takes its wish back: the barrier, some
// microseconds, is then shared by as many messages at least as make it cheaper than notifying.
inline constexpr std::uint32_t kFindsPerWish = 64;

// What a publisher knows of its own process.
enum class Notifies : std::uint8_t {
  kIfWanted,  // It takes part in barriers.
  kAlways,    // It could not join.
};
[[nodiscard]] inline Notifies how_to_notify() noexcept {
  return sys::join_barriers() ? Notifies::kIfWanted : Notifies::kAlways;
}

[[nodiscard]] inline bool is_wanted(const WakeWord& wanted, Notifies notifies) noexcept {
  sys::no_reordering();  // With what was published before.
  return wanted.load(std::memory_order_relaxed) != kUnwanted || notifies == Notifies::kAlways;
}

inline void notify_if_wanted(const WakeWord& wanted, Notifies notifies, WaitPoint& point,
                             const Participants& participants) noexcept {
  QUIRE_IPC_STEP("wake.published");
  if (is_wanted(wanted, notifies)) [[unlikely]] {
    notify(point, participants);
  }
}

// After giving room back. Bells are rung at once, but sleepers are woken only when there `is_much`:
// each of many writers would be woken for each place, and all but one for nothing. A reader that
// frees little and then does something else has enough to read until they look by themselves, after
// a slice; one that finds nothing more to read tells them.
inline void notify_of_room(const WakeWord& wanted, Notifies notifies, WaitPoint& point,
                           const Participants& participants, bool is_much) noexcept {
  if (!is_wanted(wanted, notifies)) [[likely]] {
    return;
  }
  QUIRE_IPC_STEP("wake.room");
  const std::uint32_t who = is_much ? kSleeping | kBellArmed : kBellArmed;
  // Acquire and release: as notify() of wait_point.h.
  if ((point.word.fetch_add(0, std::memory_order_acq_rel) & who) != 0) [[unlikely]] {
    wake(point, participants);
  }
}

// Whether ready() came true. Otherwise publishers notify from now on.
enum class Want : std::uint8_t {
  kReady,    // No need to wait any more.
  kAsked,    // Publishers will notify. The last look is still to come.
  kRefused,  // They will, but there was no barrier.
};
// Before sleeping, or arming a bell.
template <typename Ready>
Want want_wake_ups(WakeWord& wanted, Ready& ready) {
  if (wanted.load(std::memory_order_relaxed) == kWanted) {
    return Want::kAsked;
  }
  wanted.store(kWanting, std::memory_order_seq_cst);
  QUIRE_IPC_STEP("wake.wanting");
  const bool is_barrier = sys::barrier_in_all();
  if (!is_barrier) {
    const WaitOptions spin_once{.policy = WaitPolicy::kSpinThenSleep};
    if (spin(spin_once, ready)) {
      return Want::kReady;  // Who waits next has to spin again.
    }
  }
  wanted.store(kWanted, std::memory_order_relaxed);
  QUIRE_IPC_STEP("wake.wanted");
  return is_barrier ? Want::kAsked : Want::kRefused;
}

// The wish of a waiter that is the only one at its word. Knows of its own wishes alone, and so
// never looks at the word's line, which is the other side's, without need: whoever takes a role
// sets the word to 0.
class WakeWish {
 public:
  template <typename Ready>
  Want make(WakeWord& wanted, Ready& ready) {
    const Want want = want_wake_ups(wanted, ready);
    finds_ = 0;
    may_take_back_ = !was_refused_ && want != Want::kRefused;
    was_refused_ = was_refused_ || want == Want::kRefused;
    return want;
  }
  // There was something, or room, without waiting for it.
  void found(WakeWord& wanted) noexcept {
    if (may_take_back_ && ++finds_ >= kFindsPerWish) [[unlikely]] {
      may_take_back_ = false;
      QUIRE_IPC_STEP("wake.take_back");
      wanted.store(kUnwanted, std::memory_order_relaxed);
      QUIRE_IPC_STEP("wake.taken_back");
    }
  }

 private:
  std::uint32_t finds_ = 0;     // Since the wish was made.
  bool may_take_back_ = false;  // There is one, and another can be made with a barrier.
  bool was_refused_ = false;
};

// The wish of one of many waiters at a word: it stays.
struct SharedWish {
  template <typename Ready>
  static Want make(WakeWord& wanted, Ready& ready) {
    return want_wake_ups(wanted, ready);
  }
};

// wait() of wait_point.h for a point with a WakeWord; `wish` is a WakeWish or a SharedWish. Who
// only spins wants no wake-ups.
template <typename Wish, typename Ready, typename EachSlice>
bool wait_wanted(WakeWord& wanted, Wish&& wish, WaitPoint& point, const WaitOptions& options,
                 Ready ready, EachSlice each_slice) {
  if (ready()) {
    return true;
  }
  if (options.timeout.count() <= 0 || options.policy == WaitPolicy::kSpin) {
    return wait(point, options, ready, each_slice);
  }
  if (options.policy == WaitPolicy::kSpinThenSleep && spin(options, ready)) {
    return true;
  }
  if (wish.make(wanted, ready) == Want::kReady) {
    return true;
  }
  return wait(point, {.policy = WaitPolicy::kSleep, .timeout = options.timeout}, ready, each_slice);
}
template <typename Wish, typename Ready>
bool wait_wanted(WakeWord& wanted, Wish&& wish, WaitPoint& point, const WaitOptions& options,
                 Ready ready) {
  return wait_wanted(wanted, wish, point, options, ready, [] {});
}

// arm() of wait_point.h for such a point.
template <typename Wish, typename Ready>
bool arm_wanted(WakeWord& wanted, Wish&& wish, WaitPoint& point, const Doorbell& bell,
                Ready ready) {
  return wish.make(wanted, ready) != Want::kReady && arm(point, bell, ready);
}

}  // namespace quire::ipc::internal
