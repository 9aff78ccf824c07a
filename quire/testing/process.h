// SPDX-License-Identifier: Apache-2.0
//
// Processes for tests: fork a child, run a function in it, meet it at barriers, learn how it ended.
//
// Every child dies with the thread that made it, at the latest: that thread must outlive it. The
// watchdog of the test program (test_main.cc) is not inherited; it watches the parent, who waits.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "quire/base/prng.h"

namespace quire::testing {

// How a child ended.
struct ChildEnd {
  bool exited = false;
  int exit_code = -1;
  int signal = 0;
};

// A forked child that runs `body` and exits with its result (8 bits). Joined (killed first) by the
// destructor. EXPECT_* in the body prints but does not fail the test: return a number and EXPECT
// that. An exception in the body aborts the child.
class Child {
 public:
  explicit Child(const std::function<int()>& body);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  [[nodiscard]] pid_t pid() const noexcept { return pid_; }
  // Of itself, or killed by others. REQUIRES: not joined before.
  [[nodiscard]] bool has_ended() const;
  // Waits for the end. Blocks. REQUIRES: not joined before.
  ChildEnd join();
  // REQUIRES: not joined before.
  void kill(int signal) const;

 private:
  pid_t pid_ = -1;
};

// SIGKILL up to `turns_max` turns of an empty loop from now: at an instant that nobody chooses.
// REQUIRES: not joined before.
void kill_soon(const Child& child, Prng& random, std::uint64_t turns_max);

// One byte through a pipe, for "I am ready" and "go on" between a test and its children.
class Signal {
 public:
  Signal();
  ~Signal();
  Signal(const Signal&) = delete;
  Signal& operator=(const Signal&) = delete;

  void raise() const;
  // Blocks until raise() was called once more than wait() returned.
  void wait() const;

 private:
  int ends_[2] = {-1, -1};
};

// Runs a program to its end, an unrelated process: its standard output, error and exit code. Its
// standard input is empty. Exit code 127: there is no such program.
struct ProgramEnd {
  ChildEnd end;
  std::string standard_output;
  std::string standard_error;
};
[[nodiscard]] ProgramEnd run_program(const std::vector<std::string>& arguments);

}  // namespace quire::testing
