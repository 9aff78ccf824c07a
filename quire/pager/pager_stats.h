// SPDX-License-Identifier: Apache-2.0
//
// pager_stats: what a pager and an area count. Since they were made; never reset.
//
// Thread-safety: plain values, taken one counter at a time: they need not add up exactly while
//                others work.
#pragma once

#include <cstdint>

namespace quire {

struct AreaStats {
  std::uint64_t faults = 0;          // Served: absent pages, protected pages, waits for others.
  std::uint64_t load_misses = 0;     // Of those: a load of an absent granule ...
  std::uint64_t store_misses = 0;    // ... a store to one ...
  std::uint64_t store_upgrades = 0;  // ... a store to a clean one.
  std::uint64_t waits = 0;           // ... for somebody else who was at work on it.
  std::uint64_t tripwires = 0;       // ... the reader met a window that was read ahead.
  std::uint64_t failed_fills = 0;    // Ended in SIGBUS, zeros or an Error.
  std::uint64_t reads = 0;           // Requests to the store, and their bytes.
  std::uint64_t read_bytes = 0;
  std::uint64_t read_ahead_bytes = 0;  // Of those, before anybody asked.
  std::uint64_t zero_fills = 0;        // Granules that began as zeros, without a read.
  std::uint64_t writes = 0;            // Requests to the store, and their bytes.
  std::uint64_t write_bytes = 0;
  std::uint64_t evicted = 0;    // Granules.
  std::uint64_t redirtied = 0;  // Stored to while they were being written.
  // Of an atomic area:
  std::uint64_t commits = 0;           // In which it took part; several commit() may share one.
  std::uint64_t committed_bytes = 0;   // Copied out for them, in granules.
  std::uint64_t commit_conflicts = 0;  // Granules copied aside for a store during a commit.
  std::uint64_t spilled_bytes = 0;     // Written to the journal before their commit.
  std::uint64_t resident_bytes = 0;    // Now.
  std::uint64_t dirty_bytes = 0;       // Now.
};

struct PagerStats {
  std::uint64_t memory_bytes = 0;     // The budget ...
  std::uint64_t taken_bytes = 0;      // ... and what is taken of it now: pages ...
  std::uint64_t taken_bytes_max = 0;  // (the most ever)
  std::uint64_t page_bytes = 0;
  std::uint64_t buffer_bytes = 0;    // ... buffers ...
  std::uint64_t metadata_bytes = 0;  // ... and metadata.
  std::uint64_t dirty_bytes = 0;
  std::uint64_t evicted = 0;          // Granules.
  std::uint64_t direct_reclaims = 0;  // A fault had to make room itself.
  std::uint64_t credit_waits = 0;     // A fault waited until others made room.
  std::uint64_t dirty_waits = 0;      // A store waited for write-back.
  std::uint64_t write_errors = 0;
  std::uint64_t ghost_hits = 0;   // Came back soon after they went.
  std::uint64_t watched = 0;      // Put on probation.
  std::uint64_t slow_faults = 0;  // Longer than PagerOptions::slow_fault_report.
  std::uint32_t areas = 0;
};

// What a trace of faults holds.
struct TraceReport {
  std::uint64_t recorded = 0;
  std::uint64_t lost = 0;  // Came faster than they could be written.
};

// What evict() did.
struct PagedEviction {
  std::uint64_t evicted_bytes = 0;
  std::uint64_t kept_bytes = 0;  // Pinned, or used while we looked.
};

// What is in memory of a range.
struct PagedResidency {
  std::uint64_t resident_bytes = 0;
  std::uint64_t dirty_bytes = 0;
  std::uint64_t pinned_bytes = 0;
};

}  // namespace quire
