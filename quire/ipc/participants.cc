// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/participants.h"

#include <utility>

#include "quire/ipc/internal/participant_table.h"
#include "quire/ipc/internal/watch.h"

namespace quire::ipc {

DeathHook::DeathHook(DeathHook&& other) noexcept
    : watch_(std::move(other.watch_)), number_(std::exchange(other.number_, 0)) {}

DeathHook& DeathHook::operator=(DeathHook&& other) noexcept {
  if (this != &other) {
    remove();
    watch_ = std::move(other.watch_);
    number_ = std::exchange(other.number_, 0);
  }
  return *this;
}

void DeathHook::remove() noexcept {
  if (const auto watch = number_ == 0 ? nullptr : watch_.lock()) {
    watch->remove(number_);
  }
  number_ = 0;
}

Participants::Participants(std::shared_ptr<internal::ParticipantTable> table, MemberId self)
    : table_(std::move(table)),
      watch_(std::make_shared<internal::Watch>(table_, self)),
      self_(self),
      slots_max_(static_cast<std::uint16_t>(table_->size())),
      segment_id_(table_->segment_id()) {}

Participants::~Participants() {
  watch_.reset();  // Hooks that outlive us find nobody.
  table_->leave(self_);
}

Liveness Participants::liveness(MemberId id) noexcept {
  return id == self_ ? Liveness::kAlive : table_->liveness(id);
}

MemberId Participants::member_in(std::uint16_t slot) const noexcept {
  return slot < slots_max_ ? table_->member_in(slot) : MemberId();
}

std::vector<Participant> Participants::list() {
  return table_->list();
}

DeathHook Participants::add_recovery(std::function<void(MemberId)> recover) {
  return {watch_, watch_->add(internal::Watch::Order::kRecovery,
                              [recover = std::move(recover)](const Participant& dead) {
                                recover(dead.id);
                              })};
}

DeathHook Participants::on_death(std::function<void(const Participant&)> tell) {
  return {watch_, watch_->add(internal::Watch::Order::kCallback, std::move(tell))};
}

std::size_t Participants::look() noexcept {
  return watch_->look(internal::Watch::Depth::kAll);
}

}  // namespace quire::ipc
