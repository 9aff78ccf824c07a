// SPDX-License-Identifier: Apache-2.0
//
// block_record: what a recorded disk's file of events looks like: entries, each followed by its
// bytes. Read again by the test that had it written, on the same machine.
//
// Thread-safety: plain values.
#pragma once

#include <cstdint>

namespace quire::testing {

enum class BlockEvent : std::uint32_t {
  kWrite = 1,  // At an offset; its bytes follow.
  kFlush = 2,
  kMark = 3,  // By the workload: what it was told, a number.
};

struct BlockEntry {
  BlockEvent event = BlockEvent::kFlush;
  std::uint32_t length_bytes = 0;
  std::uint64_t at = 0;
};
static_assert(sizeof(BlockEntry) == 16);

}  // namespace quire::testing
