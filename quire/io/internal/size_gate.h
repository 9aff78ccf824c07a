// SPDX-License-Identifier: Apache-2.0
//
// SizeGate: who may change, or needs to know, where a direct file ends.
//
// The device takes whole blocks. A write that ends inside a block past the end of the file writes
// the block padded with zeros, and then cuts the file to the exact size. Whoever writes further out
// at that moment would be cut off; whoever reads there would see the padding. So:
//
//   cuts the file (padded writes, resize)          alone
//   writes past the floor, reads past the floor    together with others of their kind
//   everything below the floor                     passes without asking
//
// The floor is a size that the file is known to have: it rises as writes are done, and sinks when
// resize() shortens the file. A file that another process made longer only makes for more caution.
//
// Invariants:    floor_bytes() <= the size of the file, unless somebody else cut it.
// Thread-safety: any thread. Lock order: this before EdgeLock, both after a bounce buffer.
// Blocks:        the guards, while somebody cuts the file.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <shared_mutex>

namespace quire::internal {

class SizeGate {
 public:
  using Together = std::shared_lock<std::shared_mutex>;
  using Alone = std::unique_lock<std::shared_mutex>;

  [[nodiscard]] std::uint64_t floor_bytes() const noexcept { return floor_bytes_.load(); }

  void raise_floor(std::uint64_t size_bytes) noexcept {
    std::uint64_t known = floor_bytes_.load();
    while (known < size_bytes && !floor_bytes_.compare_exchange_weak(known, size_bytes)) {
    }
  }
  // For who holds it alone.
  void set_floor(std::uint64_t size_bytes) noexcept { floor_bytes_.store(size_bytes); }

  // For a transfer that ends there: held when it reaches past the floor.
  [[nodiscard]] Together enter_if_past(std::uint64_t end_bytes) const {
    return end_bytes > floor_bytes() ? Together(mutex_) : Together();
  }
  [[nodiscard]] Together enter() const { return Together(mutex_); }
  [[nodiscard]] Alone enter_alone() const { return Alone(mutex_); }

 private:
  mutable std::shared_mutex mutex_;
  std::atomic<std::uint64_t> floor_bytes_{0};
};

}  // namespace quire::internal
