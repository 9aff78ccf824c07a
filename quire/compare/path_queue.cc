// SPDX-License-Identifier: Apache-2.0
//
// quire's IoQueue: many requests under way, direct or buffered.
//
//   slot 0   [read page a .......] sum [read page e ...
//   slot 1     [read page b ...] sum [read page d .......
//   slot 2       [read page c .........] sum [...
//
// A slot is a request with a buffer of its own. Its callback looks at the bytes and sends it off
// again, until the round is over. An update is two requests of one slot: the read, then the write.
#include <vector>

#include "quire/compare/internal/loops.h"
#include "quire/compare/internal/runner_parts.h"
#include "quire/compare/internal/store_parts.h"
#include "quire/io/buffer_pool.h"
#include "quire/io/io_queue.h"

namespace quire::compare::internal {
namespace {

class QueueRunner final : public BasicRunner {
 public:
  explicit QueueRunner(Path path) noexcept : path_(path) {}

  [[nodiscard]] int fd() const noexcept override { return file_.fd(); }
  [[nodiscard]] std::string method() const override { return queue_->explain(); }
  [[nodiscard]] std::optional<std::string> fallback() const override {
    return queue_->engine() == IoEngine::kThreads ? std::optional(queue_->explain()) : std::nullopt;
  }

  Result<void> check_written(const Tally& tally) override {
    return check_sample_of(work(), tally, target().name(), fd());
  }

 protected:
  Result<void> prepare() override {
    file_ = QUIRE_TRY(StoreFile::open(path_, target(), work()));
    pool_ = QUIRE_TRY(
        BufferPool::make({.buffer_bytes = work().block_bytes, .buffer_count = work().depth}));
    queue_ = QUIRE_TRY(IoQueue::make({.depth = work().depth, .registered = pool_.get()}));
    slots_.resize(work().depth);
    for (Slot& slot : slots_) {
      slot.runner = this;
      slot.buffer = pool_->take();
    }
    return {};
  }

  Result<void> run_pattern(Tally& tally) override {
    tally_ = &tally;
    next_offset_ = work().start_bytes;
    begun_ = 0;
    begun_bytes_ = 0;
    const RoundClock clock(work().seconds_max);
    clock_ = &clock;
    const std::uint64_t calls_before =
        queue_->stats().system_calls + file_.store().stats().system_calls;
    for (Slot& slot : slots_) {
      start_next(slot);
    }
    while (queue_->under_way() > 0) {
      queue_->wait();
    }
    if (work().durability == DurabilityChoice::kAtEnd && !has_failed_) {
      QUIRE_TRY(file_.store().sync(Durability::kData));
    }
    tally.system_calls +=
        queue_->stats().system_calls + file_.store().stats().system_calls - calls_before;
    return {};
  }

 private:
  struct Slot {
    QueueRunner* runner = nullptr;
    BufferPool::Buffer buffer;
    IoRequest request;
    std::uint64_t number = 0;   // Of the operation in the round, as it was begun.
    std::int64_t begun_ns = 0;  // Of the operation; an update's second request keeps it.
  };

  // The next operation of the round in this slot, unless it is over.
  void start_next(Slot& slot) {
    if (has_failed_ || begun_bytes_ >= work().bytes_max) {
      return;
    }
    const std::int64_t now = now_ns();
    if (clock_->is_over(now)) {
      return;
    }
    slot.begun_ns = now;
    slot.number = begun_;
    const std::uint64_t length = place(slot);
    begun_bytes_ += length;
    ++begun_;
    if (work().pattern == Pattern::kSequentialWrite) {
      stamp_block(slot.request.memory, slot.request.offset_bytes);
    }
    submit(slot,
           work().pattern == Pattern::kSequentialWrite ? IoOperation::kWrite : IoOperation::kRead);
  }

  // Gives the slot its range. Returns the length.
  std::uint64_t place(Slot& slot) {
    std::uint64_t length = kPatternPageBytes;
    if (is_random(work().pattern)) {
      slot.request.offset_bytes = drawn_offset(work(), begun_);
    } else {
      const std::uint64_t end =
          work().pattern == Pattern::kSequentialWrite ? work().bytes_max : work().working_set_bytes;
      length = std::min({work().block_bytes, end - next_offset_, work().bytes_max - begun_bytes_});
      slot.request.offset_bytes = next_offset_;
      next_offset_ = next_offset_ + length == end ? 0 : next_offset_ + length;
    }
    slot.request.memory = slot.buffer.bytes().first(static_cast<std::size_t>(length));
    return length;
  }

  void submit(Slot& slot, IoOperation operation) {
    slot.request.store = &file_.store();
    slot.request.operation = operation;
    slot.request.context = &slot;
    slot.request.on_done = [](IoRequest& request) {
      Slot& done = *static_cast<Slot*>(request.context);
      done.runner->finish(done);
    };
    queue_->submit(slot.request);
  }

  void finish(Slot& slot) {
    const IoRequest& request = slot.request;
    if (request.error || request.done_bytes < request.memory.size()) [[unlikely]] {
      keep_error(request);
      return;
    }
    if (request.operation == IoOperation::kRead) {
      if (work().pattern == Pattern::kRandomUpdate) {
        sum_and_count_update(*tally_, slot.buffer.bytes().data());
        submit(slot, IoOperation::kWrite);
        return;
      }
      tally_->sum += sum_of(request.memory);
      if ((slot.number & (kSampleEvery - 1)) == 0) {
        check_sample(work(), *tally_, request.offset_bytes, request.memory);
      }
    }
    tally_->bytes += request.memory.size();
    ++tally_->operations;
    if (is_random(work().pattern)) {
      tally_->latency.add(static_cast<std::uint64_t>(now_ns() - slot.begun_ns));
    }
    start_next(slot);
  }

  void keep_error(const IoRequest& request) {
    has_failed_ = true;
    const auto result = request.result();
    static_cast<void>(not_done(result ? truncated_at(request.offset_bytes) : result.error()));
  }

  const Path path_;
  StoreFile file_;
  std::unique_ptr<BufferPool> pool_;
  std::unique_ptr<IoQueue> queue_;
  std::vector<Slot> slots_;

  Tally* tally_ = nullptr;
  const RoundClock* clock_ = nullptr;
  std::uint64_t next_offset_ = 0;
  std::uint64_t begun_ = 0;
  std::uint64_t begun_bytes_ = 0;
  bool has_failed_ = false;
};

}  // namespace

std::unique_ptr<PathRunner> make_queue_runner(Path path) {
  return std::make_unique<QueueRunner>(path);
}

}  // namespace quire::compare::internal
