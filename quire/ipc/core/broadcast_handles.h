// SPDX-License-Identifier: Apache-2.0
//
// broadcast_handles: what Broadcast and Blackboard do with bytes whose size they are told: the
// shape of their slots, the writer's seat, the waiting of readers, and what each kind of reader
// sees. The templates tell them the size of T, the C API that of its records.
//
// Errors:        as broadcast.h and blackboard.h say.
// Thread-safety: one thread at a time.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "quire/ipc/core/broadcast_core.h"
#include "quire/ipc/core/ring_spec.h"
#include "quire/ipc/core/seat.h"

namespace quire::ipc {

// What came with an object.
struct News {
  std::uint64_t number = 0;  // Of the object, counted from 0 since the beginning.
  std::uint64_t missed = 0;  // Objects between the one read before and this one.
};

}  // namespace quire::ipc

namespace quire::ipc::internal {

enum class BroadcastFrom : std::uint8_t { kNewest, kOldest };

// The values of a Blackboard: three writes' time for a copy; more would only take memory.
inline constexpr std::uint64_t kBlackboardValues = 4;

// Turns after which a reader gives up for the moment: nearly each means that the writer has gone
// round the ring. However fast that is, a reader does not hang.
inline constexpr int kReaderTurnsMax = 1000;

// Where an object begins in its slot, behind the sequence.
[[nodiscard]] inline std::size_t payload_offset(const ElementType& element) noexcept {
  return std::max<std::size_t>(8, element.alignment_bytes);
}
// Objects are copied as whole words, and slots keep to lines of their own.
[[nodiscard]] inline RingShape broadcast_shape(ObjectKind kind,
                                               const ElementType& element) noexcept {
  const std::size_t alignment = std::max<std::size_t>(64, element.alignment_bytes);
  const std::size_t words_bytes = (element.size_bytes + 7) & ~std::size_t{7};
  return {
      .kind = kind,
      .control_bytes = sizeof(BroadcastControl),
      .stride_bytes = (payload_offset(element) + words_bytes + alignment - 1) & ~(alignment - 1),
      .alignment_bytes = alignment};
}
[[nodiscard]] inline BroadcastPlace broadcast_place(const ObjectRef& object, ObjectKind kind,
                                                    const ElementType& element) noexcept {
  const RingShape shape = broadcast_shape(kind, element);
  const RingPlace slots = ring_place(object, shape);
  return {.control = reinterpret_cast<BroadcastControl*>(object.bytes().data()),
          .slots = slots.elements,
          .slot_count = slots.capacity,
          .stride_bytes = shape.stride_bytes,
          .payload_offset_bytes = payload_offset(element)};
}

class BroadcastWriterHandle {
 protected:
  BroadcastWriterHandle() noexcept = default;
  static Result<void> open(BroadcastWriterHandle& handle, const Segment& segment,
                           std::string_view name, ObjectKind kind, const ElementType& element) {
    ObjectRef object = QUIRE_TRY(find_ring(segment, name, kind, element));
    const BroadcastPlace place = broadcast_place(object, kind, element);
    handle.seat_ = QUIRE_TRY(Seat::take(std::move(object), &place.control->writer, "writer",
                                        place.control->news, place.control->news));
    handle.control_ = place.control;
    handle.core_ = BroadcastWriterCore(place);
    return {};
  }
  // A copy of a whole object.
  void publish_copy(const std::byte* object, std::size_t size_bytes) noexcept {
    copy_words_in(core_.begin(), object, size_bytes);
    publish_now();
  }
  void publish_now() noexcept {
    core_.publish();
    notify_if_wanted(control_->writer_wakes, seat_.notifies(), control_->news,
                     seat_.participants());
  }

  Seat seat_;
  BroadcastControl* control_ = nullptr;
  BroadcastWriterCore core_;
};

class BroadcastReaderHandle {
 protected:
  BroadcastReaderHandle() noexcept = default;
  static Result<void> open(BroadcastReaderHandle& handle, const Segment& segment,
                           std::string_view name, ObjectKind kind, const ElementType& element) {
    ObjectRef object = QUIRE_TRY(find_ring(segment, name, kind, element));
    const BroadcastPlace place = broadcast_place(object, kind, element);
    handle.seat_ = QUIRE_TRY(
        Seat::take(std::move(object), nullptr, "reader", place.control->news, place.control->news));
    handle.control_ = place.control;
    handle.core_ = BroadcastReaderCore(place);
    return {};
  }
  // Waits until object `number` has been published. Errors: ETIMEDOUT; kCorrupt when its slot says
  // what none does, so that whoever looks, sees nothing and waits again does not do so for ever.
  Result<void> wait_for(std::uint64_t number, const WaitOptions& options) {
    Sight sight = Sight::kNotYet;
    const auto ready = [&] {
      sight = core_.look(number);
      return sight != Sight::kNotYet;
    };
    if (!wait_wanted(control_->writer_wakes, SharedWish(), control_->news, options, ready)) {
      return fail(timed_out(seat_.object(), "read"));
    }
    return sight == Sight::kCorrupt ? Result<void>(fail(corrupt(seat_.object(), "read")))
                                    : Result<void>();
  }
  bool arm_for(std::uint64_t number, const Doorbell& bell) {
    const auto ready = [&] { return core_.look(number) != Sight::kNotYet; };
    return arm_wanted(control_->writer_wakes, SharedWish(), control_->news, bell, ready);
  }

