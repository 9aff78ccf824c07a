// SPDX-License-Identifier: Apache-2.0
//
// event: eventfd(2), a counter with a descriptor: one thread signals, another one, who waits on
// descriptors (poll, a ring), wakes up.
//
// Signals that come before anybody looks are one wake-up. Reading the descriptor (8 bytes) takes
// them all.
//
// Thread-safety: any thread.
// Errors:        Outcome.
#pragma once

#include <cstddef>

#include "quire/sys/descriptor.h"
#include "quire/sys/outcome.h"

namespace quire::sys {

inline constexpr std::size_t kEventBytes = 8;  // What a read of the descriptor gives.

// Close-on-exec; reads block while there is no signal. Errors: EMFILE, ENFILE, ENOMEM.
[[nodiscard]] Outcome<Descriptor> create_event() noexcept;
// Never blocks.
// REQUIRES: `event` was made by create_event() (checked: a signal that is lost is a hang).
void signal_event(const Descriptor& event) noexcept;

}  // namespace quire::sys
