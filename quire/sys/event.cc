// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/event.h"

#include <sys/eventfd.h>

#include <cerrno>

#include "quire/base/check.h"
#include "quire/sys/call.h"
#include "quire/sys/internal/run.h"

namespace quire::sys {

Outcome<Descriptor> create_event() noexcept {
  return internal::run(Call::kEvent, [](const CallSite&) { return ::eventfd(0, EFD_CLOEXEC); })
      .map([](int fd) { return Descriptor(fd); });
}

void signal_event(const Descriptor& event) noexcept {
  // The counter cannot be full: each signal adds 1 to 64 bits. No door: there is nothing to fail.
  QUIRE_CHECK_EQ(::eventfd_write(event.get(), 1), 0);
}

}  // namespace quire::sys
