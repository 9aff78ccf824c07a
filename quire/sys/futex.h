// SPDX-License-Identifier: Apache-2.0
//
// futex: waiting for a 32-bit word to change, and a lock made of one: what may be used where a
// page fault is being served, which std::mutex and its malloc-aware friends may not promise.
//
// Thread-safety: any thread, and signal handlers that were raised by an access of memory (SIGBUS):
//                nothing allocates; errno is kept.
// Kernel:        any.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "quire/base/mutex.h"

namespace quire::sys {

// Sleeps while `word` holds `expected`, until somebody wakes it. May come back for no reason.
// False: the time ran out.
bool futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t expected,
                std::chrono::nanoseconds timeout = std::chrono::nanoseconds::max()) noexcept;
void futex_wake_one(const std::atomic<std::uint32_t>& word) noexcept;
void futex_wake_all(const std::atomic<std::uint32_t>& word) noexcept;

// The same between processes, for a word in memory that they share: 4 bytes, aligned to 4, which
// may be one half of a larger atomic.
bool shared_futex_wait(const void* word, std::uint32_t expected,
                       std::chrono::nanoseconds timeout = std::chrono::nanoseconds::max()) noexcept;
void shared_futex_wake_one(const void* word) noexcept;
void shared_futex_wake_all(const void* word) noexcept;

// Between two looks at a word that another processor will change soon.
inline void pause_processor() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// A lock for short stretches without I/O. Not recursive, not fair. Spins a little, then sleeps.
//   0 free    1 held    2 held, and somebody may sleep
class QUIRE_CAPABILITY("mutex") FutexLock {
 public:
  void lock() noexcept QUIRE_ACQUIRE();
  void unlock() noexcept QUIRE_RELEASE();

 private:
  std::atomic<std::uint32_t> state_{0};
};

class QUIRE_SCOPED_CAPABILITY FutexLockGuard {
 public:
  explicit FutexLockGuard(FutexLock& lock) noexcept QUIRE_ACQUIRE(lock) : lock_(lock) {
    lock_.lock();
  }
  ~FutexLockGuard() QUIRE_RELEASE() { lock_.unlock(); }
  FutexLockGuard(const FutexLockGuard&) = delete;
  FutexLockGuard& operator=(const FutexLockGuard&) = delete;

 private:
  FutexLock& lock_;
};

}  // namespace quire::sys
