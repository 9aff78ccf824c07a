// SPDX-License-Identifier: Apache-2.0
#include "quire/map/eviction.h"

#include <fmt/format.h>

#include <algorithm>

#include "quire/map/internal/cached_file.h"
#include "quire/map/internal/file_holders.h"
#include "quire/map/residency.h"
#include "quire/sys/file.h"
#include "quire/sys/file_system.h"
#include "quire/sys/memory.h"

namespace quire {
namespace {

using internal::CachedFile;
using internal::FileHolder;
using internal::HolderScan;

// The kernel's largest folio on most machines: how far one can reach over the edge of a range.
constexpr std::uint64_t kFolioBytesMax = std::uint64_t{2} << 20;
// A sentence with more processes than this is not read by anybody.
constexpr std::size_t kHoldersDescribedMax = 8;

bool is_somewhere_dirty(const Residency& now) {
  return !now.dirty_known || now.dirty_bytes + now.writeback_bytes > 0;
}

void drop_own_mappings(std::span<const std::span<std::byte>> mappings) {
  const PageSize page = sys::os_page_size();
  for (const std::span<std::byte> mapping : mappings) {
    // A locked one refuses, and then shows up as such in the explanation.
    static_cast<void>(sys::advise_pages(mapping.data(), round_up(mapping.size(), page),
                                        sys::MemoryAdvice::kDontNeed));
  }
}

// One round of the recipe: steps 2 to 4.
Result<void> push_out(const CachedFile& file, ByteRange pages, const EvictionOptions& options,
                      const Residency& now) {
  drop_own_mappings(options.own_mappings);
  if (is_somewhere_dirty(now)) {
    if (const sys::Outcome<void> synced = sys::sync_data(file.fd); !synced) {
      return fail(file.error(synced.error(), file.range));
    }
  }
  const sys::Outcome<void> advised = sys::advise_file(file.fd, pages, sys::FileAdvice::kDontNeed);
  return advised ? Result<void>{} : fail(file.error(advised.error(), file.range));
}

// Splits up what stayed; whatever is explained first is not explained again.
class Explanation {
 public:
  Explanation(const CachedFile& file, ByteRange range, const Residency& after)
      : file_(file), range_(range), after_(after), left_bytes_(after.resident_bytes) {}

  void run() {
    if (is_memory_file_system()) {
      take(KeptReason::kNotEvictable, left_bytes_);
    }
    take(KeptReason::kWriteback, after_.writeback_bytes);
    take(KeptReason::kDirty, after_.dirty_bytes);
    if (left_bytes_ > 0) {
      explain_by_holders();
    }
    take(KeptReason::kLargeFolio, straddling_bytes());
    take(processes_hidden_ > 0 ? KeptReason::kUnknown : KeptReason::kInUse, left_bytes_);
  }

  [[nodiscard]] std::vector<Kept> take_kept() { return std::move(kept_); }
  [[nodiscard]] std::uint64_t processes_hidden() const { return processes_hidden_; }

 private:
  void take(KeptReason reason, std::uint64_t bytes, std::vector<Holder> holders = {}) {
    const std::uint64_t taken = std::min(bytes, left_bytes_);
    if (taken > 0) {
      left_bytes_ -= taken;
      kept_.push_back({.reason = reason, .bytes = taken, .holders = std::move(holders)});
    }
  }

  // Two processes may map the same pages: the sum is then too much, and take() cuts it.
  void take_held(const HolderScan& scan, KeptReason reason, std::uint64_t FileHolder::* member) {
    std::uint64_t bytes = 0;
    std::vector<Holder> holders;
    for (const FileHolder& holder : scan.holders) {
      if (holder.*member > 0) {
        bytes += holder.*member;
        holders.push_back(holder.process);
      }
    }
    take(reason, bytes, std::move(holders));
  }

  void explain_by_holders() {
    const HolderScan scan = internal::find_holders(file_, range_);
    processes_hidden_ = scan.processes_hidden;
    take_held(scan, KeptReason::kLocked, &FileHolder::locked_bytes);
    take_held(scan, KeptReason::kMapped, &FileHolder::mapped_bytes);
    std::vector<Holder> partial;  // One mapped page keeps its whole folio.
    for (const FileHolder& holder : scan.holders) {
      if (holder.mapped_bytes + holder.locked_bytes > 0) {
        partial.push_back(holder.process);
      }
    }
    if (!partial.empty()) {
      take(KeptReason::kLargeFolio, left_bytes_, std::move(partial));
    }
  }

  [[nodiscard]] bool is_memory_file_system() const {
    const Result<sys::FileSystem> file_system = sys::file_system_of(file_.fd);
    return file_system && file_system->type.kind == sys::StorageKind::kMemory;
  }

