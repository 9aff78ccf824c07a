// SPDX-License-Identifier: Apache-2.0
//
// A queue whose kernel or whose stores fail: resolved, or told exactly, for the request concerned.
#include <gtest/gtest.h>

#include <cerrno>
#include <deque>
#include <memory>
#include <string>
#include <thread>

#include "quire/io/buffer_pool.h"
#include "quire/io/io_queue.h"
#include "quire/sys/call.h"
#include "quire/testing/kernel_store.h"
#include "quire/testing/nth_fault.h"
#include "quire/testing/ring.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using sys::Call;
using sys::FaultPlan;
using testing::KernelStore;
using testing::pattern;

constexpr std::size_t kRequests = 30;
constexpr std::size_t kRequestBytes = 1000;
constexpr std::size_t kStoreBytes = kRequests * kRequestBytes;

// What the stores begin with; made once.
const std::string& content() {
  static const std::string text = pattern(kStoreBytes);
  return text;
}

// One request for each piece of a store.
struct Batch {
  Batch(KernelStore& store, IoOperation operation) {
    for (std::size_t i = 0; i < kRequests; ++i) {
      Piece& piece = pieces.emplace_back();
      piece.text = operation == IoOperation::kWrite
                       ? std::string(kRequestBytes, static_cast<char>('a' + i % 26))
                       : std::string(kRequestBytes, '?');
      piece.request = {.store = &store,
                       .operation = operation,
                       .offset_bytes = i * kRequestBytes,
                       .memory = std::as_writable_bytes(std::span(piece.text)),
                       .on_done = [](IoRequest& done) { ++*static_cast<int*>(done.context); },
                       .context = &piece.calls};
    }
  }

  void run(IoQueue& queue) {
    for (Piece& piece : pieces) {
      queue.submit(piece.request);
    }
    queue.drain();
    queue.check_invariants();
  }

  [[nodiscard]] std::string text() const {
    std::string all;
    for (const Piece& piece : pieces) {
      all += piece.text;
    }
    return all;
  }

  // Everybody was called back once; those without an error have all of their bytes.
  void expect_failures(std::size_t expected, int error) const {
    std::size_t failures = 0;
    for (const Piece& piece : pieces) {
      EXPECT_EQ(piece.calls, 1);
      if (piece.request.error) {
        ++failures;
        EXPECT_EQ(piece.request.error, std::error_code(error, std::system_category()));
        EXPECT_FALSE(piece.request.result().has_value());
      } else {
        EXPECT_EQ(piece.request.done_bytes, kRequestBytes);
      }
    }
    EXPECT_EQ(failures, expected);
  }

  struct Piece {
    IoRequest request;
    std::string text;
    int calls = 0;
  };
  std::deque<Piece> pieces;
};

class IoQueueFaultTest : public testing::RingFixture {
 protected:
  static std::unique_ptr<IoQueue> ring_queue(std::uint32_t depth = 4) {
    return IoQueue::make({.depth = depth, .engine = IoEngine::kRing}).value();
  }
  static std::unique_ptr<IoQueue> thread_queue() {
    return IoQueue::make({.depth = 4, .engine = IoEngine::kThreads}).value();
  }
};

// Goal:   whichever call of the ring fails, every request ends whole.
// Method: fail the first, second, ... until a run meets no fault.
TEST_F(IoQueueFaultTest, AFailedCallOfTheRingFailsNoRequest) {
  KernelStore store(content());
  for (const Call call : {Call::kRingSubmit, Call::kRingWait}) {
    for (const int error : {EAGAIN, EBUSY, ENOMEM, EINTR}) {
      for (const std::uint64_t times : {1U, 7U}) {
        testing::fail_each_nth(name_of(call), [&](testing::NthFault& fault) {
          const auto queue = ring_queue();
          Batch batch(store, IoOperation::kRead);
          const FaultPlan plan({.call = call, .nth = fault.nth, .times = times, .error = error});
          batch.run(*queue);
          batch.expect_failures(0, 0);
          EXPECT_EQ(batch.text(), content());
          fault.was_hit = plan.hits() > 0;
        });
      }
    }
  }
}

