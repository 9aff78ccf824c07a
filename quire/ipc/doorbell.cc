// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/doorbell.h"

#include <fmt/format.h>

#include <string>

#include "quire/sys/datagram.h"

namespace quire::ipc {

using internal::BellKind;
using internal::BellName;

Result<Doorbell> Doorbell::open(const Participants& participants) {
  const BellName name(participants.segment_id(), participants.self(), BellKind::kUser);
  const auto refuse = [&](sys::Errno cause) {
    return fail(sys::to_error(cause, "open a doorbell", std::string(name.view()),
                              "one doorbell serves all objects of an open segment"));
  };
  sys::Outcome<sys::Descriptor> socket = sys::receive_datagrams_at(name.view());
  if (!socket) {
    return refuse(socket.error());
  }
  sys::Outcome<sys::UnsharedDescriptor> unshared =
      sys::UnsharedDescriptor::adopt(std::move(*socket));
  if (!unshared) {
    return refuse(unshared.error());
  }
  return Doorbell(std::move(*unshared), participants.self());
}

void Doorbell::drain() const noexcept {
  sys::take_datagrams(socket_.get());
}

namespace internal {
namespace {

// One for the process and for ever; children of fork() may use it as well as their maker.
int sender() noexcept {
  static const sys::Outcome<sys::Descriptor> socket = sys::open_datagram_sender();
  return socket.has_value() ? socket->get() : -1;
}

}  // namespace

BellName::BellName(std::uint64_t segment_id, MemberId member, BellKind kind) noexcept {
  const auto written = fmt::format_to_n(text_.data(), text_.size(), "quire-ipc/{:016x}/{:08x}/{}",
                                        segment_id, member.word(), static_cast<char>(kind));
  length_ = written.size;
  static_assert(sizeof "quire-ipc/" + 16 + 1 + 8 + 1 + 1 <= std::tuple_size_v<decltype(text_)>);
}

void ring_bell(const BellName& name) noexcept {
  static_cast<void>(sys::send_datagram(sender(), name.view()));
}

void ring_bells(const Participants& participants, std::uint64_t bells) noexcept {
  for (unsigned slot = 0; slot < participants.slots_max(); ++slot) {
    if ((bells >> (slot % kBellBits) & 1U) == 0) {
      continue;
    }
    const MemberId member = participants.member_in(static_cast<std::uint16_t>(slot));
    if (!member.is_nobody()) {
      ring_bell(BellName(participants.segment_id(), member, BellKind::kUser));
    }
  }
}

}  // namespace internal

}  // namespace quire::ipc
