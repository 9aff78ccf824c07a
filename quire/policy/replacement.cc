// SPDX-License-Identifier: Apache-2.0
#include "quire/policy/replacement.h"

#include "quire/base/check.h"
#include "quire/policy/internal/queue_policy.h"

namespace quire {

const char* name_of(PolicyKind kind) noexcept {
  switch (kind) {
    case PolicyKind::kFifo: return "fifo";
    case PolicyKind::kClock: return "clock";
    case PolicyKind::kS3Fifo: return "s3fifo";
    case PolicyKind::kLru: return "lru";
  }
  return "unknown";
}

std::unique_ptr<Replacement> make_replacement(const ReplacementOptions& options, PageHost& host) {
  QUIRE_CHECK(options.pages_max > 0);
  switch (options.kind) {
    case PolicyKind::kFifo: return internal::make_fifo(options.pages_max, host);
    case PolicyKind::kClock: return internal::make_clock(options.pages_max, host);
    case PolicyKind::kLru: return internal::make_lru(options.pages_max, host);
    case PolicyKind::kS3Fifo: break;
  }
  return internal::make_s3_fifo(options.pages_max, host);
}

}  // namespace quire
