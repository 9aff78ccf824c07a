// SPDX-License-Identifier: Apache-2.0
//
// Mutex: std::mutex that Clang's thread-safety analysis understands: a member marked
// QUIRE_GUARDED_BY(mutex_) that is touched without the lock does not compile under clang.
// Under GCC the annotations vanish.
//
// Thread-safety: that is its job. Blocks: lock() and CondVar::wait().
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#if defined(__clang__)
#define QUIRE_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define QUIRE_THREAD_ANNOTATION(x)
#endif

#define QUIRE_CAPABILITY(x) QUIRE_THREAD_ANNOTATION(capability(x))
#define QUIRE_SCOPED_CAPABILITY QUIRE_THREAD_ANNOTATION(scoped_lockable)
#define QUIRE_GUARDED_BY(x) QUIRE_THREAD_ANNOTATION(guarded_by(x))
#define QUIRE_REQUIRES(...) QUIRE_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define QUIRE_ACQUIRE(...) QUIRE_THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define QUIRE_TRY_ACQUIRE(...) QUIRE_THREAD_ANNOTATION(try_acquire_capability(__VA_ARGS__))
#define QUIRE_RELEASE(...) QUIRE_THREAD_ANNOTATION(release_capability(__VA_ARGS__))
#define QUIRE_EXCLUDES(...) QUIRE_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))
#define QUIRE_NO_THREAD_SAFETY_ANALYSIS QUIRE_THREAD_ANNOTATION(no_thread_safety_analysis)

namespace quire {

class QUIRE_CAPABILITY("mutex") Mutex {
 public:
  void lock() QUIRE_ACQUIRE() { mutex_.lock(); }
  void unlock() QUIRE_RELEASE() { mutex_.unlock(); }
  [[nodiscard]] bool try_lock() QUIRE_TRY_ACQUIRE(true) { return mutex_.try_lock(); }

 private:
  friend class CondVar;
  std::mutex mutex_;
};

class QUIRE_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) QUIRE_ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() QUIRE_RELEASE() { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

// Waits can wake for no reason: always in a loop over the condition.
class CondVar {
 public:
  void wait(Mutex& mutex) QUIRE_REQUIRES(mutex) QUIRE_NO_THREAD_SAFETY_ANALYSIS {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    condition_.wait(lock);
    lock.release();
  }

  // False when the deadline passed first.
  bool wait_until(Mutex& mutex, std::chrono::steady_clock::time_point deadline)
      QUIRE_REQUIRES(mutex) QUIRE_NO_THREAD_SAFETY_ANALYSIS {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    const std::cv_status status = condition_.wait_until(lock, deadline);
    lock.release();
    return status == std::cv_status::no_timeout;
  }

  void notify_one() noexcept { condition_.notify_one(); }
  void notify_all() noexcept { condition_.notify_all(); }

 private:
  std::condition_variable condition_;
};

}  // namespace quire
