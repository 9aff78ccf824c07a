// SPDX-License-Identifier: Apache-2.0
//
// JournalState: what is inside a Journal.
//
//   append()      requests wait in line; the first of them leads: it waits a moment for those that
//                 came with the last commit, takes those behind it that fit into one chain of
//                 records, writes and flushes without the lock, and enters all of them into the
//                 indexes. What cannot fit waits for a checkpoint, which it makes itself.
//   append_async  the same line; "quire-commit" leads when such a request is the first of it
//   checkpoint()  one at a time: plan (lock), write and sync the files, forget (lock), superblock,
//                 reuse (lock)
//   read()        looks up every page (lock), pins what it found, reads without the lock
//
// Pins: a view N keeps checkpoints at or below N; a position keeps the log from there on.
//
// Invariants:    is_writing_: the queue's front, the log's head and the transactions belong to the
//                leader; is_checkpointing_: the files and the superblock to one thread;
//                durable_lsn_ < LSN of every record that is being written.
// Thread-safety: any thread. No lock is held during I/O, but for opening, closing, adding a file.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "quire/base/company.h"
#include "quire/base/mutex.h"
#include "quire/base/ticket.h"
#include "quire/io/records.h"
#include "quire/journal/internal/log_writer.h"
#include "quire/journal/internal/page_index.h"
#include "quire/journal/internal/plan_writer.h"
#include "quire/journal/internal/recovery.h"
#include "quire/journal/internal/work_meter.h"
#include "quire/journal/journal.h"
#include "quire/journal/journaled_store.h"

namespace quire::internal {

enum class Append : std::uint8_t { kUncommitted, kCommit };

class JournalState {
 public:
  static Result<std::shared_ptr<JournalState>> open(JournalParts parts,
                                                    const JournalOptions& options);
  ~JournalState();
  JournalState(const JournalState&) = delete;
  JournalState& operator=(const JournalState&) = delete;

  [[nodiscard]] std::size_t file_count() const;
  [[nodiscard]] JournaledStore& store(std::size_t file);
  [[nodiscard]] const std::string& file_name(std::size_t file) const;
  [[nodiscard]] Store& file_store(std::size_t file) const;
  Result<std::size_t> add_file(JournalFile file);

  // Returns the last commit, which for Append::kCommit is this one's.
  Result<std::uint64_t> append(std::span<const FileCommit> parts, Append kind);
  // The same, uncommitted, and a size makes the file longer, never shorter.
  Result<std::uint64_t> append_growing(const FileCommit& part);
  // A commit that a thread of the journal leads, unless somebody else's takes it along.
  Result<Ticket> append_async(std::span<const FileCommit> parts);
  Result<void> rollback(std::span<const std::size_t> files);

  // Of the last commit. REQUIRES: unpinned once.
  std::uint64_t pin_snapshot();
  void unpin_snapshot(std::uint64_t commit);
  Result<std::uint64_t> read(std::size_t file, std::uint64_t view, std::uint64_t offset_bytes,
                             MutablePieces into);
  Result<std::uint64_t> read_committed(std::size_t file, std::uint64_t offset_bytes,
                                       MutablePieces into);
  [[nodiscard]] std::uint64_t size_bytes(std::size_t file, std::uint64_t view) const;
  // Whether the file's own bytes are the newest ones of a range. A page of it that is written and
  // checkpointed while it is read there overlaps that read.
  [[nodiscard]] bool is_in_file(std::size_t file, ByteRange range) const;
  // Errors: kClosed, kFailed.
  [[nodiscard]] Result<void> require_usable(const char* operation) const;

  Result<void> checkpoint();
  Result<void> close();
  // Both threads; what is in line for the committer is cancelled. REQUIRES: no other call.
  void stop_threads();

  [[nodiscard]] std::uint64_t page_bytes() const noexcept { return page_bytes_; }
  [[nodiscard]] JournalStats stats() const;
  [[nodiscard]] std::string explain() const;
  void check_invariants() const;

