// SPDX-License-Identifier: Apache-2.0
#include "quire/journal/journal.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "quire/base/page_window.h"
#include "quire/io/records.h"
#include "quire/journal/internal/journal_state.h"

namespace quire {
namespace {

constexpr std::uint64_t kZeroBytes = 1024 * 1024;

Error impossible(const Store& log, std::string cause) {
  return Error({.code = std::make_error_code(std::errc::invalid_argument),
                .operation = "make journal",
                .subject = log.name(),
                .cause = std::move(cause)});
}

// Written, not only reserved: the first round then costs what every other does.
Result<void> write_zeros(Store& log, std::uint64_t size_bytes) {
  const internal::RecordBuffer zeros(kZeroBytes);
  std::fill_n(zeros.begin(), kZeroBytes, std::byte{0});
  for (std::uint64_t at = 0; at < size_bytes; at += kZeroBytes) {
    const std::uint64_t step = std::min(kZeroBytes, size_bytes - at);
    QUIRE_TRY(log.write(at, std::span<const std::byte>(zeros.begin(), step)));
  }
  return {};
}

}  // namespace

Result<void> Journal::format(Store& log, const JournalUuid& uuid, const JournalOptions& options) {
  if (!std::has_single_bit(options.page_bytes) || options.page_bytes < internal::kBlockBytes ||
      options.page_bytes > kJournalPageBytesMax) {
    return fail(impossible(log, "a page size is a power of two from 4096 to 65536"));
  }
  const std::uint64_t log_bytes = round_up(options.log_bytes, PageSize(options.page_bytes));
  if (log_bytes < std::max(kLogBytesMin, kLogPagesMin * options.page_bytes) ||
      log_bytes > kFileOffsetMax - internal::kCircleOffsetBytes) {
    return fail(impossible(log, "a log has at least 64 KiB and 16 pages"));
  }
  const std::uint64_t size_bytes = internal::kCircleOffsetBytes + log_bytes;
  if (const Result<void> allocated = log.allocate({0, size_bytes});
      !allocated && allocated.error().code() != Errc::kUnsupported) {
    return allocated;
  }
  QUIRE_TRY(write_zeros(log, size_bytes));
  internal::Superblock superblock{.uuid = uuid,
                                  .page_bytes = options.page_bytes,
                                  .log_bytes = log_bytes,
                                  .generation = 0,
                                  .epoch = 1,
                                  .tail_position_bytes = 0,
                                  .tail_lsn = 1,
                                  .tail_commit = 0,
                                  .is_clean = true,
                                  .files = {}};
  const internal::RecordBuffer memory(internal::kSlotBytes);
  const std::span<std::byte> slot(memory.begin(), internal::kSlotBytes);
  for (int i = 0; i < 2; ++i) {
    ++superblock.generation;
    internal::encode_superblock(superblock, slot);
    QUIRE_TRY(log.write(superblock.generation % 2 * internal::kSlotBytes, slot));
  }
  return log.sync(Durability::kAll);
}

Result<std::unique_ptr<Journal>> Journal::open(JournalParts parts, const JournalOptions& options) {
  auto state = QUIRE_TRY(internal::JournalState::open(std::move(parts), options));
  return std::unique_ptr<Journal>(new Journal(std::move(state)));
}

Journal::Journal(std::shared_ptr<internal::JournalState> state) : state_(std::move(state)) {}

// A snapshot may keep the state for longer, but not the threads.
Journal::~Journal() {
  state_->stop_threads();
}

std::size_t Journal::file_count() const {
  return state_->file_count();
}

JournaledStore& Journal::file(std::size_t number) {
  return state_->store(number);
}

Result<std::size_t> Journal::add_file(JournalFile file) {
  return state_->add_file(std::move(file));
}

Result<std::uint64_t> Journal::commit(std::span<const FileCommit> files) {
  return state_->append(files, internal::Append::kCommit);
}

std::vector<FileCommit> Journal::whole() const {
  std::vector<FileCommit> files(file_count());
  for (std::size_t i = 0; i < files.size(); ++i) {
    files[i].file = i;
  }
  return files;
}

Result<std::uint64_t> Journal::commit() {
  return commit(whole());
}

Result<Ticket> Journal::commit_async(std::span<const FileCommit> files) {
  return state_->append_async(files);
}

Result<Ticket> Journal::commit_async() {
  return commit_async(whole());
}

Result<void> Journal::stage(std::span<const FileCommit> files) {
  QUIRE_TRY(state_->append(files, internal::Append::kUncommitted));
  return {};
}

Result<void> Journal::rollback(std::span<const std::size_t> files) {
  return state_->rollback(files);
}

JournalSnapshot Journal::snapshot() {
  return {state_, state_->pin_snapshot()};
}

Result<void> Journal::checkpoint() {
  return state_->checkpoint();
}

Result<void> Journal::close() {
  return state_->close();
}

std::uint64_t Journal::page_bytes() const {
  return state_->page_bytes();
}

JournalStats Journal::stats() const {
  return state_->stats();
}

std::string Journal::explain() const {
  return state_->explain();
}

void Journal::check_invariants() const {
  state_->check_invariants();
}

JournalSnapshot::JournalSnapshot(std::shared_ptr<internal::JournalState> state,
                                 std::uint64_t commit)
    : state_(std::move(state)), commit_(commit) {}

JournalSnapshot::JournalSnapshot(JournalSnapshot&& other) noexcept = default;

JournalSnapshot& JournalSnapshot::operator=(JournalSnapshot&& other) noexcept {
  std::swap(state_, other.state_);  // What was held here goes with the other one.
  std::swap(commit_, other.commit_);
  return *this;
}

JournalSnapshot::~JournalSnapshot() {
  if (state_) {
    state_->unpin_snapshot(commit_);
  }
}

std::uint64_t JournalSnapshot::size_bytes(std::size_t file) const {
  return state_->size_bytes(file, commit_);
}

Result<std::uint64_t> JournalSnapshot::read(std::size_t file, std::uint64_t offset_bytes,
                                            std::span<std::byte> into) const {
  return state_->read(file, commit_, offset_bytes, {&into, 1});
}

}  // namespace quire
