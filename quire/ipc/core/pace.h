// SPDX-License-Identifier: Apache-2.0
//
// pace: how soon a side looks at the other's position again, when both work at full speed.
//
// A look takes the line of the position away from the other side, which has to fetch it back before
// it can publish again; with it wait, in order, all the stores behind. A reader that looks whenever
// it has read what it knew of makes the writer fetch that line for every few messages, and is
// itself the reason why there are so few. So after a look that found several messages it lets the
// writer be for a moment, in which more come, and the line is passed once for all of them:
//
//   look: 5 | read them | pause | look: 19 | read them | pause, longer | look: 40 | ...
//
// A moment is never longer than it takes to read as much again, and none after a look that found
// fewer than kStreamMessages: who is asked and answers, one message at a time, is as fast as ever.
//
// Invariants:    at most kPausesMax pauses of the processor, a microsecond or less.
// Thread-safety: a plain value.
// Cost:          in a stream, a message may be read later by a moment.
#pragma once

#include <algorithm>
#include <cstdint>

#include "quire/sys/futex.h"

namespace quire::ipc::internal {

class ReaderPace {
 public:
  // A look found so many units, of which a message takes `message_units` or so.
  void found(std::uint64_t units, std::uint64_t message_units) noexcept {
    const std::uint64_t messages = units / std::max<std::uint64_t>(message_units, 1);
    if (messages < kStreamMessages || messages < pauses_) {
      pauses_ /= 2;
    } else if (messages >= 2 * std::uint64_t{pauses_}) {
      pauses_ = std::clamp(2 * pauses_, 1U, kPausesMax);
    }
  }
  // Before the next look, by one who may wait.
  void linger() const noexcept {
    for (unsigned pause = 0; pause < pauses_; ++pause) {
      sys::pause_processor();
    }
  }
  [[nodiscard]] unsigned pauses() const noexcept { return pauses_; }

  static constexpr unsigned kPausesMax = 32;
  static constexpr std::uint64_t kStreamMessages = 4;

 private:
  unsigned pauses_ = 0;
};

// A writer that met a full ring: `has_much` looks whether a good part of it is free. What the
// reader gives back place by place is not worth a look for each: there is enough to read meanwhile.
template <typename HasMuch>
void look_patiently(HasMuch has_much) {
  for (unsigned pauses = 1; pauses <= ReaderPace::kPausesMax && !has_much(); pauses *= 2) {
    for (unsigned pause = 0; pause < pauses; ++pause) {
      sys::pause_processor();
    }
  }
}

}  // namespace quire::ipc::internal
