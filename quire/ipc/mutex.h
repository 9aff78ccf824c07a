// SPDX-License-Identifier: Apache-2.0
//
// Mutex: a lock between processes that survives whoever holds it.
//
//   auto lock = mutex.hold().value();          // released at the end of the scope
//   if (lock.owner_died()) {
//     ... repair what the dead one left half done ...
//     lock.mark_consistent();                  // else the mutex is lost with this unlock
//   }
//
//              lock: CAS                          the owner dies, lock: CAS
//   free ----------------------> owned ------------------------------------> owned, inconsistent
//    ^                           |   ^                                         |      |       ^ |
//    '------- unlock ------------'   '----------- mark_consistent() -----------'      |       '-'
//                                                                        unlock       |     it
//                                                                        dies,
//                     owned, inconsistent <---- reclaim() ---- lost <-----------------'     too
//
// free           nobody is inside
// owned          the word names the owner: who, and which thread; nobody else is inside
// inconsistent   owned by one who was told that an owner died inside (Ownership::kOwnerDied)
// lost           that one unlocked without mark_consistent(): every lock() fails from now on, but
//                whoever can make the data anew may reclaim() it
//
// What is shared:
//   mutex, 64 bytes, aligned to 64
//    0   8  word: bits 0-29 owner's MemberId, 0 nobody; bit 30 somebody sleeps; bit 31
//           inconsistent; bits 32-53 owner's thread; bit 63 lost. Sleepers wait for bits 0-31.
//    8   8  how often an owner died
//   16  48  zero
//
// Invariants:    one CAS makes somebody the owner and says who: a death at any step leaves either a
//                free mutex or one whose owner can be asked for. Who is alive is never robbed,
//                stopped (SIGSTOP) or not.
//                A sleeper that is woken and dies, or an owner that dies between unlocking and
//                waking, leaves the others asleep: recoveries (see Participants) and kSliceMax, the
//                longest sleep, wake them.
// Thread-safety: any thread of any process. Not recursive, not fair.
// Errors:        of lock(): std::errc::timed_out; state_not_recoverable when it is lost;
//                resource_deadlock_would_occur when this thread has it already.
//                The death of a process is found at once, that of a thread which left its process
//                running within kSliceMax; not, if another thread of that process was given the
//                same number meanwhile.
// Cost:          uncontended, lock() and unlock() are one CAS each and make no system call.
// Kernel:        any.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "quire/base/result.h"
#include "quire/ipc/object.h"
#include "quire/ipc/participants.h"
#include "quire/ipc/step.h"
#include "quire/ipc/wait_point.h"
#include "quire/sys/process.h"

namespace quire::ipc {

class MutexHold;
class Segment;

enum class Ownership : std::uint8_t {
  kClean,      // The last owner unlocked.
  kOwnerDied,  // It did not: repair what it left, then mark_consistent().
};

class Mutex {
 public:
  [[nodiscard]] static ObjectSpec object(std::string name);
  // Errors: those of Segment::find().
  [[nodiscard]] static Result<Mutex> open(const Segment& segment, const std::string& name);
  // REQUIRES: an object of a spec made by object().
  explicit Mutex(ObjectRef object);

  // Blocks, as long as the options allow.
  [[nodiscard]] Result<Ownership> lock(const WaitOptions& options = {});
  // Nothing: somebody has it, or it is lost.
  [[nodiscard]] std::optional<Ownership> try_lock();
  // Errors: std::errc::operation_not_permitted when this thread is not the owner; then nothing
  //         changes.
  Result<void> unlock();
  // The same as an object that unlocks.
  [[nodiscard]] Result<MutexHold> hold(const WaitOptions& options = {});

  // What the mutex protects is whole again. Errors: as unlock().
  Result<void> mark_consistent();
  // Takes a lost mutex, inconsistent: for who makes what it protects anew, from nothing.
  // Errors: std::errc::operation_not_permitted when it is not lost.
  Result<void> reclaim();

