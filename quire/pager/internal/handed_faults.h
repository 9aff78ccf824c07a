// SPDX-License-Identifier: Apache-2.0
//
// HandedFaults: faults on their way to the pager's thread from threads that have them in a signal
// handler, and cannot serve them there: what an atomic area lacks is read through its journal,
// which takes locks and allocates.
//
//   faulting thread: push(), wake the service, await_end()
//   service thread:  take_all(), serve, end()
//
// A fault is a variable of the thread that has it, and gone when end() has been called.
//
// Thread-safety: push() and await_end() from any thread, also where a fault is served: no lock, no
//                memory. take_all() and end(): the service thread.
// Blocks:        await_end().
#pragma once

#include <atomic>
#include <cstdint>

#include "quire/pager/internal/area_state.h"
#include "quire/sys/futex.h"

namespace quire::internal {

struct HandedFault {
  PageId page = 0;
  Need need = Need::kLoad;
  HandedFault* next = nullptr;
  std::atomic<std::uint32_t> is_ended{0};

  void await_end() noexcept {
    while (is_ended.load() == 0) {
      sys::futex_wait(is_ended, 0);
    }
  }
  // It is gone as soon as its thread sees this; waking an address asks nothing of what is there.
  void end() noexcept {
    is_ended.store(1);
    sys::futex_wake_all(is_ended);
  }
};

class HandedFaults {
 public:
  void push(HandedFault& fault) noexcept {
    fault.next = newest_.load(std::memory_order_relaxed);
    while (!newest_.compare_exchange_weak(fault.next, &fault)) {
    }
  }
  // A list by `next`, the newest first. Null: there is none.
  [[nodiscard]] HandedFault* take_all() noexcept {
    return newest_.load(std::memory_order_relaxed) == nullptr ? nullptr : newest_.exchange(nullptr);
  }

 private:
  std::atomic<HandedFault*> newest_{nullptr};
};

}  // namespace quire::internal
