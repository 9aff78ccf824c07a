// SPDX-License-Identifier: Apache-2.0
//
// process: who we are, and what we have cost.
//
// Thread-safety: any thread. Cost: a system call, which never fails where nothing else is said.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "quire/sys/outcome.h"

namespace quire::sys {

[[nodiscard]] int process_id() noexcept;
// The calling thread's number, never 0; another one in a child of fork(). A system call the first
// time in a thread, a load from then on.
[[nodiscard]] inline int thread_id() noexcept;
// Whether a thread of that process has not ended. Anything but a clear no counts as yes.
[[nodiscard]] bool thread_exists(int process, int thread) noexcept;
// Whether the kernel lets us act for every user. (In a container that may mean less.)
[[nodiscard]] bool is_root() noexcept;
// Processor time of the calling thread, in and out of the kernel.
[[nodiscard]] std::uint64_t thread_cpu_ns() noexcept;
// How the calling thread is called in /proc and debuggers; the kernel keeps 15 bytes.
void name_this_thread(const char* name) noexcept;
// Binds the calling thread to the n-th of the processors that it may use, counted from 0 and round
// and round. Errors: EINVAL when they changed meanwhile.
Outcome<void> stay_on_processor(unsigned ordinal) noexcept;
// Fills it with random bytes: for names that must not be met twice. Errors: ENOSYS before 3.17.
// REQUIRES: at most 256 bytes, which are never given in part.
Outcome<void> draw_random(std::span<std::byte> into) noexcept;

namespace internal {

inline constinit thread_local int known_thread_id = 0;
[[nodiscard]] int ask_thread_id() noexcept;

}  // namespace internal

inline int thread_id() noexcept {
  const int known = internal::known_thread_id;
  return known != 0 ? known : internal::ask_thread_id();
}

}  // namespace quire::sys
