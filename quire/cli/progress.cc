// SPDX-License-Identifier: Apache-2.0
#include "quire/cli/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "quire/base/units.h"
#include "quire/cli/session.h"
#include "quire/sys/file.h"
#include "quire/sys/terminal.h"

namespace quire::cli {
namespace {

constexpr std::size_t kBarCells = 20;
constexpr double kRateAfterS = 0.5;        // Earlier, a rate is noise.
constexpr double kEtaMaxS = 100.0 * 3600;  // Longer is no estimate.
constexpr std::string_view kEraseLine = "\r\x1b[K";

std::string format_duration(double seconds) {
  const auto whole = static_cast<std::uint64_t>(std::llround(seconds));
  if (whole >= 3600) {
    return fmt::format("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60);
  }
  return fmt::format("{}:{:02}", whole / 60, whole % 60);
}

double share_of(const ProgressState& state) {
  if (state.share) {
    return std::clamp(state.share->done, 0.0, 1.0);
  }
  if (!state.total_bytes || *state.total_bytes == 0) {
    return 0;
  }
  return std::min(1.0,
                  static_cast<double>(state.done_bytes) / static_cast<double>(*state.total_bytes));
}

std::string progress_bar(double share, Charset charset) {
  const auto full = static_cast<std::size_t>(share * kBarCells);
  std::string bar;
  for (std::size_t cell = 0; cell < kBarCells; ++cell) {
    if (charset == Charset::kUtf8) {
      bar += cell < full ? "\u2588" : "\u2591";
    } else {
      bar += cell < full ? '#' : '.';
    }
  }
  return bar;
}

// How fast and how long still; nothing before there is something to judge by.
void add_pace(const ProgressState& state, std::vector<std::string>& pieces) {
  if (state.elapsed_s < kRateAfterS || state.done_bytes == 0) {
    return;
  }
  const double rate = static_cast<double>(state.done_bytes) / state.elapsed_s;
  pieces.push_back(fmt::format("{}/s", human_bytes(static_cast<std::uint64_t>(rate))));
  const std::uint64_t left_bytes =
      *state.total_bytes - std::min(*state.total_bytes, state.done_bytes);
  const double left_s = static_cast<double>(left_bytes) / rate;
  if (left_s < kEtaMaxS) {
    pieces.push_back("ETA " + format_duration(left_s));
  }
}

// The pieces from left to right, most wanted first.
std::vector<std::string> pieces_of(const ProgressState& state, Charset charset) {
  std::vector<std::string> pieces{state.label};
  if (state.share) {
    pieces.push_back(progress_bar(share_of(state), charset));
    pieces.push_back(fmt::format("{:5.1f} %", 100 * share_of(state)));
    if (state.share->left_s) {
      pieces.push_back("ETA " + format_duration(*state.share->left_s));
    }
    pieces.push_back(state.share->doing);
    return pieces;
  }
  const std::string done = human_bytes(state.done_bytes);
  if (state.total_bytes.value_or(0) > 0) {
    pieces.push_back(progress_bar(share_of(state), charset));
    pieces.push_back(fmt::format("{:5.1f} %", 100 * share_of(state)));
    pieces.push_back(fmt::format("{} of {}", done, human_bytes(*state.total_bytes)));
    add_pace(state, pieces);
  } else {
    pieces.push_back(done);
  }
  if (state.file_count > 0) {
    pieces.push_back(count_of(state.file_count, "file", "files"));
  }
  return pieces;
}

}  // namespace

std::string render_progress(const ProgressState& state, std::size_t columns, Charset charset) {
  std::string line;
  for (const std::string& piece : pieces_of(state, charset)) {
    const std::string addition = line.empty() ? piece : "  " + piece;
    if (display_width(line) + display_width(addition) > columns) {
      break;
    }
    line += addition;
  }
  return line;
}

ProgressLine::ProgressLine(Session& session, std::string label,
                           std::optional<std::uint64_t> total_bytes)
    : session_(session), started_(Clock::now()), next_draw_(started_) {
  state_.label = std::move(label);
  state_.total_bytes = total_bytes;
  session_.progress_line_ = this;
}

ProgressLine::~ProgressLine() {
  erase();
  session_.progress_line_ = nullptr;
}

void ProgressLine::erase() {
  if (is_drawn_) {
    static_cast<void>(sys::write_all(sys::kStandardError, std::as_bytes(std::span(kEraseLine))));
    is_drawn_ = false;
  }
}

void ProgressLine::update(std::uint64_t done_bytes, std::uint64_t file_count) {
  state_.done_bytes = done_bytes;
  state_.file_count = file_count;
  draw_now_and_then();
}

void ProgressLine::update(ProgressShare share) {
  state_.share = std::move(share);
  draw_now_and_then();
}

void ProgressLine::draw_now_and_then() {
  const Clock::time_point now = Clock::now();
  if (!session_.has_progress_ || now < next_draw_) {
    return;
  }
  next_draw_ = now + std::chrono::milliseconds(1000 / kUpdatesPerSecond);
  state_.elapsed_s = std::chrono::duration<double>(now - started_).count();
  // One column stays free: a full last column makes some terminals wrap.
  const std::string line =
      std::string(kEraseLine) + render_progress(state_, session_.columns() - 1, session_.charset());
  static_cast<void>(sys::write_all(sys::kStandardError, std::as_bytes(std::span(line))));
  is_drawn_ = true;
}

}  // namespace quire::cli
