// SPDX-License-Identifier: Apache-2.0
//
// SimClock: simulated time, in whole nanoseconds since the experiment began.
//
// Nothing in quire/sim reads a real clock: time moves only because somebody says that something
// took so long. An experiment of an hour therefore runs in a second, and twice the same.
//
// Invariants:    time never goes back.
// Thread-safety: plain values; one thread at a time.
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>

namespace quire::sim {

inline constexpr std::uint64_t kNanosecondsPerSecond = 1'000'000'000;
inline constexpr std::uint64_t kNanosecondsPerMillisecond = 1'000'000;
inline constexpr std::uint64_t kNanosecondsPerMicrosecond = 1'000;

// A moment. Durations are plain numbers whose names end in _ns.
struct SimTime {
  std::uint64_t ns = 0;

  [[nodiscard]] constexpr SimTime plus(std::uint64_t duration_ns) const noexcept {
    return {ns + duration_ns};
  }
  [[nodiscard]] constexpr double seconds() const noexcept {
    return static_cast<double>(ns) / static_cast<double>(kNanosecondsPerSecond);
  }
  friend constexpr auto operator<=>(const SimTime&, const SimTime&) = default;
};

class SimClock {
 public:
  [[nodiscard]] SimTime now() const noexcept { return now_; }
  void advance(std::uint64_t duration_ns) noexcept { now_.ns += duration_ns; }
  // Waits for a moment; one that has passed is no wait.
  void wait_until(SimTime moment) noexcept { now_ = std::max(now_, moment); }

 private:
  SimTime now_;
};

// How long `bytes` take at a rate, rounded up: nothing is ever faster than its rate.
// REQUIRES: bytes_per_s > 0, and a result below 2^64.
[[nodiscard]] constexpr std::uint64_t transfer_ns(std::uint64_t bytes,
                                                  std::uint64_t bytes_per_s) noexcept {
  __extension__ using Wide = unsigned __int128;
  return static_cast<std::uint64_t>(
      (static_cast<Wide>(bytes) * kNanosecondsPerSecond + bytes_per_s - 1) / bytes_per_s);
}

}  // namespace quire::sim
