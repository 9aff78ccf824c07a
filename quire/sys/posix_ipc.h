// SPDX-License-Identifier: Apache-2.0
//
// posix_ipc: what POSIX has for processes that share memory or pass messages: a robust mutex and a
// message queue. quire does not use them; it is measured beside them.
//
// Thread-safety: any thread of any process.
// Errors:        Outcome.
#pragma once

#include <pthread.h>

#include <cstddef>
#include <span>

#include "quire/sys/descriptor.h"
#include "quire/sys/outcome.h"

namespace quire::sys {

// A pthread_mutex_t that is robust and shared by processes. REQUIRES: in shared memory, zeroed,
// where it stays; open() before its use.
class RobustMutex {
 public:
  Outcome<void> open() noexcept;
  // Blocks. False: its owner died, or it is lost.
  bool lock() noexcept { return pthread_mutex_lock(&mutex_) == 0; }
  void unlock() noexcept { pthread_mutex_unlock(&mutex_); }

 private:
  pthread_mutex_t mutex_;
};

// A message queue without a name. Errors: EMFILE for the limit of queues' bytes, EINVAL beyond
// those of /proc/sys/fs/mqueue, ENOSYS where the kernel has none.
[[nodiscard]] Outcome<Descriptor> create_message_queue(std::size_t messages_max,
                                                       std::size_t message_bytes) noexcept;
// Blocks while it is full. REQUIRES: at most message_bytes.
Outcome<void> send_message(int queue, std::span<const std::byte> message) noexcept;
// Blocks while it is empty. REQUIRES: room for message_bytes.
Outcome<std::size_t> receive_message(int queue, std::span<std::byte> into) noexcept;

}  // namespace quire::sys
