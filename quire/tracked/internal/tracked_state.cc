// SPDX-License-Identifier: Apache-2.0
#include "quire/tracked/internal/tracked_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "quire/base/page_window.h"
#include "quire/journal/journal_file.h"
#include "quire/journal/journaled_store.h"
#include "quire/sys/direct_io.h"
#include "quire/sys/process.h"

namespace quire::internal {
namespace {

Error refuse_kind(const std::string& path, sys::FileKind kind) {
  return make_error(
      Errc::kUnsupported, "map", path,
      fmt::format("it is {}, and only a regular file can be committed to", sys::describe(kind)));
}

// What became of the cheaper way for a commit of one page.
std::string explain_atomic_writes(int fd, std::uint64_t page_bytes) {
  const std::uint32_t bytes = sys::atomic_write_bytes_max(fd).value_or(0);
  return bytes >= page_bytes
             ? fmt::format("the device writes up to {} bytes atomically, which commits do not use",
                           bytes)
             : "the device promises no atomic write of a page";
}

}  // namespace

TrackedState::TrackedState(std::string path, const TrackedOptions& options)
    : path_(std::move(path)),
      drop_past_bytes_(options.drop_past_bytes),
      process_id_(sys::process_id()),
      os_page_(sys::os_page_size()) {}

TrackedState::~TrackedState() {
  {
    const MutexLock lock(mutex_);
    is_stopping_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) {
    thread_.join();
  }
}

Result<std::unique_ptr<TrackedState>> TrackedState::open(std::string path,
                                                         const TrackedOptions& options) {
  const auto status = sys::path_status(path.c_str(), false);
  if (status && status->kind != sys::FileKind::kRegular) {
    return fail(refuse_kind(path, status->kind));
  }
  std::unique_ptr<TrackedState> state(new TrackedState(std::move(path), options));
  state->journal_ = QUIRE_TRY(open_journal(
      {state->path_},
      {.path = options.journal_path, .create = options.create, .journal = options.journal}));
  auto file = sys::open_file(state->path_.c_str(), {});
  if (!file) {
    return fail(sys::to_error(file.error(), "map", state->path_));
  }
  state->file_ = std::move(*file);
  state->atomic_writes_ = explain_atomic_writes(state->file_.get(), state->journal_->page_bytes());
  QUIRE_TRY(state->open_view(options.reserve_bytes));
  if (state->size_bytes_ < options.minimum_bytes) {
    QUIRE_TRY(state->resize(options.minimum_bytes));
    QUIRE_TRY(state->commit());
  }
  return state;
}

Result<void> TrackedState::open_view(std::uint64_t reserve_bytes) {
  const MutexLock operation(operation_);
  const std::uint64_t size_bytes = QUIRE_TRY(journal_->file(0).size_bytes());
  const std::uint64_t pages_bytes = round_up(size_bytes, os_page_);
  const std::uint64_t wanted_bytes =
      reserve_bytes == kReserveAutomatic ? pages_bytes + kReserveAheadBytes : reserve_bytes;
  const std::uint64_t reserved_bytes =
      std::max({round_up(wanted_bytes, os_page_), pages_bytes, os_page_.bytes()});
  const AddressSpace::Backing backing{.fd = file_.get(),
                                      .offset_bytes = 0,
                                      .protection = sys::Protection::kReadWrite,
                                      .visibility = sys::Visibility::kPrivate,
                                      .no_reserve = true};
  auto space = AddressSpace::map(backing, pages_bytes, reserved_bytes);
  if (!space) {
    return fail(sys::to_error(space.error(), "map", path_,
                              "lower reserve_bytes, or raise the limit of addresses"));
  }
  space_ = std::move(*space);
  tracker_ = QUIRE_TRY(ChangeTracker::open(space_.address()));
  watch({0, pages_bytes});
  size_bytes_ = size_bytes;
  file_pages_bytes_ = pages_bytes;
  const MutexLock lock(mutex_);
  base_bytes_ = committed_bytes_ = cut_bytes_ = size_bytes;
  return {};
}

Error TrackedState::error_on(Errc code, const char* operation, std::string cause,
                             std::string remedy) const {
  return make_error(code, operation, path_, std::move(cause), std::move(remedy));
}

Result<void> TrackedState::close() {
  const MutexLock operation(operation_);
  await_idle();
  return journal_->close();
}

Result<void> TrackedState::check() const {
  QUIRE_TRY(require_usable("check"));
  return journal_->file(0).sync(Durability::kStarted);
}

// Like explain() without operation_, which a commit holds while it waits for updates: who asks may
// be inside of one.
Result<TrackedResidency> TrackedState::resident(ByteRange range) const {
  const ByteRange found = QUIRE_TRY(resolve_range(range, size_bytes_));
  TrackedResidency residency{.size_bytes = found.length_bytes};
  if (found.length_bytes == 0) {
    return residency;
  }
  const std::uint64_t first = round_down(found.offset_bytes, os_page_);
  const ByteRange pages{first, round_up(end_of(found), os_page_) - first};
  std::vector<unsigned char> vector(pages.length_bytes / os_page_.bytes());
  const auto asked = sys::page_residency(address() + first, pages.length_bytes, vector);
  if (!asked) {
    return fail(sys::to_error(asked.error(), "resident", path_));
  }
  for (const unsigned char page : vector) {
    residency.resident_bytes += (page & 1U) != 0 ? os_page_.bytes() : 0;
  }
  residency.private_bytes = QUIRE_TRY(tracker_->count_private_bytes(pages));
  return residency;
}

TrackedStats TrackedState::stats() const {
  const JournalStats journal = journal_->stats();
  const MutexLock lock(mutex_);
  TrackedStats stats = stats_;
  stats.waiting_commits = queue_.size() + followers_;
  stats.journal = journal;
  return stats;
}

std::string TrackedState::explain() const {
  const std::string journal = journal_->explain();
  const MutexLock lock(mutex_);
  return fmt::format("tracked: a private mapping; {}; {}; {}", tracking_, journal, atomic_writes_);
}

}  // namespace quire::internal
