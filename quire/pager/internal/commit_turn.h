// SPDX-License-Identifier: Apache-2.0
//
// CommitTurn: a thread that waits in commit() while another one drives the commit before its own.
//
//   waiting --lead()--> leads: the next commit is its to drive, for all who wait
//    |   ^                |  |
//    |   '- await_answer()'  |     (the service thread has the rest)
//    '------answer()---------'--> answered: some commit has taken what it asked for, or failed
//
// It lies on that thread's stack: nothing may touch it after answer() but the wake-up itself, which
// at worst wakes whoever sleeps on that address by then, for no reason.
//
// Thread-safety: waits are the waiting thread's; lead() and answer() anybody's who has the request,
//                one at a time.
// Blocks:        wait(), await_answer().
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "quire/base/check.h"
#include "quire/base/result.h"
#include "quire/sys/futex.h"

namespace quire::internal {

class CommitTurn {
 public:
  enum class State : std::uint32_t { kWaiting, kLeads, kAnswered };

  // Comes back with something else than kWaiting.
  State wait() noexcept {
    while (word_.load() == raw(State::kWaiting)) {
      static_cast<void>(sys::futex_wait(word_, raw(State::kWaiting)));
    }
    return static_cast<State>(word_.load());
  }

  // REQUIRES: nobody will make it lead (again).
  [[nodiscard]] Result<void> await_answer() noexcept {
    std::uint32_t leads = raw(State::kLeads);
    word_.compare_exchange_strong(leads, raw(State::kWaiting));
    QUIRE_CHECK(wait() == State::kAnswered);
    return std::move(outcome_);
  }

  void lead() noexcept { change(State::kLeads); }
  void answer(Result<void> outcome) noexcept {
    outcome_ = std::move(outcome);
    change(State::kAnswered);
  }

 private:
  static constexpr std::uint32_t raw(State state) noexcept {
    return static_cast<std::uint32_t>(state);
  }
  // Only who waits is woken: a leader is not asleep.
  void change(State state) noexcept {
    if (word_.exchange(raw(state)) == raw(State::kWaiting)) {
      sys::futex_wake_one(word_);
    }
  }

  std::atomic<std::uint32_t> word_{raw(State::kWaiting)};
  Result<void> outcome_{};
};

}  // namespace quire::internal
