// SPDX-License-Identifier: Apache-2.0
//
// Update: stores that belong together, which no commit cuts in two.
//
//   {
//     const quire::Update update = area.begin_update();  // so may other threads, at the same time
//     accounts[3].cents -= 100;
//     accounts[7].cents += 100;
//   }
//   area.commit().value();     // what is committed are whole updates, of whichever threads
//
//   begin, end                a commit is asked for               the last one ends
//   [ open, n under way ] ------------------------> [ shut, n ] --------------------> [ shut, 0 ]
//        ^                                           who begins one waits      the commit's cut |
//        '--------------------------------------------------------------------------------------'
//
// An update keeps commits waiting, and nothing else: other updates go on, and stores outside of
// updates are as they always were. Commits keep updates waiting for the cut alone, microseconds as
// a rule; writing and flushing go on beside the next updates. Updates do not keep each other out:
// who stores to the same bytes needs a lock of his own.
//
// An update is no transaction: it makes nothing durable and can't be undone. When it ends, its
// stores are part of the next commit, or of the next rollback().
//
// Not to be done inside of an update: its thread's commits, rollbacks, resizes and close() of
// anything that can be committed are refused (kFailed), but a pager's commit_async(), which begins
// when the update has ended. And it must not wait for a thread that may be in commit(), for
// instance for a mutex that is held around one. It may wait for one that is about to begin an
// update: who has waited some milliseconds for a cut that still waits itself gets in.
//
// Invariants:    while the gate is shut and empty nobody gets in. A thread that has an update may
//                begin others at once, also of another gate, while commits wait for such as his: if
//                two threads waited for each other's, none would end.
// Thread-safety: any thread; an Update is destroyed by the thread that began it, before what it was
//                begun on. Not for signal handlers.
// Blocks:        beginning one, while a cut is taken or waited for.
// Cost:          two atomic operations on a word that all of them share.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "quire/base/result.h"

namespace quire {

// For engines: what Updates pass, and a cut shuts. One thread at a time shuts it.
class UpdateGate {
 public:
  using Wake = void (*)(void* context) noexcept;

  UpdateGate() noexcept = default;
  // `wake` is called when the last update has ended, if is_empty_or_wakes() found one.
  UpdateGate(Wake wake, void* context) noexcept : wake_(wake), context_(context) {}
  UpdateGate(const UpdateGate&) = delete;
  UpdateGate& operator=(const UpdateGate&) = delete;

  void enter() noexcept;
  void leave() noexcept;

  // From now on nobody begins an update. REQUIRES: it is open (checked).
  void begin_shut() noexcept;
  // Comes back when no update is under way. REQUIRES: shut by the caller.
  void await_empty() noexcept;
  // The same for who cannot wait. REQUIRES also: there is a `wake` (checked).
  [[nodiscard]] bool is_empty_or_wakes() noexcept;
  void open() noexcept;

  // What has to be outside of updates, when the calling thread is inside of one, of any gate.
  [[nodiscard]] static Result<void> require_outside(const char* operation,
                                                    const std::string& subject);

 private:
  // Updates under way are counted below these.
  static constexpr std::uint32_t kShut = 1U << 31;
  static constexpr std::uint32_t kAwaited = 1U << 30;  // Somebody sleeps until it is open, ...
  static constexpr std::uint32_t kSleeps = 1U << 29;   // ... who shuts it until it is empty, ...
  static constexpr std::uint32_t kWakes = 1U << 28;    // ... or wants to be woken then.
  static constexpr std::uint32_t count_in(std::uint32_t word) noexcept { return word & 0xFFF'FFFF; }

  [[nodiscard]] bool has_waited_enough(std::uint32_t seen) noexcept;
  [[nodiscard]] bool is_empty_or(std::uint32_t wish) noexcept;

  std::atomic<std::uint32_t> word_{0};
  std::atomic<std::uint32_t> emptied_{0};  // How often.
  std::atomic<std::uint32_t> joins_{0};    // Who got in while the present cut waited.
  Wake wake_ = nullptr;
  void* context_ = nullptr;
};

class [[nodiscard]] Update {
 public:
  // Null: there is no gate, as of what is not committed.
  explicit Update(UpdateGate* gate) noexcept : gate_(gate) {
    if (gate_ != nullptr) {
      gate_->enter();
    }
  }
  ~Update() {
    if (gate_ != nullptr) {
      gate_->leave();
    }
  }
  Update(const Update&) = delete;
  Update& operator=(const Update&) = delete;

 private:
  UpdateGate* const gate_;
};

}  // namespace quire
