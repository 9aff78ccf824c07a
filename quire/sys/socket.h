// SPDX-License-Identifier: Apache-2.0
//
// socket: stream sockets from address to connection: resolve, listen, accept, connect, and who the
// other side is. What travels on them is socket_io.h and transfer_calls.h.
//
//   resolve_tcp("localhost", 9000) -> addresses -> listen_on(address) -> accept_from(listener)
//                                               -> start_connect(address) -> finish_connect(socket)
//
// Every socket here is close-on-exec and, but for connected_pair(), non-blocking: whoever waits
// does so with wait_for(), which a stop descriptor and a time limit can end. TCP sockets send small
// writes at once (TCP_NODELAY); SendFlags::more keeps them together where more follows.
//
// Thread-safety: any thread; a SocketAddress is a plain value.
// Errors:        Outcome with the kernel's errno; resolve_tcp() has words of its own.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "quire/base/result.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/outcome.h"
#include "quire/sys/socket_io.h"

namespace quire::sys {

// Where a stream socket is, as the kernel writes it.
class SocketAddress {
 public:
  static constexpr std::size_t kStorageBytes = 128;

  // A path in the file system. Errors: ENAMETOOLONG past 107 bytes; EINVAL for an empty one.
  [[nodiscard]] static Outcome<SocketAddress> of_path(const std::string& path) noexcept;
  // REQUIRES: length_bytes <= kStorageBytes.
  SocketAddress(const void* raw, std::size_t length_bytes) noexcept;

  [[nodiscard]] SocketFamily family() const noexcept;
  // 127.0.0.0/8, ::1 (mapped IPv4 included), and every path: nobody outside this machine.
  [[nodiscard]] bool is_local() const noexcept;
  // Of an IP address; 0 otherwise.
  [[nodiscard]] std::uint16_t port() const noexcept;
  // "127.0.0.1", "::1", "/run/a.sock"; "" for a peer without a name.
  [[nodiscard]] std::string host() const;

  [[nodiscard]] const void* data() const noexcept { return storage_.data(); }
  [[nodiscard]] std::size_t length_bytes() const noexcept { return length_bytes_; }

 private:
  alignas(8) std::array<std::byte, kStorageBytes> storage_{};
  std::size_t length_bytes_ = 0;
};

// The addresses of a host by name or number, IPv6 and IPv4, in the order the resolver prefers.
// Blocks as long as the resolver does; a number needs no resolver.
// Errors: EHOSTUNREACH for a name nobody knows, EAGAIN when the resolver did not answer.
[[nodiscard]] Result<std::vector<SocketAddress>> resolve_tcp(const std::string& host,
                                                             std::uint16_t port);

struct ListenOptions {
  // Of a path's node: who may connect. Set before the name exists, so that it is never wider.
  std::uint32_t path_mode = 0600;
  int backlog = 16;  // Connections that wait; the next one is refused or has to try again.
};
// Errors: EADDRINUSE, EACCES, EADDRNOTAVAIL; for a path, EADDRINUSE also when anything is there.
[[nodiscard]] Outcome<Descriptor> listen_on(const SocketAddress& address,
                                            const ListenOptions& options) noexcept;
// The next connection. Errors: EAGAIN when none waits, also when it went away meanwhile.
[[nodiscard]] Outcome<Descriptor> accept_from(int listener) noexcept;

// Begins to connect; wait until the socket is writable, then finish_connect().
// Errors: those that are known at once: ECONNREFUSED, ENOENT (a path), EAGAIN (a path's backlog is
//         full).
[[nodiscard]] Outcome<Descriptor> start_connect(const SocketAddress& address) noexcept;
// Errors: ECONNREFUSED, ENETUNREACH, ETIMEDOUT ...
Outcome<void> finish_connect(int fd) noexcept;

[[nodiscard]] Outcome<SocketAddress> local_address(int fd) noexcept;
[[nodiscard]] Outcome<SocketAddress> peer_address(int fd) noexcept;
// The user on the other side of a UNIX socket, when it connected or began to listen (SO_PEERCRED).
[[nodiscard]] Outcome<std::uint32_t> peer_user(int fd) noexcept;
// The user whose permissions this process has.
[[nodiscard]] std::uint32_t effective_user() noexcept;

// Two ends of a connection without a name, for messages that stay apart (SOCK_SEQPACKET) and
// descriptors. They block. Whoever has gone is the end of the stream for the other.
[[nodiscard]] Outcome<std::pair<Descriptor, Descriptor>> connected_pair() noexcept;

// No more bytes from us: the other side reads the end.
Outcome<void> shut_down_sending(int fd) noexcept;

}  // namespace quire::sys
