// SPDX-License-Identifier: Apache-2.0
//
// WriteBack: dirty granules to their stores: sorted, joined, many at a time.
//
//   pages --sort, begin_write--> runs --protect, copy to a window--> requests --> finish_write
//                                                                                  |   |
//                                      stored to meanwhile, or failed: kDirty <----'   '--> kClean
//                                                                       and, if asked: evicted
//
// A store during the write does not wait: the bytes that go out are a copy. It makes the granule
// redirtied, and that is written another time. What a resize() has cut off goes back to kDirty
// unwritten: it is dropped, unless the store refuses.
//
// FlushJob: the two passes that make flush(range) exact, whoever else writes meanwhile:
//   pass 1   begins to write every dirty granule of the range; those that were in kWriting already
//            may be written from a copy that is older than the flush: after these writes are done,
//   pass 2   begins to write what is dirty now. Then it waits for all writes begun so far.
//
// Invariants:    a granule in kWriting belongs to exactly one batch; batches are numbered in the
//                order in which they begin.
// Thread-safety: the service thread only.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "quire/base/durability.h"
#include "quire/base/ticket.h"
#include "quire/cache/dirty_runs.h"
#include "quire/io/io_queue.h"
#include "quire/pager/internal/area_state.h"
#include "quire/pager/internal/evictor.h"
#include "quire/policy/write_pace.h"

namespace quire::internal {

// What becomes of a granule that was written and is clean.
enum class AfterWrite : std::uint8_t { kKeep, kEvict };

struct FlushJob {
  AreaState* area = nullptr;  // begin_service()d.
  std::uint64_t first = 0;
  std::uint64_t end = 0;
  bool syncs = false;
  Durability durability = Durability::kData;
  Ticket::Source source;

  enum class Step : std::uint8_t { kCollect, kAwait, kSync, kAwaitSync, kDone };
  Step step = Step::kCollect;
  std::uint64_t cursor = 0;
  int pass = 1;
  bool saw_writing = false;
  std::uint64_t awaited_batch = 0;  // All batches up to this.
  std::optional<Error> error;       // The first of a write in its range.
  IoRequest sync_request;
};

class WriteBack {
 public:
  // Into journals at a time: each is a thread's for as long as the journal is full.
  static constexpr std::uint32_t kSpillsMax = 8;

  WriteBack(PagerCore& core, IoQueue& queue);
  ~WriteBack();
  WriteBack(const WriteBack&) = delete;
  WriteBack& operator=(const WriteBack&) = delete;

  // A batch can begin: a buffer is free.
  [[nodiscard]] bool has_room() const noexcept { return !idle_.empty(); }
  // Begins to write what is dirty of `pages` (any order, changed); at most batch_granules() of
  // them. Returns how many it began with. REQUIRES: has_room().
  std::size_t start(std::span<PageId> pages, AfterWrite after);
  [[nodiscard]] std::size_t batch_granules() const noexcept { return batch_granules_; }

  // Dirty granules in the order of areas and addresses, from where the last call stopped.
  std::size_t sweep(std::span<PageId> into, Evictor::Reason reason);
  // From now on failures in its range are its own; until it is done.
  void begin(FlushJob& job) { flushes_.push_back(&job); }
  void end(FlushJob& job) { std::erase(flushes_, &job); }
  // One step of a flush. True: something happened.
  bool step(FlushJob& job);

  [[nodiscard]] std::uint64_t last_started() const noexcept { return last_started_; }
  // Every batch up to this one is done.
  [[nodiscard]] std::uint64_t all_done_up_to() const noexcept;
  [[nodiscard]] bool is_idle() const noexcept { return under_way_.empty(); }
  // A write failed not long ago: write-back by itself pauses, flush() does not.
  [[nodiscard]] bool is_pausing() const noexcept;

 private:
  struct Batch;
  // Neighbours that are written by one request.
  struct Run {
    Batch* batch = nullptr;
    AreaState* area = nullptr;  // begin_service()d.
    std::uint64_t first = 0;
    std::uint64_t count = 0;
    WritePace::Moment began{};
    IoRequest request;
  };
  struct Batch {
    WriteBack* owner = nullptr;
    std::uint32_t slot = 0;
    std::uint64_t number = 0;
    AfterWrite after = AfterWrite::kKeep;
    std::size_t pending = 0;
    std::uint64_t used_bytes = 0;
    std::vector<Run> runs;  // Reserved once: requests point into it.
  };

  void begin_run(Batch& batch, GranuleRun pages);
  void begin_part(Batch& batch, AreaState& area, GranuleSpan part, bool protects);
  void put_back(AreaState& area, GranuleSpan part, bool protects);
  [[nodiscard]] bool copy_out(Run& run, bool protects);
  void submit(Run& run);
  void pump();
  void hand_over_first(std::deque<Run*>& runs);
  void keep_pace(const Run& run, std::uint64_t written_bytes);
  static void on_done(IoRequest& request);
  [[nodiscard]] static Error cause_of(const Run& run, const Error& error);
  void finish(Run& run, bool was_written);
  void fail(Run& run, const Error& error);
  void end_batch(Batch& batch);
  bool collect(FlushJob& job);
  bool collect_now(FlushJob& job);

  PagerCore& core_;
  IoQueue& queue_;
  const std::size_t batch_granules_;
  std::vector<std::unique_ptr<Batch>> batches_;
  std::vector<Batch*> idle_;
  std::deque<Batch*> under_way_;  // By number.
  std::vector<FlushJob*> flushes_;
  std::deque<Run*> ready_;         // Copied out, and not handed to the queue yet ...
  std::deque<Run*> ready_spills_;  // ... of atomic areas.
  std::uint32_t spills_under_way_ = 0;
  WritePace pace_;
  std::vector<GranuleRun> runs_;
  std::vector<PageId> collected_;
  AreaState* collecting_ = nullptr;  // No cut of it comes in between.
  std::uint64_t last_started_ = 0;
  PageId sweep_from_ = 0;
  std::optional<std::chrono::steady_clock::time_point> failed_at_;
};

}  // namespace quire::internal
