// SPDX-License-Identifier: Apache-2.0
//
// residency: which bytes of a file the kernel holds in its page cache right now.
//
//   file     |0-------------------------------------------------------size|
//   cached       [=====]              [=]   [===========]
//   answers  residency():        one sum             (how much)
//            resident_extents(): sorted, disjoint    (where, exactly)
//            residency_map():    a share per slice   (where, for a bar)
//            residency_view():   all three, looked up once
//
// The kernel has two ways to tell. cachestat(2) counts a range in one call and knows dirty pages;
// mincore(2) gives a bit per page of a mapping. A range that is all there or all absent is answered
// by one cachestat; only mixed parts are divided, sixteen at a time, and the leaves go to mincore
// through a temporary mapping of bounded size. So a resident 4 GiB file and a sparse 1 TiB one cost
// about the same: the pages that are there are visited, the holes are not.
//
// It answers *unknown* rather than a guess: cachestat refuses, and mincore calls everything
// resident, for a caller who may neither write the file nor owns it. Then `*_known` is false and
// `why_unknown` is a sentence.
//
//   regular files, block devices   as above
//   tmpfs, memfd                   resident is what is allocated; dirty is 0: there is no disk
//   hugetlbfs                      the whole file: what is allocated; a part: unknown
//   overlay and other stacked      mincore alone: cachestat looks at the wrong inode there and
//   file systems                   counts nothing; dirty is unknown
//   /proc, /sys, empty files       nothing to cache: size 0, resident 0, known
//   directories, sockets, pipes,   Errc::kWrongKind
//   character devices
//
// Counts are bytes clipped to the range and to the file: a 10-byte file in one cached page is 10
// bytes resident. The answer is true for the moment each part was looked at; nothing is held still.
//
// Thread-safety: any thread; the descriptor's position is not used.
// Errors:        kWrongKind; kOutOfRange as resolve_range(); the kernel's errno.
// Kernel:        before 6.5 (no cachestat) mincore alone answers: dirty counts are unknown, and
//                pages that merely cache a hole of the file are not counted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "quire/base/result.h"
#include "quire/base/units.h"

namespace quire {

struct Residency {
  std::uint64_t size_bytes = 0;  // Of the range, after kToEnd was resolved.
  std::uint64_t resident_bytes = 0;
  std::uint64_t dirty_bytes = 0;             // Part of resident: newer than the disk.
  std::uint64_t writeback_bytes = 0;         // Part of resident: on its way to the disk.
  std::uint64_t evicted_bytes = 0;           // Was cached once, was dropped under pressure.
  std::uint64_t recently_evicted_bytes = 0;  // Part of evicted: so recently that it would refault.
  bool resident_known = true;
  bool dirty_known = true;       // Also for write-back and evicted.
  std::string why_unknown = {};  // Empty when both are known.
};

// Cost: two to five system calls, and a walk over the pages that are there (about 10 ns each).
[[nodiscard]] Result<Residency> residency(int fd, ByteRange range = kWholeFile);

// Beyond this many extents a list helps nobody; ask again from where it was cut.
inline constexpr std::size_t kResidentExtentsMax = 65'536;

// Invariants: extents are sorted, disjoint, not adjacent, not empty, inside the range.
struct ResidentExtents {
  std::vector<ByteRange> extents = {};
  bool complete = true;             // False: cut at the limit; `covered` says up to where.
  std::uint64_t covered_bytes = 0;  // The answer is exact for this many bytes of the range.
  bool known = true;
  std::string why_unknown = {};
};

// REQUIRES: extents_max > 0.
[[nodiscard]] Result<ResidentExtents> resident_extents(
    int fd, ByteRange range = kWholeFile, std::size_t extents_max = kResidentExtentsMax);

inline constexpr std::size_t kResidencyCellsMax = 65'536;

// The range in `cells` equal slices, and the share of each that is resident, 0.0 to 1.0. Exact
// where a slice is all or nothing; within a sixteenth of a slice where it is mixed. Fewer cells
// come back when the range has fewer bytes than cells; none for an empty range.
struct ResidencyMap {
  std::vector<double> shares = {};
  bool known = true;
  std::string why_unknown = {};
};

// Errors: kLimit when cells exceed kResidencyCellsMax.
[[nodiscard]] Result<ResidencyMap> residency_map(int fd, ByteRange range, std::size_t cells);

struct ResidencyView {
  Residency total;
  ResidentExtents extents;
  ResidencyMap map;
};

struct ViewOptions {
  std::size_t extents_max = kResidentExtentsMax;  // At least 1.
  std::size_t cells = 0;
};

// The three answers in about the time of one, and of (nearly) the same moment.
// Errors: as residency_map().
[[nodiscard]] Result<ResidencyView> residency_view(int fd, ByteRange range,
                                                   const ViewOptions& options);

}  // namespace quire
