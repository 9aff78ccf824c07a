// SPDX-License-Identifier: Apache-2.0
//
// GranuleTable: its memory, its leaves, the notes. Memory orders: internal/granule_cell.h.
#include "quire/cache/granule_table.h"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <string>
#include <thread>
#include <utility>

#include "quire/base/check.h"
#include "quire/base/page_window.h"
#include "quire/cache/internal/granule_cell.h"
#include "quire/sys/file.h"
#include "quire/sys/memfd.h"

namespace quire {

using internal::load;

// --- The table -----------------------------------------------------------------------------------

Result<GranuleTable> GranuleTable::make(std::uint64_t granule_count, TableBacking backing) {
  static_assert(sizeof(Cell) == kCellBytes && offsetof(Cell, word) == 0);
  static_assert(Leaf::is_always_lock_free && sizeof(Leaf) == sizeof(std::uint32_t));
  const std::string subject = std::to_string(granule_count) + " granules";
  const PageSize page = sys::os_page_size();
  if (page.bytes() > kLeafBytes) {
    return fail(make_error(Errc::kUnsupported, "granule_table", subject,
                           "an OS page has " + std::to_string(page.bytes()) + " bytes"));
  }
  if (granule_count > kMapLengthMax / sizeof(Cell)) {
    return fail(sys::to_error(sys::Errno{ENOMEM}, "granule_table", subject));
  }
  GranuleTable table;
  table.granule_count_ = granule_count;
  table.leaf_count_ = (granule_count + kLeafGranules - 1) / kLeafGranules;
  const std::uint64_t cell_bytes = table.leaf_count_ * kLeafBytes;
  const std::uint64_t leaf_bytes = round_up(table.leaf_count_ * sizeof(Leaf), page);
  table.memory_bytes_ = std::max(cell_bytes + leaf_bytes, page.bytes());
  const sys::Outcome<sys::Address> memory = table.map(backing);
  if (!memory) {
    return fail(sys::to_error(memory.error(), "granule_table", subject));
  }
  table.memory_ = *memory;
  // A huge page at the first touch would be 512 leaves that nobody paid for. A kernel without huge
  // pages refuses the advice, and needs none.
  static_cast<void>(
      sys::advise_pages(table.memory_, table.memory_bytes_, sys::MemoryAdvice::kNoHugePage));
  // Memory of zeros is a table of absent granules in unused leaves: nothing is constructed, since
  // that would touch it.
  table.cells_ = reinterpret_cast<Cell*>(table.memory_);
  table.leaves_ = reinterpret_cast<Leaf*>(table.memory_ + cell_bytes);
  return table;
}

sys::Outcome<sys::Address> GranuleTable::map(TableBacking backing) noexcept {
  sys::MapRequest request{.length_bytes = memory_bytes_,
                          .protection = sys::Protection::kReadWrite,
                          .visibility = sys::Visibility::kPrivate,
                          .no_reserve = true};
  if (backing == TableBacking::kMemfd) {
    memfd_ = QUIRE_TRY(sys::create_memfd({.name = "granules", .allow_sealing = false}));
    QUIRE_TRY(sys::truncate_file(memfd_.get(), memory_bytes_));
    request.visibility = sys::Visibility::kShared;
    request.fd = memfd_.get();
  }
  return sys::map_pages(request);
}

GranuleTable::GranuleTable(GranuleTable&& other) noexcept {
  take_from(other);
}

GranuleTable& GranuleTable::operator=(GranuleTable&& other) noexcept {
  if (this != &other) {
    release();
    take_from(other);
  }
  return *this;
}

GranuleTable::~GranuleTable() {
  release();
}

void GranuleTable::take_from(GranuleTable& other) noexcept {
  granule_count_ = std::exchange(other.granule_count_, 0);
  leaf_count_ = std::exchange(other.leaf_count_, 0);
  memfd_ = std::move(other.memfd_);
  memory_ = std::exchange(other.memory_, nullptr);
  memory_bytes_ = std::exchange(other.memory_bytes_, 0);
  cells_ = std::exchange(other.cells_, nullptr);
  leaves_ = std::exchange(other.leaves_, nullptr);
  on_awaited_ = std::exchange(other.on_awaited_, nullptr);
  on_awaited_context_ = std::exchange(other.on_awaited_context_, nullptr);
  dirty_total_ = std::exchange(other.dirty_total_, nullptr);
  dirty_count_ = other.dirty_count_.exchange(0);
  leaves_in_use_ = other.leaves_in_use_.exchange(0);
  leaves_touched_ = other.leaves_touched_.exchange(0);
}

void GranuleTable::release() noexcept {
  if (memory_ != nullptr) {
    static_cast<void>(sys::unmap_pages(memory_, memory_bytes_));
    memory_ = nullptr;
  }
  static_cast<void>(memfd_.close());
}

const GranuleTable::Leaf& GranuleTable::leaf_of(std::uint64_t granule) const noexcept {
  QUIRE_DCHECK_LT(granule, granule_count_);
  return leaves_[granule / kLeafGranules];
}

GranuleTable::Leaf& GranuleTable::leaf_of(std::uint64_t granule) noexcept {
  QUIRE_DCHECK_LT(granule, granule_count_);
  return leaves_[granule / kLeafGranules];
}

std::atomic<std::uint32_t>& GranuleTable::word_of(std::uint64_t granule) noexcept {
  QUIRE_DCHECK_LT(granule, granule_count_);
  return cells_[granule].word;
}

// --- Leaves --------------------------------------------------------------------------------------

GranuleTable::Entry GranuleTable::enter(std::uint64_t granule) noexcept {
  Leaf& leaf = leaf_of(granule);
  std::uint32_t seen = leaf.load(std::memory_order_acquire);
  do {
    if (!LeafWord(seen).is_in_use()) {
      return LeafWord(seen).is_leaving() ? Entry::kLeaving : Entry::kMustCharge;
    }
    QUIRE_DCHECK_LT(LeafWord(seen).users(), LeafWord::kUsersMask);
  } while (!leaf.compare_exchange_weak(seen, seen + LeafWord::kUserOne, std::memory_order_acq_rel,
                                       std::memory_order_acquire));
  return Entry::kEntered;
}

bool GranuleTable::enter_charged(std::uint64_t granule) noexcept {
  raise_touched(granule / kLeafGranules + 1);
  for (;;) {
    const Entry entry = enter(granule);
    if (entry == Entry::kEntered) {
      return false;
    }
    std::uint32_t unused = 0;
    if (leaf_of(granule).compare_exchange_strong(unused, LeafWord::kInUse | LeafWord::kUserOne,
                                                 std::memory_order_acq_rel,
                                                 std::memory_order_acquire)) {
      leaves_in_use_.fetch_add(1);
      return true;
    }
    if (entry == Entry::kLeaving) {
      std::this_thread::yield();
    }
  }
}

// Raised before the leaf is in use, so that next_in_use() never misses one.
void GranuleTable::raise_touched(std::uint64_t leaf_count) noexcept {
  std::uint64_t seen = leaves_touched_.load();
  while (seen < leaf_count && !leaves_touched_.compare_exchange_weak(seen, leaf_count)) {
  }
}

void GranuleTable::leave(std::uint64_t granule) noexcept {
  const std::uint32_t before =
      leaf_of(granule).fetch_sub(LeafWord::kUserOne, std::memory_order_acq_rel);
  QUIRE_DCHECK(LeafWord(before).is_in_use() && LeafWord(before).users() > 0);
}

bool GranuleTable::begin_give_back(std::uint64_t granule) noexcept {
  Leaf& leaf = leaf_of(granule);
  std::uint32_t idle = LeafWord::kInUse;  // No users, hence nothing dirty.
  return leaf.load(std::memory_order_acquire) == idle &&
         leaf.compare_exchange_strong(idle, LeafWord::kLeaving, std::memory_order_acq_rel,
                                      std::memory_order_acquire);
}

void GranuleTable::finish_give_back(std::uint64_t granule) noexcept {
  QUIRE_DCHECK(LeafWord(leaf_of(granule).load()).is_leaving());
  Cell* cells = cells_ + round_down(granule, PageSize(kLeafGranules));
  // Nobody writes here now: users of the leaf have left, and new ones wait outside. Readers of
  // single words see an absent granule before and after.
  const sys::Outcome<void> dropped = sys::advise_pages(
      reinterpret_cast<sys::Address>(cells), kLeafBytes,
      memfd_.get() >= 0 ? sys::MemoryAdvice::kRemove : sys::MemoryAdvice::kDontNeed);
  if (!dropped) {
    // The program has locked its memory (mlockall): the page stays, but the notes go all the same.
    std::for_each_n(cells, kLeafGranules, [](Cell& cell) { cell.note.store(0); });
  }
  leaves_in_use_.fetch_sub(1);
  leaf_of(granule).store(0, std::memory_order_release);
}

std::uint64_t GranuleTable::next_in_use(std::uint64_t granule) const noexcept {
  const std::uint64_t leaf_end = leaves_touched_.load();
  for (std::uint64_t i = granule / kLeafGranules; i < leaf_end; ++i) {
    if (LeafWord(leaves_[i].load(std::memory_order_acquire)).is_in_use()) {
      return std::max(granule, i * kLeafGranules);
    }
  }
  return granule_count_;
}

void GranuleTable::count_dirty(std::uint64_t granule) noexcept {
  leaf_of(granule).fetch_add(LeafWord::kDirtyOne, std::memory_order_acq_rel);
  dirty_count_.fetch_add(1);
  if (dirty_total_ != nullptr) {
    dirty_total_->fetch_add(1);
  }
}

void GranuleTable::uncount_dirty(std::uint64_t granule) noexcept {
  dirty_count_.fetch_sub(1);
  if (dirty_total_ != nullptr) {
    dirty_total_->fetch_sub(1);
  }
  leaf_of(granule).fetch_sub(LeafWord::kDirtyOne, std::memory_order_acq_rel);
}

std::uint32_t GranuleTable::dirty_in_leaf(std::uint64_t granule) const noexcept {
  return LeafWord(leaf_of(granule).load(std::memory_order_acquire)).dirty();
}

std::uint64_t GranuleTable::metadata_bytes() const noexcept {
  return leaves_in_use_.load() * kLeafBytes;
}

// --- Notes ---------------------------------------------------------------------------------------

// Relaxed: the policy's lock orders them.
std::uint32_t GranuleTable::note(std::uint64_t granule) const noexcept {
  const LeafWord leaf(leaf_of(granule).load(std::memory_order_acquire));
  return leaf.is_in_use() ? cells_[granule].note.load(std::memory_order_relaxed) : 0;
}

void GranuleTable::set_note(std::uint64_t granule, std::uint32_t note) noexcept {
  if (enter(granule) == Entry::kEntered) {
    cells_[granule].note.store(note, std::memory_order_relaxed);
    leave(granule);
  }
}

// --- Invariants ----------------------------------------------------------------------------------

void GranuleTable::check_leaf(std::uint64_t leaf_index) const {
  const LeafWord leaf(leaves_[leaf_index].load());
  std::uint32_t present = 0;
  std::uint32_t dirty = 0;
  const std::uint64_t first = leaf_index * kLeafGranules;
  for (std::uint64_t granule = first; granule < first + kLeafGranules; ++granule) {
    const GranuleWord word = load(cells_[granule].word);
    const bool is_dirty =
        word.state() == GranuleState::kDirty || word.state() == GranuleState::kWriting;
    QUIRE_CHECK(!word.is_in_transition() && !word.has(GranuleWord::kAwaited));
    QUIRE_CHECK(!word.has(GranuleWord::kRedirtied) || word.state() == GranuleState::kWriting);
    QUIRE_CHECK(word.is_resident() || word.pins() == 0);
    QUIRE_CHECK(granule < granule_count_ || word.bits == 0);
    present += word.state() != GranuleState::kAbsent ? 1 : 0;
    dirty += is_dirty ? 1 : 0;
  }
  QUIRE_CHECK_LE(present, leaf.users());
  QUIRE_CHECK_EQ(dirty, leaf.dirty());
}

void GranuleTable::check_invariants() const {
  std::uint64_t leaves_in_use = 0;
  std::uint64_t dirty = 0;
  for (std::uint64_t granule = next_in_use(0); granule < granule_count_;
       granule = next_in_use((granule / kLeafGranules + 1) * kLeafGranules)) {
    check_leaf(granule / kLeafGranules);
    ++leaves_in_use;
    dirty += dirty_in_leaf(granule);
  }
  QUIRE_CHECK_EQ(leaves_in_use, leaves_in_use_.load());
  QUIRE_CHECK_EQ(dirty, dirty_count_.load());
}

}  // namespace quire
