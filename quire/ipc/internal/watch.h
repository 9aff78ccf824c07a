// SPDX-License-Identifier: Apache-2.0
//
// Watch: learns of deaths among the participants of one segment and runs the hooks. Watcher: the
// one thread of the process that does so for all segments that have hooks.
//
//   pidfds of all members --> epoll --.
//   a hook was added, stop --> event --+--> Watcher's thread --> Watch::look() --> hooks
//   kLookAgain is over ----------------'
//
// A member that attached after the last look is not in the epoll set yet; the next look finds it
// by its slot, dead or alive.
//
// Invariants:    a hook runs at most once for each participant that dies; recoveries come before
//                callbacks; never two hooks of one Watch at a time.
// Thread-safety: any thread. A hook may add and destroy hooks, its own too, and close the segment.
// Errors:        without a thread or descriptors there is no news; look() works all the same, and
//                structures ask for themselves whom they wait for.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "quire/base/mutex.h"
#include "quire/ipc/internal/participant_table.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/poller.h"

namespace quire::ipc::internal {

class Watcher;

// How often slots are looked at for participants that came since: a few loads for each.
inline constexpr std::chrono::milliseconds kLookAgain{100};

class Watch : public std::enable_shared_from_this<Watch> {
 public:
  enum class Order : std::uint8_t { kRecovery, kCallback };
  using Hook = std::function<void(const Participant&)>;

  Watch(std::shared_ptr<ParticipantTable> table, MemberId self);
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  // Returns its number, never 0; starts the thread.
  [[nodiscard]] std::uint64_t add(Order order, Hook hook);
  // After this it does not run, and is not running, unless it is the one that calls.
  void remove(std::uint64_t number) noexcept;
  enum class Depth : std::uint8_t {
    kNewcomers,  // Only slots whose participant changed: loads.
    kAll,        // A poll(2) for each participant.
  };
  // Finds who died since the last look, and runs the hooks for them; returns how many they are.
  // From within a hook it does nothing.
  std::size_t look(Depth depth) noexcept;

 private:
  friend class Watcher;
  struct NumberedHook {
    std::uint64_t number;
    Order order;
    std::shared_ptr<const Hook> run;
  };
  // Who was in a slot at the last look; an id of nobody: no one, or one who is known to be dead.
  struct Seen {
    Participant who;
    sys::Descriptor pidfd;
  };

  void begin() QUIRE_REQUIRES(mutex_);
  [[nodiscard]] std::vector<Participant> find_dead(Depth depth) QUIRE_REQUIRES(mutex_);
  [[nodiscard]] bool has_died(std::size_t slot, const Seen& seen) noexcept QUIRE_REQUIRES(mutex_);
  void follow(std::size_t slot) QUIRE_REQUIRES(mutex_);
  void forget(Seen& seen) noexcept QUIRE_REQUIRES(mutex_);
  void run_hooks(Order order, const Participant& dead) noexcept QUIRE_REQUIRES(mutex_);

  const std::shared_ptr<ParticipantTable> table_;
  const MemberId self_;
  quire::Mutex mutex_;  // Not ipc::Mutex.
  CondVar idle_;
  std::vector<NumberedHook> hooks_ QUIRE_GUARDED_BY(mutex_);
  std::uint64_t last_number_ QUIRE_GUARDED_BY(mutex_) = 0;
  std::vector<Seen> seen_ QUIRE_GUARDED_BY(mutex_);          // One for each slot, after begin().
  std::vector<MemberId> last_ids_ QUIRE_GUARDED_BY(mutex_);  // Who was in the slots, dead or not.
  // Who is running hooks, and which; no id: nobody.
  std::thread::id looker_ QUIRE_GUARDED_BY(mutex_);
  std::uint64_t running_ QUIRE_GUARDED_BY(mutex_) = 0;
  std::shared_ptr<Watcher> watcher_ QUIRE_GUARDED_BY(mutex_);
};

// What the thread works on: it stays while the thread, or a Watch, has it.
class Watcher {
 public:
  // The one of this process; another one in a child of fork(), where the thread is not. Its thread
  // is joined when the process ends.
  [[nodiscard]] static std::shared_ptr<Watcher> of_this_process();

  Watcher();

  void add(std::weak_ptr<Watch> watch);
  // From now on the end of that process is news.
  void follow(const sys::Descriptor& pidfd) noexcept;
  void forget(const sys::Descriptor& pidfd) noexcept;
  // The thread's work, until stop().
  void run() noexcept;
  void stop() noexcept;

 private:
  void wake() noexcept;
  void look_at_all(Watch::Depth depth) noexcept;

  sys::Descriptor event_;
  std::unique_ptr<sys::Poller> poller_;  // Null: no descriptors, and no news.
  quire::Mutex mutex_;                   // Not ipc::Mutex.
  std::vector<std::weak_ptr<Watch>> watches_ QUIRE_GUARDED_BY(mutex_);
  std::atomic<bool> is_stopping_{false};
};

}  // namespace quire::ipc::internal
