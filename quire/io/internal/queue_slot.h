// SPDX-License-Identifier: Apache-2.0
//
// QueueSlot: one request of an IoQueue that is under way, and how far it has come.
//
//   taken --> RingPath: one entry at a time --+--> done
//        '--> ThreadPath: one call of the Store --^    (RingPath may hand over to ThreadPath)
//
// Thread-safety: whoever has it under way: the queue's thread, or one of ThreadPath.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <system_error>

#include "quire/io/buffer_pool.h"
#include "quire/io/io_queue.h"

namespace quire::internal {

struct QueueSlot {
  std::uint64_t tag = 0;  // Its number, from 1.
  IoRequest* request = nullptr;
  std::uint64_t done_bytes = 0;
  std::error_code error;
  bool is_kernels = false;  // No function of the Store had a part in it.

  // The entry under way in the ring.
  std::uint64_t asked_bytes = 0;
  std::uint64_t skew_bytes = 0;  // Of the bounce buffer: what comes before the wanted bytes.
  std::optional<BufferPool::Buffer> bounce;
  bool was_bounced = false;
  std::uint32_t tries = 0;  // That were interrupted, in a row.

  [[nodiscard]] bool is_await() const noexcept {
    return request->operation == IoOperation::kAwaitReadable;
  }
  [[nodiscard]] std::span<std::byte> rest() const noexcept {
    return request->memory.subspan(done_bytes);
  }
  [[nodiscard]] std::uint64_t position_bytes() const noexcept {
    return request->offset_bytes + done_bytes;
  }
};

}  // namespace quire::internal
