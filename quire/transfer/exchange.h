// SPDX-License-Identifier: Apache-2.0
//
// exchange: what sending and receiving a file have in common: the limits of a conversation, and the
// account of it.
//
//   file |== with the receiver already ==|== moved now, chunk by chunk ==|
//        0                 resumed_from_bytes                       size_bytes
//
// The account of this side is about this side: its system calls, its copies, its processor time.
// Moving the bytes and computing their checksum are counted apart, because only the first can be
// had without a copy; on a loopback connection the sender's account also holds what the kernel does
// for the receiver on the sender's time.
//
// Thread-safety: plain values.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "quire/transfer/endpoint.h"
#include "quire/transfer/transfer.h"

namespace quire {

// The shortest idle limit: below, a busy machine looks like a dead one.
inline constexpr std::chrono::milliseconds kIdleLimitMin{1000};
inline constexpr std::chrono::milliseconds kIdleLimitDefault{30'000};
inline constexpr std::chrono::milliseconds kIdleLimitMax{24 * 3600 * 1000};

struct ExchangeProgress {
  std::uint64_t done_bytes = 0;  // Of the whole file, what was there before included.
  std::uint64_t total_bytes = 0;
};

struct ExchangeReport {
  std::string name = {};
  std::uint64_t size_bytes = 0;
  std::uint64_t resumed_from_bytes = 0;  // What the receiver had, and both sides agreed on.
  std::uint64_t bytes = 0;               // Moved now, up to here, holes included.
  std::uint64_t hole_bytes = 0;          // Of these, described instead of sent.
  std::uint64_t chunks_resent = 0;       // Arrived damaged, and were sent again.
  std::optional<std::uint64_t> checksum = std::nullopt;  // XXH3 of the file; not without checksums.

  TransferMethod method = TransferMethod::kAutomatic;    // That moved the last chunk with bytes.
  std::string reason = {};                               // Why this method.
  std::uint64_t system_calls = 0;                        // That moved the bytes, waiting included.
  std::optional<std::uint64_t> bytes_copied_by_cpu = 0;  // As in TransferReport.
  std::uint64_t transfer_cpu_ns = 0;                     // Of moving the bytes.
  std::uint64_t checksum_cpu_ns = 0;
};

// Limits and choices of either side.
struct ExchangeOptions {
  TransferMethod method = TransferMethod::kAutomatic;
  // A shared secret that the receiver compares, at most wire::kTokenBytesMax bytes; "": none. It
  // travels as it is: it keeps out who cannot listen in, and no others.
  std::string token = {};
  AllowedUser allowed_user = std::nullopt;
  std::chrono::milliseconds idle_limit = kIdleLimitDefault;
  int stop_fd = -1;  // Readable: stop, and leave what can be resumed.
  std::function<void(const ExchangeProgress&)> on_progress = {};
};

}  // namespace quire
