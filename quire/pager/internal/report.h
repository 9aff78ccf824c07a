// SPDX-License-Identifier: Apache-2.0
//
// report: the watchdog's voice: a fault that takes too long says so once, with what is known.
//
// Thread-safety: any thread, also where a fault is being served: one write(2) of a line that is
//                formatted on the stack.
#pragma once

#include <chrono>
#include <cstdint>

namespace quire::internal {

class AreaState;
class PagerCore;

struct SlowFault {
  const char* what = "";    // What it waits for.
  std::uint64_t index = 0;  // The granule; all ones: none in particular.
  std::chrono::nanoseconds waited{};
};

// "quire: big.bin: a fault of granule 12 (filling, 0 pins) waits for 10 s: ...; free 0 of ..."
void report_slow_fault(const SlowFault& fault, const AreaState& area, PagerCore& core) noexcept;

}  // namespace quire::internal
