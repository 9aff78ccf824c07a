// SPDX-License-Identifier: Apache-2.0
//
// counters: what AreaStats and PagerStats are taken from.
//
// Thread-safety: any thread; relaxed: a counter orders nothing.
#pragma once

#include <atomic>
#include <cstdint>

#include "quire/pager/pager_stats.h"

namespace quire::internal {

class Counter {
 public:
  void add(std::uint64_t count = 1) noexcept { value_.fetch_add(count, std::memory_order_relaxed); }
  void subtract(std::uint64_t count) noexcept {
    value_.fetch_sub(count, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t get() const noexcept {
    return value_.load(std::memory_order_relaxed);
  }

 private:
  std::atomic<std::uint64_t> value_{0};
};

struct AreaCounters {
  Counter faults;
  Counter load_misses;
  Counter store_misses;
  Counter store_upgrades;
  Counter waits;
  Counter tripwires;
  Counter failed_fills;
  Counter reads;
  Counter read_bytes;
  Counter read_ahead_bytes;
  Counter zero_fills;
  Counter writes;
  Counter write_bytes;
  Counter evicted;
  Counter redirtied;
  Counter commits;
  Counter committed_granules;
  Counter commit_conflicts;
  Counter spilled_bytes;
  Counter resident_granules;
};

struct PagerCounters {
  Counter direct_reclaims;
  Counter credit_waits;
  Counter dirty_waits;
  Counter write_errors;
  Counter slow_faults;
};

}  // namespace quire::internal
