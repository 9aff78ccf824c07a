// SPDX-License-Identifier: Apache-2.0
//
// mpsc_cells: a ring of cells of one size for many writers and one reader.
//
//            head                      tail
//   ---|------|-------------------------|-----------|
//   free(l+1) | published claimed void   | free(l)      l = position / cells, the lap
//
// A writer claims the cell at tail by changing its word (lap_word.h) from free to "claimed by me",
// fills it and publishes it. The word decides; tail only tells where to look, and whoever finds the
// cell at tail taken moves tail on. So a writer may die between any two operations: up to the claim
// nothing has happened, from the claim on the cell says whose it is.
//
// The reader takes cells in order. It waits for a claimed one, and passes it over when its member
// is dead. Releasing a cell makes it free for the next lap; the shared head follows, and a reader
// that comes after a death between the two sees from the cell's lap that it was released.
//
// Invariants:    head <= tail + 1 <= head + cells + 1; cells before head are free for the next lap;
//                from tail on they are free, but for at most one at tail itself.
// Thread-safety: MpscCellsWriter: any number of threads at once. MpscCellsReader: one thread.
// Source:        Vyukov, "Bounded MPMC queue" (2010), whose sequence per cell this is; that the
//                claimant's name is claimed with it, and that others help, is ours.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "quire/ipc/core/lap_word.h"
#include "quire/ipc/core/mpsc_control.h"
#include "quire/ipc/step.h"

namespace quire::ipc::internal {

// Where the cells are. Never read from shared memory.
//
// offset  bytes   field
//      0      8   word
//      8      n   the object; then nothing up to stride
struct MpscCellsPlace {
  MpscControl* control = nullptr;
  std::byte* cells = nullptr;
  std::uint64_t cell_count = 0;  // A power of two, 2 at least.
  std::size_t stride_bytes = 0;
  std::size_t payload_offset_bytes = 8;  // More where the object wants its own alignment.

  [[nodiscard]] std::byte* cell(std::uint64_t position) const noexcept {
    return cells + (position & (cell_count - 1)) * stride_bytes;
  }
  [[nodiscard]] std::atomic<std::uint64_t>& word(std::uint64_t position) const noexcept {
    return *reinterpret_cast<std::atomic<std::uint64_t>*>(cell(position));
  }
  [[nodiscard]] std::byte* payload(std::uint64_t position) const noexcept {
    return cell(position) + payload_offset_bytes;
  }
  [[nodiscard]] std::uint64_t lap(std::uint64_t position) const noexcept {
    return position >> std::countr_zero(cell_count);
  }
};

class MpscCellsWriter {
 public:
  MpscCellsWriter() noexcept = default;
  MpscCellsWriter(const MpscCellsPlace& place, MemberWord self) noexcept
      : place_(place), self_(self) {}

  // Claims the next cell. kNothing: the ring is full.
  TryResult claim(std::uint64_t& position) const noexcept {
    for (int round = 0; round < kClaimRoundsMax; ++round) {
      // Acquire: pairs with the release in pass(): the cells before are claimed.
      const std::uint64_t tail = place_.control->tail.load(std::memory_order_acquire);
      std::atomic<std::uint64_t>& word = place_.word(tail);
      const std::uint64_t lap = place_.lap(tail);
      // Acquire: pairs with the release of the reader, who has read what we will write over.
      std::uint64_t seen = word.load(std::memory_order_acquire);
      const std::int32_t ahead = laps_ahead(seen, lap);
      if (ahead < 0) {
        return ahead == -1 ? TryResult::kNothing : TryResult::kCorrupt;
      }
      if (seen == free_word(lap)) {
        QUIRE_IPC_STEP("mpsc.claim");
        if (word.compare_exchange_strong(seen, claimed_word(lap, self_),
                                         std::memory_order_acquire)) {
          QUIRE_IPC_STEP("mpsc.claimed");
          pass(tail);
          QUIRE_IPC_STEP("mpsc.passed");
          position = tail;
          return TryResult::kDone;
        }
      }
      pass(tail);
    }
    return TryResult::kNothing;
  }

