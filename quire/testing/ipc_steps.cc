// SPDX-License-Identifier: Apache-2.0
#include "quire/testing/ipc_steps.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "quire/base/check.h"
#include "quire/ipc/step.h"

namespace quire::testing {
namespace {

namespace steps = ipc::internal;

// In a child: counts its steps, and acts at the n-th.
struct Countdown {
  unsigned left = 0;
  int signal = 0;
  char* name = nullptr;
  std::size_t name_bytes = 0;

  static void reached(const char* step, void* context) {
    auto& countdown = *static_cast<Countdown*>(context);
    if (--countdown.left != 0) {
      return;
    }
    steps::step_hook = {};
    std::strncpy(countdown.name, step, countdown.name_bytes - 1);
    ::kill(::getpid(), countdown.signal);
  }
};

// Until the child has stopped or ended; it stays to be reaped.
void wait_for_change(pid_t pid) {
  siginfo_t info{};
  while (::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WSTOPPED | WNOWAIT) != 0) {
    QUIRE_CHECK_EQ(errno, EINTR);
  }
}

}  // namespace

struct SteppedChild::Note {
  std::array<char, 128> name;

  static Note* make() {
    void* memory =
        ::mmap(nullptr, sizeof(Note), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    QUIRE_CHECK(memory != MAP_FAILED);
    return static_cast<Note*>(memory);
  }
};

SteppedChild::SteppedChild(AtStep action, unsigned nth, const std::function<int()>& body)
    : action_(action), note_(Note::make()), child_([this, nth, &body] {
        Countdown countdown{.left = nth,
                            .signal = action_ == AtStep::kKill ? SIGKILL : SIGSTOP,
                            .name = note_->name.data(),
                            .name_bytes = note_->name.size()};
        steps::step_hook = {.reached = Countdown::reached, .context = &countdown};
        const int result = body();
        steps::step_hook = {};
        return result;
      }) {
  QUIRE_CHECK_GE(nth, 1U);
  wait_for_change(child_.pid());
  step_ = note_->name.data();
  if (action_ == AtStep::kKill || !was_reached()) {
    end_ = child_.join();
    is_reaped_ = true;
  }
}

SteppedChild::~SteppedChild() {
  ::munmap(note_, sizeof(Note));
}

void SteppedChild::resume() {
  QUIRE_CHECK(action_ == AtStep::kStop && was_reached() && !is_reaped_);
  child_.kill(SIGCONT);
}

ChildEnd SteppedChild::end() {
  if (!is_reaped_) {
    end_ = child_.join();
    is_reaped_ = true;
  }
  return end_;
}

std::vector<std::string> at_every_step(AtStep action,
                                       const std::function<StepRound()>& make_round) {
  std::vector<std::string> names;
  for (unsigned nth = 1; nth <= kStepsMax; ++nth) {
    const StepRound round = make_round();
    SteppedChild child(action, nth, round.body);
    SCOPED_TRACE("step " + std::to_string(nth) + ": " +
                 (child.was_reached() ? child.step() : "none, the body has ended"));
    round.check(child);
    if (!child.was_reached()) {
      EXPECT_EQ(child.end().exit_code, 0) << "signal " << child.end().signal;
      return names;
    }
    EXPECT_TRUE(action == AtStep::kStop || child.end().signal == SIGKILL);
    names.push_back(child.step());
    if (::testing::Test::HasFatalFailure()) {
      return names;
    }
  }
  ADD_FAILURE() << "the body has more than " << kStepsMax << " steps";
  return names;
}

std::vector<std::string> steps_of(const std::function<void()>& body) {
  std::vector<std::string> names;
  const StepVisitor visitor([&](const char* step) { names.emplace_back(step); });
  body();
  return names;
}

StepVisitor::StepVisitor(std::function<void(const char* step)> visit) : visit_(std::move(visit)) {
  QUIRE_CHECK(steps::step_hook.reached == nullptr);
  steps::step_hook = {.reached = [](const char* step,
                                    void* self) { static_cast<StepVisitor*>(self)->visit_(step); },
                      .context = this};
}

StepVisitor::~StepVisitor() {
  steps::step_hook = {};
}

}  // namespace quire::testing
