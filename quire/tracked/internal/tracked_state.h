// SPDX-License-Identifier: Apache-2.0
//
// TrackedState: what is inside a TrackedMapping.
//
//   view   |==== pages of the file ====|==== memory without a file ====|.... reserved ....|
//          0                    file_pages_bytes_            page end of size_bytes_
//
// A page of the file stays what it is while nobody changes the file there; a checkpoint changes
// only pages that were committed, and of those the view has its own copies. What a resize adds lies
// beyond the file's end, which moves only with a checkpoint, so it is memory of its own. What a
// resize cuts leaves the view at once: once the cut is committed, a checkpoint truncates the file,
// and the kernel takes even private copies of pages beyond the end.
//
//   changes --take--> Job --write--> the journal      Jobs that wait together are one record
//      ^                |
//      +---- owed ------+  failed: its pages count as changed, though nobody stored to them
//
// Invariants:    file_pages_bytes_ <= the pages of every size that a checkpoint may give the file;
//                Jobs are written in the order in which they were made; a Job holds all changes
//                since the one before, or since the last commit when that failed.
// Thread-safety: see TrackedMapping. operation_ is held through every call that changes something,
//                I/O included; mutex_ never during I/O. The thread takes only mutex_.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "quire/base/company.h"
#include "quire/base/mutex.h"
#include "quire/io/records.h"
#include "quire/journal/journal.h"
#include "quire/journal/update.h"
#include "quire/map/address_space.h"
#include "quire/sys/descriptor.h"
#include "quire/tracked/internal/change_tracker.h"
#include "quire/tracked/tracked_mapping.h"

namespace quire::internal {

class TrackedState {
 public:
  static Result<std::unique_ptr<TrackedState>> open(std::string path,
                                                    const TrackedOptions& options);
  ~TrackedState();
  TrackedState(const TrackedState&) = delete;
  TrackedState& operator=(const TrackedState&) = delete;

  // From the first call on commits take a cut of their own, see CutPoint. Null in a forked child:
  // what it has of a gate nobody will open.
  [[nodiscard]] UpdateGate* updates() noexcept {
    has_updates_.store(true, std::memory_order_relaxed);
    return is_forked_child() ? nullptr : &updates_;
  }
  Result<CommitReceipt> commit();
  Result<Ticket> commit_async();
  Result<void> checkpoint() { return journal_->checkpoint(); }
  Result<void> rollback();
  Result<void> resize(std::uint64_t size_bytes);
  Result<void> close();
  [[nodiscard]] Result<void> check() const;
  [[nodiscard]] Result<TrackedResidency> resident(ByteRange range) const;
  [[nodiscard]] TrackedStats stats() const;
  [[nodiscard]] std::string explain() const;

  [[nodiscard]] Journal& journal() const noexcept { return *journal_; }
  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] std::byte* address() const noexcept { return space_.address(); }
  // REQUIRES: no resize, rollback or close is under way.
  [[nodiscard]] std::uint64_t size_bytes() const noexcept { return size_bytes_; }

 private:
  // Where a Job's images are: copies, which later stores do not reach, or the view itself.
  enum class Pages : std::uint8_t { kCopied, kNamed };
  // While it lives, and its gate is not opened before, no Update is under way.
  class CutPoint;
  struct Job {
    std::vector<ByteRange> runs{};  // Whole pages of the journal, in order.
    std::optional<RecordBuffer> copies{};
    std::vector<PageImages> images{};
    ImageMemory memory = ImageMemory::kStill;
    std::uint64_t take = 0;    // Its number.
    std::size_t arrivals = 0;  // Who waits for it in commit(), at least.
    std::uint64_t size_bytes = 0;
    std::uint64_t cut_bytes = 0;  // The least size since the commit before; <= size_bytes.
    bool has_resize = false;
    bool has_cut = false;  // First cut_bytes, then size_bytes: what is between became zeros.
    std::optional<Ticket::Source> source{};

    [[nodiscard]] bool is_empty() const noexcept { return runs.empty() && !has_resize; }
  };

  TrackedState(std::string path, const TrackedOptions& options);
  Result<void> open_view(std::uint64_t reserve_bytes);
  void watch(ByteRange pages) QUIRE_REQUIRES(operation_);
  [[nodiscard]] Error error_on(Errc code, const char* operation, std::string cause,
                               std::string remedy = {}) const;

  // --- Commits (commit.cc) ----------------------------------------------------------------------

