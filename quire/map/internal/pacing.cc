// SPDX-License-Identifier: Apache-2.0
#include "quire/map/internal/pacing.h"

#include <fmt/format.h>

#include <bit>

#include "quire/sys/memory.h"

namespace quire::internal {

Result<void> check_pace(const WarmOptions& options, const char* operation) {
  if (!std::has_single_bit(options.step_bytes) ||
      options.step_bytes < sys::os_page_size().bytes()) {
    return fail(make_error(Errc::kOutOfRange, operation,
                           fmt::format("a step of {} bytes", options.step_bytes),
                           "a step is a power of two and at least one page"));
  }
  if (options.threads < 1 || options.threads > kWarmThreadsMax) {
    return fail(make_error(Errc::kOutOfRange, operation, fmt::format("{} threads", options.threads),
                           fmt::format("1 to {} are possible", kWarmThreadsMax)));
  }
  return {};
}

bool Pace::may_go_on(std::uint64_t needed_bytes, StopReason& reason,
                     std::string& binding_limit) const {
  if (options_.stop.stop_requested()) {
    reason = StopReason::kCancelled;
    return false;
  }
  if (needed_bytes == 0 || options_.allow_reclaim) {
    return true;
  }
  const sys::MemoryHeadroom room = options_.headroom ? options_.headroom() : sys::headroom();
  if (room.is_known && room.bytes >= needed_bytes) {
    return true;
  }
  reason = StopReason::kMemory;
  binding_limit = room.is_known ? room.binding : "the free memory is not known";
  return false;
}

void Pace::report(std::uint64_t done_bytes, std::uint64_t moved_bytes) const {
  if (options_.on_progress) {
    const double elapsed = seconds();
    options_.on_progress(
        {.done_bytes = done_bytes,
         .total_bytes = total_bytes_,
         .bytes_per_second = elapsed > 0 ? static_cast<double>(moved_bytes) / elapsed : 0});
  }
}

double Pace::seconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
}

}  // namespace quire::internal
