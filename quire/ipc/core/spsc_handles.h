// SPDX-License-Identifier: Apache-2.0
//
// spsc_handles: what the writers, and the readers, of all rings with one of each have in common:
// a seat, a core, and waiting.
//
// Thread-safety: one thread at a time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

#include "quire/ipc/core/pace.h"
#include "quire/ipc/core/seat.h"
#include "quire/ipc/core/spsc_core.h"
#include "quire/ipc/core/wake.h"

namespace quire::ipc::internal {

// A writer that waits goes on when this part of the ring has become free.
inline constexpr std::uint64_t kPartsToTell = 4;

class SpscWriterHandle {
 public:
  // Whether shared words made no sense; then there is never room.
  [[nodiscard]] bool is_corrupt() const noexcept { return core_.corrupt(); }

 protected:
  SpscWriterHandle() noexcept = default;
  // REQUIRES: the object begins with a SpscControl.
  static Result<void> open(SpscWriterHandle& handle, ObjectRef object, std::uint64_t capacity) {
    auto& control = *reinterpret_cast<SpscControl*>(object.bytes().data());
    handle.seat_ = QUIRE_TRY(Seat::take(std::move(object), &control.writer, "writer",
                                        control.not_empty, control.not_full));
    control.reader_wakes.store(0, std::memory_order_relaxed);
    handle.control_ = &control;
    handle.core_ = SpscWriterCore(control, capacity);
    if (handle.is_corrupt()) {
      return fail(corrupt(handle.seat_.object(), "open the writer"));
    }
    return {};
  }

  void publish(std::uint64_t units) noexcept {
    core_.publish(units);
    wish_.found(control_->reader_wakes);
    notify_if_wanted(control_->writer_wakes, seat_.notifies(), control_->not_empty,
                     seat_.participants());
  }
  Result<void> wait_for_room(std::uint64_t units, const WaitOptions& options) {
    const auto ready = [&] { return core_.room(units) >= units || core_.corrupt(); };
    const bool may_look_on = options.policy != WaitPolicy::kSleep && options.timeout.count() > 0;
    if (may_look_on && core_.room(units) < units) {
      const std::uint64_t much = std::max(units, core_.capacity() / kPartsToTell);
      look_patiently([&] { return core_.room(much) >= much || core_.corrupt(); });
    }
    if (!wait_wanted(control_->reader_wakes, wish_, control_->not_full, options, ready)) {
      return fail(timed_out(seat_.object(), "push"));
    }
    return core_.corrupt() ? Result<void>(fail(corrupt(seat_.object(), "push"))) : Result<void>();
  }
  bool arm_for_room(std::uint64_t units, const Doorbell& bell) {
    const auto ready = [&] { return core_.room(units) >= units || core_.corrupt(); };
    return arm_wanted(control_->reader_wakes, wish_, control_->not_full, bell, ready);
  }

  Seat seat_;
  SpscControl* control_ = nullptr;
  SpscWriterCore core_;

 private:
  WakeWish wish_;
};

class SpscReaderHandle {
 public:
  // Whether shared words made no sense; then there is never anything to read.
  [[nodiscard]] bool is_corrupt() const noexcept { return core_.corrupt(); }

  // Waits until there is something to read.
  // Errors: ETIMEDOUT; kCorrupt.
  Result<void> wait(const WaitOptions& options = {}) {
    const auto ready = [&] { return published() != 0 || core_.corrupt(); };
    if (core_.known() == 0 && options.timeout.count() > 0) {
      pace_.linger();
    }
    if (!wait_wanted(control_->writer_wakes, wish_, control_->not_empty, options, ready)) {
      return fail(timed_out(seat_.object(), "pop"));
    }
    return core_.corrupt() ? Result<void>(fail(corrupt(seat_.object(), "pop"))) : Result<void>();
  }
  // True: `bell` will ring when there is. False: there is already; see doorbell.h.
  [[nodiscard]] bool arm(const Doorbell& bell) {
    const auto ready = [&] { return published() != 0 || core_.corrupt(); };
    return arm_wanted(control_->writer_wakes, wish_, control_->not_empty, bell, ready);
  }

 protected:
  SpscReaderHandle() noexcept = default;
  static Result<void> open(SpscReaderHandle& handle, ObjectRef object, std::uint64_t capacity) {
    auto& control = *reinterpret_cast<SpscControl*>(object.bytes().data());
    handle.seat_ = QUIRE_TRY(Seat::take(std::move(object), &control.reader, "reader",
                                        control.not_empty, control.not_full));
    control.writer_wakes.store(0, std::memory_order_relaxed);
    handle.control_ = &control;
    handle.core_ = SpscReaderCore(control, capacity);
    if (handle.is_corrupt()) {
      return fail(corrupt(handle.seat_.object(), "open the reader"));
    }
    return {};
  }

  // Units that can be read.
  [[nodiscard]] std::uint64_t published() noexcept {
    const std::uint64_t known = core_.known();
    return known != 0 ? known : look();
  }
  void give_back(std::uint64_t units) noexcept {
    core_.release(units);
    message_units_ = units;
    tell_writer(core_.position() - told_ >= core_.capacity() / kPartsToTell);
  }

  Seat seat_;
  SpscControl* control_ = nullptr;
  SpscReaderCore core_;

 private:
  // A writer that sleeps is told of all that was released before there is nothing.
  std::uint64_t look() noexcept {
    const std::uint64_t units = core_.ready();
    if (units != 0) {
      wish_.found(control_->writer_wakes);
      pace_.found(units, message_units_);
    } else if (told_ != core_.position()) {
      tell_writer(true);
    }
    return units;
  }
  void tell_writer(bool is_much) noexcept {
    notify_of_room(control_->reader_wakes, seat_.notifies(), control_->not_full,
                   seat_.participants(), is_much);
    if (is_much) {
      told_ = core_.position();
    }
  }

  std::uint64_t told_ = 0;           // The position when the writer was last told of room.
  std::uint64_t message_units_ = 1;  // What was last given back at once.
  WakeWish wish_;
  ReaderPace pace_;
};

}  // namespace quire::ipc::internal
