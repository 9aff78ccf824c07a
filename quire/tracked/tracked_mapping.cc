// SPDX-License-Identifier: Apache-2.0
#include "quire/tracked/tracked_mapping.h"

#include <cerrno>
#include <utility>

#include "quire/base/page_window.h"
#include "quire/journal/journal_file.h"
#include "quire/journal/journal_report.h"
#include "quire/map/writable_mapping.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/journal_mark.h"
#include "quire/sys/metadata.h"
#include "quire/tracked/internal/tracked_state.h"

namespace quire {
namespace {

Error closed(const char* operation) {
  return make_error(Errc::kClosed, operation, "a tracked mapping", "it was closed or moved from");
}

Result<void> check_path(const std::string& path) {
  if (sys::path_has_nul(path)) {
    return fail(Error({.code = std::make_error_code(std::errc::invalid_argument),
                       .operation = "map",
                       .subject = path.c_str(),
                       .cause = "the path holds a NUL"}));
  }
  return {};
}

// Whether the file says that it needs a journal, which is not there.
Result<void> require_no_mark(const std::string& path, const std::string& journal_path) {
  const auto file = sys::open_file(path.c_str(), {});
  if (!file) {
    return fail(sys::to_error(file.error(), "map", path));
  }
  if (!sys::has_journal_mark(file->get())) {
    return {};
  }
  return fail(Error({.code = std::make_error_code(std::errc::no_such_file_or_directory),
                     .operation = "map",
                     .subject = path,
                     .cause = "it needs its journal, which may have its last commits, and " +
                              journal_path + " is not there",
                     .remedy = "bring the journal back, or name it"}));
}

// Whether the file says that it needs no journal, even if there is one.
bool is_without_mark(const std::string& path) {
  const auto file = sys::open_file(path.c_str(), {});
  if (!file) {
    return false;
  }
  const auto mark = sys::attribute(file->get(), sys::kJournalAttribute);
  return !mark && mark.error().value == ENODATA;
}

Result<void> recover(const std::string& path, const std::string& journal_path) {
  auto journal = open_journal({path}, {.path = journal_path});
  Result<void> outcome = journal ? (*journal)->close() : Result<void>(fail(journal.error()));
  if (!outcome && (outcome.error().code() == std::errc::read_only_file_system ||
                   outcome.error().code() == std::errc::permission_denied)) {
    return fail(make_error(Errc::kReadOnly, "map", path,
                           "its last commits are in its journal and cannot be brought to it: " +
                               outcome.error().message(),
                           "open it once where both can be written, or copy both"));
  }
  return outcome;
}

}  // namespace

Result<Mapping> TrackedSnapshot::copy() const {
  WritableMapping memory =
      QUIRE_TRY(map_anonymous({.size_bytes = size_bytes(), .reserve_bytes = 0}));
  QUIRE_TRY(read(0, memory.bytes()));
  return Mapping(std::move(memory));
}

TrackedMapping::TrackedMapping(std::unique_ptr<internal::TrackedState> state) noexcept
    : state_(std::move(state)) {
  look_again();
}

TrackedMapping::TrackedMapping(TrackedMapping&& other) noexcept : state_(std::move(other.state_)) {
  look_again();
  other.look_again();
}

TrackedMapping& TrackedMapping::operator=(TrackedMapping&& other) noexcept {
  if (this != &other) {
    state_ = std::move(other.state_);
    look_again();
    other.look_again();
  }
  return *this;
}

TrackedMapping::~TrackedMapping() = default;

void TrackedMapping::look_again() noexcept {
  first_ = state_ ? state_->address() : nullptr;
  size_bytes_ = state_ ? state_->size_bytes() : 0;
}

Result<void> TrackedMapping::require_open(const char* operation) const {
  if (!state_) {
    return fail(closed(operation));
  }
  return {};
}

Result<void> TrackedMapping::require_outside_updates(const char* operation) const {
  QUIRE_TRY(require_open(operation));
  return UpdateGate::require_outside(operation, path());
}

const std::string& TrackedMapping::path() const noexcept {
  static const std::string none;
  return state_ ? state_->path() : none;
}

Result<std::span<std::byte>> TrackedMapping::bytes(ByteRange range) {
  QUIRE_TRY(require_open("bytes"));
  const ByteRange found =
      QUIRE_TRY(resolve_range(range, size_bytes_).map_error([&](const Error& error) {
        return error.about("bytes", path() + ", " + describe(range));
      }));
  return bytes().subspan(found.offset_bytes, found.length_bytes);
}

Result<std::span<const std::byte>> TrackedMapping::bytes(ByteRange range) const {
  return std::span<const std::byte>(QUIRE_TRY(const_cast<TrackedMapping*>(this)->bytes(range)));
}

Update TrackedMapping::begin_update() noexcept {
  return Update(state_ ? state_->updates() : nullptr);
}

Result<CommitReceipt> TrackedMapping::commit() {
  QUIRE_TRY(require_outside_updates("commit"));
  return state_->commit();
}

Result<Ticket> TrackedMapping::commit_async() {
  QUIRE_TRY(require_outside_updates("commit_async"));
  return state_->commit_async();
}

Result<void> TrackedMapping::flush(ByteRange range, Durability durability) {
  QUIRE_TRY(bytes(range));
  if (durability == Durability::kStarted) {
    return fail(make_error(Errc::kUnsupported, "flush", path(), "half a commit does not exist",
                           "use commit_async()"));
  }
  QUIRE_TRY(commit());
  return {};
}

Result<void> TrackedMapping::rollback() {
  QUIRE_TRY(require_outside_updates("rollback"));
  const Result<void> outcome = state_->rollback();
  look_again();
  return outcome;
}

Result<TrackedSnapshot> TrackedMapping::snapshot() const {
  QUIRE_TRY(require_open("snapshot"));
  return TrackedSnapshot(state_->journal().snapshot());
}

Result<void> TrackedMapping::checkpoint() {
  QUIRE_TRY(require_open("checkpoint"));
  return state_->checkpoint();
}

Result<void> TrackedMapping::resize(std::uint64_t size_bytes) {
  QUIRE_TRY(require_outside_updates("resize"));
  const Result<void> outcome = state_->resize(size_bytes);
  look_again();
  return outcome;
}

Result<void> TrackedMapping::check() const {
  QUIRE_TRY(require_open("check"));
  return state_->check();
}

Result<TrackedResidency> TrackedMapping::resident(ByteRange range) const {
  QUIRE_TRY(require_open("resident"));
  return state_->resident(range);
}

TrackedStats TrackedMapping::stats() const {
  return state_ ? state_->stats() : TrackedStats{};
}

std::string TrackedMapping::explain() const {
  return state_ ? state_->explain() : "closed";
}

Result<void> TrackedMapping::close() {
  QUIRE_TRY(require_outside_updates("close"));
  const Result<void> outcome = state_->close();
  state_.reset();
  look_again();
  return outcome;
}

Result<TrackedMapping> map(PathArgument path, const TrackedOptions& options) {
  QUIRE_TRY(check_path(path.text()));
  return TrackedMapping(QUIRE_TRY(internal::TrackedState::open(path.take(), options)));
}

Result<Mapping> map(PathArgument path, const CommittedOptions& options) {
  QUIRE_TRY(check_path(path.text()));
  const std::string journal_path =
      options.journal_path.empty() ? journal_path_of(path.text()) : options.journal_path;
  const auto status = sys::path_status(journal_path.c_str(), false);
  if (!status && status.error().value == ENOENT) {
    QUIRE_TRY(require_no_mark(path.text(), journal_path));
  } else if (const auto report = inspect_journal(journal_path, JournalCheck::kHeaders);
             !report || !report->is_clean) {
    // Who may read the file may not be allowed to read a journal that it shares with others.
    const bool is_locked_away = !report && report.error().code() == std::errc::permission_denied;
    if (!is_locked_away || !is_without_mark(path.text())) {
      QUIRE_TRY(recover(path.text(), journal_path));
    }
  }
  return map(std::move(path));
}

}  // namespace quire
