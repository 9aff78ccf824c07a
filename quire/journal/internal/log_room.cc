// SPDX-License-Identifier: Apache-2.0
//
// Room in the log for what is to be appended: counted, waited for, made by a checkpoint.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string>

#include "quire/journal/internal/journal_state.h"

namespace quire::internal {

// Uncommitted changes leave room for the mark of their commit, wherever the circle ends.
std::uint64_t JournalState::room_needed(const Batch& batch,
                                        const std::vector<LogSpace::Piece>& pieces) const {
  const std::uint64_t mark_bytes = 2 * (kBlockBytes + page_bytes_);
  return space_->room_taken(pieces) + (batch.commits.empty() ? mark_bytes : 0);
}

void JournalState::make_room(Request& request, std::uint64_t needed_bytes) {
  if (is_checkpointing_) {
    changed_.wait(mutex_);
    return;
  }
  if (let_commit_pass(request)) {
    return;
  }
  stats_.full_waits += request.has_waited ? 0 : 1;
  request.has_waited = true;
  const std::uint64_t used_before = space_->used_bytes();
  const std::uint64_t releases_before = releases_;
  static_cast<void>(checkpoint_to(checkpoint_target()));
  if (sticky_ || space_->used_bytes() < used_before) {
    return;
  }
  // Told so, come in line or let go while the checkpoint had left the mutex: nobody says it again.
  if ((is_stopping_ && request.source) || let_commit_pass(request)) {
    return;
  }
  if (releases_ != releases_before && std::chrono::steady_clock::now() < request.deadline) {
    return;
  }
  if (needed_bytes > log_bytes_ || !changed_.wait_until(mutex_, request.deadline)) {
    finish({.requests = {&request}}, fail(full_error(needed_bytes)));
  }
}

bool JournalState::let_commit_pass(const Request& request) {
  const auto commit = std::ranges::find(queue_, Append::kCommit, &Request::kind);
  if (request.kind == Append::kCommit || commit == queue_.end()) {
    return false;
  }
  std::rotate(queue_.begin(), commit, std::next(commit));
  wake_front();
  return true;
}

Error JournalState::full_error(std::uint64_t needed_bytes) const {
  std::string held;
  if (full_disk_) {
    held = "; " + full_disk_->message();
  } else if (!views_.empty() && *views_.begin() < last_commit_) {
    held = fmt::format("; a snapshot of commit {} holds what came after it", *views_.begin());
  } else if (std::ranges::any_of(files_,
                                 [](const File& file) { return file.index->has_uncommitted(); })) {
    held = "; uncommitted changes hold it";
  }
  return make_error(
      Errc::kLimit, "commit", log_->name(),
      fmt::format("journal full: the log has {} bytes, {} of them in use, and {} are needed{}",
                  log_bytes_, space_->used_bytes(), needed_bytes, held),
      "commit less at a time, end snapshots, or make the journal with a larger "
      "JournalOptions::log_bytes");
}

}  // namespace quire::internal
