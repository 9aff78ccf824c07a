// SPDX-License-Identifier: Apache-2.0
//
// deadline: what is left of a time limit, for waits that are done in several steps.
//
// Thread-safety: a plain value. Allocates nothing: one reading of the clock a call, no system call.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace quire::internal {

class Deadline {
 public:
  explicit Deadline(std::uint64_t timeout_ms) noexcept
      : end_(Clock::now() + std::chrono::milliseconds(std::min(timeout_ms, kTimeoutMsMax))) {}

  // Never negative.
  [[nodiscard]] std::chrono::nanoseconds left() const noexcept {
    return std::max<std::chrono::nanoseconds>(end_ - Clock::now(), std::chrono::nanoseconds(0));
  }
  [[nodiscard]] bool is_over() const noexcept { return left().count() == 0; }

 private:
  using Clock = std::chrono::steady_clock;
  // About a hundred years: stands for ever, and the sum with a clock's reading cannot overflow.
  static constexpr std::uint64_t kTimeoutMsMax = 3'000'000'000'000;

  Clock::time_point end_;
};

}  // namespace quire::internal
