// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/futex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "quire/sys/call.h"

namespace quire::sys {
namespace {

static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t) &&
                  std::atomic<std::uint32_t>::is_always_lock_free,
              "the kernel looks at the word itself");

constexpr std::uint32_t kFree = 0;
constexpr std::uint32_t kHeld = 1;
constexpr std::uint32_t kContended = 2;

// A stretch under such a lock takes some hundred nanoseconds, and so do this many looks; sleeping
// and being woken takes ten times that.
constexpr int kSpinsMax = 64;

// 0 or more, or minus the errno; the caller's errno stays.
long futex(const void* word, int operation, std::uint32_t value, const timespec* timeout) noexcept {
  const CallSite site = CallSite::enter(Call::kFutex);
  if (site.error != 0) {
    return -site.error;
  }
  const int saved_errno = errno;
  const long result = ::syscall(SYS_futex, word, operation, value, timeout, nullptr, 0);
  const long outcome = result >= 0 ? result : -long{errno};
  errno = saved_errno;
  return outcome;
}

bool wait(const void* word, int operation, std::uint32_t expected,
          std::chrono::nanoseconds timeout) noexcept {
  constexpr std::int64_t kNanosecondsPerSecond = 1'000'000'000;
  if (timeout == std::chrono::nanoseconds::max()) {
    futex(word, operation, expected, nullptr);
    return true;
  }
  const std::int64_t left_ns = std::max<std::int64_t>(timeout.count(), 0);
  const timespec relative{.tv_sec = left_ns / kNanosecondsPerSecond,
                          .tv_nsec = left_ns % kNanosecondsPerSecond};
  return futex(word, operation, expected, &relative) != -ETIMEDOUT;
}

}  // namespace

bool futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                std::chrono::nanoseconds timeout) noexcept {
  return wait(&word, FUTEX_WAIT_PRIVATE, expected, timeout);
}

void futex_wake_one(const std::atomic<std::uint32_t>& word) noexcept {
  futex(&word, FUTEX_WAKE_PRIVATE, 1, nullptr);
}

void futex_wake_all(const std::atomic<std::uint32_t>& word) noexcept {
  futex(&word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr);
}

bool shared_futex_wait(const void* word, std::uint32_t expected,
                       std::chrono::nanoseconds timeout) noexcept {
  return wait(word, FUTEX_WAIT, expected, timeout);
}

void shared_futex_wake_one(const void* word) noexcept {
  futex(word, FUTEX_WAKE, 1, nullptr);
}

void shared_futex_wake_all(const void* word) noexcept {
  futex(word, FUTEX_WAKE, INT_MAX, nullptr);
}

void FutexLock::lock() noexcept {
  for (int spin = 0; spin < kSpinsMax; ++spin) {
    std::uint32_t state = kFree;
    // Acquire pairs with the release in unlock().
    if (state_.compare_exchange_weak(state, kHeld, std::memory_order_acquire,
                                     std::memory_order_relaxed)) {
      return;
    }
    if (state == kContended) {
      break;  // Others sleep already: spinning in front of them only makes them wait longer.
    }
    pause_processor();
  }
  // Whoever gets it here cannot know that he was the last to sleep, and leaves it contended.
  while (state_.exchange(kContended, std::memory_order_acquire) != kFree) {
    futex_wait(state_, kContended);
  }
}

void FutexLock::unlock() noexcept {
  if (state_.exchange(kFree, std::memory_order_release) == kContended) {
    futex_wake_one(state_);
  }
}

}  // namespace quire::sys
