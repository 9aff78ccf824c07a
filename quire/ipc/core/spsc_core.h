// SPDX-License-Identifier: Apache-2.0
//
// spsc_core: the two positions of a ring with one writer and one reader. What a unit is, an object
// or a byte, is for the rings built on it to say.
//
//        head                    tail                   head + capacity
//   ------|=======================|......................|
//         '- published, unread ---'- the writer's own ---'
//
// Positions count units from the beginning of time and never wrap (2^64 bytes at 100 GB/s last six
// years). Each side keeps its own position and the last one it saw of the other in private memory,
// so that the line of the other side is read only when the ring looks full, or empty, and a peer
// that scribbles over the shared words cannot move it.
//
// Invariants:    0 <= tail - head <= capacity; tail is stored by the writer alone, head by the
//                reader alone; neither ever falls.
// A death leaves: the positions as they were last published. What a writer had reserved nobody
//                sees; what a reader had not released the next one sees again.
// Thread-safety: one thread per side.
// Source:        Lamport, "Proving the Correctness of Multiprocess Programs" (1977); the cached
//                positions are those of Lee, Bu, Chandranmenon, "Lock-free multicore ring" (2009).
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "quire/base/check.h"
#include "quire/ipc/core/role.h"
#include "quire/ipc/core/wake.h"
#include "quire/ipc/step.h"

namespace quire::ipc::internal {

// offset  bytes  field      written by
//      0      8  tail       the writer: units published
//      8      4  writer     takers of the role
//     12      4  wakes      a reader that may sleep: the writer notifies (see wake.h)
//     64      8  head       the reader: units released
//     72      4  reader     takers of the role
//     76      4  wakes      a writer that may sleep: the reader notifies
//    128     64  not_empty  what a reader sleeps on
//    192     64  not_full   what a writer sleeps on
struct SpscControl {
  alignas(64) std::atomic<std::uint64_t> tail;
  RoleWord writer;
  WakeWord writer_wakes;
  alignas(64) std::atomic<std::uint64_t> head;
  RoleWord reader;
  WakeWord reader_wakes;
  alignas(64) WaitPoint not_empty;
  alignas(64) WaitPoint not_full;
};
static_assert(sizeof(SpscControl) == 256);
static_assert(offsetof(SpscControl, writer) == 8 && offsetof(SpscControl, writer_wakes) == 12);
static_assert(offsetof(SpscControl, head) == 64);
static_assert(offsetof(SpscControl, reader) == 72 && offsetof(SpscControl, reader_wakes) == 76);
static_assert(offsetof(SpscControl, not_empty) == 128);
static_assert(offsetof(SpscControl, not_full) == 192);
static_assert(std::atomic<std::uint64_t>::is_always_lock_free);

class SpscWriterCore {
 public:
  SpscWriterCore() noexcept = default;
  // Takes up where the last writer published. corrupt() tells when the words make no sense.
  SpscWriterCore(SpscControl& control, std::uint64_t capacity) noexcept
      : control_(&control),
        capacity_(capacity),
        tail_(control.tail.load(std::memory_order_acquire)),
        head_seen_(control.head.load(std::memory_order_acquire)),
        corrupt_(tail_ - head_seen_ > capacity) {}

  [[nodiscard]] std::uint64_t position() const noexcept { return tail_; }
  [[nodiscard]] bool corrupt() const noexcept { return corrupt_; }
  [[nodiscard]] std::uint64_t capacity() const noexcept { return capacity_; }

  // Units that may be written at position(), looking at the reader only when fewer than `wanted`
  // are known to be free.
  [[nodiscard]] std::uint64_t room(std::uint64_t wanted) noexcept {
    const std::uint64_t known = capacity_ - (tail_ - head_seen_);
    return known >= wanted ? known : look();
  }

  // Makes `units` more visible. REQUIRES: room() told of them.
  void publish(std::uint64_t units) noexcept {
    QUIRE_DCHECK_LE(units, capacity_ - (tail_ - head_seen_));
    QUIRE_IPC_STEP("spsc.publish");
    tail_ += units;
    // Release: pairs with the reader's acquire in look(); the bytes come before the position.
    control_->tail.store(tail_, std::memory_order_release);
    QUIRE_IPC_STEP("spsc.published");
  }

 private:
  std::uint64_t look() noexcept {
    // Acquire: pairs with the release in SpscReaderCore::release(); what the reader read there, it
    // has read before we write over it.
    const std::uint64_t head = control_->head.load(std::memory_order_acquire);
    if (head - head_seen_ > tail_ - head_seen_ || corrupt_) [[unlikely]] {
      corrupt_ = true;
      return 0;
    }
    head_seen_ = head;
    return capacity_ - (tail_ - head_seen_);
  }

  SpscControl* control_ = nullptr;
  std::uint64_t capacity_ = 0;
  std::uint64_t tail_ = 0;
  std::uint64_t head_seen_ = 0;
  bool corrupt_ = false;
};

class SpscReaderCore {
 public:
  SpscReaderCore() noexcept = default;
  // Takes up where the last reader released.
  SpscReaderCore(SpscControl& control, std::uint64_t capacity) noexcept
      : control_(&control),
        capacity_(capacity),
        head_(control.head.load(std::memory_order_acquire)),
        tail_seen_(head_),
        corrupt_(control.tail.load(std::memory_order_acquire) - head_ > capacity) {}

  [[nodiscard]] std::uint64_t position() const noexcept { return head_; }
  [[nodiscard]] bool corrupt() const noexcept { return corrupt_; }

  [[nodiscard]] std::uint64_t capacity() const noexcept { return capacity_; }

  // Published units from position() on that are known of without a look at the writer's line.
  [[nodiscard]] std::uint64_t known() const noexcept { return tail_seen_ - head_; }
  // Published units from position() on; looks at the writer only when none is known.
  [[nodiscard]] std::uint64_t ready() noexcept { return known() != 0 ? known() : look(); }

  // What the units say makes no sense, which the ring sees and this cannot: nothing is ready().
  void condemn() noexcept {
    corrupt_ = true;
    tail_seen_ = head_;
  }

  // Gives the space back. REQUIRES: ready() told of them.
  void release(std::uint64_t units) noexcept {
    QUIRE_DCHECK_LE(units, tail_seen_ - head_);
    QUIRE_IPC_STEP("spsc.release");
    head_ += units;
    // Release: pairs with the writer's acquire in look().
    control_->head.store(head_, std::memory_order_release);
    QUIRE_IPC_STEP("spsc.released");
  }

 private:
  std::uint64_t look() noexcept {
    // Acquire: pairs with the release in SpscWriterCore::publish().
    const std::uint64_t tail = control_->tail.load(std::memory_order_acquire);
    if (tail - head_ > capacity_ || corrupt_) [[unlikely]] {
      corrupt_ = true;
      return 0;
    }
    tail_seen_ = tail;
    return tail_seen_ - head_;
  }

  SpscControl* control_ = nullptr;
  std::uint64_t capacity_ = 0;
  std::uint64_t head_ = 0;
  std::uint64_t tail_seen_ = 0;
  bool corrupt_ = false;
};

}  // namespace quire::ipc::internal
