// SPDX-License-Identifier: Apache-2.0
//
// Commits that nobody waits for: they stand in the same line as all others.
#include <system_error>
#include <utility>

#include "quire/journal/internal/journal_state.h"
#include "quire/sys/process.h"
#include "quire/sys/signals.h"

namespace quire::internal {

Result<Ticket> JournalState::append_async(std::span<const FileCommit> parts) {
  QUIRE_TRY(check_parts(parts));
  auto async = std::make_unique<AsyncRequest>();
  async->parts.assign(parts.begin(), parts.end());
  async->images.reserve(parts.size());
  for (FileCommit& part : async->parts) {
    part.images = async->images.emplace_back(part.images.begin(), part.images.end());
  }
  async->request.parts = async->parts;
  async->request.kind = Append::kCommit;
  async->request.deadline = std::chrono::steady_clock::now() + options_.full_wait_max;
  async->request.source.emplace();
  Ticket ticket = async->request.source->ticket();
  const MutexLock lock(mutex_);
  while (async_.size() >= Journal::kAsyncCommitsMax) {
    changed_.wait(mutex_);
  }
  QUIRE_TRY(require_usable_locked("commit"));
  QUIRE_TRY(start_committer());
  queue_.push_back(&async->request);
  async_.push_back(std::move(async));
  ++async_begun_;
  changed_.notify_all();
  return ticket;
}

Result<void> JournalState::start_committer() {
  if (committer_.joinable()) {
    return {};
  }
  try {
    committer_ = std::thread([this] { run_committer(); });
  } catch (const std::system_error& error) {
    return fail(make_error(Errc::kLimit, "commit", log_->name(),
                           std::string("no thread can be started: ") + error.what(),
                           "call commit(), which needs none"));
  }
  return {};
}

void JournalState::run_committer() {
  sys::block_signals_in_this_thread();  // As in run_thread().
  sys::name_this_thread("quire-commit");
  const MutexLock lock(mutex_);
  while (!is_stopping_) {
    if (has_async_front() && !is_writing_) {
      lead(*queue_.front());
    } else {
      changed_.wait(mutex_);
    }
  }
}

void JournalState::deliver(const Request& request) {
  QUIRE_CHECK(&async_.front()->request == &request);
  async_.front()->request.source->resolve(request.outcome);
  async_.pop_front();
  ++async_done_;
}

}  // namespace quire::internal
