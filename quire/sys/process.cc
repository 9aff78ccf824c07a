// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/process.h"

#include <sys/prctl.h>
#include <sys/random.h>
#include <unistd.h>

#include <ctime>

#include "quire/sys/call.h"
#include "quire/sys/internal/run.h"

namespace quire::sys {

int process_id() noexcept {
  return ::getpid();
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

Outcome<void> draw_random(std::span<std::byte> into) noexcept {
  return internal::run_void(Call::kProcess,
                            [&] { return ::getrandom(into.data(), into.size(), 0) < 0 ? -1 : 0; });
}

}  // namespace quire::sys
