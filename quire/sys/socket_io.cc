// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/socket_io.h"

#include <arpa/inet.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "quire/sys/call.h"
#include "quire/sys/internal/run.h"
#include "quire/sys/transfer_calls.h"

namespace quire::sys {
namespace {

using internal::run;
using internal::run_void;

Outcome<int> int_option(int fd, int name) noexcept {
  int value = 0;
  socklen_t length = sizeof value;
  const Outcome<void> outcome =
      run_void(Call::kSocket, [&] { return ::getsockopt(fd, SOL_SOCKET, name, &value, &length); });
  if (!outcome) {
    return tl::unexpected<Errno>(outcome.error());
  }
  return value;
}

Outcome<void> set_int_option(int fd, int name, int value) noexcept {
  return run_void(Call::kSocket,
                  [&] { return ::setsockopt(fd, SOL_SOCKET, name, &value, sizeof value); });
}

SocketFamily family_of(int domain) noexcept {
  switch (domain) {
    case AF_UNIX: return SocketFamily::kUnix;
    case AF_INET: return SocketFamily::kIp4;
    case AF_INET6: return SocketFamily::kIp6;
    default: return SocketFamily::kOther;
  }
}

template <typename Address>
Address as(const sockaddr_storage& storage) noexcept {
  Address address{};
  std::memcpy(&address, &storage, sizeof address);
  return address;
}

bool is_same_host(const sockaddr_storage& peer, const sockaddr_storage& own) noexcept {
  if (peer.ss_family == AF_INET) {
    const in_addr_t peer_address = as<sockaddr_in>(peer).sin_addr.s_addr;
    return ntohl(peer_address) >> 24 == 127 || peer_address == as<sockaddr_in>(own).sin_addr.s_addr;
  }
  if (peer.ss_family == AF_INET6) {
    const in6_addr peer_address = as<sockaddr_in6>(peer).sin6_addr;
    const in6_addr own_address = as<sockaddr_in6>(own).sin6_addr;
    return std::memcmp(&peer_address, &own_address, sizeof peer_address) == 0;
  }
  return peer.ss_family == AF_UNIX;
}

// A socket without a peer has no address to give: that is an answer, not an error.
bool fill_addresses(int fd, sockaddr_storage& peer, sockaddr_storage& own) noexcept {
  socklen_t peer_length = sizeof peer;
  socklen_t own_length = sizeof own;
  return run_void(
             Call::kSocket,
             [&] { return ::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &peer_length); })
             .has_value() &&
         run_void(Call::kSocket, [&] {
           return ::getsockname(fd, reinterpret_cast<sockaddr*>(&own), &own_length);
         }).has_value();
}

// What the error queue holds for zero copy; nothing for any other message.
std::optional<ZeroCopyNotice> to_notice(const msghdr& message) noexcept {
  for (const cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(const_cast<msghdr*>(&message), const_cast<cmsghdr*>(header))) {
    sock_extended_err error{};
    if (header->cmsg_len < CMSG_LEN(sizeof error)) {
      continue;
    }
    std::memcpy(&error, CMSG_DATA(header), sizeof error);
    if (error.ee_errno == 0 && error.ee_origin == SO_EE_ORIGIN_ZEROCOPY) {
      return ZeroCopyNotice{.first = error.ee_info,
                            .last = error.ee_data,
                            .was_copied = (error.ee_code & SO_EE_CODE_ZEROCOPY_COPIED) != 0};
    }
  }
  return std::nullopt;
}

}  // namespace

Outcome<SocketFacts> socket_facts(int fd) noexcept {
  const Outcome<int> domain = int_option(fd, SO_DOMAIN);
  if (!domain) {
    return tl::unexpected<Errno>(domain.error());
  }
  const Outcome<int> type = int_option(fd, SO_TYPE);
  if (!type) {
    return tl::unexpected<Errno>(type.error());
  }
  SocketFacts facts{.family = family_of(*domain), .is_stream = *type == SOCK_STREAM};
  sockaddr_storage peer{};
  sockaddr_storage own{};
  facts.is_connected = fill_addresses(fd, peer, own);
  facts.is_loopback = facts.is_connected && is_same_host(peer, own);
  return facts;
}

Outcome<std::size_t> send_some(int fd, std::span<const std::byte> from,
                               const SendFlags& flags) noexcept {
  const int bits = MSG_NOSIGNAL | (flags.zero_copy ? MSG_ZEROCOPY : 0) |
                   (flags.more ? MSG_MORE : 0) | (flags.never_block ? MSG_DONTWAIT : 0);
  const Outcome<ssize_t> sent = run(Call::kSend, [&](const CallSite& site) {
    const std::size_t length = std::min({from.size(), kCallBytesMax, site.transfer_bytes_max});
    return ::send(fd, from.data(), length, bits);
  });
  if (!sent) {
    return tl::unexpected<Errno>(sent.error());
  }
  return static_cast<std::size_t>(*sent);
}

Outcome<std::size_t> receive_some(int fd, std::span<std::byte> into) noexcept {
  const Outcome<ssize_t> received = run(Call::kReceive, [&](const CallSite& site) {
    const std::size_t length = std::min({into.size(), kCallBytesMax, site.transfer_bytes_max});
    return ::recv(fd, into.data(), length, 0);
  });
  if (!received) {
    return tl::unexpected<Errno>(received.error());
  }
  return static_cast<std::size_t>(*received);
}

Outcome<int> receive_low_water(int fd) noexcept {
  return int_option(fd, SO_RCVLOWAT);
}

Outcome<void> set_receive_low_water(int fd, int bytes) noexcept {
  return set_int_option(fd, SO_RCVLOWAT, bytes);
}

Outcome<void> enable_zero_copy(int fd) noexcept {
  return set_int_option(fd, SO_ZEROCOPY, 1);
}

Outcome<std::optional<ZeroCopyNotice>> next_notice(int fd) noexcept {
  for (;;) {
    // More than one notice takes: the kernel adds the offender's address.
    alignas(cmsghdr) std::array<std::byte, 256> control{};
    msghdr message{};
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    const Outcome<ssize_t> received = run(Call::kReceive, [&](const CallSite&) {
      return ::recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT);
    });
    if (!received && received.error().value == EAGAIN) {
      return std::optional<ZeroCopyNotice>{};
    }
    if (!received) {
      return tl::unexpected<Errno>(received.error());
    }
    if (const auto notice = to_notice(message)) {
      return notice;
    }
  }
}

Outcome<int> take_socket_error(int fd) noexcept {
  return int_option(fd, SO_ERROR);
}

}  // namespace quire::sys
