// SPDX-License-Identifier: Apache-2.0
//
// Semaphore: a number of units of something, of which each may be held by one process at a time,
// and which come back when the process that holds them dies.
//
//   auto permit = semaphore.acquire().value();    // given back at the end of the scope
//   use(resources[permit.unit()]);                // nobody else holds this number
//   if (permit.owner_died()) ...                  // its last holder died: look at what it left
//
//               acquire: CAS                     the holder dies
//   free ---------------------------> held ---------------------------> abandoned
//    ^                                | ^                                   |
//    '---- release; or it closed -----' '------ acquire: CAS, owner_died ---'
//          the semaphore's segment
//
// There is no counter that could be left wrong: each unit is a word that names its holder, taken
// and given back by one CAS.
//
// What is shared:
//   semaphore, 64 + 4 * units bytes, rounded up to 64, aligned to 64
//    0  64  wait point (wait_point.h)
//   64      units, 4 bytes each: bits 0-29 holder's MemberId, 0 nobody; bit 30 zero; bit 31 the
//           last holder died
//
// Invariants:    a unit has at most one holder; a unit whose holder is alive is never taken from
//                it, whichever thread of it asked. A death at any step leaves each unit free, or
//                held by somebody who can be asked for.
// Thread-safety: any thread of any process; a Permit belongs to one thread at a time.
// Errors:        of acquire(): std::errc::timed_out.
// Cost:          without contention one CAS, after a search that begins where this handle found one
//                the last time; one CAS and one read-modify-write to give back. System calls only
//                where all units are held.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "quire/base/result.h"
#include "quire/ipc/object.h"
#include "quire/ipc/participants.h"
#include "quire/ipc/wait_point.h"

namespace quire::ipc {

class Permit;
class Segment;

struct SemaphoreOptions {
  std::uint32_t units = 1;  // At least 1, at most kSemaphoreUnitsMax.
};
// A search looks at all of them: 16 KiB.
inline constexpr std::uint32_t kSemaphoreUnitsMax = 4096;

class Semaphore {
 public:
  // REQUIRES: 1 to kSemaphoreUnitsMax units.
  [[nodiscard]] static ObjectSpec object(std::string name, const SemaphoreOptions& options);
  // Errors: those of Segment::find().
  [[nodiscard]] static Result<Semaphore> open(const Segment& segment, const std::string& name,
                                              const SemaphoreOptions& options);
  // REQUIRES: an object of a spec made by object() with these options.
  Semaphore(ObjectRef object, const SemaphoreOptions& options);
  Semaphore(Semaphore&& other) noexcept;
  Semaphore& operator=(Semaphore&&) = delete;
  ~Semaphore() = default;

  // Blocks, as long as the options allow.
  [[nodiscard]] Result<Permit> acquire(const WaitOptions& options = {});
  // Nothing: each unit was held by somebody alive when it was looked at, if not all at one moment.
  [[nodiscard]] std::optional<Permit> try_acquire();

  [[nodiscard]] std::uint32_t units() const noexcept {
    return static_cast<std::uint32_t>(words_.size());
  }
  // At this moment.
  [[nodiscard]] std::uint32_t free_units() const noexcept;
  // Who holds a unit; nobody when it is free. REQUIRES: unit < units().
  [[nodiscard]] MemberId holder(std::uint32_t unit) const noexcept;
  // True: the bell rings at the next release. False: there is a free unit.
  [[nodiscard]] bool arm(const Doorbell& bell);

 private:
  friend class Permit;
  using Word = std::atomic<std::uint32_t>;

  [[nodiscard]] std::optional<Permit> try_take() noexcept;
  // Marks the units of the dead. True: there were some.
  static bool abandon_units_of_dead(std::span<Word> words, Participants& participants) noexcept;
  void recover() noexcept;
  void release(std::uint32_t unit) noexcept;

  ObjectRef object_;
  WaitPoint* waiters_;  // Both in the object.
  std::span<Word> words_;
  std::atomic<std::uint32_t> hint_{0};  // Where the next search begins.
  DeathHook recovery_;
};

// One unit, held. The semaphore has to outlive it.
class [[nodiscard]] Permit {
 public:
  Permit(Permit&& other) noexcept
      : semaphore_(std::exchange(other.semaphore_, nullptr)),
        unit_(other.unit_),
        owner_died_(other.owner_died_) {}
  Permit& operator=(Permit&&) = delete;
  ~Permit() { release(); }

  // Which one; less than Semaphore::units().
  [[nodiscard]] std::uint32_t unit() const noexcept { return unit_; }
  // The one who held it before us died.
  [[nodiscard]] bool owner_died() const noexcept { return owner_died_; }
  // Gives it back now. Twice is harmless.
  void release() noexcept {
    if (Semaphore* semaphore = std::exchange(semaphore_, nullptr)) {
      semaphore->release(unit_);
    }
  }

 private:
  friend class Semaphore;
  Permit(Semaphore& semaphore, std::uint32_t unit, bool owner_died) noexcept
      : semaphore_(&semaphore), unit_(unit), owner_died_(owner_died) {}

  Semaphore* semaphore_;  // nullptr: given back or moved from.
  std::uint32_t unit_;
  bool owner_died_;
};

}  // namespace quire::ipc
