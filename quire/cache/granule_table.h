// SPDX-License-Identifier: Apache-2.0
//
// granule_table: the state of every granule of one area, and the only authority on what its memory
// holds. A granule is the unit of state: 4 KiB or more.
//
//                    +-------------------- punched ------------------- kEvicting
//                    v                                                    ^
//   (untouched) -> kAbsent --begin_fill--> kFilling --finish_fill--> kClean --begin_evict--+
//                    ^  ^                    |  |                    |  ^
//                    |  '------ failed ------'  '--held--> kHeld     |  '-- written, and not
//                    |                                      |        |      stored to meanwhile
//                    '----------- dropped ------------------'        |                |
//                                                          a store   v                |
//                                       kDirty <--------------------(+)           kWriting
//                                         |  ^                                     |  ^
//                                         |  '--- stored to meanwhile, or failed --'  |
//                                         '------------- begin_write -----------------'
//
//   state      memory (memfd)         protected  who may change it
//   kAbsent    nothing                -          whoever wins begin_fill
//   kFilling   nothing or part of it  -          the one who fills
//   kHeld      nothing: the bytes     -          whoever wins take_held; they wait in a buffer, so
//              are in a buffer                   that the reader's arrival is seen (a tripwire)
//   kClean     as in the store        yes        store faults, evictors
//   kDirty     newer than the store   no         writers-back
//   kWriting   newer or the same      yes, until the one who writes; a store sets kRedirtied
//                                     stored to
//   kEvicting  going                  yes        the one who evicts
//
// kLocked is set while the protection of a page is being changed: nobody else may begin anything
// with it. Pins are counted in the same word, so that "nobody pins it" and "now I evict it" are one
// step. Whoever waits for a state to end sets kAwaited; whoever ends it then wakes the word.
//
//   one 64-bit cell   | state word: 32 bits, atomic | note: 32 bits, the replacement policy's |
//
// With TableBacking::kMemfd another process can read the states through memfd(), also when this one
// is dead: cell i lies at i * kCellBytes of it, its state word first. What may_be_newer() says of a
// word is then the whole truth: no store lands in memory before it says so.
//
// Cells lie in sparse memory, in leaves of 512 (one OS page): a leaf is charged to the budget when
// its first granule is touched, and can be given back when none of its granules is in use: mapping
// 1 TiB costs nothing but addresses. Giving back forgets notes (the policy's ghosts), no data.
//
//   leaf:  unused --enter: charge--> in use (users: granules that are not kAbsent, and who entered)
//             ^                         |  no users
//             '------- leaving <--------'
//
// Invariants:    stated above; a cell that is not kAbsent keeps its leaf in use; the memory of an
//                unused leaf is never written to; dirty_count() is the number of granules in kDirty
//                and kWriting (counted a little early, uncounted a little late: 0 is the truth).
// Thread-safety: every member from any thread, also where a fault is being served: nothing locks or
//                allocates. Notes belong to whoever holds the policy's lock.
// Cost:          8 bytes a granule touched, in OS pages; 4 bytes a leaf; address space for all.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "quire/base/result.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/memory.h"

namespace quire {

enum class GranuleState : std::uint8_t {
  kAbsent,
  kFilling,
  kHeld,
  kClean,
  kDirty,
  kWriting,
  kEvicting,
};
[[nodiscard]] const char* name_of(GranuleState state) noexcept;

// A state word, taken apart.
struct GranuleWord {
  std::uint32_t bits = 0;

  static constexpr std::uint32_t kStateMask = 0x7;
  static constexpr std::uint32_t kRedirtied = 0x8;  // Only with kWriting.
  static constexpr std::uint32_t kLocked = 0x10;
  static constexpr std::uint32_t kAwaited = 0x20;
  static constexpr std::uint32_t kPinOne = 0x100;
  static constexpr std::uint32_t kPinMask = 0xffff00;
  static constexpr std::uint32_t kPinsMax = 0xffff;

  [[nodiscard]] constexpr GranuleState state() const noexcept {
    return static_cast<GranuleState>(bits & kStateMask);
  }
  [[nodiscard]] constexpr bool has(std::uint32_t flag) const noexcept { return (bits & flag) != 0; }
  [[nodiscard]] constexpr std::uint32_t pins() const noexcept {
    return (bits & kPinMask) / kPinOne;
  }
  // In memory, and loads of it are served without anybody's help.
  [[nodiscard]] constexpr bool is_resident() const noexcept {
    return state() == GranuleState::kClean || state() == GranuleState::kDirty ||
           state() == GranuleState::kWriting;
  }
  // The store may not have what the memory has: stores were let in, or are just being let in.
  [[nodiscard]] constexpr bool may_be_newer() const noexcept {
    return state() == GranuleState::kDirty || state() == GranuleState::kWriting || has(kLocked);
  }
  // Somebody is at work on it; the word will change.
  [[nodiscard]] constexpr bool is_in_transition() const noexcept {
    return has(kLocked) || state() == GranuleState::kFilling || state() == GranuleState::kEvicting;
  }
};

// Where a table's memory is.
enum class TableBacking : std::uint8_t {
  kPrivate,  // In this process alone.
  kMemfd,    // In a memfd that others can be given. Giving back a leaf punches a hole.
};

class GranuleTable {
 public:
  static constexpr std::uint64_t kLeafGranules = 512;
  static constexpr std::uint64_t kCellBytes = 8;
  // Memory of the cells of a leaf: what to charge for it.
  static constexpr std::uint64_t kLeafBytes = kLeafGranules * kCellBytes;

