// SPDX-License-Identifier: Apache-2.0
//
// Ticket: the claim check for work that goes on in the background (an asynchronous flush, later a
// prefetch or a commit). Exactly one outcome arrives; whoever holds a copy of the ticket may look.
//
//   pending --resolve(result)--> done        (once; a second resolve is a bug)
//      |                          ^
//      +--- last Source dropped --+          (kCancelled: nobody waits for work that nobody does)
//
// A Ticket outlives the object it came from: closing a mapping does not cancel a flush under way.
// Dropping every copy loses the outcome's value, never the work, and the work's error also sticks
// to the object it was about.
//
// Thread-safety: every member may be called from any thread.
// Blocks:        wait() and wait_for() only.
#pragma once

#include <chrono>
#include <memory>
#include <optional>

#include "quire/base/mutex.h"
#include "quire/base/result.h"

namespace quire {

class Ticket {
 public:
  // The other end: whoever does the work resolves it.
  class Source;

  [[nodiscard]] bool is_done() const;
  // Blocks until done. May be called again, and gives the same answer.
  [[nodiscard]] Result<void> wait() const;
  // Nothing when the time runs out first.
  [[nodiscard]] std::optional<Result<void>> wait_for(std::chrono::nanoseconds timeout) const;

 private:
  struct State {
    mutable Mutex mutex;
    mutable CondVar done;
    std::optional<Result<void>> outcome QUIRE_GUARDED_BY(mutex);
  };

  explicit Ticket(std::shared_ptr<State> state) : state_(std::move(state)) {}

  std::shared_ptr<State> state_;
};

class Ticket::Source {
 public:
  Source() : promise_(std::make_shared<Promise>()) {}

  [[nodiscard]] Ticket ticket() const { return Ticket(promise_->state); }
  // REQUIRES: not resolved before.
  void resolve(Result<void> outcome) { promise_->resolve(std::move(outcome)); }
  // The same, but never waits for who is just looking: false, and nothing happened. For a thread on
  // which even somebody who was interrupted in the middle of looking may depend.
  [[nodiscard]] bool try_resolve(const Result<void>& outcome) {
    return promise_->try_resolve(outcome);
  }

 private:
  // What all copies of a Source share.
  struct Promise {
    Promise() = default;
    ~Promise();
    Promise(const Promise&) = delete;
    Promise& operator=(const Promise&) = delete;
    void resolve(Result<void> outcome);
    [[nodiscard]] bool try_resolve(const Result<void>& outcome);

    bool is_resolved = false;
    std::shared_ptr<State> state = std::make_shared<State>();
  };

  std::shared_ptr<Promise> promise_;
};

}  // namespace quire
