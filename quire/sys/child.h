// SPDX-License-Identifier: Apache-2.0
//
// child: a forked process that runs one function of ours and ends, and what it used.
//
//   Child child = QUIRE_TRY(Child::start(work, &argument));    // work() runs in the child
//   ...                                                        // a pipe tells when it has news
//   ChildEnd end = QUIRE_TRY(child.wait());                    // reaped
//
// The child dies with the thread that started it (PR_SET_PDEATHSIG), at the latest; it never
// returns from start(): what `work` returns is its exit code, and neither destructors nor atexit
// handlers of the parent run in it.
//
// Invariants:    a child that was started is reaped, by wait(), or killed and reaped by the
//                destructor, unless it was abandoned.
// Thread-safety: one thread at a time. start() in a process with other threads copies locks that
//                nobody will open: the function may then not even allocate.
// Errors:        Outcome; EAGAIN for a limit of processes, ENOMEM.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "quire/sys/outcome.h"

namespace quire::sys {

// Time on a CPU and page faults, of all threads, the kernel's own workers for this process too.
struct ProcessUsage {
  double user_s = 0;
  double system_s = 0;
  std::uint64_t minor_faults = 0;
  std::uint64_t major_faults = 0;  // Those that waited for a device.

  [[nodiscard]] double cpu_s() const noexcept { return user_s + system_s; }
};

// Of this process until now.
[[nodiscard]] ProcessUsage own_usage() noexcept;

struct ChildEnd {
  std::optional<int> exit_code;
  int signal = 0;  // What ended it, where there is no exit code.
  ProcessUsage usage;
};

class Child {
 public:
  using Work = int (*)(void* argument);

  [[nodiscard]] static Outcome<Child> start(Work work, void* argument) noexcept;
  Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  Child& operator=(Child&&) = delete;
  ~Child();

  [[nodiscard]] int pid() const noexcept { return pid_; }
  // SIGKILL. REQUIRES: neither reaped nor abandoned.
  Outcome<void> kill() noexcept;
  // SIGSTOP: it does nothing until it is told to go on, by SIGCONT; a kill() ends it all the same.
  // REQUIRES: as kill().
  Outcome<void> stop() noexcept;
  Outcome<void> go_on() noexcept;
  // Waits for the end and reaps it. Blocks. REQUIRES: not reaped.
  Outcome<ChildEnd> wait() noexcept;
  // The same without waiting: nothing while it runs, or is stopped. REQUIRES: not reaped.
  Outcome<std::optional<ChildEnd>> try_wait() noexcept;
  // Leaves it unreaped: for one that was killed and does not go, since it waits for a device.
  void abandon() noexcept { pid_ = -1; }

 private:
  explicit Child(int pid) noexcept : pid_(pid) {}

  int pid_ = -1;  // -1: reaped or moved from.
};

// Whether there is a process of that number, a zombie or somebody else's included.
[[nodiscard]] bool process_exists(int pid) noexcept;

// "SIGBUS", "SIGKILL"; "signal 42" for one without a name.
[[nodiscard]] std::string signal_name(int signal);

}  // namespace quire::sys
