// SPDX-License-Identifier: Apache-2.0
#include "quire/policy/write_pace.h"

#include <algorithm>
#include <bit>

#include "quire/base/check.h"

namespace quire {
namespace {

// Shorter spells of work say more about the first write than about the device.
constexpr std::chrono::milliseconds kSpell{50};
constexpr std::uint64_t kNanosecondsPerSecond = 1'000'000'000;
// An estimate follows the device within some spells, and not a single hiccup.
constexpr std::uint64_t kOldShare = 3;
// Longer than this many times the least, and writes stand in line.
constexpr int kCrowded = 4;
// The least latency is let grow by this part with each write, so that an exception is forgotten.
constexpr int kForget = 512;
constexpr std::uint64_t kSmallest = 4096;

}  // namespace

WritePace::WritePace(const WritePaceOptions& options) noexcept : options_(options) {
  QUIRE_CHECK_LE(options.dirty_start_bytes, options.dirty_max_bytes);
}

void WritePace::begun(Moment now) noexcept {
  if (under_way_++ == 0) {
    busy_since_ = now;
  }
}

void WritePace::completed(std::uint64_t bytes, std::chrono::nanoseconds latency,
                          Moment now) noexcept {
  QUIRE_CHECK_GT(under_way_, 0U);
  --under_way_;
  bytes_ += bytes;
  busy_ += std::max(now - busy_since_, Moment::duration{0});
  busy_since_ = now;
  learn_rate();
  if (bytes > 0) {
    learn_window(is_crowded(bytes, latency));
  }
}

void WritePace::learn_rate() noexcept {
  if (busy_ < kSpell) {
    return;
  }
  const auto nanoseconds = static_cast<double>(busy_.count());
  const auto seen = static_cast<std::uint64_t>(static_cast<double>(bytes_) / nanoseconds *
                                               static_cast<double>(kNanosecondsPerSecond));
  rate_ = rate_ ? (*rate_ * kOldShare + seen) / (kOldShare + 1) : seen;
  bytes_ = 0;
  busy_ = {};
}

bool WritePace::is_crowded(std::uint64_t bytes, std::chrono::nanoseconds latency) noexcept {
  const auto pages = static_cast<std::uint64_t>(bytes / kSmallest);
  std::chrono::nanoseconds& least =
      least_[std::min<std::size_t>(static_cast<std::size_t>(std::bit_width(pages)), kSizes - 1)];
  if (least.count() == 0 || latency < least) {
    least = std::max(latency, std::chrono::nanoseconds(1));
  } else {
    least += std::max(least / kForget, std::chrono::nanoseconds(1));
  }
  return latency > least * kCrowded;
}

// Looked at once in a window's worth of writes: then each of them was begun with this window.
void WritePace::learn_window(bool is_crowded) noexcept {
  crowded_ += is_crowded ? 1U : 0U;
  if (++seen_ < writes_max_) {
    return;
  }
  writes_max_ = crowded_ > seen_ / 2 ? std::max(writes_max_ / 2, kWritesMin)
                                     : std::min(writes_max_ + 1, kWritesMax);
  seen_ = 0;
  crowded_ = 0;
}

std::uint64_t WritePace::dirty_max_bytes() const noexcept {
  if (!rate_) {
    return options_.dirty_max_bytes;
  }
  const double seconds = std::chrono::duration<double>(options_.backlog_time_max).count();
  const auto backlog = static_cast<std::uint64_t>(static_cast<double>(*rate_) * seconds);
  return std::min(std::max(backlog, options_.dirty_least_bytes), options_.dirty_max_bytes);
}

// In the proportion that was configured.
std::uint64_t WritePace::dirty_start_bytes() const noexcept {
  if (options_.dirty_max_bytes == 0) {
    return 0;
  }
  const double part =
      static_cast<double>(dirty_max_bytes()) / static_cast<double>(options_.dirty_max_bytes);
  return static_cast<std::uint64_t>(static_cast<double>(options_.dirty_start_bytes) * part);
}

}  // namespace quire