  Seat seat_;
  BroadcastControl* control_ = nullptr;
  BroadcastReaderCore core_;
};

// Sees one object after the other, and what it missed.
class NewsReaderHandle : public BroadcastReaderHandle {
 protected:
  NewsReaderHandle() noexcept = default;
  // kNewest: the first object read is the first that is published from now on.
  void start(BroadcastFrom from) noexcept {
    const std::uint64_t tail = core_.tail();
    cursor_ = from == BroadcastFrom::kNewest ? tail : core_.oldest(tail);
  }
  // Moves the cursor to where something can be seen.
  Sight seek() noexcept {
    Sight sight = core_.look(cursor_);
    if (sight == Sight::kGone) {
      const std::uint64_t next = core_.after_gone(cursor_);
      missed_ += next - cursor_;
      cursor_ = next;
      sight = core_.look(cursor_);
    }
    is_corrupt_ = is_corrupt_ || sight == Sight::kCorrupt;
    return is_corrupt_ ? Sight::kCorrupt : sight;
  }
  // The next object, or nullptr.
  const std::byte* peek_now() noexcept {
    return seek() == Sight::kWhole ? core_.payload(cursor_) : nullptr;
  }
  // On to the next. False: what could be seen was not whole until now. REQUIRES: it was.
  bool finish_now() noexcept {
    const bool was_whole = core_.is_still(cursor_);
    if (was_whole) {
      news_ = {.number = cursor_, .missed = std::exchange(missed_, 0)};
      ++cursor_;
    }
    return was_whole;
  }
  // False: there is nothing new, or it was written over again and again.
  bool try_copy(std::byte* into, std::size_t size_bytes) noexcept {
    Sight sight = Sight::kGone;
    for (int turn = 0; turn < kReaderTurnsMax && sight == Sight::kGone; ++turn) {
      sight = copy_once(into, size_bytes);
    }
    return sight == Sight::kWhole;
  }
  Result<News> copy(std::byte* into, std::size_t size_bytes, const WaitOptions& options) {
    for (int turn = 0; turn < kReaderTurnsMax; ++turn) {
      if (copy_once(into, size_bytes) == Sight::kWhole) {
        return news_;
      }
      QUIRE_TRY(wait_for_next(options));
    }
    return fail(overtaken(seat_.object(), "read"));
  }
  // Errors: kCorrupt; ETIMEDOUT. Comes back at once from what is gone.
  Result<void> wait_for_next(const WaitOptions& options) {
    if (is_corrupt_) {
      return fail(corrupt(seat_.object(), "read"));
    }
    Result<void> waited = wait_for(cursor_, options);
    is_corrupt_ = !waited && waited.error().code() == Errc::kCorrupt;
    return waited;
  }

  std::uint64_t cursor_ = 0;
  std::uint64_t missed_ = 0;  // Since the last object that was read.
  News news_;                 // Of that.
  bool is_corrupt_ = false;

 private:
  // kGone: it was written over, before or meanwhile.
  Sight copy_once(std::byte* into, std::size_t size_bytes) noexcept {
    const Sight sight = seek();
    if (sight != Sight::kWhole) {
      return sight;
    }
    copy_words_out(into, core_.payload(cursor_), size_bytes);
    return finish_now() ? Sight::kWhole : Sight::kGone;
  }
};

// Sees the latest object.
class LatestReaderHandle : public BroadcastReaderHandle {
 protected:
  LatestReaderHandle() noexcept = default;
  // Its version; 0 and no copy before the first.
  Result<std::uint64_t> copy(std::byte* into, std::size_t size_bytes) {
    for (int turn = 0; turn < kReaderTurnsMax; ++turn) {
      std::uint64_t tail = core_.tail();
      const Sight next = core_.look(tail);
      if (next == Sight::kGone) {
        continue;  // The writer has gone round since; a tail that stays behind is nobody's.
      }
      if (next == Sight::kWhole) {
        ++tail;  // Its writer has not said so yet, or has died before it could.
      }
      if (tail == 0) {
        return std::uint64_t{0};
      }
      const Sight sight = core_.look(tail - 1);
      if (tail < version_ || sight == Sight::kCorrupt) {
        return fail(corrupt(seat_.object(), "read"));
      }
      if (sight != Sight::kWhole) {
        continue;  // It was written over since we asked which is the latest.
      }
      copy_words_out(into, core_.payload(tail - 1), size_bytes);
      if (core_.is_still(tail - 1)) {
        version_ = tail;
        return tail;
      }
    }
    return fail(overtaken(seat_.object(), "read"));
  }

  std::uint64_t version_ = 0;  // Of what copy() returned.
};

}  // namespace quire::ipc::internal
