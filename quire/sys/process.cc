// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/process.h"

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "quire/sys/call.h"
#include "quire/sys/fork.h"
#include "quire/sys/internal/run.h"

namespace quire::sys {

int process_id() noexcept {
  return ::getpid();
}

namespace internal {

int ask_thread_id() noexcept {
  // A child has the thread-local variables of the thread that made it, and another number.
  static const bool is_forgotten_in_children =
      on_fork_in_child([] { known_thread_id = 0; }).has_value();
  const int asked = static_cast<int>(::syscall(SYS_gettid));
  known_thread_id = is_forgotten_in_children ? asked : 0;
  return asked;
}

}  // namespace internal

bool thread_exists(int process, int thread) noexcept {
  const Outcome<void> probed = internal::run_void(
      Call::kProcess, [&] { return static_cast<int>(::syscall(SYS_tgkill, process, thread, 0)); });
  return probed.has_value() || probed.error().value != ESRCH;
}

bool is_root() noexcept {
  return ::geteuid() == 0;
}

std::uint64_t thread_cpu_ns() noexcept {
  constexpr std::uint64_t kNanosecondsPerSecond = 1'000'000'000;
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * kNanosecondsPerSecond +
         static_cast<std::uint64_t>(time.tv_nsec);
}

void name_this_thread(const char* name) noexcept {
  ::prctl(PR_SET_NAME, name);
}

Outcome<void> stay_on_processor(unsigned ordinal) noexcept {
  cpu_set_t usable;
  CPU_ZERO(&usable);
  QUIRE_TRY(internal::run_void(Call::kProcess,
                               [&] { return ::sched_getaffinity(0, sizeof usable, &usable); }));
  unsigned left = ordinal % static_cast<unsigned>(CPU_COUNT(&usable));
  unsigned processor = 0;
  while (!CPU_ISSET(processor, &usable) || left-- != 0) {
    ++processor;
  }
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(processor, &one);
  return internal::run_void(Call::kProcess,
                            [&] { return ::sched_setaffinity(0, sizeof one, &one); });
}

Outcome<void> draw_random(std::span<std::byte> into) noexcept {
  return internal::run_void(Call::kProcess,
                            [&] { return ::getrandom(into.data(), into.size(), 0) < 0 ? -1 : 0; });
}

}  // namespace quire::sys
