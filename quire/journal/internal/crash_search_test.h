// SPDX-License-Identifier: Apache-2.0
//
// CrashSearch: a random workload on a journal over a CrashDisk, and the judge of what recovery
// makes of each state that a crash can leave: exactly the last commit that was acknowledged, or the
// one after it.
//
//   disk: store 0 the log, stores 1.. the files
//   mark(g): generation g was acknowledged
//
// Thread-safety: one thread. A seed gives the same search again.
#pragma once

#include <cstdint>
#include <string>

#include "quire/base/prng.h"
#include "quire/journal/internal/journal_workload_test.h"
#include "quire/journal/internal/log_scan.h"
#include "quire/testing/crash_disk.h"

namespace quire::internal {

struct CrashSearchOptions {
  std::uint64_t seed = 0;
  int steps = 60;               // Of the workload.
  bool has_durable_log = true;  // Commits of one durable write, where they can be.
  Verification verification = Verification::kImages;
  std::uint64_t recovery_memory_bytes = 1024 * 1024;  // As JournalOptions'.
  testing::CrashDiskOptions disk{};
};

class CrashSearch {
 public:
  using Contents = testing::CrashDisk::Contents;

  explicit CrashSearch(const CrashSearchOptions& options);

  // Up to so many states. Returns what is wrong with the first bad one; "": all are good.
  std::string run(std::uint64_t states_max);
  // Crashes in the middle of recovery, recovers from that, and so on.
  std::string run_nested(std::uint64_t states_max);
  [[nodiscard]] std::uint64_t state_count() const noexcept { return states_; }
  [[nodiscard]] std::uint64_t generation_count() const noexcept {
    return workload_.generation_count();
  }

 private:
  [[nodiscard]] std::string recover_and_judge(testing::CrashDisk& disk, std::uint64_t mark) const;
  [[nodiscard]] Contents some_crash(const testing::CrashDisk::Walk& walk);

  const CrashSearchOptions options_;
  Prng random_;
  testing::CrashDisk disk_;
  JournalWorkload workload_;
  std::uint64_t states_ = 0;
};

}  // namespace quire::internal
