// SPDX-License-Identifier: Apache-2.0
#include "quire/pager/internal/pinning.h"

#include "quire/pager/internal/area_commit.h"
#include "quire/pager/internal/pager_core.h"
#include "quire/pager/internal/service.h"
#include "quire/sys/signals.h"

namespace quire::internal {
namespace {

// Stores are not watched: what is there may be stored to without anybody noticing.
bool is_writable_now(GranuleWord word) noexcept {
  return word.state() == GranuleState::kDirty ||
         (word.state() == GranuleState::kWriting && word.has(GranuleWord::kRedirtied));
}

Error pin_error(const AreaState& area, std::uint64_t index, std::error_code cause) {
  const ByteRange range{area.offset_of(index), area.granule.bytes()};
  std::string remedy;
  if (cause == Errc::kLimit) {
    remedy = "release a Pin, or give the pager more memory_bytes";
  }
  std::string subject = area.store->name() + ", " + describe(range);
  if (cause.category() == std::system_category()) {
    return sys::to_error({cause.value()}, "pin", std::move(subject), remedy);
  }
  return Error({.code = cause,
                .operation = "pin",
                .subject = std::move(subject),
                .cause = cause == Errc::kLimit ? "the whole memory budget is pinned" : "",
                .remedy = remedy});
}

Result<void> pin_one(AreaState& area, std::uint64_t index, Need need) {
  Filler& filler = area.core->filler;
  while (!area.table.try_pin(index)) {
    std::error_code cause;
    // An application's signal handler must not run while locks of the pager are held.
    const sys::BlockedSignals blocked;
    const Served served = filler.serve(area, index, need, cause, Asker::kPin);
    if (served != Served::kServed) {
      return fail(pin_error(area, index,
                            served == Served::kClosing ? make_error_code(Errc::kClosed) : cause));
    }
  }
  while (need == Need::kStore && !is_writable_now(area.table.word(index))) {
    std::error_code cause;
    const sys::BlockedSignals blocked;
    const Served served = filler.serve(area, index, need, cause, Asker::kPin);
    if (served != Served::kServed) {
      area.table.unpin(index);
      return fail(pin_error(area, index,
                            served == Served::kClosing ? make_error_code(Errc::kClosed) : cause));
    }
  }
  return {};
}

}  // namespace

Result<void> pin_granules(AreaState& area, ByteRange range, Need need) {
  AreaCommit* const commit = need == Need::kStore ? area.commit() : nullptr;
  if (commit != nullptr) {
    commit->enter_pin(range);
  }
  const GranuleSpan stretch = area.stretch_of(range);
  for (std::uint64_t i = stretch.first; i < stretch.end(); ++i) {
    const Result<void> pinned = pin_one(area, i, need);
    if (!pinned) {
      for (std::uint64_t j = stretch.first; j < i; ++j) {
        area.table.unpin(j);
      }
      if (commit != nullptr) {
        commit->leave_pin(range);
      }
      return pinned;
    }
  }
  return {};
}

void unpin_granules(AreaState& area, ByteRange range, Need need) noexcept {
  if (Service::is_in_forked_child()) {
    return;  // The copy of a Pin; the states may be shared with the parent, who still has his.
  }
  const GranuleSpan stretch = area.stretch_of(range);
  for (std::uint64_t i = stretch.first; i < stretch.end(); ++i) {
    area.table.unpin(i);
  }
  if (need == Need::kStore && area.commit() != nullptr) {
    area.commit()->leave_pin(range);
  }
}

}  // namespace quire::internal
