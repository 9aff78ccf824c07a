// SPDX-License-Identifier: Apache-2.0
//
// replacement: which page goes when memory is full. Pure: no I/O, no clock, no locks; the same
// object decides in the pager and in the simulator.
//
//                 inserted()                        choose_victims()
//   miss ------------------------> [ queues of a policy ] ------------------> victims
//                                    ^               |
//                                    '--- in use ----'   was it used? asked of the PageHost
//
// A user-space pager does not see hits: a load of a page that is mapped traps nowhere. What it can
// do is take a page out of the page tables for a while ("probation") and look later whether the
// application mapped it again. So a policy sees what a pager sees: insertions, and for pages on
// probation one bit, asked for in batches, because both steps cost a system call and a TLB flush.
// A host that sees every hit (the simulator, for LRU and Belady's optimum, which are there to be
// compared with) reports them with used().
//
// Pages are named by 64-bit numbers of the host's choice. The policy keeps 8 bytes for each page in
// its queues, allocated once; what it needs to know about a page beside that (4 bytes: PageNote)
// lives with the host, which has a word for each page anyway. The note outlives the page's stay in
// memory: the ghost list of S3-FIFO is a stamp in the notes of pages that went. A host may forget
// the note of a page that is not in memory (it becomes zero): the page is then an unknown one.
//
// Source:        each policy names its paper in its file: fifo.cc, clock.cc, s3_fifo.cc, lru.cc.
// Invariants:    each page is in at most one queue, at most once; queued() counts the entries: no
//                more than pages_max + an eighth + 64, with those of pages erased and not met yet.
// Thread-safety: one thread at a time.
// Cost:          amortised O(1) a page; choose_victims() looks at O(victims) pages that are in use,
//                and goes through each queue at most twice whatever is busy. No allocation after
//                make().
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

namespace quire {

using PageId = std::uint64_t;

// A policy's memory of one page, kept by the host; zero for a page that it has never seen.
// What the bits mean is the policy's own business.
using PageNote = std::uint32_t;

// How a page came in.
enum class Arrival : std::uint8_t {
  kDemand,     // Somebody touched it.
  kReadAhead,  // A guess: the first to go while nobody has touched it.
  kStream,     // Touched by a reader that will not come back: goes as soon as it is behind him.
};

// What a policy asks of its owner.
class PageHost {
 public:
  virtual ~PageHost() = default;
  [[nodiscard]] virtual PageNote note(PageId page) const noexcept = 0;
  virtual void set_note(PageId page, PageNote note) noexcept = 0;
  // In memory, and not pinned or under way: may be chosen.
  enum class Standing : std::uint8_t { kEvictable, kBusy, kGone };
  [[nodiscard]] virtual Standing standing(PageId page) const noexcept = 0;
  // From now on uses of these pages are visible (they are taken out of the page tables).
  virtual void watch(std::span<const PageId> pages) noexcept = 0;
  // used[i]: page i was used since watch(), or, for one that came as kReadAhead and was never
  // watched, since it came. A page that was never watched otherwise counts as not used.
  virtual void look(std::span<const PageId> pages, std::span<bool> used) noexcept = 0;
};

struct PolicyStats {
  std::uint64_t inserted = 0;
  std::uint64_t evicted = 0;
  std::uint64_t ghost_hits = 0;   // Insertions of pages that were evicted not long ago.
  std::uint64_t given_again = 0;  // At the end of a queue, and found in use.
  std::uint64_t watched = 0;
};

class Replacement {
 public:
  // Pages handed to the host in one call at most.
  static constexpr std::size_t kBatchMax = 256;

  virtual ~Replacement() = default;

  // The page came into memory. REQUIRES: it was not in memory.
  virtual void inserted(PageId page, Arrival arrival) = 0;
  // It was used, by a host that sees it. Policies for pagers may ignore it.
  virtual void used(PageId page) = 0;
  // It left memory by another way than as a victim (cut off, dropped by hand, closed): its queue
  // entry stays until it is met, and is taken over if the page comes back before.
  virtual void erased(PageId page) = 0;
  // Forgets every entry for which is_gone(page) says so: for the end of a whole area.
  virtual void purge(bool (*is_gone)(const void* context, PageId page), const void* context) = 0;

  // Fills `victims` with pages to evict now, as many as it can find, and returns how many: fewer
  // only when everything else is busy or in use. They have left the queues. A victim that cannot go
  // after all (it got pinned) is given back with kept().
  virtual std::size_t choose_victims(std::span<PageId> victims) = 0;
  virtual void kept(PageId page) = 0;
  // The pages that would be chosen soon, without choosing them: for a cleaner that writes dirty
  // ones ahead of time. Returns how many.
  virtual std::size_t peek_tail(std::span<PageId> pages) const = 0;

  [[nodiscard]] virtual std::size_t queued() const noexcept = 0;
  [[nodiscard]] virtual PolicyStats stats() const noexcept = 0;
  [[nodiscard]] virtual std::string_view name() const noexcept = 0;
  // Bytes that the object holds: they count in a memory budget.
  [[nodiscard]] virtual std::uint64_t metadata_bytes() const noexcept = 0;
  // Walks everything: for tests.
  virtual void check_invariants() const = 0;
};

enum class PolicyKind : std::uint8_t {
  kFifo,    // First in, first out: the floor to stand on.
  kClock,   // FIFO with a second chance. Corbato 1968.
  kS3Fifo,  // Small, main and ghost queue. Yang et al., SOSP 2023.
  kLru,     // Needs to see every hit: for simulation.
};
[[nodiscard]] const char* name_of(PolicyKind kind) noexcept;  // "fifo", "clock", "s3fifo", "lru"

struct ReplacementOptions {
  PolicyKind kind = PolicyKind::kS3Fifo;
  std::size_t pages_max = 0;  // That can be in memory at once; sizes the queues.
};

// REQUIRES: pages_max > 0; `host` outlives it.
[[nodiscard]] std::unique_ptr<Replacement> make_replacement(const ReplacementOptions& options,
                                                            PageHost& host);

}  // namespace quire
