// SPDX-License-Identifier: Apache-2.0
#include "quire/map/residency.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <optional>

#include "quire/map/internal/cache_walk.h"
#include "quire/map/internal/cached_file.h"

namespace quire {
namespace {

using internal::CachedFile;
using internal::CacheOracle;
using internal::CacheWalk;
using internal::OracleChoice;

// 128 bits: cells * bytes does not fit into 64 for a file of exabytes.
__extension__ using Wide = unsigned __int128;

const char* const kNoDirtyCounts = "only cachestat(2), Linux 6.5, knows dirty pages";
const char* const kNoStackedCounts = "cachestat(2) does not see through a stacked file system";
const char* const kHugePart = "hugetlbfs tells what is allocated only for a whole file";

// Counts of the pages that the ends of a range cut, and how many bytes lie outside.
struct Edge {
  sys::CacheStatus pages;
  std::uint64_t outside_bytes = 0;
};

// From pages to bytes of the range: what the edges' pages hold outside of it is taken off.
class ByteCounter {
 public:
  ByteCounter(PageSize page, std::uint64_t range_bytes, const Edge& head, const Edge& tail)
      : page_(page), range_bytes_(range_bytes), head_(head), tail_(tail) {}

  [[nodiscard]] std::uint64_t count(const sys::CacheStatus& all,
                                    PageCount sys::CacheStatus::* member) const {
    const std::uint64_t bytes = (all.*member).value * page_.bytes();
    const std::uint64_t outside = (head_.pages.*member).value * head_.outside_bytes +
                                  (tail_.pages.*member).value * tail_.outside_bytes;
    // The calls are not one snapshot: an edge may have come or gone in between.
    return std::min(bytes - std::min(bytes, outside), range_bytes_);
  }

 private:
  PageSize page_;
  std::uint64_t range_bytes_;
  Edge head_;
  Edge tail_;
};

sys::Outcome<Edge> look_at_edge(const CachedFile& file, const sys::CacheStatus& all,
                                std::uint64_t page_start, std::uint64_t outside_bytes,
                                PageSize page) {
  if (outside_bytes == 0) {
    return Edge{};
  }
  if (pages_touched(file.range, page).value == 1) {
    return Edge{all, outside_bytes};
  }
  return Edge{QUIRE_TRY(sys::cache_status(file.fd, {page_start, 1})), outside_bytes};
}

sys::Outcome<Residency> count_with_cachestat(const CachedFile& file, const sys::CacheStatus& all) {
  const PageSize page = sys::os_page_size();
  const std::uint64_t start = round_down(file.range.offset_bytes, page);
  const std::uint64_t end = end_of(file.range);
  const std::uint64_t last = round_down(end - 1, page);
  const Edge head =
      QUIRE_TRY(look_at_edge(file, all, start, file.range.offset_bytes - start, page));
  const Edge tail = QUIRE_TRY(look_at_edge(file, all, last, last + page.bytes() - end, page));
  const ByteCounter bytes(page, file.range.length_bytes, head, tail);
  return Residency{.size_bytes = file.range.length_bytes,
                   .resident_bytes = bytes.count(all, &sys::CacheStatus::cached),
                   .dirty_bytes = bytes.count(all, &sys::CacheStatus::dirty),
                   .writeback_bytes = bytes.count(all, &sys::CacheStatus::writeback),
                   .evicted_bytes = bytes.count(all, &sys::CacheStatus::evicted),
                   .recently_evicted_bytes = bytes.count(all, &sys::CacheStatus::recently_evicted)};
}

bool is_whole(const CachedFile& file) {
  return file.range == ByteRange{0, file.status.size_bytes};
}

Residency count_by_allocation(const CachedFile& file) {
  Residency answer{.size_bytes = file.range.length_bytes};
  if (is_whole(file)) {
    answer.resident_bytes = std::min(file.status.allocated_bytes, file.status.size_bytes);
  } else {
    answer.resident_known = false;
    answer.why_unknown = kHugePart;
  }
  return answer;
}

Residency unknown(const CachedFile& file, std::string why) {
  return {.size_bytes = file.range.length_bytes,
          .resident_known = false,
          .dirty_known = false,
          .why_unknown = std::move(why)};
}

// A mapping that cannot be made for mincore is no error of the caller: the answer is unknown.
std::string describe_refusal(sys::Errno cause) {
  return fmt::format("the kernel does not tell: {}", errno_name(cause.value));
}

// Collects pieces into extents, up to a limit.
class ExtentList {
 public:
  explicit ExtentList(std::size_t extents_max) : extents_max_(extents_max) {}

