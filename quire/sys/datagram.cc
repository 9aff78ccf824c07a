// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/datagram.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "quire/sys/call.h"
#include "quire/sys/internal/run.h"

namespace quire::sys {
namespace {

using internal::run;
using internal::run_void;

// Chosen arbitrarily; the kernel's queue holds ten (net.unix.max_dgram_qlen).
constexpr int kTakenMax = 256;

struct AbstractAddress {
  sockaddr_un raw;
  socklen_t length;
};

// REQUIRES: the name fits.
AbstractAddress address_of(std::string_view name) noexcept {
  AbstractAddress address{};
  address.raw.sun_family = AF_UNIX;
  std::memcpy(&address.raw.sun_path[1], name.data(), name.size());  // Behind the NUL that marks it.
  address.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return address;
}

bool fits(std::string_view name) noexcept {
  return name.size() < sizeof(sockaddr_un::sun_path);
}

}  // namespace

Outcome<Descriptor> open_datagram_sender() noexcept {
  const Outcome<int> fd = run(Call::kSocket, [](const CallSite&) {
    return ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  });
  if (!fd) {
    return tl::unexpected<Errno>(fd.error());
  }
  return Descriptor(*fd);
}

Outcome<Descriptor> receive_datagrams_at(std::string_view name) noexcept {
  if (!fits(name)) {
    return refuse(ENAMETOOLONG);
  }
  Descriptor socket = QUIRE_TRY(open_datagram_sender());
  const AbstractAddress address = address_of(name);
  QUIRE_TRY(run_void(Call::kSocket, [&] {
    return ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address.raw), address.length);
  }));
  return socket;
}

Outcome<void> send_datagram(int fd, std::string_view name) noexcept {
  if (!fits(name)) {
    return refuse(ENAMETOOLONG);
  }
  const AbstractAddress address = address_of(name);
  const char byte = 1;
  return run_void(Call::kSend, [&] {
    const ssize_t sent = ::sendto(fd, &byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL,
                                  reinterpret_cast<const sockaddr*>(&address.raw), address.length);
    return sent < 0 ? -1 : 0;
  });
}

void take_datagrams(int fd) noexcept {
  for (int taken = 0; taken < kTakenMax; ++taken) {
    char byte = 0;
    const Outcome<void> received =
        run_void(Call::kReceive, [&] { return ::recv(fd, &byte, 1, MSG_DONTWAIT) < 0 ? -1 : 0; });
    if (!received) {
      return;
    }
  }
}

}  // namespace quire::sys