  // Who is inside, at this moment; nobody when it is free.
  [[nodiscard]] MemberId owner() const noexcept;
  // How many owners have died inside.
  [[nodiscard]] std::uint64_t deaths() const noexcept;

 private:
  struct Shared;

  [[nodiscard]] std::uint64_t own_word() const noexcept {
    return self_ | static_cast<std::uint64_t>(sys::thread_id()) << kThreadShift;
  }
  [[nodiscard]] bool take_free(std::uint64_t own) const noexcept {
    std::uint64_t free = 0;
    // Acquire pairs with the release in unlock(): what the last owner wrote is seen.
    return word_->compare_exchange_strong(free, own, std::memory_order_acquire,
                                          std::memory_order_relaxed);
  }
  [[nodiscard]] Result<Ownership> lock_slowly(std::uint64_t own, const WaitOptions& options);
  [[nodiscard]] std::optional<Ownership> try_take(std::uint64_t own, std::uint64_t sleeping);
  [[nodiscard]] std::optional<Ownership> try_take_over(std::uint64_t own, bool asks_for_thread);
  [[nodiscard]] std::optional<Ownership> take_spinning(std::uint64_t own) noexcept;
  bool wait_for_change(std::uint64_t word, WaitPolicy policy, const internal::TimeLeft& time,
                       std::uint64_t& sleeping) noexcept;
  [[nodiscard]] std::optional<Error> refusal(std::uint64_t word, std::uint64_t own) const;
  [[nodiscard]] bool is_dead(std::uint64_t word, bool asks_for_thread) const;
  [[nodiscard]] Result<void> unlock_slowly(std::uint64_t own);
  [[nodiscard]] Error refuse(std::errc code, const char* operation, std::string cause,
                             std::string remedy) const;

  static constexpr unsigned kThreadShift = 32;

  ObjectRef object_;
  std::atomic<std::uint64_t>* word_;  // In the object.
  std::uint64_t self_;                // Our MemberId.
  DeathHook recovery_;
};

// Unlocks in its destructor.
class [[nodiscard]] MutexHold {
 public:
  MutexHold(MutexHold&& other) noexcept
      : mutex_(std::exchange(other.mutex_, nullptr)), ownership_(other.ownership_) {}
  MutexHold& operator=(MutexHold&&) = delete;
  ~MutexHold() {
    if (mutex_ != nullptr) {
      static_cast<void>(mutex_->unlock());
    }
  }

  [[nodiscard]] bool owner_died() const noexcept { return ownership_ == Ownership::kOwnerDied; }
  // What the mutex protects is whole again. REQUIRES: this thread is the one that locked.
  Result<void> mark_consistent() { return mutex_->mark_consistent(); }

 private:
  friend class Mutex;
  MutexHold(Mutex& mutex, Ownership ownership) noexcept : mutex_(&mutex), ownership_(ownership) {}

  Mutex* mutex_;  // nullptr: moved from.
  Ownership ownership_;
};

inline Result<Ownership> Mutex::lock(const WaitOptions& options) {
  QUIRE_IPC_STEP("mutex.lock.begin");
  const std::uint64_t own = own_word();
  if (take_free(own)) [[likely]] {
    QUIRE_IPC_STEP("mutex.lock.taken");
    return Ownership::kClean;
  }
  return lock_slowly(own, options);
}

inline Result<void> Mutex::unlock() {
  const std::uint64_t own = own_word();
  std::uint64_t expected = own;
  QUIRE_IPC_STEP("mutex.unlock.begin");
  // Release pairs with the acquire of the next owner.
  if (word_->compare_exchange_strong(expected, 0, std::memory_order_release,
                                     std::memory_order_relaxed)) [[likely]] {
    QUIRE_IPC_STEP("mutex.unlock.freed");
    return {};
  }
  return unlock_slowly(own);
}

}  // namespace quire::ipc
