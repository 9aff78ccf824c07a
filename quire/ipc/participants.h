// SPDX-License-Identifier: Apache-2.0
//
// Participants: who is attached to a segment, who of them has died, and who wants to know.
//
// A table of slots in shared memory, one per Segment object that is open, here or in another
// process:
//
//        claim (CAS: pid, start time)      id drawn        detach, or reused after a death
//   free ----------------------------> joining ---> live ---------------------------------> free
//                                         |           |
//                                         '-----------+-- the process died: dead (who finds it out)
//
// What is shared:
//   slot, 64 bytes
//    0   8  state: bits 0-1 free 0, joining 1, live 2, dead 3; bits 2-23 pid; bits 24-63 the
//           process's start time (field 22 of /proc/PID/stat). One CAS names the claimant whole, so
//           that a death at any step is found.
//    8   4  generation: 1 .. 2^22 - 1, another one for each participant of the slot
//   12   4  user id
//   16   8  when it attached, ns since the epoch
//   24  40  zero
//
// A process is alive when its pid is taken *and* by a process that started then, and its pidfd says
// that it has not ended: neither a number that was used again nor a zombie passes for it.
//
// Invariants:    a MemberId stands for one participant, as long as fewer than 2^22 others have come
//                to the same slot meanwhile (who attaches takes the slot that was used least).
//                Nobody changes the slot of a live process but itself.
// Thread-safety: any thread. Hooks run on a thread of quire's, one at a time.
// Errors:        none: what cannot be found out about a process counts as alive, since robbing the
//                living is worse than waiting for the dead.
// Cost:          liveness() is a poll(2) of a cached pidfd; the first time for a participant it
//                opens the pidfd and reads /proc/PID/stat, some 20 us. is_member() is two loads.
// Kernel:        5.3 (pidfd_open).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "quire/ipc/object.h"

namespace quire::ipc {

namespace internal {
class ParticipantTable;
class Watch;
}  // namespace internal

// One participant, now or once, in 30 bits; the two upper ones are free for the structure that
// stores it. Zero is nobody.
class MemberId {
 public:
  static constexpr unsigned kSlotBits = 8;
  static constexpr unsigned kGenerationBits = 22;
  static constexpr unsigned kBits = kSlotBits + kGenerationBits;
  static constexpr std::uint32_t kMask = (1U << kBits) - 1;
  static constexpr std::uint32_t kGenerationMax = (1U << kGenerationBits) - 1;

  constexpr MemberId() = default;
  constexpr MemberId(std::uint16_t slot, std::uint32_t generation) noexcept
      : word_((generation & kGenerationMax) << kSlotBits | (slot & ((1U << kSlotBits) - 1))) {}
  // From a word in shared memory, whatever else its upper bits say.
  [[nodiscard]] static constexpr MemberId from_word(std::uint32_t word) noexcept {
    MemberId id;
    id.word_ = (word & kMask) >> kSlotBits == 0 ? 0 : word & kMask;
    return id;
  }

  [[nodiscard]] constexpr std::uint32_t word() const noexcept { return word_; }
  [[nodiscard]] constexpr std::uint16_t slot() const noexcept {
    return static_cast<std::uint16_t>(word_ & ((1U << kSlotBits) - 1));
  }
  [[nodiscard]] constexpr std::uint32_t generation() const noexcept { return word_ >> kSlotBits; }
  [[nodiscard]] constexpr bool is_nobody() const noexcept { return word_ == 0; }
  friend constexpr bool operator==(MemberId, MemberId) = default;

 private:
  std::uint32_t word_ = 0;
};

inline constexpr std::uint16_t kParticipantsMax = 1U << MemberId::kSlotBits;

enum class Liveness : std::uint8_t {
  kAlive,  // Attached, and its process has not ended.
  kDead,   // Its process ended, or it has detached: what it left behind may be taken.
};

// One slot that is in use, as list() found it.
struct Participant {
  MemberId id;
  int pid = 0;
  std::uint64_t start_ticks = 0;  // Since boot, as /proc/PID/stat counts.
  std::uint32_t user = 0;
  std::int64_t attached_ns = 0;  // Since the epoch.
  Liveness liveness = Liveness::kAlive;
};

// A function that is called at deaths, until this is destroyed; the destructor waits for a call
// that is under way, unless it is that call which destroys it.
class DeathHook {
 public:
  DeathHook() = default;
  DeathHook(std::weak_ptr<internal::Watch> watch, std::uint64_t number) noexcept
      : watch_(std::move(watch)), number_(number) {}
  DeathHook(DeathHook&& other) noexcept;
  DeathHook& operator=(DeathHook&& other) noexcept;
  ~DeathHook() { remove(); }

 private:
  void remove() noexcept;

  std::weak_ptr<internal::Watch> watch_;
  std::uint64_t number_ = 0;  // 0: none.
};

class Participants {
 public:
  // REQUIRES: `self` is attached to the table; it is detached by the destructor.
  Participants(std::shared_ptr<internal::ParticipantTable> table, MemberId self);
  ~Participants();
  Participants(const Participants&) = delete;
  Participants& operator=(const Participants&) = delete;

  // Ourselves.
  [[nodiscard]] MemberId self() const noexcept { return self_; }
  [[nodiscard]] std::uint16_t own_slot() const noexcept { return self_.slot(); }
  // How many there may be at once.
  [[nodiscard]] std::uint16_t slots_max() const noexcept { return slots_max_; }
  // Drawn when the segment was made: no other segment of this machine has it.
  [[nodiscard]] std::uint64_t segment_id() const noexcept { return segment_id_; }

  // Nobody, and ids that never were (a hostile word), are dead.
  [[nodiscard]] Liveness liveness(MemberId id) noexcept;
  [[nodiscard]] bool is_alive(MemberId id) noexcept { return liveness(id) == Liveness::kAlive; }
  // Who is attached in that slot; nobody when it is free. Says nothing about its process.
  [[nodiscard]] MemberId member_in(std::uint16_t slot) const noexcept;
  // All slots that are in use, the dead that nobody replaced yet included.
  [[nodiscard]] std::vector<Participant> list();

  // Called with each participant whose process ended without detaching, soon after it did: what a
  // structure does to let others go on. Recoveries run before callbacks.
  [[nodiscard]] DeathHook add_recovery(std::function<void(MemberId)> recover);
  // For the user: the same, told who it was.
  [[nodiscard]] DeathHook on_death(std::function<void(const Participant&)> tell);
  // Looks now, in this thread, and runs the hooks for those who are found dead; returns how many.
  // What the watching thread does when a pidfd tells it; nobody needs to.
  std::size_t look() noexcept;

 private:
  std::shared_ptr<internal::ParticipantTable> table_;
  std::shared_ptr<internal::Watch> watch_;
  MemberId self_;
  std::uint16_t slots_max_ = 0;
  std::uint64_t segment_id_ = 0;
};

}  // namespace quire::ipc
