// SPDX-License-Identifier: Apache-2.0
//
// WriteStream: follows a writer through a buffered file, and says whose write-back to start, whose
// to wait for, and what can then be dropped. It decides; its caller does.
//
//   |.. finished ..|-- write-back started --|== written, not started ==|
//                    the windows before        this window         next
//
// A run is a row of writes that begin where the one before ended. A full window is started as far
// as it has whole pages (a page that is written while it is on its way out is written twice), and
// the window before it is finished: no more than two windows are ever dirty. A writer that jumps
// leaves its part of a window: to the kernel, or, when pages are to be dropped, among the started.
//
// Invariants:    started ranges: at most kStartedMax, and one window of bytes after each step.
// Thread-safety: any thread; several writers of one file are one writer that jumps.
// Cost:          one lock per write.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <vector>

#include "quire/base/mutex.h"
#include "quire/base/units.h"

namespace quire::internal {

struct WriteStreamOptions {
  std::uint64_t window_bytes = 0;  // 0: nothing is followed.
  bool drops = false;
};

class WriteStream {
 public:
  // What to do now, in this order. Empty ranges are nothing.
  struct Steps {
    ByteRange jumped_from{0, 0};    // To start: what the writer left.
    ByteRange start{0, 0};          // To start: a full window.
    std::vector<ByteRange> finish;  // To wait for, and to drop if that was asked for.
  };

  static constexpr std::size_t kStartedMax = 32;

  void configure(const WriteStreamOptions& options) noexcept { options_ = options; }
  [[nodiscard]] bool is_idle() const noexcept { return options_.window_bytes == 0; }
  [[nodiscard]] bool drops() const noexcept { return options_.drops; }

  // A write was done.
  [[nodiscard]] Steps after(ByteRange written);
  // All that is not finished: to be finished by the caller.
  [[nodiscard]] std::vector<ByteRange> take_all();

 private:
  void push_started(ByteRange range) QUIRE_REQUIRES(mutex_);

  WriteStreamOptions options_;
  Mutex mutex_;
  std::uint64_t run_begin_ QUIRE_GUARDED_BY(mutex_) = 0;  // What is not started of the run.
  std::uint64_t next_ QUIRE_GUARDED_BY(mutex_) = 0;
  std::deque<ByteRange> started_ QUIRE_GUARDED_BY(mutex_);
  std::uint64_t started_bytes_ QUIRE_GUARDED_BY(mutex_) = 0;
};

}  // namespace quire::internal
