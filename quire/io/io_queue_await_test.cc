// SPDX-License-Identifier: Apache-2.0
//
// Awaits of a queue: done when their descriptor is readable, in nobody's way until then, whatever
// the ring refuses.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <deque>
#include <string>
#include <thread>
#include <vector>

#include "quire/io/io_queue.h"
#include "quire/sys/call.h"
#include "quire/sys/event.h"
#include "quire/sys/poller.h"
#include "quire/testing/io_requests.h"
#include "quire/testing/kernel_store.h"
#include "quire/testing/nth_fault.h"
#include "quire/testing/ring.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using sys::Call;
using sys::FaultPlan;
using testing::ask_read;
using testing::Asked;
using testing::KernelStore;
using testing::pattern;
using testing::Pipe;

constexpr std::size_t kStoreBytes = 50'000;

// An await of an event of its own, that counts how often it was called back.
struct Awaited {
  Awaited() : Awaited(-1) {}
  explicit Awaited(int fd) {
    request = {.operation = IoOperation::kAwaitReadable,
               .fd = fd >= 0 ? fd : event.get(),
               .on_done = [](IoRequest& done) { ++static_cast<Awaited*>(done.context)->calls; },
               .context = this};
  }
  Awaited(const Awaited&) = delete;
  Awaited& operator=(const Awaited&) = delete;

  sys::Descriptor event = sys::create_event(sys::EventReads::kNeverBlock).value();
  IoRequest request;
  int calls = 0;
};

int calls_of(const std::deque<Asked>& all) {
  int calls = 0;
  for (const Asked& one : all) {
    calls += one.calls;
  }
  return calls;
}

class IoQueueAwaitTest : public testing::IoQueueFixture {};

INSTANTIATE_TEST_SUITE_P(Engines, IoQueueAwaitTest,
                         ::testing::Values(IoEngine::kRing, IoEngine::kThreads),
                         testing::name_of_engine);

TEST_P(IoQueueAwaitTest, AnAwaitIsDoneWhenItsDescriptorIsReadableAndNotBefore) {
  const auto queue = make_queue();
  Awaited awaited;
  queue->submit(awaited.request);
  EXPECT_EQ(queue->poll(), 0U);
  EXPECT_EQ(queue->under_way(), 1U);
  sys::signal_event(awaited.event);
  EXPECT_EQ(queue->wait(), 1U);
  EXPECT_EQ(awaited.calls, 1);
  EXPECT_EQ(awaited.request.result().value(), 0U);
  EXPECT_EQ(queue->stats().on_threads, has_ring() ? 0U : 1U);
  queue->submit(awaited.request);  // Nobody took the signal.
  queue->drain();
  EXPECT_EQ(awaited.calls, 2);
  queue->check_invariants();
}

TEST_P(IoQueueAwaitTest, APeerThatHangsUpEndsIt) {
  const auto queue = make_queue();
  Pipe pipe;
  Awaited awaited(pipe.reader.get());
  queue->submit(awaited.request);
  EXPECT_EQ(queue->poll(), 0U);
  ASSERT_TRUE(pipe.writer.close());
  queue->drain();
  EXPECT_TRUE(awaited.request.result().has_value());
}

TEST_P(IoQueueAwaitTest, AClosedDescriptorIsAnErrorThatNamesIt) {
  const auto queue = make_queue();
  Pipe pipe;
  Awaited awaited(pipe.reader.get());
  ASSERT_TRUE(pipe.reader.close());
  queue->submit(awaited.request);
  queue->drain();
  const Result<std::uint64_t> result = awaited.request.result();
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code(), std::error_code(EBADF, std::system_category()));
  EXPECT_EQ(result.error().operation(), "poll");
  EXPECT_EQ(result.error().subject(), "descriptor " + std::to_string(awaited.request.fd));
}

