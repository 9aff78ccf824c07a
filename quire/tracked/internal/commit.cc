// SPDX-License-Identifier: Apache-2.0
//
// Commits: changed pages become a Job, and Jobs are written to the journal in order; those that
// wait together, together.
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
// Of Jobs that are written as one: more would only make the first ones wait.
constexpr std::uint64_t kJoinedBytesMax = 4 << 20;

std::uint64_t total_bytes(const std::vector<ByteRange>& runs) {
  std::uint64_t total = 0;
  for (const ByteRange& run : runs) {
    total += run.length_bytes;
  }
  return total;
}

}  // namespace

class TrackedState::CutPoint {
 public:
  explicit CutPoint(UpdateGate& gate) noexcept : gate_(&gate) {
    gate_->begin_shut();
    gate_->await_empty();
  }
  ~CutPoint() { end(); }
  CutPoint(const CutPoint&) = delete;
  CutPoint& operator=(const CutPoint&) = delete;

  void end() noexcept {
    if (gate_ != nullptr) {
      std::exchange(gate_, nullptr)->open();
    }
  }

 private:
  UpdateGate* gate_;
};

bool TrackedState::is_forked_child() const noexcept {
  return sys::process_id() != process_id_;
}

Result<void> TrackedState::require_owner(const char* operation) const {
  if (is_forked_child()) {
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
Result<TrackedState::Job> TrackedState::make_job(Pages pages) {
  Job job;
  {
    const MutexLock lock(mutex_);
    job.take = ++takes_begun_;
    job.arrivals = pages == Pages::kNamed ? std::exchange(arrivals_, 0) : 0;
  }
  std::vector<ByteRange> changes =
      QUIRE_TRY(tracker_->take_changes(round_up(size_bytes_, os_page_)));
  const PageSize unit(journal_->page_bytes());
  const std::uint64_t end_max = round_up(size_bytes_, unit);
  job.size_bytes = size_bytes_;
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
  if (const Result<void> fits = check_room(job); !fits) {
    const MutexLock lock(mutex_);
    settle(job, false);
    return fail(fits.error());
  }
  // Copied, they are safe from the next updates; so many that the copies would be dear are not.
  const bool is_for_updates = has_updates_.load() && drop_past_bytes_ == kToEnd &&
                              total_bytes(job.runs) <= TrackedMapping::kCopiedBytesMax;
  pages == Pages::kCopied || is_for_updates ? copy_pages(job) : name_pages(job);
  return job;
}

Result<void> TrackedState::check_room(const Job& job) const {
  const std::uint64_t needed_bytes = total_bytes(job.runs);
  const std::uint64_t log_bytes = journal_->stats().log_bytes;
  if (needed_bytes < log_bytes) {
    return {};
  }
  return fail(error_on(
      Errc::kLimit, "commit",
      fmt::format("{} bytes of changed pages do not fit into the journal's log of {} bytes",
                  needed_bytes, log_bytes),
      "commit more often, or make the journal with a larger JournalOptions::log_bytes"));
}

// As they are to be in the file: zeros past its end, up to that of the journal's page.
void TrackedState::copy_run(ByteRange run, std::byte* into) const {
  const std::uint64_t kept_bytes = std::min(end_of(run), size_bytes_) - run.offset_bytes;
  std::memcpy(into, address() + run.offset_bytes, kept_bytes);
  std::memset(into + kept_bytes, 0, run.length_bytes - kept_bytes);
}

void TrackedState::copy_pages(Job& job) {
  const std::uint64_t needed_bytes = total_bytes(job.runs);
  if (needed_bytes == 0) {
    return;
  }
  {
    const MutexLock lock(mutex_);
    job.copies = std::exchange(buffer_, std::nullopt);
  }
  if (!job.copies || job.copies->size_bytes() < needed_bytes) {
    job.copies.emplace(needed_bytes);
  }
  std::byte* next = job.copies->begin();
  for (const ByteRange& run : job.runs) {
    copy_run(run, next);
    job.images.push_back({.offset_bytes = run.offset_bytes, .bytes = {next, run.length_bytes}});
    next += run.length_bytes;
  }
}

// Of the journal's last page the view may have only a part: that one is copied.
void TrackedState::name_pages(Job& job) {
  const PageSize unit(journal_->page_bytes());
  const std::uint64_t whole_bytes = round_down(size_bytes_, unit);
  job.memory = ImageMemory::kChanging;
  for (const ByteRange& run : job.runs) {
    if (const ByteRange whole = intersect(run, {0, whole_bytes}); whole.length_bytes > 0) {
      job.images.push_back({.offset_bytes = whole.offset_bytes,
                            .bytes = {address() + whole.offset_bytes, whole.length_bytes}});
    }
    if (end_of(run) > whole_bytes) {
      job.copies.emplace(unit.bytes());
      const std::span<std::byte> copy(job.copies->begin(), unit.bytes());
      copy_run({whole_bytes, copy.size()}, copy.data());
      job.images.push_back({.offset_bytes = whole_bytes, .bytes = copy});
    }
  }
}

Result<std::uint64_t> TrackedState::write(const Job& job) {
  JournaledStore& store = journal_->file(0);
  if (job.has_cut) {
    QUIRE_TRY(store.resize(job.cut_bytes));
  }
  FileCommit part{.file = 0, .images = job.images, .memory = job.memory};
  if (job.has_resize) {
    part.size_bytes = job.size_bytes;
  }
  Result<std::uint64_t> number = journal_->commit({&part, 1});
  if (!number && job.has_cut) {
    constexpr std::size_t kFile = 0;
    static_cast<void>(journal_->rollback({&kFile, 1}));  // If it fails, then for good.
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

// Whoever waits for another one's commit finds that the next take had his stores, too.
Result<CommitReceipt> TrackedState::commit() {
  QUIRE_TRY(require_owner("commit"));
  {
    const MutexLock lock(mutex_);
    const std::uint64_t takes_before = takes_begun_;
    ++arrivals_;
    ++followers_;
    while (has_leader_ && last_take_ <= takes_before) {
      changed_.wait(mutex_);
    }
    --followers_;
    if (last_take_ > takes_before) {
      ++stats_.shared_commits;
      return last_receipt_;
    }
    has_leader_ = true;
  }
  Result<CommitReceipt> receipt = lead();
  const MutexLock lock(mutex_);
  has_leader_ = false;
  changed_.notify_all();
  return receipt;
}

Result<CommitReceipt> TrackedState::lead() {
  const MutexLock operation(operation_);
  QUIRE_TRY(require_usable("commit"));
  await_idle();
  await_company();
  return commit_here();
}

void TrackedState::await_company() {
  const MutexLock lock(mutex_);
  for (const auto since = Company::Clock::now(); company_.is_expected(arrivals_, since);) {
    mutex_.unlock();
    std::this_thread::yield();
    mutex_.lock();
  }
}

Result<CommitReceipt> TrackedState::commit_here() {
  CutPoint cut(updates_);
  const auto begun = Company::Clock::now();
  Job job = QUIRE_TRY(make_job(Pages::kNamed));
  if (job.memory == ImageMemory::kStill) {
    cut.end();
  }
  const Result<std::uint64_t> number = write(job);
  const std::uint64_t written_bytes = total_bytes(job.runs);
  CommitReceipt receipt;
  {
    const MutexLock lock(mutex_);
    settle(job, number.has_value());
    keep_copies(job);
    if (!number) {
      return fail(number.error());
    }
    company_.note(job.arrivals, Company::Clock::now() - begun);
    last_take_ = job.take;
    receipt = {.number = *number, .pages = written_bytes / journal_->page_bytes()};
    last_receipt_ = receipt;
  }
  undropped_bytes_ += written_bytes;
  drop_if_due();
  return receipt;
}

Result<Ticket> TrackedState::commit_async() {
  QUIRE_TRY(require_owner("commit_async"));
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
    CutPoint cut(updates_);
    Job job = QUIRE_TRY(make_job(Pages::kCopied));
    cut.end();
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
    const std::size_t count = count_joined();
    const Job joined = join(count);
    mutex_.unlock();
    const Result<std::uint64_t> number = write(joined);
    mutex_.lock();
    if (number) {
      for (std::size_t i = 0; i < count; ++i) {
        finish_first({});
      }
    } else {
      // What comes after it was made in the belief that this one would succeed.
      while (!queue_.empty()) {
        finish_first(fail(number.error()));
      }
    }
    changed_.notify_all();
  }
}

// The first, and those behind it that leave the size alone.
std::size_t TrackedState::count_joined() const {
  std::size_t count = 1;
  std::uint64_t bytes = total_bytes(queue_.front().runs);
  while (count < queue_.size() && !queue_[count].has_resize) {
    bytes += total_bytes(queue_[count].runs);
    if (bytes > kJoinedBytesMax) {
      break;
    }
    ++count;
  }
  return count;
}

// One Job that does what they do, with their copies, which stay where they are: only the thread
// takes Jobs out.
TrackedState::Job TrackedState::join(std::size_t count) const {
  const Job& first = queue_.front();
  Job joined{.size_bytes = first.size_bytes,
             .cut_bytes = first.cut_bytes,
             .has_resize = first.has_resize,
             .has_cut = first.has_cut};
  for (std::size_t i = 0; i < count; ++i) {
    joined.images.insert(joined.images.end(), queue_[i].images.begin(), queue_[i].images.end());
  }
  return joined;
}

void TrackedState::finish_first(const Result<void>& outcome) {
  Job& job = queue_.front();
  settle(job, outcome.has_value());
  keep_copies(job);
  job.source->resolve(outcome);
  queue_.pop_front();
}

void TrackedState::keep_copies(Job& job) {
  if (job.copies && job.copies->size_bytes() <= kKeptBufferBytes) {
    buffer_ = std::move(job.copies);
  }
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
  watch(pages);
  return {};
}

}  // namespace quire::internal
