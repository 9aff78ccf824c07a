// SPDX-License-Identifier: Apache-2.0
#include "quire/testing/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>

#include "quire/base/check.h"

namespace quire::testing {
namespace {

// So that a test stopped by its watchdog leaves no process behind that holds its pipes open.
void die_with_parent(pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) {
    _exit(127);  // It was already gone.
  }
}

ChildEnd wait_for(pid_t pid) {
  int status = 0;
  pid_t waited = -1;
  while ((waited = waitpid(pid, &status, 0)) < 0 && errno == EINTR) {
  }
  QUIRE_CHECK_EQ(waited, pid);
  return {.exited = WIFEXITED(status),
          .exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1,
          .signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0};
}

// In a child that is about to become another program.
[[noreturn]] void become(char* const* argv, int out, int err) {
  const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
  dup2(nothing, STDIN_FILENO);
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  execvp(argv[0], argv);
  _exit(127);
}

// Reads what is there; false at the end of the stream.
bool drain(int fd, std::string& into) {
  std::array<char, 4096> buffer{};
  const ssize_t got = read(fd, buffer.data(), buffer.size());
  if (got > 0) {
    into.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return got > 0 || (got < 0 && errno == EINTR);
}

}  // namespace

Child::Child(const std::function<int()>& body) {
  const pid_t parent = getpid();
  pid_ = fork();
  QUIRE_CHECK(pid_ >= 0);
  if (pid_ == 0) {
    die_with_parent(parent);
    // noexcept: an exception must not unwind into a second copy of the test program.
    [&]() noexcept { _exit(body()); }();
  }
}

Child::~Child() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    join();
  }
}

bool Child::has_ended() const {
  QUIRE_CHECK_GT(pid_, 0);
  siginfo_t info{};  // Its si_pid stays 0 while the child runs.
  QUIRE_CHECK_EQ(waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOHANG | WNOWAIT), 0);
  return info.si_pid != 0;
}

ChildEnd Child::join() {
  QUIRE_CHECK_GT(pid_, 0);
  const ChildEnd end = wait_for(pid_);
  pid_ = -1;
  return end;
}

void Child::kill(int signal) const {
  QUIRE_CHECK_GT(pid_, 0);  // -1 would be every process there is.
  ::kill(pid_, signal);
}

void kill_soon(const Child& child, Prng& random, std::uint64_t turns_max) {
  for (std::uint64_t turn = random.below(turns_max); turn > 0; --turn) {
    std::atomic_signal_fence(std::memory_order_seq_cst);  // Not to be left out.
  }
  child.kill(SIGKILL);
}

Signal::Signal() {
  QUIRE_CHECK_EQ(pipe2(ends_, O_CLOEXEC), 0);
}

Signal::~Signal() {
  close(ends_[0]);
  close(ends_[1]);
}

void Signal::raise() const {
  const char byte = 1;
  QUIRE_CHECK_EQ(write(ends_[1], &byte, 1), 1);
}

void Signal::wait() const {
  char byte = 0;
  ssize_t got = -1;
  while ((got = read(ends_[0], &byte, 1)) < 0 && errno == EINTR) {
  }
  QUIRE_CHECK_EQ(got, 1);
}

ProgramEnd run_program(const std::vector<std::string>& arguments) {
  int out[2];
  int err[2];
  QUIRE_CHECK_EQ(pipe2(out, O_CLOEXEC), 0);
  QUIRE_CHECK_EQ(pipe2(err, O_CLOEXEC), 0);
  std::vector<char*> argv;
  for (const std::string& argument : arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  QUIRE_CHECK(pid >= 0);
  if (pid == 0) {
    die_with_parent(parent);
    become(argv.data(), out[1], err[1]);
  }
  close(out[1]);
  close(err[1]);
  ProgramEnd program;
  std::array<pollfd, 2> streams{{{out[0], POLLIN, 0}, {err[0], POLLIN, 0}}};
  while (streams[0].fd >= 0 || streams[1].fd >= 0) {
    if (poll(streams.data(), streams.size(), -1) < 0) {
      continue;
    }
    if (streams[0].revents != 0 && !drain(out[0], program.standard_output)) {
      streams[0].fd = -1;
    }
    if (streams[1].revents != 0 && !drain(err[0], program.standard_error)) {
      streams[1].fd = -1;
    }
  }
  close(out[0]);
  close(err[0]);
  program.end = wait_for(pid);
  return program;
}

}  // namespace quire::testing
