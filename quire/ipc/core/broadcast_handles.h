// SPDX-License-Identifier: Apache-2.0
//
// broadcast_handles: what Broadcast and Blackboard have in common: the shape of their slots, the
// writer's seat, and the waiting of readers.
//
// Thread-safety: one thread at a time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <utility>

#include "quire/ipc/core/broadcast_core.h"
#include "quire/ipc/core/ring_spec.h"
#include "quire/ipc/core/seat.h"

namespace quire::ipc::internal {

// Objects are copied as whole words, and slots keep to lines of their own.
template <typename T>
struct BroadcastShape {
  static constexpr std::size_t kAlignment = std::max<std::size_t>(64, alignof(T));
  static constexpr std::size_t kPayloadOffset = std::max<std::size_t>(8, alignof(T));
  static constexpr std::size_t kWordsBytes = (sizeof(T) + 7) & ~std::size_t{7};

  static constexpr RingShape shape(ObjectKind kind) noexcept {
    return {.kind = kind,
            .control_bytes = sizeof(BroadcastControl),
            .stride_bytes = (kPayloadOffset + kWordsBytes + kAlignment - 1) & ~(kAlignment - 1),
            .alignment_bytes = kAlignment};
  }
  static BroadcastPlace place(const ObjectRef& object, ObjectKind kind) noexcept {
    const RingPlace slots = ring_place(object, shape(kind));
    return {.control = reinterpret_cast<BroadcastControl*>(object.bytes().data()),
            .slots = slots.elements,
            .slot_count = slots.capacity,
            .stride_bytes = shape(kind).stride_bytes,
            .payload_offset_bytes = kPayloadOffset};
  }
};

class BroadcastWriterHandle {
 protected:
  BroadcastWriterHandle() noexcept = default;
  static Result<void> open(BroadcastWriterHandle& handle, ObjectRef object,
                           const BroadcastPlace& place) {
    handle.seat_ = QUIRE_TRY(Seat::take(std::move(object), &place.control->writer, "writer",
                                        place.control->news, place.control->news));
    handle.control_ = place.control;
    handle.core_ = BroadcastWriterCore(place);
    return {};
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
  static Result<void> open(BroadcastReaderHandle& handle, ObjectRef object,
                           const BroadcastPlace& place) {
    handle.seat_ = QUIRE_TRY(
        Seat::take(std::move(object), nullptr, "reader", place.control->news, place.control->news));
    handle.control_ = place.control;
    handle.core_ = BroadcastReaderCore(place);
    return {};
  }
  // Waits until object `number` has been published, or the slot says something else.
  Result<void> wait_for(std::uint64_t number, const WaitOptions& options) {
    const auto ready = [&] { return core_.look(number) != Sight::kNotYet; };
    const auto wish = [this](auto& is_ready) {
      return want_wake_ups(control_->writer_wakes, is_ready);
    };
    if (!wait_wanted(wish, control_->news, options, ready, [] {})) {
      return fail(timed_out(seat_.object(), "read"));
    }
    return {};
  }
  bool arm_for(std::uint64_t number, const Doorbell& bell) {
    const auto ready = [&] { return core_.look(number) != Sight::kNotYet; };
    return want_wake_ups(control_->writer_wakes, ready) != Want::kReady &&
           arm(control_->news, bell, ready);
  }

  Seat seat_;
  BroadcastControl* control_ = nullptr;
  BroadcastReaderCore core_;
};

}  // namespace quire::ipc::internal
