// SPDX-License-Identifier: Apache-2.0
//
// Commits: changed pages are copied into a Job, and Jobs are written to the journal one by one.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <system_error>
#include <utility>

#include "quire/base/page_window.h"
#include "quire/journal/journaled_store.h"
#include "quire/sys/process.h"
#include "quire/tracked/internal/tracked_state.h"

namespace quire::internal {
namespace {

// A buffer up to this size is kept for the next commit: fresh memory costs a fault for each page.
constexpr std::size_t kKeptBufferBytes = std::size_t{64} << 20;

std::uint64_t total_bytes(const std::vector<ByteRange>& runs) {
  std::uint64_t total = 0;
  for (const ByteRange& run : runs) {
    total += run.length_bytes;
  }
  return total;
}

}  // namespace

Result<void> TrackedState::require_owner(const char* operation) const {
  if (sys::process_id() != process_id_) {
    return fail(error_on(Errc::kUnsupported, operation,
                         "this process was forked by the one that mapped the file",
                         "only that one can change it"));
  }
  return {};
}

Result<void> TrackedState::require_usable(const char* operation) const {
  QUIRE_TRY(require_owner(operation));
  const MutexLock lock(mutex_);
  if (torn_) {
    return fail(error_on(Errc::kFailed, operation,
                         "a rollback went only half-way: " + torn_->message(),
                         "call rollback() again"));
  }
  return {};
}

// Runs of OS pages become runs of the journal's, inside of the view.
Result<TrackedState::Job> TrackedState::make_job() {
  std::vector<ByteRange> changes =
      QUIRE_TRY(tracker_->take_changes(round_up(size_bytes_, os_page_)));
  const PageSize unit(journal_->page_bytes());
  const std::uint64_t end_max = round_up(size_bytes_, unit);
  Job job{.size_bytes = size_bytes_};
  {
    const MutexLock lock(mutex_);
    for (const ByteRange& run : merge_runs(changes, owed_)) {
      const std::uint64_t first = round_down(run.offset_bytes, unit);
      const std::uint64_t end = std::min(round_up(end_of(run), unit), end_max);
      if (first < end) {
        append_run(job.runs, {first, end - first});
      }
    }
    owed_.clear();
    job.cut_bytes = std::min(cut_bytes_, size_bytes_);
    job.has_cut = job.cut_bytes < base_bytes_ && job.cut_bytes < size_bytes_;
    job.has_resize = job.has_cut || size_bytes_ != base_bytes_;
    base_bytes_ = cut_bytes_ = size_bytes_;
    stats_.compared_pages = tracker_->compared_pages();
  }
  if (const Result<void> copied = copy_pages(job); !copied) {
    const MutexLock lock(mutex_);
    settle(job, false);
    return fail(copied.error());
  }
  return job;
}

// Copies, since what is written must not change between its checksum and its way to the disk.
Result<void> TrackedState::copy_pages(Job& job) {
  const std::uint64_t needed_bytes = total_bytes(job.runs);
  const std::uint64_t log_bytes = journal_->stats().log_bytes;
  if (needed_bytes >= log_bytes) {
    return fail(error_on(
        Errc::kLimit, "commit",
        fmt::format("{} bytes of changed pages do not fit into the journal's log of {} bytes",
                    needed_bytes, log_bytes),
        "commit more often, or make the journal with a larger JournalOptions::log_bytes"));
  }
  if (needed_bytes == 0) {
    return {};
  }
  job.copies = std::exchange(buffer_, std::nullopt);
  if (!job.copies || job.copies->size_bytes() < needed_bytes) {
    job.copies.emplace(needed_bytes);
  }
  std::byte* next = job.copies->begin();
  const std::uint64_t view_bytes = round_up(size_bytes_, os_page_);
  for (const ByteRange& run : job.runs) {
    // The journal's last page may be larger than what is left of the view.
    const std::uint64_t there = std::min(end_of(run), view_bytes) - run.offset_bytes;
    std::memcpy(next, address() + run.offset_bytes, there);
    std::memset(next + there, 0, run.length_bytes - there);
    if (end_of(run) > size_bytes_) {
      const std::uint64_t kept = size_bytes_ - run.offset_bytes;
      std::memset(next + kept, 0, run.length_bytes - kept);
    }
    job.images.push_back({.offset_bytes = run.offset_bytes, .bytes = {next, run.length_bytes}});
    next += run.length_bytes;
  }
  return {};
}

Result<std::uint64_t> TrackedState::write(const Job& job) {
  JournaledStore& store = journal_->file(0);
  if (job.has_cut) {
    QUIRE_TRY(store.resize(job.cut_bytes));
  }
  FileCommit part{.file = 0, .images = job.images};
  if (job.has_resize) {
    part.size_bytes = job.size_bytes;
  }
  Result<std::uint64_t> number = journal_->commit({&part, 1});
  if (!number && job.has_cut) {
    constexpr std::size_t kFile = 0;
    static_cast<void>(journal_->roll_back({&kFile, 1}));  // If it fails, then for good.
  }
  return number;
}

void TrackedState::settle(const Job& job, bool has_succeeded) {
  if (has_succeeded) {
    committed_bytes_ = job.size_bytes;
    stats_.committed_pages += total_bytes(job.runs) / journal_->page_bytes();
    ++(job.is_empty() ? stats_.empty_commits : stats_.commits);
    return;
  }
  ++failures_;
  ++stats_.failed_commits;
  owe(job);
}

void TrackedState::owe(const Job& job) {
  owed_ = merge_runs(owed_, job.runs);
  base_bytes_ = committed_bytes_;
  cut_bytes_ = std::min(cut_bytes_, job.cut_bytes);
}

Result<CommitReceipt> TrackedState::commit() {
  const MutexLock operation(operation_);
  QUIRE_TRY(require_usable("commit"));
  await_idle();
  Job job = QUIRE_TRY(make_job());
  const Result<std::uint64_t> number = write(job);
  {
    const MutexLock lock(mutex_);
    settle(job, number.has_value());
  }
  if (job.copies && job.copies->size_bytes() <= kKeptBufferBytes) {
    buffer_ = std::move(job.copies);
  }
  if (!number) {
    return fail(number.error());
  }
  const std::uint64_t written_bytes = total_bytes(job.runs);
  undropped_bytes_ += written_bytes;
  drop_if_due();
  return CommitReceipt{.number = *number, .pages = written_bytes / journal_->page_bytes()};
}

Result<Ticket> TrackedState::commit_async() {
  const MutexLock operation(operation_);
  QUIRE_TRY(require_usable("commit_async"));
  if (!thread_.joinable()) {
    try {
      thread_ = std::thread([this] { run_thread(); });
    } catch (const std::system_error& error) {
      return fail(error_on(Errc::kLimit, "commit_async",
                           std::string("no thread can be started: ") + error.what(),
                           "call commit()"));
    }
  }
  Ticket::Source source;
  for (;;) {
    std::uint64_t failures = 0;
    {
      const MutexLock lock(mutex_);
      while (queue_.size() >= TrackedMapping::kAsyncCommitsMax) {
        changed_.wait(mutex_);
      }
      failures = failures_;
    }
    Job job = QUIRE_TRY(make_job());
    job.source = source;
    const MutexLock lock(mutex_);
    if (failures_ == failures) {
      undropped_bytes_ += total_bytes(job.runs);
      queue_.push_back(std::move(job));
      changed_.notify_all();
      return source.ticket();
    }
    owe(job);  // One before it failed meanwhile, and its pages may be missing here.
  }
}

void TrackedState::await_idle() {
  const MutexLock lock(mutex_);
  while (!queue_.empty()) {
    changed_.wait(mutex_);
  }
}

void TrackedState::run_thread() {
  sys::name_this_thread("quire-commit");
  const MutexLock lock(mutex_);
  for (;;) {
    while (queue_.empty() && !is_stopping_) {
      changed_.wait(mutex_);
    }
    if (is_stopping_) {
      return;
    }
    const Job& job = queue_.front();  // Stays where it is: only this thread takes it out.
    mutex_.unlock();
    const Result<std::uint64_t> number = write(job);
    mutex_.lock();
    if (number) {
      finish_first({});
    } else {
      // What comes after it was made in the belief that this one would succeed.
      while (!queue_.empty()) {
        finish_first(fail(number.error()));
      }
    }
    changed_.notify_all();
  }
}

void TrackedState::finish_first(const Result<void>& outcome) {
  settle(queue_.front(), outcome.has_value());
  queue_.front().source->resolve(outcome);
  queue_.pop_front();
}

// The commit itself is durable, so what keeps this from happening is only counted.
void TrackedState::drop_if_due() {
  if (undropped_bytes_ <= drop_past_bytes_) {
    return;
  }
  const Result<void> dropped = drop();
  const MutexLock lock(mutex_);
  ++(dropped ? stats_.drops : stats_.put_off_drops);
}

Result<void> TrackedState::drop() {
  QUIRE_TRY(journal_->checkpoint());
  if (!is_file_up_to_date()) {
    return fail(error_on(Errc::kLimit, "commit", "a snapshot keeps commits from the file"));
  }
  const ByteRange pages{0, round_up(size_bytes_, os_page_)};
  if (pages.length_bytes > 0) {
    const auto mapped = sys::map_pages({.length_bytes = pages.length_bytes,
                                        .protection = sys::Protection::kReadWrite,
                                        .visibility = sys::Visibility::kPrivate,
                                        .fd = file_.get(),
                                        .fixed_address = address(),
                                        .no_reserve = true});
    if (!mapped) {
      return fail(sys::to_error(mapped.error(), "map", path_));
    }
  }
  file_pages_bytes_ = pages.length_bytes;
  undropped_bytes_ = 0;
  tracker_->forget_from(0);
  tracker_->watch(pages);
  return {};
}

}  // namespace quire::internal
