// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/posix_ipc.h"

#include <fcntl.h>
#include <mqueue.h>
#include <unistd.h>

#include <cstdio>

#include "quire/sys/call.h"
#include "quire/sys/internal/run.h"
#include "quire/sys/process.h"

namespace quire::sys {

using internal::run;
using internal::run_void;

Outcome<void> RobustMutex::open() noexcept {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);  // Neither this nor the next two can fail on Linux.
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  const int refused = pthread_mutex_init(&mutex_, &attributes);
  pthread_mutexattr_destroy(&attributes);
  return refused == 0 ? Outcome<void>() : refuse(refused);
}

Outcome<Descriptor> create_message_queue(std::size_t messages_max,
                                         std::size_t message_bytes) noexcept {
  mq_attr attributes{};
  attributes.mq_maxmsg = static_cast<long>(messages_max);
  attributes.mq_msgsize = static_cast<long>(message_bytes);
  char name[32];
  static_cast<void>(std::snprintf(name, sizeof name, "/quire-%d", process_id()));
  const int queue = QUIRE_TRY(run(Call::kOpen, [&](const CallSite&) {
    return ::mq_open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600, &attributes);
  }));
  ::mq_unlink(name);
  return Descriptor(queue);
}

Outcome<void> send_message(int queue, std::span<const std::byte> message) noexcept {
  return run_void(Call::kSend, [&] {
    return ::mq_send(queue, reinterpret_cast<const char*>(message.data()), message.size(), 0);
  });
}

Outcome<std::size_t> receive_message(int queue, std::span<std::byte> into) noexcept {
  const auto count = QUIRE_TRY(run(Call::kReceive, [&](const CallSite&) {
    return ::mq_receive(queue, reinterpret_cast<char*>(into.data()), into.size(), nullptr);
  }));
  return static_cast<std::size_t>(count);
}

}  // namespace quire::sys
