// SPDX-License-Identifier: Apache-2.0
//
// SourceCacheCare: how a transfer uses the page cache of its source: in order, and tidily.
//
//   |...given back...|  being moved  |  read ahead by the kernel  |  only asked about  |  ...
//                    ^ position      '---------- kLookAheadBytes at most -------------'
//
// A source that is read from front to back says so (FADV_SEQUENTIAL), which doubles the kernel's
// read-ahead. That is all the read-ahead there is: asking for more by readahead(2) was slower on
// every disk that was tried, since it brings pages one by one where the kernel's own read-ahead
// brings large folios, at half the processor time.
//
// With SourceCache::kDropBehind, windows that were not in memory when we came are given back when
// they are moved. They are asked about far in front: later our own read-ahead would be taken for
// somebody else's. Besides leaving the cache to others this is faster: the pages that are given
// back are the next ones that the copy needs, and still in the processor's cache.
//
// Where the kernel does not tell (who may not write the file), nothing is given back. Pages that
// others use stay in any case. The last window of less than kWindowBytes stays: small files are
// cheap to keep.
//
// Thread-safety: one thread.
// Errors:        none: it is all advice. The descriptor's read-ahead is left at normal.
#pragma once

#include <cstdint>
#include <deque>

#include "quire/base/units.h"
#include "quire/transfer/internal/job.h"

namespace quire::internal {

class SourceCacheCare {
 public:
  explicit SourceCacheCare(Job& job);
  ~SourceCacheCare();
  SourceCacheCare(const SourceCacheCare&) = delete;
  SourceCacheCare& operator=(const SourceCacheCare&) = delete;

  // Before the bytes from job.source_offset() are moved through the page cache.
  void before_step();
  // After some of them were.
  void after_step();

  static constexpr std::uint64_t kWindowBytes = 8_MiB;
  // Twice the largest read-ahead that is usual (8 MiB, doubled), and as much again.
  static constexpr std::uint64_t kLookAheadBytes = 48_MiB;

 private:
  struct Window {
    ByteRange range;
    bool was_absent = false;
  };

  Job& job_;
  std::uint64_t end_bytes_ = 0;  // Of what is moved; 0 when there is nothing to care about.
  std::uint64_t asked_until_ = 0;
  bool is_advised_ = false;
  std::deque<Window> windows_;  // Asked about, and not yet behind us.
};

}  // namespace quire::internal