  // Addresses for `granule_count` cells. Errors: ENOMEM; kUnsupported where an OS page is larger
  // than a leaf, which then could not be given back by itself; with kMemfd, of memfd_create and
  // ftruncate.
  [[nodiscard]] static Result<GranuleTable> make(std::uint64_t granule_count,
                                                 TableBacking backing = TableBacking::kPrivate);
  GranuleTable() = default;
  GranuleTable(GranuleTable&& other) noexcept;
  GranuleTable& operator=(GranuleTable&& other) noexcept;
  ~GranuleTable();

  [[nodiscard]] std::uint64_t granule_count() const noexcept { return granule_count_; }
  // -1 with TableBacking::kPrivate.
  [[nodiscard]] int memfd() const noexcept { return memfd_.get(); }

  // --- Leaves ------------------------------------------------------------------------------------

  enum class Entry : std::uint8_t {
    kEntered,     // The leaf is in use, and stays so until leave().
    kMustCharge,  // It is unused: take the credits for it, then call enter_charged().
    kLeaving,     // It is being given back: look again.
  };
  // Counts the caller among the leaf's users. What begin_fill() wins is counted by itself: enter()
  // before, leave() after.
  [[nodiscard]] Entry enter(std::uint64_t granule) noexcept;
  // The leaf's cost was charged. False: somebody else did so meanwhile; the caller has entered all
  // the same, and gives his charge back. Waits while it is being given back (microseconds).
  [[nodiscard]] bool enter_charged(std::uint64_t granule) noexcept;
  void leave(std::uint64_t granule) noexcept;
  // Begins to give back the leaf that `granule` lies in. False when it is in use, or unused.
  // After true: the caller drops what the view has for it, then calls finish_give_back(), and
  // returns the charge.
  [[nodiscard]] bool begin_give_back(std::uint64_t granule) noexcept;
  void finish_give_back(std::uint64_t granule) noexcept;
  [[nodiscard]] std::uint64_t leaves_in_use() const noexcept { return leaves_in_use_.load(); }
  // The first granule at or after `granule` whose leaf is in use; granule_count() when there is
  // none: for walks that skip what was never touched.
  [[nodiscard]] std::uint64_t next_in_use(std::uint64_t granule) const noexcept;

  // --- States. Each returns false, or nothing, when the word did not allow it --------------------

  // kAbsent when its leaf is unused.
  [[nodiscard]] GranuleWord word(std::uint64_t granule) const noexcept;

  // REQUIRES, for begin_fill(): the caller has entered the leaf. For the others it is enough that
  // they name a granule of the table: what they ask for exists in leaves in use only.
  bool begin_fill(std::uint64_t granule) noexcept;  // kAbsent -> kFilling
  // kFilling -> the same, locked: everything is in memory, and stores are let in from now on,
  // before finish_fill(kDirty) says so. For tables that others read.
  void open_fill(std::uint64_t granule) noexcept;
  // kFilling -> kClean, kDirty, kHeld, or kAbsent for one that failed.
  void finish_fill(std::uint64_t granule, GranuleState to) noexcept;
  bool take_held(std::uint64_t granule) noexcept;  // kHeld -> kFilling

  // Around what makes a page writable before its state says kDirty: stores by others may happen in
  // between, and dirty_count() must not deny them. The granule is in transition all the while.
  void begin_writable(std::uint64_t granule) noexcept { count_dirty(granule); }
  void end_writable(std::uint64_t granule) noexcept { uncount_dirty(granule); }

  // A store to a protected page: kClean or kWriting, unlocked -> the same, locked. Then the caller
  // lifts the protection, and finish_store() makes it kDirty, or kWriting and redirtied.
  bool begin_store(std::uint64_t granule) noexcept;
  void finish_store(std::uint64_t granule) noexcept;

