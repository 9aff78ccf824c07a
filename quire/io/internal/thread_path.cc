// SPDX-License-Identifier: Apache-2.0
#include "quire/io/internal/thread_path.h"

#include <system_error>
#include <utility>

#include "quire/sys/event.h"

namespace quire::internal {
namespace {

void keep(QueueSlot& slot, const Result<void>& outcome) {
  if (outcome) {
    slot.done_bytes = slot.request->memory.size();
  } else {
    slot.error = outcome.error().code();
  }
}

// The rest of the request, by the functions of its Store.
void perform(QueueSlot& slot) {
  IoRequest& request = *slot.request;
  switch (request.operation) {
    case IoOperation::kRead:
      if (const auto bytes = request.store->read(slot.position_bytes(), slot.rest())) {
        slot.done_bytes += *bytes;
      } else {
        slot.error = bytes.error().code();
      }
      break;
    case IoOperation::kWrite:
      keep(slot, request.store->write(slot.position_bytes(), slot.rest()));
      break;
    case IoOperation::kSync: keep(slot, request.store->sync(request.durability)); break;
  }
}

}  // namespace

ThreadPath::ThreadPath(std::uint32_t thread_count_max, const sys::Descriptor& wake)
    : thread_count_max_(thread_count_max), wake_(wake) {}

ThreadPath::~ThreadPath() {
  QUIRE_CHECK_EQ(outstanding_, 0U);
  std::vector<std::thread> threads;
  {
    const MutexLock lock(mutex_);
    is_ending_ = true;
    threads.swap(threads_);
  }
  has_work_.notify_all();
  for (std::thread& thread : threads) {
    thread.join();
  }
}

void ThreadPath::start(QueueSlot& slot) {
  slot.is_kernels = false;
  ++outstanding_;
  bool has_thread = false;
  {
    const MutexLock lock(mutex_);
    if (idle_count_ <= todo_.size() && threads_.size() < thread_count_max_) {
      start_thread();
    }
    has_thread = !threads_.empty();
    if (has_thread) {
      todo_.push_back(&slot);
    }
  }
  if (has_thread) {
    has_work_.notify_one();
    return;
  }
  perform(slot);
  const MutexLock lock(mutex_);
  done_.push_back(&slot);
}

void ThreadPath::start_thread() {
  try {
    threads_.emplace_back([this] { work(); });
  } catch (const std::system_error&) {
    // RLIMIT_NPROC or a pids cgroup: as many as there are do the same work.
  }
}

void ThreadPath::take_done(std::vector<QueueSlot*>& into) {
  if (outstanding_ == 0) {
    return;
  }
  const MutexLock lock(mutex_);
  outstanding_ -= done_.size();
  into.insert(into.end(), done_.begin(), done_.end());
  done_.clear();
}

void ThreadPath::wait_done() {
  QUIRE_CHECK_GT(outstanding_, 0U);
  const MutexLock lock(mutex_);
  while (done_.empty()) {
    has_done_.wait(mutex_);
  }
}

void ThreadPath::wait_done_or_interrupted() {
  const MutexLock lock(mutex_);
  while (done_.empty() && !is_interrupted_) {
    has_done_.wait(mutex_);
  }
  is_interrupted_ = false;
}

void ThreadPath::interrupt() {
  {
    const MutexLock lock(mutex_);
    is_interrupted_ = true;
  }
  has_done_.notify_one();
}

void ThreadPath::work() {
  for (;;) {
    QueueSlot* slot = nullptr;
    {
      const MutexLock lock(mutex_);
      ++idle_count_;
      while (todo_.empty() && !is_ending_) {
        has_work_.wait(mutex_);
      }
      --idle_count_;
      if (todo_.empty()) {
        return;
      }
      slot = todo_.front();
      todo_.pop_front();
    }
    perform(*slot);
    {
      const MutexLock lock(mutex_);
      done_.push_back(slot);
    }
    has_done_.notify_one();
    if (wake_.is_open()) {
      sys::signal_event(wake_);
    }
  }
}

}  // namespace quire::internal
