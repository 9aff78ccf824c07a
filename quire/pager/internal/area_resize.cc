// SPDX-License-Identifier: Apache-2.0
//
// AreaState's half that changes the area's size.
#include <fmt/format.h>

#include <chrono>

#include "quire/base/check.h"
#include "quire/pager/internal/area_commit.h"
#include "quire/pager/internal/area_state.h"
#include "quire/pager/internal/pager_core.h"
#include "quire/sys/memory.h"

namespace quire::internal {
namespace {

// One sleep of who waits for a granule: then it looks again.
constexpr std::chrono::milliseconds kNap{100};

}  // namespace

Result<void> AreaState::resize(std::uint64_t new_bytes) {
  if (commit() != nullptr) {
    commit()->await_commits(core->written);
    commit()->has_uncommitted.store(true);  // The size, at least.
  }
  const std::uint64_t old_bytes = size_bytes();
  if (new_bytes > frames->reserved_bytes()) {
    return quire::fail(
        make_error(Errc::kLimit, "resize", store->name(),
                   fmt::format("{} are reserved for it", human_bytes(frames->reserved_bytes())),
                   fmt::format("map it with .reserve_bytes = {}", new_bytes)));
  }
  if (new_bytes > old_bytes) {
    return grow(old_bytes, new_bytes);
  }
  return new_bytes < old_bytes ? shrink(new_bytes) : Result<void>();
}

Result<void> AreaState::grow(std::uint64_t old_bytes, std::uint64_t new_bytes) {
  if (options.space == Space::kSecured) {
    const Result<void> secured = store->allocate({old_bytes, new_bytes - old_bytes});
    if (!secured && secured.error().code() != Errc::kUnsupported) {
      return quire::fail(secured.error().about("resize", store->name()));
    }
    if (!secured) {
      QUIRE_TRY(store->resize(new_bytes));
    }
  } else {
    QUIRE_TRY(store->resize(new_bytes));
  }
  const sys::Outcome<void> sized = frames->set_size(new_bytes);
  if (!sized) {
    return quire::fail(sys::to_error(sized.error(), "resize", store->name()));
  }
  if (const sys::Outcome<void> completed = complete_last(old_bytes); !completed) {
    static_cast<void>(frames->set_size(old_bytes));
    static_cast<void>(store->resize(old_bytes));
    return quire::fail(sys::to_error(completed.error(), "resize", store->name()));
  }
  set_size(new_bytes);
  return {};
}

// The OS pages that a longer file adds to the granule in which it ended before: in a granule that
// is resident nobody would bring them in. Whoever fills it from here on fills it to the new end.
sys::Outcome<void> AreaState::complete_last(std::uint64_t old_bytes) noexcept {
  const std::uint64_t old_end = round_up(old_bytes, sys::os_page_size());
  const std::uint64_t index = old_end >> granule.shift();
  const ByteRange memory = memory_of(index, 1);
  const ByteRange added = intersect(memory, {old_end, kToEnd - old_end});
  if (added.offset_bytes == memory.offset_bytes || added.length_bytes == 0) {
    return {};
  }
  // Pinned it is neither evicted nor protected by a write-back.
  while (!table.try_pin(index)) {
    const GranuleWord word = table.word(index);
    if (word.state() == GranuleState::kAbsent) {
      return {};
    }
    if (word.is_in_transition()) {
      static_cast<void>(table.await_change(index, word, static_cast<std::uint64_t>(kNap.count())));
    } else if (word.state() == GranuleState::kHeld) {
      core->filler.drop_held(*this, index);
    }
  }
  // Dirty, for what is added is not protected.
  while (table.word(index).state() != GranuleState::kDirty && !core->filler.lift(*this, index)) {
  }
  const sys::Outcome<void> installed =
      frames->install_zeros(added.offset_bytes, added.length_bytes);
  table.unpin(index);
  return installed;
}

Result<void> AreaState::shrink(std::uint64_t new_bytes) {
  const std::uint64_t old_bytes = size_bytes();
  const std::uint64_t first_gone = (new_bytes + granule.mask()) >> granule.shift();
  // Asked before anything is dropped: a resize that is refused has lost no store.
  if (is_pinned_from(first_gone)) {
    return quire::fail(make_error(Errc::kFailed, "resize", store->name(),
                                  "something past the new end is pinned", "release the Pin first"));
  }
  // From here on nobody begins anything beyond the new end, and writes are cut off there.
  set_size(new_bytes);
  for (std::uint64_t i = table.next_in_use(new_bytes >> granule.shift()); i < table.granule_count();
       i = table.next_in_use(i + 1)) {
    await_write_of(i);
  }
  // The store first: while it can still refuse, nothing is lost.
  if (const Result<void> resized = store->resize(new_bytes); !resized) {
    set_size(old_bytes);
    return resized;
  }
  QUIRE_CHECK(discard_from(first_gone));
  std::uint64_t blank = blank_from_.load();
  while (blank > first_gone && !blank_from_.compare_exchange_weak(blank, first_gone)) {
  }
  const sys::Outcome<void> sized = frames->set_size(new_bytes);
  return sized ? Result<void>()
               : quire::fail(sys::to_error(sized.error(), "resize", store->name()));
}

// A write of it that began with the old size would make the store longer again.
void AreaState::await_write_of(std::uint64_t index) noexcept {
  for (;;) {
    const std::uint32_t seen = core->written.generation();
    if (index >= table.granule_count() || table.word(index).state() != GranuleState::kWriting) {
      return;
    }
    core->written.wait(seen, kNap);
  }
}

bool AreaState::is_pinned_from(std::uint64_t first) const noexcept {
  for (std::uint64_t i = table.next_in_use(first); i < table.granule_count();
       i = table.next_in_use(i + 1)) {
    if (table.word(i).pins() > 0) {
      return true;
    }
  }
  return false;
}

bool AreaState::discard_from(std::uint64_t first) noexcept {
  for (std::uint64_t i = table.next_in_use(first); i < table.granule_count();
       i = table.next_in_use(i + 1)) {
    for (;;) {
      const GranuleWord word = table.word(i);
      if (word.state() == GranuleState::kAbsent) {
        break;
      }
      if (word.pins() > 0) {
        return false;
      }
      if (word.is_in_transition()) {
        static_cast<void>(table.await_change(i, word, static_cast<std::uint64_t>(kNap.count())));
      } else if (word.state() == GranuleState::kWriting) {
        const std::uint32_t seen = core->written.generation();
        if (table.word(i).state() == GranuleState::kWriting) {
          core->written.wait(seen, kNap);
        }
      } else if (word.state() == GranuleState::kHeld) {
        core->filler.drop_held(*this, i);
      } else if (table.begin_discard(i)) {
        core->evictor.evict_one(*this, i);
      }
    }
  }
  return true;
}

}  // namespace quire::internal