  // False when one more extent would be one too many; the walk then ends before `piece`.
  bool add(ByteRange piece) {
    if (!extents_.empty() && end_of(extents_.back()) == piece.offset_bytes) {
      extents_.back().length_bytes += piece.length_bytes;
      return true;
    }
    if (extents_.size() == extents_max_) {
      cut_at_bytes_ = piece.offset_bytes;
      return false;
    }
    extents_.push_back(piece);
    return true;
  }

  [[nodiscard]] ResidentExtents take(ByteRange range) {
    const bool complete = cut_at_bytes_ == kToEnd;
    return {.extents = std::move(extents_),
            .complete = complete,
            .covered_bytes = complete ? range.length_bytes : cut_at_bytes_ - range.offset_bytes};
  }

 private:
  std::size_t extents_max_;
  std::vector<ByteRange> extents_;
  std::uint64_t cut_at_bytes_ = kToEnd;
};

// Equal slices of a range, and the resident bytes of each.
class CellRow {
 public:
  CellRow(ByteRange range, std::size_t cells) : range_(range), bytes_(cells, 0.0) {}

  [[nodiscard]] bool empty() const { return bytes_.empty(); }

  // Spreads the piece's resident bytes evenly over the cells that it overlaps.
  void add(ByteRange piece, std::uint64_t resident_bytes) {
    const double share =
        static_cast<double>(resident_bytes) / static_cast<double>(piece.length_bytes);
    for (std::size_t i = cell_of(piece.offset_bytes); i < bytes_.size(); ++i) {
      const std::uint64_t overlap = intersect(cell(i), piece).length_bytes;
      if (overlap == 0) {
        break;
      }
      bytes_[i] += share * static_cast<double>(overlap);
    }
  }

  [[nodiscard]] std::vector<double> take_shares() {
    for (std::size_t i = 0; i < bytes_.size(); ++i) {
      bytes_[i] = std::min(bytes_[i] / static_cast<double>(cell(i).length_bytes), 1.0);
    }
    return std::move(bytes_);
  }

 private:
  [[nodiscard]] std::uint64_t boundary(std::size_t index) const {
    return static_cast<std::uint64_t>(Wide{range_.length_bytes} * index / bytes_.size());
  }
  [[nodiscard]] ByteRange cell(std::size_t index) const {
    return {range_.offset_bytes + boundary(index), boundary(index + 1) - boundary(index)};
  }
  [[nodiscard]] std::size_t cell_of(std::uint64_t offset_bytes) const {
    const std::uint64_t inside = offset_bytes - range_.offset_bytes;
    auto index = static_cast<std::size_t>(Wide{inside} * bytes_.size() / range_.length_bytes);
    while (boundary(index + 1) <= inside) {
      ++index;  // Rounding down twice may land one cell early.
    }
    return index;
  }

  ByteRange range_;
  std::vector<double> bytes_;
};

// What one look is to find out, and what it found.
struct Look {
  ExtentList* extents = nullptr;
  CellRow* cells = nullptr;
  Residency total = {};
  bool is_located = true;  // Whether extents and cells are known.
  std::string why_not_located = {};

