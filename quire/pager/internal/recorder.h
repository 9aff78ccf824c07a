// SPDX-License-Identifier: Apache-2.0
//
// Recorder: the faults of a pager as a trace for `quire simulate`.
//
//   fault --note()--> ring of kRing faults --drain(), service thread--> TraceWriter --> file
//
// What is full is lost and counted: no fault waits for a trace.
//
// Thread-safety: note() from any thread, also where a fault is being served; drain() the service
//                thread only; start() and stop() from any thread.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "quire/base/mutex.h"
#include "quire/base/path_argument.h"
#include "quire/base/result.h"
#include "quire/io/file.h"
#include "quire/pager/internal/area_state.h"
#include "quire/pager/pager_stats.h"
#include "quire/policy/trace.h"
#include "quire/sys/futex.h"

namespace quire::internal {

class Recorder {
 public:
  // A service thread that sleeps is woken at half of it: some milliseconds of faults.
  static constexpr std::size_t kRing = 32'768;

  // Errors: those of open_file(); EBUSY while a trace is being recorded.
  Result<void> start(PathArgument path, std::uint64_t granule_bytes);
  // Writes the end mark. Errors: of writing, from the beginning on; kClosed when none is recorded.
  Result<TraceReport> stop();

  // True: there is enough to be drained.
  bool note(PageId page, Need need) noexcept;
  void drain();

 private:
  struct Fault {
    PageId page = 0;
    Need need = Need::kLoad;
  };

  void drain_locked() QUIRE_REQUIRES(mutex_);

  std::atomic<bool> is_on_{false};
  sys::FutexLock ring_lock_;
  std::vector<Fault> ring_ QUIRE_GUARDED_BY(ring_lock_);  // Of kRing, while it is on.
  std::size_t ring_count_ QUIRE_GUARDED_BY(ring_lock_) = 0;
  std::uint64_t lost_ QUIRE_GUARDED_BY(ring_lock_) = 0;

  Mutex mutex_;
  std::unique_ptr<File> file_ QUIRE_GUARDED_BY(mutex_);
  std::unique_ptr<TraceWriter> writer_ QUIRE_GUARDED_BY(mutex_);
  std::uint64_t written_bytes_ QUIRE_GUARDED_BY(mutex_) = 0;
  std::vector<Fault> taken_ QUIRE_GUARDED_BY(mutex_);
};

}  // namespace quire::internal
