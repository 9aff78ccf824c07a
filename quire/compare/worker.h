// SPDX-License-Identifier: Apache-2.0
//
// worker: one round in a process of its own, so that whatever becomes of it is the error of one
// round: killed for memory, SIGBUS, an endless wait.
//
//   parent   fork ---- polls the pipe ----------------------------> report, or why there is none
//   child       '-- work() -- report as text into the pipe -- exit
//
// Thread-safety: one thread; the process has no other one when run_in_worker() is called.
// Errors:        what work() returned; kFailed when the child died, with the signal in words;
//                kCancelled after should_stop(); ETIMEDOUT.
// Blocks:        until the child has ended, a stop is asked for, or the time is over.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "quire/base/result.h"
#include "quire/compare/memory_bound.h"
#include "quire/compare/report.h"

namespace quire::compare {

// What comes back from one round.
struct RoundReport {
  Round round;
  std::string method;
  std::optional<std::string> fallback;
  std::optional<EngineDetails> engine = {};
};

using RoundWork = std::function<Result<RoundReport>()>;

struct WorkerOptions {
  std::string subject;  // What is measured, for errors.
  double timeout_s = 60;
  const MemoryBound* bound = nullptr;      // Asked whether it was the one that killed.
  std::function<bool()> should_stop = {};  // Asked ten times a second; may be empty.
};

[[nodiscard]] Result<RoundReport> run_in_worker(const RoundWork& work,
                                                const WorkerOptions& options);

}  // namespace quire::compare
