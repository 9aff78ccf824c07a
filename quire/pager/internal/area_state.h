// SPDX-License-Identifier: Apache-2.0
//
// AreaState: one store, its memory and the states of its granules; what the kernel's
// vm_area_struct is to a mapping. Everything that happens to an area goes through here by name,
// and is done by others: Filler (faults), Evictor (room), WriteBack and ReadAhead (in the service
// thread).
//
// Life:
//   open()      memory, view and registration are there; faults find it by address
//   shut_down() no new fault finds it; those under way end; the service thread lets go of it;
//               the view is unmapped before the watch ends; every credit is given back
//
// Invariants:    resident_granules counts kClean, kDirty, kWriting and kHeld ones; each of them and
//                each kFilling or kEvicting one has its credit taken.
// Thread-safety: every member from any thread, unless it says otherwise.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "quire/base/mutex.h"
#include "quire/base/page_window.h"
#include "quire/base/result.h"
#include "quire/base/units.h"
#include "quire/cache/frames.h"
#include "quire/cache/granule_table.h"
#include "quire/cache/range_registry.h"
#include "quire/io/store.h"
#include "quire/pager/internal/advices.h"
#include "quire/pager/internal/counters.h"
#include "quire/pager/internal/store_runs.h"
#include "quire/pager/pager_options.h"
#include "quire/policy/replacement.h"
#include "quire/policy/stream_detector.h"
#include "quire/sys/futex.h"

namespace quire::internal {

class AreaCommit;
class PagerCore;

// What an access wants of a granule.
enum class Need : std::uint8_t { kLoad, kStore };

struct AreaOptions {
  bool is_writable = false;
  OnFillError on_fill_error = OnFillError::kSignal;
  FaultPath fault_path = FaultPath::kInline;  // Decided: kInline or kHandler.
  std::uint64_t reserve_bytes = 0;
  Space space = Space::kSecured;
  bool survives_kill = false;  // See quire/pager/survive_kill.h.
  // Set: the store is a file of a journal, and changes come to it by commits alone.
  std::shared_ptr<AreaCommit> commit{};
};

class AreaState {
 public:
  // Errors: of Store::size_bytes(), Frames::make(), GranuleTable::make(), RangeRegistry::add().
  [[nodiscard]] static Result<std::shared_ptr<AreaState>> open(std::shared_ptr<PagerCore> core,
                                                               std::shared_ptr<Store> store,
                                                               const AreaOptions& options);
  ~AreaState();
  AreaState(const AreaState&) = delete;
  AreaState& operator=(const AreaState&) = delete;

  // --- Places ------------------------------------------------------------------------------------

  [[nodiscard]] std::uint64_t size_bytes() const noexcept { return size_bytes_.load(); }
  [[nodiscard]] std::uint64_t granule_count() const noexcept {
    return (size_bytes() + granule.mask()) >> granule.shift();
  }
  [[nodiscard]] std::uint64_t offset_of(std::uint64_t index) const noexcept {
    return index << granule.shift();
  }
  [[nodiscard]] PageId page_id(std::uint64_t index) const noexcept {
    return (static_cast<PageId>(slot) << kIndexBits) | index;
  }
  [[nodiscard]] static std::uint64_t index_of(PageId page) noexcept {
    return page & ((PageId{1} << kIndexBits) - 1);
  }
  [[nodiscard]] static std::uint32_t slot_of(PageId page) noexcept {
    return static_cast<std::uint32_t>(page >> kIndexBits);
  }
  // The bytes of memory that `count` granules have: less at the end, where the memfd ends with the
  // store's last OS page.
  [[nodiscard]] ByteRange memory_of(std::uint64_t first, std::uint64_t count) const noexcept;
  // The bytes of the store that they stand for.
  [[nodiscard]] ByteRange stored_of(std::uint64_t first, std::uint64_t count) const noexcept;
  // The granules that a range of bytes touches.
  [[nodiscard]] GranuleSpan stretch_of(ByteRange range) const noexcept;
  // Errors: kOutOfRange, kClosed (in a forked child).
  [[nodiscard]] Result<ByteRange> resolve(ByteRange range, const char* operation) const;

  // --- State -------------------------------------------------------------------------------------

  [[nodiscard]] bool is_closing() const noexcept { return is_closing_.load(); }
  [[nodiscard]] bool is_inline() const noexcept { return options.fault_path == FaultPath::kInline; }
  // Null: not atomic.
  [[nodiscard]] AreaCommit* commit() const noexcept { return options.commit.get(); }
  // Takes one granule out of the policy's and the counters' books. The caller has punched it.
  void on_gone(std::uint64_t count) noexcept;

