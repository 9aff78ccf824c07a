// SPDX-License-Identifier: Apache-2.0
#include "quire/io/internal/read_stream.h"

#include <algorithm>

#include "quire/base/page_window.h"

namespace quire::internal {
namespace {

// What is asked for ahead at a time: a quarter of the window keeps the device busy while the reader
// goes through the other three, and makes a system call rare.
constexpr std::uint64_t kPartsPerWindow = 4;

ByteRange between(std::uint64_t begin, std::uint64_t end) noexcept {
  return {begin, end > begin ? end - begin : 0};
}

}  // namespace

ReadStream::Before ReadStream::end_run() {
  Before left;
  left.run_end_bytes = next_;
  if (options_.drop == DropReads::kAll) {
    left.drop = between(dropped_end_, std::max(next_, ahead_end_));
  }
  // A single read at some place is not read ahead of.
  left.drop_ahead =
      options_.drop != DropReads::kNothing && options_.ahead_bytes == 0 && reads_in_run_ > 1;
  return left;
}

ByteRange ReadStream::take_ahead() {
  const std::uint64_t target = next_ + std::min(options_.ahead_bytes, kFileOffsetMax - next_);
  if (target - ahead_end_ < options_.ahead_bytes / kPartsPerWindow) {
    return {0, 0};
  }
  const ByteRange ahead = between(ahead_end_, target);
  ahead_end_ = target;
  return ahead;
}

ReadStream::Before ReadStream::before(ByteRange read) {
  const MutexLock lock(mutex_);
  const bool goes_on = read.offset_bytes == next_;  // Byte 0 at the start, too.
  Before result;
  if (!goes_on) {
    result = end_run();
    reads_in_run_ = 0;
    dropped_end_ = ahead_end_ = read.offset_bytes;
  }
  ++reads_in_run_;
  next_ = std::min(end_of(read), kFileOffsetMax);
  if (options_.ahead_bytes > 0 && goes_on) {
    result.ahead = take_ahead();
  }
  ahead_end_ = std::max(ahead_end_, next_);
  return result;
}

ByteRange ReadStream::after() {
  const MutexLock lock(mutex_);
  const std::uint64_t end = round_down(next_, PageSize(kFolioBytesMax));
  if (options_.drop != DropReads::kAll || end <= dropped_end_) {
    return {0, 0};
  }
  const ByteRange drop = between(dropped_end_, end);
  dropped_end_ = end;
  return drop;
}

ReadStream::Before ReadStream::finish() {
  const MutexLock lock(mutex_);
  const Before result = end_run();
  reads_in_run_ = 0;
  dropped_end_ = ahead_end_ = next_;
  return result;
}

}  // namespace quire::internal
