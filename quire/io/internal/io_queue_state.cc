// SPDX-License-Identifier: Apache-2.0
#include "quire/io/internal/io_queue_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "quire/base/check.h"
#include "quire/sys/event.h"

namespace quire {

using internal::Next;
using internal::QueueSlot;
using internal::RingPath;

namespace {

// A ring that cannot be waited on with requests in it cannot be given up either: the kernel writes
// into memory of callers. That many refusals in a row are no passing trouble.
constexpr int kWaitRefusalsMax = 1000;

// Entries handed over together. The device begins with the first ones while the next are prepared:
// on a virtual disk at depth 32 pairs gave 1.25 times the random writes of handing over all that is
// there, which come ten at a time; the calls cost 0.1 us a request.
constexpr std::size_t kEntriesPerSubmission = 2;

// How long a ring with awaits in it, which refuses the wake-up, is waited on before the threads are
// looked at: nothing else can end that wait, and looking a thousand times a second is no load.
constexpr std::chrono::milliseconds kRefusedWait(1);

std::uint32_t threads_of(const IoQueueOptions& options) noexcept {
  return options.thread_count != 0 ? options.thread_count
                                   : std::min(options.depth, IoQueueOptions::kThreadsMax);
}

}  // namespace

IoQueue::State::State(const IoQueueOptions& options)
    : options_(options),
      slots_(options.depth + IoQueueOptions::kAwaitsMax),
      threads_(threads_of(options), wake_) {
  free_.reserve(options.depth);
  free_for_awaits_.reserve(IoQueueOptions::kAwaitsMax);
  ended_.reserve(slots_.size());
  running_.reserve(slots_.size());
  for (std::size_t index = slots_.size(); index-- > 0;) {
    (index < options.depth ? free_ : free_for_awaits_).push_back(&slots_[index]);
  }
}

Result<std::unique_ptr<IoQueue::State>> IoQueue::State::make(const IoQueueOptions& options) {
  if (options.depth == 0 || options.depth > IoQueueOptions::kDepthMax) {
    return fail(make_error(Errc::kLimit, "io_queue", fmt::format("depth {}", options.depth),
                           fmt::format("a depth is in 1 .. {}", IoQueueOptions::kDepthMax)));
  }
  auto state = std::make_unique<State>(options);
  if (options.engine == IoEngine::kThreads) {
    state->no_ring_reason_ = "as asked for";
    return state;
  }
  const sys::Outcome<void> opened = state->open_ring();
  if (!opened && options.engine == IoEngine::kRing) {
    return fail(make_error(Errc::kUnsupported, "io_queue", "io_uring",
                           sys::explain_ring_refusal(opened.error()),
                           "IoEngine::kAutomatic uses threads instead"));
  }
  return state;
}

sys::Outcome<void> IoQueue::State::open_ring() {
  const auto open = [&]() -> sys::Outcome<void> {
    wake_ = QUIRE_TRY(sys::create_event());
    ring_ = QUIRE_TRY(RingPath::open(options_, wake_));
    return {};
  };
  const sys::Outcome<void> outcome = open();
  if (!outcome) {
    static_cast<void>(wake_.close());
    give_up_ring(outcome.error());
  }
  return outcome;
}

void IoQueue::State::give_up_ring(sys::Errno cause) {
  no_ring_reason_ = "io_uring: " + sys::explain_ring_refusal(cause);
  ring_.reset();
}

// Each way in: a ring belongs to a thread, so another thread that brings work needs another one.
void IoQueue::State::enter() {
  QUIRE_CHECK(!is_in_callback_);
  if (ring_ == nullptr || ring_->is_mine()) {
    return;
  }
  QUIRE_CHECK_EQ(under_way(), 0U);
  const sys::Outcome<void> adopted = ring_->adopt();
  if (!adopted) {
    stats_ = stats();
    stats_.system_calls -= stats_.on_threads;
    give_up_ring(adopted.error());
  }
}

void IoQueue::State::register_store(const Store& store) {
  enter();
  if (ring_ != nullptr && store.kernel_target() != nullptr) {
    ring_->register_target(*store.kernel_target());
  }
}

void IoQueue::State::forget_store(const Store& store) {
  enter();
  if (ring_ != nullptr && store.kernel_target() != nullptr) {
    ring_->forget_target(*store.kernel_target());
  }
}

void IoQueue::State::submit(IoRequest& request) {
  const bool is_await = request.operation == IoOperation::kAwaitReadable;
  const bool is_call = request.operation == IoOperation::kCall;
  QUIRE_CHECK((is_await || is_call) == (request.store == nullptr) && request.on_done != nullptr);
  QUIRE_CHECK(is_call == (request.call != nullptr));
  if (!is_in_callback_) {
    enter();
    while (waiting_.size() >= IoQueueOptions::kWaitingMax && !is_await) {
      static_cast<void>(wait(1));
    }
  }
  request.done_bytes = 0;
  request.error.clear();
  ++stats_.submitted;
  if (is_await) {
    start_await(request);
  } else {
    waiting_.push_back(&request);
    start_waiting();
  }
}

void IoQueue::State::start_await(IoRequest& request) {
  QUIRE_CHECK_GE(request.fd, 0);  // poll(2) would wait for ever.
  QUIRE_CHECK(!free_for_awaits_.empty());
  QueueSlot& slot = *free_for_awaits_.back();
  assign(slot, request);
  free_for_awaits_.pop_back();
  go(slot, ring_ != nullptr ? ring_->prepare(slot) : Next::kHandOver);
}

void IoQueue::State::start_waiting() {
  while (!waiting_.empty() && !free_.empty()) {
    QueueSlot& slot = *free_.back();
    assign(slot, *waiting_.front());
    const Next next = start(slot);
    if (next == Next::kNoRoom) {
      return;  // Until a bounced read under way is done.
    }
    free_.pop_back();
    waiting_.pop_front();
    go(slot, next);
  }
}

void IoQueue::State::assign(QueueSlot& slot, IoRequest& request) const {
  slot = QueueSlot();
  slot.tag = static_cast<std::uint64_t>(&slot - slots_.data()) + 1;
  slot.request = &request;
}

void IoQueue::State::go(QueueSlot& slot, Next next) {
  stats_.under_way_max = std::max<std::uint64_t>(stats_.under_way_max, under_way());
  follow(slot, next);
  if (ring_ != nullptr && ring_->prepared() >= kEntriesPerSubmission) {
    flush();
  }
}

Next IoQueue::State::start(QueueSlot& slot) {
  const IoRequest& request = *slot.request;
  if (request.operation == IoOperation::kSync || request.operation == IoOperation::kCall) {
    return Next::kHandOver;
  }
  if (request.memory.empty()) {
    return Next::kDone;
  }
  const bool is_for_ring = ring_ != nullptr && request.store->kernel_target() != nullptr &&
                           request.store->may_kernel_do(request);
  return is_for_ring ? ring_->prepare(slot) : Next::kHandOver;
}

void IoQueue::State::follow(QueueSlot& slot, Next next) {
  if (next == Next::kDone) {
    ended_.push_back(&slot);
  } else if (next == Next::kHandOver) {
    hand_over(slot);
  }
}

void IoQueue::State::hand_over(QueueSlot& slot) {
  ++stats_.on_threads;
  slot.bounce.reset();
  threads_.start(slot);
}

// --- running ------------------------------------------------------------------------------------

std::size_t IoQueue::State::poll() {
  enter();
  flush();
  collect();
  const std::size_t ran = run_callbacks();
  flush();
  settle();
  return ran;
}

std::size_t IoQueue::State::wait(std::size_t count) {
  enter();
  std::size_t ran = 0;
  while (ran < count && !is_idle()) {
    if (ended_.empty()) {
      block(count - ran);
    }
    collect();
    ran += run_callbacks();
  }
  settle();
  return ran;
}

void IoQueue::State::drain() {
  while (!is_idle()) {
    static_cast<void>(wait(1));
  }
  if (ring_ != nullptr && ring_->is_mine()) {
    settle();
  }
}

// Hands what is prepared to the kernel. What it does not take, it takes later: entries that it has
// make room when they are done. Where it has none, threads do what it refuses.
void IoQueue::State::flush() {
  if (ring_ == nullptr) {
    return;
  }
  const sys::Outcome<void> flushed = ring_->flush(0);
  if (!flushed && ring_->ready() == 0 && ring_->transfers_in_kernel() == 0) {
    take_back(flushed.error());
  }
}

// Until something under way may be done. Where only the ring has work, nothing waits for room, and
// no callback may be needed for an await to end, `count` of it.
void IoQueue::State::block(std::size_t count) {
  if (ring_ == nullptr || ring_->requests_in_flight() == 0) {
    threads_.wait_done();
    return;
  }
  if (threads_.outstanding() > 0) {
    ring_->arm_wake();
    count = 1;
  }
  const bool may_gather = waiting_.empty() && ring_->awaits_in_flight() == 0;
  block_in_ring(std::min<std::size_t>(may_gather ? count : 1, ring_->requests_in_flight()));
}

void IoQueue::State::block_in_ring(std::size_t count) {
  const sys::Outcome<void> waited = ring_->flush(static_cast<std::uint32_t>(count));
  if (waited || ring_->ready() > 0) {
    wait_refusals_ = 0;
  } else if (ring_->transfers_in_kernel() > 0) {
    wait_for_ring();
  } else {
    take_back(waited.error());
    if (ring_->awaits_in_flight() > 0) {
      wait_for_ring(kRefusedWait);  // For what has gone to threads, too: nobody can wake us up.
    }
  }
}

std::size_t IoQueue::State::wait_interruptibly() {
  enter();
  // Acquire pairs with the release in interrupt(): what was brought before it is seen after this.
  const bool was_interrupted = is_interrupted_.exchange(false, std::memory_order_acquire);
  if (was_interrupted || !ended_.empty()) {
    flush();
  } else if (ring_ != nullptr) {
    ring_->arm_wake();
    block_in_ring(1);
  } else {
    threads_.wait_done_or_interrupted();
  }
  collect();
  return run_callbacks();
}

void IoQueue::State::interrupt() {
  is_interrupted_.store(true, std::memory_order_release);
  if (wake_.is_open()) {
    sys::signal_event(wake_);
  }
  threads_.interrupt();
}

void IoQueue::State::wait_for_ring(std::optional<std::chrono::nanoseconds> timeout) {
  wait_refusals_ = ring_->wait(1, timeout) ? 0 : wait_refusals_ + 1;
  QUIRE_CHECK_LT(wait_refusals_, kWaitRefusalsMax);
}

// The kernel refuses what is prepared, and nothing under way can change its mind.
void IoQueue::State::take_back(sys::Errno refusal) {
  last_refusal_ = refusal;
  std::vector<QueueSlot*> refused;
  ring_->take_back(refused);
  for (QueueSlot* slot : refused) {
    hand_over(*slot);
  }
}

// Puts what is done to ended_.
void IoQueue::State::collect() {
  if (ring_ != nullptr) {
    // An error means that the kernel keeps some back for now: nothing is lost.
    static_cast<void>(
        ring_->drain([&](std::uint64_t tag, const sys::Outcome<std::uint32_t>& outcome) {
          QueueSlot& slot = slots_[tag - 1];
          follow(slot, ring_->complete(slot, outcome));
        }));
  }
  threads_.take_done(ended_);
}

std::size_t IoQueue::State::run_callbacks() {
  // Callbacks submit, and what they submit may end at once: its callback comes in the next round.
  running_.swap(ended_);
  is_in_callback_ = true;
  for (QueueSlot* slot : running_) {
    finish(*slot);
  }
  is_in_callback_ = false;
  const std::size_t ran = running_.size();
  running_.clear();
  start_waiting();
  return ran;
}

void IoQueue::State::finish(QueueSlot& slot) {
  IoRequest& request = *slot.request;
  request.done_bytes = slot.done_bytes;
  request.error = slot.error;
  const bool is_kernels = slot.is_kernels;
  slot.bounce.reset();
  (slot.is_await() ? free_for_awaits_ : free_).push_back(&slot);
  ++stats_.completed;
  stats_.failed += request.error ? 1 : 0;
  if (is_kernels) {
    request.store->on_kernel_completion(request);
  }
  request.on_done(request);
}

// A queue at rest has nothing in its ring, so that another thread may take it over, or end it.
void IoQueue::State::settle() {
  if (ring_ != nullptr && is_idle() && ring_->is_wake_armed()) {
    std::vector<QueueSlot*> none;
    ring_->take_back(none);  // A wake-up that is not in the kernel yet.
    while (ring_->is_wake_armed()) {
      sys::signal_event(wake_);
      wait_for_ring();
      collect();
    }
  }
  if constexpr (kSlowChecks) {
    check_invariants();
  }
}

// --- telling ------------------------------------------------------------------------------------

IoQueueStats IoQueue::State::stats() const noexcept {
  IoQueueStats stats = stats_;
  stats.system_calls += stats_.on_threads;
  if (ring_ != nullptr) {
    stats.system_calls += ring_->system_calls();
    stats.resumed = ring_->resumed();
    stats.bounced = ring_->bounced();
  }
  return stats;
}

std::string IoQueue::State::explain() const {
  if (ring_ == nullptr) {
    return fmt::format("{} threads, depth {}: {}", threads_of(options_), options_.depth,
                       no_ring_reason_);
  }
  std::string text = fmt::format("io_uring, depth {}", options_.depth);
  if (!ring_->note().empty()) {
    text += ", " + ring_->note();
  }
  if (last_refusal_.value != 0) {
    text += fmt::format("; submissions that were refused ({}) went to threads",
                        errno_name(last_refusal_.value));
  }
  return text;
}

void IoQueue::State::check_invariants() const {
  QUIRE_CHECK_LE(free_.size(), options_.depth);
  QUIRE_CHECK_LE(free_for_awaits_.size(), IoQueueOptions::kAwaitsMax);
  QUIRE_CHECK_EQ(stats_.submitted, waiting_.size() + under_way() + stats_.completed);
  const std::size_t in_ring = ring_ != nullptr ? ring_->requests_in_flight() : 0;
  QUIRE_CHECK_EQ(under_way(), in_ring + threads_.outstanding() + ended_.size());
  QUIRE_CHECK(waiting_.empty() || free_.size() < options_.depth);
}

}  // namespace quire