  // From this granule on the store has nothing but zeros: fills need no read.
  [[nodiscard]] std::uint64_t blank_from() const noexcept { return blank_from_.load(); }
  // Called before bytes up to there are written to the store.
  void note_written(std::uint64_t end_bytes) noexcept;

  // Requests and hand-offs of the service thread that name this area.
  void begin_service() noexcept { in_service_.fetch_add(1); }
  void end_service() noexcept;
  [[nodiscard]] std::uint32_t in_service() const noexcept { return in_service_.load(); }

  // --- Errors ------------------------------------------------------------------------------------

  // A plain access got a signal, or zeros. Allocates nothing.
  void note_fill_error(std::uint64_t index, std::error_code cause) noexcept;
  // Whether the last of them was of this granule.
  [[nodiscard]] bool was_fill_error(std::uint64_t index) const noexcept {
    return fill_error_value_.load() != 0 && fill_error_offset_.load() == offset_of(index);
  }
  void note_write_error(const Error& error);
  void clear_write_error();
  // The error of a fill, else that of a write-back, else nothing.
  [[nodiscard]] Result<void> check() const;
  // kFailed when zeros stand where bytes could not be read: nothing may be written back any more.
  [[nodiscard]] Result<void> check_zeros() const;
  void note_zeros() noexcept;

  [[nodiscard]] AreaStats stats() const;
  void check_invariants() const;

  // Under its own lock: the streams that readers make. Allocates nothing.
  [[nodiscard]] FillPlan plan_fill(std::uint64_t index) noexcept;
  [[nodiscard]] FillPlan plan_tripwire(std::uint64_t index) noexcept;

  // REQUIRES: no other resize() or shut_down() at the same time.
  [[nodiscard]] Result<void> resize(std::uint64_t size_bytes);
  // Back to the journal's last commit, size included. REQUIRES: as resize(); commit(); nobody uses
  // the bytes. Errors: kFailed when something is pinned: nothing has happened then.
  [[nodiscard]] Result<void> rollback();
  // Drops everything; see the header. Idempotent.
  void shut_down() noexcept;

  const std::shared_ptr<PagerCore> core;
  const std::shared_ptr<Store> store;
  const AreaOptions options;
  const PageSize granule;
  std::unique_ptr<Frames> frames;
  GranuleTable table;
  std::uint32_t slot = 0;
  AreaCounters counters;
  Advices advices;
  StoreRuns store_runs;

 private:
  static constexpr int kIndexBits = 48;

  AreaState(std::shared_ptr<PagerCore> owner, std::shared_ptr<Store> bytes,
            const AreaOptions& chosen);
  Result<void> guard();
  void set_size(std::uint64_t size_bytes) noexcept;
  Result<void> grow(std::uint64_t old_bytes, std::uint64_t new_bytes);
  sys::Outcome<void> complete_last(std::uint64_t old_bytes) noexcept;
  Result<void> shrink(std::uint64_t new_bytes);
  void await_write_of(std::uint64_t index) noexcept;
  [[nodiscard]] bool is_pinned_from(std::uint64_t first) const noexcept;
  Result<void> drop_changes() noexcept;
  [[nodiscard]] Result<void> adopt_store_size();
  // Drops every granule from `first` on. False: one of them is pinned.
  [[nodiscard]] bool discard_from(std::uint64_t first) noexcept;

  std::atomic<std::uint64_t> size_bytes_{0};
  std::atomic<std::uint64_t> blank_from_{0};  // A granule.
  std::optional<std::uint32_t> guard_slot_;   // Since open().
  std::atomic<bool> is_closing_{false};
  bool is_registered_ = false;
  std::atomic<std::uint32_t> in_service_{0};
  std::atomic<bool> has_zeros_{false};
  std::atomic<std::uint64_t> fill_error_offset_{0};
  std::atomic<int> fill_error_value_{0};
  std::atomic<bool> fill_error_is_ours_{false};
  mutable Mutex error_mutex_;
  std::optional<Error> write_error_ QUIRE_GUARDED_BY(error_mutex_);
  sys::FutexLock streams_lock_;
  StreamDetector streams_ QUIRE_GUARDED_BY(streams_lock_);
};

}  // namespace quire::internal