  [[nodiscard]] bool wants_places() const { return extents != nullptr || cells != nullptr; }
  void cannot_locate(std::string why) {
    is_located = false;
    why_not_located = std::move(why);
  }
};

// Walks the resident pieces into what is wanted. False ends the walk: all that is wanted is full.
sys::Outcome<void> walk_pieces(const CachedFile& file, CacheOracle oracle, std::uint64_t grain,
                               const std::optional<sys::CacheStatus>& all, Look& look) {
  bool is_list_open = look.extents != nullptr;
  std::uint64_t resident_bytes = 0;
  CacheWalk walk(file, oracle, is_list_open ? 0 : grain);
  QUIRE_TRY(walk.run(
      [&](ByteRange piece, std::uint64_t bytes) {
        resident_bytes += bytes;
        is_list_open = is_list_open && look.extents->add(piece);
        if (look.cells != nullptr) {
          look.cells->add(piece, bytes);
        }
        return is_list_open || look.cells != nullptr || oracle == CacheOracle::kMincore;
      },
      all));
  if (oracle == CacheOracle::kMincore) {
    look.total.resident_bytes = resident_bytes;
  }
  return {};
}

sys::Outcome<void> look_with_cachestat(const CachedFile& file, std::uint64_t grain, Look& look) {
  const sys::CacheStatus all = QUIRE_TRY(sys::cache_status(file.fd, file.range));
  look.total = QUIRE_TRY(count_with_cachestat(file, all));
  if (look.wants_places()) {
    QUIRE_TRY(walk_pieces(file, CacheOracle::kCacheStatus, grain, all, look));
  }
  return {};
}

sys::Outcome<void> look_with_mincore(const CachedFile& file, Look& look) {
  look.total = {.size_bytes = file.range.length_bytes,
                .dirty_known = false,
                .why_unknown = file.has_counts ? kNoDirtyCounts : kNoStackedCounts};
  return walk_pieces(file, CacheOracle::kMincore, 0, std::nullopt, look);
}

// Asks whoever may be asked; what is refused becomes "unknown" in `look`.
void look_at_cache(const CachedFile& file, std::uint64_t grain, Look& look) {
  if (file.range.length_bytes == 0) {
    return;
  }
  const OracleChoice choice = internal::choose_oracle(file);
  sys::Outcome<void> outcome;
  switch (choice.oracle) {
    case CacheOracle::kCacheStatus: outcome = look_with_cachestat(file, grain, look); break;
    case CacheOracle::kMincore: outcome = look_with_mincore(file, look); break;
    case CacheOracle::kAllocation:
      look.total = count_by_allocation(file);
      if (!look.total.resident_known || look.total.resident_bytes > 0) {
        look.cannot_locate(kHugePart);
      }
      return;
    case CacheOracle::kNone:
      look.total = unknown(file, choice.why_not);
      look.cannot_locate(choice.why_not);
      return;
  }
  if (!outcome) {
    look.total = unknown(file, describe_refusal(outcome.error()));
    look.cannot_locate(look.total.why_unknown);
  }
}

ResidentExtents extents_of(const Look& look, ExtentList& list, ByteRange range) {
  return look.is_located ? list.take(range)
                         : ResidentExtents{.known = false, .why_unknown = look.why_not_located};
}

ResidencyMap map_of(const Look& look, CellRow& row) {
  return look.is_located ? ResidencyMap{.shares = row.take_shares()}
                         : ResidencyMap{.known = false, .why_unknown = look.why_not_located};
}

// How many cells a range gets: no more than it has bytes.
Result<std::size_t> cell_count(const CachedFile& file, std::size_t cells) {
  if (cells > kResidencyCellsMax) {
    return fail(file.error(Errc::kLimit, file.range,
                           fmt::format("{} cells are more than {}", cells, kResidencyCellsMax)));
  }
  return std::min<std::uint64_t>(cells, file.range.length_bytes);
}

}  // namespace

Result<Residency> residency(int fd, ByteRange range) {
  const CachedFile file = QUIRE_TRY(internal::look_at(fd, range, "residency"));
  Look look;
  look_at_cache(file, 0, look);
  return look.total;
}

Result<ResidentExtents> resident_extents(int fd, ByteRange range, std::size_t extents_max) {
  QUIRE_CHECK_GT(extents_max, 0U);
  const CachedFile file = QUIRE_TRY(internal::look_at(fd, range, "resident_extents"));
  ExtentList list(extents_max);
  Look look{.extents = &list};
  look_at_cache(file, 0, look);
  return extents_of(look, list, file.range);
}

Result<ResidencyMap> residency_map(int fd, ByteRange range, std::size_t cells) {
  const CachedFile file = QUIRE_TRY(internal::look_at(fd, range, "residency_map"));
  const std::size_t count = QUIRE_TRY(cell_count(file, cells));
  if (count == 0) {
    return ResidencyMap{};
  }
  constexpr std::uint64_t kPiecesPerCell = 16;
  CellRow row(file.range, count);
  Look look{.cells = &row};
  look_at_cache(file, std::bit_floor(file.range.length_bytes / count / kPiecesPerCell), look);
  return map_of(look, row);
}

Result<ResidencyView> residency_view(int fd, ByteRange range, const ViewOptions& options) {
  QUIRE_CHECK_GT(options.extents_max, 0U);
  const CachedFile file = QUIRE_TRY(internal::look_at(fd, range, "residency_view"));
  ExtentList list(options.extents_max);
  CellRow row(file.range, QUIRE_TRY(cell_count(file, options.cells)));
  Look look{.extents = &list, .cells = row.empty() ? nullptr : &row};
  look_at_cache(file, 0, look);
  return ResidencyView{
      .total = look.total, .extents = extents_of(look, list, file.range), .map = map_of(look, row)};
}

}  // namespace quire
