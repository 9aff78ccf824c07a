// SPDX-License-Identifier: Apache-2.0
//
// process_barrier: a memory barrier that one thread carries out for all threads of other processes,
// so that those need none where they pass a million times a second.
//
//   one who passes often               one who comes rarely
//   --------------------               --------------------
//   x = 1  (plain store)               y = 1
//   no_reordering()                    barrier_in_all()
//   read y (plain load)                read x
//
// Whoever has joined is stopped by barrier_in_all() for an instant at which all its stores are
// visible. If it read y before that instant, its x is visible to what we read afterwards; if later,
// it reads our y. So at least one of the two sees the other, as if both had a barrier.
//
// Invariants:    joining lasts as long as the program: a fork's child has joined, an exec has not.
//                Who asks for the barrier need not have joined.
// Thread-safety: any thread. Nothing allocates; errno is kept.
// Errors:        false: the kernel has no such barrier, or a filter of system calls refuses it.
// Cost:          barrier_in_all(): some microseconds, as it interrupts the processors on which who
//                has joined is running; 0.1 us where nobody does. Joining: at once in a process of
//                one thread, some milliseconds where there are more.
// Kernel:        4.16 (MEMBARRIER_CMD_GLOBAL_EXPEDITED).
#pragma once

#include <atomic>

namespace quire::sys {

// Lets this process take part in the barriers of others. Again and again, if you like.
[[nodiscard]] bool join_barriers() noexcept;

// True: every thread of every process that has joined passed a full barrier meanwhile, as did we.
[[nodiscard]] bool barrier_in_all() noexcept;

// The compiler keeps memory accesses on their side; the processor is what barrier_in_all() is for.
inline void no_reordering() noexcept {
  std::atomic_signal_fence(std::memory_order_seq_cst);
}

}  // namespace quire::sys
