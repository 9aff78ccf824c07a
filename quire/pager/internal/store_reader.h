// SPDX-License-Identifier: Apache-2.0
//
// store_reader: one blocking read of granules, from where a fault is served.
//
// A store with a kernel_target() is read by pread alone, which a signal handler may do; every other
// store by its own read(), whatever that does.
//
// Thread-safety: any thread. Blocks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <system_error>

namespace quire::internal {

class AreaState;

// Reads until `into` is full or the store ends. `got_bytes` are there, also when it fails.
// REQUIRES: offset and length are multiples of the granule.
[[nodiscard]] std::error_code read_store(AreaState& area, std::uint64_t offset_bytes,
                                         std::span<std::byte> into,
                                         std::uint64_t& got_bytes) noexcept;

}  // namespace quire::internal
