// SPDX-License-Identifier: Apache-2.0
//
// transfer_mapping: shared memory handed to another process over a connected UNIX socket.
//
//   owner:  map_anonymous({.size_bytes = n, .sharing = Sharing::kShared}) -> seal(kShrink) -> send
//   peer:   receive_mapping(socket, {.minimum_bytes = n, .required_seals = kShrink}) -> same bytes
//
// What arrives is somebody else's word: the receiver checks that it is a regular file or memfd,
// that it is as long as it should be, and that the seals are there which keep it so. Without
// kShrink a peer can truncate it later and turn a load into SIGBUS.
//
// Thread-safety: any thread; two threads on one socket get each other's descriptors.
// Blocks:        as the socket does.
// Errors:        the socket's errno; kTruncated when it is shorter than agreed, kSealed when a seal
//                is missing, kWrongKind for other kinds; kUnsupported when there is no descriptor.
#pragma once

#include <cstdint>

#include "quire/base/result.h"
#include "quire/map/writable_mapping.h"
#include "quire/sys/memfd.h"

namespace quire {

// Sends the file or memfd behind the mapping; this side keeps its own.
Result<void> send_mapping(int socket, const Mapping& mapping);

template <typename AccessType>
struct BasicReceiveOptions {
  AccessType access = AccessType::by_default();
  std::uint64_t minimum_bytes = 0;  // Shorter is refused.
  sys::Seals required_seals = sys::Seals::kShrink;
};
using ReceiveOptions = BasicReceiveOptions<ReadOnlyAccess>;
using WritableReceiveOptions = BasicReceiveOptions<ReadWriteAccess>;

// Maps the whole of what is received.
[[nodiscard]] Result<Mapping> receive_mapping(int socket, const ReceiveOptions& options = {});

namespace internal {
// As in writable_mapping.h: no symbol of a constrained template in the library.
[[nodiscard]] Result<WritableMapping> receive_writable_mapping(
    int socket, const WritableReceiveOptions& options);
}  // namespace internal

template <std::same_as<ReadWriteAccess> A = ReadWriteAccess>
[[nodiscard]] Result<WritableMapping> receive_mapping(int socket,
                                                      const BasicReceiveOptions<A>& options) {
  return internal::receive_writable_mapping(socket, options);
}

}  // namespace quire
