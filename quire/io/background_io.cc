// SPDX-License-Identifier: Apache-2.0
#include "quire/io/background_io.h"

#include <fmt/format.h>

#include <cerrno>
#include <deque>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "quire/base/mutex.h"
#include "quire/base/units.h"
#include "quire/sys/outcome.h"

namespace quire {

class BackgroundIo::State {
 public:
  // Errors: EAGAIN when there is no thread to be had.
  static Result<std::unique_ptr<State>> start(std::unique_ptr<IoQueue> queue);
  explicit State(std::unique_ptr<IoQueue> queue) : queue_(std::move(queue)) {}
  ~State();

  Ticket post(const IoRequest& request);
  [[nodiscard]] std::string explain();

 private:
  struct Job {
    State* state = nullptr;
    IoRequest request;
    Ticket::Source ticket;
  };

  void work();
  // Takes what came, and answers explain(). False when the end was asked for and nothing came.
  bool take(std::deque<std::unique_ptr<Job>>& jobs);
  void begin(std::unique_ptr<Job> job);
  void finish(std::unique_ptr<Job> job);

  std::unique_ptr<IoQueue> queue_;  // The thread's, once it runs.
  Mutex mutex_;
  CondVar has_room_;
  CondVar is_explained_;
  std::deque<std::unique_ptr<Job>> incoming_ QUIRE_GUARDED_BY(mutex_);
  std::size_t unfinished_count_ QUIRE_GUARDED_BY(mutex_) = 0;
  std::size_t explanations_wanted_ QUIRE_GUARDED_BY(mutex_) = 0;
  std::uint64_t explanation_number_ QUIRE_GUARDED_BY(mutex_) = 0;
  std::string explanation_ QUIRE_GUARDED_BY(mutex_);
  bool is_ending_ QUIRE_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

Result<std::unique_ptr<BackgroundIo::State>> BackgroundIo::State::start(
    std::unique_ptr<IoQueue> queue) {
  auto state = std::make_unique<State>(std::move(queue));
  try {
    state->thread_ = std::thread([&state = *state] { state.work(); });
  } catch (const std::system_error&) {
    return fail(sys::to_error({EAGAIN}, "background_io", "its thread",
                              "the limit of processes is reached (ulimit -u, pids cgroup)"));
  }
  return state;
}

BackgroundIo::State::~State() {
  if (!thread_.joinable()) {
    return;
  }
  {
    const MutexLock lock(mutex_);
    is_ending_ = true;
  }
  queue_->interrupt();
  thread_.join();
}

Ticket BackgroundIo::State::post(const IoRequest& request) {
  auto job = std::make_unique<Job>();
  job->state = this;
  job->request = request;
  job->request.context = job.get();
  job->request.on_done = [](IoRequest& done) {
    Job* ended = static_cast<Job*>(done.context);
    ended->state->finish(std::unique_ptr<Job>(ended));
  };
  const Ticket ticket = job->ticket.ticket();
  {
    const MutexLock lock(mutex_);
    while (unfinished_count_ >= kWaitingMax) {
      has_room_.wait(mutex_);
    }
    ++unfinished_count_;
    incoming_.push_back(std::move(job));
  }
  queue_->interrupt();
  return ticket;
}

std::string BackgroundIo::State::explain() {
  const MutexLock lock(mutex_);
  const std::uint64_t before = explanation_number_;
  ++explanations_wanted_;
  queue_->interrupt();
  while (explanation_number_ == before) {
    is_explained_.wait(mutex_);
  }
  return explanation_;
}

void BackgroundIo::State::work() {
  std::deque<std::unique_ptr<Job>> jobs;
  while (take(jobs)) {
    for (std::unique_ptr<Job>& job : jobs) {
      begin(std::move(job));
    }
    jobs.clear();
    static_cast<void>(queue_->wait_interruptibly());
  }
  queue_->drain();
}

bool BackgroundIo::State::take(std::deque<std::unique_ptr<Job>>& jobs) {
  const MutexLock lock(mutex_);
  jobs.swap(incoming_);
  if (explanations_wanted_ > 0) {
    explanation_ = queue_->explain();
    ++explanation_number_;
    explanations_wanted_ = 0;
    is_explained_.notify_all();
  }
  return !jobs.empty() || !is_ending_;
}

void BackgroundIo::State::begin(std::unique_ptr<Job> job) {
  if (job->request.operation == IoOperation::kSync) {
    queue_->drain();  // It covers what came before it, so that must be done.
  }
  queue_->submit(job.release()->request);
}

void BackgroundIo::State::finish(std::unique_ptr<Job> job) {
  const IoRequest& request = job->request;
  const Result<std::uint64_t> bytes = request.result();
  if (!bytes) {
    job->ticket.resolve(fail(bytes.error()));
  } else if (request.operation == IoOperation::kRead && *bytes < request.memory.size()) {
    const ByteRange range{.offset_bytes = request.offset_bytes,
                          .length_bytes = request.memory.size()};
    job->ticket.resolve(fail(make_error(
        Errc::kOutOfRange, "read", fmt::format("{}, {}", request.store->name(), describe(range)),
        fmt::format("the store ends after {} of them", *bytes))));
  } else {
    job->ticket.resolve({});
  }
  {
    const MutexLock lock(mutex_);
    --unfinished_count_;
  }
  has_room_.notify_one();
}

// --- what callers see ---------------------------------------------------------------------------

BackgroundIo::BackgroundIo(std::unique_ptr<State> state) : state_(std::move(state)) {}

BackgroundIo::~BackgroundIo() = default;

Result<std::unique_ptr<BackgroundIo>> BackgroundIo::make(const IoQueueOptions& options) {
  auto state = QUIRE_TRY(State::start(QUIRE_TRY(IoQueue::make(options))));
  return std::unique_ptr<BackgroundIo>(new BackgroundIo(std::move(state)));
}

Ticket BackgroundIo::read(Store& store, std::uint64_t offset_bytes, std::span<std::byte> into) {
  return state_->post({.store = &store,
                       .operation = IoOperation::kRead,
                       .offset_bytes = offset_bytes,
                       .memory = into});
}

Ticket BackgroundIo::write(Store& store, std::uint64_t offset_bytes,
                           std::span<const std::byte> from) {
  // A write only reads its memory.
  return state_->post({.store = &store,
                       .operation = IoOperation::kWrite,
                       .offset_bytes = offset_bytes,
                       .memory = {const_cast<std::byte*>(from.data()), from.size()}});
}

Ticket BackgroundIo::sync(Store& store, Durability durability) {
  return state_->post({.store = &store, .operation = IoOperation::kSync, .durability = durability});
}

std::string BackgroundIo::explain() const {
  return state_->explain();
}

}  // namespace quire
