// SPDX-License-Identifier: Apache-2.0
//
// IoQueue::State: which request goes where, and what happens when.
//
//   submit() --> waiting_ --free slot--> start() --+--> RingPath ----+--> ended_ --> callbacks
//           '--an await, its own slot-->           '--> ThreadPath --'
//
//   poll(), wait()   flush() or block(), collect() to ended_, run_callbacks(), settle()
//
// A callback runs when nothing else of the queue does: it may submit, which only prepares.
//
// Invariants:    a slot is free, in the ring, with the threads, or ended (check_invariants());
//                outside of a callback, requests wait only while none of the slots is free or no
//                bounce buffer is; awaits never. Nothing waits for an await alone while something
//                else is under way: it may be a callback that makes its descriptor readable.
// Thread-safety: as IoQueue.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "quire/io/internal/queue_slot.h"
#include "quire/io/internal/ring_path.h"
#include "quire/io/internal/thread_path.h"
#include "quire/io/io_queue.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/outcome.h"

namespace quire {

class IoQueue::State {
 public:
  static Result<std::unique_ptr<State>> make(const IoQueueOptions& options);
  explicit State(const IoQueueOptions& options);

  void register_store(const Store& store);
  void forget_store(const Store& store);
  void submit(IoRequest& request);
  std::size_t poll();
  std::size_t wait(std::size_t count);
  void drain();
  std::size_t wait_interruptibly();
  void interrupt();

  [[nodiscard]] bool is_idle() const noexcept { return waiting_.empty() && under_way() == 0; }
  [[nodiscard]] std::size_t under_way() const noexcept {
    return slots_.size() - free_.size() - free_for_awaits_.size();
  }
  [[nodiscard]] IoEngine engine() const noexcept {
    return ring_ != nullptr ? IoEngine::kRing : IoEngine::kThreads;
  }
  [[nodiscard]] IoQueueStats stats() const noexcept;
  [[nodiscard]] std::string explain() const;
  void check_invariants() const;

 private:
  sys::Outcome<void> open_ring();
  void give_up_ring(sys::Errno cause);
  void enter();
  void start_await(IoRequest& request);
  void start_waiting();
  void assign(internal::QueueSlot& slot, IoRequest& request) const;
  void go(internal::QueueSlot& slot, internal::Next next);
  [[nodiscard]] internal::Next start(internal::QueueSlot& slot);
  void follow(internal::QueueSlot& slot, internal::Next next);
  void hand_over(internal::QueueSlot& slot);
  void flush();
  void block(std::size_t count);
  void block_in_ring(std::size_t count);
  void take_back(sys::Errno refusal);
  void wait_for_ring(std::optional<std::chrono::nanoseconds> timeout = {});
  void collect();
  std::size_t run_callbacks();
  void finish(internal::QueueSlot& slot);
  void settle();

  const IoQueueOptions options_;
  std::vector<internal::QueueSlot> slots_;  // `depth` of them, then those for awaits.
  std::vector<internal::QueueSlot*> free_;
  std::vector<internal::QueueSlot*> free_for_awaits_;
  std::deque<IoRequest*> waiting_;
  std::vector<internal::QueueSlot*> ended_;    // Whose callbacks come next ...
  std::vector<internal::QueueSlot*> running_;  // ... and those that run now.
  bool is_in_callback_ = false;
  std::atomic<bool> is_interrupted_ = false;
  int wait_refusals_ = 0;

  sys::Descriptor wake_;
  std::unique_ptr<internal::RingPath> ring_;  // Null: threads do everything.
  std::string no_ring_reason_;
  sys::Errno last_refusal_;
  internal::ThreadPath threads_;
  IoQueueStats stats_;
};

}  // namespace quire
