// SPDX-License-Identifier: Apache-2.0
//
// call: every wrapper of this floor announces itself here before it enters the kernel, which makes
// one place where tests count calls and make the n-th call of a kind fail.
//
//   sys::FaultPlan plan({.call = sys::Call::kMap, .nth = 3, .error = ENOMEM});
//   ... the third mmap from now fails with ENOMEM and never reaches the kernel ...
//   EXPECT_EQ(plan.hits(), 1u);   EXPECT_EQ(plan.count(sys::Call::kClose), 2u);
//
// Invariants:    without a plan a call costs one relaxed load; there is at most one plan at a time.
// Thread-safety: calls may come from any thread; a plan is installed and removed by one thread
//                while no other thread is inside a wrapper that it has not joined.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "quire/sys/outcome.h"

namespace quire::sys {

enum class Call : std::uint8_t {
  kOpen,
  kClose,
  kStatus,
  kDuplicate,
  kRead,
  kWrite,
  kSeek,
  kTruncate,
  kAllocate,
  kPunch,
  kSyncData,
  kSyncAll,
  kSyncRange,
  kAdviseFile,
  kReadAhead,
  kCacheStatus,
  kMap,
  kUnmap,
  kProtect,
  kRemap,
  kAdviseMemory,
  kLock,
  kUnlock,
  kResidency,
  kSyncMemory,
  kMemfd,
  kSeal,
  kSocket,
  kSend,
  kReceive,
  kFileSystem,
  kControl,
  kDirectory,
  kSignal,
  kPoll,
  kRename,
  kUnlink,
  kProbe,
  kSendFile,
  kSplice,
  kCopyRange,
  kClone,
  kPipe,
  kLink,
  kMakeDirectory,
  kMetadata,
  kAttribute,
  kProcess,
  kEvent,
  kRingSetup,
  kRingRegister,
  kRingSubmit,
  kRingWait,
  kUserFault,         // The ioctls of a userfaultfd.
  kUserFaultWake,     // The one of them that cannot fail, and that nobody could do without.
  kUserFaultMessage,  // Reading from one.
  kPageScan,
  kFutex,
  kPoller,
  kTimer,
  kBarrier,
  kRingCompletion,  // Not a call: the result of an entry of a ring, as it is taken.
  kCount,           // Not a call: how many kinds there are.
};

// "mmap", "pread": the name of the system call that stands for the kind, for messages.
[[nodiscard]] const char* name_of(Call call) noexcept;

// What is to happen to the calls of one kind.
struct FaultRule {
  Call call = Call::kCount;            // kCount: nothing fails, the plan only counts.
  std::uint64_t nth = 1;               // The first call to be hit, counted from 1.
  std::uint64_t times = 1;             // How many in a row, from the nth.
  int error = 0;                       // The errno they fail with; 0: they transfer less instead.
  std::size_t transfer_bytes_max = 0;  // With error 0: reads and writes move at most this much.
};

class FaultPlan {
 public:
  // REQUIRES: no other plan is installed.
  explicit FaultPlan(FaultRule rule) noexcept;
  ~FaultPlan();
  FaultPlan(const FaultPlan&) = delete;
  FaultPlan& operator=(const FaultPlan&) = delete;

  // Calls of a kind since the plan was installed, failed ones too.
  [[nodiscard]] std::uint64_t count(Call call) const noexcept;
  // Calls that the rule was applied to.
  [[nodiscard]] std::uint64_t hits() const noexcept { return hits_.load(); }

 private:
  friend struct CallSite;

  const FaultRule rule_;
  std::array<std::atomic<std::uint64_t>, static_cast<std::size_t>(Call::kCount)> counts_{};
  std::atomic<std::uint64_t> hits_{0};
};

// One passage through the door. Used by the wrappers of this floor and by nobody else.
struct CallSite {
  int error = 0;  // Not 0: do not enter the kernel, fail with this errno.
  std::size_t transfer_bytes_max = SIZE_MAX;

  static CallSite enter(Call call) noexcept {
    // Acquire pairs with the release in FaultPlan's constructor: the rule is seen whole.
    FaultPlan* plan = installed_plan.load(std::memory_order_acquire);
    return plan == nullptr ? CallSite{} : apply(*plan, call);
  }

  static CallSite apply(FaultPlan& plan, Call call) noexcept;
  static std::atomic<FaultPlan*> installed_plan;
};

}  // namespace quire::sys
