// SPDX-License-Identifier: Apache-2.0
#include "quire/io/batch_reader.h"

#include <fmt/format.h>

#include <deque>
#include <limits>
#include <thread>
#include <utility>

#include "quire/base/mutex.h"
#include "quire/io/internal/batch_engine.h"
#include "quire/io/internal/batch_source.h"

namespace quire {
namespace {

struct Job {
  std::span<ReadRange> ranges;
  BatchReport* report = nullptr;
  Ticket::Source ticket;
};

Result<void> check(const BatchOptions& options) {
  const auto refuse = [](std::string cause) {
    return fail(make_error(Errc::kLimit, "read_batch", "options", std::move(cause)));
  };
  if (options.depth == 0 || options.depth > IoQueueOptions::kDepthMax) {
    return refuse(
        fmt::format("a depth of {} is not in 1 .. {}", options.depth, IoQueueOptions::kDepthMax));
  }
  if (options.request_bytes_max > BatchOptions::kRequestBytesMax) {
    return refuse(fmt::format("requests of {} are more than {}",
                              human_bytes(options.request_bytes_max),
                              human_bytes(BatchOptions::kRequestBytesMax)));
  }
  return {};
}

}  // namespace

class BatchReader::State {
 public:
  State(std::unique_ptr<internal::BatchSource> source,
        std::unique_ptr<internal::BatchEngine> engine)
      : source_(std::move(source)), engine_(std::move(engine)) {}

  ~State() {
    {
      const MutexLock lock(mutex_);
      is_ending_ = true;
    }
    changed_.notify_all();
    if (worker_.joinable()) {
      worker_.join();
    }
  }

  [[nodiscard]] internal::BatchEngine& engine() noexcept { return *engine_; }
  [[nodiscard]] internal::BatchSource& source() noexcept { return *source_; }

  Ticket start(Job job) {
    const Ticket ticket = job.ticket.ticket();
    const MutexLock lock(mutex_);
    jobs_.push_back(std::move(job));
    if (!worker_.joinable()) {
      worker_ = std::thread([this] { work(); });
    }
    changed_.notify_all();
    return ticket;
  }

 private:
  // Until the end, and until what was taken is done.
  void work() {
    // A ring belongs to its thread, so this one has an engine of its own.
    const auto engine = internal::BatchEngine::make(*source_);
    while (std::optional<Job> job = next_job()) {
      if (!engine) {
        job->ticket.resolve(fail(engine.error()));
        continue;
      }
      const Result<BatchReport> report = (*engine)->read(job->ranges);
      if (report && job->report != nullptr) {
        *job->report = *report;
      }
      job->ticket.resolve(report ? Result<void>() : fail(report.error()));
    }
  }

  std::optional<Job> next_job() {
    const MutexLock lock(mutex_);
    while (jobs_.empty() && !is_ending_) {
      changed_.wait(mutex_);
    }
    if (jobs_.empty()) {
      return std::nullopt;
    }
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    return job;
  }

  const std::unique_ptr<internal::BatchSource> source_;
  const std::unique_ptr<internal::BatchEngine> engine_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<Job> jobs_ QUIRE_GUARDED_BY(mutex_);
  bool is_ending_ QUIRE_GUARDED_BY(mutex_) = false;
  std::thread worker_;
};

Result<std::unique_ptr<BatchReader>> BatchReader::make(PathArgument path,
                                                       const BatchOptions& options) {
  QUIRE_TRY(check(options));
  auto source = QUIRE_TRY(internal::BatchSource::open(path.take(), options));
  auto engine = QUIRE_TRY(internal::BatchEngine::make(*source));
  return std::unique_ptr<BatchReader>(
      new BatchReader(std::make_unique<State>(std::move(source), std::move(engine))));
}

BatchReader::BatchReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
BatchReader::~BatchReader() = default;

Result<BatchReport> BatchReader::read_batch(std::span<ReadRange> ranges) {
  if (ranges.size() > std::numeric_limits<std::uint32_t>::max()) {
    return fail(make_error(Errc::kLimit, "read_batch", state_->source().cached().name(),
                           "more than 2^32 ranges in one batch", "divide them"));
  }
  return state_->engine().read(ranges);
}

Ticket BatchReader::read_batch_async(std::span<ReadRange> ranges, BatchReport* report) {
  return state_->start({.ranges = ranges, .report = report, .ticket = {}});
}

std::string BatchReader::explain() const {
  return fmt::format("resident ranges: {}; the others: {}, {}",
                     state_->source().has_truth()
                         ? "copied from a mapping"
                         : "read without waiting (this user is not told what is in memory)",
                     state_->engine().explain(), state_->source().deep().explain());
}

}  // namespace quire
