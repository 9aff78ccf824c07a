// SPDX-License-Identifier: Apache-2.0
//
// TrackedMapping: a file as memory, at the speed of memory, whose stores become durable together.
//
//   auto db = quire::map("state.bin", {.access = Access::kReadWrite,
//                                      .commit = Commit::kAtomic}).value();
//   db.as<Account>().value()[7].cents += 100;       // only in memory
//   db.commit().value();                            // all stores since the last one, or an error
//   db.rollback().value();                          // as of the last commit
//
//      loads, stores                          commit()
//   [ private mapping ] --- changed pages, copied ---> [ journal ] --- later ---> [ file ]
//          ^ first load of a page                                                    |
//          +-------------------------------------------------------------------------+
//
// docs/commit.md has the table of what holds after which call, kill and power cut.
//
// The mapping is MAP_PRIVATE: the kernel never writes a store back by itself. It notes which pages
// are stored to (userfaultfd with WP_ASYNC, 6.7); commit() asks for them (PAGEMAP_SCAN), copies
// them and hands them to the journal: one record, one flush. Without those notes every private page
// is compared with the checksum of what was committed of it: right as well, slower, and explain()
// says so. What was resized belongs to the commit, too.
//
// For data that fits into memory: a page that was stored to stays in memory until it is given back
// (TrackedOptions::drop_past_bytes, rollback(), close()), and nothing bounds what is stored between
// two commits. A commit larger than the journal's log is refused.
//
// Consistent cut: stores of other threads during commit() land in this commit or in the next one,
// each for itself; they are never lost, but what belongs together may be torn apart, also within a
// page. Stores inside of an Update are not: see begin_update(). Without it, let no thread store
// while commit() is under way, or until commit_async() has returned.
//
// Life:   open --close() or destructor--> empty
//   What is not committed when it ends is gone, as after a crash. The destructor waits for a commit
//   that is being written, cancels those that wait, and writes nothing; the next opening recovers.
//   close() waits for all of them, and brings everything to the file.
// Invariants:    bytes() is the last commit and the stores since; it never moves.
// Thread-safety: commit, commit_async, flush, snapshot, check, resident, stats and explain from any
//                thread, with loads and stores going on; resize, rollback and close need the object
//                for themselves, and no thread may touch the bytes meanwhile.
// Errors:        an error of the journal's disk sticks: see check(). A commit that failed otherwise
//                (kLimit: the log is full) changed nothing, and its stores go with the next one.
// Safety:        nobody else may write or truncate the file. Memory that was handed to the kernel
//                for input (a fixed buffer of io_uring, a direct read under way during a commit) is
//                written without a note: read elsewhere and copy. A forked child sees the bytes as
//                they were and is refused every change, but must not close or destroy the object:
//                it may _exit or exec.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "quire/base/durability.h"
#include "quire/base/path_argument.h"
#include "quire/base/result.h"
#include "quire/base/ticket.h"
#include "quire/base/units.h"
#include "quire/journal/journal.h"
#include "quire/journal/update.h"
#include "quire/map/mapping.h"
#include "quire/map/typed_view.h"
#include "quire/tracked/tracked_options.h"

