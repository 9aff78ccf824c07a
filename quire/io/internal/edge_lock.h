// SPDX-License-Identifier: Apache-2.0
//
// EdgeLock: the device blocks that somebody reads, changes in part and writes back.
//
//   thread 1   writes      [....xxxx]           of block 7: reads it, changes half, writes it
//   thread 2   writes      [xxxx....]           of block 7, too: waits, or one half would be lost
//
// A write has two edges at most, its first and its last block, and holds both from the start: there
// is no order in which two writers could wait for each other.
//
// Invariants:    a block is held by one guard at most.
// Thread-safety: any thread.
// Blocks:        Guard's constructor, while somebody else holds one of its blocks.
// Cost:          one lock; a search through the blocks that are held, one or two per writer.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "quire/base/mutex.h"

namespace quire::internal {

class EdgeLock {
 public:
  // The blocks at the edges of a range that it covers in part: none, one or two.
  struct Edges {
    std::array<std::uint64_t, 2> blocks{};
    std::size_t count = 0;

    [[nodiscard]] std::span<const std::uint64_t> held() const { return {blocks.data(), count}; }
  };
  // REQUIRES: end_bytes > begin_bytes.
  [[nodiscard]] static Edges edges_of(std::uint64_t begin_bytes, std::uint64_t end_bytes,
                                      std::uint64_t block_bytes) noexcept {
    Edges edges;
    const std::uint64_t first = begin_bytes / block_bytes;
    const std::uint64_t last = (end_bytes - 1) / block_bytes;
    if (begin_bytes % block_bytes != 0) {
      edges.blocks[edges.count++] = first;
    }
    if (end_bytes % block_bytes != 0 && (edges.count == 0 || last != first)) {
      edges.blocks[edges.count++] = last;
    }
    return edges;
  }

  class Guard {
   public:
    Guard(EdgeLock& lock, const Edges& edges) : lock_(lock), edges_(edges) {
      if (edges_.count > 0) {
        lock_.acquire(edges_);
      }
    }
    ~Guard() {
      if (edges_.count > 0) {
        lock_.release(edges_);
      }
    }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    EdgeLock& lock_;
    const Edges edges_;
  };

 private:
  void acquire(const Edges& edges) {
    const MutexLock lock(mutex_);
    while (std::ranges::any_of(edges.held(), [&](std::uint64_t block) QUIRE_REQUIRES(mutex_) {
      return std::ranges::find(held_, block) != held_.end();
    })) {
      released_.wait(mutex_);
    }
    held_.insert(held_.end(), edges.held().begin(), edges.held().end());
  }

  void release(const Edges& edges) {
    {
      const MutexLock lock(mutex_);
      for (const std::uint64_t block : edges.held()) {
        held_.erase(std::ranges::find(held_, block));
      }
    }
    released_.notify_all();
  }

  Mutex mutex_;
  CondVar released_;
  std::vector<std::uint64_t> held_ QUIRE_GUARDED_BY(mutex_);
};

}  // namespace quire::internal