// Goal:   awaits that never end take nothing from the others: no slot, no thread.
// Method: a queue that does one thing at a time, and as many awaits as there may be.
TEST_P(IoQueueAwaitTest, AwaitsTakeNothingOfTheDepth) {
  KernelStore store(pattern(kStoreBytes));
  const auto queue = make_queue(1);
  std::array<Awaited, IoQueueOptions::kAwaitsMax> awaits;
  for (Awaited& one : awaits) {
    queue->submit(one.request);
  }
  EXPECT_EQ(queue->under_way(), awaits.size());
  std::deque<Asked> all;
  for (std::uint64_t i = 0; i < 20; ++i) {
    queue->submit(ask_read(all, store, i * 1000, 1000).request);
    EXPECT_EQ(queue->under_way(), awaits.size() + 1);
  }
  EXPECT_EQ(queue->wait(20), 20U);
  EXPECT_EQ(calls_of(all), 20);
  EXPECT_EQ(queue->under_way(), awaits.size());
  EXPECT_EQ(queue->stats().under_way_max, awaits.size() + 1);
  for (Awaited& one : awaits) {
    sys::signal_event(one.event);
  }
  queue->drain();
  for (const Awaited& one : awaits) {
    EXPECT_EQ(one.calls, 1);
  }
}

TEST_P(IoQueueAwaitTest, AnAwaitDoesNotWaitForItsTurn) {
  KernelStore store(pattern(kStoreBytes));
  const auto queue = make_queue(1);
  std::deque<Asked> all;
  for (std::uint64_t i = 0; i < 20; ++i) {
    queue->submit(ask_read(all, store, i * 1000, 1000).request);
  }
  Awaited awaited;
  sys::signal_event(awaited.event);
  queue->submit(awaited.request);
  EXPECT_EQ(queue->under_way(), 2U);
  queue->drain();
  EXPECT_EQ(calls_of(all) + awaited.calls, 21);
}

// Goal:   waiting for several completions is no dead end where the callback of one makes the
//         descriptor of another readable.
TEST_P(IoQueueAwaitTest, ACallbackMayMakeADescriptorReadable) {
  KernelStore store(pattern(kStoreBytes));
  const auto queue = make_queue();
  Awaited awaited;
  std::string text(100, '?');
  IoRequest read{
      .store = &store,
      .memory = testing::writable(text),
      .on_done =
          [](IoRequest& done) { sys::signal_event(static_cast<Awaited*>(done.context)->event); },
      .context = &awaited};
  queue->submit(awaited.request);
  queue->submit(read);
  EXPECT_EQ(queue->wait(2), 2U);
  EXPECT_EQ(awaited.calls, 1);
}

// Takes what a poller tells and awaits it again.
struct Watch {
  IoQueue& queue;
  sys::Poller poller = sys::Poller::open().value();
  sys::Descriptor event = sys::create_event(sys::EventReads::kNeverBlock).value();
  IoRequest request = {.operation = IoOperation::kAwaitReadable,
                       .fd = poller.fd(),
                       .on_done = Watch::on_done,
                       .context = this};
  int told = 0;
  int left = 0;

  static void on_done(IoRequest& request) {
    Watch& watch = *static_cast<Watch*>(request.context);
    std::array<std::uint64_t, 2> tags{};
    EXPECT_EQ(watch.poller.ready(tags), 1U);
    watch.told += static_cast<int>(tags[0]);
    sys::clear_signals(watch.event);
    if (--watch.left > 0) {
      watch.queue.submit(request);
    }
  }
};

TEST_P(IoQueueAwaitTest, APollerIsAwaitedAgainAndAgainBesideReads) {
  constexpr int kRounds = 200;
  KernelStore store(pattern(kStoreBytes));
  const auto queue = make_queue(2);
  Watch watch{.queue = *queue, .left = kRounds};
  ASSERT_TRUE(watch.poller.add(watch.event.get(), 3));
  queue->submit(watch.request);
  std::deque<Asked> all;
  for (int round = 0; round < kRounds; ++round) {
    queue->submit(ask_read(all, store, 0, 100).request);
    std::jthread other([&] { sys::signal_event(watch.event); });
    while (watch.left == kRounds - round) {
      static_cast<void>(queue->wait());
    }
  }
  queue->drain();
  EXPECT_EQ(watch.told, 3 * kRounds);
  EXPECT_EQ(calls_of(all), kRounds);
}