  // kDirty, unlocked -> kWriting, locked. Then the caller protects the page, and calls
  // written_protected(). A pinned page must stay writable: it becomes kWriting, redirtied, and not
  // locked, and the caller must not protect it.
  enum class BeginWrite : std::uint8_t { kRefused, kProtect, kPinned };
  BeginWrite begin_write(std::uint64_t granule) noexcept;
  // The same for a cut, from which on no store may go unseen: kDirty, unlocked -> kWriting, locked,
  // pinned or not. REQUIRES: nobody pins it for storing.
  bool begin_cut(std::uint64_t granule) noexcept;
  void written_protected(std::uint64_t granule) noexcept;
  // REQUIRES: written_protected() has gone before, unless begin_write() said kPinned.
  // kWriting -> kClean; kDirty when it was stored to meanwhile, or the write failed. Waits for a
  // store that is just changing the protection (microseconds). Returns what it became.
  GranuleState finish_write(std::uint64_t granule, bool was_written) noexcept;

  // kClean, unlocked, not pinned -> kEvicting. Then the caller punches.
  bool begin_evict(std::uint64_t granule) noexcept;
  void finish_evict(std::uint64_t granule) noexcept;  // -> kAbsent, and leaves.
  // For resizing and closing: drops kClean, kDirty and kHeld alike; not kWriting, not pinned ones.
  bool begin_discard(std::uint64_t granule) noexcept;

  // One more pin, if it is resident and not in transition.
  bool try_pin(std::uint64_t granule) noexcept;
  // REQUIRES: it is pinned (checked).
  void unpin(std::uint64_t granule) noexcept;

  // Sleeps while the word is `seen`, which is in transition. May come back for no reason. False:
  // the time ran out.
  bool await_change(std::uint64_t granule, GranuleWord seen, std::uint64_t timeout_ms) noexcept;
  // Somebody outside (a thread in the kernel, waiting for an answer) waits for the end of a
  // transition: sets kAwaited if the word is in one. False: it is in none; look again.
  bool mark_awaited(std::uint64_t granule) noexcept;
  // Called, with the granule, when a transition ends that somebody awaited, beside waking the word.
  using OnAwaited = void (*)(void* context, std::uint64_t granule) noexcept;
  void set_on_awaited(OnAwaited function, void* context) noexcept;

  [[nodiscard]] std::uint64_t dirty_count() const noexcept { return dirty_count_.load(); }
  // Counts them in `total` too, which other tables may share. REQUIRES: nothing is dirty yet.
  void count_dirty_in(std::atomic<std::uint64_t>& total) noexcept { dirty_total_ = &total; }
  // The dirty (kDirty or kWriting) granules of one leaf: 0 lets a walk skip it.
  [[nodiscard]] std::uint32_t dirty_in_leaf(std::uint64_t granule) const noexcept;

  // --- Notes: REQUIRES the policy's lock ---------------------------------------------------------

  // 0 where the leaf is unused, and nothing can be noted there.
  [[nodiscard]] std::uint32_t note(std::uint64_t granule) const noexcept;
  void set_note(std::uint64_t granule, std::uint32_t note) noexcept;

  // Bytes of memory of the leaves in use, kLeafBytes each.
  [[nodiscard]] std::uint64_t metadata_bytes() const noexcept;
  // Walks the leaves in use. REQUIRES: nothing is in transition.
  void check_invariants() const;

 private:
  struct Cell;
  class LeafWord;
  using Leaf = std::atomic<std::uint32_t>;

  [[nodiscard]] const Leaf& leaf_of(std::uint64_t granule) const noexcept;
  [[nodiscard]] Leaf& leaf_of(std::uint64_t granule) noexcept;
  [[nodiscard]] std::atomic<std::uint32_t>& word_of(std::uint64_t granule) noexcept;
  void take_from(GranuleTable& other) noexcept;
  void release() noexcept;
  void raise_touched(std::uint64_t leaf_count) noexcept;
  void count_dirty(std::uint64_t granule) noexcept;
  void uncount_dirty(std::uint64_t granule) noexcept;
  // After the word changed from `before`: wakes who awaited it.
  void announce_end(std::uint64_t granule, GranuleWord before) noexcept;
  void check_leaf(std::uint64_t leaf_index) const;

  [[nodiscard]] sys::Outcome<sys::Address> map(TableBacking backing) noexcept;

  std::uint64_t granule_count_ = 0;
  std::uint64_t leaf_count_ = 0;
  sys::Descriptor memfd_;          // Of TableBacking::kMemfd.
  sys::Address memory_ = nullptr;  // Cells, then leaves.
  std::uint64_t memory_bytes_ = 0;
  Cell* cells_ = nullptr;
  Leaf* leaves_ = nullptr;
  OnAwaited on_awaited_ = nullptr;
  void* on_awaited_context_ = nullptr;
  std::atomic<std::uint64_t>* dirty_total_ = nullptr;
  std::atomic<std::uint64_t> dirty_count_{0};
  std::atomic<std::uint64_t> leaves_in_use_{0};
  std::atomic<std::uint64_t> leaves_touched_{0};  // None at or after this one was ever in use.
};

}  // namespace quire
