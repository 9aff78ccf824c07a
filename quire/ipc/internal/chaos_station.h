// SPDX-License-Identifier: Apache-2.0
//
// chaos_station: the place of a process in a game of chaos, and the book that it keeps. The process
// dies and is replaced; the book stays, and its successor goes on where it ends.
//
// Thread-safety: a log is written by the one process that has the station, and read by all.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "quire/base/prng.h"
#include "quire/base/result.h"
#include "quire/ipc/segment.h"
#include "quire/ipc/wait_point.h"

namespace quire::ipc::internal {

inline constexpr unsigned kChaosWritersMax = 8;

// What a station is about, for whoever wonders why it does not go on.
enum class ChaosDoing : std::uint32_t {
  kStarting,
  kTakingPlace,
  kSending,
  kReceiving,
  kLocking,
  kInside,
  kUnlocking,
  kAcquiring,
  kHolding,
  kAwaiting,
  kResting,
};
// "waiting for a message": after "is".
[[nodiscard]] const char* name_of(ChaosDoing doing) noexcept;

struct alignas(4096) ChaosLog {
  static constexpr std::size_t kViolationBytes = 512;

  // For the referee.
  std::atomic<std::uint64_t> finished;  // Operations; grows while it lives.
  std::atomic<ChaosDoing> doing;
  std::array<char, kViolationBytes> violation;  // Text, with a zero; written before it ends.

  // Who changes something: the number of the change that it began last, and of the last one that
  // it was told is done. A successor begins the one after `begun`.
  std::atomic<std::uint64_t> begun;
  std::atomic<std::uint64_t> acknowledged;

  // Who receives: the last number of each writer, and the message that it has in hand.
  std::array<std::atomic<std::uint64_t>, kChaosWritersMax> seen;
  std::atomic<std::uint64_t> in_hand;

  std::atomic<std::uint64_t> repeated;
  std::atomic<std::uint64_t> told_of_death;
};
static_assert(sizeof(ChaosLog) == 4096);

// Memory is as its last writer left it when that was killed; order matters to the reader of the
// book in another process alone.
inline void note(std::atomic<std::uint64_t>& entry, std::uint64_t number) noexcept {
  entry.store(number, std::memory_order_release);
}
[[nodiscard]] inline std::uint64_t noted(const std::atomic<std::uint64_t>& entry) noexcept {
  return entry.load(std::memory_order_acquire);
}

// What a process at a station has.
class ChaosStation {
 public:
  struct Place {
    unsigned number = 0;       // Within its game.
    ChaosLog* logs = nullptr;  // Of all stations of its game; its own one is logs[number].
    const std::atomic<std::uint32_t>* ends = nullptr;
    std::uint64_t seed = 0;
  };
  ChaosStation(const Segment& segment, const Place& place) noexcept
      : segment_(&segment), place_(place), random_(place.seed) {}

  [[nodiscard]] const Segment& segment() const noexcept { return *segment_; }
  [[nodiscard]] unsigned number() const noexcept { return place_.number; }
  [[nodiscard]] ChaosLog& log() const noexcept { return place_.logs[place_.number]; }
  [[nodiscard]] const ChaosLog& log_of(unsigned station) const noexcept {
    return place_.logs[station];
  }
  [[nodiscard]] Prng& random() noexcept { return random_; }
  // Whether to end, between two operations.
  [[nodiscard]] bool should_end() const noexcept {
    return place_.ends->load(std::memory_order_relaxed) != 0;
  }

  void begins(ChaosDoing doing) const noexcept {
    log().doing.store(doing, std::memory_order_relaxed);
  }
  // Sleeps so long, or until all are to end.
  void rest(std::chrono::nanoseconds duration) const noexcept;
  // An operation is done: rests now and then, so that others get ahead of it.
  void has_finished();
  // Lets others go between two halves of something, now and then.
  void dawdle();
  // Sleeping or spinning first, by chance.
  [[nodiscard]] WaitOptions patience() noexcept;

 private:
  const Segment* segment_;
  Place place_;
  Prng random_;
};

// A promise that was broken.
[[nodiscard]] Error violation(const std::string& structure, std::string what);

}  // namespace quire::ipc::internal
