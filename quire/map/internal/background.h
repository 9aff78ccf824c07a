// SPDX-License-Identifier: Apache-2.0
//
// background: one thread for the work that a caller does not want to wait for.
//
//   post(job) --> queue (bounded) --> the thread runs jobs in order
//
// The thread starts with the first job. At process exit the jobs that were accepted are finished
// first: an accepted flush is never dropped. A forked child, which inherits no threads, gets its
// own on its first job; jobs of the parent stay the parent's.
//
// Invariants:    at most kBackgroundJobsMax jobs wait.
// Thread-safety: any thread.
// Errors:        false when the queue is full, or the thread cannot be started: run it yourself.
#pragma once

#include <cstddef>
#include <functional>

namespace quire::internal {

// More than any caller can profit from: the device's queue is two orders of magnitude shorter.
inline constexpr std::size_t kBackgroundJobsMax = 1024;

[[nodiscard]] bool post_to_background(std::function<void()> job);

}  // namespace quire::internal
