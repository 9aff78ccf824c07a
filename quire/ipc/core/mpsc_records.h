// SPDX-License-Identifier: Apache-2.0
//
// mpsc_records: a ring of records of any length for many writers and one reader. The bytes lie in a
// mirrored area, each record in one piece; what says whose they are lies beside them, in a ring of
// slots that are claimed like the cells of mpsc_cells.h.
//
//   slots      ... | word end length | word end length | word end length | ...
//                            '------------.      '---------------.
//   bytes      .......|------ record ------|------- record -------|..........   end = next start
//
// A record begins where the one before it ends, so claiming one takes two steps, each a
// compare-and-swap that decides:
//
//   1. word: free -> claimed by me            whose slot it is
//   2. end:  what an earlier lap left -> end  which bytes; from here on others can go on
//   3. tail: + 1                              only a hint, as with cells
//
// A writer that finds a slot between 1 and 2 waits a moment for its claimant and then decides in
// its place that the record is void, eight bytes that nobody reads. The claimant finds that out by
// its own compare-and-swap and tries the next slot: nobody waits for a writer that was stopped
// between two instructions. Ends only grow, so an end is decided when it is greater than the
// start, and no stale compare-and-swap can succeed:
//
//   Slots are claimed only while one more is free, so the end of slot i - 1 is replaced only after
//   slot i was released. Whoever reads start = end(i - 1) and then end(i) <= start knows therefore
//   that end(i) is undecided for the very lap that start belongs to, whichever that is by now.
//
// Nothing of a record's bytes is ever taken for bookkeeping, so freed bytes need not be cleared.
//
// Invariants:    those of mpsc_cells.h for words; ends grow; a record has at most capacity bytes;
//                bytes from head_bytes to the end of the last slot before tail are at most
//                capacity, and eight more for each slot that a helper voided ahead of its claimant.
// Thread-safety: MpscRecordsWriter: any number of threads at once. MpscRecordsReader: one thread.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include "quire/ipc/core/lap_word.h"
#include "quire/ipc/core/mpsc_control.h"
#include "quire/ipc/step.h"

namespace quire::ipc::internal {

// offset  bytes  field
//      0      8  word    lap_word.h
//      8      8  end     position of the byte after the record, a multiple of 8; bit 0: void
//     16      8  length  of what is published, in bytes; valid once published
//     24      8  zero
struct RecordSlot {
  std::atomic<std::uint64_t> word;
  std::atomic<std::uint64_t> end;
  std::atomic<std::uint64_t> length;
  std::uint64_t zero;
};
static_assert(sizeof(RecordSlot) == 32);

inline constexpr std::uint64_t kRecordUnitBytes = 8;
inline constexpr std::uint64_t kVoidEndBit = 1;

constexpr std::uint64_t round_to_unit(std::uint64_t bytes) noexcept {
  return bytes == 0 ? kRecordUnitBytes : (bytes + kRecordUnitBytes - 1) & ~(kRecordUnitBytes - 1);
}
constexpr std::uint64_t position_of(std::uint64_t end) noexcept {
  return end & ~(kRecordUnitBytes - 1);
}

// Where everything is. Never read from shared memory.
struct MpscRecordsPlace {
  MpscControl* control = nullptr;
  RecordSlot* slots = nullptr;
  std::uint64_t slot_count = 0;      // A power of two, 2 at least.
  std::byte* bytes = nullptr;        // Mapped twice in a row.
  std::uint64_t capacity_bytes = 0;  // A power of two.

  [[nodiscard]] RecordSlot& slot(std::uint64_t index) const noexcept {
    return slots[index & (slot_count - 1)];
  }
  [[nodiscard]] std::uint64_t lap(std::uint64_t index) const noexcept {
    return index >> std::countr_zero(slot_count);
  }
  [[nodiscard]] std::byte* at(std::uint64_t position) const noexcept {
    return bytes + (position & (capacity_bytes - 1));
  }
};

// A record that is being written. REQUIRES: as MpscRecordsWriter says.
struct RecordClaim {
  std::uint64_t index = 0;
  std::span<std::byte> bytes;
};

class MpscRecordsWriter {
 public:
  MpscRecordsWriter() noexcept = default;
  MpscRecordsWriter(const MpscRecordsPlace& place, MemberWord self) noexcept
      : place_(place), self_(self) {}

  // Claims the next record, of `length_bytes`. kNothing: no slot or not enough bytes are free.
  // REQUIRES: length_bytes <= capacity_bytes.
  TryResult claim(std::uint64_t length_bytes, RecordClaim& claim) const noexcept;
  // Publishes the first `length_bytes` of what was claimed.
  void publish(const RecordClaim& claim, std::uint64_t length_bytes) const noexcept;
  void give_up(const RecordClaim& claim) const noexcept;

  [[nodiscard]] const MpscRecordsPlace& place() const noexcept { return place_; }

 private:
  // Whether the slot after `index` and the bytes are free.
  [[nodiscard]] TryResult has_room(std::uint64_t index, std::uint64_t start,
                                   std::uint64_t bytes) const noexcept;
  // Steps 1 and 2. False: somebody else was faster, in one or the other.
  bool take(std::uint64_t index, std::uint64_t start, std::uint64_t bytes) const noexcept;
  // Makes sure that the slot, which is not free, has its end.
  void settle(std::uint64_t index, std::uint64_t start) const noexcept;
  void pass(std::uint64_t tail) const noexcept {
    place_.control->tail.compare_exchange_strong(tail, tail + 1, std::memory_order_acq_rel);
  }

  MpscRecordsPlace place_;
  MemberWord self_ = kNobody;
};

class MpscRecordsReader {
 public:
  MpscRecordsReader() noexcept = default;
  // Takes up where the last reader left off. REQUIRES: the role of the reader.
  explicit MpscRecordsReader(const MpscRecordsPlace& place) noexcept;

  // Looks at the next record, passing over void ones. kDone: record() can be read.
  TryResult look() noexcept;
  [[nodiscard]] std::span<const std::byte> record() const noexcept { return record_; }
  // Gives it back. REQUIRES: look() said kDone.
  void release() noexcept;

  // As in mpsc_cells.h.
  [[nodiscard]] MemberWord blocked_by() const noexcept;
  bool abandon_dead(const Peers& peers) noexcept;
  [[nodiscard]] bool has_much_to_tell() const noexcept {
    return index_ - told_index_ >= place_.slot_count / 4 ||
           start_ - told_start_ >= place_.capacity_bytes / 4;
  }
  [[nodiscard]] bool has_to_tell() const noexcept { return index_ != told_index_; }
  void told() noexcept {
    told_index_ = index_;
    told_start_ = start_;
  }
  [[nodiscard]] bool is_sound() const noexcept;

 private:
  // The slot at index_ as it is now: kDone for a record, kNothing also for a void one, which sets
  // `is_void`.
  TryResult inspect(bool& is_void) noexcept;

  MpscRecordsPlace place_;
  std::uint64_t index_ = 0;
  std::uint64_t start_ = 0;  // Position of the record at index_.
  std::uint64_t end_ = 0;    // Of it, once look() or abandon_dead() found it.
  std::uint64_t told_index_ = 0;
  std::uint64_t told_start_ = 0;
  std::span<const std::byte> record_;
  bool corrupt_ = false;
};

}  // namespace quire::ipc::internal
