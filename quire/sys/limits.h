// SPDX-License-Identifier: Apache-2.0
//
// limits: how much of what this process may have, and what binds first.
//
//   machine      total --- free ------------------- low watermarks: below them reclaim starts
//   cgroup /a    limit ---------- usage             every level from ours up to the root counts
//   cgroup /a/b  limit --- usage
//   headroom     the smallest distance, over all of them, to the point where reclaim starts
//
// Everything is read anew at each call; nothing is cached, since other processes move the numbers.
// What the kernel does not tell (no /proc, a masked file) is std::nullopt, never a guess.
//
// Thread-safety: any thread; plain values come back.
// Cost:          headroom() reads about six small files: some 100 us. Call it per step, not per
//                page.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "quire/base/units.h"

namespace quire::sys {

// Where /proc and /sys are found: "" for the real ones, a directory with a made-up tree in tests.
struct SystemRoot {
  std::string prefix;
};

// A resource limit; std::nullopt is "unlimited", once it is known.
struct ResourceLimit {
  bool is_known = false;  // False when a filter forbids to ask.
  std::optional<std::uint64_t> soft;
  std::optional<std::uint64_t> hard;
};

// What binds this process alone.
struct ProcessLimits {
  ResourceLimit locked_bytes;                     // RLIMIT_MEMLOCK
  ResourceLimit open_files;                       // RLIMIT_NOFILE
  ResourceLimit address_space_bytes;              // RLIMIT_AS
  ResourceLimit file_size_bytes;                  // RLIMIT_FSIZE
  bool may_lock_without_limit = false;            // CAP_IPC_LOCK is effective.
  std::optional<std::uint64_t> locked_now_bytes;  // VmLck
  std::optional<std::uint64_t> mappings_max;      // vm.max_map_count
  std::optional<std::uint64_t> mappings_now;
  std::optional<std::uint64_t> overcommit_mode;  // vm.overcommit_memory: 0, 1 or 2.
};

[[nodiscard]] ProcessLimits process_limits(const SystemRoot& root = {});

// How many bytes may still be locked; kToEnd when nothing limits it.
[[nodiscard]] std::uint64_t lockable_bytes(const ProcessLimits& limits) noexcept;

// The machine, as the kernel counts it.
struct MachineMemory {
  std::uint64_t total_bytes = 0;
  std::uint64_t free_bytes = 0;
  std::uint64_t available_bytes = 0;  // The kernel's estimate: free plus easily reclaimed.
  std::uint64_t cached_bytes = 0;     // The page cache, shared memory included.
  std::uint64_t swap_total_bytes = 0;
  std::uint64_t swap_free_bytes = 0;
  // Free bytes less what the zones keep below their low watermarks and for narrower requests: when
  // they are used up kswapd wakes. std::nullopt without /proc/zoneinfo.
  std::optional<std::uint64_t> free_above_watermarks_bytes;
};

// One memory cgroup on the way from ours to the root. A page in our cache counts in each.
struct CgroupLevel {
  int version = 2;
  std::string path;                          // As the kernel names it, "/system.slice/x.service".
  std::string directory;                     // Where its files are.
  std::optional<std::uint64_t> limit_bytes;  // memory.max, memory.limit_in_bytes; nullopt: none.
  std::optional<std::uint64_t> high_bytes;   // memory.high: reclaim starts here already.
  std::optional<std::uint64_t> usage_bytes;  // Page cache included.
};

// Share of time that some / all tasks were stalled for memory: /proc/pressure/memory (4.20).
struct MemoryPressure {
  double some_percent_10s = 0;
  double full_percent_10s = 0;
};

struct MemoryLimits {
  std::optional<MachineMemory> machine;  // Nothing without /proc/meminfo.
  std::vector<CgroupLevel> cgroups;      // Ours first.
  std::optional<MemoryPressure> pressure;

  // The smallest of the machine's memory and the cgroups' limits.
  std::optional<std::uint64_t> binding_bytes;
  std::optional<std::uint64_t> binding_usage_bytes;
  // "cgroup v1 /a/b: 2.0 GiB (1.2 GiB in use)", "the machine: 23.5 GiB (0.4 GiB in use)".
  std::string binding;
};

[[nodiscard]] MemoryLimits memory_limits(const SystemRoot& root = {});

// What could be had at the very best: everything that is free or can be made free, within the
// limits of every cgroup above us. Nothing when the kernel does not tell.
[[nodiscard]] std::optional<std::uint64_t> obtainable_bytes(const MemoryLimits& limits) noexcept;

// How much can enter the page cache before the machine, or a cgroup of ours, starts to reclaim.
struct MemoryHeadroom {
  std::uint64_t bytes = 0;  // 0 also when nothing is known: who does not know, does not push.
  bool is_known = false;
  // "cgroup v1 /a/b leaves 812.0 MiB of its 2.0 GiB": what is reached first.
  std::string binding;
};

[[nodiscard]] MemoryHeadroom headroom(const MemoryLimits& limits);
[[nodiscard]] MemoryHeadroom headroom();

}  // namespace quire::sys
