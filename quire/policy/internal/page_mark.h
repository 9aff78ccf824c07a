// SPDX-License-Identifier: Apache-2.0
//
// page_mark: what the queue policies write into a page's note.
//
//   in a queue    | 31 .. 8: 0 | 7: met | 6..5: frequency | 4: guess | 3: erased | 2..0: queue |
//   in none       | 31 .. 4: when it went                            | 3: ghost  | 2..0: 0     |
//
//   guess      it was read ahead, and nobody was seen touching it yet
//   erased     it is not in memory; its queue entry still stands, and is taken over or skipped
//   met        used while the queues are tidied, and clear otherwise
//   ghost      it went not long ago: the ghost list of S3-FIFO, spread over the pages' notes
//
// Source:        for the ghost as a time stamp: Yang et al., SOSP 2023, section 4.2.
// Thread-safety: a plain value.
#pragma once

#include <cstdint>

#include "quire/policy/replacement.h"

namespace quire::internal {

using QueueId = std::uint8_t;
inline constexpr QueueId kNoQueue = 0;
inline constexpr QueueId kQueueIdMax = 7;

class PageMark {
 public:
  static constexpr int kStampBits = 28;
  static constexpr std::uint32_t kStampMask = (1U << kStampBits) - 1;
  static constexpr std::uint8_t kFrequencyMax = 3;

  explicit constexpr PageMark(PageNote note) noexcept : note_(note) {}
  static constexpr PageMark none() noexcept { return PageMark(0); }
  static constexpr PageMark in(QueueId queue) noexcept { return PageMark(queue); }
  static constexpr PageMark ghost(std::uint32_t stamp) noexcept {
    return PageMark(((stamp & kStampMask) << kStampShift) | kErasedOrGhost);
  }

  [[nodiscard]] constexpr PageNote note() const noexcept { return note_; }
  [[nodiscard]] constexpr QueueId queue() const noexcept {
    return static_cast<QueueId>(note_ & kQueueMask);
  }
  [[nodiscard]] constexpr bool is_erased() const noexcept {
    return queue() != kNoQueue && (note_ & kErasedOrGhost) != 0;
  }
  [[nodiscard]] constexpr bool is_live_in(QueueId queue) const noexcept {
    return (note_ & (kQueueMask | kErasedOrGhost)) == queue;
  }
  [[nodiscard]] constexpr bool is_ghost() const noexcept {
    return queue() == kNoQueue && (note_ & kErasedOrGhost) != 0;
  }
  [[nodiscard]] constexpr std::uint32_t stamp() const noexcept { return note_ >> kStampShift; }
  [[nodiscard]] constexpr bool is_guess() const noexcept { return (note_ & kGuess) != 0; }
  [[nodiscard]] constexpr bool is_met() const noexcept { return (note_ & kMet) != 0; }
  [[nodiscard]] constexpr std::uint8_t frequency() const noexcept {
    return static_cast<std::uint8_t>((note_ & kFrequencyMask) >> kFrequencyShift);
  }

  // REQUIRES for these: it is in a queue.
  [[nodiscard]] constexpr PageMark with_erased(bool is) const noexcept {
    return with(kErasedOrGhost, is);
  }
  [[nodiscard]] constexpr PageMark with_guess(bool is) const noexcept { return with(kGuess, is); }
  [[nodiscard]] constexpr PageMark with_met(bool is) const noexcept { return with(kMet, is); }
  [[nodiscard]] constexpr PageMark with_frequency(std::uint8_t frequency) const noexcept {
    return PageMark((note_ & ~kFrequencyMask) | (std::uint32_t{frequency} << kFrequencyShift));
  }

 private:
  static constexpr std::uint32_t kQueueMask = 0x7;
  static constexpr std::uint32_t kErasedOrGhost = 0x8;
  static constexpr std::uint32_t kGuess = 0x10;
  static constexpr std::uint32_t kFrequencyMask = 0x60;
  static constexpr int kFrequencyShift = 5;
  static constexpr std::uint32_t kMet = 0x80;
  static constexpr int kStampShift = 32 - kStampBits;
  static_assert(kQueueMask == kQueueIdMax);
  static_assert((kErasedOrGhost >> kStampShift) == 0, "the stamp leaves the ghost bit free");

  [[nodiscard]] constexpr PageMark with(std::uint32_t bit, bool is) const noexcept {
    return PageMark(is ? note_ | bit : note_ & ~bit);
  }

  PageNote note_;
};

}  // namespace quire::internal
