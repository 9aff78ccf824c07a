// SPDX-License-Identifier: Apache-2.0
#include "quire/transfer/endpoint.h"

#include <fmt/format.h>

#include <cerrno>
#include <charconv>
#include <utility>
#include <vector>

#include "quire/sys/file.h"
#include "quire/sys/socket.h"
#include "quire/sys/transfer_calls.h"

namespace quire {
namespace {

constexpr std::string_view kTcp = "tcp:";
constexpr std::string_view kUnix = "unix:";
const char* const kLoopback = "127.0.0.1";

std::error_code from_errno(int value) {
  return {value, std::system_category()};
}

Error no_endpoint(std::string_view text, std::string cause) {
  return Error({.code = from_errno(EINVAL),
                .operation = "address",
                .subject = std::string(text),
                .cause = std::move(cause),
                .remedy = "write tcp:HOST:PORT, tcp:PORT or unix:PATH"});
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  const bool is_whole = error == std::errc{} && end == text.data() + text.size();
  return is_whole && !text.empty() ? std::optional(port) : std::nullopt;
}

// An IPv6 number has colons of its own.
std::string join(std::string_view host, std::uint16_t port) {
  return host.find(':') == std::string_view::npos ? fmt::format("{}:{}", host, port)
                                                  : fmt::format("[{}]:{}", host, port);
}

// "HOST:PORT", "[HOST]:PORT" or "PORT".
Result<Endpoint> parse_tcp(std::string_view text, std::string_view rest) {
  const std::size_t colon = rest.rfind(':');
  const bool has_host = colon != std::string_view::npos;
  const auto port = parse_port(has_host ? rest.substr(colon + 1) : rest);
  if (!port) {
    return fail(no_endpoint(text, "the port is no number from 0 to 65535"));
  }
  std::string_view host = has_host ? rest.substr(0, colon) : kLoopback;
  const bool is_bracketed = host.size() >= 2 && host.starts_with('[') && host.ends_with(']');
  if (is_bracketed) {
    host = host.substr(1, host.size() - 2);
  }
  if (host.empty() || host.find('\0') != std::string_view::npos) {
    return fail(no_endpoint(text, "the host is missing"));
  }
  if (!is_bracketed && host.find(':') != std::string_view::npos) {
    return fail(no_endpoint(text, "an IPv6 number stands in brackets, as in tcp:[::1]:9000"));
  }
  return Endpoint{.host = std::string(host), .port = *port};
}

Error node_error(sys::Errno cause, const std::string& operation, const Endpoint& endpoint) {
  switch (cause.value) {
    case EADDRINUSE:
      return sys::to_error(cause, operation, to_text(endpoint),
                           endpoint.is_path() ? "choose another path, or remove what is there"
                                              : "choose another port, or 0 for any free one");
    case EACCES:
      return sys::to_error(cause, operation, to_text(endpoint),
                           endpoint.is_path() ? "choose a path that you may write to"
                                              : "ports below 1024 are root's: choose another one");
    case EADDRNOTAVAIL:
      return sys::to_error(cause, operation, to_text(endpoint),
                           "listen on an address of this machine");
    default: return sys::to_error(cause, operation, to_text(endpoint));
  }
}

Error connect_error(sys::Errno cause, const Endpoint& endpoint) {
  switch (cause.value) {
    case ECONNREFUSED:
    case ENOENT:
      return sys::to_error(cause, "connect", to_text(endpoint),
                           "start 'quire receive' there first");
    case EAGAIN:
      return sys::to_error(cause, "connect", to_text(endpoint),
                           "too many wait for this receiver: try again later");
    default: return sys::to_error(cause, "connect", to_text(endpoint));
  }
}

// Addresses of either kind.
Result<std::vector<sys::SocketAddress>> addresses_of(const Endpoint& endpoint) {
  if (!endpoint.is_path()) {
    return sys::resolve_tcp(endpoint.host, endpoint.port);
  }
  const auto address = sys::SocketAddress::of_path(endpoint.path);
  if (!address) {
    return fail(sys::to_error(address.error(), "address", to_text(endpoint),
                              "the path of a socket has at most 107 bytes"));
  }
  return std::vector{*address};
}

// Whether a socket node is there that nobody answers at.
bool is_abandoned(const Endpoint& endpoint, const sys::SocketAddress& address) {
  const auto status = sys::path_status(endpoint.path.c_str(), true);
  if (!status || status->kind != sys::FileKind::kSocket) {
    return false;
  }
  const auto connection = sys::start_connect(address);
  return !connection && connection.error().value == ECONNREFUSED;
}

Result<sys::Descriptor> listen_at(const Endpoint& endpoint, const sys::SocketAddress& address,
                                  AllowedUser allowed_user) {
  // Whom the node keeps out never reaches the question who they are.
  const sys::ListenOptions options{.path_mode = allowed_user ? 0666U : 0600U};
  auto listener = sys::listen_on(address, options);
  if (!listener && listener.error().value == EADDRINUSE && endpoint.is_path() &&
      is_abandoned(endpoint, address)) {
    static_cast<void>(sys::unlink_path(endpoint.path.c_str()));
    listener = sys::listen_on(address, options);
  }
  if (!listener) {
    return fail(node_error(listener.error(), "listen", endpoint));
  }
  return std::move(*listener);
}

Result<sys::Descriptor> connect_one(const Endpoint& endpoint, const sys::SocketAddress& address,
                                    const ConnectLimits& limits) {
  auto connection = sys::start_connect(address);
  if (!connection) {
    return fail(connect_error(connection.error(), endpoint));
  }
  const auto waited = sys::wait_for(connection->get(), sys::WaitFor::kWritable, limits.stop_fd,
                                    static_cast<int>(limits.wait.count()));
  if (!waited) {
    return fail(connect_error(waited.error(), endpoint));
  }
  if (*waited == sys::WaitEnd::kStopped) {
    return fail(make_error(Errc::kCancelled, "connect", to_text(endpoint)));
  }
  if (*waited == sys::WaitEnd::kTimedOut) {
    return fail(connect_error({ETIMEDOUT}, endpoint));
  }
  if (const auto finished = sys::finish_connect(connection->get()); !finished) {
    return fail(connect_error(finished.error(), endpoint));
  }
  return std::move(*connection);
}

}  // namespace

Result<Endpoint> parse_endpoint(std::string_view text) {
  if (text.starts_with(kTcp)) {
    return parse_tcp(text, text.substr(kTcp.size()));
  }
  if (!text.starts_with(kUnix)) {
    return fail(no_endpoint(text, "it is neither tcp: nor unix:"));
  }
  const std::string_view path = text.substr(kUnix.size());
  if (path.empty() || path.find('\0') != std::string_view::npos) {
    return fail(no_endpoint(text, "the path is missing"));
  }
  return Endpoint{.path = std::string(path)};
}

std::string to_text(const Endpoint& endpoint) {
  return endpoint.is_path() ? fmt::format("{}{}", kUnix, endpoint.path)
                            : fmt::format("{}{}", kTcp, join(endpoint.host, endpoint.port));
}

Listener::Listener(Endpoint endpoint, sys::Descriptor socket, bool is_public)
    : endpoint_(std::move(endpoint)), socket_(std::move(socket)), is_public_(is_public) {
  const auto node = endpoint_.is_path() ? sys::path_status(endpoint_.path.c_str(), true)
                                        : sys::Outcome<sys::FileStatus>{};
  if (node) {
    node_device_ = node->device;
    node_inode_ = node->inode;
  }
}

Listener::Listener(Listener&& other) noexcept
    : endpoint_(std::move(other.endpoint_)),
      socket_(std::move(other.socket_)),
      is_public_(other.is_public_),
      node_device_(other.node_device_),
      node_inode_(std::exchange(other.node_inode_, 0)) {}

Listener::~Listener() {
  if (node_inode_ == 0) {
    return;
  }
  // Somebody else may have put a node of their own there.
  const auto node = sys::path_status(endpoint_.path.c_str(), true);
  if (node && node->device == node_device_ && node->inode == node_inode_) {
    static_cast<void>(sys::unlink_path(endpoint_.path.c_str()));
  }
}

Result<Listener> Listener::open(const Endpoint& endpoint, AllowedUser allowed_user) {
  const std::vector<sys::SocketAddress> addresses = QUIRE_TRY(addresses_of(endpoint));
  Result<sys::Descriptor> socket = fail(node_error({EADDRNOTAVAIL}, "listen", endpoint));
  for (const sys::SocketAddress& address : addresses) {
    socket = listen_at(endpoint, address, allowed_user);
    if (socket) {
      break;
    }
  }
  if (!socket) {
    return fail(socket.error());
  }
  const auto bound = sys::local_address(socket->get());
  if (!bound) {
    return fail(node_error(bound.error(), "listen", endpoint));
  }
  Endpoint actual = endpoint;
  if (!endpoint.is_path()) {
    actual = {.host = bound->host(), .port = bound->port()};
  }
  return Listener(std::move(actual), std::move(*socket), !bound->is_local());
}

Result<sys::Descriptor> connect_to(const Endpoint& endpoint, AllowedUser allowed_user,
                                   const ConnectLimits& limits) {
  if (!endpoint.is_path() && endpoint.port == 0) {
    return fail(no_endpoint(to_text(endpoint), "nobody can be reached at port 0"));
  }
  const std::vector<sys::SocketAddress> addresses = QUIRE_TRY(addresses_of(endpoint));
  Result<sys::Descriptor> connection = fail(connect_error({EHOSTUNREACH}, endpoint));
  for (const sys::SocketAddress& address : addresses) {
    connection = connect_one(endpoint, address, limits);
    if (connection || connection.error().code() == Errc::kCancelled) {
      break;
    }
  }
  if (connection) {
    QUIRE_TRY(check_peer(connection->get(), allowed_user));
  }
  return connection;
}

Result<void> check_peer(int fd, AllowedUser allowed_user) {
  const auto address = sys::local_address(fd);
  if (!address) {
    return fail(sys::to_error(address.error(), "look at", "connection"));
  }
  if (address->family() != sys::SocketFamily::kUnix) {
    return {};
  }
  const auto user = sys::peer_user(fd);
  if (!user) {
    return fail(sys::to_error(user.error(), "look at", "connection"));
  }
  if (*user == sys::effective_user() || *user == 0 || *user == allowed_user) {
    return {};
  }
  return fail(Error({.code = from_errno(EACCES),
                     .operation = "connect",
                     .subject = fmt::format("user {}", *user),
                     .cause = "the other side of the socket belongs to another user",
                     .remedy = "allow that user with --allow-user, if it is to be trusted"}));
}

std::string describe_peer(int fd) {
  const auto address = sys::peer_address(fd);
  if (!address) {
    return "somebody who went away";
  }
  if (address->family() == sys::SocketFamily::kUnix) {
    const auto user = sys::peer_user(fd);
    return user ? fmt::format("user {}", *user) : "a user that the kernel does not tell";
  }
  return join(address->host(), address->port());
}

}  // namespace quire
