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
#include <utility>

#include "quire/sys/descriptor.h"
#include "quire/sys/outcome.h"

namespace quire::sys {

using ForkHook = void (*)();

// Enough for every folder above to have one.
inline constexpr std::size_t kForkHooksMax = 8;

// From now on `hook` runs in each child. For ever; once, however often it is given.
// Errors: ENOSPC when kForkHooksMax others are there; ENOMEM.
Outcome<void> on_fork_in_child(ForkHook hook) noexcept;

// How many UnsharedDescriptors a process may have; chosen arbitrarily, for a few in each area.
inline constexpr std::size_t kUnsharedDescriptorsMax = 1024;

// A descriptor that children of fork() do not get: their copy is closed before fork() returns to
// them, and the copy of this object is then empty. For what tells others that we are alive.
// Thread-safety: one thread at a time per object; objects: any thread.
class UnsharedDescriptor {
 public:
  UnsharedDescriptor() = default;
  // Errors: ENOSPC beyond kUnsharedDescriptorsMax; those of on_fork_in_child(). The descriptor is
  // closed then.
  [[nodiscard]] static Outcome<UnsharedDescriptor> adopt(Descriptor descriptor) noexcept;
  UnsharedDescriptor(UnsharedDescriptor&& other) noexcept
      : slot_(std::exchange(other.slot_, kNone)) {}
  UnsharedDescriptor& operator=(UnsharedDescriptor&& other) noexcept;
  ~UnsharedDescriptor() { close(); }

  // -1 when it is empty.
  [[nodiscard]] int get() const noexcept;
  void close() noexcept;

 private:
  static constexpr std::size_t kNone = kUnsharedDescriptorsMax;
  explicit UnsharedDescriptor(std::size_t slot) noexcept : slot_(slot) {}

  std::size_t slot_ = kNone;
};

}  // namespace quire::sys
