// SPDX-License-Identifier: Apache-2.0
//
// WritableMapping's durability: flush, flush_async, and the error that sticks.
#include <fmt/format.h>

#include <memory>
#include <utility>

#include "quire/base/page_window.h"
#include "quire/map/internal/background.h"
#include "quire/map/internal/flush_state.h"
#include "quire/map/writable_mapping.h"
#include "quire/sys/directory.h"
#include "quire/sys/file.h"

namespace quire {
namespace internal {

Result<void> FlushState::sync_directory_once() {
  const MutexLock lock(mutex_);
  if (created_path_.empty()) {
    return {};
  }
  QUIRE_TRY(sys::sync_parent_directory(created_path_));
  created_path_.clear();
  return {};
}

}  // namespace internal

namespace {

// The same three levels through a descriptor alone: for work that outlives the mapping.
sys::Outcome<void> sync_descriptor(int fd, ByteRange range, Durability durability) noexcept {
  switch (durability) {
    case Durability::kStarted: return sys::sync_range(fd, range, sys::SyncRange::kStart);
    case Durability::kData: {
      // Queues just this range first: fdatasync then finds little else to wait for.
      QUIRE_TRY(sys::sync_range(fd, range, sys::SyncRange::kStart));
      return sys::sync_data(fd);
    }
    case Durability::kAll: break;
  }
  return sys::sync_all(fd);
}

// Records an error as the first one, and gives back what the caller is to be told.
Result<void> settle(internal::FlushState& state, const sys::Outcome<void>& outcome,
                    Durability durability, const std::string& subject) {
  if (!outcome) {
    const Error error = sys::to_error(
        outcome.error(), "flush", subject,
        "these bytes may be lost on the disk; this error stays until acknowledge_error()");
    state.record(error);
    return fail(error);
  }
  if (durability == Durability::kAll) {
    return state.sync_directory_once();
  }
  return {};
}

}  // namespace

Result<void> WritableMapping::flush(ByteRange range, Durability durability) const {
  const ByteRange found = QUIRE_TRY(require_flushable(range, "flush"));
  const std::span<std::byte> pages = pages_of(found);
  sys::Outcome<void> outcome;
  if (durability == Durability::kData) {
    outcome = pages.empty() ? sys::Outcome<void>{} : sys::sync_pages(pages.data(), pages.size());
  } else if (durability == Durability::kAll || !pages.empty()) {
    outcome = sync_descriptor(state_.file.get(), in_file(found), durability);
  }
  return settle(*state_.flush_state, outcome, durability, subject(range));
}

Result<Ticket> WritableMapping::flush_async(ByteRange range, Durability durability) const {
  const ByteRange found = QUIRE_TRY(require_flushable(range, "flush_async"));
  sys::Outcome<sys::Descriptor> copy = sys::duplicate(state_.file.get());
  if (!copy) {
    return fail(sys::to_error(copy.error(), "flush_async", subject(range)));
  }
  Ticket::Source source;
  Ticket ticket = source.ticket();
  const auto file = std::make_shared<sys::Descriptor>(std::move(*copy));
  const bool accepted = internal::post_to_background([file, state = state_.flush_state,
                                                      in_file_range = in_file(found), durability,
                                                      source, what = subject(range)]() mutable {
    sys::Outcome<void> outcome;
    if (in_file_range.length_bytes > 0 || durability == Durability::kAll) {
      outcome = sync_descriptor(file->get(), in_file_range, durability);
    }
    // Before anybody is told: who waited for the ticket finds no descriptor left behind.
    const sys::Outcome<void> closed = file->close();
    outcome = outcome ? closed : outcome;
    source.resolve(settle(*state, outcome, durability, what));
  });
  if (!accepted) {
    return fail(error_on(Errc::kLimit, "flush_async", range,
                         fmt::format("{} flushes are waiting already, or no thread can be started",
                                     internal::kBackgroundJobsMax),
                         "wait for a ticket, or call flush()"));
  }
  return ticket;
}

Result<ByteRange> WritableMapping::require_flushable(ByteRange range, const char* operation) const {
  const ByteRange found = QUIRE_TRY(resolve(range, operation));
  if (state_.flush_state == nullptr) {
    return fail(error_on(Errc::kUnsupported, operation, range,
                         state_.origin == Origin::kFile ? "a private view never reaches its file"
                                                        : "no disk stands behind this memory"));
  }
  if (const std::optional<Error> error = state_.flush_state->error()) {
    return fail(*error);
  }
  return found;
}

void WritableMapping::acknowledge_error() const {
  if (state_.flush_state != nullptr) {
    state_.flush_state->acknowledge();
  }
}

Result<void> WritableMapping::seal(sys::Seals seals) const {
  QUIRE_TRY(resolve(kWholeFile, "seal"));
  if (state_.origin != Origin::kMemfd || state_.is_secret) {
    return fail(
        error_on(Errc::kUnsupported, "seal", kWholeFile, "only shared anonymous memory has seals"));
  }
  const sys::Outcome<void> outcome = sys::add_seals(state_.file.get(), seals);
  if (!outcome) {
    return fail(sys::to_error(outcome.error(), "seal", state_.path,
                              "Seals::kWrite is refused while a writable mapping exists: use "
                              "kFutureWrite; nothing can be added after kSeal"));
  }
  return {};
}

}  // namespace quire