TEST_F(IoQueueFaultTest, ARingThatTakesNothingAnyMoreIsReplacedByThreadsAndSaysSo) {
  KernelStore store(content());
  const auto queue = ring_queue();
  Batch batch(store, IoOperation::kRead);
  const FaultPlan plan({.call = Call::kRingSubmit, .times = UINT64_MAX, .error = ENOMEM});
  batch.run(*queue);
  batch.expect_failures(0, 0);
  EXPECT_EQ(batch.text(), content());
  EXPECT_EQ(queue->stats().on_threads, kRequests);
  EXPECT_NE(queue->explain().find("refused (ENOMEM) went to threads"), std::string::npos);
}

TEST_F(IoQueueFaultTest, AnErrorOfTheNthCompletionIsTheNthRequests) {
  for (const IoOperation operation : {IoOperation::kRead, IoOperation::kWrite}) {
    for (const int error : {EIO, ENOSPC}) {
      for (std::uint64_t nth = 1; nth <= kRequests; ++nth) {
        KernelStore store(content());
        const auto queue = ring_queue();
        Batch batch(store, operation);
        const FaultPlan plan({.call = Call::kRingCompletion, .nth = nth, .error = error});
        batch.run(*queue);
        batch.expect_failures(1, error);
        EXPECT_EQ(queue->stats().failed, 1U);
        EXPECT_EQ(store.kernel_errors, 1) << "the store is told, so that it can stick";
        EXPECT_EQ(store.kernel_completions, static_cast<int>(kRequests));
      }
    }
  }
}

TEST_F(IoQueueFaultTest, ShortTransfersOfTheRingAreGoneOnWith) {
  for (const IoOperation operation : {IoOperation::kRead, IoOperation::kWrite}) {
    for (const std::size_t most : {std::size_t{1}, std::size_t{300}, kRequestBytes - 1}) {
      KernelStore store(content());
      const auto queue = ring_queue();
      Batch batch(store, operation);
      const FaultPlan plan(
          {.call = Call::kRingCompletion, .times = UINT64_MAX, .transfer_bytes_max = most});
      batch.run(*queue);
      batch.expect_failures(0, 0);
      EXPECT_EQ(batch.text(), store.content());
      const std::size_t each = (kRequestBytes + most - 1) / most;
      EXPECT_EQ(plan.hits(), each * kRequests);
      EXPECT_EQ(queue->stats().resumed, (each - 1) * kRequests);
    }
  }
}

// Goal:   a bounced read that comes short, even before the bytes that are wanted, is completed.
TEST_F(IoQueueFaultTest, ShortTransfersIntoABounceBufferAreGoneOnWith) {
  for (const std::size_t most : {std::size_t{1}, std::size_t{300}, std::size_t{1100}}) {
    KernelStore store(content(), {.memory_alignment_bytes = 512, .read_alignment_bytes = 512});
    const auto queue = ring_queue();
    Batch batch(store, IoOperation::kRead);
    const FaultPlan plan(
        {.call = Call::kRingCompletion, .times = UINT64_MAX, .transfer_bytes_max = most});
    batch.run(*queue);
    batch.expect_failures(0, 0);
    EXPECT_EQ(batch.text(), content());
    EXPECT_GE(plan.hits(), kRequests);
  }
}

TEST_F(IoQueueFaultTest, InterruptedEntriesAreTriedAgainAndThenGivenToTheStore) {
  for (const int error : {EINTR, EAGAIN}) {
    for (const std::uint64_t times : {std::uint64_t{1}, std::uint64_t{3}, UINT64_MAX}) {
      KernelStore store(content());
      const auto queue = ring_queue(1);
      Batch batch(store, IoOperation::kRead);
      const FaultPlan plan({.call = Call::kRingCompletion, .times = times, .error = error});
      batch.run(*queue);
      batch.expect_failures(0, 0);
      EXPECT_EQ(batch.text(), content());
      EXPECT_EQ(queue->stats().on_threads, times == UINT64_MAX ? kRequests : 0);
    }
  }
}

TEST_F(IoQueueFaultTest, WhatTheKernelDoesNotKnowIsGivenToTheStore) {
  for (const int error : {EINVAL, EOPNOTSUPP}) {
    for (const IoOperation operation : {IoOperation::kRead, IoOperation::kWrite}) {
      KernelStore store(content());
      const auto queue = ring_queue();
      Batch batch(store, operation);
      const FaultPlan plan({.call = Call::kRingCompletion, .nth = 3, .times = 5, .error = error});
      batch.run(*queue);
      batch.expect_failures(0, 0);
      EXPECT_EQ(batch.text(), store.content());
      EXPECT_GE(store.store_calls, 1);
      EXPECT_EQ(store.kernel_completions + store.store_calls, static_cast<int>(kRequests));
    }
  }
}

