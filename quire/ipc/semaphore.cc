// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/semaphore.h"

#include <fmt/format.h>

#include "quire/base/check.h"
#include "quire/ipc/segment.h"

namespace quire::ipc {
namespace {

constexpr std::uint32_t kAbandoned = 1U << 31U;
constexpr std::size_t kLineBytes = 64;

std::size_t size_for(std::uint32_t units) noexcept {
  const std::size_t bytes = sizeof(WaitPoint) + units * sizeof(std::atomic<std::uint32_t>);
  return (bytes + kLineBytes - 1) / kLineBytes * kLineBytes;
}

}  // namespace

ObjectSpec Semaphore::object(std::string name, const SemaphoreOptions& options) {
  QUIRE_CHECK(options.units >= 1 && options.units <= kSemaphoreUnitsMax);
  return {.name = std::move(name),
          .kind = ObjectKind::kSemaphore,
          .signature = fmt::format("semaphore[{}] v1", options.units),
          .size_bytes = size_for(options.units)};
}

Result<Semaphore> Semaphore::open(const Segment& segment, const std::string& name,
                                  const SemaphoreOptions& options) {
  const ObjectSpec spec = object(name, options);
  return Semaphore(QUIRE_TRY(segment.find(name, spec.kind, spec.signature)), options);
}

Semaphore::Semaphore(ObjectRef object, const SemaphoreOptions& options)
    : object_(std::move(object)),
      waiters_(reinterpret_cast<WaitPoint*>(object_.bytes().data())),
      words_(reinterpret_cast<Word*>(object_.bytes().data() + sizeof(WaitPoint)), options.units) {
  QUIRE_CHECK_GE(object_.bytes().size(), size_for(options.units));
  Participants& participants = object_.participants();
  // Also when the dead one held nothing: it may have died between releasing and waking.
  recovery_ =
      participants.add_recovery([words = words_, waiters = waiters_, &participants](MemberId) {
        abandon_units_of_dead(words, participants);
        notify_after_death(*waiters, participants);
      });
  hint_ = participants.own_slot() % options.units;  // Others begin elsewhere.
}

Semaphore::Semaphore(Semaphore&& other) noexcept
    : object_(std::move(other.object_)),
      waiters_(other.waiters_),
      words_(other.words_),
      hint_(other.hint_.load()),
      recovery_(std::move(other.recovery_)) {}

std::optional<Permit> Semaphore::try_take() noexcept {
  const std::uint32_t self = object_.participants().self().word();
  const std::uint32_t first = hint_.load(std::memory_order_relaxed);
  for (std::uint32_t i = 0; i < words_.size(); ++i) {
    const auto unit = static_cast<std::uint32_t>((first + i) % words_.size());
    std::uint32_t word = words_[unit].load(std::memory_order_relaxed);
    if ((word & MemberId::kMask) != 0) {
      continue;
    }
    QUIRE_IPC_STEP("semaphore.acquire.found");
    // Acquire pairs with the release in release(): what the last holder did is seen.
    if (words_[unit].compare_exchange_strong(word, self, std::memory_order_acquire,
                                             std::memory_order_relaxed)) {
      QUIRE_IPC_STEP("semaphore.acquire.taken");
      hint_.store(unit, std::memory_order_relaxed);
      return Permit(*this, unit, (word & kAbandoned) != 0);
    }
  }
  return std::nullopt;
}

bool Semaphore::abandon_units_of_dead(std::span<Word> words, Participants& participants) noexcept {
  bool has_found = false;
  MemberId asked;  // Units of one holder often stand together.
  bool is_dead = false;
  for (Word& unit : words) {
    std::uint32_t word = unit.load(std::memory_order_relaxed);
    if ((word & MemberId::kMask) == 0) {
      continue;
    }
    if (const MemberId holder = MemberId::from_word(word); holder.is_nobody() || holder != asked) {
      asked = holder;
      is_dead = participants.liveness(holder) == Liveness::kDead;
    }
    // The word names the holder: it is taken from him, or not at all. Acquire and release: what the
    // dead one did is seen by who gets the unit.
    if (is_dead && unit.compare_exchange_strong(word, kAbandoned, std::memory_order_acq_rel,
                                                std::memory_order_relaxed)) {
      QUIRE_IPC_STEP("semaphore.abandoned");
      has_found = true;
    }
  }
  return has_found;
}

std::optional<Permit> Semaphore::try_acquire() {
  QUIRE_IPC_STEP("semaphore.acquire.begin");
  if (std::optional<Permit> permit = try_take()) {
    return permit;
  }
  recover();
  return try_take();
}

// Lets the others know, too, when there is something to have.
void Semaphore::recover() noexcept {
  if (abandon_units_of_dead(words_, object_.participants())) {
    notify(*waiters_, object_.participants());
  }
}

Result<Permit> Semaphore::acquire(const WaitOptions& options) {
  std::optional<Permit> permit = try_acquire();
  if (permit) {
    return std::move(*permit);
  }
  const bool is_taken = ipc::wait(
      *waiters_, options,
      [&] {
        std::optional<Permit> taken = try_take();
        if (taken) {
          permit.emplace(std::move(*taken));
        }
        return permit.has_value();
      },
      [this] { recover(); });
  if (!is_taken) {
    return fail(Error({.code = std::make_error_code(std::errc::timed_out),
                       .operation = "acquire",
                       .subject = "semaphore",
                       .cause = "all units are held by the living"}));
  }
  return std::move(*permit);
}

void Semaphore::release(std::uint32_t unit) noexcept {
  std::uint32_t own = object_.participants().self().word();
  QUIRE_IPC_STEP("semaphore.release.begin");
  // Release pairs with the acquire in try_take(). It fails when a hostile peer changed the word:
  // whoever has it now keeps it.
  words_[unit].compare_exchange_strong(own, 0, std::memory_order_release,
                                       std::memory_order_relaxed);
  QUIRE_IPC_STEP("semaphore.release.freed");
  notify(*waiters_, object_.participants());
  QUIRE_IPC_STEP("semaphore.release.end");
}

std::uint32_t Semaphore::free_units() const noexcept {
  std::uint32_t count = 0;
  for (const Word& unit : words_) {
    count += (unit.load(std::memory_order_relaxed) & MemberId::kMask) == 0 ? 1 : 0;
  }
  return count;
}

MemberId Semaphore::holder(std::uint32_t unit) const noexcept {
  QUIRE_CHECK_LT(unit, words_.size());
  return MemberId::from_word(words_[unit].load(std::memory_order_relaxed));
}

bool Semaphore::arm(const Doorbell& bell) {
  return ipc::arm(*waiters_, bell, [this] { return free_units() != 0; });
}

}  // namespace quire::ipc