TEST_P(IoQueueAwaitTest, ADestroyedQueueWaitsForIt) {
  Awaited awaited;
  {
    const auto queue = make_queue();
    queue->submit(awaited.request);
    EXPECT_EQ(queue->poll(), 0U);
    sys::signal_event(awaited.event);
  }
  EXPECT_EQ(awaited.calls, 1);
}

// --- faults -------------------------------------------------------------------------------------

class IoQueueAwaitFaultTest : public testing::RingFixture {
 protected:
  static std::unique_ptr<IoQueue> ring_queue(std::uint32_t depth = 4) {
    return IoQueue::make({.depth = depth, .engine = IoEngine::kRing}).value();
  }
};

// Goal:   an await in the kernel, which may stay there for ever, keeps nobody waiting when the ring
//         takes nothing any more, not even the wake-up.
// Method: reads, and another await, after the kernel has one and refuses the rest.
TEST_F(IoQueueAwaitFaultTest, WhenTheRingRefusesEverythingNothingStalls) {
  for (const int error : {EBUSY, EAGAIN, ENOMEM}) {
    KernelStore store(pattern(kStoreBytes));
    const auto queue = ring_queue();
    Awaited in_kernel;
    queue->submit(in_kernel.request);
    EXPECT_EQ(queue->poll(), 0U);
    const FaultPlan plan({.call = Call::kRingSubmit, .times = UINT64_MAX, .error = error});
    std::deque<Asked> all;
    for (std::uint64_t i = 0; i < 30; ++i) {
      queue->submit(ask_read(all, store, i * 1000, 1000).request);
    }
    EXPECT_EQ(queue->wait(30), 30U);
    EXPECT_EQ(calls_of(all), 30);
    Awaited refused;
    queue->submit(refused.request);
    EXPECT_EQ(queue->poll(), 0U);
    EXPECT_EQ(queue->stats().on_threads, 31U);
    sys::signal_event(in_kernel.event);  // The ring's ends while the thread's does not,
    EXPECT_EQ(queue->wait(), 1U);
    EXPECT_EQ(in_kernel.calls, 1);
    EXPECT_EQ(refused.calls, 0);
    sys::signal_event(refused.event);
    queue->drain();
    EXPECT_EQ(refused.calls, 1);
    queue->check_invariants();
  }
}

// The other way round, and with somebody who only waits interruptibly.
TEST_F(IoQueueAwaitFaultTest, AnAwaitInAThreadEndsWhileOneInTheRingDoesNot) {
  const auto queue = ring_queue();
  Awaited in_kernel;
  queue->submit(in_kernel.request);
  EXPECT_EQ(queue->poll(), 0U);
  Awaited refused;
  {
    const FaultPlan plan({.call = Call::kRingSubmit, .times = UINT64_MAX, .error = ENOMEM});
    queue->submit(refused.request);
    EXPECT_EQ(queue->poll(), 0U);
    sys::signal_event(refused.event);
    while (refused.calls == 0) {
      static_cast<void>(queue->wait_interruptibly());
    }
  }
  EXPECT_EQ(in_kernel.calls, 0);
  sys::signal_event(in_kernel.event);
  queue->drain();
  EXPECT_EQ(in_kernel.calls, 1);
}

TEST_F(IoQueueAwaitFaultTest, WhicheverCallOfTheRingFailsAnAwaitEndsOnce) {
  for (const Call call : {Call::kRingSubmit, Call::kRingWait}) {
    for (const int error : {EAGAIN, EBUSY, EINTR}) {
      testing::fail_each_nth(name_of(call), [&](testing::NthFault& fault) {
        KernelStore store(pattern(kStoreBytes));
        const auto queue = ring_queue();
        const FaultPlan plan({.call = call, .nth = fault.nth, .times = 3, .error = error});
        Awaited awaited;
        std::deque<Asked> all;
        queue->submit(awaited.request);
        for (std::uint64_t i = 0; i < 6; ++i) {
          queue->submit(ask_read(all, store, i, 10).request);
        }
        EXPECT_EQ(queue->wait(6), 6U);
        sys::signal_event(awaited.event);
        queue->drain();
        EXPECT_EQ(awaited.calls, 1);
        EXPECT_EQ(calls_of(all), 6);
        EXPECT_TRUE(awaited.request.result().has_value());
        queue->check_invariants();
        fault.was_hit = plan.hits() > 0;
      });
    }
  }
}

