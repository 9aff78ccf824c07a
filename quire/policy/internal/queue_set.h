// SPDX-License-Identifier: Apache-2.0
//
// queue_set: the queues of one policy, and everything about them that does not depend on the
// policy: entries that are skipped because their page is gone, entries that are taken over because
// it came back, watching and looking in batches, tidying when there is no room.
//
// What becomes of an entry:
//
//   push() --> in the queue --- watch_ahead() ---> watched --- tail() ---> looked at --- pop()
//                   |                                 |
//                   '-- erased(): its page is gone ---'--> skipped at the tail, dropped when there
//                                                          is no room, or taken over by the page
//                                                          that comes back
//
// A stale entry is known by the page's note alone. A host may forget the note of a page that is not
// in memory (it becomes zero): if the page then comes back before its old entry was met, it has two
// entries. Nothing depends on there being one: the first that is met decides, the other is stale
// from then on, and compaction drops it.
//
// Source:        for probation (unmap, look later, give a second chance): the inactive list of VMS
//                and Mach; here as the part of a queue nearest its tail.
// Invariants:    entry_count() <= pages_max + slack; each page in memory that was pushed has an
//                entry in the queue that its note names.
// Thread-safety: one thread at a time. Cost: amortised O(1) an entry; compaction once in `slack`
//                erasures. No allocation after construction.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "quire/policy/internal/page_mark.h"
#include "quire/policy/internal/page_queue.h"
#include "quire/policy/replacement.h"

namespace quire::internal {

// An entry at a queue's tail, in order.
struct Candidate {
  PageId page = 0;
  enum class Kind : std::uint8_t { kStale, kBusy, kEvictable } kind = Kind::kStale;
  bool is_used = false;  // Always false when nobody looked.
};

enum class Look : std::uint8_t { kNo, kYes };

class QueueSet {
 public:
  // Queues 1 to queue_count. REQUIRES: pages_max > 0; queue_count <= kQueueIdMax.
  QueueSet(PageHost& host, std::size_t pages_max, QueueId queue_count);

  [[nodiscard]] PageMark mark(PageId page) const noexcept { return PageMark(host_.note(page)); }
  void set_mark(PageId page, PageMark mark) noexcept { host_.set_note(page, mark.note()); }

  [[nodiscard]] std::uint64_t size(QueueId queue) const noexcept { return at(queue).size(); }
  [[nodiscard]] std::size_t entry_count() const noexcept;

  // For a page that came: true when its stale entry stood somewhere and is its entry again.
  bool take_over(PageId page, bool is_guess) noexcept;
  // A new entry. REQUIRES: the page has none; there is room for it (checked): see the invariants.
  void insert(QueueId queue, PageId page, PageMark mark) noexcept;
  // Its entry again after pop(), in this queue or another.
  void push(QueueId queue, PageId page) noexcept { at(queue).push_head(page); }
  PageId pop(QueueId queue) noexcept { return at(queue).pop_tail(); }
  void erased(PageId page) noexcept;
  // For an entry that was popped and is stale.
  void forget(QueueId queue, PageId page) noexcept;
  void purge(bool (*is_gone)(const void* context, PageId page), const void* context);

  // The part of a queue, from its tail, in which pages are watched, as a divisor. Longer sees more
  // uses and costs more soft faults: for Zipf accesses with memory for an eighth of the pages, a
  // half has 2 % fewer misses than a quarter and one soft fault more to ten misses; all of it, 2 %
  // fewer again, and the first users of every page would trap twice.
  static constexpr std::uint64_t kWatchedPart = 2;
  // Hands pages to the host to be watched, towards that part: few at a time, so that it takes a
  // while to get there after the first eviction, and none before a batch has come together. At
  // least one entry is watched when this returns.
  void watch_ahead(QueueId queue) noexcept;
  // Up to `count` entries from the tail on, which stay there. With Look::kYes only watched ones,
  // and the host is asked for their use bits in one call.
  // REQUIRES: the queue is not empty, and with Look::kYes watch_ahead() was called.
  // VALID: until the next call. The kind may change under it by pop() and push() of the same page.
  std::span<const Candidate> tail(QueueId queue, std::uint64_t count, Look look) noexcept;

  // Adds evictable pages of the queue to `pages` from `found` on, the tail first, out of its first
  // `span` entries; returns how many there are then.
  std::size_t peek(QueueId queue, std::uint64_t span, std::span<PageId> pages,
                   std::size_t found) const noexcept;

  [[nodiscard]] std::uint64_t watched_count() const noexcept { return watched_count_; }
  [[nodiscard]] std::uint64_t metadata_bytes() const noexcept;
  void check_invariants() const;

 private:
  static constexpr std::size_t kBatchMax = Replacement::kBatchMax;
  // A watched page costs its share of a system call and of a TLB flush; below this many the flush
  // is paid by too few.
  static constexpr std::uint64_t kWatchBatchMin = 64;
  // Batches that one watch_ahead() hands over: the line must run faster than the tail to get
  // anywhere, and a fault must not wait for a quarter of the memory to be unmapped.
  static constexpr int kWatchBatches = 4;

  [[nodiscard]] PageQueue& at(QueueId queue) noexcept { return queues_[queue - 1U]; }
  [[nodiscard]] const PageQueue& at(QueueId queue) const noexcept { return queues_[queue - 1U]; }
  void watch(QueueId queue, std::span<PageId> pages) noexcept;
  [[nodiscard]] std::size_t touched_guesses(std::span<const PageId> guesses,
                                            std::span<PageId> touched) noexcept;
  void compact() noexcept;

  PageHost& host_;
  const std::size_t pages_max_;
  const std::size_t entries_max_;
  const QueueId queue_count_;
  PagePool pool_;
  std::vector<PageQueue> queues_;
  std::uint64_t watched_count_ = 0;
  // Of one batch; here and not on the stack, which may be a signal handler's.
  std::array<Candidate, kBatchMax> candidates_{};
  std::array<PageId, kBatchMax> batch_{};
  std::array<PageId, kBatchMax> guesses_{};
  std::array<bool, kBatchMax> used_{};
};

}  // namespace quire::internal