  // Resident runs that touch an edge of the range and go on behind it: only a folio that lies on
  // both sides stays when everything on this side was asked to go.
  [[nodiscard]] std::uint64_t straddling_bytes() const {
    if (left_bytes_ == 0) {
      return 0;
    }
    return run_across(range_.offset_bytes) + run_across(end_of(range_));
  }

  // How much of the range, next to `edge_bytes`, belongs to a run that crosses that edge.
  [[nodiscard]] std::uint64_t run_across(std::uint64_t edge_bytes) const {
    const std::uint64_t start = edge_bytes - std::min(edge_bytes, kFolioBytesMax);
    const ByteRange around =
        intersect({start, edge_bytes - start + kFolioBytesMax}, {0, file_.status.size_bytes});
    const Result<ResidentExtents> near = resident_extents(file_.fd, around);
    if (!near) {
      return 0;
    }
    for (const ByteRange extent : near->extents) {
      if (extent.offset_bytes < edge_bytes && end_of(extent) > edge_bytes) {
        return intersect(extent, range_).length_bytes;
      }
    }
    return 0;
  }

  const CachedFile& file_;
  ByteRange range_;
  const Residency& after_;
  std::uint64_t left_bytes_;
  std::uint64_t processes_hidden_ = 0;
  std::vector<Kept> kept_;
};

std::string describe_holders(const std::vector<Holder>& holders) {
  std::string text;
  for (std::size_t i = 0; i < std::min(holders.size(), kHoldersDescribedMax); ++i) {
    text += fmt::format("{}{}", i == 0 ? "" : ", ", holders[i].pid);
    text += holders[i].name.empty() ? std::string() : fmt::format(" ({})", holders[i].name);
  }
  if (holders.size() > kHoldersDescribedMax) {
    text += fmt::format(" and {} more", holders.size() - kHoldersDescribedMax);
  }
  return text;
}

const char* sentence_of(KeptReason reason) noexcept {
  switch (reason) {
    case KeptReason::kDirty: return "dirty: written again, or not writable now";
    case KeptReason::kWriteback: return "being written to the disk";
    case KeptReason::kLocked: return "locked in memory";
    case KeptReason::kMapped: return "mapped";
    case KeptReason::kLargeFolio: return "part of larger units that are in use beyond the range";
    case KeptReason::kNotEvictable: return "the only copy: this file system lives in memory";
    case KeptReason::kInUse: return "in use by the kernel at this moment";
    case KeptReason::kUnknown: break;
  }
  return "kept by somebody whose mappings we may not see";
}

}  // namespace

const char* name_of(KeptReason reason) noexcept {
  switch (reason) {
    case KeptReason::kDirty: return "dirty";
    case KeptReason::kWriteback: return "writeback";
    case KeptReason::kLocked: return "locked";
    case KeptReason::kMapped: return "mapped";
    case KeptReason::kLargeFolio: return "large_folio";
    case KeptReason::kNotEvictable: return "not_evictable";
    case KeptReason::kInUse: return "in_use";
    case KeptReason::kUnknown: break;
  }
  return "unknown";
}

std::string describe(const Kept& kept) {
  std::string text = fmt::format("{} {}", human_bytes(kept.bytes), sentence_of(kept.reason));
  if (!kept.holders.empty()) {
    text += fmt::format(" by process {}", describe_holders(kept.holders));
  }
  return text;
}

Result<EvictionReport> evict(int fd, ByteRange range, const EvictionOptions& options) {
  const CachedFile file = QUIRE_TRY(internal::look_at(fd, range, "evict"));
  const ByteRange pages = inner_pages(file.range, file.status.size_bytes, sys::os_page_size());
  EvictionReport report{.range = intersect(pages, {0, file.status.size_bytes})};
  if (report.range.length_bytes == 0) {
    return report;
  }
  Residency now = QUIRE_TRY(residency(fd, report.range));
  report.bytes_before = now.resident_bytes;
  for (int round = 0; round < std::max(1, options.rounds_max); ++round) {
    QUIRE_TRY(push_out(file, pages, options, now));
    const std::uint64_t before_round = now.resident_bytes;
    now = QUIRE_TRY(residency(fd, report.range));
    const bool is_stuck = now.resident_bytes == before_round && round > 0;
    if (!now.resident_known || now.resident_bytes == 0 || is_stuck) {
      break;
    }
  }
  report.bytes_after = now.resident_bytes;
  report.known = now.resident_known;
  report.why_unknown = now.resident_known ? std::string() : now.why_unknown;
  if (now.resident_bytes > 0) {
    Explanation explanation(file, report.range, now);
    explanation.run();
    report.remaining = explanation.take_kept();
    report.processes_hidden = explanation.processes_hidden();
  }
  return report;
}

}  // namespace quire
