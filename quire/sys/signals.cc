// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/signals.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>

#include "quire/sys/call.h"
#include "quire/sys/internal/signal_set.h"

namespace quire::sys {
namespace {

constexpr std::array<int, 3> kStopSignals{SIGINT, SIGTERM, SIGHUP};

// Written by the handler. Lock-free, which is what makes it safe there.
std::atomic<int> first_stop_signal{0};
std::atomic<int> pipe_read_end{-1};
std::atomic<int> pipe_write_end{-1};
static_assert(std::atomic<int>::is_always_lock_free);

void remember_stop(int signal_number) {
  const int saved_errno = errno;
  int none = 0;
  first_stop_signal.compare_exchange_strong(none, signal_number);
  const char byte = 's';
  // A full pipe is readable, which is all that is wanted.
  [[maybe_unused]] const ssize_t written = ::write(pipe_write_end.load(), &byte, 1);
  errno = saved_errno;
}

Outcome<void> set_action(int signal_number, const struct sigaction& action) noexcept {
  const CallSite site = CallSite::enter(Call::kSignal);
  if (site.error != 0) {
    return refuse(site.error);
  }
  if (::sigaction(signal_number, &action, nullptr) != 0) {
    return refuse_with_errno();
  }
  return {};
}

Outcome<void> catch_unless_ignored(int signal_number) noexcept {
  struct sigaction inherited{};
  if (::sigaction(signal_number, nullptr, &inherited) != 0) {
    return refuse_with_errno();
  }
  if (inherited.sa_handler == SIG_IGN) {
    return {};
  }
  struct sigaction action{};
  action.sa_handler = remember_stop;
  // Each signal's handler answers once; a second Ctrl-C has the default effect.
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  return set_action(signal_number, action);
}

}  // namespace

Outcome<void> install_stop_signals() noexcept {
  std::array<int, 2> ends{-1, -1};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) {
    return refuse_with_errno();
  }
  pipe_read_end = ends[0];
  pipe_write_end = ends[1];
  for (const int signal_number : kStopSignals) {
    if (const Outcome<void> caught = catch_unless_ignored(signal_number); !caught) {
      return caught;
    }
  }
  return {};
}

int requested_stop_signal() noexcept {
  return first_stop_signal.load();
}

int stop_descriptor() noexcept {
  return pipe_read_end.load();
}

Outcome<void> ignore_broken_pipes() noexcept {
  struct sigaction action{};
  action.sa_handler = SIG_IGN;
  return set_action(SIGPIPE, action);
}

namespace {

sigset_t only_broken_pipe() noexcept {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGPIPE);
  return set;
}

bool is_broken_pipe_pending() noexcept {
  sigset_t pending;
  ::sigemptyset(&pending);
  ::sigpending(&pending);
  return ::sigismember(&pending, SIGPIPE) == 1;
}

}  // namespace

HeldBrokenPipe::HeldBrokenPipe() noexcept {
  const sigset_t set = only_broken_pipe();
  sigset_t before;
  ::sigemptyset(&before);
  ::pthread_sigmask(SIG_BLOCK, &set, &before);
  was_blocked_ = ::sigismember(&before, SIGPIPE) == 1;
  was_pending_ = is_broken_pipe_pending();
}

HeldBrokenPipe::~HeldBrokenPipe() {
  const sigset_t set = only_broken_pipe();
  if (!was_pending_ && is_broken_pipe_pending()) {
    const timespec at_once{};
    ::sigtimedwait(&set, nullptr, &at_once);
  }
  if (!was_blocked_) {
    ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  }
}

BlockedSignals::BlockedSignals() noexcept {
  const sigset_t set = internal::asynchronous_signals();
  ::pthread_sigmask(SIG_BLOCK, &set, &before_);
}

BlockedSignals::~BlockedSignals() {
  ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

void block_signals_in_this_thread() noexcept {
  const sigset_t set = internal::asynchronous_signals();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

}  // namespace quire::sys
