// SPDX-License-Identifier: Apache-2.0
#include "quire/base/ticket.h"

#include "quire/base/check.h"

namespace quire {
namespace {

using Clock = std::chrono::steady_clock;

// now + timeout, which overflows for "practically for ever".
Clock::time_point deadline_after(std::chrono::nanoseconds timeout) {
  const Clock::time_point now = Clock::now();
  return timeout > Clock::time_point::max() - now ? Clock::time_point::max() : now + timeout;
}

}  // namespace

bool Ticket::is_done() const {
  const MutexLock lock(state_->mutex);
  return state_->outcome.has_value();
}

Result<void> Ticket::wait() const {
  const MutexLock lock(state_->mutex);
  while (!state_->outcome.has_value()) {
    state_->done.wait(state_->mutex);
  }
  return *state_->outcome;
}

std::optional<Result<void>> Ticket::wait_for(std::chrono::nanoseconds timeout) const {
  const Clock::time_point deadline = deadline_after(timeout);
  const MutexLock lock(state_->mutex);
  while (!state_->outcome.has_value()) {
    if (!state_->done.wait_until(state_->mutex, deadline) && !state_->outcome.has_value()) {
      return std::nullopt;
    }
  }
  return state_->outcome;
}

Ticket::Source::Promise::~Promise() {
  if (!is_resolved) {
    resolve(fail(make_error(Errc::kCancelled, "ticket", "background work",
                            "it was given up before it ended")));
  }
}

void Ticket::Source::Promise::resolve(Result<void> outcome) {
  const MutexLock lock(state->mutex);
  QUIRE_CHECK(!state->outcome.has_value());
  state->outcome = std::move(outcome);
  is_resolved = true;
  state->done.notify_all();
}

bool Ticket::Source::Promise::try_resolve(const Result<void>& outcome) {
  if (!state->mutex.try_lock()) {
    return false;
  }
  QUIRE_CHECK(!state->outcome.has_value());
  state->outcome = outcome;
  is_resolved = true;
  state->done.notify_all();
  state->mutex.unlock();
  return true;
}

}  // namespace quire