  [[nodiscard]] bool is_forked_child() const noexcept;
  // Errors: kUnsupported in a forked child, where a lock may be held by a thread that is not there:
  // asked before the first one.
  [[nodiscard]] Result<void> require_owner(const char* operation) const;
  // The same, and kFailed after half a rollback.
  [[nodiscard]] Result<void> require_usable(const char* operation) const;
  [[nodiscard]] Result<Job> make_job(Pages pages) QUIRE_REQUIRES(operation_);
  // Errors: kLimit.
  [[nodiscard]] Result<void> check_room(const Job& job) const;
  void copy_pages(Job& job) QUIRE_REQUIRES(operation_);
  void name_pages(Job& job) QUIRE_REQUIRES(operation_);
  void copy_run(ByteRange run, std::byte* into) const QUIRE_REQUIRES(operation_);
  Result<std::uint64_t> write(const Job& job);
  // The end of a Job.
  void settle(const Job& job, bool has_succeeded) QUIRE_REQUIRES(mutex_);
  // Its pages, and its resize, belong to the next one.
  void owe(const Job& job) QUIRE_REQUIRES(mutex_);
  void await_idle() QUIRE_REQUIRES(operation_);
  // A commit() for all who have arrived.
  [[nodiscard]] Result<CommitReceipt> lead();
  void await_company();
  [[nodiscard]] Result<CommitReceipt> commit_here() QUIRE_REQUIRES(operation_);
  // Gives private copies back where they have become too many.
  void drop_if_due() QUIRE_REQUIRES(operation_);
  Result<void> drop() QUIRE_REQUIRES(operation_);
  void run_thread();
  [[nodiscard]] std::size_t count_joined() const QUIRE_REQUIRES(mutex_);
  [[nodiscard]] Job join(std::size_t count) const QUIRE_REQUIRES(mutex_);
  void keep_copies(Job& job) QUIRE_REQUIRES(mutex_);
  void finish_first(const Result<void>& outcome) QUIRE_REQUIRES(mutex_);

  // --- The view (view.cc) -----------------------------------------------------------------------

  // Ends the view there, in the sense of Invariants.
  Result<void> cut_view(std::uint64_t size_bytes) QUIRE_REQUIRES(operation_);
  Result<void> extend_view(std::uint64_t size_bytes) QUIRE_REQUIRES(operation_);
  // Zeros from there to the end of its page.
  void clear_tail(std::uint64_t size_bytes) QUIRE_REQUIRES(operation_);
  Result<std::uint64_t> restore() QUIRE_REQUIRES(operation_);
  Result<void> restore_size(std::uint64_t committed_bytes) QUIRE_REQUIRES(operation_);
  Result<void> restore_pages(const std::vector<ByteRange>& runs, std::uint64_t committed_bytes)
      QUIRE_REQUIRES(operation_);
  [[nodiscard]] bool is_file_up_to_date() const;

  const std::string path_;
  const std::uint64_t drop_past_bytes_;
  const int process_id_;
  const PageSize os_page_;
  std::unique_ptr<Journal> journal_;
  sys::Descriptor file_;
  AddressSpace space_;
  std::optional<ChangeTracker> tracker_;
  std::string atomic_writes_;  // Of the device, for explain().

  UpdateGate updates_;  // Shut by who has operation_.
  std::atomic<bool> has_updates_{false};

  // One operation at a time. These belong to it:
  mutable Mutex operation_;
  std::uint64_t size_bytes_ = 0;
  std::uint64_t file_pages_bytes_ = 0;
  std::uint64_t undropped_bytes_ = 0;  // Committed since private copies were given back.

  mutable Mutex mutex_;
  CondVar changed_;                                 // The queue; the end of a commit().
  std::deque<Job> queue_ QUIRE_GUARDED_BY(mutex_);  // The first one is being written.
  std::vector<ByteRange> owed_ QUIRE_GUARDED_BY(mutex_);
  std::uint64_t base_bytes_ QUIRE_GUARDED_BY(mutex_) = 0;       // Size as of the last Job made.
  std::uint64_t committed_bytes_ QUIRE_GUARDED_BY(mutex_) = 0;  // Size as of the last commit.
  std::uint64_t cut_bytes_ QUIRE_GUARDED_BY(mutex_) = 0;  // The least size since the last Job.
  std::uint64_t failures_ QUIRE_GUARDED_BY(mutex_) = 0;   // Of Jobs.
  std::optional<RecordBuffer> buffer_ QUIRE_GUARDED_BY(mutex_);  // Of a Job, kept for the next one.
  std::uint64_t takes_begun_ QUIRE_GUARDED_BY(mutex_) = 0;
  std::uint64_t last_take_ QUIRE_GUARDED_BY(mutex_) = 0;  // Whose commit() has succeeded, with ...
  CommitReceipt last_receipt_ QUIRE_GUARDED_BY(mutex_);   // ... this.
  bool has_leader_ QUIRE_GUARDED_BY(mutex_) = false;      // Somebody is in lead().
  std::size_t arrivals_ QUIRE_GUARDED_BY(mutex_) = 0;     // In commit(), since its last take.
  std::size_t followers_ QUIRE_GUARDED_BY(mutex_) = 0;    // In commit(), behind who is in lead().
  Company company_ QUIRE_GUARDED_BY(mutex_);
  bool is_stopping_ QUIRE_GUARDED_BY(mutex_) = false;
  std::string tracking_ QUIRE_GUARDED_BY(mutex_);       // What the tracker says of itself.
  std::optional<Error> torn_ QUIRE_GUARDED_BY(mutex_);  // A rollback that went half-way.
  TrackedStats stats_ QUIRE_GUARDED_BY(mutex_);
  std::thread thread_;  // Started by the first commit_async().
};

}  // namespace quire::internal
