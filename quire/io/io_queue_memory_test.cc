// SPDX-License-Identifier: Apache-2.0
//
// The memory and the files of requests: aligned or not, registered or not, it is the same to the
// caller.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <string>
#include <thread>
#include <vector>

#include "quire/base/prng.h"
#include "quire/io/buffer_pool.h"
#include "quire/io/io_queue.h"
#include "quire/sys/call.h"
#include "quire/testing/io_requests.h"
#include "quire/testing/kernel_store.h"
#include "quire/testing/seed.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::Asked;
using testing::KernelStore;
using testing::pattern;

constexpr std::size_t kStoreBytes = 300'000;

class IoQueueMemoryTest : public testing::IoQueueFixture {};

INSTANTIATE_TEST_SUITE_P(Engines, IoQueueMemoryTest,
                         ::testing::Values(IoEngine::kRing, IoEngine::kThreads),
                         testing::name_of_engine);

// Goal:   every range of every alignment reads and writes what the store has, however the queue
//         has to go about it.
// Method: random requests that touch each block once per round, against a string.
void run_model(IoQueue& queue, const KernelTarget& target, Prng& prng) {
  constexpr std::size_t kSlotBytes = 10'000;
  constexpr std::size_t kSlots = 30;
  std::string expected = pattern(kSlots * kSlotBytes);
  KernelStore store(expected, target);
  for (int round = 0; round < 8; ++round) {
    std::deque<Asked> all;
    for (std::size_t slot = 0; slot < kSlots; ++slot) {
      const std::size_t start = prng.below(2) == 0 ? 0 : prng.below(kSlotBytes);
      std::size_t length = 1 + prng.below(kSlotBytes - start);
      length = prng.below(2) == 0 ? length : std::max<std::size_t>(1, length / 512 * 512);
      const std::uint64_t offset = slot * kSlotBytes + start;
      std::string text(length, '?');
      const bool is_write = prng.below(3) == 0;
      if (is_write) {
        for (char& letter : text) {
          letter = static_cast<char>(prng());
        }
        expected.replace(offset, length, text);
      }
      all.emplace_back(store, is_write ? IoOperation::kWrite : IoOperation::kRead, offset, text);
      queue.submit(all.back().request);
    }
    queue.drain();
    for (const Asked& one : all) {
      ASSERT_EQ(one.request.result().value(), one.text.size());
      ASSERT_EQ(one.text, expected.substr(one.request.offset_bytes, one.text.size()));
    }
    ASSERT_EQ(store.content(), expected);
  }
}

TEST_P(IoQueueMemoryTest, AnyAlignmentIsTheSameToTheCaller) {
  Prng prng(testing::test_seed());
  const auto queue = make_queue(5);
  for (const std::uint32_t block : {1U, 512U, 4096U, 1U << 20}) {
    for (const std::uint32_t memory : {1U, 64U, 4096U}) {
      run_model(*queue,
                {.memory_alignment_bytes = memory,
                 .read_alignment_bytes = block,
                 .write_alignment_bytes = block},
                prng);
    }
  }
  EXPECT_EQ(queue->stats().bounced > 0, has_ring());
}

// Goal:   long unaligned reads come in pieces, with and without the buffer, and join.
TEST_P(IoQueueMemoryTest, LongUnalignedReadsAreWhole) {
  constexpr std::size_t kBytes = 2'000'000;
  const std::string content = pattern(kBytes);
  KernelStore store(content, {.memory_alignment_bytes = 512, .read_alignment_bytes = 512});
  const auto queue = make_queue(3);
  std::vector<std::byte> room(kBytes + 1024);
  const auto start = reinterpret_cast<std::uintptr_t>(room.data());
  const std::size_t to_aligned = (512 - start % 512) % 512;
  for (const std::size_t skew : {0U, 1U, 100U}) {
    for (const std::uint64_t offset : {0U, 100U, 511U}) {
      std::fill(room.begin(), room.end(), std::byte{0xEE});
      IoRequest request{.store = &store,
                        .offset_bytes = offset,
                        .memory = std::span(room).subspan(to_aligned + skew, kBytes),
                        .on_done = [](IoRequest&) {}};
      queue->submit(request);
      queue->drain();
      ASSERT_EQ(request.result().value(), kBytes - offset);
      const std::string text(reinterpret_cast<const char*>(request.memory.data()), kBytes - offset);
      EXPECT_EQ(text, content.substr(offset));
      EXPECT_TRUE(std::ranges::all_of(request.memory.last(offset),
                                      [](std::byte one) { return one == std::byte{0xEE}; }));
    }
  }
}

