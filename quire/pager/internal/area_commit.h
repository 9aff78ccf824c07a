// SPDX-License-Identifier: Apache-2.0
//
// AreaCommit: what an atomic area has beside the others: its journal, and who may do what while a
// commit takes its cut.
//
//   is_committing    from when a commit looks at the area until the journal has answered: no write
//                    of its granules begins. What becomes dirty after the cut belongs to the next
//                    commit, and would slip into this one if it were spilled.
//   is_frozen        while rollback() drops what is in memory: nothing is filled or let in either
//   gate             shut from the cut until its last image is taken: who pins for storing waits.
//                    Somebody who holds such a pin can store unseen, so a cut is refused meanwhile.
//   has_uncommitted  the journal has changes of this area that no commit has taken: a spilled
//                    granule, a size. Then what is clean is not what was committed.
//
// Invariants:    a file of a journal has one AreaCommit at a time; the gate is shut only while
// is_committing; nobody pins for storing while it is. Thread-safety: every member from any thread,
// but writes_under_way: the service thread. Blocks:        enter_pin() for the images of a commit,
// await_commits() for all of it.
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
  std::atomic<bool> has_uncommitted{false};
  std::atomic<std::uint32_t> pending_commits{0};
  std::uint64_t writes_under_way = 0;

 private:
  AreaCommit(std::shared_ptr<Journal> of, std::size_t number, JournalOwner whose)
      : journal(std::move(of)), file(number), owner(whose) {}

  Mutex mutex_;
  CondVar opened_;
  bool is_gate_shut_ QUIRE_GUARDED_BY(mutex_) = false;
  std::vector<ByteRange> pinned_ QUIRE_GUARDED_BY(mutex_);  // For storing.
};

}  // namespace quire::internal
