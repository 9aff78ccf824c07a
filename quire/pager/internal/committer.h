// SPDX-License-Identifier: Apache-2.0
//
// Committer: the commits of a pager's atomic areas, one at a time.
//
//   requests --> [ idle ] --> [ quiesce ] --> cut --> [ images ] --> [ last ] --> [ journal ]
//                   ^          writes under way     a window full:     the rest comes with    |
//                   |          of these areas end   uncommitted, as    the commit             |
//                   |                               often as need be                          |
//                   '---- granules clean, or dirty again; tickets delivered <-----------------'
//
// What fits into one slice, the usual case, is copied in the same go as the cut; more a slice at a
// time, and faults are served in between. What fits into one window buffer is one write and one
// flush of the journal. More is written while it is copied, two windows at a time,
// into the transaction that the last one's commit makes durable; until then it is as if it were not
// there. An error leaves everything as uncommitted as it was: the next commit takes it all.
//
// Group commit: whoever asks before the cut of the areas' journal shares it. Requests for other
// journals wait for their turn.
//
// Invariants:    of an area that is committing no granule is being written by write-back, and none
//                begins to be; so nothing that was stored after the cut is in the transaction.
// Thread-safety: the service thread only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "quire/base/ticket.h"
#include "quire/io/io_queue.h"
#include "quire/pager/internal/area_commit.h"
#include "quire/pager/internal/commit_cut.h"
#include "quire/pager/internal/filler.h"

namespace quire::internal {

struct CommitRequest {
  // Of one journal; begin_service()d, and counted in pending_commits.
  std::vector<AreaState*> areas;
  Ticket::Source source;
};

class Committer {
 public:
  Committer(PagerCore& core, IoQueue& queue);
  ~Committer();
  Committer(const Committer&) = delete;
  Committer& operator=(const Committer&) = delete;

  void add(CommitRequest request) { waiting_.push_back(std::move(request)); }
  // Goes on as far as nothing has to be waited for. True: something happened.
  bool step();
  [[nodiscard]] bool is_idle() const noexcept { return step_ == Step::kIdle && waiting_.empty(); }
  // A store to a clean or written granule, of which the cut gets its image first if it needs it.
  [[nodiscard]] Filler::Store let_in(AreaState& area, std::uint64_t index);

 private:
  enum class Step : std::uint8_t { kIdle, kQuiesce, kImages, kLast, kJournal };
  // A window of images on its way.
  struct Chunk {
    Committer* owner = nullptr;
    std::optional<std::uint32_t> slot;            // Nothing: it is free.
    std::uint64_t used_bytes = 0;                 // Of the window.
    std::vector<std::vector<PageImages>> images;  // Of each area.
    std::vector<FileCommit> parts;
    Result<void> outcome{};
    IoRequest request;
  };

  [[nodiscard]] bool step_once();
  void begin();
  void join();
  [[nodiscard]] bool cut();
  void refuse_unfit();
  [[nodiscard]] static std::optional<Error> unfitness(AreaState& area);
  void refuse(AreaState& area, const Error& error);
  void leave(AreaState& area);
  [[nodiscard]] bool take_images();
  // A chunk with an empty window becomes filling_. False: there is none now.
  [[nodiscard]] bool begin_chunk();
  [[nodiscard]] bool take_slice(Chunk& chunk);
  void end_chunk();
  void drop_chunk();
  void submit(Chunk& chunk, void (*call)(IoRequest& request));
  static void call_stage(IoRequest& request);
  static void call_commit(IoRequest& request);
  static void on_done(IoRequest& request);
  void give_back(Chunk& chunk);
  void end();
  void answer(CommitRequest& request, const Result<void>& outcome);

  PagerCore& core_;
  IoQueue& queue_;
  CommitCut cut_;
  Step step_ = Step::kIdle;
  std::deque<CommitRequest> waiting_;
  // Of the present commit:
  Journal* journal_ = nullptr;
  std::vector<CommitRequest> requests_;
  std::vector<AreaState*> areas_;
  std::array<Chunk, 2> chunks_;
  Chunk* filling_ = nullptr;
  bool has_paused_ = false;  // For others in the round.
  Chunk* last_ = nullptr;
  std::size_t under_way_ = 0;
  bool has_staged_ = false;
  std::optional<Error> error_;
};

}  // namespace quire::internal
