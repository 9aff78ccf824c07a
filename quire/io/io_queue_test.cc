// SPDX-License-Identifier: Apache-2.0
//
// What a queue promises, with a ring and with threads. Memory and alignment are in
// io_queue_memory_test.cc, faults in io_queue_fault_test.cc.
#include "quire/io/io_queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "quire/io/io_task.h"
#include "quire/sys/call.h"
#include "quire/sys/ring.h"
#include "quire/testing/io_requests.h"
#include "quire/testing/kernel_store.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::ask_read;
using testing::Asked;
using testing::content;
using testing::KernelStore;
using testing::kStoreBytes;
using testing::pattern;
using testing::writable;

class IoQueueTest : public testing::IoQueueFixture {};

INSTANTIATE_TEST_SUITE_P(Engines, IoQueueTest,
                         ::testing::Values(IoEngine::kRing, IoEngine::kThreads),
                         testing::name_of_engine);

TEST_P(IoQueueTest, ReadsUpToTheEndOfTheStore) {
  KernelStore store(content());
  const auto queue = make_queue();
  std::deque<Asked> all;
  ask_read(all, store, 5, 10'000);
  ask_read(all, store, kStoreBytes - 100, 5000);
  ask_read(all, store, kStoreBytes, 10);
  ask_read(all, store, kStoreBytes + (1 << 20), 10);
  ask_read(all, store, 7, 0);
  for (Asked& one : all) {
    queue->submit(one.request);
  }
  queue->drain();
  for (const Asked& one : all) {
    ASSERT_EQ(one.calls, 1);
    const std::uint64_t offset = std::min<std::uint64_t>(one.request.offset_bytes, kStoreBytes);
    const std::size_t length = std::min<std::size_t>(one.text.size(), kStoreBytes - offset);
    EXPECT_EQ(one.request.result().value(), length);
    EXPECT_EQ(one.text.substr(0, length), content().substr(offset, length));
    EXPECT_EQ(one.text.substr(length), std::string(one.text.size() - length, '?'));
  }
  EXPECT_EQ(queue->under_way(), 0U);
  queue->check_invariants();
}

TEST_P(IoQueueTest, WritesAllOfItAndSyncs) {
  KernelStore store(content());
  const auto queue = make_queue();
  Asked write(store, IoOperation::kWrite, kStoreBytes - 3, "beyond the end");
  queue->submit(write.request);
  queue->drain();
  EXPECT_EQ(write.request.result().value(), 14U);
  EXPECT_EQ(store.content(), pattern(kStoreBytes - 3) + "beyond the end");
  Asked sync(store, IoOperation::kSync, 0, "");
  queue->submit(sync.request);
  EXPECT_EQ(queue->wait(), 1U);
  EXPECT_TRUE(sync.request.result().has_value());
  EXPECT_EQ(store.syncs, 1);
}

// Goal:   a call runs once, in another thread than the queue's, and its end and error arrive here.
TEST_P(IoQueueTest, CallsRunInAnotherThread) {
  struct Called {
    IoRequest request;
    std::thread::id thread;
    int runs = 0;
    int ends = 0;
  };
  const auto queue = make_queue();
  std::deque<Called> all(20);
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i].request = {
        .operation = IoOperation::kCall,
        .call =
            [](IoRequest& request) {
              Called& own = *static_cast<Called*>(request.context);
              ++own.runs;
              own.thread = std::this_thread::get_id();
            },
        .on_done = [](IoRequest& done) { ++static_cast<Called*>(done.context)->ends; },
        .context = &all[i]};
    queue->submit(all[i].request);
  }
  queue->drain();
  for (const Called& one : all) {
    EXPECT_EQ(one.runs, 1);
    EXPECT_EQ(one.ends, 1);
    EXPECT_NE(one.thread, std::this_thread::get_id());
    EXPECT_TRUE(one.request.result().has_value());
  }
  all[0].request.call = [](IoRequest& request) {
    request.error = std::make_error_code(std::errc::io_error);
  };
  queue->submit(all[0].request);
  queue->drain();
  EXPECT_EQ(all[0].request.result().error().code(), std::errc::io_error);
  queue->check_invariants();
}