 private:
  struct File {
    JournalFile file;
    std::unique_ptr<PageIndex> index;
    std::unique_ptr<JournaledStore> store;
    std::uint64_t transaction = 0;  // The open one.
  };
  struct Request {
    std::span<const FileCommit> parts;
    Append kind = Append::kUncommitted;
    bool grows = false;  // Sizes are what the files get at least.
    bool is_done = false;
    Result<void> outcome{};
    std::chrono::steady_clock::time_point deadline{};  // Of waiting for room.
    bool has_waited = false;                           // The log was too full.
    std::optional<Ticket::Source> source{};            // Set: nobody waits in await() for it.
    CondVar woken{};                                   // It is done, or the first in line.
  };
  // One that outlives the call that made it.
  struct AsyncRequest {
    Request request;
    std::vector<FileCommit> parts;
    std::vector<std::vector<PageImages>> images;  // Of each part.
  };
  // What a leader writes.
  struct Batch {
    std::vector<Request*> requests{};
    std::vector<LogMark> resizes{};
    std::vector<LogMark> commits{};
    std::vector<LogImage> images{};
    std::vector<const std::byte*> pages{};  // One for each image.
    ImageMemory memory = ImageMemory::kStill;
  };
  // A page's part of a read.
  struct ReadStep {
    std::optional<ImagePlace> image;
    std::uint64_t offset_bytes = 0;
    std::uint64_t length_bytes = 0;  // A range of one page, or a run of the file ...
    std::uint64_t valid_bytes = 0;   // ... of which this much is there, and the rest zeros.
  };
  struct Pins {
    std::uint64_t view = 0;
    std::uint64_t position = 0;
  };

  JournalState(JournalParts parts, const JournalOptions& options, Superblock superblock);

  // --- Opening and ending (journal_state.cc) ----------------------------------------------------

  Result<void> recover(WorkMeter& meter);
  [[nodiscard]] std::uint64_t recovery_memory_bytes() const;
  [[nodiscard]] Result<void> check_files() const QUIRE_REQUIRES(mutex_);
  void add_index(JournalFile file) QUIRE_REQUIRES(mutex_);
  // Writes the slot whose turn it is, durably. REQUIRES: is_checkpointing_, or alone.
  Result<void> write_superblock(Superblock& superblock);
  Result<void> write_durably(std::uint64_t offset_bytes, std::span<const std::byte> bytes);
  void start_thread();
  void run_thread();

  // --- Appending (append.cc, log_room.cc) --------------------------------------------------------

