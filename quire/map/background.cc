// SPDX-License-Identifier: Apache-2.0
#include <deque>
#include <memory>
#include <system_error>
#include <thread>

#include "quire/base/mutex.h"
#include "quire/map/internal/background.h"
#include "quire/sys/process.h"

namespace quire::internal {
namespace {

class Worker {
 public:
  Worker() : thread_([this] { run(); }) {}

  ~Worker() {
    {
      const MutexLock lock(mutex_);
      is_ending_ = true;
    }
    has_work_.notify_one();
    thread_.join();
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  bool post(std::function<void()> job) {
    const MutexLock lock(mutex_);
    if (jobs_.size() >= kBackgroundJobsMax) {
      return false;
    }
    jobs_.push_back(std::move(job));
    has_work_.notify_one();
    return true;
  }

 private:
  void run() {
    for (;;) {
      std::function<void()> job = next();
      if (!job) {
        return;
      }
      job();
    }
  }

  // Empty when the queue is done and the process ends.
  std::function<void()> next() {
    const MutexLock lock(mutex_);
    while (jobs_.empty()) {
      if (is_ending_) {
        return {};
      }
      has_work_.wait(mutex_);
    }
    std::function<void()> job = std::move(jobs_.front());
    jobs_.pop_front();
    return job;
  }

  Mutex mutex_;
  CondVar has_work_;
  std::deque<std::function<void()>> jobs_ QUIRE_GUARDED_BY(mutex_);
  bool is_ending_ QUIRE_GUARDED_BY(mutex_) = false;
  std::thread thread_;  // Last: it starts when everything above is there.
};

// The worker of this process; replaced, and the inherited copy abandoned, after a fork.
class Owner {
 public:
  ~Owner() {
    if (process_id_ != sys::process_id()) {
      static_cast<void>(worker_.release());  // A forked child: the thread was never here.
    }
  }

  bool post(std::function<void()> job) {
    const MutexLock lock(mutex_);
    if (process_id_ != sys::process_id()) {
      static_cast<void>(worker_.release());
      process_id_ = sys::process_id();
    }
    if (worker_ == nullptr) {
      try {
        worker_ = std::make_unique<Worker>();
      } catch (const std::system_error&) {
        return false;  // No thread to be had (RLIMIT_NPROC, pids cgroup).
      }
    }
    return worker_->post(std::move(job));
  }

 private:
  Mutex mutex_;
  std::unique_ptr<Worker> worker_ QUIRE_GUARDED_BY(mutex_);
  int process_id_ QUIRE_GUARDED_BY(mutex_) = sys::process_id();
};

}  // namespace

bool post_to_background(std::function<void()> job) {
  static Owner owner;
  return owner.post(std::move(job));
}

}  // namespace quire::internal
