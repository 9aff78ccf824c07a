// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/socket.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "quire/base/check.h"
#include "quire/sys/call.h"
#include "quire/sys/file.h"
#include "quire/sys/internal/run.h"

namespace quire::sys {
namespace {

using internal::run;
using internal::run_void;

static_assert(SocketAddress::kStorageBytes == sizeof(sockaddr_storage));

constexpr std::size_t kPathOffset = offsetof(sockaddr_un, sun_path);

const sockaddr* raw_of(const SocketAddress& address) noexcept {
  return static_cast<const sockaddr*>(address.data());
}

socklen_t length_of(const SocketAddress& address) noexcept {
  return static_cast<socklen_t>(address.length_bytes());
}

template <typename Raw>
Raw as(const SocketAddress& address) noexcept {
  Raw raw{};
  std::memcpy(&raw, address.data(), sizeof raw);
  return raw;
}

Outcome<Descriptor> open_socket(const SocketAddress& address) noexcept {
  const int family = raw_of(address)->sa_family;
  const Outcome<int> fd = run(Call::kSocket, [&](const CallSite&) {
    return ::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  });
  if (!fd) {
    return tl::unexpected<Errno>(fd.error());
  }
  return Descriptor(*fd);
}

Outcome<void> set_option(int fd, int level, int name) noexcept {
  const int on = 1;
  return run_void(Call::kSocket, [&] { return ::setsockopt(fd, level, name, &on, sizeof on); });
}

// Small writes leave at once. On a UNIX socket there is no such option, and no such delay.
Outcome<void> send_at_once(int fd, SocketFamily family) noexcept {
  return family == SocketFamily::kUnix ? Outcome<void>{} : set_option(fd, IPPROTO_TCP, TCP_NODELAY);
}

template <typename Function>
Outcome<SocketAddress> ask_address(int fd, Function&& function) noexcept {
  sockaddr_storage raw{};
  socklen_t length = sizeof raw;
  const Outcome<void> asked = run_void(
      Call::kSocket, [&] { return function(fd, reinterpret_cast<sockaddr*>(&raw), &length); });
  if (!asked) {
    return tl::unexpected<Errno>(asked.error());
  }
  return SocketAddress(&raw, std::min<std::size_t>(length, sizeof raw));
}

// bind(2) takes the umask away from the mode of the node. Whatever stands at the path by now: only
// a socket's mode is touched.
Outcome<void> set_node_mode(const SocketAddress& address, std::uint32_t mode) noexcept {
  const Outcome<Descriptor> node =
      open_file(address.host().c_str(), {.no_follow = true, .path_only = true});
  if (!node) {
    return tl::unexpected<Errno>(node.error());
  }
  const Outcome<FileStatus> status = file_status(node->get());
  if (!status || status->kind != FileKind::kSocket) {
    return refuse(status ? EADDRINUSE : status.error().value);
  }
  const std::string link = "/proc/self/fd/" + std::to_string(node->get());
  return run_void(Call::kSocket, [&] { return ::chmod(link.c_str(), mode); });
}

struct ResolverCode {
  int errno_value;
  const char* cause;
};

ResolverCode explain_resolver(int code) noexcept {
  switch (code) {
    case EAI_NONAME: return {EHOSTUNREACH, "no such host is known"};
    case EAI_AGAIN: return {EAGAIN, "the name service did not answer"};
    case EAI_MEMORY: return {ENOMEM, ""};
    case EAI_SYSTEM: return {errno, ""};
    default: return {EHOSTUNREACH, ::gai_strerror(code)};
  }
}

int ask_resolver(const std::string& host, const std::string& port, addrinfo** found) noexcept {
  const CallSite site = CallSite::enter(Call::kSocket);
  if (site.error != 0) {
    errno = site.error;
    return EAI_SYSTEM;
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  return ::getaddrinfo(host.c_str(), port.c_str(), &hints, found);
}

}  // namespace

SocketAddress::SocketAddress(const void* raw, std::size_t length_bytes) noexcept
    : length_bytes_(length_bytes) {
  QUIRE_CHECK_LE(length_bytes, kStorageBytes);
  std::memcpy(storage_.data(), raw, length_bytes);
}

Outcome<SocketAddress> SocketAddress::of_path(const std::string& path) noexcept {
  sockaddr_un raw{};
  raw.sun_family = AF_UNIX;
  if (path.empty() || path_has_nul(path)) {
    return refuse(EINVAL);  // The kernel would take it for a name outside the file system.
  }
  if (path.size() >= sizeof raw.sun_path) {
    return refuse(ENAMETOOLONG);
  }
  std::memcpy(raw.sun_path, path.data(), path.size());
  return SocketAddress(&raw, kPathOffset + path.size() + 1);
}

SocketFamily SocketAddress::family() const noexcept {
  switch (raw_of(*this)->sa_family) {
    case AF_UNIX: return SocketFamily::kUnix;
    case AF_INET: return SocketFamily::kIp4;
    case AF_INET6: return SocketFamily::kIp6;
    default: return SocketFamily::kOther;
  }
}

bool SocketAddress::is_local() const noexcept {
  constexpr std::uint32_t kLoopbackNet = 127;
  switch (family()) {
    case SocketFamily::kUnix: return true;
    case SocketFamily::kIp4:
      return ntohl(as<sockaddr_in>(*this).sin_addr.s_addr) >> 24U == kLoopbackNet;
    case SocketFamily::kIp6: {
      const in6_addr address = as<sockaddr_in6>(*this).sin6_addr;
      const bool is_mapped = IN6_IS_ADDR_V4MAPPED(&address) != 0;
      return is_mapped ? address.s6_addr[12] == kLoopbackNet : IN6_IS_ADDR_LOOPBACK(&address) != 0;
    }
    case SocketFamily::kOther: break;
  }
  return false;
}

std::uint16_t SocketAddress::port() const noexcept {
  switch (family()) {
    case SocketFamily::kIp4: return ntohs(as<sockaddr_in>(*this).sin_port);
    case SocketFamily::kIp6: return ntohs(as<sockaddr_in6>(*this).sin6_port);
    default: return 0;
  }
}

std::string SocketAddress::host() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  switch (family()) {
    case SocketFamily::kIp4: {
      const in_addr address = as<sockaddr_in>(*this).sin_addr;
      return ::inet_ntop(AF_INET, &address, text.data(), text.size());
    }
    case SocketFamily::kIp6: {
      const in6_addr address = as<sockaddr_in6>(*this).sin6_addr;
      return ::inet_ntop(AF_INET6, &address, text.data(), text.size());
    }
    case SocketFamily::kUnix: {
      const auto raw = as<sockaddr_un>(*this);
      const std::size_t room = std::max(length_bytes_, kPathOffset) - kPathOffset;
      return {raw.sun_path, ::strnlen(raw.sun_path, std::min(room, sizeof raw.sun_path))};
    }
    case SocketFamily::kOther: break;
  }
  return {};
}

Result<std::vector<SocketAddress>> resolve_tcp(const std::string& host, std::uint16_t port) {
  addrinfo* found = nullptr;
  const int code = ask_resolver(host, std::to_string(port), &found);
  if (code != 0) {
    const ResolverCode explained = explain_resolver(code);
    return fail(Error({.code = {explained.errno_value, std::system_category()},
                       .operation = "resolve",
                       .subject = host,
                       .cause = explained.cause,
                       .remedy = "name a host that this machine knows, or its number"}));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> list(found, &::freeaddrinfo);
  std::vector<SocketAddress> addresses;
  for (const addrinfo* entry = found; entry != nullptr; entry = entry->ai_next) {
    if (entry->ai_addrlen <= SocketAddress::kStorageBytes) {
      addresses.emplace_back(entry->ai_addr, entry->ai_addrlen);
    }
  }
  return addresses;
}

Outcome<Descriptor> listen_on(const SocketAddress& address, const ListenOptions& options) noexcept {
  Outcome<Descriptor> listener = open_socket(address);
  if (!listener) {
    return listener;
  }
  const int fd = listener->get();
  const bool is_path = address.family() == SocketFamily::kUnix;
  // The node of a path takes its mode from the socket; an IP port is free again at once.
  const Outcome<void> prepared =
      is_path ? run_void(Call::kSocket, [&] { return ::fchmod(fd, options.path_mode); })
              : set_option(fd, SOL_SOCKET, SO_REUSEADDR);
  if (!prepared) {
    return tl::unexpected<Errno>(prepared.error());
  }
  const Outcome<void> bound =
      run_void(Call::kSocket, [&] { return ::bind(fd, raw_of(address), length_of(address)); });
  if (!bound) {
    return tl::unexpected<Errno>(bound.error());
  }
  Outcome<void> listening = is_path ? set_node_mode(address, options.path_mode) : Outcome<void>{};
  if (listening) {
    listening = run_void(Call::kSocket, [&] { return ::listen(fd, options.backlog); });
  }
  if (!listening) {
    if (is_path) {
      static_cast<void>(unlink_path(address.host().c_str()));
    }
    return tl::unexpected<Errno>(listening.error());
  }
  return listener;
}

Outcome<Descriptor> accept_from(int listener) noexcept {
  const Outcome<int> fd = run(Call::kSocket, [&](const CallSite&) {
    return ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  });
  if (!fd && fd.error().value == ECONNABORTED) {
    return refuse(EAGAIN);
  }
  if (!fd) {
    return tl::unexpected<Errno>(fd.error());
  }
  Descriptor accepted(*fd);
  const Outcome<SocketAddress> address = local_address(accepted.get());
  if (!address) {
    return tl::unexpected<Errno>(address.error());
  }
  if (const auto set = send_at_once(accepted.get(), address->family()); !set) {
    return tl::unexpected<Errno>(set.error());
  }
  return accepted;
}

Outcome<Descriptor> start_connect(const SocketAddress& address) noexcept {
  Outcome<Descriptor> connection = open_socket(address);
  if (!connection) {
    return connection;
  }
  if (const auto set = send_at_once(connection->get(), address.family()); !set) {
    return tl::unexpected<Errno>(set.error());
  }
  const CallSite site = CallSite::enter(Call::kSocket);
  if (site.error != 0) {
    return refuse(site.error);
  }
  // An interrupted connect(2) goes on in the background, as one in progress does.
  if (::connect(connection->get(), raw_of(address), length_of(address)) != 0 &&
      errno != EINPROGRESS && errno != EINTR) {
    return refuse_with_errno();
  }
  return connection;
}

Outcome<void> finish_connect(int fd) noexcept {
  const Outcome<int> error = take_socket_error(fd);
  if (!error) {
    return tl::unexpected<Errno>(error.error());
  }
  return *error == 0 ? Outcome<void>{} : refuse(*error);
}

Outcome<SocketAddress> local_address(int fd) noexcept {
  return ask_address(fd, ::getsockname);
}

Outcome<SocketAddress> peer_address(int fd) noexcept {
  return ask_address(fd, ::getpeername);
}

Outcome<std::uint32_t> peer_user(int fd) noexcept {
  ucred peer{};
  socklen_t length = sizeof peer;
  const Outcome<void> asked = run_void(
      Call::kSocket, [&] { return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length); });
  if (!asked) {
    return tl::unexpected<Errno>(asked.error());
  }
  return peer.uid;
}

std::uint32_t effective_user() noexcept {
  return ::geteuid();
}

Outcome<std::pair<Descriptor, Descriptor>> connected_pair() noexcept {
  std::array<int, 2> ends{-1, -1};
  QUIRE_TRY(run_void(Call::kSocket, [&] {
    return ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data());
  }));
  return std::pair(Descriptor(ends[0]), Descriptor(ends[1]));
}

Outcome<void> shut_down_sending(int fd) noexcept {
  return run_void(Call::kSocket, [&] { return ::shutdown(fd, SHUT_WR); });
}

}  // namespace quire::sys
