// SPDX-License-Identifier: Apache-2.0
//
// write_pace: how much may be dirty, and how many writes may be under way, on the device at hand.
//
//   completed(bytes, latency) --> rate   bytes a second while anything is under way
//                             --> least  the shortest latency lately for writes of that size: what
//                                        the device itself needs
//
//   dirty limits   what the device writes in backlog_time_max, and never more than was configured:
//                  a gigabyte that is dirty in front of a disk of 50 MB/s is a flush of 20 seconds
//   writes         one more while most of them take less than four times the least, half as many
//                  when most take longer: then they wait for each other, and reads for them
//
// Source:        the limits per device are those of Linux' balance_dirty_pages
//                (mm/page-writeback.c, bandwidth estimation); the window is AIMD, as of Chiu and
//                Jain, "Analysis of the increase and decrease algorithms for congestion avoidance",
//                1989.
// Invariants:    dirty_start <= dirty_max <= what was configured; kWritesMin <= writes_max() <=
//                kWritesMax; nothing shrinks before something was measured.
// Thread-safety: one thread at a time. Time comes with the calls.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace quire {

struct WritePaceOptions {
  std::uint64_t dirty_start_bytes = 0;  // At most.
  std::uint64_t dirty_max_bytes = 0;    // At most; not less than dirty_start_bytes.
  std::uint64_t dirty_least_bytes = 0;  // dirty_max is never less: what keeps the device busy.
  std::chrono::nanoseconds backlog_time_max{};
};

class WritePace {
 public:
  using Moment = std::chrono::steady_clock::time_point;

  static constexpr std::size_t kWritesMin = 4;
  static constexpr std::size_t kWritesMax = 64;

  explicit WritePace(const WritePaceOptions& options) noexcept;

  // A write is handed to the device ...
  void begun(Moment now) noexcept;
  // ... and is done, well or not (then with 0 bytes). REQUIRES: it was begun.
  void completed(std::uint64_t bytes, std::chrono::nanoseconds latency, Moment now) noexcept;

  [[nodiscard]] std::uint64_t dirty_start_bytes() const noexcept;
  [[nodiscard]] std::uint64_t dirty_max_bytes() const noexcept;
  [[nodiscard]] std::size_t writes_max() const noexcept { return writes_max_; }
  [[nodiscard]] bool may_begin() const noexcept { return under_way_ < writes_max_; }
  // Bytes a second; nothing before enough was written.
  [[nodiscard]] std::optional<std::uint64_t> rate() const noexcept { return rate_; }

 private:
  static constexpr std::size_t kSizes = 16;  // 4 KiB, 8 KiB, ...

  void learn_rate() noexcept;
  [[nodiscard]] bool is_crowded(std::uint64_t bytes, std::chrono::nanoseconds latency) noexcept;
  void learn_window(bool is_crowded) noexcept;

  const WritePaceOptions options_;
  std::size_t under_way_ = 0;
  std::size_t writes_max_ = kWritesMax;
  std::size_t seen_ = 0;     // Completions since the window was looked at ...
  std::size_t crowded_ = 0;  // ... and those of them that stood in line.
  std::optional<std::uint64_t> rate_;
  std::uint64_t bytes_ = 0;           // Since the rate was worked out ...
  std::chrono::nanoseconds busy_{0};  // ... in this much time with something under way ...
  Moment busy_since_{};               // ... and since then.
  std::array<std::chrono::nanoseconds, kSizes> least_{};  // By size; 0: not known.
};

}  // namespace quire
