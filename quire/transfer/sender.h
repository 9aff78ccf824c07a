// SPDX-License-Identifier: Apache-2.0
//
// sender: a file to a receiver (receiver.h), whole, checked, and resumed where it broke off.
//
//   const ExchangeReport sent = QUIRE_TRY(send_file("disk.img", endpoint));
//
// When it returns without an error, the file is durable on the other side under its name. After an
// error or a stop, what arrived stays there; sending the same file again (same name, size, time of
// modification, and the same bytes up to there) goes on from its last whole chunk.
//
// How: transfer() moves each chunk the cheapest way, then the checksum passes over its pages where
// they lie. When source and checksum disagree on arrival, the chunk is asked for again, three
// times at most. A file that changes meanwhile is an error, kChanged, and never a mixture.
//
// Without checksums the sender's processor never sees the bytes; nothing is verified then, and
// nothing can be resumed.
//
// Invariants:    memory and address space are those of a chunk, whatever the size.
// Thread-safety: any thread.
// Blocks:        yes; a peer that stalls for the idle limit, or the stop descriptor, ends it.
// Errors:        those of connecting (endpoint.h); what the receiver refused, with its words;
//                kChanged, kTruncated, kCorrupt; ETIMEDOUT, ECONNRESET, EPIPE; kCancelled;
//                kWrongKind for what is no regular file; those of transfer().
#pragma once

#include <cstdint>

#include "quire/base/path_argument.h"
#include "quire/base/result.h"
#include "quire/transfer/exchange.h"
#include "quire/transfer/wire.h"

namespace quire {

enum class Checksums : std::uint8_t { kNone, kXxh3 };

// How often a damaged chunk is sent again before the receiver gives up.
inline constexpr int kResendsMax = 3;

struct SendOptions {
  ExchangeOptions exchange = {};
  Checksums checksums = Checksums::kXxh3;
  std::string name = {};  // Under which it is offered; "": its own.
  // A power of two from wire::kChunkBytesMin to wire::kChunkBytesMax: what is lost when a
  // connection breaks, against what a frame costs.
  std::uint32_t chunk_bytes = wire::kChunkBytesDefault;
  // Kept up to date, and valid after an error: `bytes` are those that the receiver has verified.
  ExchangeReport* so_far = nullptr;
};

[[nodiscard]] Result<ExchangeReport> send_file(const PathArgument& path, const Endpoint& to,
                                               const SendOptions& options = {});

}  // namespace quire
