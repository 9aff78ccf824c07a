// SPDX-License-Identifier: Apache-2.0
//
// credits: the memory budget, as bytes that must be taken before memory is.
//
//   budget = free + taken          taken = pages + buffers + metadata, by Use
//
// The bound is hard because nothing is allocated first and accounted for later: who finds too few
// free must make room (evict) or wait. Whoever gives back wakes whoever waits.
//
// Invariants:    free + the sum of taken(use) = budget; while credits are on their way from one to
//                the other the sum is below it, never above.
// Thread-safety: every member from any thread, also where a fault is being served.
// Blocks:        await_more() only.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace quire {

class Credits {
 public:
  enum class Use : std::uint8_t { kPages, kBuffers, kMetadata, kCount };

  explicit Credits(std::uint64_t budget_bytes) noexcept;
  Credits(const Credits&) = delete;
  Credits& operator=(const Credits&) = delete;

  // All of it, or nothing.
  [[nodiscard]] bool try_take(Use use, std::uint64_t bytes) noexcept;
  // REQUIRES: they were taken for that use (checked).
  void give_back(Use use, std::uint64_t bytes) noexcept;

  [[nodiscard]] std::uint64_t budget_bytes() const noexcept { return budget_bytes_; }
  [[nodiscard]] std::uint64_t free_bytes() const noexcept { return free_bytes_.load(); }
  [[nodiscard]] std::uint64_t taken_bytes(Use use) const noexcept;
  // The most that was ever taken at once.
  [[nodiscard]] std::uint64_t taken_bytes_max() const noexcept { return taken_max_.load(); }

  // For waiting: ticket = generation(); try; await_more(ticket) comes back when something was given
  // back after that. False: the time ran out.
  [[nodiscard]] std::uint32_t generation() const noexcept { return generation_.load(); }
  bool await_more(std::uint32_t generation, std::uint64_t timeout_ms) noexcept;
  // Wakes whoever waits, for another reason than credits: closing, an error that sticks.
  void wake_all() noexcept;

 private:
  const std::uint64_t budget_bytes_;
  std::atomic<std::uint64_t> free_bytes_;
  std::array<std::atomic<std::uint64_t>, static_cast<std::size_t>(Use::kCount)> taken_{};
  std::atomic<std::uint64_t> taken_max_{0};
  std::atomic<std::uint32_t> generation_{0};
  std::atomic<std::uint32_t> waiters_{0};
};

}  // namespace quire
