// SPDX-License-Identifier: Apache-2.0
//
// cache_walk: visits the resident parts of a range of a file, in order, and skips the rest.
//
//   whole range          one cachestat: nothing -> done, everything -> one piece, mixed -> divide
//   sixteen parts of it  each the same
//   ... down to 1 MiB    mincore, one bit per page, through a mapping that is moved along
//
// Where cachestat is missing or refused although the caller may know, the data extents of the file
// are walked with mincore alone; where mincore may not be used, cachestat goes down to the page.
//
// Thread-safety: one thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "quire/map/internal/cached_file.h"
#include "quire/sys/file.h"
#include "quire/sys/memory.h"

namespace quire::internal {

// How this file's page cache can be asked.
enum class CacheOracle : std::uint8_t {
  kCacheStatus,  // cachestat, and mincore where that is trustworthy too.
  kMincore,
  kAllocation,  // hugetlbfs: what is allocated is resident.
  kNone,        // The kernel will not tell; `why_not` says why.
};

struct OracleChoice {
  CacheOracle oracle = CacheOracle::kNone;
  std::string why_not;
};

[[nodiscard]] OracleChoice choose_oracle(const CachedFile& file);

// A piece of the file and how many bytes of it are resident: all of them, or, for pieces no larger
// than the walk's grain, some. False ends the walk.
using PieceVisitor = std::function<bool(ByteRange piece, std::uint64_t resident_bytes)>;

class CacheWalk {
 public:
  // Mixed pieces of up to `grain_bytes` are not divided further.
  // REQUIRES: oracle is kCacheStatus or kMincore. A grain below a page means a page.
  CacheWalk(const CachedFile& file, CacheOracle oracle, std::uint64_t grain_bytes);
  ~CacheWalk();
  CacheWalk(const CacheWalk&) = delete;
  CacheWalk& operator=(const CacheWalk&) = delete;

  // Pieces come in ascending order and inside file.range. `whole` is what cachestat says of all of
  // it, when that is known already. Errors: of the system calls.
  [[nodiscard]] sys::Outcome<void> run(const PieceVisitor& visitor,
                                       const std::optional<sys::CacheStatus>& whole = {});

 private:
  // Each returns false when the visitor wants no more.
  sys::Outcome<bool> divide(ByteRange piece);
  sys::Outcome<bool> divide(ByteRange piece, const sys::CacheStatus& status);
  sys::Outcome<bool> visit_children(ByteRange piece);
  sys::Outcome<bool> visit_pages(ByteRange piece);
  sys::Outcome<bool> visit_data();
  bool report(ByteRange piece, std::uint64_t resident_pages);
  // Makes the piece part of the temporary mapping. REQUIRES: it does not cross a 64 MiB boundary.
  sys::Outcome<void> move_window(ByteRange piece);
  void close_window() noexcept;

  const CachedFile& file_;
  const PageSize page_;
  const CacheOracle oracle_;
  const std::uint64_t grain_bytes_;
  bool may_use_mincore_;
  const PieceVisitor* visitor_ = nullptr;
  std::byte* window_ = nullptr;
  ByteRange window_range_{.offset_bytes = 0, .length_bytes = 0};
  std::vector<unsigned char> bits_;
};

}  // namespace quire::internal
