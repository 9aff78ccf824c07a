// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/core/role.h"

#include "quire/ipc/step.h"
#include "quire/sys/process.h"

namespace quire::ipc::internal {

Role& Role::operator=(Role&& other) noexcept {
  if (this != &other) {
    give_back();
    word_ = std::exchange(other.word_, nullptr);
    self_ = other.self_;
    process_ = other.process_;
  }
  return *this;
}

Role Role::take(RoleWord& word, const Peers& peers) noexcept {
  const MemberWord self = peers.self();
  MemberWord holder = word.load(std::memory_order_acquire);
  if (holder != kNobody && !peers.is_dead(holder)) {
    return {};
  }
  QUIRE_IPC_STEP("role.take");
  // Acquire: pairs with the release in give_back(). Losing to another taker means that a living
  // one has it now.
  if (!word.compare_exchange_strong(holder, self, std::memory_order_acq_rel)) {
    return {};
  }
  QUIRE_IPC_STEP("role.taken");
  return {word, self, sys::process_id()};
}

void Role::give_back() noexcept {
  if (word_ == nullptr || process_ != sys::process_id()) {
    word_ = nullptr;
    return;
  }
  QUIRE_IPC_STEP("role.give_back");
  // Only what is still ours: a hostile peer may have written over it.
  MemberWord expected = self_;
  word_->compare_exchange_strong(expected, kNobody, std::memory_order_acq_rel);
  QUIRE_IPC_STEP("role.given_back");
  word_ = nullptr;
}

}  // namespace quire::ipc::internal