TEST_P(IoQueueTest, NoMoreThanTheDepthIsUnderWay) {
  KernelStore store(content());
  for (const std::uint32_t depth : {1U, 3U, 16U}) {
    const auto queue = make_queue(depth);
    std::deque<Asked> all;
    for (std::uint64_t i = 0; i < 100; ++i) {
      queue->submit(ask_read(all, store, i * 1000, 1000).request);
      EXPECT_LE(queue->under_way(), depth);
      queue->check_invariants();
    }
    queue->drain();
    EXPECT_TRUE(std::ranges::all_of(all, [](const Asked& one) { return one.calls == 1; }));
    const IoQueueStats stats = queue->stats();
    EXPECT_EQ(stats.submitted, 100U);
    EXPECT_EQ(stats.completed, 100U);
    EXPECT_EQ(stats.failed, 0U);
    EXPECT_EQ(stats.under_way_max, depth);
    EXPECT_EQ(stats.on_threads, has_ring() ? 0U : 100U);
    EXPECT_EQ(store.kernel_completions, has_ring() ? 100 : 0);
    store.kernel_completions = 0;
  }
}

TEST_P(IoQueueTest, WaitRunsAsManyAsAskedForAndNoneThatAreNotThere) {
  KernelStore store(content());
  const auto queue = make_queue();
  EXPECT_EQ(queue->poll(), 0U);
  EXPECT_EQ(queue->wait(), 0U);
  std::deque<Asked> all;
  for (std::uint64_t i = 0; i < 8; ++i) {
    queue->submit(ask_read(all, store, i, 10).request);
  }
  const std::size_t ran = queue->wait(3);
  EXPECT_GE(ran, 3U);
  EXPECT_EQ(ran + queue->wait(100), 8U);
}

TEST_P(IoQueueTest, PollEndsWhatWasSubmittedSoonerOrLater) {
  KernelStore store(content());
  const auto queue = make_queue();
  std::deque<Asked> all;
  for (std::uint64_t i = 0; i < 8; ++i) {
    queue->submit(ask_read(all, store, i, 10).request);
  }
  std::size_t ran = 0;
  while (ran < 8) {
    ran += queue->poll();
  }
  EXPECT_EQ(ran, 8U);
}

// A chain of reads, each submitted by the callback of the one before.
struct Chain {
  IoQueue& queue;
  IoRequest request;
  std::string text = std::string(100, '?');
  int left;

  static void on_done(IoRequest& request) {
    Chain& chain = *static_cast<Chain*>(request.context);
    if (--chain.left > 0) {
      request.offset_bytes += 100;
      chain.queue.submit(request);
    }
  }
};

TEST_P(IoQueueTest, CallbacksMaySubmitMore) {
  KernelStore store(content());
  const auto queue = make_queue(2);
  std::deque<Chain> chains;
  for (int i = 0; i < 5; ++i) {
    Chain& chain = chains.emplace_back(Chain{.queue = *queue, .request = {}, .left = 200});
    chain.request = {.store = &store,
                     .offset_bytes = static_cast<std::uint64_t>(i) * 20'000,
                     .memory = writable(chain.text),
                     .on_done = Chain::on_done,
                     .context = &chain};
    queue->submit(chain.request);
  }
  queue->drain();
  for (const Chain& chain : chains) {
    EXPECT_EQ(chain.left, 0);
    EXPECT_EQ(chain.text, content().substr(chain.request.offset_bytes, 100));
  }
  EXPECT_EQ(queue->stats().completed, 1000U);
}

TEST_P(IoQueueTest, ADestroyedQueueFinishesItsRequests) {
  KernelStore store(content());
  std::deque<Asked> all;
  {
    const auto queue = make_queue(4);
    for (std::uint64_t i = 0; i < 50; ++i) {
      queue->submit(ask_read(all, store, i * 500, 500).request);
    }
  }
  EXPECT_TRUE(std::ranges::all_of(all, [](const Asked& one) { return one.calls == 1; }));
}

TEST_P(IoQueueTest, AnotherThreadMayTakeOverAQueueAtRest) {
  KernelStore store(content());
  const auto queue = make_queue(4);
  std::deque<Asked> all;
  const auto run = [&] {
    for (std::uint64_t i = 0; i < 20; ++i) {
      queue->submit(ask_read(all, store, i * 500, 500).request);
      queue->submit(all.emplace_back(store, IoOperation::kSync, 0, "").request);
    }
    queue->drain();
  };
  run();
  std::jthread(run).join();
  run();
  EXPECT_EQ(queue->engine(), GetParam());
  EXPECT_EQ(queue->stats().completed, 120U);
  EXPECT_EQ(store.kernel_completions, has_ring() ? 60 : 0);
}

