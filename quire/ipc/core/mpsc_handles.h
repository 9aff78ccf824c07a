// SPDX-License-Identifier: Apache-2.0
//
// mpsc_handles: what the writers, and the readers, of both rings with many writers have in common.
//
// Thread-safety: MpscWriterHandle: any thread. MpscReaderHandle: one thread at a time.
#pragma once

#include <cstdint>
#include <utility>

#include "quire/ipc/core/mpsc_control.h"
#include "quire/ipc/core/seat.h"
#include "quire/ipc/core/wake.h"

namespace quire::ipc::internal {

// Looks in a row at one claim that is not published, before its member is asked after: a system
// call for each so many looks.
inline constexpr std::uint32_t kLooksPerQuestion = 1024;

class MpscWriterHandle {
 protected:
  MpscWriterHandle() noexcept = default;
  static Result<void> open(MpscWriterHandle& handle, ObjectRef object) {
    auto& control = *reinterpret_cast<MpscControl*>(object.bytes().data());
    handle.seat_ = QUIRE_TRY(
        Seat::take(std::move(object), nullptr, "writer", control.not_empty, control.not_full));
    handle.control_ = &control;
    return {};
  }

  void tell_reader() const noexcept {
    notify_if_wanted(control_->writers_wake, seat_.notifies(), control_->not_empty,
                     seat_.participants());
  }
  // Waits until `attempt`, which returns a TryResult, says something else than kNothing.
  template <typename Attempt>
  Result<void> wait_for_room(const WaitOptions& options, Attempt attempt) const {
    TryResult result = TryResult::kNothing;
    const auto ready = [&] {
      result = attempt();
      return result != TryResult::kNothing;
    };
    if (!wait_wanted(control_->reader_wakes, SharedWish(), control_->not_full, options, ready)) {
      return fail(timed_out(seat_.object(), "push"));
    }
    return result == TryResult::kCorrupt ? Result<void>(fail(corrupt(seat_.object(), "push")))
                                         : Result<void>();
  }

  Seat seat_;
  MpscControl* control_ = nullptr;
};

template <typename Core>
class MpscReaderHandle {
 public:
  // Waits until there is something to read. Claims of writers that die meanwhile are passed over.
  // Errors: ETIMEDOUT; kCorrupt.
  Result<void> wait(const WaitOptions& options = {}) {
    if (look() == TryResult::kNothing) {
      abandon();  // Of those who died before we came nobody will tell us.
    }
    const auto look_now = [this] { return look() != TryResult::kNothing; };
    const auto ask = [this] { abandon(); };
    if (!wait_wanted(control_->writers_wake, wish_, control_->not_empty, options, look_now, ask)) {
      return fail(timed_out(seat_.object(), "pop"));
    }
    return is_corrupt_ ? Result<void>(fail(corrupt(seat_.object(), "pop"))) : Result<void>();
  }
  // True: `bell` will ring when there is. False: there is already; see doorbell.h.
  [[nodiscard]] bool arm(const Doorbell& bell) {
    // The last look comes after the bell was armed: who dies later makes it ring.
    const auto ready = [this] {
      if (look() == TryResult::kNothing) {
        abandon();
      }
      return look() != TryResult::kNothing;
    };
    return arm_wanted(control_->writers_wake, wish_, control_->not_empty, bell, ready);
  }

  // Whether shared words made no sense; then there is never anything to read.
  [[nodiscard]] bool is_corrupt() const noexcept { return is_corrupt_; }
  // Claims of dead writers that were passed over, by this reader and those before it.
  [[nodiscard]] std::uint64_t abandoned() const noexcept {
    return control_->abandoned.load(std::memory_order_relaxed);
  }
  // Who has claimed the next place and not published it yet; nobody when nothing is claimed.
  [[nodiscard]] MemberId awaited() const noexcept {
    return MemberId::from_word(core_.blocked_by());
  }
  // Whether all shared words are as they should be. REQUIRES: nobody uses the ring meanwhile.
  [[nodiscard]] bool check_invariants() const noexcept { return core_.is_sound(); }

 protected:
  MpscReaderHandle() noexcept = default;
  template <typename Place>
  static Result<void> open(MpscReaderHandle& handle, ObjectRef object, const Place& place) {
    MpscControl& control = *place.control;
    handle.seat_ = QUIRE_TRY(Seat::take(std::move(object), &control.reader, "reader",
                                        control.not_empty, control.not_full));
    control.writers_wake.store(0, std::memory_order_relaxed);
    handle.control_ = &control;
    handle.core_ = Core(place);
    if (handle.core_.look() == TryResult::kCorrupt) {
      return fail(corrupt(handle.seat_.object(), "open the reader"));
    }
    return {};
  }

  // kDone: the core has something to read. kBlocked never: that is kNothing so far.
  TryResult look() noexcept {
    const TryResult result = core_.look();
    if (result == TryResult::kDone) [[likely]] {
      return result;
    }
    if (core_.has_to_tell()) {
      tell_writers(true);  // They may be asleep, and there is nothing more to read.
    }
    if (result == TryResult::kBlocked && ++blocked_looks_ % kLooksPerQuestion == 0) {
      abandon();
    }
    is_corrupt_ = is_corrupt_ || result == TryResult::kCorrupt;
    return result == TryResult::kBlocked ? TryResult::kNothing : result;
  }
  void give_back() noexcept {
    core_.release();
    wish_.found(control_->writers_wake);
    tell_writers(core_.has_much_to_tell());
  }

  Seat seat_;
  MpscControl* control_ = nullptr;
  Core core_;

 private:
  void abandon() noexcept {
    // A peer can make up claims of the dead for ever; we do not follow it there.
    for (std::uint32_t claims = 0; claims < kLooksPerQuestion; ++claims) {
      if (!core_.abandon_dead(seat_.peers())) {
        return;
      }
      tell_writers(true);
    }
  }
  void tell_writers(bool is_much) noexcept {
    notify_of_room(control_->reader_wakes, seat_.notifies(), control_->not_full,
                   seat_.participants(), is_much);
    if (is_much) {
      core_.told();
    }
  }

  WakeWish wish_;
  std::uint32_t blocked_looks_ = 0;
  bool is_corrupt_ = false;
};

}  // namespace quire::ipc::internal