TEST_F(IoQueueFaultTest, AWriteThatMovesNothingIsAnError) {
  KernelStore store(content());
  const auto queue = ring_queue();
  Batch batch(store, IoOperation::kWrite);
  const FaultPlan plan({.call = Call::kRingCompletion, .nth = 2, .transfer_bytes_max = 0});
  batch.run(*queue);
  batch.expect_failures(1, EIO);
}

TEST_F(IoQueueFaultTest, AnErrorInAThreadIsItsRequests) {
  for (const Call call : {Call::kRead, Call::kWrite}) {
    for (std::uint64_t nth = 1; nth <= kRequests; ++nth) {
      KernelStore store(content());
      const auto queue = thread_queue();
      Batch batch(store, call == Call::kRead ? IoOperation::kRead : IoOperation::kWrite);
      const FaultPlan plan({.call = call, .nth = nth, .error = EIO});
      batch.run(*queue);
      batch.expect_failures(1, EIO);
      EXPECT_EQ(store.kernel_errors, 0) << "its own function told it";
    }
  }
}

TEST_F(IoQueueFaultTest, AFailedSyncIsAnError) {
  for (const bool has_ring : {true, false}) {
    KernelStore store("text");
    const auto queue = has_ring ? ring_queue() : thread_queue();
    IoRequest request{
        .store = &store, .operation = IoOperation::kSync, .on_done = [](IoRequest&) {}};
    const FaultPlan plan({.call = Call::kSyncData, .error = EIO});
    queue->submit(request);
    queue->drain();
    EXPECT_EQ(request.error, std::error_code(EIO, std::system_category()));
    EXPECT_EQ(request.result().error().operation(), "sync");
  }
}

// Goal:   what opening a ring needs can fail, for the first thread and for one that takes over.
TEST_F(IoQueueFaultTest, WithoutARingThreadsDoTheWork) {
  for (const Call call : {Call::kEvent, Call::kRingSetup, Call::kRingRegister}) {
    KernelStore store(content());
    const FaultPlan plan({.call = call, .times = UINT64_MAX, .error = EMFILE});
    const auto queue = IoQueue::make({.depth = 4}).value();
    EXPECT_EQ(queue->engine(), IoEngine::kThreads);
    EXPECT_NE(queue->explain().find("EMFILE"), std::string::npos);
    Batch batch(store, IoOperation::kRead);
    batch.run(*queue);
    batch.expect_failures(0, 0);
    EXPECT_EQ(batch.text(), content());
  }
}

TEST_F(IoQueueFaultTest, AThreadThatGetsNoRingOfItsOwnUsesThreads) {
  KernelStore store(content());
  const auto queue = ring_queue();
  Batch first(store, IoOperation::kRead);
  first.run(*queue);
  const IoQueueStats before = queue->stats();
  Batch second(store, IoOperation::kRead);
  {
    const FaultPlan plan({.call = Call::kRingSetup, .times = UINT64_MAX, .error = ENOMEM});
    std::jthread([&] { second.run(*queue); }).join();
  }
  second.expect_failures(0, 0);
  EXPECT_EQ(second.text(), content());
  EXPECT_EQ(queue->engine(), IoEngine::kThreads);
  EXPECT_NE(queue->explain().find("ENOMEM"), std::string::npos);
  EXPECT_EQ(queue->stats().system_calls, before.system_calls + kRequests);
  EXPECT_EQ(queue->stats().completed, 2 * kRequests);
}

TEST_F(IoQueueFaultTest, BuffersThatCannotBeRegisteredAreUsedAsTheyAre) {
  const auto pool = BufferPool::make({.buffer_bytes = 4096, .buffer_count = 2}).value();
  const FaultPlan plan({.call = Call::kRingRegister, .nth = 2, .error = ENOMEM});
  const auto queue =
      IoQueue::make({.depth = 2, .engine = IoEngine::kRing, .registered = pool.get()}).value();
  EXPECT_NE(queue->explain().find("buffers not registered: ENOMEM"), std::string::npos);
  KernelStore store(content());
  IoRequest request{
      .store = &store, .memory = pool->memory().first(100), .on_done = [](IoRequest&) {}};
  queue->submit(request);
  queue->drain();
  EXPECT_EQ(request.result().value(), 100U);
}

}  // namespace
}  // namespace quire
