// SPDX-License-Identifier: Apache-2.0
//
// ReceiveBatching: lets a TCP source gather bytes before it wakes us.
//
// TCP wakes its reader for every packet, some 64 KiB on the loopback. Where the reader is the
// faster side it sleeps after each, and waking it costs the sender more than moving the bytes.
// Asking to be woken for 128 KiB at a time (SO_RCVLOWAT) made a loopback transfer half as fast
// again, at three quarters of the processor time of both sides; more made it slower, since then
// they take turns.
//
// Only when it is known how much will come: bytes that are the last for now must not lie there and
// wait for more. For the same reason the limit is taken away near the end, and when nothing was
// said for the time that options.stall_timeout_ms allows: what is there then is taken.
//
// Invariants:    the socket's own limit is put back by the destructor.
// Thread-safety: one thread.
// Errors:        none: without it everything works, slower.
#pragma once

#include <cstdint>
#include <optional>

#include "quire/transfer/internal/job.h"

namespace quire::internal {

class ReceiveBatching {
 public:
  explicit ReceiveBatching(Job& job);
  ~ReceiveBatching() { end(); }
  ReceiveBatching(const ReceiveBatching&) = delete;
  ReceiveBatching& operator=(const ReceiveBatching&) = delete;

  // Before each step.
  void before_step();
  // Back to the socket's own limit; true when there was another.
  bool end();

  static constexpr int kLowWaterBytes = 128 << 10;

 private:
  [[nodiscard]] bool has_enough_to_come() const;

  Job& job_;
  std::optional<int> own_limit_;  // While ours is set.
};

}  // namespace quire::internal
