// SPDX-License-Identifier: Apache-2.0
//
// GranuleTable: the states of granules, their pins, and who waits for them. Memory orders:
// internal/granule_cell.h.
#include "quire/base/check.h"
#include "quire/base/units.h"
#include "quire/cache/granule_table.h"
#include "quire/cache/internal/deadline.h"
#include "quire/cache/internal/granule_cell.h"
#include "quire/sys/futex.h"

namespace quire {
namespace {

using internal::load;
using Word = std::atomic<std::uint32_t>;

constexpr std::uint32_t bits_of(GranuleState state) noexcept {
  return static_cast<std::uint32_t>(state);
}

bool change(Word& word, GranuleWord& seen, std::uint32_t to) noexcept {
  return word.compare_exchange_weak(seen.bits, to, std::memory_order_acq_rel,
                                    std::memory_order_acquire);
}

// From a state without pins and flags to another one.
bool change_bare(Word& word, GranuleState from, GranuleState to) noexcept {
  // The load comes first so that a refusal does not write, which would bring an unused leaf's
  // memory to life.
  std::uint32_t expected = bits_of(from);
  return load(word).bits == expected &&
         word.compare_exchange_strong(expected, bits_of(to), std::memory_order_acq_rel,
                                      std::memory_order_acquire);
}

}  // namespace

const char* name_of(GranuleState state) noexcept {
  switch (state) {
    case GranuleState::kAbsent: return "absent";
    case GranuleState::kFilling: return "filling";
    case GranuleState::kHeld: return "held";
    case GranuleState::kClean: return "clean";
    case GranuleState::kDirty: return "dirty";
    case GranuleState::kWriting: return "writing";
    case GranuleState::kEvicting: break;
  }
  return "evicting";
}

GranuleWord GranuleTable::word(std::uint64_t granule) const noexcept {
  const LeafWord leaf(leaf_of(granule).load(std::memory_order_acquire));
  // A leaf that is given back between the two loads reads as zeros: absent, which it was.
  return leaf.is_in_use() ? load(cells_[granule].word) : GranuleWord{};
}

void GranuleTable::announce_end(std::uint64_t granule, GranuleWord before) noexcept {
  if (!before.has(GranuleWord::kAwaited)) {
    return;
  }
  sys::futex_wake_all(word_of(granule));
  if (on_awaited_ != nullptr) {
    on_awaited_(on_awaited_context_, granule);
  }
}

bool GranuleTable::begin_fill(std::uint64_t granule) noexcept {
  QUIRE_DCHECK(LeafWord(leaf_of(granule).load()).users() > 0);
  if (!change_bare(word_of(granule), GranuleState::kAbsent, GranuleState::kFilling)) {
    return false;
  }
  // The caller's own entry keeps the leaf until this is counted.
  leaf_of(granule).fetch_add(LeafWord::kUserOne, std::memory_order_acq_rel);
  return true;
}

void GranuleTable::open_fill(std::uint64_t granule) noexcept {
  const GranuleWord before{
      word_of(granule).fetch_or(GranuleWord::kLocked, std::memory_order_acq_rel)};
  QUIRE_DCHECK_EQ(before.bits & ~GranuleWord::kAwaited, bits_of(GranuleState::kFilling));
}

void GranuleTable::finish_fill(std::uint64_t granule, GranuleState to) noexcept {
  QUIRE_DCHECK(to == GranuleState::kClean || to == GranuleState::kDirty ||
               to == GranuleState::kHeld || to == GranuleState::kAbsent);
  if (to == GranuleState::kDirty) {
    count_dirty(granule);
  }
  const GranuleWord before{word_of(granule).exchange(bits_of(to), std::memory_order_acq_rel)};
  QUIRE_DCHECK_EQ(before.bits & ~(GranuleWord::kAwaited | GranuleWord::kLocked),
                  bits_of(GranuleState::kFilling));
  announce_end(granule, before);
  if (to == GranuleState::kAbsent) {
    leave(granule);
  }
}

bool GranuleTable::take_held(std::uint64_t granule) noexcept {
  return change_bare(word_of(granule), GranuleState::kHeld, GranuleState::kFilling);
}

bool GranuleTable::begin_store(std::uint64_t granule) noexcept {
  Word& word = word_of(granule);
  GranuleWord seen = load(word);
  do {
    if (seen.has(GranuleWord::kLocked) ||
        (seen.state() != GranuleState::kClean && seen.state() != GranuleState::kWriting)) {
      return false;
    }
  } while (!change(word, seen, seen.bits | GranuleWord::kLocked));
  return true;
}

void GranuleTable::finish_store(std::uint64_t granule) noexcept {
  Word& word = word_of(granule);
  GranuleWord seen = load(word);
  QUIRE_DCHECK(seen.has(GranuleWord::kLocked));
  const bool was_clean = seen.state() == GranuleState::kClean;
  if (was_clean) {
    count_dirty(granule);
  }
  const std::uint32_t to = was_clean ? bits_of(GranuleState::kDirty)
                                     : bits_of(GranuleState::kWriting) | GranuleWord::kRedirtied;
  while (!change(word, seen, to | (seen.bits & GranuleWord::kPinMask))) {
  }
  announce_end(granule, seen);
}

GranuleTable::BeginWrite GranuleTable::begin_write(std::uint64_t granule) noexcept {
  Word& word = word_of(granule);
  GranuleWord seen = load(word);
  std::uint32_t flag = 0;
  do {
    if (seen.state() != GranuleState::kDirty || seen.has(GranuleWord::kLocked)) {
      return BeginWrite::kRefused;
    }
    flag = seen.pins() > 0 ? GranuleWord::kRedirtied : GranuleWord::kLocked;
  } while (!change(word, seen,
                   bits_of(GranuleState::kWriting) | flag | (seen.bits & GranuleWord::kPinMask)));
  return flag == GranuleWord::kLocked ? BeginWrite::kProtect : BeginWrite::kPinned;
}

bool GranuleTable::begin_cut(std::uint64_t granule) noexcept {
  Word& word = word_of(granule);
  GranuleWord seen = load(word);
  do {
    if (seen.state() != GranuleState::kDirty || seen.has(GranuleWord::kLocked)) {
      return false;
    }
  } while (!change(word, seen,
                   bits_of(GranuleState::kWriting) | GranuleWord::kLocked |
                       (seen.bits & GranuleWord::kPinMask)));
  return true;
}

void GranuleTable::written_protected(std::uint64_t granule) noexcept {
  const GranuleWord before{word_of(granule).fetch_and(
      ~(GranuleWord::kLocked | GranuleWord::kAwaited), std::memory_order_acq_rel)};
  QUIRE_DCHECK(before.state() == GranuleState::kWriting && before.has(GranuleWord::kLocked));
  announce_end(granule, before);
}

GranuleState GranuleTable::finish_write(std::uint64_t granule, bool was_written) noexcept {
  Word& word = word_of(granule);
  GranuleWord seen = load(word);
  GranuleState to = GranuleState::kDirty;
  do {
    QUIRE_DCHECK_EQ(seen.state(), GranuleState::kWriting);
    while (seen.has(GranuleWord::kLocked)) {
      static_cast<void>(await_change(granule, seen, kToEnd));
      seen = load(word);
    }
    to = was_written && !seen.has(GranuleWord::kRedirtied) ? GranuleState::kClean
                                                           : GranuleState::kDirty;
  } while (!change(word, seen, bits_of(to) | (seen.bits & GranuleWord::kPinMask)));
  if (to == GranuleState::kClean) {
    uncount_dirty(granule);
  }
  return to;
}

bool GranuleTable::begin_evict(std::uint64_t granule) noexcept {
  return change_bare(word_of(granule), GranuleState::kClean, GranuleState::kEvicting);
}

void GranuleTable::finish_evict(std::uint64_t granule) noexcept {
  const GranuleWord before{
      word_of(granule).exchange(bits_of(GranuleState::kAbsent), std::memory_order_acq_rel)};
  QUIRE_DCHECK_EQ(before.bits & ~GranuleWord::kAwaited, bits_of(GranuleState::kEvicting));
  announce_end(granule, before);
  leave(granule);
}

bool GranuleTable::begin_discard(std::uint64_t granule) noexcept {
  Word& word = word_of(granule);
  if (change_bare(word, GranuleState::kClean, GranuleState::kEvicting) ||
      change_bare(word, GranuleState::kHeld, GranuleState::kEvicting)) {
    return true;
  }
  if (!change_bare(word, GranuleState::kDirty, GranuleState::kEvicting)) {
    return false;
  }
  uncount_dirty(granule);
  return true;
}

bool GranuleTable::try_pin(std::uint64_t granule) noexcept {
  Word& word = word_of(granule);
  GranuleWord seen = load(word);
  do {
    if (!seen.is_resident() || seen.is_in_transition() || seen.pins() == GranuleWord::kPinsMax) {
      return false;
    }
  } while (!change(word, seen, seen.bits + GranuleWord::kPinOne));
  return true;
}

void GranuleTable::unpin(std::uint64_t granule) noexcept {
  const GranuleWord before{
      word_of(granule).fetch_sub(GranuleWord::kPinOne, std::memory_order_acq_rel)};
  QUIRE_CHECK_GT(before.pins(), 0U);
}

// --- Waiting -------------------------------------------------------------------------------------

bool GranuleTable::await_change(std::uint64_t granule, GranuleWord seen,
                                std::uint64_t timeout_ms) noexcept {
  QUIRE_DCHECK(seen.is_in_transition());
  Word& word = word_of(granule);
  const std::uint32_t awaited = seen.bits | GranuleWord::kAwaited;
  GranuleWord now = load(word);
  do {
    if ((now.bits | GranuleWord::kAwaited) != awaited) {
      return true;
    }
  } while (!now.has(GranuleWord::kAwaited) && !change(word, now, awaited));
  return sys::futex_wait(word, awaited, internal::Deadline(timeout_ms).left());
}

bool GranuleTable::mark_awaited(std::uint64_t granule) noexcept {
  Word& word = word_of(granule);
  GranuleWord seen = load(word);
  do {
    if (!seen.is_in_transition()) {
      return false;
    }
  } while (!seen.has(GranuleWord::kAwaited) &&
           !change(word, seen, seen.bits | GranuleWord::kAwaited));
  return true;
}

void GranuleTable::set_on_awaited(OnAwaited function, void* context) noexcept {
  on_awaited_ = function;
  on_awaited_context_ = context;
}

}  // namespace quire
