// SPDX-License-Identifier: Apache-2.0
//
// Committer: the commits of a pager's atomic areas, one at a time.
//
//   requests --> [ idle ] --> [ quiesce ] --> cut --> [ images ] --> [ last ] --> [ journal ]
//                   ^  updates   writes under way   a window full:     the rest comes with    |
//                   |  end       of these areas end uncommitted, as    the commit             |
//                   |                               often as need be                          |
//                   '---- granules clean, or dirty again; tickets delivered <-----------------'
//
// What fits into one slice, the usual case, is copied in the same go as the cut; more a slice at a
// time, and faults are served in between. What fits into one window buffer is one write and one
// flush of the journal. More is written while it is copied, two windows at a time, into the
// transaction that the last one's commit makes durable; until then it is as if it were not there.
// An error leaves everything as uncommitted as it was: the next commit takes it all.
//
// Who drives it: a small commit() (one window) does so in its own thread: no other one is woken for
// it. Those that come meanwhile wait; the first of them drives the next one, for all. Everything
// else is the service thread's: commit_async(), writes that must end first, more than a window.
//
// Group commit: whoever asks before the cut of the areas' journal shares it. Requests for other
// journals wait for their turn. Threads that were answered together wait a moment for each other
// before the next cut: see Company.
//
// Invariants:    of an area that is committing no granule is being written by write-back, and none
//                begins to be; so nothing that was stored after the cut is in the transaction.
// Thread-safety: run(): any thread, but not where a fault is served; let_in(): any thread, there,
//                too; the rest: the service thread.
// Blocks:        run(), for the journal.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "quire/base/company.h"
#include "quire/base/mutex.h"
#include "quire/base/ticket.h"
#include "quire/io/io_queue.h"
#include "quire/pager/internal/area_commit.h"
#include "quire/pager/internal/commit_cut.h"
#include "quire/pager/internal/commit_turn.h"
#include "quire/pager/internal/filler.h"
#include "quire/sys/futex.h"

namespace quire::internal {

struct CommitRequest {
  // Of one journal; begin_service()d, and counted in pending_commits.
  std::vector<AreaState*> areas;
  CommitTurn* turn = nullptr;  // Of who waits in run(); nothing:
  std::optional<Ticket::Source> source{};
};

class Committer {
 public:
  Committer(PagerCore& core, IoQueue& queue);
  ~Committer();
  Committer(const Committer&) = delete;
  Committer& operator=(const Committer&) = delete;

  // The whole commit, driven by this thread or another one. Nothing: it is too large, and nothing
  // was done: add() it in the service thread.
  [[nodiscard]] std::optional<Result<void>> run(CommitRequest& request);

  void add(CommitRequest request);
  // Goes on as far as nothing has to be waited for. True: something happened.
  bool step();
  // Whether no commit is under way; one may be asked for, and wait for an update, for instance that
  // of who wants to know. False: the service thread is woken when the present one gets further.
  [[nodiscard]] bool await_idle();
  // A store to a clean or written granule, of which the cut gets its image first if it needs it.
  // Any thread, also where a fault is served.
  [[nodiscard]] Filler::Store let_in(AreaState& area, std::uint64_t index);

 private:
  enum class Step : std::uint8_t { kIdle, kQuiesce, kImages, kLast, kJournal };
  // A window of images on its way.
  struct Chunk {
    Committer* owner = nullptr;
    Journal* journal = nullptr;
    std::optional<std::uint32_t> slot;            // Nothing: it is free.
    std::uint64_t used_bytes = 0;                 // Of the window.
    std::vector<std::vector<PageImages>> images;  // Of each area.
    std::vector<FileCommit> parts;
    Result<void> outcome{};
    IoRequest request;
  };

  // What whoever asked is told, when nothing is locked any more.
  struct Answer {
    CommitTurn* turn = nullptr;
    std::optional<Ticket::Source> source;
    Result<void> outcome;
  };

