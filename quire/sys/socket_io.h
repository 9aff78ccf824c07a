// SPDX-License-Identifier: Apache-2.0
//
// socket_io: sending and receiving on a connected socket, and sending without a copy.
//
//   send_some(kZeroCopy)  --> the kernel pins the pages and returns at once; the call has number n
//   ... the pages must stay as they are ...
//   next_notice()         --> "calls n..m are done, with / without a copy after all"
//
// Notices come through the socket's error queue; a socket with one waiting polls as POLLERR.
// Numbers count the successful zero-copy calls of a socket from 0, in 32 bits, and wrap around.
//
// Thread-safety: any thread; two senders on one socket mix their bytes and their numbers.
// Errors:        Outcome with the kernel's errno; EINTR never; EPIPE without a signal.
// Kernel:        zero copy: TCP 4.14; UNIX sockets never.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "quire/sys/outcome.h"

namespace quire::sys {

enum class SocketFamily : std::uint8_t { kUnix, kIp4, kIp6, kOther };

struct SocketFacts {
  SocketFamily family = SocketFamily::kOther;
  bool is_stream = false;  // SOCK_STREAM: a row of bytes, not messages.
  bool is_connected = false;
  bool is_loopback = false;  // The peer is this machine: what is sent is copied on arrival.
};
// Errors: ENOTSOCK.
[[nodiscard]] Outcome<SocketFacts> socket_facts(int fd) noexcept;

struct SendFlags {
  bool zero_copy = false;    // MSG_ZEROCOPY; enable_zero_copy() first.
  bool more = false;         // MSG_MORE: wait for what follows before a packet leaves.
  bool never_block = false;  // MSG_DONTWAIT, also on a blocking socket.
};
// One send(2): may be short. Errors: EAGAIN when it would block; ENOBUFS when the pinned memory or
// the notices waiting exceed the limit (net.core.optmem_max); EFAULT for memory that is not there.
Outcome<std::size_t> send_some(int fd, std::span<const std::byte> from,
                               const SendFlags& flags) noexcept;
// One recv(2): 0 is the end. Errors: EAGAIN; ECONNRESET.
[[nodiscard]] Outcome<std::size_t> receive_some(int fd, std::span<std::byte> into) noexcept;

// SO_RCVLOWAT: how many bytes must have come before a reader of a TCP socket is woken, 1 unless
// set. The end and an error wake it at once. Who asks for less than that waits for ever when no
// more comes: it must be lowered in time.
[[nodiscard]] Outcome<int> receive_low_water(int fd) noexcept;
Outcome<void> set_receive_low_water(int fd, int bytes) noexcept;

// SO_ZEROCOPY. Errors: EOPNOTSUPP, ENOTSUPP, EINVAL where the socket cannot.
Outcome<void> enable_zero_copy(int fd) noexcept;

struct ZeroCopyNotice {
  std::uint32_t first = 0;  // Numbers of calls, both inclusive.
  std::uint32_t last = 0;
  bool was_copied = false;  // The kernel copied after all: always on loopback.
};
// The next notice, or nothing when none waits. Never blocks.
[[nodiscard]] Outcome<std::optional<ZeroCopyNotice>> next_notice(int fd) noexcept;

// SO_ERROR, fetched and cleared: why a socket became unusable; 0: it did not.
[[nodiscard]] Outcome<int> take_socket_error(int fd) noexcept;

}  // namespace quire::sys
