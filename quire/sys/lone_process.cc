// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/lone_process.h"

#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdint>
#include <new>

#include "quire/base/check.h"
#include "quire/sys/call.h"
#include "quire/sys/internal/inherited_memory.h"
#include "quire/sys/internal/run.h"
#include "quire/sys/memory.h"
#include "quire/sys/signals.h"

namespace quire::sys {
namespace {

using internal::AddressRange;
using internal::run;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kDropsMemory = false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
constexpr bool kDropsMemory = false;
#else
constexpr bool kDropsMemory = true;
#endif
#else
constexpr bool kDropsMemory = true;
#endif

// Around the thread's control block: what the C library and the kernel keep there of a thread
// (errno, the stack protector's word, restartable sequences) is much smaller.
constexpr std::uint64_t kThreadBytes = 65'536;
constexpr int kExitUnprepared = 125;

AddressRange range_of(std::span<std::byte> memory) noexcept {
  const auto begin = reinterpret_cast<std::uintptr_t>(memory.data());
  return {begin, begin + memory.size()};
}

AddressRange range_of_thread() noexcept {
  const auto thread = reinterpret_cast<std::uintptr_t>(__builtin_thread_pointer());
  const auto error = reinterpret_cast<std::uintptr_t>(&errno);
  const std::uint64_t page_bytes = os_page_size().bytes();
  const std::uint64_t begin = std::min<std::uint64_t>(thread - kThreadBytes, error);
  return {begin / page_bytes * page_bytes, (thread + kThreadBytes) / page_bytes * page_bytes};
}

void leave_signals() noexcept {
  sigset_t all;
  ::sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  for (int number = 1; number < NSIG; ++number) {
    ::signal(number, SIG_DFL);  // Refused for those that cannot be caught.
  }
}

bool close_all_but(int kept) noexcept {
  const auto close = [](unsigned first, unsigned last) {
    return first > last || ::syscall(SYS_close_range, first, last, 0U) == 0;
  };
  const auto fd = static_cast<unsigned>(kept);
  return close(0, STDERR_FILENO - 1) && close(STDERR_FILENO + 1, fd - 1) && close(fd + 1, UINT_MAX);
}

// The first function on the new stack.
int begin(void* raw) noexcept {
  // A copy: the original lies at the far end of this stack.
  const LoneProcessRequest request = *static_cast<const LoneProcessRequest*>(raw);
  CallSite::installed_plan.store(nullptr);  // It lies in memory that goes.
  leave_signals();
  ::setsid();
  ::prctl(PR_SET_NAME, request.name);
  if (::chdir("/") != 0 || !close_all_but(request.descriptor)) {
    ::_exit(kExitUnprepared);
  }
  if constexpr (kDropsMemory) {
    internal::KeptRanges kept{range_of(request.kept[0]), range_of(request.kept[1]),
                              range_of_thread()};
    std::ranges::sort(kept, {}, &AddressRange::begin);
    internal::drop_inherited_memory(kept);
  }
  ::_exit(request.work(request.argument));
}

}  // namespace

Outcome<int> start_lone_process(const LoneProcessRequest& request) noexcept {
  QUIRE_CHECK_GT(request.descriptor, STDERR_FILENO);
  constexpr std::size_t kTop = (sizeof(LoneProcessRequest) + 63) / 64 * 64;
  QUIRE_CHECK_GT(request.stack.size(), kTop);
  std::byte* const top = request.stack.data() + request.stack.size() - kTop;
  void* const argument = new (top) LoneProcessRequest(request);
  // No handler of the program may run in the new process.
  const BlockedSignals blocked;
  return run(Call::kProcess,
             [&](const CallSite&) { return ::clone(begin, top, /*flags=*/0, argument); });
}

Outcome<void> reap_lone_process(int pid) noexcept {
  const Outcome<pid_t> reaped =
      run(Call::kProcess, [&](const CallSite&) { return ::waitpid(pid, nullptr, __WALL); });
  return reaped ? Outcome<void>() : tl::unexpected<Errno>(reaped.error());
}

}  // namespace quire::sys