  [[nodiscard]] Result<void> check_parts(std::span<const FileCommit> parts) const;
  Result<std::uint64_t> await(Request& request);
  [[nodiscard]] bool has_work(const Request& request) const QUIRE_REQUIRES(mutex_);
  // The front of the queue, and what may go with it; or the front alone.
  [[nodiscard]] Batch make_batch(bool alone) const QUIRE_REQUIRES(mutex_);
  [[nodiscard]] std::vector<LogSpace::Piece> plan(const Batch& batch) const QUIRE_REQUIRES(mutex_);
  [[nodiscard]] std::uint64_t room_needed(const Batch& batch,
                                          const std::vector<LogSpace::Piece>& pieces) const
      QUIRE_REQUIRES(mutex_);
  [[nodiscard]] bool may_join(const Batch& batch, const Request& request) const
      QUIRE_REQUIRES(mutex_);
  void add_to_batch(Batch& batch, Request& request) const QUIRE_REQUIRES(mutex_);
  // The newest size of a file once the batch is in.
  [[nodiscard]] std::uint64_t size_after(const Batch& batch, std::size_t file) const
      QUIRE_REQUIRES(mutex_);
  // Errors: kOutOfRange for images that lie outside of their file.
  [[nodiscard]] Result<void> check_sizes(const Batch& batch, const Request& request) const
      QUIRE_REQUIRES(mutex_);
  // REQUIRES: the request is the front of the queue. It may be left to be tried again.
  void lead(Request& request) QUIRE_REQUIRES(mutex_);
  // Until as many are in line as had the last commit, or it would take too long.
  void await_company() QUIRE_REQUIRES(mutex_);
  // Makes a checkpoint, waits, or takes the request out of the queue with an error.
  void make_room(Request& request, std::uint64_t needed_bytes) QUIRE_REQUIRES(mutex_);
  // A commit in line goes first. False: there is none, or this is one.
  [[nodiscard]] bool let_commit_pass(const Request& request) QUIRE_REQUIRES(mutex_);
  [[nodiscard]] Error full_error(std::uint64_t needed_bytes) const QUIRE_REQUIRES(mutex_);
  void write_batch(Batch& batch, const std::vector<LogSpace::Piece>& pieces) QUIRE_REQUIRES(mutex_);
  // Ends with the flush of a commit. Fills in the checksums.
  Result<void> write_chain(Batch& batch, const std::vector<LogSpace::Piece>& pieces,
                           const RecordHeader& header);
  // The records, each by `write(header, pages)`.
  template <typename Write>
  Result<void> write_records(Batch& batch, const std::vector<LogSpace::Piece>& pieces,
                             RecordHeader header, Write&& write);
  // One that fits into stage_, in one write.
  Result<void> write_staged(Store& log, RecordHeader& header,
                            std::span<const std::byte* const> pages);
  void enter_batch(const Batch& batch, const std::vector<LogSpace::Piece>& pieces,
                   std::uint64_t first_lsn, std::uint64_t commit) QUIRE_REQUIRES(mutex_);
  void finish(const Batch& batch, const Result<void>& outcome) QUIRE_REQUIRES(mutex_);
  // Whoever waits for the first request in line, and for anything else, looks again.
  void wake_front() QUIRE_REQUIRES(mutex_);

  // --- Commits that nobody waits for (async_commit.cc) ------------------------------------------

  Result<void> start_committer() QUIRE_REQUIRES(mutex_);
  void run_committer();
  // Gives the ticket of a request what became of it, and forgets the request.
  void deliver(const Request& request) QUIRE_REQUIRES(mutex_);
  [[nodiscard]] bool has_async_front() const QUIRE_REQUIRES(mutex_) {
    return !queue_.empty() && queue_.front()->source;
  }

  // --- Reading (read.cc) ------------------------------------------------------------------------

  // Nobody reads before that position any more.
  void update_reusable() QUIRE_REQUIRES(mutex_);
  [[nodiscard]] Pins pin(std::uint64_t view) QUIRE_REQUIRES(mutex_);
  void unpin(const Pins& pins);
  void drop_view(std::uint64_t commit) QUIRE_REQUIRES(mutex_);
  // Something that held a part of the log does so no more: who waits for room looks again.
  void tell_release() QUIRE_REQUIRES(mutex_);
  [[nodiscard]] std::vector<ReadStep> plan_read(const PageIndex& index, std::uint64_t view,
                                                ByteRange range) const QUIRE_REQUIRES(mutex_);
  Result<void> do_step(const ReadStep& step, Store& file, MutablePieces into);
  Result<void> read_image(const ReadStep& step, MutablePieces into);

  // --- Checkpoints (checkpoint.cc) --------------------------------------------------------------

