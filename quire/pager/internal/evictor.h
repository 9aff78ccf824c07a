// SPDX-License-Identifier: Apache-2.0
//
// Evictor: makes room. It owns the replacement policy and everything the policy needs to ask.
//
//   fill done --> arrived() --> inbox --.
//                                       v
//   make_room(n):  lock; inbox -> policy; policy chooses victims
//                    clean, not pinned    kEvicting; after unlock: punched, credit given back
//                    dirty                kept, and named to the service thread, which writes it
//                    busy                 kept
//
// Reference bits: pages near the end of their queue are taken out of the page tables (watch), and
// those that are mapped again by then were used (look): see policy/replacement.h.
//
// Invariants:    a page is in the inbox or in a queue from its arrival until it is punched; its
//                area lives as long: shut_down() waits for kEvicting, and purges under the lock;
//                addresses of a closing area are left alone: they may be somebody else's soon.
// Thread-safety: every member from any thread, also where a fault is being served: the locks are
//                held for a batch of at most kBatch pages, never across I/O, and nothing allocates.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "quire/base/result.h"
#include "quire/pager/internal/counters.h"
#include "quire/policy/replacement.h"
#include "quire/sys/futex.h"
#include "quire/sys/user_fault.h"

namespace quire::internal {

class AreaState;
class PagerCore;

class Evictor final : private PageHost {
 public:
  static constexpr std::size_t kBatch = 64;

  explicit Evictor(PagerCore& core);

  // Makes the policy, and charges for it. Errors: kLimit.
  Result<void> start();

  void add_area(AreaState& area);
  // Forgets the area's pages. REQUIRES: none of them is in memory.
  void remove_area(AreaState& area);

  // After it nobody touches the view of a closing area, or enters one, any more.
  void fence() noexcept;

  void arrived(PageId page, Arrival arrival) noexcept;
  // It left memory otherwise: evict(), resize(), close().
  void left(PageId page) noexcept;

  struct Room {
    std::size_t evicted = 0;
    std::size_t dirty = 0;  // Found dirty, and named to the service thread.
    std::size_t busy = 0;   // Pinned, or under way.
  };
  // Looks for up to `granules`, at most kBatch, victims.
  Room make_room(std::size_t granules) noexcept;

  // Dirty victims that were found since the last call. For the service thread.
  std::size_t take_dirty(std::span<PageId> pages) noexcept;
  // Why something is to be written: it is too much, or only too old. The age of what belongs to a
  // commit is its owner's business: writing it makes nothing durable.
  enum class Reason : std::uint8_t { kMuch, kOld };
  // Dirty pages, in the order of areas and addresses, from `from` on, which moves behind the last
  // one, or back to the beginning when there is no more.
  std::size_t collect_dirty(PageId& from, std::span<PageId> into, Reason reason) noexcept;
  // While nothing can be written: whatever is not dirty goes, wherever the policy has it. One
  // granule a call. O(resident).
  enum class LastRoom : std::uint8_t { kMade, kComing /* Under way: look again. */, kNone };
  [[nodiscard]] LastRoom make_last_room() noexcept;
  // Whether there are pages, and every one of every area is pinned, but for what was read ahead and
  // waits for its reader: no waiting makes room, only make_last_room().
  [[nodiscard]] bool is_all_pinned() noexcept;
  // Evicts one granule that begin_evict() or begin_discard() was won for.
  void evict_one(AreaState& area, std::uint64_t index) noexcept;
  // The area of a page, begun for service, so that it stays; null when it is gone.
  [[nodiscard]] AreaState* enter_area(PageId page) noexcept;

  [[nodiscard]] PolicyStats stats() noexcept;
  // Granules, ever.
  [[nodiscard]] std::uint64_t evicted() const noexcept { return evicted_.get(); }
  // False: nobody can tell what was used (Linux before 6.7), and every policy is FIFO.
  [[nodiscard]] bool sees_uses() const noexcept { return scan_.has_value(); }
  void check_invariants();

 private:
  struct Arrived {
    PageId page = 0;
    Arrival arrival = Arrival::kDemand;
  };
  static constexpr std::size_t kInbox = 1024;
  static constexpr std::size_t kDirtyMax = 1024;

  [[nodiscard]] PageNote note(PageId page) const noexcept override;
  void set_note(PageId page, PageNote note) noexcept override;
  [[nodiscard]] Standing standing(PageId page) const noexcept override;
  void watch(std::span<const PageId> pages) noexcept override;
  void look(std::span<const PageId> pages, std::span<bool> used) noexcept override;

  template <typename Predicate>
  [[nodiscard]] bool any_granule(Predicate&& predicate) noexcept;
  [[nodiscard]] static std::size_t run_length(std::span<const PageId> pages) noexcept;
  void look_at_run(std::span<const PageId> pages, std::span<bool> used) noexcept;
  void drain_inbox() noexcept QUIRE_REQUIRES(lock_);
  [[nodiscard]] AreaState* area_of(PageId page) const noexcept;
  void name_dirty(PageId page) noexcept QUIRE_REQUIRES(lock_);
  void punch(AreaState& area, std::span<const PageId> run) noexcept;
  void give_back_leaf(AreaState& area, std::uint64_t index) noexcept;

  Counter evicted_;
  PagerCore& core_;
  std::optional<sys::PageScan> scan_;
  sys::FutexLock lock_;
  std::unique_ptr<Replacement> policy_;  // Under lock_, as what follows.
  std::vector<AreaState*> areas_;        // By slot; null: none. Under lock_.
  std::array<std::span<std::byte>, Replacement::kBatchMax> watched_{};
  std::array<bool, Replacement::kBatchMax> present_{};  // By OS page.
  std::array<PageId, kDirtyMax> dirty_{};
  std::size_t dirty_count_ = 0;

  sys::FutexLock inbox_lock_;
  std::array<Arrived, kInbox> inbox_{};  // Under inbox_lock_.
  std::size_t inbox_count_ = 0;
};

}  // namespace quire::internal
