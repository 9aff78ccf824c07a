// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/event.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "quire/base/check.h"
#include "quire/sys/call.h"
#include "quire/sys/internal/run.h"

namespace quire::sys {

Outcome<Descriptor> create_event(EventReads reads) noexcept {
  const int flags = EFD_CLOEXEC | (reads == EventReads::kNeverBlock ? EFD_NONBLOCK : 0);
  return internal::run(Call::kEvent, [&](const CallSite&) { return ::eventfd(0, flags); })
      .map([](int fd) { return Descriptor(fd); });
}

void signal_event(const Descriptor& event) noexcept {
  // The counter cannot be full: each signal adds 1 to 64 bits. No door: there is nothing to fail.
  // A write(2) and nothing else, which POSIX allows in a signal handler.
  const std::uint64_t one = 1;
  static_assert(sizeof one == kEventBytes);
  QUIRE_CHECK_EQ(::write(event.get(), &one, sizeof one), ssize_t{sizeof one});
}

void clear_signals(const Descriptor& timer_or_event) noexcept {
  // EAGAIN: there were none. Whatever else it may be, the signals stay and are seen again.
  std::uint64_t count = 0;
  static_cast<void>(internal::run(Call::kEvent, [&](const CallSite&) {
    return ::read(timer_or_event.get(), &count, sizeof count);
  }));
}

}  // namespace quire::sys
