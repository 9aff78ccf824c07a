// SPDX-License-Identifier: Apache-2.0
//
// WaitPoint: where the users of a structure in shared memory wait for each other, and how.
//
//   one who publishes          one who waits
//   -----------------          -------------
//   store the data             ready()? ... spins, asking ready() again and again
//   notify():                  announce:  word |= sleeping
//     read the word  <-------> ready()?   the last look: whoever reads the word later sees the bit
//     nobody sleeps: done      sleep while the word is what it was
//     else: word = next        woken: ready()? ...
//           number, no bits
//           wake all
//
// What is shared:
//   wait point, 64 bytes, aligned to 64
//    0   4  word: bit 0 somebody sleeps or is about to, bit 1 somebody's bell is armed,
//           bits 2-31 how often sleepers were woken, modulo 2^30
//    4   4  zero
//    8   8  bells: bit slot % 64 of each participant whose doorbell is to be rung
//   16  48  zero
//
// Zeros are a fresh wait point, and every other pattern is a valid one: a peer that writes nonsense
// here makes others look for nothing, or lets them sleep until the slice ends.
//
// Invariants:    no wake-up is lost: reading and announcing are read-modify-writes of one word, so
//                one comes first; either the announcer's last look sees what was published, or the
//                publisher sees the bit. (A sleeper would miss it if 2^30 wake-ups fell between its
//                announcement and its sleep, for one slice.)
//                All are woken, never one: a wake-up given to somebody who dies would be lost.
//                A publisher that dies before it wakes leaves sleepers behind, and may have cleared
//                their bits already: recoveries (see Participants) call notify_after_death(), and
//                no sleep is longer than kSliceMax.
// Thread-safety: any thread of any process.
// Cost:          notify() is one read-modify-write; a system call only if somebody sleeps, or did
//                since the last one. wait() makes none while it spins.
// Kernel:        any.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "quire/ipc/doorbell.h"
#include "quire/ipc/step.h"
#include "quire/sys/futex.h"

namespace quire::ipc {

inline constexpr std::chrono::nanoseconds kForever = std::chrono::nanoseconds::max();

enum class WaitPolicy : std::uint8_t {
  kSpin,           // A processor for each who waits: the fastest, and the worst if there are fewer.
  kSpinThenSleep,  // Spins for about as long as sleeping and being woken takes.
  kSleep,          // Looks once.
};

struct WaitOptions {
  WaitPolicy policy = WaitPolicy::kSpinThenSleep;
  std::chrono::nanoseconds timeout = kForever;  // Zero and less: look, but do not wait.
};

struct alignas(64) WaitPoint {
  std::atomic<std::uint32_t> word;
  std::uint32_t zero;
  std::atomic<std::uint64_t> bells;
  std::byte spare[48];
};
static_assert(sizeof(WaitPoint) == 64 && offsetof(WaitPoint, bells) == 8);
static_assert(std::atomic<std::uint32_t>::is_always_lock_free &&
              std::atomic<std::uint64_t>::is_always_lock_free);

namespace internal {

inline constexpr std::uint32_t kSleeping = 1U << 0U;
inline constexpr std::uint32_t kBellArmed = 1U << 1U;
inline constexpr std::uint32_t kWakeUpOne = 1U << 2U;

// The longest sleep: how long a thread may sleep on although there is something to see, when one
// who should have woken it was killed or stopped just before. Ten wake-ups per second and sleeper
// cost nothing that can be measured.
inline constexpr std::chrono::nanoseconds kSliceMax = std::chrono::milliseconds(100);

// Sleeping and being woken takes some microseconds; so do this many looks.
inline constexpr unsigned kSpinsMax = 1000;
// One look at the clock, which takes as long as some looks at a word.
inline constexpr unsigned kSpinsPerClock = 64;

// Gives the word its next number and wakes who sleeps; returns the bells that are to be rung.
[[nodiscard]] std::uint64_t wake_sleepers(WaitPoint& point) noexcept;
void wake(WaitPoint& point, const Participants& participants) noexcept;

// What is left of a timeout, counted from the first question.
class TimeLeft {
 public:
  explicit TimeLeft(std::chrono::nanoseconds timeout) noexcept;
  [[nodiscard]] std::chrono::nanoseconds left() const noexcept;  // Never negative.
  [[nodiscard]] bool is_over() const noexcept { return left().count() == 0; }
  // How long to sleep now.
  [[nodiscard]] std::chrono::nanoseconds slice() const noexcept;

