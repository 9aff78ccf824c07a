// SPDX-License-Identifier: Apache-2.0
#include "quire/journal/internal/journal_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <system_error>
#include <utility>

#include "quire/base/page_window.h"
#include "quire/sys/limits.h"
#include "quire/sys/process.h"
#include "quire/sys/signals.h"

namespace quire::internal {
namespace {

// A commit of up to 255 pages of 4 KiB is copied together and written in one piece.
constexpr std::size_t kStageBytes = 1024 * 1024;

// Of the memory that can be had, what opening takes for images at most, and where that is not
// known.
constexpr std::uint64_t kRecoveryMemoryShare = 4;
constexpr std::uint64_t kRecoveryMemoryBytesUnknown = 64_MiB;

// Of what is kept while the journal is open: nobody is told of its progress any more.
JournalOptions without_watch(JournalOptions options) {
  options.recovery_watch = {};
  return options;
}

}  // namespace

JournalState::JournalState(JournalParts parts, const JournalOptions& options, Superblock superblock)
    : options_(without_watch(options)),
      log_(std::move(parts.log)),
      durable_log_(std::move(parts.durable_log)),
      guard_(std::move(parts.guard)),
      page_bytes_(superblock.page_bytes),
      log_bytes_(superblock.log_bytes),
      uuid_(superblock.uuid),
      superblock_(std::move(superblock)),
      checkpoint_room_bytes_(log_bytes_ / 2),
      stage_(kStageBytes),
      log_writer_(*log_, page_bytes_) {
  const MutexLock lock(mutex_);
  for (JournalFile& file : parts.files) {
    files_.push_back({.file = std::move(file), .index = nullptr, .store = nullptr});
  }
}

JournalState::~JournalState() {
  stop_threads();
}

Result<std::shared_ptr<JournalState>> JournalState::open(JournalParts parts,
                                                         const JournalOptions& options) {
  WorkMeter meter(options.recovery_watch, "open journal", parts.log->name());
  Superblock superblock = QUIRE_TRY(read_superblock(*parts.log, meter));
  if (superblock.page_bytes != options.page_bytes) {
    return fail(Error({.code = std::make_error_code(std::errc::invalid_argument),
                       .operation = "open journal",
                       .subject = parts.log->name(),
                       .cause = fmt::format("its pages have {} bytes, not {}",
                                            superblock.page_bytes, options.page_bytes),
                       .remedy = "ask for the page size that it was made with"}));
  }
  if (parts.files.size() > kJournalFilesMax) {
    return fail(make_error(Errc::kLimit, "open journal", parts.log->name(),
                           fmt::format("it can have {} files", kJournalFilesMax)));
  }
  std::shared_ptr<JournalState> state(
      new JournalState(std::move(parts), options, std::move(superblock)));
  QUIRE_TRY(state->recover(meter));
  state->start_thread();
  return state;
}

// What there are changes for must be the files that they were made to.
Result<void> JournalState::check_files() const {
  const auto refuse = [this](const SuperblockFile& known, const char* what) {
    return fail(make_error(
        Errc::kChanged, "open journal", log_->name(),
        fmt::format("it has changes for {}, {}", known.name.empty() ? "a file" : known.name, what),
        "open it with the files that belong to it, in their order"));
  };
  if (superblock_.is_clean) {
    return {};
  }
  for (std::size_t i = 0; i < superblock_.files.size(); ++i) {
    if (i >= files_.size()) {
      return refuse(superblock_.files[i], "which is not among the files");
    }
    if (files_[i].file.identity != superblock_.files[i].identity) {
      return refuse(superblock_.files[i], "which is another file now");
    }
  }
  return {};
}

Result<void> JournalState::recover(WorkMeter& meter) {
  const MutexLock lock(mutex_);
  QUIRE_TRY(check_files());
  const Replay replay = QUIRE_TRY(Replay::read(*log_, superblock_, Verification::kImages, meter));
  Superblock next = superblock_;
  if (!superblock_.is_clean) {
    std::vector<Store*> stores;
    for (std::size_t i = 0; i < superblock_.files.size(); ++i) {
      stores.push_back(files_[i].file.store.get());
    }
    const RecoveryCounts counts =
        QUIRE_TRY(replay.apply(*log_, stores, recovery_memory_bytes(), meter));
    stats_.recovered_commits = counts.commits;
    stats_.recovered_pages = counts.pages;
  }
  last_commit_ = replay.last_commit();
  checkpointed_commit_ = last_commit_;
  space_ = std::make_unique<LogSpace>(log_bytes_, page_bytes_, replay.next_lsn(), 0);
  durable_lsn_ = replay.next_lsn() - 1;
  epoch_ = ++next.epoch;
  next.tail_position_bytes = 0;
  next.tail_lsn = replay.next_lsn();
  next.tail_commit = last_commit_;
  next.is_clean = false;
  next.files.clear();
  std::deque<File> files = std::exchange(files_, {});
  for (File& file : files) {
    next.files.push_back({.identity = file.file.identity,
                          .size_bytes = QUIRE_TRY(file.file.store->size_bytes()),
                          .name = file.file.name});
    if (guard_) {
      QUIRE_TRY(guard_->enter_file(*file.file.store, files_.size()));
    }
    add_index(std::move(file.file));
    files_.back().index =
        std::make_unique<PageIndex>(page_bytes_, next.files.back().size_bytes, *space_);
  }
  return write_superblock(next);
}

// Memory for all images at once makes opening fastest; what there is of it bounds that.
std::uint64_t JournalState::recovery_memory_bytes() const {
  if (options_.recovery_memory_bytes) {
    return *options_.recovery_memory_bytes;
  }
  const std::optional<std::uint64_t> obtainable = sys::obtainable_bytes(sys::memory_limits());
  return obtainable ? *obtainable / kRecoveryMemoryShare : kRecoveryMemoryBytesUnknown;
}

void JournalState::add_index(JournalFile file) {
  files_.push_back({.file = std::move(file),
                    .index = nullptr,
                    .store = std::make_unique<JournaledStore>(*this, files_.size()),
                    .transaction = next_transaction_++});
}

Result<std::size_t> JournalState::add_file(JournalFile file) {
  const std::uint64_t size_bytes = QUIRE_TRY(file.store->size_bytes());
  const MutexLock lock(mutex_);
  while (is_checkpointing_ || is_writing_) {
    changed_.wait(mutex_);
  }
  QUIRE_TRY(require_usable_locked("add file"));
  if (files_.size() >= kJournalFilesMax) {
    return fail(make_error(Errc::kLimit, "add file", file.name,
                           fmt::format("a journal can have {} files", kJournalFilesMax),
                           "open another journal"));
  }
  if (guard_) {
    QUIRE_TRY(guard_->enter_file(*file.store, files_.size()));
  }
  Superblock next = superblock_;
  next.files.push_back({.identity = file.identity, .size_bytes = size_bytes, .name = file.name});
  if (const Result<void> written = write_superblock(next); !written) {
    stick(written.error());
    return fail(written.error());
  }
  add_index(std::move(file));
  files_.back().index = std::make_unique<PageIndex>(page_bytes_, size_bytes, *space_);
  return files_.size() - 1;
}

Result<void> JournalState::write_superblock(Superblock& superblock) {
  ++superblock.generation;
  const RecordBuffer memory(kSlotBytes);
  const std::span<std::byte> slot(memory.begin(), kSlotBytes);
  encode_superblock(superblock, slot);
  QUIRE_TRY(write_durably(superblock.generation % 2 * kSlotBytes, slot));
  superblock_ = superblock;
  return {};
}

Result<void> JournalState::write_durably(std::uint64_t offset_bytes,
                                         std::span<const std::byte> bytes) {
  if (durable_log_) {
    return durable_log_->write(offset_bytes, bytes);
  }
  QUIRE_TRY(log_->write(offset_bytes, bytes));
  return log_->sync(Durability::kData);
}

void JournalState::start_thread() {
  if (options_.checkpointing == Checkpointing::kBackground) {
    thread_ = std::thread([this] { run_thread(); });
  }
}

void JournalState::run_thread() {
  // An application's handler that runs here, under the mutex, could touch a page that only a reader
  // of the journal can bring.
  sys::block_signals_in_this_thread();
  sys::name_this_thread("quire-journal");
  const MutexLock lock(mutex_);
  while (true) {
    while (!is_stopping_ && !is_checkpoint_wanted_) {
      wake_thread_.wait(mutex_);
    }
    if (is_stopping_) {
      return;
    }
    is_checkpoint_wanted_ = false;
    // An error sticks, or is told by the commit that finds the log full.
    static_cast<void>(checkpoint_locked());
  }
}

void JournalState::stop_threads() {
  {
    const MutexLock lock(mutex_);
    is_stopping_ = true;
    wake_thread_.notify_all();
    changed_.notify_all();
  }
  for (std::thread* const thread : {&thread_, &committer_}) {
    if (thread->joinable()) {
      thread->join();
    }
  }
  const MutexLock lock(mutex_);
  std::erase_if(queue_, [](const Request* request) { return request->source.has_value(); });
  async_.clear();
}

Result<void> JournalState::close() {
  {
    const MutexLock lock(mutex_);
    while (!async_.empty()) {
      changed_.wait(mutex_);
    }
  }
  stop_threads();
  const MutexLock lock(mutex_);
  QUIRE_TRY(require_usable_locked("close"));
  for (File& file : files_) {
    file.index->rollback();
  }
  views_.clear();
  is_closed_ = true;
  QUIRE_TRY(checkpoint_to(last_commit_));
  Superblock next = superblock_;
  next.is_clean = true;
  QUIRE_TRY(write_superblock(next));
  return guard_ ? guard_->leave_clean() : Result<void>();
}

std::size_t JournalState::file_count() const {
  const MutexLock lock(mutex_);
  return files_.size();
}

JournaledStore& JournalState::store(std::size_t file) {
  const MutexLock lock(mutex_);
  QUIRE_CHECK_LT(file, files_.size());
  return *files_[file].store;
}

Store& JournalState::file_store(std::size_t file) const {
  const MutexLock lock(mutex_);
  return *files_[file].file.store;
}

const std::string& JournalState::file_name(std::size_t file) const {
  const MutexLock lock(mutex_);
  return files_[file].file.store->name();
}

Result<void> JournalState::require_usable(const char* operation) const {
  const MutexLock lock(mutex_);
  return require_usable_locked(operation);
}

Result<void> JournalState::require_usable_locked(const char* operation) const {
  if (is_closed_) {
    return fail(make_error(Errc::kClosed, operation, log_->name()));
  }
  if (sticky_) {
    return fail(make_error(Errc::kFailed, operation, log_->name(),
                           "an earlier error is still in force: " + sticky_->message(),
                           "open the journal again: every acknowledged commit is in it"));
  }
  return {};
}

void JournalState::stick(const Error& error) {
  if (!sticky_) {
    sticky_ = error;
  }
  changed_.notify_all();
}

JournalStats JournalState::stats() const {
  const MutexLock lock(mutex_);
  JournalStats stats = stats_;
  stats.last_commit = last_commit_;
  stats.checkpointed_commit = checkpointed_commit_;
  stats.used_bytes = space_->used_bytes();
  stats.log_bytes = log_bytes_;
  stats.snapshots = views_.size();
  stats.waiting = queue_.size();
  for (const File& file : files_) {
    stats.index_bytes += file.index->version_count() * PageIndex::bytes_per_page();
  }
  return stats;
}

std::string JournalState::explain() const {
  const MutexLock lock(mutex_);
  std::string text = fmt::format("{}: {} of log, pages of {} bytes, {} file{}; commit {}",
                                 log_->name(), human_bytes(log_bytes_), page_bytes_, files_.size(),
                                 files_.size() == 1 ? "" : "s", last_commit_);
  text +=
      fmt::format("; commits by {}", durable_log_ ? "one durable write" : "a write and a flush");
  if (stats_.recovered_commits > 0) {
    text += fmt::format("; recovered {} commits, {} pages", stats_.recovered_commits,
                        stats_.recovered_pages);
  }
  if (const std::string remark = guard_ ? guard_->explain() : ""; !remark.empty()) {
    text += "; " + remark;
  }
  if (full_disk_) {
    text += "; the last checkpoint failed: " + full_disk_->message();
  }
  if (sticky_) {
    text += "; failed: " + sticky_->message();
  }
  return text;
}

void JournalState::check_invariants() const {
  const MutexLock lock(mutex_);
  space_->check_invariants();
  QUIRE_CHECK_LE(checkpointed_commit_, last_commit_);
  QUIRE_CHECK_LT(durable_lsn_, space_->next_lsn());
  QUIRE_CHECK(views_.empty() || *views_.rbegin() <= last_commit_);
  for (const File& file : files_) {
    file.index->check_invariants();
  }
}

}  // namespace quire::internal
