// SPDX-License-Identifier: Apache-2.0
//
// interleave: threads that begin at one moment and give way at random places, so that short runs
// meet in many ways, on few processors, too.
//
//   run_together(3, seed, [&](unsigned thread) { ... perturb(); ... });
//
// Each of the threads has its own random numbers, from the seed. In programs that link
// quire_ipc_stepped, perturb() runs at every step of ipc as well (step.h).
//
// Thread-safety: perturb() from any thread; outside run_together() it does nothing.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <thread>
#include <vector>

#include "quire/base/prng.h"
#if defined(QUIRE_IPC_STEPS)
#include "quire/testing/ipc_steps.h"
#endif

namespace quire::testing {

inline thread_local std::optional<Prng> interleave_prng;

// Gives way, or waits a little, or does nothing.
inline void perturb() {
  if (!interleave_prng) {
    return;
  }
  const std::uint64_t choice = interleave_prng->below(8);
  if (choice == 0) {
    std::this_thread::yield();
  }
  for (std::uint64_t spin = choice == 1 ? interleave_prng->below(256) : 0; spin > 0; --spin) {
    std::atomic_signal_fence(std::memory_order_seq_cst);  // Takes time; is not optimised away.
  }
}

// Runs body(0), body(1) ... at once and waits for all.
template <typename Body>
void run_together(unsigned threads, std::uint64_t seed, Body body) {
  std::atomic<unsigned> waiting{threads};
  std::vector<std::thread> running;
  for (unsigned thread = 0; thread < threads; ++thread) {
    running.emplace_back([&, thread] {
      interleave_prng.emplace(seed * threads + thread);
#if defined(QUIRE_IPC_STEPS)
      const StepVisitor visitor([](const char*) { perturb(); });
#endif
      waiting.fetch_sub(1);
      while (waiting.load() != 0) {
        std::this_thread::yield();
      }
      body(thread);
    });
  }
  for (std::thread& each : running) {
    each.join();
  }
}

}  // namespace quire::testing
