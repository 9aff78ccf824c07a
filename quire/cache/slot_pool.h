// SPDX-License-Identifier: Apache-2.0
//
// slot_pool: a fixed number of equal, aligned buffers for reads and writes that bypass the page
// cache, in one mapping that is touched when it is made (in huge pages where the machine grants
// them) and left out of core dumps and children.
//
//   | slot 0 | slot 1 | ... | slot n-1 |        free slots: a list through their indices
//
// Unlike io's BufferPool it may be used where a fault is being served: nothing locks, so that a
// thread that was interrupted inside of it by a fault of its own may come again.
//
// Invariants:    a slot is out or in (giving back one that is in is checked); all are in when the
//                pool goes (checked; not of the copy that a forked child has).
// Thread-safety: every member from any thread. Blocks: take() only.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "quire/base/result.h"
#include "quire/cache/fork_mark.h"
#include "quire/sys/memory.h"

namespace quire {

struct SlotPoolOptions {
  std::uint64_t slot_bytes = 0;  // A multiple of the OS page.
  std::uint32_t slot_count = 0;
};

class SlotPool {
 public:
  // REQUIRES: at least one slot of at least one OS page (checked).
  // Errors: ENOMEM.
  [[nodiscard]] static Result<std::unique_ptr<SlotPool>> make(const SlotPoolOptions& options);
  ~SlotPool();
  SlotPool(const SlotPool&) = delete;
  SlotPool& operator=(const SlotPool&) = delete;

  // Nothing when all are out.
  [[nodiscard]] std::optional<std::uint32_t> try_take() noexcept;
  // Waits for one. Nothing: the time ran out.
  [[nodiscard]] std::optional<std::uint32_t> take(std::uint64_t timeout_ms) noexcept;
  void give_back(std::uint32_t slot) noexcept;

  [[nodiscard]] std::span<std::byte> bytes(std::uint32_t slot) const noexcept;
  [[nodiscard]] std::uint64_t slot_bytes() const noexcept { return slot_bytes_; }
  [[nodiscard]] std::uint32_t slot_count() const noexcept { return slot_count_; }
  // While slots are on their way, one that is being given back counts already.
  [[nodiscard]] std::uint32_t free_count() const noexcept { return free_count_.load(); }
  // Walks the list. REQUIRES: nobody else uses the pool meanwhile.
  void check_invariants() const;

 private:
  explicit SlotPool(const SlotPoolOptions& options);
  [[nodiscard]] sys::Outcome<void> map();

  const std::uint64_t slot_bytes_;
  const std::uint32_t slot_count_;
  const ForkMark fork_mark_;
  sys::Address mapping_ = nullptr;  // With room for alignment in front of and behind the slots.
  std::uint64_t mapping_bytes_ = 0;
  sys::Address memory_ = nullptr;
  // The list: the first slot in it, with a count of changes in the upper half, so that a list that
  // was changed and changed back is not taken for the same; and behind each slot the next.
  std::atomic<std::uint64_t> head_;
  std::vector<std::atomic<std::uint32_t>> next_;
  std::atomic<std::uint32_t> free_count_;
  std::atomic<std::uint32_t> waiters_{0};
};

}  // namespace quire
