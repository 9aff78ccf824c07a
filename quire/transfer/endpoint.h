// SPDX-License-Identifier: Apache-2.0
//
// endpoint: where the two sides of a sent file meet, as text and as a socket.
//
//   tcp:127.0.0.1:9000   tcp:[::1]:9000   tcp:build-host:9000
//   tcp:9000             this machine only: the same as tcp:127.0.0.1:9000
//   unix:/run/quire.sock the path of a UNIX socket
//
// Nothing listens beyond this machine unless the address says so: a port alone is the loopback's.
// A UNIX socket's node belongs to its user (mode 0600), and both sides ask the kernel who the other
// one is: the same user, or root, who could become that user anyway; another one only by name
// (allowed_user). A node that nobody listens on any more is replaced; anything else at the path is
// left alone and refused.
//
// Thread-safety: plain values and functions; a Listener serves one thread.
// Blocks:        connect_to, until the limit or the stop descriptor ends it; a host name as long as
//                the resolver takes.
// Errors:        EINVAL for text that is no endpoint; EADDRINUSE, ECONNREFUSED, EHOSTUNREACH,
//                ENOENT, ETIMEDOUT ... with what can be done; EACCES for the wrong user;
//                kCancelled.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "quire/base/result.h"
#include "quire/sys/descriptor.h"

namespace quire {

struct Endpoint {
  std::string host = {};  // A name or a number; "" for a path.
  std::uint16_t port = 0;
  std::string path = {};  // Of a UNIX socket; "" for TCP.

  [[nodiscard]] bool is_path() const noexcept { return !path.empty(); }
  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

[[nodiscard]] Result<Endpoint> parse_endpoint(std::string_view text);
// The text that parses to it.
[[nodiscard]] std::string to_text(const Endpoint& endpoint);

// Who may be at the other end of a UNIX socket beside ourselves and root.
using AllowedUser = std::optional<std::uint32_t>;

// The waiting side.
class Listener {
 public:
  // Port 0 is any free one. REQUIRES: `endpoint` as parse_endpoint() gives it.
  [[nodiscard]] static Result<Listener> open(const Endpoint& endpoint, AllowedUser allowed_user);
  Listener(Listener&& other) noexcept;
  Listener& operator=(Listener&&) = delete;
  // Closes, and removes the node of a path.
  ~Listener();

  // With the port that it became.
  [[nodiscard]] const Endpoint& endpoint() const noexcept { return endpoint_; }
  // Whether other machines can connect.
  [[nodiscard]] bool is_public() const noexcept { return is_public_; }
  [[nodiscard]] int fd() const noexcept { return socket_.get(); }

 private:
  Listener(Endpoint endpoint, sys::Descriptor socket, bool is_public);

  Endpoint endpoint_;
  sys::Descriptor socket_;
  bool is_public_ = false;
  std::uint64_t node_device_ = 0;  // The node of a path that is ours to remove.
  std::uint64_t node_inode_ = 0;
};

struct ConnectLimits {
  std::chrono::milliseconds wait{30'000};  // For each address of a host.
  int stop_fd = -1;                        // Readable: stop.
};
// A connection to whoever listens there. The addresses of a host are tried in order.
[[nodiscard]] Result<sys::Descriptor> connect_to(const Endpoint& endpoint, AllowedUser allowed_user,
                                                 const ConnectLimits& limits);

// Whether the user at the other end of a connected UNIX socket may be there; anyone may on TCP.
// Errors: EACCES, with the user.
[[nodiscard]] Result<void> check_peer(int fd, AllowedUser allowed_user);
// "127.0.0.1:41234", "user 1000": who is at the other end, for messages.
[[nodiscard]] std::string describe_peer(int fd);

}  // namespace quire
