// SPDX-License-Identifier: Apache-2.0
//
// Checkpoints: what is committed goes to the files; the log's space comes back.
#include <algorithm>

#include "quire/journal/internal/journal_state.h"

namespace quire::internal {
namespace {

// Of a checkpoint's images, as a share of what opening may take: it goes on beside the application,
// which has better use for memory. Yet with all of them at once the log is read from end to end, in
// an eighth of the requests: for these commits wait, on a device that serves one after the other.
constexpr std::uint64_t kMemoryShare = 4;
constexpr std::uint64_t kMemoryBytesMin = 4_MiB;
// More than a quarter of the log is seldom needed: headers and older images take the rest.
constexpr std::uint64_t kMemoryShareOfLog = 4;

// What stays free at least when a checkpoint begins, and at most, as shares of the log.
constexpr std::uint64_t kRoomShareMin = 8;
constexpr std::uint64_t kRoomShareMax = 2;
// Room for so many times what came during the last checkpoint, and for so many commits.
constexpr std::uint64_t kRoomFactor = 2;

}  // namespace

Result<void> JournalState::checkpoint() {
  const MutexLock lock(mutex_);
  return checkpoint_locked();
}

std::uint64_t JournalState::checkpoint_target() const {
  return views_.empty() ? last_commit_ : std::min(last_commit_, *views_.begin());
}

std::uint64_t JournalState::checkpoint_memory_bytes() const {
  return std::max(kMemoryBytesMin,
                  std::min(log_bytes_ / kMemoryShareOfLog, recovery_memory_bytes() / kMemoryShare));
}

void JournalState::want_checkpoint(std::uint64_t batch_bytes) {
  checkpoint_room_bytes_ = std::max(
      checkpoint_room_bytes_, std::min(kRoomFactor * batch_bytes, log_bytes_ / kRoomShareMax));
  // One that is under way makes room already.
  if (!is_checkpointing_ && space_->free_bytes() < checkpoint_room_bytes_) {
    is_checkpoint_wanted_ = true;
    wake_thread_.notify_one();
  }
}

Result<void> JournalState::checkpoint_locked() {
  while (is_checkpointing_) {
    changed_.wait(mutex_);
  }
  QUIRE_TRY(require_usable_locked("checkpoint"));
  return checkpoint_to(checkpoint_target());
}

Result<void> JournalState::checkpoint_to(std::uint64_t commit) {
  is_checkpointing_ = true;
  const std::uint64_t head_before = space_->head();
  std::vector<CheckpointPlan> plans;
  bool has_changes = false;
  for (const File& file : files_) {
    plans.push_back(file.index->plan_checkpoint(commit));
    has_changes = has_changes || plans.back().has_changes;
  }
  mutex_.unlock();
  Result<void> outcome = has_changes ? write_plans(plans) : Result<void>();
  mutex_.lock();
  if (outcome) {
    for (std::size_t i = 0; i < plans.size(); ++i) {
      files_[i].index->forget(commit);
    }
    checkpointed_commit_ = std::max(checkpointed_commit_, commit);
    space_->trim(checkpointed_commit_);
    const std::uint64_t tail = space_->tail();
    if (tail != durable_tail_) {
      Superblock next = superblock_;
      next.tail_position_bytes = space_->place_of(tail);
      next.tail_lsn = space_->tail_lsn();
      next.tail_commit = checkpointed_commit_;
      for (std::size_t i = 0; i < plans.size(); ++i) {
        next.files[i].size_bytes = files_[i].index->base_size_bytes();
      }
      mutex_.unlock();
      outcome = write_superblock(next);
      mutex_.lock();
      if (outcome) {
        durable_tail_ = tail;
        update_reusable();
        ++stats_.checkpoints;
      } else {
        stick(outcome.error());
      }
    }
  }
  is_checkpointing_ = false;
  checkpoint_room_bytes_ = std::clamp(kRoomFactor * (space_->head() - head_before),
                                      log_bytes_ / kRoomShareMin, log_bytes_ / kRoomShareMax);
  changed_.notify_all();
  return outcome;
}

Result<void> JournalState::write_plans(std::vector<CheckpointPlan>& plans) {
  WorkMeter unwatched;
  PlanWriter writer(*log_, log_bytes_, page_bytes_, checkpoint_memory_bytes(), unwatched);
  for (std::size_t i = 0; i < plans.size(); ++i) {
    if (!plans[i].has_changes) {
      continue;
    }
    std::shared_ptr<Store> file;
    {
      const MutexLock lock(mutex_);
      file = files_[i].file.store;
    }
    const auto written = writer.write(*file, plans[i]);
    const MutexLock lock(mutex_);
    if (!written) {
      const Error error = written.error().error.about("checkpoint", file->name());
      if (written.error().is_full) {
        full_disk_ = error;
      } else {
        stick(error);
      }
      return fail(error);
    }
    full_disk_.reset();
  }
  const MutexLock lock(mutex_);
  stats_.checkpoint_pages += writer.counts().pages;
  stats_.checkpoint_writes += writer.counts().writes;
  return {};
}

}  // namespace quire::internal
