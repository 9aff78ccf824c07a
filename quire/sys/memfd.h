// SPDX-License-Identifier: Apache-2.0
//
// memfd: anonymous files in memory, their seals, and the way they travel to another process.
//
// A memfd is what shared anonymous memory is here: it can be grown (an anonymous MAP_SHARED area
// that mremap grew raises SIGBUS past its first size), named for /proc, sealed, and sent as a
// descriptor.
//
// Thread-safety: any thread.
// Errors:        Outcome with the kernel's errno.
#pragma once

#include <cstdint>

#include "quire/sys/descriptor.h"
#include "quire/sys/outcome.h"

namespace quire::sys {

struct MemfdRequest {
  const char* name = "quire";  // Shown as /memfd:NAME in /proc; 249 bytes at most.
  bool allow_sealing = true;
  bool huge_pages = false;  // From the reserved pool (hugetlb) of the default huge page size.
};

// Never executable (MFD_NOEXEC_SEAL, 6.3; left out where the kernel does not know it).
[[nodiscard]] Outcome<Descriptor> create_memfd(const MemfdRequest& request) noexcept;

// memfd_secret(2): memory that only the page tables of its users reach: it is taken out of the
// kernel's own map, so ptrace, /proc/PID/mem, core dumps and direct I/O get EFAULT. Locked.
// (System calls that copy through the caller's page tables, like write(2), still work.)
// Kernel: 5.14. Errors: ENOSYS when it is switched off (secretmem.enable=0).
[[nodiscard]] Outcome<Descriptor> create_secret_memfd() noexcept;

// Promises about a memfd that nobody can take back. A bit set, combined with |.
enum class Seals : unsigned {
  kNone = 0,
  kSeal = 1,          // No further seals.
  kShrink = 2,        // Never shorter: a mapping of it cannot meet SIGBUS.
  kGrow = 4,          // Never longer.
  kWrite = 8,         // Never written; refused while a writable mapping exists.
  kFutureWrite = 16,  // No new writable mappings or writes; those that exist go on. 5.1
};

[[nodiscard]] constexpr Seals operator|(Seals a, Seals b) noexcept {
  return static_cast<Seals>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
// Whether every seal of `wanted` is among `present`.
[[nodiscard]] constexpr bool has_all(Seals present, Seals wanted) noexcept {
  return (static_cast<unsigned>(present) & static_cast<unsigned>(wanted)) ==
         static_cast<unsigned>(wanted);
}

// Errors: EPERM after kSeal; EBUSY for kWrite with writable mappings; EINVAL on other files.
Outcome<void> add_seals(int fd, Seals seals) noexcept;
// Errors: EINVAL on anything but a memfd.
[[nodiscard]] Outcome<Seals> get_seals(int fd) noexcept;

// Sends one descriptor, with one byte of data, over a connected UNIX socket. Blocks as the socket
// does. Errors: EPIPE when the peer has gone (never a signal).
Outcome<void> send_descriptor(int socket, int fd) noexcept;
// Receives one descriptor, close-on-exec. Errors: ENOTCONN at the end of the stream; EBADMSG when
// what came is not exactly one descriptor (whatever came is closed).
[[nodiscard]] Outcome<Descriptor> receive_descriptor(int socket) noexcept;

}  // namespace quire::sys
