// SPDX-License-Identifier: Apache-2.0
//
// Guardian: the owner's side of the guardian process; see quire/pager/survive_kill.h.
//
//   no areas --watch(): process started--> watching --the last forget()--> no areas
//                                             |  ^
//                             it dies: note_end()  '-- lost: watch() fails, the rest does nothing,
//                                                      check() says so; ends with the last forget()
//
// Invariants:    an area is marked by us (kOwnerByte) before it is by the guardian, and after: its
//                mark alone means that we are dead.
// Thread-safety: every member from any thread; set_size() and set_has_zeros() also where a fault is
//                being served: they only store a word.
// Blocks:        watch() and forget(): for an answer, kAnswerWait at most.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "quire/base/mutex.h"
#include "quire/base/result.h"
#include "quire/pager/internal/guardian_process.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/fork.h"

namespace quire::internal {

struct GuardedArea {
  const std::string& name;
  int file = -1;  // Any way it was opened; the guardian opens it anew.
  int memory = -1;
  int states = -1;
  std::uint64_t size_bytes = 0;
  std::uint64_t granule_bytes = 0;
  std::uint64_t granule_count = 0;
};

class Guardian {
 public:
  // A process that has as much to do as to receive three descriptors.
  static constexpr std::chrono::milliseconds kAnswerWait{30'000};

  Guardian() = default;
  // REQUIRES: nothing is watched.
  ~Guardian();
  Guardian(const Guardian&) = delete;
  Guardian& operator=(const Guardian&) = delete;

  // Returns a slot. Starts the process if there is none.
  // Errors: kUnsupported for what is not a regular file; kLimit; EAGAIN, ENOMEM, EMFILE; EACCES
  //         when the file cannot be opened once more; ENOLCK; kFailed when the process has died.
  [[nodiscard]] Result<std::uint32_t> watch(const GuardedArea& area);
  // From now on what happens to the area is nobody's business.
  void forget(std::uint32_t slot) noexcept;

  void set_size(std::uint32_t slot, std::uint64_t size_bytes) noexcept;
  void set_has_zeros(std::uint32_t slot) noexcept;

  // Readable when the process has ended; -1 when there is none. Valid until the last forget().
  [[nodiscard]] int end_descriptor() const;
  // Looks whether it has ended while it was needed, and says so on standard error, once.
  void note_end() noexcept;
  // kFailed when it has.
  [[nodiscard]] Result<void> check() const;
  // "stores survive a kill (guardian process 4711)"
  [[nodiscard]] std::string explain() const;

 private:
  Result<void> start() QUIRE_REQUIRES(mutex_);
  Result<void> ask(const GuardRequest& request, const GuardedArea& area, int file)
      QUIRE_REQUIRES(mutex_);
  [[nodiscard]] sys::Outcome<int> exchange(const GuardRequest& request,
                                           const std::array<int, 3>& descriptors)
      QUIRE_REQUIRES(mutex_);
  void stop() noexcept QUIRE_REQUIRES(mutex_);
  void note_lost() noexcept QUIRE_REQUIRES(mutex_);

  mutable Mutex mutex_;
  GuardBoard* board_ = nullptr;            // Made with the first process, kept for the next ones.
  int pid_ QUIRE_GUARDED_BY(mutex_) = -1;  // -1: there is none.
  bool is_lost_ QUIRE_GUARDED_BY(mutex_) = false;
  sys::UnsharedDescriptor socket_ QUIRE_GUARDED_BY(mutex_);
  sys::Descriptor process_ QUIRE_GUARDED_BY(mutex_);  // A pidfd.
  std::size_t watched_ QUIRE_GUARDED_BY(mutex_) = 0;
  // Our marks; an empty one: the slot is free.
  std::array<sys::UnsharedDescriptor, kGuardedAreasMax> marks_ QUIRE_GUARDED_BY(mutex_);
};

}  // namespace quire::internal
