// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/mutex.h"

#include <bit>

#include "quire/base/check.h"
#include "quire/ipc/segment.h"
#include "quire/sys/futex.h"

namespace quire::ipc {
namespace {

constexpr std::uint64_t kOwnerMask = MemberId::kMask;
constexpr std::uint64_t kSleepers = std::uint64_t{1} << 30U;
constexpr std::uint64_t kInconsistent = std::uint64_t{1} << 31U;
constexpr std::uint64_t kLost = std::uint64_t{1} << 63U;
// pid_max is at most 2^22, and threads are numbered like processes.
constexpr unsigned kThreadBits = 22;
constexpr std::uint64_t kThreadMask = ((std::uint64_t{1} << kThreadBits) - 1) << 32U;
static_assert(MemberId::kBits == 30, "the owner and two flags fill the half that sleepers watch");
static_assert(std::endian::native == std::endian::little,
              "the futex is the lower half of the word, at its address");

[[nodiscard]] bool is_free(std::uint64_t word) noexcept {
  return (word & (kOwnerMask | kLost)) == 0;
}

// By whom, whatever else the word says.
[[nodiscard]] bool is_owned_by(std::uint64_t word, std::uint64_t own) noexcept {
  return (word & (kOwnerMask | kThreadMask | kLost)) == own;
}

[[nodiscard]] MemberId owner_of(std::uint64_t word) noexcept {
  return MemberId::from_word(static_cast<std::uint32_t>(word & kOwnerMask));
}

[[nodiscard]] int thread_of(std::uint64_t word) noexcept {
  return static_cast<int>((word & kThreadMask) >> 32U);
}

}  // namespace

struct alignas(64) Mutex::Shared {
  std::atomic<std::uint64_t> word;
  std::atomic<std::uint64_t> deaths;
  std::byte spare[48];
};

ObjectSpec Mutex::object(std::string name) {
  static_assert(sizeof(Shared) == 64 && std::atomic<std::uint64_t>::is_always_lock_free);
  return {.name = std::move(name),
          .kind = ObjectKind::kMutex,
          .signature = "mutex v1",
          .size_bytes = sizeof(Shared)};
}

Result<Mutex> Mutex::open(const Segment& segment, const std::string& name) {
  const ObjectSpec spec = object(name);
  return Mutex(QUIRE_TRY(segment.find(name, spec.kind, spec.signature)));
}

Mutex::Mutex(ObjectRef object)
    : object_(std::move(object)),
      word_(&reinterpret_cast<Shared*>(object_.bytes().data())->word),
      self_(object_.participants().self().word()),
      // Whoever died may have been the owner, or woken instead of somebody else.
      recovery_(object_.participants().add_recovery(
          [word = word_](MemberId) { sys::shared_futex_wake_all(word); })) {
  QUIRE_CHECK_GE(object_.bytes().size(), sizeof(Shared));
}

Error Mutex::refuse(std::errc code, const char* operation, std::string cause,
                    std::string remedy) const {
  return Error({.code = std::make_error_code(code),
                .operation = operation,
                .subject = "mutex",
                .cause = std::move(cause),
                .remedy = std::move(remedy)});
}

// --- Locking -------------------------------------------------------------------------------------

// Takes it if it is free. `sleeping` is kSleepers for one who slept: there may be others.
std::optional<Ownership> Mutex::try_take(std::uint64_t own, std::uint64_t sleeping) {
  std::uint64_t word = word_->load(std::memory_order_relaxed);
  while (is_free(word)) {
    const std::uint64_t kept = word & (kSleepers | kInconsistent);
    // Acquire: as in take_free().
    if (word_->compare_exchange_weak(word, own | kept | sleeping, std::memory_order_acquire,
                                     std::memory_order_relaxed)) {
      QUIRE_IPC_STEP("mutex.lock.taken");
      return (kept & kInconsistent) != 0 ? Ownership::kOwnerDied : Ownership::kClean;
    }
  }
  return std::nullopt;
}

bool Mutex::is_dead(std::uint64_t word, bool asks_for_thread) const {
  Participants& participants = object_.participants();
  const MemberId owner = owner_of(word);
  if (participants.liveness(owner) == Liveness::kDead) {
    return true;
  }
  if (!asks_for_thread) {
    return false;
  }
  for (const Participant& participant : participants.list()) {
    if (participant.id == owner) {
      return !sys::thread_exists(participant.pid, thread_of(word));
    }
  }
  return false;  // It has just gone; whoever looks again finds it dead.
}

// Takes it from an owner who died. The word names him whole, and so a CAS that succeeds takes it
// from him and from nobody who came after.
std::optional<Ownership> Mutex::try_take_over(std::uint64_t own, bool asks_for_thread) {
  std::uint64_t word = word_->load(std::memory_order_relaxed);
  if (is_free(word) || (word & kLost) != 0 || !is_dead(word, asks_for_thread)) {
    return std::nullopt;
  }
  QUIRE_IPC_STEP("mutex.lock.owner_found_dead");
  const std::uint64_t dead = word & (kOwnerMask | kThreadMask);
  do {
    // Acquire: a death is seen after everything that the dead one did.
    if (word_->compare_exchange_strong(word, own | kInconsistent | (word & kSleepers),
                                       std::memory_order_acquire, std::memory_order_relaxed)) {
      QUIRE_IPC_STEP("mutex.lock.taken_over");
      reinterpret_cast<Shared*>(object_.bytes().data())
          ->deaths.fetch_add(1, std::memory_order_relaxed);
      return Ownership::kOwnerDied;
    }
  } while (is_owned_by(word, dead));  // Somebody announced that he sleeps; or was faster than we.
  return std::nullopt;
}

std::optional<Ownership> Mutex::take_spinning(std::uint64_t own) noexcept {
  for (unsigned spin = 0; spin < internal::kSpinsMax; ++spin) {
    const std::uint64_t word = word_->load(std::memory_order_relaxed);
    if (is_free(word)) {
      if (const std::optional<Ownership> taken = try_take(own, 0)) {
        return taken;
      }
    } else if ((word & (kSleepers | kLost)) != 0) {
      break;  // Spinning in front of those who sleep only makes them wait longer.
    }
    sys::pause_processor();
  }
  return std::nullopt;
}

std::optional<Ownership> Mutex::try_lock() {
  const std::uint64_t own = own_word();
  if (take_free(own)) {
    return Ownership::kClean;
  }
  if (const std::optional<Ownership> taken = try_take(own, 0)) {
    return taken;
  }
  return try_take_over(own, true);
}

// Waits until the word is another one. False: a slice of time went by. `sleeping` becomes kSleepers
// for one who was asleep. True at once where the word changed before that could be announced.
bool Mutex::wait_for_change(std::uint64_t word, WaitPolicy policy, const internal::TimeLeft& time,
                            std::uint64_t& sleeping) noexcept {
  if (policy == WaitPolicy::kSpin) {
    const internal::TimeLeft slice(time.slice());
    while (word_->load(std::memory_order_relaxed) == word) {
      sys::pause_processor();
      if (slice.is_over()) {
        return false;
      }
    }
    return true;
  }
  if ((word & kSleepers) == 0 &&
      !word_->compare_exchange_weak(word, word | kSleepers, std::memory_order_relaxed)) {
    return true;
  }
  QUIRE_IPC_STEP("mutex.lock.announced");
  sleeping = kSleepers;
  const bool is_changed =
      sys::shared_futex_wait(word_, static_cast<std::uint32_t>(word | kSleepers), time.slice());
  QUIRE_IPC_STEP("mutex.lock.woken");
  return is_changed;
}

// Why it cannot be had, for ever.
std::optional<Error> Mutex::refusal(std::uint64_t word, std::uint64_t own) const {
  if ((word & kLost) != 0) {
    return refuse(std::errc::state_not_recoverable, "lock",
                  "an owner died, and the next one did not repair what it left",
                  "make the data anew under reclaim()");
  }
  if (is_owned_by(word, own)) {
    return refuse(std::errc::resource_deadlock_would_occur, "lock",
                  "this thread has locked it already", "");
  }
  return std::nullopt;
}

Result<Ownership> Mutex::lock_slowly(std::uint64_t own, const WaitOptions& options) {
  const internal::TimeLeft time(options.timeout);
  std::optional<Ownership> taken;
  if (options.policy == WaitPolicy::kSpinThenSleep && options.timeout.count() > 0) {
    taken = take_spinning(own);
  }
  std::uint64_t sleeping = 0;
  bool has_waited = false;  // A whole slice: long enough to ask for the owner's thread, too.
  while (!taken && !(taken = try_take(own, sleeping)) &&
         !(taken = try_take_over(own, has_waited))) {
    const std::uint64_t word = word_->load(std::memory_order_relaxed);
    if (std::optional<Error> error = refusal(word, own)) {
      return fail(*error);
    }
    // Who leaves may have been woken in place of another one. So the end of the time is looked at
    // after a sleep that announced the others anew, were it one of no time at all.
    if (has_waited && time.is_over()) {
      return fail(refuse(std::errc::timed_out, "lock", "somebody who is alive has it", ""));
    }
    if (!is_free(word)) {
      has_waited = !wait_for_change(word, options.policy, time, sleeping);
    }
  }
  return *taken;
}

Result<MutexHold> Mutex::hold(const WaitOptions& options) {
  const Ownership ownership = QUIRE_TRY(lock(options));
  return MutexHold(*this, ownership);
}

// --- Unlocking -----------------------------------------------------------------------------------

Result<void> Mutex::unlock_slowly(std::uint64_t own) {
  std::uint64_t word = word_->load(std::memory_order_relaxed);
  do {
    if (!is_owned_by(word, own)) {
      return fail(refuse(std::errc::operation_not_permitted, "unlock",
                         "this thread is not its owner", "unlock in the thread that locked"));
    }
  } while (!word_->compare_exchange_weak(word, (word & kInconsistent) != 0 ? kLost : 0,
                                         std::memory_order_release, std::memory_order_relaxed));
  QUIRE_IPC_STEP("mutex.unlock.freed");
  if ((word & kInconsistent) != 0) {
    sys::shared_futex_wake_all(word_);  // Nobody gets it any more.
  } else if ((word & kSleepers) != 0) {
    sys::shared_futex_wake_one(word_);
  }
  QUIRE_IPC_STEP("mutex.unlock.woken");
  return {};
}

Result<void> Mutex::mark_consistent() {
  const std::uint64_t own = own_word();
  std::uint64_t word = word_->load(std::memory_order_relaxed);
  QUIRE_IPC_STEP("mutex.mark_consistent.begin");
  do {
    if (!is_owned_by(word, own)) {
      return fail(refuse(std::errc::operation_not_permitted, "mark_consistent",
                         "this thread is not its owner", ""));
    }
    // Release: should we die next, the repair is seen by whoever takes it then.
  } while (!word_->compare_exchange_weak(word, word & ~kInconsistent, std::memory_order_release,
                                         std::memory_order_relaxed));
  QUIRE_IPC_STEP("mutex.mark_consistent.done");
  return {};
}

Result<void> Mutex::reclaim() {
  std::uint64_t word = word_->load(std::memory_order_relaxed);
  QUIRE_IPC_STEP("mutex.reclaim.begin");
  do {
    if ((word & kLost) == 0) {
      return fail(
          refuse(std::errc::operation_not_permitted, "reclaim", "it is not lost", "lock() it"));
    }
  } while (!word_->compare_exchange_weak(word, own_word() | kInconsistent,
                                         std::memory_order_acquire, std::memory_order_relaxed));
  QUIRE_IPC_STEP("mutex.reclaim.done");
  return {};
}

MemberId Mutex::owner() const noexcept {
  return owner_of(word_->load(std::memory_order_relaxed));
}

std::uint64_t Mutex::deaths() const noexcept {
  return reinterpret_cast<const Shared*>(object_.bytes().data())
      ->deaths.load(std::memory_order_relaxed);
}

}  // namespace quire::ipc
