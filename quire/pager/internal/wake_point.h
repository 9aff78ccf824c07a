// SPDX-License-Identifier: Apache-2.0
//
// WakePoint: "something has got further; whoever waits, look again".
//
//   seen = point.generation();  if (not yet) point.wait(seen, timeout);      point.advance();
//
// Thread-safety: every member from any thread, also where a fault is being served.
// Blocks:        wait().
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "quire/sys/futex.h"

namespace quire::internal {

class WakePoint {
 public:
  [[nodiscard]] std::uint32_t generation() const noexcept { return generation_.load(); }

  void advance() noexcept {
    generation_.fetch_add(1);
    if (waiters_.load() > 0) {
      sys::futex_wake_all(generation_);
    }
  }

  void wait(std::uint32_t seen, std::chrono::milliseconds timeout) noexcept {
    waiters_.fetch_add(1);
    static_cast<void>(sys::futex_wait(generation_, seen, timeout));
    waiters_.fetch_sub(1);
  }

 private:
  std::atomic<std::uint32_t> generation_{0};
  std::atomic<std::uint32_t> waiters_{0};
};

}  // namespace quire::internal
