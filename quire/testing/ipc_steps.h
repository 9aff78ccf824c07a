// SPDX-License-Identifier: Apache-2.0
//
// ipc_steps: a process is killed or stopped at each of its steps in shared memory in turn
// (quire/ipc/step.h), and the others are looked at.
//
//   at_every_step(AtStep::kKill, [] {
//     auto shared = std::make_shared<Fixture>();               // fresh for each n = 1, 2, 3 ...
//     return StepRound{.body = [=] { return shared->use(); },  // in a child: dies at its n-th step
//                      .check = [=](const SteppedChild& child) { shared->expect_sound(); }};
//   });
//
//   parent:  make round -> fork ----------------> wait -> check -> reap -> next n
//   child:                  '-> body: 1, 2 ... n'   ^
//                                              `----+-- killed (and reaped before the check), or
//                                                       stopped; resume() lets it go on
//
// The last round is the one whose body ends before its n-th step: it must return 0, and it is
// checked like the others. Programs that use this link quire_ipc_stepped in place of quire::ipc.
//
// Steps count in the thread that runs the body, and in no other. A body that uses a Segment opens
// it itself: a child forked after open() is not the participant that its parent is.
//
// Thread-safety: one thread at a time. Blocks until the child is where it is wanted.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "quire/testing/process.h"

namespace quire::testing {

enum class AtStep {
  kKill,  // SIGKILL, reaped.
  kStop,  // SIGSTOP: alive, and doing nothing.
};

// A child whose body is ended or stopped when it comes to its n-th step (from 1).
class SteppedChild {
 public:
  // Returns when the child is there, or at its end.
  SteppedChild(AtStep action, unsigned nth, const std::function<int()>& body);
  ~SteppedChild();
  SteppedChild(const SteppedChild&) = delete;
  SteppedChild& operator=(const SteppedChild&) = delete;

  // Whether the body came that far.
  [[nodiscard]] bool was_reached() const noexcept { return !step_.empty(); }
  // The step's name; "" when the body ended before.
  [[nodiscard]] const std::string& step() const noexcept { return step_; }
  // Lets a stopped one go on. REQUIRES: kStop, reached, not resumed before.
  void resume();
  // How it ended; waits for it. REQUIRES: not stopped.
  ChildEnd end();
  [[nodiscard]] pid_t pid() const noexcept { return child_.pid(); }

 private:
  struct Note;  // In memory shared with the child: the name of the step.

  AtStep action_;
  Note* note_;
  Child child_;
  std::string step_;
  bool is_reaped_ = false;
  ChildEnd end_;
};

struct StepRound {
  std::function<int()> body;
  std::function<void(SteppedChild&)> check;
};

// Runs rounds with n = 1, 2, 3 ... until a body ends before its n-th step, which it must do with
// 0 and within kStepsMax. Failures name n and the step. Returns the names of the steps in order.
inline constexpr unsigned kStepsMax = 2000;
std::vector<std::string> at_every_step(AtStep action, const std::function<StepRound()>& make_round);

// The names of the steps of `body`, run here and now in this thread.
[[nodiscard]] std::vector<std::string> steps_of(const std::function<void()>& body);

// Calls `visit` with the name at each step of this thread while it exists: to look at every state
// in between, or to let another thread act there.
class StepVisitor {
 public:
  explicit StepVisitor(std::function<void(const char* step)> visit);
  ~StepVisitor();
  StepVisitor(const StepVisitor&) = delete;
  StepVisitor& operator=(const StepVisitor&) = delete;

 private:
  std::function<void(const char*)> visit_;
};

}  // namespace quire::testing
