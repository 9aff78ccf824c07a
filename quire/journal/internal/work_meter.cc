// SPDX-License-Identifier: Apache-2.0
#include "quire/journal/internal/work_meter.h"

namespace quire::internal {

Result<void> WorkMeter::add(std::uint64_t bytes) {
  if (watch_ == nullptr) {
    return {};
  }
  progress_.done_bytes += bytes;
  if (watch_->on_progress) {
    watch_->on_progress(progress_);
  }
  if (watch_->stop.stop_requested()) {
    return fail(make_error(Errc::kCancelled, operation_, subject_,
                           "a stop was asked for; the journal is as it was"));
  }
  return {};
}

}  // namespace quire::internal
