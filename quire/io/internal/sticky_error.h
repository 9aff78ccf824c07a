// SPDX-License-Identifier: Apache-2.0
//
// StickyError: the first error after which nobody can know what is on disk.
//
// A failed write-back leaves pages that count as clean and were never written; a second fsync then
// says that all is well (fsyncgate, 2018). So the first one stays, and nothing is tried again.
//
// Invariants:    set once, never cleared.
// Thread-safety: any thread.
// Cost:          is_set(): one load.
#pragma once

#include <atomic>
#include <optional>
#include <string>
#include <utility>

#include "quire/base/mutex.h"
#include "quire/base/result.h"

namespace quire::internal {

class StickyError {
 public:
  [[nodiscard]] bool is_set() const noexcept { return is_set_.load(); }

  // Later ones are forgotten.
  void set(const Error& error) {
    const MutexLock lock(mutex_);
    if (!error_) {
      error_ = error;
      is_set_.store(true);
    }
  }

  [[nodiscard]] std::optional<Error> get() const {
    const MutexLock lock(mutex_);
    return error_;
  }

  // The first error, if any, as the reason why another operation is not even tried.
  [[nodiscard]] Result<void> require_none(const std::string& operation,
                                          const std::string& subject) const {
    if (!is_set()) {
      return {};
    }
    return fail(make_error(Errc::kFailed, operation, subject,
                           "an earlier error is still in force: " + get()->message(),
                           "what was written since the last good sync may be lost; check it, "
                           "then open the file again"));
  }

 private:
  std::atomic<bool> is_set_{false};
  mutable Mutex mutex_;
  std::optional<Error> error_ QUIRE_GUARDED_BY(mutex_);
};

}  // namespace quire::internal
