// SPDX-License-Identifier: Apache-2.0
//
// transfer_flags: TransferFlags in the kernel's own terms.
//
// Thread-safety: a pure function.
#pragma once

#include <linux/fs.h>

#include <cstddef>

#include "quire/sys/internal/kernel_abi.h"
#include "quire/sys/vector_io.h"

namespace quire::sys::internal {

// The most one call moves (MAX_RW_COUNT).
inline constexpr std::size_t kTransferBytesMax = 0x7ffff000;

// RWF_*
[[nodiscard]] inline int to_kernel_flags(TransferFlags flags) noexcept {
  int bits = 0;
  bits |= flags.no_wait ? RWF_NOWAIT : 0;
  bits |= flags.drop_behind ? abi::kRwfDontcache : 0;
  bits |= flags.sync_data ? RWF_DSYNC : 0;
  bits |= flags.high_priority ? RWF_HIPRI : 0;
  bits |= flags.append ? RWF_APPEND : 0;
  return bits;
}

}  // namespace quire::sys::internal
