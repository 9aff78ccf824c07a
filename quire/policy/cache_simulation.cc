// SPDX-License-Identifier: Apache-2.0
#include "quire/policy/cache_simulation.h"

#include <algorithm>

#include "quire/base/check.h"

namespace quire {
namespace {

constexpr std::uint8_t kResident = 1;
constexpr std::uint8_t kDirty = 2;
constexpr std::uint8_t kWatched = 4;    // Its next use is seen.
constexpr std::uint8_t kUsed = 8;       // And was.
constexpr std::uint8_t kGuess = 16;     // Read ahead, and not used yet.
constexpr std::uint8_t kTripwire = 32;  // Its first use starts the next windows.

// A policy may give all pages a second chance before it finds a victim. Where it finds none after
// so many rounds, the page is read and not kept.
constexpr int kVictimRoundsMax = 64;
// All windows of a stream together take a quarter of the memory at most.
constexpr std::uint32_t kWindowsAhead = 4;
constexpr std::uint32_t kWindowsInMemory = 4 * kWindowsAhead;
constexpr std::uint32_t kFirstWindowPages = 4;

std::optional<StreamDetector> make_detector(const SimulationOptions& options) {
  const std::uint32_t window_pages_max =
      std::min(options.read_ahead_pages_max, options.memory_pages / kWindowsInMemory);
  if (window_pages_max == 0) {
    return std::nullopt;
  }
  // The detector's unit is the page.
  return StreamDetector({.granule_bytes = 1,
                         .window_bytes_min = std::min(kFirstWindowPages, window_pages_max),
                         .window_bytes_max = window_pages_max,
                         .windows_ahead = kWindowsAhead});
}

}  // namespace

CacheSimulation::CacheSimulation(const SimulationOptions& options, const AccessSource& source,
                                 const MakePolicy& make_policy)
    : options_(options),
      source_(source),
      bits_(source.page_span()),
      notes_(source.page_span()),
      detector_(make_detector(options)),
      policy_(make_policy(*this)) {
  QUIRE_CHECK(options.memory_pages > 0);
}

void CacheSimulation::run(std::span<const PageAccess> accesses) {
  const bool tells_hits = options_.hits == HitReports::kEach;
  for (const PageAccess access : accesses) {
    std::uint8_t& bits = bits_[access.page()];
    stats_.stores += access.is_store() ? 1 : 0;
    if ((bits & kResident) == 0) {
      miss(access);
      continue;
    }
    ++stats_.hits;
    if (access.is_store()) {
      bits |= kDirty;
    }
    if (tells_hits) {
      policy_->used(access.page());
    }
    if ((bits & (kWatched | kUsed)) == kWatched) {
      first_use(access.page());
    }
  }
  stats_.accesses += accesses.size();
}

void CacheSimulation::first_use(std::uint32_t page) {
  const std::uint8_t before = bits_[page];
  bits_[page] = static_cast<std::uint8_t>((before | kUsed) & ~(kGuess | kTripwire));
  stats_.read_ahead_hits += (before & kGuess) != 0 ? 1 : 0;
  // What was read ahead is in the page tables, but for the tripwire.
  stats_.soft_faults += (before & (kGuess | kTripwire)) != kGuess ? 1 : 0;
  if ((before & kTripwire) != 0) {
    read_ahead(detector_->on_tripwire(source_.position_of(page), source_.end_of_area(page)));
  }
}

void CacheSimulation::miss(PageAccess access) {
  const std::uint32_t page = access.page();
  ++stats_.misses;
  ++stats_.device_read_requests;
  ++stats_.device_read_pages;
  if (resident_ == options_.memory_pages && !make_room()) {
    ++stats_.not_kept;
    stats_.device_write_pages += access.is_store() ? 1 : 0;
    return;
  }
  bring_in(page, Arrival::kDemand);
  bits_[page] |= access.is_store() ? kDirty : std::uint8_t{0};
  if (detector_) {
    read_ahead(detector_->on_fault(source_.position_of(page), source_.end_of_area(page)));
  }
}

void CacheSimulation::read_ahead(const FillPlan& plan) {
  // The rest of the demanded window comes with the page itself, in one request.
  read_window(plan.demand, kNoGranule);
  for (const AheadWindow& window : plan.windows()) {
    stats_.device_read_requests += read_window(window.span, window.tripwire) > 0 ? 1 : 0;
  }
}

std::uint64_t CacheSimulation::read_window(GranuleSpan window, std::uint64_t tripwire) {
  const std::uint64_t before = stats_.device_read_pages;
  for (std::uint64_t position = window.first; position < window.end(); ++position) {
    const std::optional<std::uint32_t> page = source_.page_at(position);
    if (!page) {
      ++stats_.device_read_pages;
      ++stats_.read_ahead_wasted;
      continue;
    }
    if (is_resident(*page)) {
      continue;
    }
    if (resident_ == options_.memory_pages && !make_room()) {
      break;
    }
    ++stats_.device_read_pages;
    bring_in(*page, Arrival::kReadAhead);
    bits_[*page] |= position == tripwire ? kTripwire : std::uint8_t{0};
  }
  return stats_.device_read_pages - before;
}

void CacheSimulation::bring_in(std::uint32_t page, Arrival arrival) {
  const bool is_guess = arrival == Arrival::kReadAhead;
  bits_[page] = is_guess ? kResident | kWatched | kGuess : kResident;
  ++resident_;
  policy_->inserted(page, arrival);
}

bool CacheSimulation::make_room() {
  PageId victim = 0;
  for (int round = 0; round < kVictimRoundsMax; ++round) {
    if (policy_->choose_victims({&victim, 1}) == 1) {
      evict(static_cast<std::uint32_t>(victim));
      return true;
    }
  }
  return false;
}

void CacheSimulation::evict(std::uint32_t page) noexcept {
  std::uint8_t& bits = bits_[page];
  QUIRE_CHECK((bits & kResident) != 0);
  ++stats_.evictions;
  stats_.device_write_pages += (bits & kDirty) != 0 ? 1 : 0;
  stats_.read_ahead_wasted += (bits & kGuess) != 0 ? 1 : 0;
  bits = 0;
  --resident_;
}

SimulationStats CacheSimulation::stats() const {
  SimulationStats stats = stats_;
  stats.dirty_at_end = static_cast<std::uint64_t>(std::count_if(
      bits_.begin(), bits_.end(), [](std::uint8_t bits) { return (bits & kDirty) != 0; }));
  stats.device_write_pages += stats.dirty_at_end;
  const PolicyStats policy = policy_->stats();
  stats.ghost_hits = policy.ghost_hits;
  stats.watched = policy.watched;
  stats.policy_bytes = policy_->metadata_bytes();
  return stats;
}

bool CacheSimulation::is_resident(std::uint32_t page) const noexcept {
  return (bits_[page] & kResident) != 0;
}

void CacheSimulation::check_invariants() const {
  const auto resident = static_cast<std::uint64_t>(std::count_if(
      bits_.begin(), bits_.end(), [](std::uint8_t bits) { return (bits & kResident) != 0; }));
  QUIRE_CHECK_EQ(resident, resident_);
  QUIRE_CHECK_LE(resident_, options_.memory_pages);
  QUIRE_CHECK_EQ(stats_.hits + stats_.misses, stats_.accesses);
  QUIRE_CHECK_EQ(policy_->queued(), resident_);
  QUIRE_CHECK(std::all_of(bits_.begin(), bits_.end(),
                          [](std::uint8_t bits) { return bits == 0 || (bits & kResident) != 0; }));
  policy_->check_invariants();
}

// --- What the policy sees ------------------------------------------------------------------------

PageNote CacheSimulation::note(PageId page) const noexcept {
  return notes_[page];
}

void CacheSimulation::set_note(PageId page, PageNote note) noexcept {
  notes_[page] = note;
}

PageHost::Standing CacheSimulation::standing(PageId page) const noexcept {
  return is_resident(static_cast<std::uint32_t>(page)) ? Standing::kEvictable : Standing::kGone;
}

void CacheSimulation::watch(std::span<const PageId> pages) noexcept {
  for (const PageId page : pages) {
    std::uint8_t& bits = bits_[page];
    bits = static_cast<std::uint8_t>((bits & ~kUsed) | kWatched);
  }
}

void CacheSimulation::look(std::span<const PageId> pages, std::span<bool> used) noexcept {
  for (std::size_t i = 0; i < pages.size(); ++i) {
    used[i] = (bits_[pages[i]] & kUsed) != 0;
  }
}

}  // namespace quire
