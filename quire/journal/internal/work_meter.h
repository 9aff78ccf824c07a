// SPDX-License-Identifier: Apache-2.0
//
// work_meter: how far reading a log, and writing what is in it to the files, has come, for who
// asked to be told (JournalWatch), and whether it is to go on.
//
// Invariants:    what was done only grows; there is no more of it than of all, once that is known.
// Thread-safety: one thread.
// Cost:          with nobody to tell, two comparisons for each transfer.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "quire/base/result.h"
#include "quire/journal/journal_options.h"

namespace quire::internal {

class WorkMeter {
 public:
  WorkMeter() noexcept = default;  // Nobody watches.
  // What is done to what, for the error. REQUIRES: the watch outlives it.
  WorkMeter(const JournalWatch& watch, const char* operation, std::string subject)
      : watch_(&watch), operation_(operation), subject_(std::move(subject)) {}

  // So much more was read or written. Errors: kCancelled when a stop was asked for.
  Result<void> add(std::uint64_t bytes);
  // So much is still to be read or written: from now on it is known how much there is in all.
  void set_left(std::uint64_t bytes) { progress_.total_bytes = progress_.done_bytes + bytes; }

 private:
  const JournalWatch* watch_ = nullptr;
  const char* operation_ = "";
  std::string subject_;
  JournalProgress progress_;
};

}  // namespace quire::internal
