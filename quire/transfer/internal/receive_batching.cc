// SPDX-License-Identifier: Apache-2.0
#include "quire/transfer/internal/receive_batching.h"

#include <utility>

#include "quire/sys/socket_io.h"

namespace quire::internal {

ReceiveBatching::ReceiveBatching(Job& job) : job_(job) {
  const sys::SocketFacts& socket = job.source().socket;
  const bool is_tcp =
      job.source().is_socket() && socket.is_stream &&
      (socket.family == sys::SocketFamily::kIp4 || socket.family == sys::SocketFamily::kIp6);
  if (!is_tcp || !has_enough_to_come()) {
    return;
  }
  job.count_call();
  const auto own_limit = sys::receive_low_water(job.source().fd);
  if (!own_limit) {
    return;
  }
  job.count_call();
  if (sys::set_receive_low_water(job.source().fd, kLowWaterBytes)) {
    own_limit_ = *own_limit;
    job.set_last_resort([this] { return end(); });
  }
}

bool ReceiveBatching::has_enough_to_come() const {
  const auto& length_bytes = job_.source().length_bytes;
  return length_bytes && *length_bytes - job_.moved_bytes() >= kLowWaterBytes;
}

void ReceiveBatching::before_step() {
  if (own_limit_ && !has_enough_to_come()) {
    static_cast<void>(end());
  }
}

bool ReceiveBatching::end() {
  const auto own_limit = std::exchange(own_limit_, std::nullopt);
  if (!own_limit) {
    return false;
  }
  job_.count_call();
  return sys::set_receive_low_water(job_.source().fd, *own_limit).has_value();
}

}  // namespace quire::internal
