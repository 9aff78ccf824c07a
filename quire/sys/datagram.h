// SPDX-License-Identifier: Apache-2.0
//
// datagram: UNIX datagram sockets with names outside the file system (unix(7), "abstract"): one
// process wakes another that waits for descriptors, and nothing is left when either is killed.
//
// A name exists as long as its socket is open, in one network namespace, and belongs to whoever
// took it first; everybody there may send to it. So a datagram says "look again" and nothing more.
//
// Thread-safety: any thread.
// Errors:        Outcome with the kernel's errno.
#pragma once

#include <string_view>

#include "quire/sys/descriptor.h"
#include "quire/sys/outcome.h"

namespace quire::sys {

// A socket that is readable while datagrams sent to `name` wait in it. Never blocks, close-on-exec.
// Errors: EADDRINUSE; ENAMETOOLONG past 107 bytes; EMFILE, ENFILE, ENOMEM.
[[nodiscard]] Outcome<Descriptor> receive_datagrams_at(std::string_view name) noexcept;
// A socket to send from. Errors: EMFILE, ENFILE, ENOMEM.
[[nodiscard]] Outcome<Descriptor> open_datagram_sender() noexcept;
// Sends one byte. Never blocks. Errors: ECONNREFUSED when nobody has the name; EAGAIN when the
// receiver has not taken what was sent before.
Outcome<void> send_datagram(int fd, std::string_view name) noexcept;
// Takes what waits, but never more than a peer can send in a moment: a flood does not hold us.
void take_datagrams(int fd) noexcept;

}  // namespace quire::sys
