// SPDX-License-Identifier: Apache-2.0
//
// fork: what a library has to do in a child that fork() made.
//
// The child has one thread, the one that called fork(), and copies of all memory: locks that other
// threads held stay held, the threads that would answer its page faults are not there. A hook marks
// such things as dead, so that the child gets an error instead of a wait without end.
//
// Thread-safety: any thread. A hook runs in the child, before fork() returns there, and may only do
//                what a signal handler may: atomics, system calls.
// Kernel:        any. vfork(), posix_spawn() and a bare clone() run no hooks.
#pragma once

#include <cstddef>

#include "quire/sys/outcome.h"

namespace quire::sys {

using ForkHook = void (*)();

// Enough for every folder above to have one.
inline constexpr std::size_t kForkHooksMax = 8;

// From now on `hook` runs in each child. For ever; once, however often it is given.
// Errors: ENOSPC when kForkHooksMax others are there; ENOMEM.
Outcome<void> on_fork_in_child(ForkHook hook) noexcept;

}  // namespace quire::sys
