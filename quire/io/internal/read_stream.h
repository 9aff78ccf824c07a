// SPDX-License-Identifier: Apache-2.0
//
// ReadStream: follows a reader through a buffered file, and says what to read before it and what to
// drop behind it. It decides; its caller does.
//
//   |.. dropped ..|-- read, not dropped --|>>>> asked for ahead >>>>|
//            dropped_end               next                     ahead_end
//
//   a run: reads that begin where the one before ended. A read from elsewhere ends it: what was
//   read and not dropped goes, what was read ahead for nothing goes too, and nothing is read ahead
//   until the second read of the new run (the file's first byte is taken for the start of a scan).
//
// Dropping is advice: the kernel keeps a page whose read is still under way, so read-ahead that is
// in flight when a run ends may stay.
//
// Invariants:    dropped_end <= next <= ahead_end, within a run.
// Thread-safety: any thread; several readers of one file are one reader that jumps.
// Cost:          one lock per read.
#pragma once

#include <array>
#include <cstdint>

#include "quire/base/mutex.h"
#include "quire/base/units.h"

namespace quire::internal {

// What is dropped from the page cache after reads.
enum class DropReads : std::uint8_t {
  kNothing,
  kUnused,  // Reads drop their own pages (RWF_DONTCACHE); what was read ahead in vain stays behind.
  kAll,
};

struct ReadStreamOptions {
  std::uint64_t ahead_bytes = 0;  // 0: the kernel reads ahead as it likes.
  DropReads drop = DropReads::kNothing;
};

// The kernel's largest folios on most machines. A folio that reaches over the edge of a range of
// advice stays: ranges end at multiples of this.
inline constexpr std::uint64_t kFolioBytesMax = 2_MiB;

class ReadStream {
 public:
  // What a jump leaves behind, and what comes next. Empty ranges are nothing.
  struct Before {
    ByteRange ahead{0, 0};
    // Of the run that ended. From run_end_bytes on: asked for ahead, and perhaps still on its way.
    ByteRange drop{0, 0};
    // The kernel may have read ahead of that run: up to some distance from where it ended.
    bool drop_ahead = false;
    std::uint64_t run_end_bytes = 0;
  };

  void configure(const ReadStreamOptions& options) noexcept { options_ = options; }
  [[nodiscard]] bool is_idle() const noexcept {
    return options_.ahead_bytes == 0 && options_.drop == DropReads::kNothing;
  }

  // A read is about to start.
  [[nodiscard]] Before before(ByteRange read);
  // It is done. Gives what to drop.
  [[nodiscard]] ByteRange after();
  // The last read was done: the run ends.
  [[nodiscard]] Before finish();

 private:
  Before end_run() QUIRE_REQUIRES(mutex_);
  ByteRange take_ahead() QUIRE_REQUIRES(mutex_);

  ReadStreamOptions options_;
  Mutex mutex_;
  std::uint64_t reads_in_run_ QUIRE_GUARDED_BY(mutex_) = 0;
  std::uint64_t dropped_end_ QUIRE_GUARDED_BY(mutex_) = 0;
  std::uint64_t next_ QUIRE_GUARDED_BY(mutex_) = 0;
  std::uint64_t ahead_end_ QUIRE_GUARDED_BY(mutex_) = 0;
};

}  // namespace quire::internal
