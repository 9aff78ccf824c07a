// SPDX-License-Identifier: Apache-2.0
//
// lone_process: a process of a library's own, which is not there for the program it serves: made
// without exec (a library has no program), it takes with it as little of its maker as can be, and
// outlives him.
//
//   from its maker it keeps   code and static data, the memory that is named in the request, one
//                             descriptor and standard error
//   it loses                  every other descriptor; signal handlers (all signals are blocked);
//                             the session, terminal and working directory; the heap, stacks and
//                             shared mappings, so that pages which the maker changes later are not
//                             kept twice, and it looks no larger than it is
//   its maker                 is not told of its end by SIGCHLD, and wait(), waitpid() without
//                             __WALL do not find it; reap_lone_process() does
//
// What runs in it may call only what a signal handler may; moreover nothing that needs the dynamic
// linker at run time, whose memory is lost: the sources that run there are compiled with -fno-plt,
// which binds them when the program is loaded. No thread_local but errno, no clock.
//
// Thread-safety: any thread.
// Errors:        Outcome; EAGAIN for a limit of processes, ENOMEM.
// Kernel:        5.9 (close_range); without /proc the memory of the maker stays, copied on write.
//                Under a sanitizer it stays, too: its runtime needs it.
#pragma once

#include <array>
#include <cstddef>
#include <span>

#include "quire/sys/outcome.h"

namespace quire::sys {

struct LoneProcessRequest {
  using Work = int (*)(void* argument);

  const char* name = "";     // In /proc: the kernel keeps 15 bytes.
  Work work = nullptr;       // Its result is the exit code.
  void* argument = nullptr;  // In `kept`, or static.
  int descriptor = -1;       // Keeps its number.
  std::span<std::byte> stack{};
  std::array<std::span<std::byte>, 2> kept{};  // Whole OS pages; the stack lies in one of them.
};

// Returns its number. REQUIRES: a descriptor above standard error (checked).
[[nodiscard]] Outcome<int> start_lone_process(const LoneProcessRequest& request) noexcept;
// Waits for the end of one that this process has made, and reaps it. Blocks. Errors: ECHILD.
Outcome<void> reap_lone_process(int pid) noexcept;

}  // namespace quire::sys
