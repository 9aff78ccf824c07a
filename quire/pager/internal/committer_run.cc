// SPDX-License-Identifier: Apache-2.0
//
// Committer's half that drives a small commit in the thread that asks for it.
#include <utility>

#include "quire/pager/internal/committer.h"
#include "quire/pager/internal/pager_core.h"
#include "quire/pager/internal/service.h"
#include "quire/sys/signals.h"

namespace quire::internal {

bool Committer::is_small(const CommitRequest& request) const {
  std::uint64_t granules = 0;
  for (const AreaState* const area : request.areas) {
    granules += area->table.dirty_count();
  }
  return granules <= core_.geometry.granules_in(core_.geometry.window_bytes);
}

bool Committer::run(CommitRequest& request) {
  // An application's signal handler that faults would wait for the gates and locks of this thread.
  const sys::BlockedSignals blocked;
  {
    const sys::FutexLockGuard guard(lock_);
    if (step_ != Step::kIdle || !waiting_.empty() || !is_small(request)) {
      return false;
    }
    waiting_.push_back(std::move(request));
    begin();
    is_driven_ = true;
  }
  drive();
  return true;
}

// The queue is the service thread's: a commit that turns out to be larger is, too.
bool Committer::is_for_queue() const {
  return step_ == Step::kImages && filling_ == nullptr &&
         cut_.left() > core_.geometry.granules_in(core_.geometry.window_bytes);
}

void Committer::drive() {
  for (bool goes_on = true; goes_on;) {
    const sys::FutexLockGuard guard(lock_);  // Stores that are held up are let in in between.
    goes_on = (step_ == Step::kQuiesce || step_ == Step::kImages) && !is_for_queue() && step_once();
  }
  Chunk* const last = begin_last();
  if (last != nullptr) {
    call_commit(last->request);
    end_last(*last);
  }
  deliver_here();
}

// Nothing: there is none, or what comes before it is not done.
Committer::Chunk* Committer::begin_last() {
  const sys::FutexLockGuard guard(lock_);
  Chunk* last = nullptr;
  if (step_ == Step::kLast && error_) {
    end();
  } else if (step_ == Step::kLast) {
    step_ = Step::kJournal;
    last = last_;
    last->journal = journal_;
    last->request = {.context = last};
    ++under_way_;
  }
  is_driven_ = last != nullptr;
  wake_service();
  return last;
}

void Committer::end_last(Chunk& last) {
  const sys::FutexLockGuard guard(lock_);
  done(last);
  is_driven_ = false;
  wake_service();
}

// If it has waited for this thread to get further, or is to go on in its place.
void Committer::wake_service() {
  const bool is_left = !is_driven_ && (step_ != Step::kIdle || !waiting_.empty());
  if (std::exchange(is_awaited_, false) || is_left) {
    core_.service->wake();
  }
  core_.service->note_progress();
}

void Committer::deliver_here() {
  for (Answer& answer : take_answers()) {
    answer.source.resolve(std::move(answer.outcome));
  }
}

}  // namespace quire::internal