TEST_P(IoQueueTest, RequestsThatAreSubmittedWithoutAnEndAreHeldBackNotLost) {
  KernelStore store(pattern(4096));
  const auto queue = make_queue(32);
  const std::size_t count = IoQueueOptions::kWaitingMax + 1000;
  std::vector<IoRequest> requests(count);
  std::string text(1, '?');
  std::size_t calls = 0;
  for (IoRequest& request : requests) {
    request = {.store = &store,
               .memory = writable(text),
               .on_done = [](IoRequest& done) { ++*static_cast<std::size_t*>(done.context); },
               .context = &calls};
    queue->submit(request);
  }
  EXPECT_GT(calls, 0U) << "submit() made room";
  queue->drain();
  EXPECT_EQ(calls, count);
}

// --- stores -------------------------------------------------------------------------------------

TEST_P(IoQueueTest, StoresThatTheKernelDoesNotKnowAreServedByThreads) {
  KernelStore store(content());
  store.is_kernels = false;
  const auto queue = make_queue();
  std::deque<Asked> all;
  for (std::uint64_t i = 0; i < 40; ++i) {
    queue->submit(ask_read(all, store, i * 1000, 1000).request);
  }
  queue->drain();
  for (const Asked& one : all) {
    EXPECT_EQ(one.text, content().substr(one.request.offset_bytes, 1000));
  }
  EXPECT_EQ(store.store_calls, 40);
  EXPECT_EQ(store.kernel_completions, 0);
  EXPECT_EQ(queue->stats().on_threads, 40U);
}

TEST_P(IoQueueTest, TheStoreDecidesWhatTheKernelMayDo) {
  KernelStore store(content());
  store.are_writes_kernels = false;
  const auto queue = make_queue();
  Asked write(store, IoOperation::kWrite, 0, "text");
  Asked read(store, IoOperation::kRead, 100, "????");
  queue->submit(write.request);
  queue->submit(read.request);
  queue->drain();
  EXPECT_EQ(store.store_calls, has_ring() ? 1 : 2);
  EXPECT_EQ(store.kernel_completions, has_ring() ? 1 : 0);
  EXPECT_EQ(store.content().substr(0, 4), "text");
}

// Goal:   a queue whose ring and threads both have work waits for either.
TEST_P(IoQueueTest, RingAndThreadsWorkSideBySide) {
  KernelStore store(content());
  KernelStore other(content());
  other.is_kernels = false;
  const auto queue = make_queue(6);
  std::deque<Asked> all;
  for (std::uint64_t i = 0; i < 300; ++i) {
    queue->submit(ask_read(all, i % 3 == 0 ? other : store, i * 700, 700).request);
    if (i % 7 == 0) {
      static_cast<void>(queue->wait(1 + i % 3));
    }
  }
  queue->drain();
  for (const Asked& one : all) {
    EXPECT_EQ(one.calls, 1);
    EXPECT_EQ(one.text, content().substr(one.request.offset_bytes, 700));
  }
  queue->check_invariants();
}

// --- what it costs and says ---------------------------------------------------------------------

// Goal:   the device begins while the rest is prepared; waiting for all is one more call.
TEST(IoQueueRingTest, RequestsAreHandedOverInPairs) {
  if (const auto ring = sys::Ring::open(); !ring) {
    GTEST_SKIP() << "io_uring: " << sys::explain_ring_refusal(ring.error());
  }
  KernelStore store(content());
  const auto queue = IoQueue::make({.depth = 64, .engine = IoEngine::kRing}).value();
  std::deque<Asked> all;
  for (std::uint64_t i = 0; i < 64; ++i) {
    queue->submit(ask_read(all, store, i * 1000, 1000).request);
  }
  EXPECT_EQ(queue->stats().system_calls, 32U);
  EXPECT_EQ(queue->wait(64), 64U);
  EXPECT_LE(queue->stats().system_calls, 34U);
  EXPECT_EQ(queue->explain(), "io_uring, depth 64");
}

