// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/internal/participant_table.h"

#include <fmt/format.h>

#include <chrono>
#include <utility>

#include "quire/base/check.h"
#include "quire/ipc/step.h"
#include "quire/sys/file.h"
#include "quire/sys/socket.h"

namespace quire::ipc::internal {
namespace {

// More than honest peers can ever make necessary: attaching takes them milliseconds.
constexpr int kAttemptsMax = 10'000;

SlotState state_of(OwnedState word) noexcept {
  return static_cast<SlotState>(word.state());
}

OwnedState make_state(SlotState state, const ProcessTag& owner) noexcept {
  return {static_cast<unsigned>(state), owner};
}

bool is_taken(OwnedState word) noexcept {
  return state_of(word) == SlotState::kJoining || state_of(word) == SlotState::kLive;
}

std::int64_t now_ns() noexcept {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

ParticipantTable::ParticipantTable(std::shared_ptr<void> keeper, std::span<ParticipantSlot> slots,
                                   std::uint64_t segment_id)
    : keeper_(std::move(keeper)), slots_(slots), segment_id_(segment_id), known_(slots.size()) {
  QUIRE_CHECK(!slots.empty() && slots.size() <= kParticipantsMax);
}

ParticipantTable::Sighting ParticipantTable::sight(std::size_t slot) const noexcept {
  const ParticipantSlot& raw = slots_[slot];
  Sighting seen;
  for (int attempt = 0; attempt < kAttemptsMax; ++attempt) {
    // seq_cst: pairs with the claims, and with who removes the segment (segment_state.h).
    seen.state = OwnedState(raw.state.load());
    seen.generation = raw.generation.load() & MemberId::kGenerationMax;
    if (seen.state.word() == raw.state.load()) {
      break;
    }
  }
  return seen;
}

MemberId ParticipantTable::member_in(std::size_t slot) const noexcept {
  const Sighting seen = sight(slot);
  return state_of(seen.state) == SlotState::kLive && seen.generation != 0
             ? MemberId(static_cast<std::uint16_t>(slot), seen.generation)
             : MemberId();
}

MemberId ParticipantTable::last_in(std::size_t slot) const noexcept {
  const Sighting seen = sight(slot);
  const bool was_member =
      state_of(seen.state) == SlotState::kLive || state_of(seen.state) == SlotState::kDead;
  return was_member && seen.generation != 0
             ? MemberId(static_cast<std::uint16_t>(slot), seen.generation)
             : MemberId();
}

bool ParticipantTable::is_owner_alive(std::size_t slot, const ProcessTag& owner) noexcept {
  const MutexLock lock(mutex_);
  Known& known = known_[slot];
  if (!known.pidfd.is_open() || known.process != owner) {
    ProcessWatch watch = watch_process(owner);
    known = {.process = owner, .pidfd = std::move(watch.pidfd)};
    return watch.is_alive;
  }
  const auto state = sys::wait_readable(known.pidfd.get(), 0);
  return !state || *state == sys::PollResult::kTimedOut;
}

// Only the word of a dead process is changed; it cannot come back to it.
void ParticipantTable::mark_dead(std::size_t slot, OwnedState seen) noexcept {
  std::uint64_t expected = seen.word();
  slots_[slot].state.compare_exchange_strong(expected,
                                             make_state(SlotState::kDead, seen.owner()).word());
  QUIRE_IPC_STEP("participants.mark.dead");
}

Liveness ParticipantTable::liveness(MemberId id) noexcept {
  if (id.is_nobody() || id.slot() >= slots_.size()) {
    return Liveness::kDead;
  }
  const Sighting seen = sight(id.slot());
  if (state_of(seen.state) != SlotState::kLive || seen.generation != id.generation()) {
    return Liveness::kDead;
  }
  if (is_owner_alive(id.slot(), seen.state.owner())) {
    return Liveness::kAlive;
  }
  mark_dead(id.slot(), seen.state);
  return Liveness::kDead;
}

std::optional<Participant> ParticipantTable::look_at(std::size_t slot) noexcept {
  const Sighting seen = sight(slot);
  if (state_of(seen.state) == SlotState::kFree) {
    return std::nullopt;
  }
  const ParticipantSlot& raw = slots_[slot];
  const ProcessTag owner = seen.state.owner();
  const bool is_alive = is_taken(seen.state) && is_owner_alive(slot, owner);
  return Participant{.id = MemberId(static_cast<std::uint16_t>(slot), seen.generation),
                     .pid = static_cast<int>(owner.pid),
                     .start_ticks = owner.start_ticks,
                     .user = raw.user.load(std::memory_order_relaxed),
                     .attached_ns = raw.attached_ns.load(std::memory_order_relaxed),
                     .liveness = is_alive ? Liveness::kAlive : Liveness::kDead};
}

std::vector<Participant> ParticipantTable::list() noexcept {
  std::vector<Participant> all;
  for (std::size_t slot = 0; slot < slots_.size(); ++slot) {
    if (const auto participant = look_at(slot)) {
      all.push_back(*participant);
    }
  }
  return all;
}

bool ParticipantTable::has_living() noexcept {
  for (std::size_t slot = 0; slot < slots_.size(); ++slot) {
    const Sighting seen = sight(slot);
    if (is_taken(seen.state) && is_owner_alive(slot, seen.state.owner())) {
      return true;
    }
  }
  return false;
}

void ParticipantTable::mark_all_dead() noexcept {
  for (std::size_t slot = 0; slot < slots_.size(); ++slot) {
    const Sighting seen = sight(slot);
    if (is_taken(seen.state) && !is_owner_alive(slot, seen.state.owner())) {
      mark_dead(slot, seen.state);
    }
  }
}

// A free slot before one whose participant died, so that who died can be seen for a while; among
// equals the one that was used least, so that no generation comes around early.
std::optional<std::size_t> ParticipantTable::least_used_free() const noexcept {
  std::optional<std::size_t> best;
  std::pair<bool, std::uint32_t> best_cost;
  for (std::size_t slot = 0; slot < slots_.size(); ++slot) {
    const Sighting seen = sight(slot);
    const std::pair cost{state_of(seen.state) == SlotState::kDead, seen.generation};
    if (!is_taken(seen.state) && (!best || cost < best_cost)) {
      best = slot;
      best_cost = cost;
    }
  }
  return best;
}

// REQUIRES: the slot is joining, and ours.
MemberId ParticipantTable::enter(std::size_t slot, const ProcessTag& self) noexcept {
  ParticipantSlot& raw = slots_[slot];
  std::uint32_t generation = (raw.generation.load() + 1) & MemberId::kGenerationMax;
  generation += generation == 0 ? 1 : 0;
  raw.generation.store(generation);
  QUIRE_IPC_STEP("participants.attach.numbered");
  raw.user.store(sys::effective_user(), std::memory_order_relaxed);
  raw.attached_ns.store(now_ns(), std::memory_order_relaxed);
  QUIRE_IPC_STEP("participants.attach.described");
  raw.state.store(make_state(SlotState::kLive, self).word());
  QUIRE_IPC_STEP("participants.attach.live");
  return {static_cast<std::uint16_t>(slot), generation};
}

Result<MemberId> ParticipantTable::attach(const std::string& segment) {
  const ProcessTag self = QUIRE_TRY(own_process());
  mark_all_dead();
  for (int attempt = 0; attempt < kAttemptsMax; ++attempt) {
    const auto slot = least_used_free();
    if (!slot) {
      break;
    }
    std::uint64_t expected = slots_[*slot].state.load();
    QUIRE_IPC_STEP("participants.attach.chosen");
    if (!is_taken(OwnedState(expected)) &&
        slots_[*slot].state.compare_exchange_strong(expected,
                                                    make_state(SlotState::kJoining, self).word())) {
      QUIRE_IPC_STEP("participants.attach.claimed");
      return enter(*slot, self);
    }
  }
  return fail(
      make_error(Errc::kLimit, "attach", segment,
                 fmt::format("all {} slots are taken by participants that live", slots_.size()),
                 "let one of them detach, or give the layout more (Layout::set_participants_max)"));
}

void ParticipantTable::leave(MemberId id) noexcept {
  const Sighting seen = sight(id.slot());
  const auto self = own_process();  // In a child of fork() it is not the one that attached.
  if (seen.generation != id.generation() || state_of(seen.state) != SlotState::kLive || !self ||
      *self != seen.state.owner()) {
    return;
  }
  std::uint64_t expected = seen.state.word();
  QUIRE_IPC_STEP("participants.leave.begun");
  slots_[id.slot()].state.compare_exchange_strong(expected,
                                                  make_state(SlotState::kFree, {}).word());
  QUIRE_IPC_STEP("participants.leave.free");
}

}  // namespace quire::ipc::internal