 private:
  std::chrono::steady_clock::time_point end_;
  bool is_endless_;
};

// Whether ready() came true while spinning.
template <typename Ready>
bool spin(const WaitOptions& options, Ready& ready) {
  if (options.policy == WaitPolicy::kSpinThenSleep) {
    for (unsigned spin = 0; spin < kSpinsMax; ++spin) {
      sys::pause_processor();
      if (ready()) {
        return true;
      }
    }
    return false;
  }
  for (const TimeLeft time(options.timeout); !time.is_over();) {
    for (unsigned spin = 0; spin < kSpinsPerClock; ++spin) {
      sys::pause_processor();
      if (ready()) {
        return true;
      }
    }
  }
  return false;
}

}  // namespace internal

// After publishing. Acquire and release: the store before it, and the word of one who announced
// himself, are ordered for both sides by the order of the word's modifications.
inline void notify(WaitPoint& point, const Participants& participants) noexcept {
  QUIRE_IPC_STEP("wait_point.notify.published");
  const std::uint32_t word = point.word.fetch_add(0, std::memory_order_acq_rel);
  if ((word & (internal::kSleeping | internal::kBellArmed)) != 0) [[unlikely]] {
    internal::wake(point, participants);
  }
}

// In a recovery: lets all look again, and rings the bell of this participant, whatever the word
// says; the dead one may have taken note of them and gone no further.
void notify_after_death(WaitPoint& point, const Participants& participants) noexcept;

// Waits until ready(), which is called often: a load or two, with acquire where something was
// published. `each_slice` is called after every sleep, woken or not: for what costs more, such as
// asking whether the one that is waited for still lives. False: the time is over.
// Blocks.
template <typename Ready, typename EachSlice>
bool wait(WaitPoint& point, const WaitOptions& options, Ready ready, EachSlice each_slice) {
  if (ready()) {
    return true;
  }
  if (options.timeout.count() <= 0) {
    return false;
  }
  if (options.policy == WaitPolicy::kSpin) {
    return internal::spin(options, ready);
  }
  const internal::TimeLeft time(options.timeout);
  if (options.policy == WaitPolicy::kSpinThenSleep && internal::spin(options, ready)) {
    return true;
  }
  for (;;) {
    const std::uint32_t word =
        point.word.fetch_or(internal::kSleeping, std::memory_order_acq_rel) | internal::kSleeping;
    QUIRE_IPC_STEP("wait_point.wait.announced");
    if (ready()) {
      return true;
    }
    if (time.is_over()) {
      return false;
    }
    sys::shared_futex_wait(&point.word, word, time.slice());
    QUIRE_IPC_STEP("wait_point.wait.woken");
    each_slice();
    if (ready()) {
      return true;
    }
  }
}

template <typename Ready>
bool wait(WaitPoint& point, const WaitOptions& options, Ready ready) {
  return wait(point, options, ready, [] {});
}

// True: the bell will ring when somebody notifies; wait until its descriptor is readable, drain it,
// and look. False: it is ready already. Once rung, the bell has to be armed again.
template <typename Ready>
bool arm(WaitPoint& point, const Doorbell& bell, Ready ready) {
  point.bells.fetch_or(internal::bell_bit(bell.owner()), std::memory_order_relaxed);
  QUIRE_IPC_STEP("wait_point.arm.bell");
  // Release: whoever sees the bit sees the bell.
  point.word.fetch_or(internal::kBellArmed, std::memory_order_acq_rel);
  QUIRE_IPC_STEP("wait_point.arm.announced");
  return !ready();
}

}  // namespace quire::ipc
