// SPDX-License-Identifier: Apache-2.0
//
// MessageDelivery: faults that are served in the service thread: the messages of userfaultfd, for
// FaultPath::kHandler, and what threads of atomic areas hand over.
//
//   fault ----> granule's state   absent          read it (ReadAhead::demand), the fill wakes
//                                 held            install it
//                                 in transition   mark it awaited: whoever ends it wakes
//                                 clean, a store  lift the protection, which wakes
//                                 writing, a store  the same; for a commit it is copied aside first
//                                 otherwise       wake: it is served already
//               no memory, no buffer, too much dirty, a rollback under way: parked, and looked at
//               again each round
//
// Nothing here blocks: while one fault waits for the device, others are served.
//
// Thread-safety: the service thread only; add() and remove() from any thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "quire/pager/internal/area_state.h"
#include "quire/pager/internal/handed_faults.h"
#include "quire/sys/poller.h"

namespace quire::internal {

class Committer;
class ReadAhead;

class MessageDelivery {
 public:
  MessageDelivery(PagerCore& core, ReadAhead& reads, Committer& commits)
      : core_(core), reads_(reads), commits_(commits) {}

  // The area's messages that are there now.
  bool serve(AreaState& area);
  // What was handed over, a list by `next`. True: there was something.
  bool serve_handed(HandedFault* faults);
  // Those that had to wait. True: some of them got further.
  bool serve_parked();
  [[nodiscard]] bool has_parked() const noexcept { return !parked_.empty(); }

 private:
  using Clock = std::chrono::steady_clock;
  struct Parked {
    PageId page = 0;
    Need need = Need::kLoad;
    HandedFault* fault = nullptr;  // Null: it was a message.
    Clock::time_point since = Clock::now();
    bool was_reported = false;
  };
  enum class Done : std::uint8_t { kDone, kPark };

  void serve_cut_off(AreaState& area, std::uint64_t index);
  [[nodiscard]] bool is_too_much_dirty() noexcept;
  [[nodiscard]] Done serve_one(AreaState& area, std::uint64_t index, Need need);
  [[nodiscard]] Done serve_absent(AreaState& area, std::uint64_t index, Need need);
  static void end(Parked& parked) noexcept;
  void refuse(AreaState& area, std::uint64_t index, std::error_code cause);
  void wake(AreaState& area, std::uint64_t index);
  void complain(Parked& parked, const AreaState& area);

  PagerCore& core_;
  ReadAhead& reads_;
  Committer& commits_;
  std::vector<Parked> parked_;
};

}  // namespace quire::internal
