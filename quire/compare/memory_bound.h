// SPDX-License-Identifier: Apache-2.0
//
// memory_bound: a memory cgroup of our own, so that a comparison under "256 MiB" has 256 MiB: for
// its own memory and for the pages of the files that it reads.
//
//   version 1   as high up as no limit of ours is left behind: usually right below the root
//   version 2   below our own cgroup where that may have children, else beside it
//     '-- quire-compare-PID    limited, without swap; each round's process enters it
//
// A page in the page cache is charged to whoever brought it in, once, and counts there as long as
// it stays: what was read before must be evicted first, or reads of it are free of charge.
//
// The cgroup is removed by close() or the destructor. One that a killed run left behind is removed
// by the next: its name tells the process, which is gone.
//
// Thread-safety: one thread at a time.
// Errors:        kUnsupported, with what every place that was tried said: no memory controller, no
//                permission (not root, nothing delegated), a read-only /sys/fs/cgroup (containers).
// Kernel:        version 1 or 2 of the memory controller.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "quire/base/result.h"
#include "quire/sys/limits.h"
#include "quire/sys/outcome.h"

namespace quire::compare {

class MemoryBound {
 public:
  // Below this a process cannot even start.
  static constexpr std::uint64_t kLimitBytesMin = std::uint64_t{16} << 20;

  // Errors: as above; kLimit for a limit below kLimitBytesMin or above what binds us already.
  [[nodiscard]] static Result<MemoryBound> make(std::uint64_t limit_bytes,
                                                const sys::SystemRoot& root = {});
  MemoryBound(MemoryBound&& other) noexcept;
  MemoryBound& operator=(MemoryBound&&) = delete;
  ~MemoryBound();

  // Moves the calling process, with all its threads, into the cgroup, once the memory of the one
  // that was in it before is gone. Blocks for that: at most 2 s. REQUIRES: no process is in it.
  [[nodiscard]] Result<void> enter() const;
  // Takes what is charged out of memory where the kernel can (version 1), and removes the cgroup.
  // Errors: EBUSY while a process is in it.
  Result<void> close();

  [[nodiscard]] std::uint64_t limit_bytes() const noexcept { return limit_bytes_; }
  // "memory cgroup (v1)"
  [[nodiscard]] std::string method() const;
  // What is charged now, page cache included.
  [[nodiscard]] std::optional<std::uint64_t> usage_bytes() const;
  // Processes that the kernel killed in it so far.
  [[nodiscard]] std::optional<std::uint64_t> killed_processes() const;
  [[nodiscard]] const std::string& directory() const noexcept { return directory_; }

 private:
  // What is charged and is no page cache.
  [[nodiscard]] std::uint64_t own_bytes() const;

  MemoryBound(int version, std::string directory, std::uint64_t limit_bytes)
      : version_(version), directory_(std::move(directory)), limit_bytes_(limit_bytes) {}

  int version_;
  std::string directory_;  // Empty once closed or moved from.
  std::uint64_t limit_bytes_;
};

namespace internal {

// A directory that a cgroup may be made in, best first.
struct BoundPlace {
  int version = 1;
  std::string directory;
};

// Pure: where, by what the levels from ours up to the root say.
[[nodiscard]] std::vector<BoundPlace> bound_places(const sys::SystemRoot& root);

// Removes the cgroups in `directory` that runs which are gone have left. Returns how many.
std::size_t remove_stale_bounds(const std::string& directory);

}  // namespace internal

}  // namespace quire::compare
