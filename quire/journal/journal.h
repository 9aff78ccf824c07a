// SPDX-License-Identifier: Apache-2.0
//
// Journal: all changes since the last commit, or none, after any crash: a redo log in front of up
// to kJournalFilesMax files.
//
//   auto journal = QUIRE_TRY(open_journal({"table.db"}));       // journal_file.h; recovers
//   JournaledStore& table = journal->file(0);                   // a Store, see journaled_store.h
//   QUIRE_TRY(table.write(0, page));                            // to the log, not to the file
//   QUIRE_TRY(journal->commit());                               // durable, all of it: or an error
//   QUIRE_TRY(journal->close());                                // everything is in the file
//
//   write()   --> [ log ]  uncommitted images: seen by reads of the newest view, gone after a crash
//   commit()  --> [ log ]  one record with what is left and the mark: one write, one flush, durable
//   read()    <-- [ log ], else [ file ]
//   checkpoint    [ log ] --> [ file ]  later: the newest committed image of each page, sorted,
//                                       synced; then the log's space can be used again
//
// A commit that came back is found after any crash; one that was under way is found whole or not at
// all; nothing else ever is. Commits of several threads that come together share one record and one
// flush. A commit may span files. Resizing is part of it.
//
// Transactions: each file has one open transaction: its uncommitted images and resizes. A commit of
// a file takes all of them, whoever wrote them; what is written to the file while it is under way
// belongs to the next one.
//
// Invariants:    a page's image in the file is never newer than any live snapshot and never
//                uncommitted; space of the log is reused only when a durable superblock says so;
//                after an error that leaves the disk unknown (a failed write of the log, a failed
//                sync) nothing is written any more: kFailed, until it is opened again.
// Thread-safety: every member from any thread, but close() and the destructor: alone.
// Blocks:        commit(), rollback(), checkpoint(), close() for I/O and for each other; commit()
//                up to JournalOptions::full_wait_max more when the log is full, and, when it shared
//                the last flush with others, up to half the time of that for them to come again.
// Cost:          a commit of n pages is one write of n + 1 pages and one flush. See JournalStats.
//                Atomic writes (RWF_ATOMIC) and exchanged ranges (XFS) are no cheaper where they
//                are not wrong: docs/commit.md has the argument, and figures.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "quire/base/result.h"
#include "quire/base/ticket.h"
#include "quire/io/store.h"
#include "quire/journal/journal_options.h"

namespace quire {

namespace internal {
class JournalState;
}
class JournaledStore;

// Whole pages of a file as they are to be.
struct PageImages {
  std::uint64_t offset_bytes = 0;      // A multiple of the page size ...
  std::span<const std::byte> bytes{};  // ... and so is the length.
};

// Whether the bytes of images may be stored to before the call ends. Where they may they are copied
// first; each page then is as it was at some time, for each byte, of the call.
enum class ImageMemory : std::uint8_t { kStill, kChanging };

struct FileCommit {
  std::size_t file = 0;  // Its number in the journal.
  std::span<const PageImages> images{};
  std::optional<std::uint64_t> size_bytes{};  // Resized to this first. The images must lie inside.
  ImageMemory memory = ImageMemory::kStill;
};

// One of a journal's files.
struct JournalFile {
  std::shared_ptr<Store> store;
  FileIdentity identity{};
  std::string name{};  // To find it again: a hint, kept in the journal.
};

// Somebody who has something to do when the journal is not needed any more.
class JournalGuard {
 public:
  JournalGuard() = default;
  virtual ~JournalGuard() = default;
  JournalGuard(const JournalGuard&) = delete;
  JournalGuard& operator=(const JournalGuard&) = delete;

  // A file is about to be changed through the journal.
  virtual Result<void> enter_file(Store& file, std::size_t number) = 0;
  // Everything is in the files.
  virtual Result<void> leave_clean() = 0;
  // What is not as it should be, for Journal::explain(); may be empty.
  [[nodiscard]] virtual std::string explain() const = 0;
};

struct JournalParts {
  std::shared_ptr<Store> log;
  // The same bytes; each write is durable when it returns (WriteThrough::kEachWrite). A commit then
  // is one call. Null: a write and a sync.
  std::shared_ptr<Store> durable_log;
  std::vector<JournalFile> files;
  std::shared_ptr<JournalGuard> guard;  // May be null.
};

struct JournalStats {
  std::uint64_t last_commit = 0;
  std::uint64_t checkpointed_commit = 0;
  std::uint64_t commit_calls = 0;  // That were acknowledged; several may be one commit.
  std::uint64_t commits = 0;       // Flushes of the log for them.
  std::uint64_t log_writes = 0;
  std::uint64_t log_bytes_written = 0;
  std::uint64_t images = 0;
  std::uint64_t uncommitted_images = 0;  // Of them: written before their commit.
  std::uint64_t waiting = 0;             // Commits and writes in line, now.
  std::uint64_t full_waits = 0;          // Commits and writes that found the log full.
  std::uint64_t checkpoints = 0;
  std::uint64_t checkpoint_pages = 0;
  std::uint64_t checkpoint_writes = 0;
  std::uint64_t used_bytes = 0;  // Of the log, now.
  std::uint64_t log_bytes = 0;
  std::uint64_t index_bytes = 0;  // Memory, roughly.
  std::uint64_t snapshots = 0;    // And reads under way.
  std::uint64_t recovered_commits = 0;
  std::uint64_t recovered_pages = 0;
};

// The files as of one commit, while writing goes on. What it needs stays in the log: held for long
// while much is committed, it fills it.
// Thread-safety: any thread; moved and destroyed alone.
class JournalSnapshot {
 public:
  ~JournalSnapshot();
  JournalSnapshot(JournalSnapshot&& other) noexcept;
  JournalSnapshot& operator=(JournalSnapshot&& other) noexcept;