TEST(IoQueueOptionsTest, ADepthOutOfRangeIsRefused) {
  EXPECT_EQ(IoQueue::make({.depth = 0}).error().code(), Errc::kLimit);
  EXPECT_EQ(IoQueue::make({.depth = IoQueueOptions::kDepthMax + 1}).error().code(), Errc::kLimit);
  EXPECT_TRUE(IoQueue::make({.depth = IoQueueOptions::kDepthMax}).has_value());
}

TEST(IoQueueOptionsTest, WithoutARingThreadsAreUsedAndTheReasonIsTold) {
  const sys::FaultPlan plan({.call = sys::Call::kRingSetup, .times = UINT64_MAX, .error = EPERM});
  const auto refused = IoQueue::make({.engine = IoEngine::kRing});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Errc::kUnsupported);
  EXPECT_NE(refused.error().message().find("EPERM"), std::string::npos);
  const auto queue = IoQueue::make({.depth = 20}).value();
  EXPECT_EQ(queue->engine(), IoEngine::kThreads);
  EXPECT_NE(queue->explain().find("16 threads, depth 20: io_uring: EPERM"), std::string::npos);
  KernelStore store(pattern(100));
  Asked read(store, IoOperation::kRead, 10, "????");
  queue->submit(read.request);
  queue->drain();
  EXPECT_EQ(read.text, pattern(14).substr(10));
}

TEST(IoRequestTest, AResultNamesStoreAndRange) {
  KernelStore store("");
  Asked read(store, IoOperation::kRead, 4096, std::string(512, '?'));
  read.request.error = std::error_code(EIO, std::system_category());
  const std::string message = read.request.result().error().message();
  EXPECT_NE(message.find("read(data, offset 4096, 512 bytes)"), std::string::npos) << message;
  EXPECT_NE(message.find("EIO"), std::string::npos) << message;
  read.request.error = Errc::kFailed;
  EXPECT_EQ(read.request.result().error().code(), Errc::kFailed);
  read.request.error.clear();
  read.request.done_bytes = 7;
  EXPECT_EQ(read.request.result().value(), 7U);
}

using IoQueueDeathTest = IoQueueTest;
INSTANTIATE_TEST_SUITE_P(Engines, IoQueueDeathTest, ::testing::Values(IoEngine::kThreads),
                         [](const auto&) { return std::string("Threads"); });

void wait_in_a_callback(IoQueue& queue) {
  KernelStore store("");
  IoRequest request{.store = &store,
                    .on_done = [](IoRequest& done) { static_cast<IoQueue*>(done.context)->wait(); },
                    .context = &queue};
  queue.submit(request);
  queue.drain();
}

TEST_P(IoQueueDeathTest, ACallbackMustNotWait) {
  EXPECT_DEATH(wait_in_a_callback(*make_queue()), "is_in_callback_");
}

// --- coroutines ---------------------------------------------------------------------------------

IoTask copy(IoQueue& queue, Store& from, Store& to, std::span<std::byte> buffer) {
  for (std::uint64_t at = 0;; at += buffer.size()) {
    const Result<std::uint64_t> bytes = co_await queue.read(from, at, buffer);
    if (!bytes) {
      co_return fail(bytes.error());
    }
    const auto written = co_await queue.write(to, at, buffer.first(*bytes));
    if (!written) {
      co_return fail(written.error());
    }
    if (*bytes < buffer.size()) {
      const auto synced = co_await queue.sync(to, Durability::kData);
      co_return synced ? Result<void>() : fail(synced.error());
    }
  }
}

TEST_P(IoQueueTest, CoroutinesGoOnWhenTheirRequestIsDone) {
  const auto queue = make_queue(4);
  KernelStore from(content());
  std::deque<KernelStore> targets;
  std::deque<std::vector<std::byte>> buffers;
  std::vector<IoTask> tasks;
  for (std::size_t i = 0; i < 10; ++i) {
    tasks.push_back(copy(*queue, from, targets.emplace_back(""), buffers.emplace_back(7000 + i)));
  }
  for (IoTask& task : tasks) {
    EXPECT_TRUE(task.wait(*queue).has_value());
  }
  for (const KernelStore& target : targets) {
    EXPECT_EQ(target.content(), content());
    EXPECT_EQ(target.syncs, 1);
  }
}

}  // namespace
}  // namespace quire
