// SPDX-License-Identifier: Apache-2.0
//
// transfers: requests that are under way together, where the kernel can do them by itself; those to
// any other store are done as they begin, one after the other, by the calling thread. So what is
// simulated happens in the order in which it was asked for.
//
// Blocks are the memory of large transfers: few, used again and again, so that they stay in the
// processor's cache; each lies in one huge page.
//
// Thread-safety: one thread at a time.
// Cost:          kBlocks * kBlockBytes of memory, as far as it is used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "quire/base/result.h"
#include "quire/base/units.h"
#include "quire/io/io_queue.h"
#include "quire/journal/internal/image_arena.h"

namespace quire::internal {

class Transfers {
 public:
  // More wait for their turn: deep enough for the fastest devices.
  static constexpr std::uint32_t kUnderWayMax = 64;
  // Longer ones make no device faster, and in so many it has enough to do.
  static constexpr std::uint64_t kBlockBytes = 1_MiB;
  static constexpr std::size_t kBlocks = 4;

  // A read or a write. `on_done` is called, in here, in wait(), take_block() or drain(); it may not
  // begin others. REQUIRES: the request stays where it is until then.
  void begin(IoRequest& request);
  // Until one is done. REQUIRES: one is under way.
  void wait() { queue_->wait(); }
  // Until all are.
  void drain();

  // Waits until one is given back. Errors: ENOMEM.
  // REQUIRES: those that are out belong to requests under way.
  Result<std::byte*> take_block();
  void give_block(std::byte* block) { free_blocks_.push_back(block); }

 private:
  std::unique_ptr<IoQueue> queue_;      // Made for the first request that is for it.
  std::unique_ptr<ImageArena> memory_;  // Made for the first block.
  std::vector<std::byte*> free_blocks_;
};

}  // namespace quire::internal