  [[nodiscard]] bool step_once() QUIRE_REQUIRES(lock_);
  [[nodiscard]] bool try_shut_updates() QUIRE_REQUIRES(lock_);
  void open_updates() QUIRE_REQUIRES(lock_);
  void begin() QUIRE_REQUIRES(lock_);
  void join() QUIRE_REQUIRES(lock_);
  [[nodiscard]] bool cut() QUIRE_REQUIRES(lock_);
  void refuse_unfit() QUIRE_REQUIRES(lock_);
  [[nodiscard]] static std::optional<Error> unfitness(AreaState& area);
  void refuse(AreaState& area, const Error& error) QUIRE_REQUIRES(lock_);
  void leave(AreaState& area) QUIRE_REQUIRES(lock_);
  [[nodiscard]] bool take_images() QUIRE_REQUIRES(lock_);
  // A chunk with an empty window becomes filling_. False: there is none now.
  [[nodiscard]] bool begin_chunk() QUIRE_REQUIRES(lock_);
  [[nodiscard]] bool take_slice(Chunk& chunk) QUIRE_REQUIRES(lock_);
  void end_chunk() QUIRE_REQUIRES(lock_);
  void drop_chunk() QUIRE_REQUIRES(lock_);
  void submit(Chunk& chunk, void (*call)(IoRequest& request)) QUIRE_REQUIRES(lock_);
  static void call_stage(IoRequest& request);
  static void call_commit(IoRequest& request);
  static void on_done(IoRequest& request);
  void done(Chunk& chunk) QUIRE_REQUIRES(lock_);
  void give_back(Chunk& chunk);
  void end() QUIRE_REQUIRES(lock_);
  void answer(CommitRequest& request, const Result<void>& outcome) QUIRE_REQUIRES(lock_);
  [[nodiscard]] std::vector<Answer> take_answers();
  void deliver();

  [[nodiscard]] bool is_small(const CommitRequest& request) const;
  [[nodiscard]] bool is_for_queue() const QUIRE_REQUIRES(lock_);
  [[nodiscard]] bool enter(CommitRequest& request, CommitTurn& turn);
  void drive(CommitTurn& turn);
  void await_company();
  [[nodiscard]] bool is_company_expected(Company::Clock::time_point since);
  [[nodiscard]] bool step_here(const CommitTurn& turn);
  [[nodiscard]] Chunk* begin_last(const CommitTurn& turn);
  void end_last(Chunk& last);
  void leave_to_service() QUIRE_REQUIRES(lock_);
  void pass_on() QUIRE_REQUIRES(lock_);
  void deliver_here();

  PagerCore& core_;
  IoQueue& queue_;
  sys::FutexLock lock_;  // Held with signals blocked: who faults may wait for it.
  CommitCut cut_ QUIRE_GUARDED_BY(lock_);
  Step step_ QUIRE_GUARDED_BY(lock_) = Step::kIdle;
  // The thread in run() that drives, or is to; step() leaves it alone. Nothing: the service thread.
  CommitTurn* driver_ QUIRE_GUARDED_BY(lock_) = nullptr;
  bool are_updates_shut_ QUIRE_GUARDED_BY(lock_) = false;
  // The service thread has something to do when the present commit gets further.
  bool is_awaited_ QUIRE_GUARDED_BY(lock_) = false;
  std::deque<CommitRequest> waiting_ QUIRE_GUARDED_BY(lock_);
  std::vector<Answer> answers_ QUIRE_GUARDED_BY(lock_);
  // Of the present commit:
  Journal* journal_ QUIRE_GUARDED_BY(lock_) = nullptr;
  std::vector<CommitRequest> requests_ QUIRE_GUARDED_BY(lock_);
  std::vector<AreaState*> areas_ QUIRE_GUARDED_BY(lock_);
  std::array<Chunk, 2> chunks_;
  Chunk* filling_ QUIRE_GUARDED_BY(lock_) = nullptr;
  bool has_paused_ QUIRE_GUARDED_BY(lock_) = false;  // For others in the round.
  Chunk* last_ QUIRE_GUARDED_BY(lock_) = nullptr;
  std::size_t under_way_ QUIRE_GUARDED_BY(lock_) = 0;
  bool has_staged_ QUIRE_GUARDED_BY(lock_) = false;
  std::optional<Error> error_ QUIRE_GUARDED_BY(lock_);
  Company::Clock::time_point begun_ QUIRE_GUARDED_BY(lock_);
  Company company_ QUIRE_GUARDED_BY(lock_);  // Who waited for the last one in run().
};

}  // namespace quire::internal
