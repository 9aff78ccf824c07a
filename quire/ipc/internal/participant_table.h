// SPDX-License-Identifier: Apache-2.0
//
// ParticipantTable: the slots in shared memory, and what this process knows about who is in them.
// The states are drawn in participants.h.
//
// What a death leaves, at each step of attach() and leave():
//   joining, old generation   the slot is signed for by a dead process: dead for whoever looks; the
//                             generation's former owner is not live, hence dead, too
//   joining, new generation   the same; nobody has ever been told the new id
//   live                      a participant that died
//   free                      nothing
//
// Invariants:    a state word changes from live or joining only by its owner, or, when the owner is
//                dead, to dead; the generation changes only while joining, by the owner.
// Thread-safety: any thread of any process. Whatever a hostile peer writes into the slots, the
//                worst is a wrong answer about who is there.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "quire/base/mutex.h"
#include "quire/base/result.h"
#include "quire/ipc/internal/process_tag.h"
#include "quire/ipc/internal/segment_header.h"
#include "quire/ipc/participants.h"

namespace quire::ipc::internal {

enum class SlotState : std::uint8_t { kFree = 0, kJoining = 1, kLive = 2, kDead = 3 };

class ParticipantTable {
 public:
  // `keeper` keeps `slots` mapped.
  // REQUIRES: 1 to kParticipantsMax slots.
  ParticipantTable(std::shared_ptr<void> keeper, std::span<ParticipantSlot> slots,
                   std::uint64_t segment_id);

  // Takes a slot for this process. Errors: kLimit when all are taken by the living; kUnsupported.
  [[nodiscard]] Result<MemberId> attach(const std::string& segment);
  // Gives it back, if it is still ours.
  void leave(MemberId id) noexcept;

  [[nodiscard]] std::size_t size() const noexcept { return slots_.size(); }
  [[nodiscard]] std::uint64_t segment_id() const noexcept { return segment_id_; }
  [[nodiscard]] Liveness liveness(MemberId id) noexcept;
  [[nodiscard]] MemberId member_in(std::size_t slot) const noexcept;
  // The same, or who died there last.
  [[nodiscard]] MemberId last_in(std::size_t slot) const noexcept;
  // Whoever is in the slot; nothing when it is free.
  [[nodiscard]] std::optional<Participant> look_at(std::size_t slot) noexcept;
  [[nodiscard]] std::vector<Participant> list() noexcept;
  // Whether a living process other than this is attached, or about to be.
  [[nodiscard]] bool has_living() noexcept;

 private:
  // What was seen in a slot, in one moment.
  struct Sighting {
    OwnedState state{0};
    std::uint32_t generation = 0;
  };
  // A process whose pidfd we keep.
  struct Known {
    ProcessTag process;
    sys::Descriptor pidfd;
  };

  [[nodiscard]] Sighting sight(std::size_t slot) const noexcept;
  [[nodiscard]] bool is_owner_alive(std::size_t slot, const ProcessTag& owner) noexcept;
  void mark_dead(std::size_t slot, OwnedState seen) noexcept;
  void mark_all_dead() noexcept;
  [[nodiscard]] std::optional<std::size_t> least_used_free() const noexcept;
  [[nodiscard]] MemberId enter(std::size_t slot, const ProcessTag& self) noexcept;

  const std::shared_ptr<void> keeper_;
  const std::span<ParticipantSlot> slots_;
  const std::uint64_t segment_id_;
  quire::Mutex mutex_;  // Not ipc::Mutex.
  std::vector<Known> known_ QUIRE_GUARDED_BY(mutex_);
};

}  // namespace quire::ipc::internal
