// SPDX-License-Identifier: Apache-2.0
//
// Committer's half that drives a small commit in the thread that asks for it.
#include <thread>
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

std::optional<Result<void>> Committer::run(CommitRequest& request) {
  if (!is_small(request)) {
    return std::nullopt;
  }
  CommitTurn turn;
  if (enter(request, turn) || turn.wait() == CommitTurn::State::kLeads) {
    drive(turn);
  }
  return turn.await_answer();
}

// True: there is no other one: this thread leads.
bool Committer::enter(CommitRequest& request, CommitTurn& turn) {
  const sys::BlockedSignals blocked;
  const sys::FutexLockGuard guard(lock_);
  const bool leads = step_ == Step::kIdle && waiting_.empty();
  request.turn = &turn;
  waiting_.push_back(std::move(request));
  if (leads) {
    driver_ = &turn;
    turn.lead();
  }
  return leads;
}

// The queue is the service thread's: a commit that turns out to be larger is, too.
bool Committer::is_for_queue() const {
  return step_ == Step::kImages && filling_ == nullptr &&
         cut_.left() > core_.geometry.granules_in(core_.geometry.window_bytes);
}

// Who waits, for his turn or for updates, holds nothing, and may be interrupted by signals. From
// then on a handler of the application's that faults would wait for the gates and locks of this
// thread.
void Committer::drive(CommitTurn& turn) {
  await_company();
  core_.updates.begin_shut();
  core_.updates.await_empty();
  const sys::BlockedSignals blocked;
  {
    const sys::FutexLockGuard guard(lock_);
    are_updates_shut_ = true;
    begin();
  }
  while (step_here(turn)) {  // Stores that are held up are let in in between.
  }
  Chunk* const last = begin_last(turn);
  if (last != nullptr) {
    call_commit(last->request);
    end_last(*last);
  }
  deliver_here();
}

void Committer::await_company() {
  for (const auto since = Company::Clock::now(); is_company_expected(since);) {
    std::this_thread::yield();
  }
}

bool Committer::is_company_expected(Company::Clock::time_point since) {
  const sys::BlockedSignals blocked;
  const sys::FutexLockGuard guard(lock_);
  return company_.is_expected(waiting_.size(), since);
}

// One step of the way to the last window. False: there is none, or it is not for this thread.
bool Committer::step_here(const CommitTurn& turn) {
  const sys::FutexLockGuard guard(lock_);
  return driver_ == &turn && (step_ == Step::kQuiesce || step_ == Step::kImages) &&
         !is_for_queue() && step_once();
}

// Nothing: there is none, or what comes before it is not done.
Committer::Chunk* Committer::begin_last(const CommitTurn& turn) {
  const sys::FutexLockGuard guard(lock_);
  if (driver_ != &turn) {
    return nullptr;  // All were refused.
  }
  if (step_ != Step::kLast) {
    leave_to_service();
    return nullptr;
  }
  if (error_) {
    end();
    return nullptr;
  }
  step_ = Step::kJournal;
  last_->journal = journal_;
  last_->request = {.context = last_};
  ++under_way_;
  if (std::exchange(is_awaited_, false)) {
    core_.service->wake();  // It has waited for this thread to get that far.
  }
  core_.service->note_progress();
  return last_;
}

void Committer::end_last(Chunk& last) {
  const sys::FutexLockGuard guard(lock_);
  done(last);
}

void Committer::leave_to_service() {
  driver_ = nullptr;
  is_awaited_ = false;
  core_.service->wake();
}

// The next one is led by who has waited longest; if nobody waits for it, the service thread has it.
void Committer::pass_on() {
  const bool was_driven = driver_ != nullptr;
  driver_ = waiting_.empty() ? nullptr : waiting_.front().turn;
  if (driver_ != nullptr) {
    driver_->lead();
  }
  if (!was_driven) {
    return;  // The service thread looks around anyway.
  }
  const bool is_left = driver_ == nullptr && !waiting_.empty();
  if (std::exchange(is_awaited_, false) || is_left) {
    core_.service->wake();
  }
  core_.service->note_progress();
}

void Committer::deliver_here() {
  for (Answer& answer : take_answers()) {
    if (answer.turn != nullptr) {
      answer.turn->answer(std::move(answer.outcome));
    } else {
      answer.source->resolve(std::move(answer.outcome));
    }
  }
}

}  // namespace quire::internal
