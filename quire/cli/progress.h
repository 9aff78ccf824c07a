// SPDX-License-Identifier: Apache-2.0
//
// ProgressLine: one line on standard error that says how far a verb has come, and goes away.
//
//   warm  [########........]  51.2 %  2.0 GiB of 4.0 GiB  1.9 GiB/s  ETA 0:01  12 files
//   map   14,212 files  3.1 GiB                           (a walk knows no total)
//   compare  [###.............]  19.0 %  ETA 0:48  sequential scan, cold: direct
//
// Invariants:    at most kUpdatesPerSecond redraws; nothing at all unless switched on; the line is
//                erased before anything else is printed to the terminal (Session sees to that) and
//                by the destructor.
// Thread-safety: one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "quire/cli/text.h"

namespace quire::cli {

class Session;

// Of work that is not counted in bytes.
struct ProgressShare {
  double done = 0;  // 0 .. 1
  std::optional<double> left_s;
  std::string doing;
};

struct ProgressState {
  std::string label;
  std::optional<ProgressShare> share = {};  // Instead of bytes and files.
  std::uint64_t done_bytes = 0;
  std::optional<std::uint64_t> total_bytes;
  std::uint64_t file_count = 0;
  double elapsed_s = 0;
};

// The line itself, at most `columns` wide: what does not fit is left out from the right.
[[nodiscard]] std::string render_progress(const ProgressState& state, std::size_t columns,
                                          Charset charset);

class ProgressLine {
 public:
  static constexpr int kUpdatesPerSecond = 10;

  ProgressLine(Session& session, std::string label,
               std::optional<std::uint64_t> total_bytes = std::nullopt);
  ~ProgressLine();
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void update(std::uint64_t done_bytes, std::uint64_t file_count);
  void update(ProgressShare share);
  void set_total(std::uint64_t total_bytes) { state_.total_bytes = total_bytes; }
  // Takes the line off the terminal; the next update draws it again.
  void erase();

 private:
  using Clock = std::chrono::steady_clock;

  void draw_now_and_then();

  Session& session_;
  ProgressState state_;
  Clock::time_point started_;
  Clock::time_point next_draw_;
  bool is_drawn_ = false;
};

}  // namespace quire::cli
