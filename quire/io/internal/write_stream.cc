// SPDX-License-Identifier: Apache-2.0
#include "quire/io/internal/write_stream.h"

#include <utility>

#include "quire/base/page_window.h"
#include "quire/sys/memory.h"

namespace quire::internal {

void WriteStream::push_started(ByteRange range) {
  started_.push_back(range);
  started_bytes_ += range.length_bytes;
}

WriteStream::Steps WriteStream::after(ByteRange written) {
  const MutexLock lock(mutex_);
  Steps steps;
  if (written.offset_bytes != next_) {
    if (options_.drops && next_ > run_begin_) {
      steps.jumped_from = {run_begin_, next_ - run_begin_};
      push_started(steps.jumped_from);
    }
    run_begin_ = written.offset_bytes;
  }
  next_ = end_of(written);
  if (next_ - run_begin_ >= options_.window_bytes) {
    const std::uint64_t end = round_down(next_, sys::os_page_size());
    if (end > run_begin_) {
      steps.start = {run_begin_, end - run_begin_};
      push_started(steps.start);
      run_begin_ = end;
    }
  }
  // The newest window stays under way; what was started before it has had its time.
  while (started_.size() > 1 &&
         (started_bytes_ > options_.window_bytes || started_.size() > kStartedMax)) {
    steps.finish.push_back(started_.front());
    started_bytes_ -= started_.front().length_bytes;
    started_.pop_front();
  }
  return steps;
}

std::vector<ByteRange> WriteStream::take_all() {
  const MutexLock lock(mutex_);
  std::vector<ByteRange> all(started_.begin(), started_.end());
  if (next_ > run_begin_) {
    all.push_back({run_begin_, next_ - run_begin_});
  }
  started_.clear();
  started_bytes_ = 0;
  run_begin_ = next_;
  return all;
}

}  // namespace quire::internal
