// SPDX-License-Identifier: Apache-2.0
//
// signals: "please stop" as something a program can look at and wait for.
//
//   SIGINT, SIGTERM, SIGHUP --> handler: remember the signal, one byte into the self-pipe
//                                          |                      |
//                            requested_stop_signal()       stop_descriptor(), for poll()
//
// The first signal asks; the handler is then gone, so a second one ends the process at once: a
// program that does not listen can still be stopped. A signal that was ignored when the program
// started (nohup, a background job of a script) stays ignored.
//
// Thread-safety: install once, at the start of main(); the rest from any thread.
#pragma once

#include <signal.h>

#include "quire/sys/outcome.h"

namespace quire::sys {

// Errors: EMFILE, ENFILE when there is no room for the self-pipe.
Outcome<void> install_stop_signals() noexcept;
// The number of the first signal that arrived; 0: none.
[[nodiscard]] int requested_stop_signal() noexcept;
// Readable for ever once a stop was asked for; -1 before install_stop_signals().
[[nodiscard]] int stop_descriptor() noexcept;

// Writing into a pipe that nobody reads becomes EPIPE instead of the end of the process.
Outcome<void> ignore_broken_pipes() noexcept;

// The same for one thread and a while, for calls without MSG_NOSIGNAL (write, sendfile, splice): a
// library must not change what its user decided for the process. SIGPIPE is blocked while the
// object lives; one that came meanwhile is taken away before it is unblocked, one that waited
// before stays.
// REQUIRES: destroyed by the thread that made it, in reverse order.
// Cost:     four system calls together.
class HeldBrokenPipe {
 public:
  HeldBrokenPipe() noexcept;
  ~HeldBrokenPipe();
  HeldBrokenPipe(const HeldBrokenPipe&) = delete;
  HeldBrokenPipe& operator=(const HeldBrokenPipe&) = delete;

 private:
  bool was_blocked_ = false;
  bool was_pending_ = false;
};

// No signal handler of the program runs in this thread while the object lives, except for signals
// that an instruction raises (SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGSYS).
// REQUIRES: destroyed by the thread that made it, in reverse order.
// Cost:     two system calls together. Async-signal-safe.
class BlockedSignals {
 public:
  BlockedSignals() noexcept;
  ~BlockedSignals();
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

 private:
  sigset_t before_;
};

// The same for the rest of the thread: for a library's own threads, which must not be where a
// signal of the program arrives. (A thread made under BlockedSignals starts that way.)
void block_signals_in_this_thread() noexcept;

}  // namespace quire::sys
