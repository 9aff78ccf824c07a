// SPDX-License-Identifier: Apache-2.0
//
// Event: something has happened, for all who wait for it, until it is reset.
//
//          set(): number + 1, wake all
//   unset ------------------------------> set      wait() returns at once
//     ^                                    |
//     '------------ reset() ---------------'       wait() waits for the next set()
//
// What is shared:
//   event, 128 bytes, aligned to 64
//    0   8  state: bit 0 set, bits 1-63 how often it was set
//    8  56  zero
//   64  64  wait point (wait_point.h)
//
// Invariants:    who waits when set() comes is released by it, even if reset() follows at once: the
//                number tells. Every pattern of bytes is a state.
//                An event has no owner, and a death at any step leaves it set or unset; should one
//                die between setting and waking, recoveries (see Participants) wake.
// Thread-safety: any thread of any process.
// Cost:          set() makes no system call when nobody sleeps; wait() none when it is set.
#pragma once

#include <cstdint>
#include <string>

#include "quire/base/result.h"
#include "quire/ipc/object.h"
#include "quire/ipc/participants.h"
#include "quire/ipc/wait_point.h"

namespace quire::ipc {

class Segment;

class Event {
 public:
  [[nodiscard]] static ObjectSpec object(std::string name);
  // Errors: those of Segment::find().
  [[nodiscard]] static Result<Event> open(const Segment& segment, const std::string& name);
  // REQUIRES: an object of a spec made by object().
  explicit Event(ObjectRef object);

  void set() noexcept;
  void reset() noexcept;
  [[nodiscard]] bool is_set() const noexcept;
  // Until it is set. Blocks. False: the time is over.
  [[nodiscard]] bool wait(const WaitOptions& options = {}) const;
  // True: the bell rings at the next set(). False: it is set.
  [[nodiscard]] bool arm(const Doorbell& bell) const;

 private:
  struct Shared;

  ObjectRef object_;
  Shared* shared_;  // In the object.
  DeathHook recovery_;
};

}  // namespace quire::ipc
