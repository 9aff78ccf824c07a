// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/internal/process_tag.h"

#include <atomic>
#include <cerrno>
#include <chrono>

#include "quire/sys/child.h"
#include "quire/sys/file.h"
#include "quire/sys/futex.h"
#include "quire/sys/process.h"
#include "quire/sys/process_identity.h"

namespace quire::ipc::internal {
namespace {

// A tag in an OwnedState. Another one after fork(): the pid tells.
std::atomic<std::uint64_t> g_own{0};

constexpr std::uint64_t kStartMask = (std::uint64_t{1} << ProcessTag::kStartBits) - 1;

bool has_ended(const sys::Descriptor& pidfd) noexcept {
  const auto state = sys::wait_readable(pidfd.get(), 0);
  return state && *state != sys::PollResult::kTimedOut;
}

// The pid belongs to somebody who started at another time.
bool is_somebody_else(const ProcessTag& process) noexcept {
  const auto ticks = sys::process_start_ticks(static_cast<int>(process.pid));
  return ticks && (*ticks & kStartMask) != process.start_ticks;
}

}  // namespace

Result<ProcessTag> own_process() {
  const int pid = sys::process_id();
  const ProcessTag known = OwnedState(g_own.load()).owner();
  if (known.pid == static_cast<std::uint32_t>(pid)) {
    return known;
  }
  const auto ticks = sys::process_start_ticks(pid);
  if (!ticks) {
    return fail(make_error(Errc::kUnsupported, "attach", "/proc/self/stat",
                           "it does not tell when this process started, and so its pid alone would "
                           "have to say who it is",
                           "mount /proc"));
  }
  const ProcessTag own{.pid = static_cast<std::uint32_t>(pid), .start_ticks = *ticks & kStartMask};
  g_own.store(OwnedState(0, own).word());
  return own;
}

ProcessWatch watch_process(const ProcessTag& process) noexcept {
  const int pid = static_cast<int>(process.pid);
  if (pid == 0) {
    return {};
  }
  auto pidfd = sys::open_process(pid);
  if (!pidfd && pidfd.error().value == ESRCH) {
    return {};
  }
  if (!pidfd) {
    return {.is_alive = sys::process_exists(pid) && !is_somebody_else(process), .pidfd = {}};
  }
  // In this order: whoever has the number after the pidfd was opened is the pidfd's, or that one
  // has ended.
  if (is_somebody_else(process) || has_ended(*pidfd)) {
    return {};
  }
  return {.is_alive = true, .pidfd = std::move(*pidfd)};
}

bool is_alive(const ProcessTag& process) noexcept {
  return watch_process(process).is_alive;
}

void wait_for_end(const ProcessTag& process, int slice_ms) noexcept {
  const ProcessWatch watch = watch_process(process);
  if (watch.is_alive && watch.pidfd.is_open()) {
    static_cast<void>(sys::wait_readable(watch.pidfd.get(), slice_ms));
  } else if (watch.is_alive) {
    const std::atomic<std::uint32_t> never{0};
    static_cast<void>(sys::futex_wait(never, 0, std::chrono::milliseconds(slice_ms)));
  }
}

}  // namespace quire::ipc::internal
