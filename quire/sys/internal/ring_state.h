// SPDX-License-Identifier: Apache-2.0
//
// ring_state: what a Ring owns. ring.cc submits and completes, ring_prepare.cc fills entries.
//
// Invariants:    in_flight counts the entries taken from next_entry() whose last completion has not
//                been handed out; io_uring_sq_ready() of them have not reached the kernel.
// Thread-safety: as Ring.
#pragma once

#include <liburing.h>

#include <bitset>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "quire/sys/ring.h"

namespace quire::sys {

struct Ring::State {
  State() = default;
  ~State();
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  // A free entry, or null when the queue is full.
  [[nodiscard]] io_uring_sqe* next_entry() noexcept;

  [[nodiscard]] std::uint32_t unsubmitted() const noexcept { return io_uring_sq_ready(&ring); }

  io_uring ring{};
  bool is_set_up = false;
  RingMode mode = RingMode::kInterrupting;
  std::uint32_t in_flight = 0;
  std::uint64_t enters = 0;
  std::bitset<static_cast<std::size_t>(RingOperation::kCount)> supported;
  // The times of timeouts, by the slot of their entry: the kernel reads them at submission.
  std::unique_ptr<__kernel_timespec[]> times;
};

[[nodiscard]] __kernel_timespec to_timespec(std::chrono::nanoseconds time) noexcept;

}  // namespace quire::sys
