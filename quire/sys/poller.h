// SPDX-License-Identifier: Apache-2.0
//
// Poller: which of many descriptors are readable; epoll(7). And timers that are descriptors, so
// that a thread which waits for descriptors wakes up in time.
//
//   QUIRE_TRY(poller.add(timer.get(), kTimerTag));
//   ... wait until poller.fd() is readable: an IoQueue's kAwaitReadable, wait_readable() ...
//   std::array<std::uint64_t, 16> tags;
//   for (std::uint64_t tag : std::span(tags).first(QUIRE_TRY(poller.ready(tags)))) ...
//
// Level-triggered: a descriptor is ready as long as there is something to read, so nothing is lost
// by looking late, and whoever does not take what is there is told again at once.
//
// Invariants:    fd() is readable while one of the descriptors is.
// Thread-safety: any thread; the descriptors stay open until they are removed.
// Errors:        Outcome; EINTR never gets out of here.
// Cost:          one system call per function; no allocation.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "quire/sys/descriptor.h"
#include "quire/sys/event.h"  // clear_signals(): timers are cleared as events are.
#include "quire/sys/outcome.h"

namespace quire::sys {

class Poller {
 public:
  static constexpr std::size_t kReadyMax = 64;  // Tags of one look: 768 bytes of stack.

  // Close-on-exec. Errors: EMFILE, ENFILE, ENOMEM.
  [[nodiscard]] static Outcome<Poller> open() noexcept;

  // From now on `tag` is told while `fd` is readable, or its peer has hung up.
  // Errors: EEXIST when it is there already; EPERM for regular files and directories, which are
  //         always readable; EBADF, ENOMEM, ENOSPC (fs.epoll.max_user_watches).
  Outcome<void> add(int fd, std::uint64_t tag) noexcept;
  // Errors: ENOENT when it is not there; EBADF.
  Outcome<void> remove(int fd) noexcept;

  // Writes the tags of descriptors that are ready now, and returns how many: at most `tags` holds,
  // and kReadyMax. Those that did not fit come first the next time. Never blocks.
  [[nodiscard]] Outcome<std::size_t> ready(std::span<std::uint64_t> tags) noexcept;

  [[nodiscard]] int fd() const noexcept { return descriptor_.get(); }

 private:
  explicit Poller(Descriptor descriptor) noexcept : descriptor_(std::move(descriptor)) {}

  Descriptor descriptor_;
};

// A timer of CLOCK_MONOTONIC, disarmed: readable from when it expires until clear_signals() or
// set_timer(). Close-on-exec, reads never block. Errors: EMFILE, ENFILE, ENOMEM.
[[nodiscard]] Outcome<Descriptor> create_timer() noexcept;
// Expires once, `from_now`; at once for a time that is over (negative). Zero disarms. Forgets what
// was set before, and that it expired.
Outcome<void> set_timer(const Descriptor& timer, std::chrono::nanoseconds from_now) noexcept;

}  // namespace quire::sys
