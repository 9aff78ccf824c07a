// SPDX-License-Identifier: Apache-2.0
//
// stop: whether somebody asked to stop, by a token or by a descriptor that became readable.
//
// Thread-safety: any thread. Cost: one poll(2) where there is a descriptor.
#pragma once

#include <stop_token>

#include "quire/sys/transfer_calls.h"

namespace quire::internal {

[[nodiscard]] inline bool is_stop_requested(const std::stop_token& stop, int stop_fd) {
  if (stop.stop_requested()) {
    return true;
  }
  if (stop_fd < 0) {
    return false;
  }
  const auto end = sys::wait_for(stop_fd, sys::WaitFor::kReadable, -1, 0);
  return end && *end != sys::WaitEnd::kTimedOut;
}

}  // namespace quire::internal
