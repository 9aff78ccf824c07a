// SPDX-License-Identifier: Apache-2.0
//
// signal_set: the signals that may wait: all but those that an instruction raises. A blocked one of
// the latter kills the process when it comes.
//
// Thread-safety: pure; async-signal-safe.
#pragma once

#include <signal.h>

namespace quire::sys::internal {

[[nodiscard]] inline sigset_t asynchronous_signals() noexcept {
  sigset_t set;
  ::sigfillset(&set);
  for (const int signal : {SIGBUS, SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGSYS}) {
    ::sigdelset(&set, signal);
  }
  return set;
}

}  // namespace quire::sys::internal
