// SPDX-License-Identifier: Apache-2.0
#include "quire/io/internal/thread_path.h"

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <system_error>
#include <utility>

#include "quire/sys/event.h"
#include "quire/sys/file.h"

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
    case IoOperation::kCall:
      request.call(request);
      slot.error = request.error;
      break;
    case IoOperation::kAwaitReadable:
      if (const auto readable = sys::wait_readable(request.fd, -1); !readable) {
        slot.error = {readable.error().value, std::system_category()};
      }
      break;
  }
}

}  // namespace

ThreadPath::ThreadPath(std::uint32_t thread_count_max, const sys::Descriptor& wake)
    : wake_(wake), transfers_(thread_count_max) {}

ThreadPath::~ThreadPath() {
  QUIRE_CHECK_EQ(outstanding_, 0U);
  std::vector<std::thread> threads;
  {
    const MutexLock lock(mutex_);
    is_ending_ = true;
    for (Crew* crew : {&transfers_, &awaits_}) {
      std::ranges::move(crew->threads, std::back_inserter(threads));
      crew->has_work.notify_all();
    }
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
}

void ThreadPath::start(QueueSlot& slot) {
  slot.is_kernels = false;
  ++outstanding_;
  {
    const MutexLock lock(mutex_);
    if (post(slot.is_await() ? awaits_ : transfers_, slot)) {
      return;
    }
  }
  if (slot.is_await()) {
    slot.error = {EAGAIN, std::system_category()};
  } else {
    perform(slot);
  }
  const MutexLock lock(mutex_);
  done_.push_back(&slot);
}

// False: there is no thread for it.
bool ThreadPath::post(Crew& crew, QueueSlot& slot) {
  if (crew.unfinished_count >= crew.threads.size() && crew.threads.size() < crew.thread_count_max) {
    start_thread(crew);
  }
  const std::size_t wanted = slot.is_await() ? crew.unfinished_count + 1 : 1;
  if (crew.threads.size() < wanted) {
    return false;
  }
  ++crew.unfinished_count;
  crew.todo.push_back(&slot);
  crew.has_work.notify_one();
  return true;
}

void ThreadPath::start_thread(Crew& crew) {
  try {
    crew.threads.emplace_back([this, &crew] { work(crew); });
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

void ThreadPath::work(Crew& crew) {
  for (;;) {
    QueueSlot* slot = nullptr;
    {
      const MutexLock lock(mutex_);
      while (crew.todo.empty() && !is_ending_) {
        crew.has_work.wait(mutex_);
      }
      if (crew.todo.empty()) {
        return;
      }
      slot = crew.todo.front();
      crew.todo.pop_front();
    }
    perform(*slot);
    {
      const MutexLock lock(mutex_);
      --crew.unfinished_count;
      done_.push_back(slot);
    }
    has_done_.notify_one();
    if (wake_.is_open()) {
      sys::signal_event(wake_);
    }
  }
}

}  // namespace quire::internal