namespace quire {

namespace internal {
class TrackedState;
}

struct CommitReceipt {
  std::uint64_t number = 0;  // In its journal; that of the last one when nothing was changed.
  std::uint64_t pages = 0;   // Images that it holds.
};

struct TrackedStats {
  std::uint64_t commits = 0;          // That wrote something.
  std::uint64_t empty_commits = 0;    // That had nothing to write.
  std::uint64_t shared_commits = 0;   // That found all they wanted in another one.
  std::uint64_t failed_commits = 0;   // Their stores went, or will go, with a later one.
  std::uint64_t committed_pages = 0;  // Images written, of the journal's page size.
  std::uint64_t compared_pages = 0;   // Without notes about stores only.
  std::uint64_t waiting_commits = 0;  // Now: of commit_async(), and of commit() behind another one.
  std::uint64_t rollbacks = 0;
  std::uint64_t restored_pages = 0;  // By rollbacks, of the OS page size.
  std::uint64_t drops = 0;           // How often private copies were given back.
  std::uint64_t put_off_drops = 0;   // A snapshot, or an error, kept the checkpoint from it.
  JournalStats journal{};
};

struct TrackedResidency {
  std::uint64_t size_bytes = 0;      // Of the range, after kToEnd was resolved.
  std::uint64_t resident_bytes = 0;  // In memory: here, or in the page cache. Whole pages.
  std::uint64_t private_bytes = 0;   // This mapping's own copies. Whole pages.
};

// The last commit, to read while storing goes on.
// Thread-safety: any thread; moved and destroyed alone. Not to be used after close().
// Cost:          none until it is read. What it needs stays in the journal: while it lives, nothing
//                newer is checkpointed, and commits can find the log full.
class TrackedSnapshot {
 public:
  [[nodiscard]] std::uint64_t commit_number() const noexcept { return snapshot_.commit_number(); }
  [[nodiscard]] std::uint64_t size_bytes() const { return snapshot_.size_bytes(0); }
  // Any range; fewer bytes only at the end. Errors: kClosed; of reading.
  Result<std::uint64_t> read(std::uint64_t offset_bytes, std::span<std::byte> into) const {
    return snapshot_.read(0, offset_bytes, into);
  }
  // All of it as memory, which then depends on nothing. Cost: its size in memory, and reading it.
  // Errors: ENOMEM, kLimit; of reading.
  [[nodiscard]] Result<Mapping> copy() const;

 private:
  friend class TrackedMapping;
  explicit TrackedSnapshot(JournalSnapshot snapshot) : snapshot_(std::move(snapshot)) {}

  JournalSnapshot snapshot_;
};

class TrackedMapping {
 public:
  TrackedMapping(TrackedMapping&& other) noexcept;
  TrackedMapping& operator=(TrackedMapping&& other) noexcept;
  ~TrackedMapping();

  // --- What it shows -----------------------------------------------------------------------------

  [[nodiscard]] std::span<std::byte> bytes() noexcept { return {first_, size_bytes_}; }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return {first_, size_bytes_}; }
  // A part of it. Errors: kOutOfRange.
  [[nodiscard]] Result<std::span<std::byte>> bytes(ByteRange range);
  [[nodiscard]] Result<std::span<const std::byte>> bytes(ByteRange range) const;
  // Whole objects of T, see typed_view.h. Errors: kMisaligned, kOutOfRange.
  template <typename T>
  [[nodiscard]] Result<std::span<T>> as(ByteRange range = kWholeFile) {
    return typed_view<T>(QUIRE_TRY(bytes(range)), path());
  }
  template <typename T>
  [[nodiscard]] Result<std::span<const T>> as(ByteRange range = kWholeFile) const {
    return typed_view<const T>(QUIRE_TRY(bytes(range)), path());
  }
  [[nodiscard]] std::uint64_t size_bytes() const noexcept { return size_bytes_; }
  [[nodiscard]] bool is_open() const noexcept { return state_ != nullptr; }
  // REQUIRES: open.
  [[nodiscard]] const std::string& path() const noexcept;

  // --- Commits -----------------------------------------------------------------------------------

