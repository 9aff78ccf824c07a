// SPDX-License-Identifier: Apache-2.0
//
// FlushState: what a writable file mapping and its background flushes share: the error that sticks,
// and whether the directory entry still has to be made durable.
//
//   sound --record(error)--> failed (the first error stays) --acknowledge()--> sound
//
// Shared by pointer, because a background flush may end after its mapping is gone.
// Thread-safety: any thread.
#pragma once

#include <optional>
#include <string>
#include <utility>

#include "quire/base/mutex.h"
#include "quire/base/result.h"

namespace quire::internal {

class FlushState {
 public:
  // `created_path`: the file whose directory entry is new; empty for a file that was there.
  explicit FlushState(std::string created_path) : created_path_(std::move(created_path)) {}

  // Keeps the first error.
  void record(const Error& error) {
    const MutexLock lock(mutex_);
    if (!first_error_.has_value()) {
      first_error_ = error;
    }
  }

  [[nodiscard]] std::optional<Error> error() const {
    const MutexLock lock(mutex_);
    return first_error_;
  }

  void acknowledge() {
    const MutexLock lock(mutex_);
    first_error_.reset();
  }

  // Makes the directory entry of a created file durable, once. Blocks.
  Result<void> sync_directory_once();

 private:
  mutable Mutex mutex_;
  std::optional<Error> first_error_ QUIRE_GUARDED_BY(mutex_);
  std::string created_path_ QUIRE_GUARDED_BY(mutex_);
};

}  // namespace quire::internal
