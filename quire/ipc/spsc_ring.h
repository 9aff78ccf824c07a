// SPDX-License-Identifier: Apache-2.0
//
// SpscRing<T>: objects of one type from one writer to one reader, in order, each exactly once.
// For records of any length see spsc_bytes.h; for many writers, mpsc_ring.h.
//
//   layout.add(ipc::SpscRing<Tick>::object("ticks", {.capacity = 4096, .type = "Tick"}));
//
//   auto writer = ipc::SpscRing<Tick>::writer(segment, "ticks").value();
//   writer.try_push(tick);                                  // a copy; or in place:
//   if (auto room = writer.reserve(); !room.empty()) { fill(room[0]); writer.commit(); }
//
//   auto reader = ipc::SpscRing<Tick>::reader(segment, "ticks").value();
//   Tick tick = reader.pop({.timeout = 1s}).value();        // a copy; or in place:
//   for (const Tick& tick : reader.peek()) use(tick);
//   reader.release(n);
//
//        head                    tail                   head + capacity
//   ------|=======================|......................|-----
//         |<- peek()              |<- reserve()
//         '-- release() -->       '-- commit() -->
//
// Life of an object:   reserved --commit()--> published --release()--> free
//   reserved   only the writer sees it; when it dies, it has never been there
//   published  stays, whoever dies, until a reader releases it
//   released   never seen again. A reader that dies between using and releasing an object leaves it
//              to its successor: release() is the acknowledgement
//
// One writer and one reader at a time: whoever asks for the place of a living one gets EBUSY, of a
// dead one the place, and goes on exactly where that one had published, or released. A stopped
// process is alive and keeps its place.
//
// What is shared, little more than two positions:
//   control, 256 bytes
//     0   8  tail: objects published since the beginning   8  4  writer: MemberId   12  4  wakes
//    64   8  head: objects released                       72  4  reader: MemberId   76  4  wakes
//   128  64  wait point of the reader                    192 64  wait point of the writer
//   objects at byte 256 (or T's alignment, if that is more): object n at n % capacity
//
// Invariants:    0 <= tail - head <= capacity, a power of two; both only grow. Each side believes
//                only its own position and checks the other's: one that cannot be makes the handle
//                is_corrupt(), and no byte outside the objects is ever touched.
// Thread-safety: a handle is for one thread at a time; writer and reader need nothing of each
//                other, in one process or in two. Not usable in a child of fork().
// Errors:        opening: EBUSY, ENOENT, kCorrupt, and what Segment::find says. Waiting forms:
//                ETIMEDOUT, kCorrupt. try_ forms: false and empty spans.
// Cost:          push or pop: a copy, and one store that the other side reads; the other side's
//                position is read only when the ring looks full, or empty. No system call unless
//                the other side sleeps (bench/ipc_bench).
// Safety:        what the other process writes into T are its bytes: T has no pointers, and a
//                reader that does not trust the writer checks a copy (try_pop), not the original.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "quire/ipc/core/ring_spec.h"
#include "quire/ipc/core/spsc_handles.h"

namespace quire::ipc {

template <typename T>
class SpscRing {
  static_assert(internal::kFitsSharedMemory<T>, "T must be trivially copyable and not a pointer");

 public:
  struct Options {
    std::uint64_t capacity = 1024;  // Objects; rounded up to a power of two.
    std::string type = {};          // T's name, for who is told that it does not fit.
  };
  [[nodiscard]] static ObjectSpec object(std::string name, const Options& options) {
    return internal::ring_spec(std::move(name), internal::element_of<T>(options.type), kShape,
                               internal::round_capacity(options.capacity));
  }

  class Writer : public internal::SpscWriterHandle {
   public:
    // Free places that follow each other, at most `count_max`: fewer where the ring ends, none
    // when it is full. They hold whatever was there before.
    [[nodiscard]] std::span<T> reserve(std::uint64_t count_max = 1) noexcept {
      const std::uint64_t index = core_.position() & mask_;
      const std::uint64_t room = core_.room(count_max);
      return {objects_ + index, std::min({count_max, room, mask_ + 1 - index})};
    }
    // Publishes the first `count` of what reserve() returned.
    void commit(std::uint64_t count = 1) noexcept { publish(count); }

    // False: the ring is full.
    bool try_push(const T& object) noexcept {
      if (core_.room(1) == 0) {
        return false;
      }
      std::memcpy(objects_ + (core_.position() & mask_), &object, sizeof(T));
      publish(1);
      return true;
    }
    // Waits for room. Errors: ETIMEDOUT; kCorrupt.
    Result<void> push(const T& object, const WaitOptions& options = {}) {
      if (!try_push(object)) [[unlikely]] {
        QUIRE_TRY(wait_for_room(1, options));
        try_push(object);
      }
      return {};
    }
    Result<void> wait(const WaitOptions& options = {}) { return wait_for_room(1, options); }
    // True: `bell` will ring when there is room. False: there is already; see doorbell.h.
    [[nodiscard]] bool arm(const Doorbell& bell) { return arm_for_room(1, bell); }

   private:
    friend class SpscRing;
    Writer() noexcept = default;

    T* objects_ = nullptr;
    std::uint64_t mask_ = 0;
  };

  class Reader : public internal::SpscReaderHandle {
   public:
    // Published objects that follow each other, as far as they are known; empty when there is none.
    [[nodiscard]] std::span<const T> peek() noexcept {
      const std::uint64_t index = core_.position() & mask_;
      return {objects_ + index, std::min(published(), mask_ + 1 - index)};
    }
    // Gives the first `count` of what peek() returned back.
    void release(std::uint64_t count = 1) noexcept { give_back(count); }

    // False: the ring is empty.
    bool try_pop(T& object) noexcept {
      if (published() == 0) {
        return false;
      }
      std::memcpy(&object, objects_ + (core_.position() & mask_), sizeof(T));
      give_back(1);
      return true;
    }
    // Waits for an object. Errors: ETIMEDOUT; kCorrupt.
    Result<T> pop(const WaitOptions& options = {}) {
      if (core_.known() == 0) {
        QUIRE_TRY(wait(options));
      }
      Result<T> object(objects_[core_.position() & mask_]);
      give_back(1);
      return object;
    }

   private:
    friend class SpscRing;
    Reader() noexcept = default;

    const T* objects_ = nullptr;
    std::uint64_t mask_ = 0;
  };

  [[nodiscard]] static Result<Writer> writer(const Segment& segment, std::string_view name) {
    return open<Writer>(segment, name);
  }
  [[nodiscard]] static Result<Reader> reader(const Segment& segment, std::string_view name) {
    return open<Reader>(segment, name);
  }

 private:
  static constexpr internal::RingShape kShape{.kind = ObjectKind::kSpscRing,
                                              .control_bytes = sizeof(internal::SpscControl),
                                              .stride_bytes = sizeof(T),
                                              .alignment_bytes = alignof(T)};

  template <typename Handle>
  static Result<Handle> open(const Segment& segment, std::string_view name) {
    ObjectRef object = QUIRE_TRY(
        internal::find_ring(segment, name, ObjectKind::kSpscRing, internal::element_of<T>({})));
    const internal::RingPlace place = internal::ring_place(object, kShape);
    Handle handle;
    handle.objects_ = reinterpret_cast<T*>(place.elements);
    handle.mask_ = place.capacity - 1;
    QUIRE_TRY(Handle::open(handle, std::move(object), place.capacity));
    return handle;
  }
};

}  // namespace quire::ipc
