// SPDX-License-Identifier: Apache-2.0
//
// AreaState's half that goes back to the last commit.
#include <chrono>

#include "quire/base/check.h"
#include "quire/pager/internal/area_commit.h"
#include "quire/pager/internal/area_state.h"
#include "quire/pager/internal/pager_core.h"
#include "quire/pager/internal/service.h"

namespace quire::internal {
namespace {

Error pinned_error(const AreaState& area) {
  return make_error(Errc::kFailed, "rollback", area.store->name(),
                    "something of it is pinned, and would stay as it is", "release the Pin first");
}

// While it exists nothing of the area is filled, written back or let in.
class Frozen {
 public:
  explicit Frozen(AreaState& area) : area_(area) {
    area_.commit()->freeze();
    area_.core->service->pass();
  }
  ~Frozen() {
    area_.commit()->thaw();
    area_.core->service->wake();  // Faults are parked.
  }
  Frozen(const Frozen&) = delete;
  Frozen& operator=(const Frozen&) = delete;

 private:
  AreaState& area_;
};

}  // namespace

Result<void> AreaState::rollback() {
  commit()->await_commits(core->written);
  const Frozen frozen(*this);
  if (is_pinned_from(0)) {
    return quire::fail(pinned_error(*this));
  }
  QUIRE_TRY(drop_changes());
  const std::size_t file = commit()->file;
  QUIRE_TRY(commit()->journal->rollback({&file, 1}));
  commit()->has_uncommitted.store(false);
  return adopt_store_size();
}

// Where the journal has nothing uncommitted, what is clean is what was committed, and stays.
Result<void> AreaState::drop_changes() noexcept {
  if (commit()->has_uncommitted.load()) {
    return discard_from(0) ? Result<void>() : quire::fail(pinned_error(*this));
  }
  for (std::uint64_t i = table.next_in_use(0); i < table.granule_count();
       i = table.next_in_use(i + 1)) {
    while (table.word(i).state() == GranuleState::kDirty) {
      if (table.word(i).pins() > 0) {
        return quire::fail(pinned_error(*this));
      }
      if (table.begin_discard(i)) {
        core->evictor.evict_one(*this, i);
      }
    }
  }
  return {};
}

// What lies beyond either size was dropped: a changed size is a change that the journal has.
Result<void> AreaState::adopt_store_size() {
  const std::uint64_t bytes = QUIRE_TRY(store->size_bytes());
  QUIRE_CHECK_LE(bytes, frames->reserved_bytes());
  if (bytes < size_bytes()) {
    set_size(bytes);
  }
  if (bytes != frames->size_bytes()) {
    const sys::Outcome<void> sized = frames->set_size(bytes);
    if (!sized) {
      return quire::fail(sys::to_error(sized.error(), "rollback", store->name()));
    }
  }
  set_size(bytes);
  blank_from_.store(granule_count());
  return {};
}

}  // namespace quire::internal
