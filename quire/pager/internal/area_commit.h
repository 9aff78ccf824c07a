// SPDX-License-Identifier: Apache-2.0
//
// AreaCommit: what an atomic area has beside the others: its journal, and who may do what while a
// commit takes its cut.
//
//   is_committing    from when a commit looks at the area until the journal has answered: no write
//                    of its granules begins. What becomes dirty after the cut belongs to the next
//                    commit, and would slip into this one if it were spilled.
//   is_frozen        while rollback() drops what is in memory: nothing is filled or let in either
//   stores           shut while the cut protects what is dirty: nothing is let in by any thread
//   is_imaging       from the cut until its last image is taken: of what the cut has, and is stored
//                    to, an image is taken first, under the committer's lock
//   gate             shut as long: who pins for storing waits. Somebody who holds such a pin can
//                    store unseen, so a cut is refused meanwhile.
//   has_uncommitted  the journal has changes of this area that no commit has taken: a spilled
//                    granule, a size. Then what is clean is not what was committed.
//
// Invariants:    a file of a journal has one AreaCommit at a time; the gates are shut only while
//                is_committing, or while is_frozen is being set; nobody pins for storing while the
//                gate is; is_frozen and is_imaging are set while nobody is inside `stores`.
// Thread-safety: every member from any thread.
// Blocks:        enter_pin() for the images of a commit, await_commits() for all of it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "quire/base/mutex.h"
#include "quire/base/result.h"
#include "quire/base/units.h"
#include "quire/journal/journal.h"
#include "quire/pager/internal/area_state.h"
#include "quire/pager/internal/store_gate.h"
#include "quire/pager/internal/wake_point.h"

namespace quire::internal {

// Who closes the journal.
enum class JournalOwner : std::uint8_t { kArea, kUser };

class AreaCommit {
 public:
  // Errors: EBUSY when the file has an area already.
  [[nodiscard]] static Result<std::shared_ptr<AreaCommit>> make(std::shared_ptr<Journal> journal,
                                                                std::size_t file,
                                                                JournalOwner owner);
  ~AreaCommit();
  AreaCommit(const AreaCommit&) = delete;
  AreaCommit& operator=(const AreaCommit&) = delete;

  [[nodiscard]] bool holds_writes() const noexcept {
    return is_committing.load() || is_frozen.load();
  }

  // Around the writing of granules, which a cut must not come in between. False: not now; when the
  // commit has ended, the service thread is to be woken.
  [[nodiscard]] bool try_begin_write() noexcept;
  // REQUIRES: there is one that has not ended.
  void begin_another_write() noexcept { writes_under_way_.fetch_add(1); }
  void end_write() noexcept { writes_under_way_.fetch_sub(1); }
  // REQUIRES: is_committing: then none begins any more.
  [[nodiscard]] bool has_writes() const noexcept { return writes_under_way_.load() != 0; }
  // True: somebody waits for it.
  [[nodiscard]] bool end_commit() noexcept {
    is_committing.store(false);
    return is_write_waiting_.exchange(false);
  }

  // Nothing is let in or filled from when this returns until thaw().
  void freeze() noexcept;
  void thaw() noexcept { is_frozen.store(false); }
  // A store to a granule of which the present cut may have no image yet, or to one that is being
  // dropped. REQUIRES: the caller is inside `stores`.
  [[nodiscard]] bool holds_up_stores(bool is_of_cut) const noexcept {
    return is_frozen.load() || (is_of_cut && is_imaging.load());
  }

  // Around the life of a pin for storing.
  void enter_pin(ByteRange range);
  void leave_pin(ByteRange range) noexcept;
  // Nothing: it is shut. Otherwise a range that is pinned for storing; it stays open.
  [[nodiscard]] std::optional<ByteRange> try_shut_gate();
  // Idempotent.
  void open_gate() noexcept;

  // Returns when no commit of the area is asked for or under way. `progress` advances when one
  // ends.
  void await_commits(WakePoint& progress) noexcept;

  // Forgets what no commit has taken; nobody would be there to take it.
  void drop_uncommitted() noexcept;
  // REQUIRES: the area is shut down. Brings everything to the file where the journal is the area's
  // own and no snapshot needs it. Errors: of Journal::close().
  Result<void> close();

  const std::shared_ptr<Journal> journal;
  const std::size_t file;
  const JournalOwner owner;
  std::atomic<bool> is_committing{false};
  std::atomic<bool> is_frozen{false};
  std::atomic<bool> is_imaging{false};
  std::atomic<bool> has_uncommitted{false};
  std::atomic<std::uint32_t> pending_commits{0};
  StoreGate stores;

 private:
  AreaCommit(std::shared_ptr<Journal> of, std::size_t number, JournalOwner whose)
      : journal(std::move(of)), file(number), owner(whose) {}

  std::atomic<std::uint64_t> writes_under_way_{0};
  std::atomic<bool> is_write_waiting_{false};
  Mutex mutex_;
  CondVar opened_;
  bool is_gate_shut_ QUIRE_GUARDED_BY(mutex_) = false;
  std::vector<ByteRange> pinned_ QUIRE_GUARDED_BY(mutex_);  // For storing.
};

// What lets stores into the area is inside of it. Null: nobody holds them up.
[[nodiscard]] inline StoreGate* gate_of(const AreaState& area) noexcept {
  return area.commit() == nullptr ? nullptr : &area.commit()->stores;
}

}  // namespace quire::internal
