// SPDX-License-Identifier: Apache-2.0
//
// The view: how it grows, shrinks, and goes back to what was committed.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "quire/base/page_window.h"
#include "quire/journal/journaled_store.h"
#include "quire/tracked/internal/tracked_state.h"

namespace quire::internal {
namespace {

constexpr AddressSpace::Backing kAnonymous{.protection = sys::Protection::kReadWrite,
                                           .visibility = sys::Visibility::kPrivate,
                                           .no_reserve = true};

}  // namespace

void TrackedState::watch(ByteRange pages) {
  tracker_->watch(pages);
  const MutexLock lock(mutex_);
  tracking_ = tracker_->explain();
}

Result<void> TrackedState::cut_view(std::uint64_t size_bytes) {
  const std::uint64_t pages_bytes = round_up(size_bytes, os_page_);
  if (pages_bytes < space_.backed_bytes()) {
    if (const auto cut = space_.set_backed(kAnonymous, pages_bytes); !cut) {
      return fail(sys::to_error(cut.error(), "resize", path_));
    }
    file_pages_bytes_ = std::min(file_pages_bytes_, pages_bytes);
    tracker_->forget_from(pages_bytes);
  }
  size_bytes_ = size_bytes;
  return {};
}

Result<void> TrackedState::extend_view(std::uint64_t size_bytes) {
  const std::uint64_t before_bytes = space_.backed_bytes();
  const std::uint64_t pages_bytes = round_up(size_bytes, os_page_);
  if (pages_bytes > space_.reserved_bytes()) {
    return fail(error_on(Errc::kLimit, "resize",
                         fmt::format("{} bytes are more than the {} bytes of addresses that were "
                                     "reserved",
                                     size_bytes, space_.reserved_bytes()),
                         "reserve more with reserve_bytes"));
  }
  if (pages_bytes > before_bytes) {
    if (const auto extended = space_.set_backed(kAnonymous, pages_bytes); !extended) {
      return fail(sys::to_error(extended.error(), "resize", path_));
    }
    watch({before_bytes, pages_bytes - before_bytes});
  }
  size_bytes_ = size_bytes;
  return {};
}

// Looks first: a page that is zeros already need not become ours.
void TrackedState::clear_tail(std::uint64_t size_bytes) {
  const std::span<std::byte> tail(address() + size_bytes,
                                  round_up(size_bytes, os_page_) - size_bytes);
  if (std::ranges::any_of(tail, [](std::byte byte) { return byte != std::byte{0}; })) {
    std::ranges::fill(tail, std::byte{0});
  }
}

Result<void> TrackedState::resize(std::uint64_t size_bytes) {
  QUIRE_TRY(require_owner("resize"));
  const MutexLock operation(operation_);
  QUIRE_TRY(require_usable("resize"));
  if (size_bytes > size_bytes_) {
    clear_tail(size_bytes_);
    QUIRE_TRY(extend_view(size_bytes));
  } else {
    QUIRE_TRY(cut_view(size_bytes));
  }
  const MutexLock lock(mutex_);
  cut_bytes_ = std::min(cut_bytes_, size_bytes);
  return {};
}

Result<void> TrackedState::rollback() {
  QUIRE_TRY(require_owner("rollback"));
  const MutexLock operation(operation_);
  await_idle();
  const Result<std::uint64_t> restored = restore();
  // What was restored does not count as changed. An error makes all of it count: only slower.
  static_cast<void>(tracker_->take_changes(round_up(size_bytes_, os_page_)));
  const MutexLock lock(mutex_);
  if (!restored) {
    torn_ = restored.error();
    return fail(restored.error());
  }
  torn_.reset();
  owed_.clear();
  base_bytes_ = cut_bytes_ = committed_bytes_;
  ++stats_.rollbacks;
  stats_.restored_pages += *restored;
  return {};
}

// Returns the pages restored. What is not is owed.
Result<std::uint64_t> TrackedState::restore() {
  const std::vector<ByteRange> changes =
      QUIRE_TRY(tracker_->take_changes(round_up(size_bytes_, os_page_)));
  std::vector<ByteRange> runs;
  std::uint64_t committed_bytes = 0;
  std::uint64_t kept_bytes = 0;
  {
    const MutexLock lock(mutex_);
    owed_ = merge_runs(changes, owed_);
    committed_bytes = committed_bytes_;
    kept_bytes = round_up(std::min(cut_bytes_, committed_bytes_), os_page_);
    for (const ByteRange& run : owed_) {
      append_run(runs, intersect(run, {0, kept_bytes}));
    }
  }
  QUIRE_TRY(restore_size(committed_bytes));
  if (const std::uint64_t end = round_up(committed_bytes, os_page_); end > kept_bytes) {
    append_run(runs, {kept_bytes, end - kept_bytes});
  }
  QUIRE_TRY(restore_pages(runs, committed_bytes));
  std::uint64_t pages = 0;
  for (const ByteRange& run : runs) {
    pages += run.length_bytes / os_page_.bytes();
  }
  return pages;
}

Result<void> TrackedState::restore_size(std::uint64_t committed_bytes) {
  std::uint64_t kept_bytes = 0;
  {
    const MutexLock lock(mutex_);
    kept_bytes = std::min(cut_bytes_, committed_bytes);
  }
  QUIRE_TRY(cut_view(kept_bytes));
  return extend_view(committed_bytes);
}

// Pages of the file are given back where the file has the last commit; the others are read.
Result<void> TrackedState::restore_pages(const std::vector<ByteRange>& runs,
                                         std::uint64_t committed_bytes) {
  if (runs.empty()) {
    return {};
  }
  tracker_->forget_from(runs.front().offset_bytes);
  const bool may_give_back = is_file_up_to_date();
  for (const ByteRange& run : runs) {
    const ByteRange of_file = intersect(run, {0, may_give_back ? file_pages_bytes_ : 0});
    const bool given_back =
        of_file.length_bytes > 0 &&
        sys::advise_pages(address() + of_file.offset_bytes, of_file.length_bytes,
                          sys::MemoryAdvice::kDontNeed)
            .has_value();  // Not where it is locked into memory.
    const std::uint64_t first = given_back ? end_of(of_file) : run.offset_bytes;
    const std::span<std::byte> rest(address() + first, end_of(run) - first);
    if (rest.empty()) {
      continue;
    }
    const ByteRange there = intersect({first, rest.size()}, {0, committed_bytes});
    const std::uint64_t got =
        QUIRE_TRY(journal_->file(0).read_committed(first, rest.first(there.length_bytes)));
    std::ranges::fill(rest.subspan(got), std::byte{0});
  }
  return {};
}

bool TrackedState::is_file_up_to_date() const {
  const JournalStats stats = journal_->stats();
  return stats.checkpointed_commit == stats.last_commit;
}

}  // namespace quire::internal
