// SPDX-License-Identifier: Apache-2.0
//
// ThreadPath: does requests by calling their Store, or poll(2), in a few threads. For stores that
// the kernel does not know, for what a ring cannot do, and for machines without rings.
//
// Threads are started when there is more to do than threads to do it; where none can be had, the
// queue's thread does the request itself, which is slow and right.
//
// An await may keep its thread for ever, so awaits have threads of their own, one each; where none
// can be had for one, it fails with EAGAIN.
//
// Invariants:    started = done and taken + done and waiting + under way; a slot belongs to this
//                object from start() until take_done() gives it back.
// Thread-safety: the queue's thread.
// Blocks:        wait_done(), and start() when there are no threads to be had.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <thread>
#include <vector>

#include "quire/base/mutex.h"
#include "quire/io/internal/queue_slot.h"
#include "quire/sys/descriptor.h"

namespace quire::internal {

class ThreadPath {
 public:
  // `wake` is signalled after each request is done, if it is open. It outlives this object.
  ThreadPath(std::uint32_t thread_count_max, const sys::Descriptor& wake);
  // REQUIRES: nothing is outstanding (checked).
  ~ThreadPath();
  ThreadPath(const ThreadPath&) = delete;
  ThreadPath& operator=(const ThreadPath&) = delete;

  void start(QueueSlot& slot);
  // Appends what is done, in that order.
  void take_done(std::vector<QueueSlot*>& into);
  // Until something is done. REQUIRES: outstanding() > 0.
  void wait_done();
  // The same, or until interrupt() was called, before or meanwhile.
  void wait_done_or_interrupted();
  // Any thread.
  void interrupt();

  // Started and not taken.
  [[nodiscard]] std::size_t outstanding() const noexcept { return outstanding_; }

 private:
  // Threads, and what they do.
  struct Crew {
    explicit Crew(std::uint32_t count_max) : thread_count_max(count_max) {}

    const std::uint32_t thread_count_max;
    CondVar has_work;
    std::deque<QueueSlot*> todo;
    std::size_t unfinished_count = 0;  // To do, and being done.
    std::vector<std::thread> threads;
  };

  void work(Crew& crew);
  bool post(Crew& crew, QueueSlot& slot) QUIRE_REQUIRES(mutex_);
  void start_thread(Crew& crew) QUIRE_REQUIRES(mutex_);

  const sys::Descriptor& wake_;
  std::size_t outstanding_ = 0;

  Mutex mutex_;
  CondVar has_done_;
  std::vector<QueueSlot*> done_ QUIRE_GUARDED_BY(mutex_);
  bool is_interrupted_ QUIRE_GUARDED_BY(mutex_) = false;
  bool is_ending_ QUIRE_GUARDED_BY(mutex_) = false;
  Crew transfers_ QUIRE_GUARDED_BY(mutex_);
  Crew awaits_ QUIRE_GUARDED_BY(mutex_){IoQueueOptions::kAwaitsMax};
};

}  // namespace quire::internal
