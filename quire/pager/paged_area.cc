// SPDX-License-Identifier: Apache-2.0
//
// PagedArea and WritablePagedArea: the application's side of an area.
#include <utility>

#include "quire/pager/internal/area_commit.h"
#include "quire/pager/internal/explain.h"
#include "quire/pager/internal/kernel_area.h"
#include "quire/pager/internal/opened_area.h"
#include "quire/pager/internal/pager_core.h"
#include "quire/pager/internal/pinning.h"
#include "quire/pager/internal/service.h"
#include "quire/pager/pager.h"
#include "quire/sys/signals.h"

namespace quire {
namespace {

using internal::AreaState;
using internal::Need;
using internal::Service;

Error closed(const char* operation) {
  return make_error(Errc::kClosed, operation, "paged area", "it is not open");
}

Ticket resolved(Result<void> outcome) {
  Ticket::Source source;
  source.resolve(std::move(outcome));
  return source.ticket();
}

bool evict_granule(AreaState& area, std::uint64_t index) {
  const GranuleWord word = area.table.word(index);
  if (word.state() == GranuleState::kHeld) {
    area.core->filler.drop_held(area, index);
    return true;
  }
  if (!area.table.begin_evict(index)) {
    return false;
  }
  area.core->evictor.evict_one(area, index);
  return true;
}

// Calls visit(index) for what is not absent.
template <typename Visit>
void visit_present(AreaState& area, ByteRange range, Visit&& visit) {
  const GranuleSpan stretch = area.stretch_of(range);
  const std::uint64_t end = stretch.end();
  const sys::BlockedSignals blocked;
  for (std::uint64_t i = area.table.next_in_use(stretch.first); i < end;
       i = area.table.next_in_use(i + 1)) {
    if (area.table.word(i).state() != GranuleState::kAbsent) {
      visit(i);
    }
  }
}

PagedEviction evict_clean(AreaState& area, ByteRange range) {
  PagedEviction eviction;
  visit_present(area, range, [&](std::uint64_t i) {
    (evict_granule(area, i) ? eviction.evicted_bytes : eviction.kept_bytes) += area.granule.bytes();
  });
  return eviction;
}

// What stays in memory may have been stored to unseen by the time it goes, and must be read again
// then.
void overwrite_only_absent(AreaState& area, ByteRange range) {
  visit_present(area, range, [&](std::uint64_t i) {
    if (!evict_granule(area, i)) {
      area.advices.end_overwriting(area.memory_of(i, 1));
    }
  });
}

}  // namespace

PagedArea::PagedArea() noexcept = default;
PagedArea::~PagedArea() = default;

PagedArea::PagedArea(internal::OpenedArea opened) noexcept
    : state_(std::move(opened.paged)), kernel_(std::move(opened.kernel)) {
  if (state_ != nullptr) {
    first_ = state_->frames->view();
    size_bytes_ = state_->size_bytes();
  } else {
    first_ = kernel_->first();
    size_bytes_ = kernel_->mapping().size_bytes();
  }
}

PagedArea::PagedArea(PagedArea&& other) noexcept
    : state_(std::move(other.state_)),
      kernel_(std::move(other.kernel_)),
      first_(std::exchange(other.first_, nullptr)),
      size_bytes_(std::exchange(other.size_bytes_, 0)) {}

PagedArea& PagedArea::operator=(PagedArea&& other) noexcept {
  if (this != &other) {
    state_ = std::move(other.state_);
    kernel_ = std::move(other.kernel_);
    first_ = std::exchange(other.first_, nullptr);
    size_bytes_ = std::exchange(other.size_bytes_, 0);
  }
  return *this;
}

Result<ByteRange> PagedArea::resolve(ByteRange range, const char* operation) const {
  if (!is_open()) {
    return fail(closed(operation));
  }
  if (state_ != nullptr) {
    return state_->resolve(range, operation);
  }
  const Result<ByteRange> resolved = resolve_range(range, size_bytes_);
  return resolved ? resolved : fail(resolved.error().about(operation, name()));
}

Result<std::span<const std::byte>> PagedArea::bytes(ByteRange range) const {
  const ByteRange resolved = QUIRE_TRY(resolve(range, "bytes"));
  return bytes().subspan(resolved.offset_bytes, resolved.length_bytes);
}

bool PagedArea::is_paged() const noexcept {
  return state_ != nullptr;
}

FaultPath PagedArea::fault_path() const noexcept {
  return state_ != nullptr ? state_->options.fault_path : FaultPath::kAutomatic;
}

const std::string& PagedArea::name() const noexcept {
  static const std::string none;
  if (state_ != nullptr) {
    return state_->store->name();
  }
  return kernel_ != nullptr ? kernel_->mapping().path() : none;
}

std::string PagedArea::explain() const {
  if (!is_open()) {
    return "not open";
  }
  return state_ != nullptr ? internal::explain(*state_) : kernel_->explain();
}

Result<Pin> PagedArea::pin(ByteRange range) const {
  const ByteRange resolved = QUIRE_TRY(resolve(range, "pin"));
  const std::span<std::byte> pinned(first_ + resolved.offset_bytes, resolved.length_bytes);
  if (state_ == nullptr) {
    QUIRE_TRY(kernel_->mapping().populate(resolved));
    return Pin(nullptr, pinned, resolved.offset_bytes);
  }
  QUIRE_TRY(internal::pin_granules(*state_, resolved, Need::kLoad));
  return Pin(state_, pinned, resolved.offset_bytes);
}

Ticket PagedArea::prefetch(std::span<const ByteRange> ranges) const {
  std::vector<ByteRange> resolved_ranges;
  for (const ByteRange& range : ranges) {
    const Result<ByteRange> resolved_range = resolve(range, "prefetch");
    if (!resolved_range) {
      return resolved(fail(resolved_range.error()));
    }
    resolved_ranges.push_back(*resolved_range);
  }
  if (!is_open()) {
    return resolved(fail(closed("prefetch")));
  }
  return state_ != nullptr ? state_->core->service->prefetch(*state_, resolved_ranges)
                           : resolved(kernel_->prefetch(resolved_ranges));
}

Result<void> PagedArea::advise(ByteRange range, Pattern pattern) const {
  const ByteRange resolved = QUIRE_TRY(resolve(range, "advise"));
  if (state_ == nullptr) {
    return kernel_->advise(resolved, pattern);
  }
  if (pattern == Pattern::kOverwrite && !state_->options.is_writable) {
    return fail(make_error(Errc::kReadOnly, "advise", name(),
                           "what is mapped read-only cannot be overwritten",
                           "map it with .access = Access::kReadWrite"));
  }
  {
    const sys::BlockedSignals blocked;
    if (!state_->advices.set(resolved, pattern)) {
      return fail(make_error(Errc::kLimit, "advise", name(),
                             "more than " + std::to_string(kAdvicesMax) + " ranges",
                             "advise whole ranges, or kNormal for those that are over"));
    }
  }
  if (pattern == Pattern::kWillNotReuse) {
    static_cast<void>(evict_clean(*state_, resolved));
  } else if (pattern == Pattern::kOverwrite) {
    overwrite_only_absent(*state_, resolved);
  }
  return {};
}

Result<PagedResidency> PagedArea::resident(ByteRange range) const {
  const ByteRange resolved = QUIRE_TRY(resolve(range, "resident"));
  if (state_ == nullptr) {
    return kernel_->resident(resolved);
  }
  PagedResidency residency;
  const GranuleSpan stretch = state_->stretch_of(resolved);
  const std::uint64_t end = stretch.end();
  for (std::uint64_t i = state_->table.next_in_use(stretch.first); i < end;
       i = state_->table.next_in_use(i + 1)) {
    const GranuleWord word = state_->table.word(i);
    const std::uint64_t bytes = intersect(state_->stored_of(i, 1), resolved).length_bytes;
    const bool is_dirty =
        word.state() == GranuleState::kDirty || word.state() == GranuleState::kWriting;
    residency.resident_bytes += word.is_resident() ? bytes : 0;
    residency.dirty_bytes += is_dirty ? bytes : 0;
    residency.pinned_bytes += word.pins() > 0 ? bytes : 0;
  }
  return residency;
}

Result<PagedEviction> PagedArea::evict(ByteRange range) const {
  const ByteRange resolved = QUIRE_TRY(resolve(range, "evict"));
  if (state_ == nullptr) {
    return kernel_->evict(resolved);
  }
  if (state_->options.is_writable) {
    QUIRE_TRY(
        state_->core->service->flush(*state_, resolved, Service::Sync::kNo, Durability::kStarted)
            .wait());
  }
  return evict_clean(*state_, resolved);
}

AreaStats PagedArea::stats() const {
  return state_ != nullptr ? state_->stats() : AreaStats();
}

Result<void> PagedArea::check() const {
  if (!is_open()) {
    return fail(closed("check"));
  }
  if (state_ == nullptr) {
    return {};
  }
  QUIRE_TRY(state_->check());
  return state_->options.survives_kill ? state_->core->guardian.check() : Result<void>();
}

Result<void> PagedArea::close() {
  QUIRE_TRY(resolve({0, 0}, "close"));
  Result<void> outcome;
  if (state_ == nullptr) {
    outcome = kernel_->close();
  } else {
    if (state_.use_count() > 1) {
      return fail(make_error(Errc::kFailed, "close", name(), "a Pin of it is still held",
                             "release the Pin first"));
    }
    if (state_->commit() != nullptr) {
      QUIRE_TRY(UpdateGate::require_outside("close", name()));
    }
    outcome = state_->check();
    if (state_->options.is_writable && state_->commit() == nullptr) {
      const Result<void> written =
          state_->core->service
              ->flush(*state_, {0, size_bytes_}, Service::Sync::kNo, Durability::kStarted)
              .wait();
      outcome = written ? outcome : written;
    }
    const sys::BlockedSignals blocked;
    state_->shut_down();
    if (state_->commit() != nullptr) {
      const Result<void> closed = state_->commit()->close();
      outcome = closed ? outcome : closed;
    }
  }
  state_.reset();
  kernel_.reset();
  first_ = nullptr;
  size_bytes_ = 0;
  return outcome;
}

void PagedArea::check_invariants() const {
  if (state_ != nullptr) {
    state_->core->service->inspect([this] { state_->check_invariants(); });
  }
}

// --- Writable -----------------------------------------------------------------------------------

WritablePagedArea::WritablePagedArea(internal::OpenedArea opened) noexcept
    : PagedArea(std::move(opened)) {}

Result<std::span<std::byte>> WritablePagedArea::bytes(ByteRange range) {
  const ByteRange resolved = QUIRE_TRY(resolve(range, "bytes"));
  return bytes().subspan(resolved.offset_bytes, resolved.length_bytes);
}

Result<WritablePin> WritablePagedArea::pin_for_writing(ByteRange range) {
  const ByteRange resolved = QUIRE_TRY(resolve(range, "pin"));
  const std::span<std::byte> pinned(first_ + resolved.offset_bytes, resolved.length_bytes);
  if (state_ == nullptr) {
    return WritablePin(nullptr, pinned, resolved.offset_bytes);
  }
  QUIRE_TRY(internal::pin_granules(*state_, resolved, Need::kStore));
  return WritablePin(state_, pinned, resolved.offset_bytes);
}

Result<void> WritablePagedArea::flush(ByteRange range, Durability durability) {
  if (state_ != nullptr && state_->commit() != nullptr) {
    QUIRE_TRY(resolve(range, "flush"));
    return commit();
  }
  return flush_async(range, durability).wait();
}

Ticket WritablePagedArea::flush_async(ByteRange range, Durability durability) {
  const Result<ByteRange> resolved_range = resolve(range, "flush");
  if (!resolved_range) {
    return resolved(fail(resolved_range.error()));
  }
  if (state_ == nullptr) {
    return resolved(kernel_->writable().flush(*resolved_range, durability));
  }
  return state_->commit() != nullptr
             ? commit_async()
             : state_->core->service->flush(*state_, *resolved_range, Service::Sync::kYes,
                                            durability);
}

Result<void> WritablePagedArea::resize(std::uint64_t size_bytes) {
  QUIRE_TRY(resolve({0, 0}, "resize"));
  if (state_ == nullptr) {
    QUIRE_TRY(kernel_->writable().resize(size_bytes));
    first_ = kernel_->first();
  } else {
    if (state_->commit() != nullptr) {
      QUIRE_TRY(UpdateGate::require_outside("resize", name()));
    }
    const sys::BlockedSignals blocked;
    const Result<void> resized = state_->resize(size_bytes);
    size_bytes_ = state_->size_bytes();
    return resized;
  }
  size_bytes_ = size_bytes;
  return {};
}

}  // namespace quire
