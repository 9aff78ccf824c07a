// SPDX-License-Identifier: Apache-2.0
//
// seat: the place of a handle at an object of a segment: it keeps the object mapped, may hold a
// role, and lets sleepers look again when a participant dies.
//
// A publisher that dies between its store and its wake-up leaves others asleep. So each seat adds a
// recovery that notifies both wait points of its object at every death.
//
// Thread-safety: as the handle it belongs to.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "quire/base/result.h"
#include "quire/ipc/core/peers.h"
#include "quire/ipc/core/role.h"
#include "quire/ipc/core/wake.h"
#include "quire/ipc/object.h"
#include "quire/ipc/participants.h"
#include "quire/ipc/wait_point.h"

namespace quire::ipc::internal {

// Participants as the cores see them.
class SegmentPeers final : public Peers {
 public:
  explicit SegmentPeers(Participants& participants) noexcept : participants_(&participants) {}
  [[nodiscard]] MemberWord self() const noexcept override { return participants_->self().word(); }
  [[nodiscard]] bool is_dead(MemberWord member) const noexcept override {
    return !participants_->is_alive(MemberId::from_word(member));
  }

 private:
  Participants* participants_;
};

class Seat {
 public:
  Seat() noexcept = default;
  Seat(Seat&&) noexcept = default;
  Seat& operator=(Seat&& other) noexcept;  // Leaves the old place first, and in order.
  ~Seat() = default;

  // Errors: EBUSY when `role` has a living holder; `what` names the role, "reader of the ring".
  [[nodiscard]] static Result<Seat> take(ObjectRef object, RoleWord* role, std::string_view what,
                                         WaitPoint& first, WaitPoint& second);

  [[nodiscard]] const ObjectRef& object() const noexcept { return object_; }
  [[nodiscard]] Participants& participants() const noexcept { return object_.participants(); }
  [[nodiscard]] SegmentPeers peers() const noexcept { return SegmentPeers(participants()); }
  [[nodiscard]] MemberWord self() const noexcept { return participants().self().word(); }
  [[nodiscard]] Notifies notifies() const noexcept { return notifies_; }

 private:
  Notifies notifies_ = Notifies::kAlways;
  // In the order of leaving, from the last: the role, the recovery, the mapping.
  ObjectRef object_;
  DeathHook recovery_;
  Role role_;
};

// What the waiting forms of an operation return when they come back with nothing.
[[nodiscard]] Error timed_out(const ObjectRef& object, const char* operation);
[[nodiscard]] Error corrupt(const ObjectRef& object, const char* operation);
[[nodiscard]] Error overtaken(const ObjectRef& object, const char* operation);
[[nodiscard]] Error too_long(const ObjectRef& object, const char* operation,
                             std::uint64_t length_bytes, std::uint64_t length_bytes_max);

}  // namespace quire::ipc::internal
