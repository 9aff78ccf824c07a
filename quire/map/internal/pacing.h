// SPDX-License-Identifier: Apache-2.0
//
// pacing: what happens between two steps of a long operation: the stop token, the memory headroom,
// the progress callback.
//
// Thread-safety: one thread at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "quire/base/result.h"
#include "quire/map/warming.h"

namespace quire::internal {

// Errors: kOutOfRange for a step or thread count outside its bounds.
[[nodiscard]] Result<void> check_pace(const WarmOptions& options, const char* operation);

class Pace {
 public:
  // `options` outlives it.
  Pace(const WarmOptions& options, std::uint64_t total_bytes)
      : options_(options), total_bytes_(total_bytes) {}

  // False, with the reason, when the caller wants to stop or `needed_bytes` more do not fit.
  // The headroom is asked for only when needed_bytes > 0.
  [[nodiscard]] bool may_go_on(std::uint64_t needed_bytes, StopReason& reason,
                               std::string& binding_limit) const;
  void report(std::uint64_t done_bytes, std::uint64_t moved_bytes) const;
  [[nodiscard]] double seconds() const;

 private:
  const WarmOptions& options_;
  std::uint64_t total_bytes_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace quire::internal