  [[nodiscard]] std::uint64_t commit_number() const noexcept { return commit_; }
  [[nodiscard]] std::uint64_t size_bytes(std::size_t file) const;
  // Any range; fewer bytes only at the end of the file as it was. Errors: kClosed; of reading.
  Result<std::uint64_t> read(std::size_t file, std::uint64_t offset_bytes,
                             std::span<std::byte> into) const;

 private:
  friend class Journal;
  JournalSnapshot(std::shared_ptr<internal::JournalState> state, std::uint64_t commit);

  std::shared_ptr<internal::JournalState> state_;
  std::uint64_t commit_;
};

class Journal {
 public:
  // Makes the bytes of a new journal in a store: allocated, zeros, an empty circle. Durable.
  // Errors: of the store; EINVAL for impossible options.
  static Result<void> format(Store& log, const JournalUuid& uuid, const JournalOptions& options);

  // Opens it and brings the files to the last commit: see explain().
  // Errors: kCorrupt, kNewerVersion, kTruncated; kChanged when a file is not the one that the
  //         journal has changes for; EINVAL when the page size is another one; kCancelled; of the
  //         stores.
  static Result<std::unique_ptr<Journal>> open(JournalParts parts,
                                               const JournalOptions& options = {});
  ~Journal();  // Ends the threads; does not checkpoint. What is committed is found when opened
               // again.
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  [[nodiscard]] std::size_t file_count() const;
  // REQUIRES: there is one of that number. Valid as long as the journal.
  [[nodiscard]] JournaledStore& file(std::size_t number);
  // One more file; returns its number. Durable. Errors: kLimit past kJournalFilesMax; of the log.
  Result<std::size_t> add_file(JournalFile file);

  // Makes uncommitted changes of these files, and what comes with the call, durable together.
  // Returns the number of the commit. With nothing to do, that of the last one.
  // Errors: kOutOfRange for images outside of the file; kMisaligned; kLimit when the log is full:
  //         nothing has happened then, and uncommitted changes are still there; kFailed.
  Result<std::uint64_t> commit(std::span<const FileCommit> files);
  // Of all files.
  Result<std::uint64_t> commit();
  // The same, by a thread of the journal: what is there to be committed when this returns, and
  // never what is written later. Commits of all kinds come in the order of their calls, and share
  // records. Blocks when kAsyncCommitsMax are under way.
  // REQUIRES: the bytes of the images stay unchanged until the ticket is done.
  // Errors:   what is known at once; the rest, as commit()'s, by the ticket. close() waits for the
  //           tickets; the destructor cancels what is not being written.
  [[nodiscard]] Result<Ticket> commit_async(std::span<const FileCommit> files);
  [[nodiscard]] Result<Ticket> commit_async();
  static constexpr std::size_t kAsyncCommitsMax = 64;
  // The images and sizes become uncommitted changes of these files, in as few records as they fit
  // into: as JournaledStore::write(), for images that lie apart. Errors: as commit().
  Result<void> stage(std::span<const FileCommit> files);
  // Forgets the uncommitted changes of these files; what a commit_async() before it has is none.
  Result<void> rollback(std::span<const std::size_t> files);

  // The last commit, as it is now.
  [[nodiscard]] JournalSnapshot snapshot();

  // Brings everything that no snapshot holds back to the files. Errors: ENOSPC, ENOMEM (nothing is
  // lost: make room and try again); others stick.
  Result<void> checkpoint();

  // Rolls back what is uncommitted, checkpoints, marks the journal as clean. Later calls of
  // anything give kClosed. REQUIRES: nothing is under way; snapshots are not read any more.
  Result<void> close();

  [[nodiscard]] std::uint64_t page_bytes() const;
  [[nodiscard]] JournalStats stats() const;
  // What was found and chosen: one line.
  [[nodiscard]] std::string explain() const;
  void check_invariants() const;

 private:
  explicit Journal(std::shared_ptr<internal::JournalState> state);
  // Of every file, what is uncommitted.
  [[nodiscard]] std::vector<FileCommit> whole() const;

  std::shared_ptr<internal::JournalState> state_;
};

}  // namespace quire
