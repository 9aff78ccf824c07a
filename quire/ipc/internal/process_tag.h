// SPDX-License-Identifier: Apache-2.0
//
// ProcessTag: which process it is, in 62 bits; and OwnedState, the word that says at once in which
// state something is and whose it is, so that one CAS both takes it and signs for it.
//
//   bits 0-1 state    2-23 pid    24-63 start time in clock ticks since boot
//
// Pids are below 2^22 (PID_MAX_LIMIT), 2^40 ticks of 1/100 s are 348 years.
//
// Thread-safety: any thread.
// Errors:        a process of which nothing can be found out counts as alive.
#pragma once

#include <cstdint>

#include "quire/base/result.h"
#include "quire/sys/descriptor.h"

namespace quire::ipc::internal {

struct ProcessTag {
  static constexpr unsigned kPidBits = 22;
  static constexpr unsigned kStartBits = 40;

  std::uint32_t pid = 0;  // 0: nobody.
  std::uint64_t start_ticks = 0;

  friend constexpr bool operator==(const ProcessTag&, const ProcessTag&) = default;
};

class OwnedState {
 public:
  constexpr explicit OwnedState(std::uint64_t word) noexcept : word_(word) {}
  constexpr OwnedState(unsigned state, const ProcessTag& owner) noexcept
      : word_((state & 3U) | (std::uint64_t{owner.pid} & ((1U << ProcessTag::kPidBits) - 1)) << 2 |
              owner.start_ticks << (2 + ProcessTag::kPidBits)) {}

  [[nodiscard]] constexpr std::uint64_t word() const noexcept { return word_; }
  [[nodiscard]] constexpr unsigned state() const noexcept {
    return static_cast<unsigned>(word_ & 3U);
  }
  [[nodiscard]] constexpr ProcessTag owner() const noexcept {
    return {.pid = static_cast<std::uint32_t>(word_ >> 2) & ((1U << ProcessTag::kPidBits) - 1),
            .start_ticks = word_ >> (2 + ProcessTag::kPidBits)};
  }

 private:
  std::uint64_t word_;
};

// This process. Errors: without /proc nobody can tell us from others: kUnsupported.
[[nodiscard]] Result<ProcessTag> own_process();

// Whether that process has not ended. Cost: 20 us, a pidfd and a file of /proc.
[[nodiscard]] bool is_alive(const ProcessTag& process) noexcept;

// The same with what it takes to ask again, and to wait for the end: a pidfd, or none where the
// kernel does not give one (no descriptors left).
struct ProcessWatch {
  bool is_alive = false;
  sys::Descriptor pidfd;
};
[[nodiscard]] ProcessWatch watch_process(const ProcessTag& process) noexcept;

// Returns when the process has ended, or after `slice_ms`. Blocks.
void wait_for_end(const ProcessTag& process, int slice_ms) noexcept;

}  // namespace quire::ipc::internal
