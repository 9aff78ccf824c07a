// SPDX-License-Identifier: Apache-2.0
//
// warming: brings a range of a file into the page cache as fast as the disk goes, shows progress,
// can be stopped, and never pushes the machine into reclaim. And populate(): the same for the page
// tables of a mapping.
//
//   range  |====step 0====|====step 1====|   hole   |====step 2====|= ...
//             confirmed      in flight       skipped     next
//
// The range is cut into steps. Parts that are resident and holes are skipped; the rest is read by a
// few threads, in pieces of 2 MiB: each maps its piece and faults it in with MADV_POPULATE_READ,
// which returns only when the pages have arrived, and returns an error where a touch would kill.
// Huge-page advice makes the kernel read such a piece as one unit into large folios; random advice
// keeps it from reading on, into holes or past what the guard allowed. A piece that cannot be had
// that way is read with pread(2), and an I/O error becomes an Error with the offset of the page,
// never a silent gap. Hints alone (readahead(2), FADV_WILLNEED) are cut short by the kernel, which
// does not say so.
//
// Before every step the memory headroom (of the machine and of every cgroup above us) is looked at
// again: a step that would not fit is not started, and the report says what was left out and
// which limit binds.
//
// Thread-safety: any thread. on_progress and headroom are called from the calling thread only.
// Blocks:        until done, stopped or failed; threads are joined before it returns.
// Errors:        as residency(); the errno of a failed read, with the offset of the page.
//                Cancelling is no error: the report says so.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <stop_token>
#include <string>

#include "quire/base/result.h"
#include "quire/base/units.h"
#include "quire/sys/limits.h"

namespace quire {

struct Progress {
  std::uint64_t done_bytes = 0;   // Of total, resident parts and holes included.
  std::uint64_t total_bytes = 0;  // Of the range.
  double bytes_per_second = 0;    // Of what was read, since the start.
};

enum class StopReason : std::uint8_t {
  kDone,
  kCancelled,  // The stop token.
  kMemory,     // The next step would not fit; binding_limit says into what.
};

// "done", "cancelled", "memory": stable, for messages and JSON.
[[nodiscard]] const char* name_of(StopReason reason) noexcept;

struct WarmOptions {
  // Between two steps: progress, the stop token, the headroom. A power of two, at least one OS
  // page.
  std::uint64_t step_bytes = 32 << 20;
  // 1 to kWarmThreadsMax; fewer when there is little to read or they cannot be made. They wait for
  // the device nearly all the time: their number is the queue depth, not a share of the processors.
  int threads = 16;
  std::function<void(const Progress&)> on_progress = {};
  std::stop_token stop = {};
  // Where the headroom comes from; empty: sys::headroom(), the machine and every cgroup above us.
  std::function<sys::MemoryHeadroom()> headroom = {};
  // Warm on even when other pages must be given up for it.
  bool allow_reclaim = false;
};

inline constexpr int kWarmThreadsMax = 64;

struct WarmReport {
  std::uint64_t size_bytes = 0;             // Of the range.
  std::uint64_t bytes_resident_before = 0;  // When residency is known.
  std::uint64_t bytes_resident_after = 0;
  bool known = true;  // Whether residency is: if not, everything was read to be sure.
  std::string why_unknown = {};
  std::uint64_t bytes_read = 0;      // Brought in by this call; an estimate when not known.
  std::uint64_t bytes_skipped = 0;   // Holes: they have no disk blocks to read.
  std::uint64_t bytes_left_out = 0;  // Not reached: cancelled, or no memory for it.
  std::uint64_t steps = 0;
  std::uint64_t pieces_reread = 0;  // Could not be faulted in, and were read with pread.
  StopReason stopped = StopReason::kDone;
  std::string binding_limit = {};  // With kMemory.
  double seconds = 0;
};

// Errors also: kOutOfRange for a step or thread count outside its bounds.
[[nodiscard]] Result<WarmReport> warm(int fd, ByteRange range = kWholeFile,
                                      const WarmOptions& options = {});

enum class PopulateAccess : std::uint8_t {
  kRead,   // Page table entries for loads.
  kWrite,  // For stores: private pages are copied, shared ones become dirty, blocks are reserved.
};

struct PopulateReport {
  std::uint64_t bytes_populated = 0;
  std::uint64_t bytes_left_out = 0;
  std::uint64_t steps = 0;
  StopReason stopped = StopReason::kDone;
  std::string binding_limit = {};  // With kMemory.
  double seconds = 0;
};

// Fills the page tables of `mapped` step by step, on the calling thread (`threads` is ignored: the
// mapping's own lock would serialise them).
// REQUIRES: mapped is part of one mapping of the caller, page-aligned at its start.
// Errors:   where touching would kill, an Error with the offset in `mapped` of the first such page
//           (kFault for SIGBUS; the errno else); kUnsupported before 5.14.
[[nodiscard]] Result<PopulateReport> populate(std::span<std::byte> mapped, PopulateAccess access,
                                              const WarmOptions& options = {});

}  // namespace quire
