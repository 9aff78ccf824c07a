// SPDX-License-Identifier: Apache-2.0
//
// Doorbell: a descriptor that becomes readable when somebody notifies a WaitPoint that we have
// armed it for: for epoll, io_uring, asio and whatever else waits for descriptors.
//
//   auto bell = ipc::Doorbell::open(participants).value();
//   ... add bell.fd() to the event loop ...
//   for (;;) {
//     take whatever the rings have;
//     if (!ring.arm(bell)) continue;          // something came meanwhile
//     ... until bell.fd() is readable ...
//     bell.drain();
//   }
//
// It is a UNIX datagram socket whose name, outside the file system, follows from the segment and
// the participant: peers ring it without having been given anything, and nothing is left of it
// after kill -9. One bell serves all objects of a segment.
//
// A ring says "look again" and nothing more: it may come for nothing (anybody in this network
// namespace can send it), and it does not reach another network namespace at all. Nor does it come
// when the one who should ring is killed just before: recoveries ring then (see Participants). An
// event loop that has to be proof against a peer that is *stopped* there looks on a timer, too.
//
// Thread-safety: fd(), drain() and owner() from any thread.
// Cost:          arming is two read-modify-writes; ringing a system call for each armed bell.
// Errors:        open(): Result.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "quire/base/result.h"
#include "quire/ipc/participants.h"
#include "quire/sys/fork.h"

namespace quire::ipc {

class Doorbell {
 public:
  // Errors: EADDRINUSE when this participant has one already; EMFILE, ENFILE, ENOMEM.
  [[nodiscard]] static Result<Doorbell> open(const Participants& participants);

  // Readable once it was rung; -1 in a child of fork(), which is no participant.
  [[nodiscard]] int fd() const noexcept { return socket_.get(); }
  // Silences it. Never blocks.
  void drain() const noexcept;
  [[nodiscard]] MemberId owner() const noexcept { return owner_; }

 private:
  Doorbell(sys::UnsharedDescriptor socket, MemberId owner) noexcept
      : socket_(std::move(socket)), owner_(owner) {}

  sys::UnsharedDescriptor socket_;
  MemberId owner_;
};

namespace internal {

enum class BellKind : char {
  kUser = 'u',   // A Doorbell.
  kWatch = 'w',  // Of the thread that watches the participants.
};

// The name of a bell outside the file system.
class BellName {
 public:
  BellName(std::uint64_t segment_id, MemberId member, BellKind kind) noexcept;
  [[nodiscard]] std::string_view view() const noexcept { return {text_.data(), length_}; }

 private:
  std::array<char, 48> text_{};
  std::size_t length_ = 0;
};

// Rings it once, if there is one. Never blocks: a bell that is full has been heard.
void ring_bell(const BellName& name) noexcept;

inline constexpr unsigned kBellBits = 64;

[[nodiscard]] constexpr std::uint64_t bell_bit(MemberId member) noexcept {
  return std::uint64_t{1} << (member.slot() % kBellBits);
}
// Rings every participant whose bit is set.
void ring_bells(const Participants& participants, std::uint64_t bells) noexcept;

}  // namespace internal

}  // namespace quire::ipc
