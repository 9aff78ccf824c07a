// SPDX-License-Identifier: Apache-2.0
//
// WritablePagedArea's and Pager's side of commits.
#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "quire/pager/internal/area_commit.h"
#include "quire/pager/internal/opened_area.h"
#include "quire/pager/internal/pager_core.h"
#include "quire/pager/internal/service.h"
#include "quire/pager/internal/snapshot_store.h"
#include "quire/pager/pager.h"
#include "quire/sys/signals.h"

namespace quire {
namespace {

using internal::AreaState;

// What stands in the way of a commit of this area, if anything does.
Result<void> require_atomic(const AreaState* state, const PagedArea& area, const char* operation) {
  if (!area.is_open()) {
    return fail(make_error(Errc::kClosed, operation, "paged area", "it is not open"));
  }
  if (state == nullptr || state->commit() == nullptr) {
    return fail(make_error(Errc::kUnsupported, operation, area.name(), "the area is not atomic",
                           "map it with .commit = Commit::kAtomic"));
  }
  QUIRE_TRY(state->resolve({0, 0}, operation));  // In a forked child it is closed.
  return {};
}

// And what has to wait for the end of updates.
Result<void> require_outside_updates(const AreaState* state, const PagedArea& area,
                                     const char* operation) {
  QUIRE_TRY(require_atomic(state, area, operation));
  return UpdateGate::require_outside(operation, area.name());
}

// One commit must be able to hold up the stores to both: that of their pager.
Result<void> require_together(const AreaState& first, const AreaState& other) {
  const bool has_journal = first.commit()->journal == other.commit()->journal;
  if (has_journal && first.core == other.core) {
    return {};
  }
  return fail(Error({.code = std::make_error_code(std::errc::invalid_argument),
                     .operation = "commit",
                     .subject = other.store->name(),
                     .cause = fmt::format("it has another {} than {}",
                                          has_journal ? "pager" : "journal", first.store->name()),
                     .remedy = "map both as files of one Journal with one Pager"}));
}

}  // namespace

Update WritablePagedArea::begin_update() noexcept {
  const bool is_atomic = state_ != nullptr && state_->commit() != nullptr;
  // What a forked child has of a gate nobody will open.
  const bool can_commit = is_atomic && !internal::Service::is_in_forked_child();
  return Update(can_commit ? &state_->core->updates : nullptr);
}

Result<void> WritablePagedArea::commit() {
  QUIRE_TRY(require_outside_updates(state_.get(), *this, "commit"));
  AreaState* const area = state_.get();
  return area->core->service->commit({&area, 1});
}

Ticket WritablePagedArea::commit_async() {
  Result<void> possible = require_atomic(state_.get(), *this, "commit");
  if (!possible) {
    Ticket::Source source;
    source.resolve(std::move(possible));
    return source.ticket();
  }
  AreaState* const area = state_.get();
  return area->core->service->commit_async({&area, 1});
}

Result<void> WritablePagedArea::rollback() {
  QUIRE_TRY(require_outside_updates(state_.get(), *this, "rollback"));
  const sys::BlockedSignals blocked;
  const Result<void> rolled_back = state_->rollback();
  size_bytes_ = state_->size_bytes();
  return rolled_back;
}

Result<PagedArea> WritablePagedArea::snapshot() const {
  QUIRE_TRY(require_atomic(state_.get(), *this, "snapshot"));
  const internal::AreaCommit& commit = *state_->commit();
  std::shared_ptr<Store> store;
  {
    const sys::BlockedSignals blocked;  // The pager's thread may need the journal's mutex.
    store = std::make_shared<internal::SnapshotStore>(commit.journal->snapshot(), commit.file,
                                                      state_->store->name());
  }
  return PagedArea(internal::OpenedArea{
      .paged = QUIRE_TRY(AreaState::open(
          state_->core, std::move(store),
          {.on_fill_error = state_->options.on_fill_error, .fault_path = FaultPath::kHandler}))});
}

Result<void> Pager::commit(std::span<WritablePagedArea* const> areas) {
  std::vector<AreaState*> states;
  for (const WritablePagedArea* area : areas) {
    QUIRE_TRY(require_outside_updates(area->state_.get(), *area, "commit"));
    AreaState* const state = area->state_.get();
    const bool is_known = std::ranges::find(states, state) != states.end();
    if (!states.empty()) {
      QUIRE_TRY(require_together(*states.front(), *state));
    }
    if (!is_known) {
      states.push_back(state);
    }
  }
  return states.empty() ? Result<void>() : states.front()->core->service->commit(states);
}

}  // namespace quire