  // While it lives no commit takes its cut, and what is stored in it is in one commit, whole: see
  // Update. A cut lasts as long as changed pages are copied; from kCopiedBytesMax on, and with
  // drop_past_bytes, as long as the commit. REQUIRES: open.
  [[nodiscard]] Update begin_update() noexcept;
  static constexpr std::uint64_t kCopiedBytesMax = 4_MiB;
  // Every store that happened before the call is durable when it returns, all of them or none.
  // Of several threads' calls at once, those that wait share the next commit.
  // Errors: kLimit when the log is full, or too small for it: try again later, nothing is lost;
  //         kFailed inside of an Update; kClosed; what check() says. Blocks, also for updates.
  Result<CommitReceipt> commit();
  // The changed pages are copied before it returns; writing and flushing go on in a thread of the
  // mapping, in the order of the calls; those that wait together share a record and a flush. After
  // one that failed, those behind it fail with it, and all their stores belong to the next commit.
  // Blocks for updates, and when kAsyncCommitsMax are waiting. Errors: as commit()'s, what is known
  // at once; the rest by the ticket. kCancelled: see Life.
  [[nodiscard]] Result<Ticket> commit_async();
  static constexpr std::size_t kAsyncCommitsMax = 16;
  // A commit of everything, whatever the range. Errors: kUnsupported for Durability::kStarted:
  // half a commit does not exist. As commit()'s.
  Result<void> flush(ByteRange range = kWholeFile, Durability durability = Durability::kData);
  // Every byte, and the size, is as of the last commit.
  // Cost:   what was changed is read back from the journal or the file; what resize() has cut, too.
  // Errors: of reading, and ENOMEM: call it again; no commit is possible until it has worked.
  Result<void> rollback();
  // Errors: kClosed.
  [[nodiscard]] Result<TrackedSnapshot> snapshot() const;
  // Brings what is committed to the file, which happens by itself before the journal is full: a
  // crash then leaves less to recover. Errors: of Journal::checkpoint(). Blocks.
  Result<void> checkpoint();

  // --- Size --------------------------------------------------------------------------------------

  // Pointers to what remains stay valid; growth reads as zeros; the file follows with the commit.
  // Errors: kLimit past the reserved addresses, with the size unchanged; ENOMEM; kClosed.
  Result<void> resize(std::uint64_t size_bytes);

  // --- How it is ---------------------------------------------------------------------------------

  // Whether commits are possible. Errors: kFailed with the first cause, when the journal's disk or
  // a rollback failed; kClosed.
  [[nodiscard]] Result<void> check() const;
  [[nodiscard]] Result<TrackedResidency> resident(ByteRange range = kWholeFile) const;
  [[nodiscard]] TrackedStats stats() const;
  // What was found and chosen, in a sentence or two.
  [[nodiscard]] std::string explain() const;

  // Drops what is not committed, brings the rest to the file and marks the journal as clean; the
  // object is empty afterwards, whatever is returned. Errors: ENOSPC and others of the checkpoint:
  // what was committed is found when it is opened again.
  Result<void> close();

 private:
  friend Result<TrackedMapping> map(PathArgument path, const TrackedOptions& options);
  explicit TrackedMapping(std::unique_ptr<internal::TrackedState> state) noexcept;
  // What the state says, where the view may have changed.
  void look_again() noexcept;
  [[nodiscard]] Result<void> require_open(const char* operation) const;
  [[nodiscard]] Result<void> require_outside_updates(const char* operation) const;

  std::unique_ptr<internal::TrackedState> state_;  // Null: empty.
  std::byte* first_ = nullptr;
  std::uint64_t size_bytes_ = 0;
};

// Recovers the file first, if need be.
// Errors: those of open_journal(): EBUSY with the name of who has it open, kCorrupt, ...;
//         kUnsupported for anything but a regular file, and where not even /proc/self/pagemap tells
//         which pages were stored to.
[[nodiscard]] Result<TrackedMapping> map(PathArgument path, const TrackedOptions& options);

// The last commit, to read: recovers the file if need be, and leaves it with a clean journal or
// none. A process that commits to the file while it is mapped changes what is seen, as its
// checkpoints come.
// Errors: EBUSY when somebody has it open for commits; kReadOnly when it must be recovered and
//         cannot, since it lies on read-only media; ENOENT when its journal is missing.
[[nodiscard]] Result<Mapping> map(PathArgument path, const CommittedOptions& options);

}  // namespace quire
