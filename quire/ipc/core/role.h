// SPDX-License-Identifier: Apache-2.0
//
// role: a place in a structure that one handle at a time may have, such as the writer of a ring.
//
//   kNobody --take()--> member --give_back()--> kNobody
//                          |
//                          '-- its process dies; the next take() replaces it
//
// A holder that is stopped is alive: its place is not taken.
//
// Thread-safety: any number of processes and threads take at once; one of them has it.
// Cost:          one compare-and-swap; asking whether the holder lives is a system call.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "quire/ipc/core/peers.h"

namespace quire::ipc::internal {

using RoleWord = std::atomic<MemberWord>;
static_assert(RoleWord::is_always_lock_free);

class Role {
 public:
  Role() noexcept = default;
  Role(Role&& other) noexcept
      : word_(std::exchange(other.word_, nullptr)), self_(other.self_), process_(other.process_) {}
  Role& operator=(Role&& other) noexcept;
  ~Role() { give_back(); }

  // Not held() when somebody else is alive and has it.
  // REQUIRES: `word` outlives the Role.
  [[nodiscard]] static Role take(RoleWord& word, const Peers& peers) noexcept;

  [[nodiscard]] bool held() const noexcept { return word_ != nullptr; }
  // In a child of fork(), which is not the holder, it only forgets the role.
  void give_back() noexcept;

 private:
  Role(RoleWord& word, MemberWord self, int process) noexcept
      : word_(&word), self_(self), process_(process) {}

  RoleWord* word_ = nullptr;
  MemberWord self_ = kNobody;
  int process_ = 0;
};

}  // namespace quire::ipc::internal
