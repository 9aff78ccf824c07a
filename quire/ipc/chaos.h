// SPDX-License-Identifier: Apache-2.0
//
// chaos: proves on the machine at hand that a segment's structures survive their users. Processes
// use them, each is killed (SIGKILL) or stopped (SIGSTOP) at random moments and replaced at once,
// and all keep books of what they were told is done, which outlive them:
//
//   referee ---- forks, stops, kills, forks again ----> station: writer 0 .. n, reader, ...
//      |                                                   |     '-- uses the structure
//      '--- reads, all the time ------> log of a station <-'         under test
//      '--- at the end: an auditor takes every place, empties every ring, compares the books
//
// What is proven, of every structure:
//   rings      what send() returned from comes, once, whole, and in its writer's order. What a
//              writer was about to send when it was killed comes once or never. What a reader had
//              in hand when it was killed comes to its successor again, unless it had been
//              released: that one message and no other.
//   mutex      nobody is inside beside somebody else; who comes after a death inside is told, and
//              who was not told finds no change half made; no change that was unlocked is lost.
//   broadcast  viewers see whole messages in order, and are told exactly what they missed: what
//              nobody said was missed was never acknowledged.
//   blackboard whoever looks sees a whole value, not older than what was acknowledged before.
//   semaphore  no unit has two holders; who gets the unit of a dead one is told; none is lost.
//   event      who waits for it is woken by whoever sets it: a turn that is passed round never
//              stops, and nobody plays out of turn.
//   all        nobody waits longer than hang_after without an end, other than stopped; and the
//              words of the structure are sound at the end.
//
// Invariants:    the shared memory has no name and the processes die with their maker: however it
//                ends, nothing is left.
// Thread-safety: one thread, in a process that has no other one (it forks).
// Errors:        what kept it from running: kLimit, ENOMEM, EAGAIN. What was found to be wrong is
//                no error but ChaosReport::violations.
// Blocks:        until the time is over, a violation is found or a stop is asked for, and for the
//                audit, some tenths of a second.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "quire/base/result.h"

namespace quire::ipc {

struct ChaosProgress {
  double elapsed_s = 0;
  std::uint64_t kills = 0;
  std::uint64_t finished = 0;  // Operations.
};

struct ChaosOptions {
  double seconds = 10;
  // Draws who is killed or stopped, and when; where in its work that meets a process is chance.
  std::uint64_t seed = 1;
  // Some hundred times what the slowest operation takes when everybody is awake.
  std::chrono::milliseconds hang_after{10'000};
  // Between two misfortunes, on average.
  std::chrono::microseconds pause{4'000};
  std::vector<std::string> only = {};  // Names of structures; empty: all.
  std::function<bool()> should_stop = {};
  std::function<void(const ChaosProgress&)> tell = {};  // Some hundred times a second.
};

// What one structure went through.
struct ChaosTally {
  std::string name;  // "mpsc-ring"
  std::uint64_t starts = 0;
  std::uint64_t kills = 0;
  std::uint64_t stops = 0;
  std::uint64_t finished = 0;       // Operations that somebody was told are done.
  std::uint64_t repeated = 0;       // Messages that came again since their reader had been killed.
  std::uint64_t told_of_death = 0;  // How often somebody was told that a holder had died.
  double longest_wait_s = 0;        // For an operation, other than stopped.
};

struct ChaosReport {
  std::uint64_t seed = 0;
  double elapsed_s = 0;
  bool was_stopped = false;
  std::vector<ChaosTally> structures;
  std::vector<std::string> violations;  // In words; empty: all promises were kept.
};

// The names of what there is to be tried.
[[nodiscard]] std::vector<std::string> chaos_structures();

[[nodiscard]] Result<ChaosReport> run_chaos(const ChaosOptions& options);

}  // namespace quire::ipc
