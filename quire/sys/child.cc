// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/child.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "quire/base/check.h"
#include "quire/sys/call.h"
#include "quire/sys/internal/run.h"

namespace quire::sys {
namespace {

using internal::run;
using internal::run_void;

double to_seconds(const timeval& time) noexcept {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
}

ProcessUsage to_usage(const rusage& raw) noexcept {
  return {.user_s = to_seconds(raw.ru_utime),
          .system_s = to_seconds(raw.ru_stime),
          .minor_faults = static_cast<std::uint64_t>(raw.ru_minflt),
          .major_faults = static_cast<std::uint64_t>(raw.ru_majflt)};
}

ChildEnd to_end(int status, const rusage& raw) noexcept {
  ChildEnd end{.exit_code = std::nullopt, .signal = 0, .usage = to_usage(raw)};
  if (WIFEXITED(status)) {
    end.exit_code = WEXITSTATUS(status);
  } else {
    end.signal = WTERMSIG(status);
  }
  return end;
}

Outcome<void> send(int pid, int signal) noexcept {
  QUIRE_CHECK_GE(pid, 0);
  return run_void(Call::kProcess, [&] { return ::kill(pid, signal); });
}

[[noreturn]] void run_child(pid_t parent, Child::Work work, void* argument) noexcept {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) {
    ::_exit(1);  // It died before the line above: nobody would ever reap us.
  }
  ::_exit(work(argument));
}

}  // namespace

ProcessUsage own_usage() noexcept {
  rusage raw{};
  ::getrusage(RUSAGE_SELF, &raw);  // Cannot fail: the structure is valid.
  return to_usage(raw);
}

Outcome<Child> Child::start(Work work, void* argument) noexcept {
  const pid_t parent = ::getpid();
  const Outcome<pid_t> pid = run(Call::kProcess, [&](const CallSite&) { return ::fork(); });
  if (!pid) {
    return tl::unexpected<Errno>(pid.error());
  }
  if (*pid == 0) {
    run_child(parent, work, argument);
  }
  return Child(*pid);
}

Child::~Child() {
  if (pid_ >= 0) {
    static_cast<void>(kill());
    static_cast<void>(wait());
  }
}

Outcome<void> Child::kill() noexcept {
  return send(pid_, SIGKILL);
}

Outcome<void> Child::stop() noexcept {
  return send(pid_, SIGSTOP);
}

Outcome<void> Child::go_on() noexcept {
  return send(pid_, SIGCONT);
}

Outcome<ChildEnd> Child::wait() noexcept {
  QUIRE_CHECK_GE(pid_, 0);
  int status = 0;
  rusage raw{};
  QUIRE_TRY(run(Call::kProcess, [&](const CallSite&) { return ::wait4(pid_, &status, 0, &raw); }));
  pid_ = -1;
  return to_end(status, raw);
}

Outcome<std::optional<ChildEnd>> Child::try_wait() noexcept {
  QUIRE_CHECK_GE(pid_, 0);
  int status = 0;
  rusage raw{};
  const pid_t reaped = QUIRE_TRY(
      run(Call::kProcess, [&](const CallSite&) { return ::wait4(pid_, &status, WNOHANG, &raw); }));
  if (reaped == 0) {
    return std::optional<ChildEnd>();
  }
  pid_ = -1;
  return std::optional(to_end(status, raw));
}

bool process_exists(int pid) noexcept {
  const Outcome<void> asked = run_void(Call::kProcess, [&] { return ::kill(pid, 0); });
  return asked || asked.error().value == EPERM;
}

std::string signal_name(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return name == nullptr ? "signal " + std::to_string(signal) : std::string("SIG") + name;
}

}  // namespace quire::sys
