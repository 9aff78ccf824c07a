// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/core/seat.h"

#include <fmt/format.h>

namespace quire::ipc::internal {
namespace {

std::string subject_of(const ObjectRef& object) {
  return object.is_open() ? object.spec().name : "closed";
}

Error busy(const ObjectRef& object, std::string_view what, MemberId holder) {
  return Error(
      {.code = std::make_error_code(std::errc::device_or_resource_busy),
       .operation = fmt::format("{} of {}", what, name_of(object.spec().kind)),
       .subject = subject_of(object),
       .cause = fmt::format("there is one, participant {}, and it is alive", holder.slot()),
       .remedy = "close that one first, or let its process end"});
}

}  // namespace

Seat& Seat::operator=(Seat&& other) noexcept {
  if (this != &other) {
    role_ = std::move(other.role_);
    recovery_ = std::move(other.recovery_);
    object_ = std::move(other.object_);
    notifies_ = other.notifies_;
  }
  return *this;
}

Result<Seat> Seat::take(ObjectRef object, RoleWord* role, std::string_view what, WaitPoint& first,
                        WaitPoint& second) {
  Seat seat;
  seat.notifies_ = how_to_notify();
  Participants& participants = object.participants();
  if (role != nullptr) {
    seat.role_ = Role::take(*role, SegmentPeers(participants));
    if (!seat.role_.held()) {
      return fail(busy(object, what, MemberId::from_word(role->load(std::memory_order_relaxed))));
    }
  }
  seat.recovery_ = participants.add_recovery([&participants, &first, &second](MemberId) {
    notify_after_death(first, participants);
    notify_after_death(second, participants);
  });
  seat.object_ = std::move(object);
  return seat;
}

Error timed_out(const ObjectRef& object, const char* operation) {
  return Error({.code = std::make_error_code(std::errc::timed_out),
                .operation = operation,
                .subject = subject_of(object),
                .cause = "the time was over before the other side came",
                .remedy = "ask again; `quire ipc stat` shows who is attached"});
}

Error corrupt(const ObjectRef& object, const char* operation) {
  return make_error(Errc::kCorrupt, operation, subject_of(object),
                    "positions in shared memory make no sense: a participant wrote over them",
                    "close it on all sides, and make the segment anew");
}

Error overtaken(const ObjectRef& object, const char* operation) {
  return Error({.code = std::make_error_code(std::errc::resource_unavailable_try_again),
                .operation = operation,
                .subject = subject_of(object),
                .cause = "the writer was faster than every copy",
                .remedy = "ask again, or let the writer pause"});
}

Error too_long(const ObjectRef& object, const char* operation, std::uint64_t length_bytes,
               std::uint64_t length_bytes_max) {
  return make_error(
      Errc::kLimit, operation, subject_of(object),
      fmt::format("a record of {} bytes; the ring has room for {}", length_bytes, length_bytes_max),
      "give the ring a larger capacity_bytes");
}

}  // namespace quire::ipc::internal
