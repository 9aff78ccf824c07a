// SPDX-License-Identifier: Apache-2.0
//
// event: eventfd(2), a counter with a descriptor: one thread signals, another one, who waits on
// descriptors (poll, a Poller, a ring), wakes up.
//
// Signals that come before anybody looks are one wake-up. Reading the descriptor (8 bytes) takes
// them all; so does clear_signals(), for who was told by a poll.
//
// Thread-safety: any thread.
// Errors:        Outcome.
#pragma once

#include <cstddef>
#include <cstdint>

#include "quire/sys/descriptor.h"
#include "quire/sys/outcome.h"

namespace quire::sys {

inline constexpr std::size_t kEventBytes = 8;  // What a read of the descriptor gives.

// What a read does while there is no signal: wait for one (a ring's reads do), or fail with EAGAIN.
enum class EventReads : std::uint8_t { kBlock, kNeverBlock };

// Close-on-exec. Errors: EMFILE, ENFILE, ENOMEM.
[[nodiscard]] Outcome<Descriptor> create_event(EventReads reads = EventReads::kBlock) noexcept;
// Never blocks. Signal handlers may call it: no lock, no allocation, errno is kept.
// REQUIRES: `event` was made by create_event() (checked: a signal that is lost is a hang).
void signal_event(const Descriptor& event) noexcept;
// Takes the signals that are there, if any. Never blocks.
// REQUIRES: an event that was made with EventReads::kNeverBlock, or a timer (poller.h).
void clear_signals(const Descriptor& timer_or_event) noexcept;

}  // namespace quire::sys
