// SPDX-License-Identifier: Apache-2.0
//
// Service: the pager's one thread. Everything that need not happen in the thread that faults
// happens here, in one loop over one IoQueue.
//
//   wake-up, timer, messages of userfaultfd --.
//   completions of reads and writes ----------+--> [ one round ] --> nothing left: sleep
//   jobs: flush, commit, prefetch ------------'         |
//                                                       |  1  messages: faults to serve
//                                                       |  2  room: evict until enough is free
//                                                       |  3  write-back: dirty victims, too much
//                                                       |     dirty, too old, flush jobs, commits
//                                                       '  4  reads: faults, read-ahead, prefetch
//
// It sleeps without a timer when nothing is dirty and nobody waits: an idle pager costs nothing.
//
// Thread-safety: the members say. Those for faults may be called in a signal handler.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "quire/base/durability.h"
#include "quire/base/mutex.h"
#include "quire/base/result.h"
#include "quire/base/ticket.h"
#include "quire/io/io_queue.h"
#include "quire/pager/internal/area_state.h"
#include "quire/pager/internal/committer.h"
#include "quire/pager/internal/handed_faults.h"
#include "quire/pager/internal/message_delivery.h"
#include "quire/pager/internal/read_ahead.h"
#include "quire/pager/internal/write_back.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/futex.h"
#include "quire/sys/poller.h"

namespace quire::internal {

class Service {
 public:
  // Starts the thread. Errors: of IoQueue::make(), epoll, timerfd; EAGAIN when no thread can be
  // had.
  [[nodiscard]] static Result<std::unique_ptr<Service>> start(PagerCore& core);
  // Ends it. REQUIRES: no area is left.
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  // --- From faults: any thread, also in a signal handler -----------------------------------------

  // Look around: memory is short, something was handed over.
  void wake() noexcept;
  // Something became dirty.
  void note_dirty() noexcept;
  // The outcome of a job, for its ticket. The service thread only.
  void deliver(Ticket::Source source, Result<void> outcome);
  // A page that was poisoned; after a while it is not any more. Never in a signal handler.
  void note_poison(PageId page);
  // What is parked, if anything is, may get further.
  void note_progress() noexcept {
    if (is_retrying_.load()) {
      wake();
    }
  }
  // A granule that somebody awaited is in transition no longer.
  void note_transition_end() noexcept {
    if (is_flush_awaiting_.load()) {
      wake();
    }
  }
  // See Committer.
  [[nodiscard]] Filler::Store let_in(AreaState& area, std::uint64_t index) noexcept {
    return committer_->let_in(area, index);
  }
  // A fault that its thread cannot serve: comes back when it is served, or begun, or the area is
  // closing.
  void serve_handed_over(PageId page, Need need) noexcept;
  // Windows to be read ahead of a stream. Dropped when there are too many already: it is a guess.
  void offer(AreaState& area, const FillPlan& plan) noexcept;

  // --- From the application: any thread ----------------------------------------------------------

  Result<void> add_area(AreaState& area);
  // No new work of this area is begun; AreaState::in_service() falls to 0.
  void remove_area(AreaState& area) noexcept;
  // Writes what is dirty in the range; then, with a durability, syncs the store.
  enum class Sync : std::uint8_t { kNo, kYes };
  [[nodiscard]] Ticket flush(AreaState& area, ByteRange range, Sync sync, Durability durability);
  [[nodiscard]] Ticket prefetch(AreaState& area, std::span<const ByteRange> ranges);

  // Makes durable what was stored to these areas of one journal: see Committer. commit() does it in
  // the calling thread if it can, with signals blocked.
  Result<void> commit(std::span<AreaState* const> areas);
  [[nodiscard]] Ticket commit_async(std::span<AreaState* const> areas);

  // Comes back when the pager's thread has begun another round: it has seen what was written
  // before, and what it began without having seen it is in the granules' states.
  void pass();

  // Runs `look` in the pager's thread when it has nothing to do and nothing under way: what it
  // looks at stands still but for faults. Blocks until then.
  void inspect(std::function<void()> look);

  // From now on the end of the guardian process is noticed, if there is one, or not. Its orderly
  // end comes after unwatch_guardian().
  Result<void> watch_guardian();
  void unwatch_guardian() noexcept;

  [[nodiscard]] std::string explain() const { return queue_->explain(); }
  // Whether this process is a child that was forked after a pager had begun: it has no thread.
  [[nodiscard]] static bool is_in_forked_child() noexcept;

 private:
  explicit Service(PagerCore& core);
  Result<void> open();

  void run() noexcept;
  [[nodiscard]] bool round();
  void await_work();
  void on_readable();
  void arm_await();
  [[nodiscard]] Ticket enqueue(CommitRequest request);
  void take_jobs();
  [[nodiscard]] bool keep_room();
  [[nodiscard]] bool write_back();
  [[nodiscard]] bool step_flushes();
  void end_poison();
  void deliver_all();
  [[nodiscard]] bool set_timer();
  void be_inspected();

  PagerCore& core_;
  std::unique_ptr<IoQueue> queue_;
  std::optional<sys::Poller> poller_;
  sys::Descriptor event_;
  sys::Descriptor timer_;
  std::atomic<bool> is_signalled_{false};
  std::atomic<bool> is_ending_{false};
  std::atomic<bool> is_timer_wanted_{false};
  HandedFaults handed_;
  std::atomic<bool> is_retrying_{false};        // Somebody is parked, and looked at by and by.
  std::atomic<bool> is_flush_awaiting_{false};  // A flush marked a granule in transition awaited.

  // Of the thread alone:
  IoRequest await_;
  bool was_readable_ = false;
  bool is_timer_set_ = false;
  bool is_age_due_ = false;
  bool is_making_room_ = false;
  std::uint64_t sweep_left_ = 0;  // Granules to be written because of their age.
  std::unique_ptr<WriteBack> write_back_;
  std::unique_ptr<ReadAhead> read_ahead_;
  std::unique_ptr<Committer> committer_;
  std::unique_ptr<MessageDelivery> messages_;
  std::vector<std::unique_ptr<FlushJob>> flushes_;

  struct Inspection {
    std::function<void()> look;
    Ticket::Source source;
  };
  std::vector<Inspection> inspections_;
  // Whoever waits for a ticket may have been interrupted by a signal while he held its lock, and
  // his handler may be waiting for a fault to be served: this thread must not wait for him.
  struct Delivery {
    Ticket::Source source;
    Result<void> outcome;
  };
  std::vector<Delivery> deliveries_;

  std::atomic<bool> has_poison_{false};
  Mutex poison_mutex_;
  std::vector<PageId> poisoned_ QUIRE_GUARDED_BY(poison_mutex_);

  Mutex jobs_mutex_;
  std::vector<Inspection> new_inspections_ QUIRE_GUARDED_BY(jobs_mutex_);
  std::vector<std::unique_ptr<FlushJob>> new_flushes_ QUIRE_GUARDED_BY(jobs_mutex_);
  std::vector<std::unique_ptr<PrefetchJob>> new_prefetches_ QUIRE_GUARDED_BY(jobs_mutex_);
  std::vector<CommitRequest> new_commits_ QUIRE_GUARDED_BY(jobs_mutex_);
  std::vector<Ticket::Source> new_passages_ QUIRE_GUARDED_BY(jobs_mutex_);
  std::thread thread_;  // Last: it starts when everything above is there.
};

}  // namespace quire::internal