struct CompletionRow {
  int error;
  std::uint64_t times;
  int expected_error;
  std::uint64_t expected_on_threads;
};

TEST_F(IoQueueAwaitFaultTest, WhatTheKernelSaysOfAPollIsResolvedOrTold) {
  for (const auto& [error, times, expected_error, expected_on_threads] :
       {CompletionRow{EIO, 1, EIO, 0}, CompletionRow{EINTR, 1, 0, 0},
        CompletionRow{EAGAIN, 3, 0, 0}, CompletionRow{EAGAIN, UINT64_MAX, 0, 1},
        CompletionRow{EINVAL, 1, 0, 1}}) {
    const auto queue = ring_queue();
    Awaited awaited;
    sys::signal_event(awaited.event);
    const FaultPlan plan({.call = Call::kRingCompletion, .times = times, .error = error});
    queue->submit(awaited.request);
    queue->drain();
    EXPECT_EQ(awaited.calls, 1) << error;
    EXPECT_EQ(awaited.request.error.value(), expected_error) << error;
    EXPECT_EQ(queue->stats().on_threads, expected_on_threads) << error;
    queue->check_invariants();
  }
}

TEST(IoQueueAwaitThreadTest, AFailedPollIsAnError) {
  const auto queue = IoQueue::make({.engine = IoEngine::kThreads}).value();
  Awaited awaited;
  const FaultPlan plan({.call = Call::kPoll, .error = ENOMEM});
  queue->submit(awaited.request);
  queue->drain();
  EXPECT_EQ(awaited.request.error, std::error_code(ENOMEM, std::system_category()));
}

// --- what is forbidden --------------------------------------------------------------------------

// A process that can have no further threads.
[[noreturn]] void await_without_threads() {
  const auto queue = IoQueue::make({.engine = IoEngine::kThreads}).value();
  KernelStore store("text");
  Awaited awaited;
  Asked read(store, IoOperation::kRead, 0, "????");
  const rlimit none{.rlim_cur = 0, .rlim_max = RLIM_INFINITY};
  if (setrlimit(RLIMIT_AS, &none) != 0) {
    std::_Exit(2);
  }
  queue->submit(awaited.request);
  queue->submit(read.request);
  queue->drain();
  const bool is_told = awaited.request.error == std::error_code(EAGAIN, std::system_category());
  std::_Exit(is_told && read.text == "text" ? 0 : 1);
}

TEST(IoQueueAwaitDeathTest, WithoutAThreadAnAwaitFailsAndTransfersGoOn) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizer: needs address space of its own";
#endif
  // A process of its own: this one has stacks of threads that have ended to give away.
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(await_without_threads(), ::testing::ExitedWithCode(0), "");
}

TEST(IoQueueAwaitDeathTest, AwaitsAreBoundedAndHaveADescriptorAndNoStore) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto queue = IoQueue::make({.engine = IoEngine::kThreads}).value();
  KernelStore store("");
  std::array<Awaited, IoQueueOptions::kAwaitsMax + 1> awaits;
  awaits[0].request.store = &store;
  EXPECT_DEATH(queue->submit(awaits[0].request), "request.store == nullptr");
  awaits[0].request.store = nullptr;
  awaits[1].request.operation = IoOperation::kRead;
  EXPECT_DEATH(queue->submit(awaits[1].request), "request.store == nullptr");
  awaits[1].request.operation = IoOperation::kAwaitReadable;
  awaits[1].request.fd = -1;
  EXPECT_DEATH(queue->submit(awaits[1].request), "request.fd >= 0");
  awaits[1].request.fd = awaits[1].event.get();
  EXPECT_DEATH(
      {
        for (Awaited& one : awaits) {
          queue->submit(one.request);
        }
      },
      "free_for_awaits_");
}

}  // namespace
}  // namespace quire