  Result<void> checkpoint_locked() QUIRE_REQUIRES(mutex_);
  Result<void> checkpoint_to(std::uint64_t commit) QUIRE_REQUIRES(mutex_);
  Result<void> write_plans(std::vector<CheckpointPlan>& plans);
  [[nodiscard]] std::uint64_t checkpoint_target() const QUIRE_REQUIRES(mutex_);
  // Of the images that a checkpoint holds at a time.
  [[nodiscard]] std::uint64_t checkpoint_memory_bytes() const;
  // Wakes the thread when less of the log is free than checkpoint_room_bytes_; commits that are as
  // large as this batch shall find room meanwhile.
  void want_checkpoint(std::uint64_t batch_bytes) QUIRE_REQUIRES(mutex_);
  Result<void> require_usable_locked(const char* operation) const QUIRE_REQUIRES(mutex_);
  void stick(const Error& error) QUIRE_REQUIRES(mutex_);

  const JournalOptions options_;
  const std::shared_ptr<Store> log_;
  const std::shared_ptr<Store> durable_log_;
  const std::shared_ptr<JournalGuard> guard_;
  const std::uint64_t page_bytes_;
  const std::uint64_t log_bytes_;
  const JournalUuid uuid_;

  mutable Mutex mutex_;
  CondVar changed_;  // Of everything that somebody waits for, but a request's end or turn.
  CondVar wake_thread_;

  Superblock superblock_;  // As on disk. Of whoever is checkpointing, or alone.
  std::uint64_t epoch_ = 0;
  std::deque<File> files_ QUIRE_GUARDED_BY(mutex_);  // References stay valid.
  std::unique_ptr<LogSpace> space_ QUIRE_GUARDED_BY(mutex_);
  std::deque<Request*> queue_ QUIRE_GUARDED_BY(mutex_);
  std::deque<std::unique_ptr<AsyncRequest>> async_ QUIRE_GUARDED_BY(mutex_);  // In queue_'s order.
  std::uint64_t async_begun_ QUIRE_GUARDED_BY(mutex_) = 0;
  std::uint64_t async_done_ QUIRE_GUARDED_BY(mutex_) = 0;
  std::multiset<std::uint64_t> views_ QUIRE_GUARDED_BY(mutex_);
  std::multiset<std::uint64_t> positions_ QUIRE_GUARDED_BY(mutex_);
  std::uint64_t releases_ QUIRE_GUARDED_BY(mutex_) = 0;  // As often as tell_release() was called.
  std::uint64_t durable_tail_ QUIRE_GUARDED_BY(mutex_) = 0;  // As the superblock has it.
  std::uint64_t last_commit_ QUIRE_GUARDED_BY(mutex_) = 0;
  std::uint64_t checkpointed_commit_ QUIRE_GUARDED_BY(mutex_) = 0;
  std::uint64_t durable_lsn_ QUIRE_GUARDED_BY(mutex_) = 0;
  std::uint64_t next_transaction_ QUIRE_GUARDED_BY(mutex_) = 1;
  Company company_ QUIRE_GUARDED_BY(mutex_);  // Who waited for the last commit.
  bool is_writing_ QUIRE_GUARDED_BY(mutex_) = false;
  bool is_checkpointing_ QUIRE_GUARDED_BY(mutex_) = false;
  bool is_checkpoint_wanted_ QUIRE_GUARDED_BY(mutex_) = false;
  // With how much of the log free the next one begins in the background: the later, the more often
  // a page that was committed many times is written once; too late, and commits wait for it.
  std::uint64_t checkpoint_room_bytes_ QUIRE_GUARDED_BY(mutex_);
  bool is_stopping_ QUIRE_GUARDED_BY(mutex_) = false;
  bool is_closed_ QUIRE_GUARDED_BY(mutex_) = false;
  std::optional<Error> sticky_ QUIRE_GUARDED_BY(mutex_);
  std::optional<Error> full_disk_ QUIRE_GUARDED_BY(mutex_);  // Of the last checkpoint.
  JournalStats stats_ QUIRE_GUARDED_BY(mutex_);

  // Of the leader: for what is one write, and for what is more.
  RecordBuffer stage_;
  LogWriter log_writer_;
  std::thread thread_;
  std::thread committer_;  // Started by the first asynchronous commit.
};

}  // namespace quire::internal
