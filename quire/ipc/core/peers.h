// SPDX-License-Identifier: Apache-2.0
//
// peers: what a structure in shared memory has to know of its users: who am I, and who is dead.
//
// A member is 32 bits that a word of the structure can hold beside other things: a slot of the
// table of participants and how often that slot was given away, so that the word of a dead member
// is never taken for the living one that got its slot. 0 is nobody.
//
// Thread-safety: any thread.
#pragma once

#include <cstdint>

namespace quire::ipc::internal {

using MemberWord = std::uint32_t;
inline constexpr MemberWord kNobody = 0;

class Peers {
 public:
  Peers() = default;
  virtual ~Peers() = default;
  Peers(const Peers&) = delete;
  Peers& operator=(const Peers&) = delete;

  [[nodiscard]] virtual MemberWord self() const noexcept = 0;
  // Whether the process behind `member` has ended. Everything it stored is visible to a caller who
  // was told so. A word that names no member that ever was is dead: a hostile peer wrote it.
  // Cost: up to a system call.
  [[nodiscard]] virtual bool is_dead(MemberWord member) const noexcept = 0;
};

}  // namespace quire::ipc::internal