  // REQUIRES: claimed by this member and not yet published or given up; the object is written.
  void publish(std::uint64_t position) const noexcept {
    QUIRE_IPC_STEP("mpsc.publish");
    // Release: pairs with the acquire in MpscCellsReader::look().
    place_.word(position).store(published_word(place_.lap(position), self_),
                                std::memory_order_release);
    QUIRE_IPC_STEP("mpsc.published");
  }
  // REQUIRES: as publish(), but for the object.
  void give_up(std::uint64_t position) const noexcept {
    QUIRE_IPC_STEP("mpsc.give_up");
    place_.word(position).store(void_word(place_.lap(position)), std::memory_order_release);
    QUIRE_IPC_STEP("mpsc.given_up");
  }

  [[nodiscard]] const MpscCellsPlace& place() const noexcept { return place_; }

 private:
  // Moves tail past a cell that is taken, unless somebody else has.
  void pass(std::uint64_t tail) const noexcept {
    place_.control->tail.compare_exchange_strong(tail, tail + 1, std::memory_order_acq_rel);
  }

  MpscCellsPlace place_;
  MemberWord self_ = kNobody;
};

class MpscCellsReader {
 public:
  MpscCellsReader() noexcept = default;
  // Takes up where the last reader left off. REQUIRES: the role of the reader.
  explicit MpscCellsReader(const MpscCellsPlace& place) noexcept;

  // Looks at the next cell, passing over what was given up. kDone: position() can be read.
  TryResult look() noexcept {
    // More void cells in a row than there are cells: a peer makes them for fun.
    for (std::uint64_t passed = 0; passed <= place_.cell_count; ++passed) {
      // Acquire: pairs with the release in publish().
      const std::uint64_t seen = place_.word(head_).load(std::memory_order_acquire);
      const std::uint64_t lap = place_.lap(head_);
      if (laps_ahead(seen, lap) != 0 || corrupt_) [[unlikely]] {
        corrupt_ = true;
        return TryResult::kCorrupt;
      }
      if (!is_published(seen)) {
        return member_of(seen) == kNobody ? TryResult::kNothing : TryResult::kBlocked;
      }
      if (member_of(seen) != kNobody) {
        return TryResult::kDone;
      }
      release();
    }
    return TryResult::kNothing;
  }

  // Who keeps us waiting after kBlocked; kNobody when it is done by now.
  [[nodiscard]] MemberWord blocked_by() const noexcept;
  // Passes over the next cell if it is claimed by a member that is dead. True: it did.
  bool abandon_dead(const Peers& peers) noexcept;

  [[nodiscard]] std::uint64_t position() const noexcept { return head_; }
  [[nodiscard]] const std::byte* payload() const noexcept { return place_.payload(head_); }

  // Gives the cell at position() back. REQUIRES: look() said kDone.
  void release() noexcept {
    QUIRE_IPC_STEP("mpsc.release");
    // Release: pairs with the acquire in claim(): whoever writes here next, writes after our reads.
    place_.word(head_).store(free_word(place_.lap(head_) + 1), std::memory_order_release);
    QUIRE_IPC_STEP("mpsc.freed");
    ++head_;
    place_.control->head.store(head_, std::memory_order_release);
    QUIRE_IPC_STEP("mpsc.released");
  }

  // Whether so much was released since told() that writers should know: a quarter, or anything.
  [[nodiscard]] bool has_much_to_tell() const noexcept {
    return head_ - told_ >= place_.cell_count / 4;
  }
  [[nodiscard]] bool has_to_tell() const noexcept { return head_ != told_; }
  void told() noexcept { told_ = head_; }

  // Whether all words fit the invariants above, read while nobody uses the ring.
  [[nodiscard]] bool is_sound() const noexcept;

 private:
  MpscCellsPlace place_;
  std::uint64_t head_ = 0;
  std::uint64_t told_ = 0;
  bool corrupt_ = false;
};

}  // namespace quire::ipc::internal
