// SPDX-License-Identifier: Apache-2.0
#include "quire/pager/internal/recorder.h"

#include <algorithm>
#include <utility>

#include "quire/cache/range_registry.h"
#include "quire/sys/signals.h"

namespace quire::internal {

Result<void> Recorder::start(PathArgument path, std::uint64_t granule_bytes) {
  const sys::BlockedSignals blocked;
  const MutexLock lock(mutex_);
  if (writer_ != nullptr) {
    return fail(
        sys::to_error({EBUSY}, "start_trace", path.text(), "stop_trace() ends the other one"));
  }
  file_ = QUIRE_TRY(open_file(std::move(path), {.writable = true, .create = true}));
  QUIRE_TRY(file_->resize(0));
  written_bytes_ = 0;
  taken_.resize(kRing);
  writer_ = std::make_unique<TraceWriter>(
      TraceHeader{.page_bytes = static_cast<std::uint32_t>(granule_bytes),
                  .area_count = RangeRegistry::kRangesMax,
                  .content = TraceContent::kFaults},
      // Called by whoever holds the lock.
      [this](std::span<const std::byte> bytes) QUIRE_NO_THREAD_SAFETY_ANALYSIS {
        const Result<void> written = file_->write(written_bytes_, bytes);
        written_bytes_ += bytes.size();
        return written ? std::error_code() : written.error().code();
      });
  const sys::FutexLockGuard guard(ring_lock_);
  ring_.resize(kRing);
  ring_count_ = 0;
  lost_ = 0;
  is_on_.store(true);
  return {};
}

bool Recorder::note(PageId page, Need need) noexcept {
  if (!is_on_.load(std::memory_order_relaxed)) {
    return false;
  }
  const sys::FutexLockGuard guard(ring_lock_);
  if (!is_on_.load()) {
    return false;
  }
  if (ring_count_ == kRing) {
    ++lost_;
    return true;
  }
  ring_[ring_count_++] = {page, need};
  return ring_count_ == kRing / 2;
}

void Recorder::drain() {
  if (is_on_.load(std::memory_order_relaxed)) {
    const MutexLock lock(mutex_);
    drain_locked();
  }
}

void Recorder::drain_locked() {
  std::size_t count = 0;
  {
    const sys::FutexLockGuard guard(ring_lock_);
    count = ring_count_;
    std::copy_n(ring_.begin(), count, taken_.begin());
    ring_count_ = 0;
  }
  for (std::size_t i = 0; writer_ != nullptr && i < count; ++i) {
    writer_->record({.page = AreaState::index_of(taken_[i].page),
                     .area = static_cast<std::uint16_t>(AreaState::slot_of(taken_[i].page)),
                     .is_store = taken_[i].need == Need::kStore});
  }
}

Result<TraceReport> Recorder::stop() {
  const sys::BlockedSignals blocked;
  const MutexLock lock(mutex_);
  if (writer_ == nullptr) {
    return fail(make_error(Errc::kClosed, "stop_trace", "pager", "no trace is being recorded"));
  }
  TraceReport report;
  is_on_.store(false);
  drain_locked();
  {
    const sys::FutexLockGuard guard(ring_lock_);
    report.lost = lost_;
    ring_ = {};
  }
  const std::error_code failure = writer_->finish();
  report.recorded = writer_->record_count();
  const std::string name = file_->name();
  writer_.reset();
  const Result<void> closed = file_->close();
  file_.reset();
  if (failure) {
    return fail(Error({.code = failure, .operation = "stop_trace", .subject = name}));
  }
  QUIRE_TRY(closed);
  return report;
}

}  // namespace quire::internal
