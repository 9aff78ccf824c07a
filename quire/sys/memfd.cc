// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/memfd.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "quire/sys/call.h"

// Younger than Debian 12's headers, or missing from glibc's.
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif

namespace quire::sys {
namespace {

static_assert(static_cast<unsigned>(Seals::kSeal) == F_SEAL_SEAL);
static_assert(static_cast<unsigned>(Seals::kShrink) == F_SEAL_SHRINK);
static_assert(static_cast<unsigned>(Seals::kGrow) == F_SEAL_GROW);
static_assert(static_cast<unsigned>(Seals::kWrite) == F_SEAL_WRITE);
static_assert(static_cast<unsigned>(Seals::kFutureWrite) == F_SEAL_FUTURE_WRITE);

// Room for more descriptors than we accept, so that a peer who sends two is noticed and both are
// closed instead of being lost in a truncated control message.
constexpr std::size_t kDescriptorsAcceptedMax = 8;

// A message of one byte with room for descriptors.
struct DescriptorMessage {
  std::byte byte{1};
  iovec data{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int) * kDescriptorsAcceptedMax)> control{};
  msghdr header{};

  DescriptorMessage() noexcept {
    header.msg_iov = &data;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
  }
};

// Takes the descriptors out of a received message: the first is returned, the rest are closed.
struct Received {
  Descriptor first;
  std::size_t count = 0;
};

Received take_descriptors(msghdr& header) noexcept {
  Received received;
  for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
      continue;
    }
    const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof fd);
      Descriptor owned(fd);
      if (received.count++ == 0) {
        received.first = std::move(owned);
      }
    }
  }
  return received;
}

}  // namespace

Outcome<Descriptor> create_memfd(const MemfdRequest& request) noexcept {
  const CallSite site = CallSite::enter(Call::kMemfd);
  if (site.error != 0) {
    return refuse(site.error);
  }
  unsigned flags = MFD_CLOEXEC;
  flags |= request.allow_sealing ? MFD_ALLOW_SEALING : 0;
  flags |= request.huge_pages ? MFD_HUGETLB : 0;
  int fd = ::memfd_create(request.name, flags | MFD_NOEXEC_SEAL);
  if (fd < 0 && errno == EINVAL) {
    fd = ::memfd_create(request.name, flags);  // Before 6.3.
  }
  if (fd < 0) {
    return refuse_with_errno();
  }
  return Descriptor(fd);
}

Outcome<Descriptor> create_secret_memfd() noexcept {
  const CallSite site = CallSite::enter(Call::kMemfd);
  if (site.error != 0) {
    return refuse(site.error);
  }
  const long fd = ::syscall(SYS_memfd_secret, static_cast<unsigned>(O_CLOEXEC));
  if (fd < 0) {
    return refuse_with_errno();
  }
  return Descriptor(static_cast<int>(fd));
}

Outcome<void> add_seals(int fd, Seals seals) noexcept {
  const CallSite site = CallSite::enter(Call::kSeal);
  if (site.error != 0) {
    return refuse(site.error);
  }
  if (::fcntl(fd, F_ADD_SEALS, static_cast<int>(seals)) != 0) {
    return refuse_with_errno();
  }
  return {};
}

Outcome<Seals> get_seals(int fd) noexcept {
  const CallSite site = CallSite::enter(Call::kSeal);
  if (site.error != 0) {
    return refuse(site.error);
  }
  const int bits = ::fcntl(fd, F_GET_SEALS);
  if (bits < 0) {
    return refuse_with_errno();
  }
  // MFD_NOEXEC_SEAL adds F_SEAL_EXEC, which is not ours to report.
  constexpr int kKnown =
      F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;
  return static_cast<Seals>(bits & kKnown);
}

Outcome<void> send_descriptor(int socket, int fd) noexcept {
  DescriptorMessage message;
  message.header.msg_controllen = CMSG_SPACE(sizeof fd);
  cmsghdr* part = CMSG_FIRSTHDR(&message.header);
  part->cmsg_level = SOL_SOCKET;
  part->cmsg_type = SCM_RIGHTS;
  part->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(part), &fd, sizeof fd);
  for (;;) {
    const CallSite site = CallSite::enter(Call::kSend);
    if (site.error != 0 && site.error != EINTR) {
      return refuse(site.error);
    }
    if (site.error == 0 && ::sendmsg(socket, &message.header, MSG_NOSIGNAL) >= 0) {
      return {};
    }
    if (site.error == 0 && errno != EINTR) {
      return refuse_with_errno();
    }
  }
}

Outcome<Descriptor> receive_descriptor(int socket) noexcept {
  DescriptorMessage message;
  ssize_t got = -1;
  do {
    const CallSite site = CallSite::enter(Call::kReceive);
    if (site.error != 0 && site.error != EINTR) {
      return refuse(site.error);
    }
    got = site.error == EINTR ? -1 : ::recvmsg(socket, &message.header, MSG_CMSG_CLOEXEC);
    if (got < 0 && site.error == 0 && errno != EINTR) {
      return refuse_with_errno();
    }
  } while (got < 0);
  Received received = take_descriptors(message.header);
  if (got == 0) {
    return refuse(ENOTCONN);
  }
  if (received.count != 1 || (message.header.msg_flags & MSG_CTRUNC) != 0) {
    return refuse(EBADMSG);
  }
  return std::move(received.first);
}

}  // namespace quire::sys