TEST_P(IoQueueMemoryTest, RegisteredBuffersAreReadIntoAndWrittenFrom) {
  const auto pool = BufferPool::make({.buffer_bytes = 8192, .buffer_count = 4}).value();
  const auto queue =
      IoQueue::make({.depth = 4, .engine = GetParam(), .registered = pool.get()}).value();
  KernelStore store(pattern(kStoreBytes));
  const BufferPool::Buffer buffer = pool->take();
  const auto within = buffer.bytes().subspan(100, 1000);
  IoRequest request{
      .store = &store, .offset_bytes = 3, .memory = within, .on_done = [](IoRequest&) {}};
  queue->submit(request);
  queue->drain();
  ASSERT_EQ(request.result().value(), 1000U);
  EXPECT_EQ(std::memcmp(within.data(), pattern(1003).data() + 3, 1000), 0);
  request.operation = IoOperation::kWrite;
  request.offset_bytes = 50'000;
  queue->submit(request);
  // Memory outside of the pool, and memory that is in two of its buffers, goes as it is.
  Asked outside(store, IoOperation::kRead, 9, std::string(100, '?'));
  queue->submit(outside.request);
  IoRequest across{.store = &store,
                   .memory = pool->memory().subspan(3 * 8192 - 10, 20),
                   .on_done = [](IoRequest&) {}};
  queue->submit(across);
  queue->drain();
  ASSERT_EQ(request.result().value(), 1000U);
  ASSERT_EQ(across.result().value(), 20U);
  EXPECT_EQ(outside.text, pattern(109).substr(9));
  EXPECT_EQ(store.content(), pattern(kStoreBytes).replace(50'000, 1000, pattern(1003).substr(3)));
  EXPECT_EQ(queue->explain().find("registered buffers") != std::string::npos, has_ring());
}

// Goal:   requests to registered stores go by the registered file, in every thread's ring.
// Method: what the store says its descriptor is becomes wrong after register_store(); requests
//         still work.
TEST_P(IoQueueMemoryTest, RegisteredStoresGoByTheirRegisteredFile) {
  const auto queue = make_queue();
  std::deque<KernelStore> stores;
  for (std::uint32_t i = 0; i < IoQueueOptions::kRegisteredStoresMax + 4; ++i) {
    queue->register_store(stores.emplace_back(std::string(100, static_cast<char>('a' + i))));
    queue->register_store(stores.back());
  }
  const auto expect_all = [&](std::size_t count) {
    std::deque<Asked> all;
    for (std::size_t i = 0; i < count; ++i) {
      all.emplace_back(stores[i], IoOperation::kRead, 0, std::string(100, '?'));
      queue->submit(all.back().request);
    }
    queue->drain();
    for (std::size_t i = 0; i < count; ++i) {
      EXPECT_FALSE(all[i].request.error) << i;
      EXPECT_EQ(all[i].text, std::string(100, static_cast<char>('a' + i)));
    }
  };
  expect_all(stores.size());
  for (std::uint32_t i = 0; i < IoQueueOptions::kRegisteredStoresMax; ++i) {
    stores[i].target.fd = has_ring() ? -1 : stores[i].target.fd;
  }
  expect_all(IoQueueOptions::kRegisteredStoresMax);
  queue->forget_store(stores.back());  // Was never registered: there was no room.
  queue->forget_store(stores[1]);
  queue->register_store(stores.back());
  stores.back().target.fd = -1;
  Asked last(stores.back(), IoOperation::kRead, 0, std::string(100, '?'));
  queue->submit(last.request);
  Asked forgotten(stores[1], IoOperation::kRead, 0, std::string(100, '?'));
  queue->submit(forgotten.request);
  queue->drain();
  EXPECT_FALSE(last.request.error);
  EXPECT_EQ(bool(forgotten.request.error), has_ring()) << "no longer registered";
}

TEST_P(IoQueueMemoryTest, AStoreStaysRegisteredWhenAnotherThreadTakesOver) {
  const auto queue = make_queue();
  KernelStore store(pattern(100));
  queue->register_store(store);
  const int fd = store.target.fd;
  std::jthread([&] {
    Asked first(store, IoOperation::kRead, 0, std::string(100, '?'));
    queue->submit(first.request);  // The ring of this thread is opened, and told of the store.
    queue->drain();
    EXPECT_EQ(first.text, pattern(100));
    store.target.fd = has_ring() ? -1 : fd;
    Asked second(store, IoOperation::kRead, 0, std::string(100, '?'));
    queue->submit(second.request);
    queue->drain();
    EXPECT_EQ(second.text, pattern(100));
  }).join();
}

TEST_P(IoQueueMemoryTest, AStoreThatCannotBeRegisteredIsUsedAsItIs) {
  const auto queue = make_queue();
  KernelStore store(pattern(100));
  for (std::uint64_t nth = 1; nth <= 2; ++nth) {
    const sys::FaultPlan plan({.call = sys::Call::kRingRegister, .nth = nth, .error = ENOMEM});
    queue->register_store(store);
    EXPECT_EQ(plan.hits(), has_ring() ? 1U : 0U);
    Asked read(store, IoOperation::kRead, 0, std::string(100, '?'));
    queue->submit(read.request);
    queue->drain();
    EXPECT_EQ(read.text, pattern(100));
  }
}

}  // namespace
}  // namespace quire
