// SPDX-License-Identifier: Apache-2.0
#include "quire/map/internal/cache_walk.h"

#include <algorithm>
#include <bit>
#include <cerrno>

namespace quire::internal {
namespace {

constexpr std::uint64_t kFanOut = 16;
// Below this a mixed piece goes to mincore: 256 pages cost about as much as sixteen cachestats.
constexpr std::uint64_t kLeafBytes = std::uint64_t{1} << 20;
// The temporary mapping: one VMA and, since nothing is touched, no page tables. 16,384 bits of
// answer at most.
constexpr std::uint64_t kWindowBytes = std::uint64_t{64} << 20;
static_assert(kLeafBytes <= kWindowBytes);

const char* const kNotOurs =
    "the kernel tells the page cache of a file only to who may write it or owns it";

}  // namespace

OracleChoice choose_oracle(const CachedFile& file) {
  if (file.range.length_bytes == 0) {
    return {.oracle = CacheOracle::kCacheStatus, .why_not = {}};  // Nothing will be asked.
  }
  if (file.has_counts) {
    const sys::Outcome<sys::CacheStatus> first_page =
        sys::cache_status(file.fd, {file.range.offset_bytes, 1});
    if (first_page) {
      return {.oracle = CacheOracle::kCacheStatus, .why_not = {}};
    }
    if (first_page.error().value == EOPNOTSUPP) {
      return {.oracle = CacheOracle::kAllocation, .why_not = {}};
    }
  }
  // EPERM may also be a seccomp filter that does not know the call; mincore knows better then.
  if (sys::residency_is_trustworthy(file.fd)) {
    return {.oracle = CacheOracle::kMincore, .why_not = {}};
  }
  return {.oracle = CacheOracle::kNone, .why_not = kNotOurs};
}

CacheWalk::CacheWalk(const CachedFile& file, CacheOracle oracle, std::uint64_t grain_bytes)
    : file_(file),
      page_(sys::os_page_size()),
      oracle_(oracle),
      grain_bytes_(std::max(grain_bytes, page_.bytes())),
      may_use_mincore_(oracle == CacheOracle::kMincore || sys::residency_is_trustworthy(file.fd)) {
  QUIRE_CHECK(oracle == CacheOracle::kCacheStatus || oracle == CacheOracle::kMincore);
}

CacheWalk::~CacheWalk() {
  close_window();
}

sys::Outcome<void> CacheWalk::run(const PieceVisitor& visitor,
                                  const std::optional<sys::CacheStatus>& whole) {
  if (file_.range.length_bytes == 0) {
    return {};
  }
  visitor_ = &visitor;
  sys::Outcome<bool> outcome = true;
  if (oracle_ == CacheOracle::kMincore) {
    outcome = visit_data();
  } else {
    outcome = whole ? divide(file_.range, *whole) : divide(file_.range);
  }
  if (!outcome) {
    return tl::unexpected<sys::Errno>(outcome.error());
  }
  return {};
}

sys::Outcome<bool> CacheWalk::divide(ByteRange piece) {
  return divide(piece, QUIRE_TRY(sys::cache_status(file_.fd, piece)));
}

sys::Outcome<bool> CacheWalk::divide(ByteRange piece, const sys::CacheStatus& status) {
  const std::uint64_t pages = pages_touched(piece, page_).value;
  const std::uint64_t resident_pages = std::min(status.cached.value, pages);
  if (resident_pages == 0) {
    return true;
  }
  if (resident_pages == pages || piece.length_bytes <= grain_bytes_) {
    return report(piece, resident_pages);
  }
  if (piece.length_bytes <= kLeafBytes && may_use_mincore_) {
    const sys::Outcome<bool> outcome = visit_pages(piece);
    if (outcome) {
      return outcome;
    }
    // A descriptor that cannot be mapped (opened for writing only) still has cachestat.
    may_use_mincore_ = false;
  }
  return visit_children(piece);
}

sys::Outcome<bool> CacheWalk::visit_children(ByteRange piece) {
  const std::uint64_t share = std::bit_ceil((piece.length_bytes + kFanOut - 1) / kFanOut);
  const PageSize child_bytes(std::max(share, page_.bytes()));
  std::uint64_t position = piece.offset_bytes;
  while (position < end_of(piece)) {
    const ByteRange child = next_step(piece, position, child_bytes);
    if (!QUIRE_TRY(divide(child))) {
      return false;
    }
    position = end_of(child);
  }
  return true;
}

sys::Outcome<bool> CacheWalk::visit_pages(ByteRange piece) {
  QUIRE_TRY(move_window(piece));
  const std::uint64_t start = round_down(piece.offset_bytes, page_);
  const std::uint64_t pages = pages_touched(piece, page_).value;
  bits_.resize(pages);
  QUIRE_TRY(sys::page_residency(window_ + (start - window_range_.offset_bytes),
                                pages * page_.bytes(), bits_));
  for (std::uint64_t first = 0; first < pages;) {
    const bool is_resident = (bits_[first] & 1) != 0;
    std::uint64_t last = first + 1;
    while (last < pages && ((bits_[last] & 1) != 0) == is_resident) {
      ++last;
    }
    const ByteRange run{start + first * page_.bytes(), (last - first) * page_.bytes()};
    if (is_resident && !report(intersect(run, piece), last - first)) {
      return false;
    }
    first = last;
  }
  return true;
}

// mincore alone: a hole of terabytes must not be asked page by page, so only data is.
sys::Outcome<bool> CacheWalk::visit_data() {
  std::uint64_t position = file_.range.offset_bytes;
  while (position < end_of(file_.range)) {
    const sys::Outcome<std::uint64_t> data = sys::seek_data(file_.fd, position);
    if (!data && data.error().value == ENXIO) {
      return true;
    }
    // A block device has no holes to seek.
    const std::uint64_t start = data ? std::max(*data, position) : position;
    const sys::Outcome<std::uint64_t> hole = sys::seek_hole(file_.fd, start);
    const std::uint64_t end = hole && *hole > start ? *hole : end_of(file_.range);
    const ByteRange extent = intersect({start, end - start}, file_.range);
    for (position = extent.offset_bytes; position < end_of(extent);) {
      const ByteRange part = next_step(extent, position, PageSize(kWindowBytes));
      if (!QUIRE_TRY(visit_pages(part))) {
        return false;
      }
      position = end_of(part);
    }
    position = std::max(position, end);
  }
  return true;
}

bool CacheWalk::report(ByteRange piece, std::uint64_t resident_pages) {
  const std::uint64_t pages = pages_touched(piece, page_).value;
  const std::uint64_t bytes = resident_pages == pages
                                  ? piece.length_bytes
                                  : std::min(resident_pages * page_.bytes(), piece.length_bytes);
  return (*visitor_)(piece, bytes);
}

sys::Outcome<void> CacheWalk::move_window(ByteRange piece) {
  if (window_ != nullptr && piece.offset_bytes >= window_range_.offset_bytes &&
      end_of(piece) <= end_of(window_range_)) {
    return {};
  }
  close_window();
  const std::uint64_t start = round_down(piece.offset_bytes, PageSize(kWindowBytes));
  const std::uint64_t file_end = round_up(file_.status.size_bytes, page_);
  const ByteRange wanted{start, std::min(kWindowBytes, file_end - start)};
  window_ = QUIRE_TRY(sys::map_pages({.length_bytes = wanted.length_bytes,
                                      .fd = file_.fd,
                                      .offset_bytes = wanted.offset_bytes,
                                      .no_reserve = true}));
  window_range_ = wanted;
  return {};
}

void CacheWalk::close_window() noexcept {
  if (window_ != nullptr) {
    static_cast<void>(sys::unmap_pages(window_, window_range_.length_bytes));
    window_ = nullptr;
  }
}

}  // namespace quire::internal
