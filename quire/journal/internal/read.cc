// SPDX-License-Identifier: Apache-2.0
//
// Reading: pages that have an image in the log come from there, the rest from the file.
#include <algorithm>
#include <utility>

#include "quire/base/page_window.h"
#include "quire/journal/internal/journal_state.h"

namespace quire::internal {
namespace {

std::uint64_t total_bytes(MutablePieces pieces) {
  std::uint64_t total = 0;
  for (const auto& piece : pieces) {
    total += piece.size();
  }
  return total;
}

// The memory of a part of what was asked for.
std::vector<std::span<std::byte>> part_of(MutablePieces pieces, ByteRange part) {
  std::vector<std::span<std::byte>> found;
  std::uint64_t start = 0;
  for (const auto& piece : pieces) {
    const ByteRange shared = intersect(part, {start, piece.size()});
    if (shared.length_bytes > 0) {
      found.push_back(piece.subspan(shared.offset_bytes - start, shared.length_bytes));
    }
    start += piece.size();
  }
  return found;
}

// Zeros from an offset in the pieces on.
void clear_from(MutablePieces pieces, std::uint64_t offset_bytes) {
  for (const auto& rest : part_of(pieces, {offset_bytes, kToEnd - offset_bytes})) {
    std::ranges::fill(rest, std::byte{0});
  }
}

}  // namespace

JournalState::Pins JournalState::pin(std::uint64_t view) {
  const Pins pins{.view = std::min(view, last_commit_), .position = space_->tail()};
  views_.insert(pins.view);
  positions_.insert(pins.position);
  return pins;
}

// One of those that pinned it: which does not matter.
void JournalState::drop_view(std::uint64_t commit) {
  if (const auto view = views_.find(commit); view != views_.end()) {
    views_.erase(view);  // Closing the journal has done that already.
  }
}

void JournalState::update_reusable() {
  space_->set_reusable(positions_.empty() ? durable_tail_
                                          : std::min(durable_tail_, *positions_.begin()));
}

void JournalState::unpin(const Pins& pins) {
  const MutexLock lock(mutex_);
  drop_view(pins.view);
  positions_.erase(positions_.find(pins.position));
  update_reusable();
  tell_release();
}

void JournalState::tell_release() {
  ++releases_;
  if (!queue_.empty()) {
    changed_.notify_all();
  }
}

std::uint64_t JournalState::pin_snapshot() {
  const MutexLock lock(mutex_);
  views_.insert(last_commit_);
  return last_commit_;
}

void JournalState::unpin_snapshot(std::uint64_t commit) {
  const MutexLock lock(mutex_);
  drop_view(commit);
  tell_release();
}

std::uint64_t JournalState::size_bytes(std::size_t file, std::uint64_t view) const {
  const MutexLock lock(mutex_);
  return files_[file].index->size_bytes(view);
}

bool JournalState::is_in_file(std::size_t file, ByteRange range) const {
  const MutexLock lock(mutex_);
  const PageIndex& index = *files_[file].index;
  return !is_closed_ && !index.has_resizes() && end_of(range) <= index.base_size_bytes() &&
         std::ranges::none_of(plan_read(index, kNewestView, range),
                              [](const ReadStep& step) { return step.image.has_value(); });
}

std::vector<JournalState::ReadStep> JournalState::plan_read(const PageIndex& index,
                                                            std::uint64_t view,
                                                            ByteRange range) const {
  if (!index.may_differ_from_file()) {
    return {{.image = {},
             .offset_bytes = range.offset_bytes,
             .length_bytes = range.length_bytes,
             .valid_bytes = range.length_bytes}};
  }
  const PageSize page(page_bytes_);
  std::vector<ReadStep> steps;
  for (std::uint64_t at = range.offset_bytes; at < end_of(range);) {
    const std::uint64_t page_offset = round_down(at, page);
    const std::uint64_t skew = at - page_offset;
    const std::uint64_t length = std::min(page_bytes_ - skew, end_of(range) - at);
    const PageSource source = index.find(page_offset, view);
    const std::uint64_t valid =
        source.valid_bytes > skew ? std::min(source.valid_bytes - skew, length) : 0;
    const bool joins = !steps.empty() && !steps.back().image && !source.image &&
                       steps.back().valid_bytes == steps.back().length_bytes;
    if (joins) {
      steps.back().length_bytes += length;
      steps.back().valid_bytes += valid;
    } else {
      steps.push_back({.image = source.image,
                       .offset_bytes = at,
                       .length_bytes = length,
                       .valid_bytes = valid});
    }
    at += length;
  }
  return steps;
}

Result<std::uint64_t> JournalState::read(std::size_t file, std::uint64_t view,
                                         std::uint64_t offset_bytes, MutablePieces into) {
  std::vector<ReadStep> steps;
  std::shared_ptr<Store> store;
  Pins pins;
  ByteRange range;
  {
    const MutexLock lock(mutex_);
    if (is_closed_) {
      return fail(make_error(Errc::kClosed, "read", log_->name()));
    }
    const File& from = files_[file];
    const std::uint64_t size_bytes = from.index->size_bytes(view);
    range = intersect({offset_bytes, total_bytes(into)}, {0, size_bytes});
    if (range.length_bytes == 0) {
      return 0;
    }
    steps = plan_read(*from.index, view, range);
    pins = pin(view);
    store = from.file.store;
  }
  Result<void> outcome;
  for (std::size_t i = 0; i < steps.size() && outcome; ++i) {
    const ReadStep& step = steps[i];
    const auto memory = part_of(into, {step.offset_bytes - offset_bytes, step.length_bytes});
    outcome = do_step(step, *store, memory);
  }
  unpin(pins);
  if (!outcome) {
    return fail(outcome.error());
  }
  return range.length_bytes;
}

Result<std::uint64_t> JournalState::read_committed(std::size_t file, std::uint64_t offset_bytes,
                                                   MutablePieces into) {
  const std::uint64_t commit = pin_snapshot();
  Result<std::uint64_t> got = read(file, commit, offset_bytes, into);
  unpin_snapshot(commit);
  return got;
}

Result<void> JournalState::do_step(const ReadStep& step, Store& file, MutablePieces into) {
  std::uint64_t got = 0;
  if (step.image && step.valid_bytes > 0) {
    QUIRE_TRY(read_image(step, into));
    got = step.valid_bytes;
  } else if (step.valid_bytes > 0) {
    got = std::min(QUIRE_TRY(file.read_pieces(step.offset_bytes, into)), step.valid_bytes);
  }
  if (got < step.length_bytes) {
    clear_from(into, got);
  }
  return {};
}

// All of the page is read, since its checksum is that of all of it.
Result<void> JournalState::read_image(const ReadStep& step, MutablePieces into) {
  const bool is_whole = into.size() == 1 && step.length_bytes == page_bytes_;
  std::optional<RecordBuffer> bounce;
  if (!is_whole) {
    bounce.emplace(page_bytes_);
  }
  const std::span<std::byte> page =
      is_whole ? into[0] : std::span<std::byte>(bounce->begin(), page_bytes_);
  const std::uint64_t place = kCircleOffsetBytes + step.image->position % log_bytes_;
  const std::uint64_t got = QUIRE_TRY(log_->read(place, page));
  if (got < page.size() || checksum_of(page) != step.image->checksum) {
    return fail(make_error(Errc::kCorrupt, "read journal",
                           log_->name() + ", " + describe(ByteRange{place, page_bytes_}),
                           "the checksum of a page is wrong",
                           "restore the journal and its files from a copy"));
  }
  if (is_whole) {
    return {};
  }
  std::uint64_t at = step.offset_bytes % page_bytes_;
  for (const auto& piece : into) {
    std::ranges::copy(page.subspan(at, piece.size()), piece.begin());
    at += piece.size();
  }
  return {};
}

}  // namespace quire::internal
