// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <thread>
#include <vector>

#include "quire/map/internal/background.h"
#include "quire/map/writable_mapping.h"
#include "quire/sys/call.h"
#include "quire/testing/process.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::pattern;
using testing::TempDir;

constexpr std::uint64_t kBytes = 16 * 4096;

WritableMapping open_dirty(const TempDir& dir) {
  WritableMapping map =
      quire::map(dir.write("f", pattern(kBytes)), {.access = Access::kReadWrite}).value();
  EXPECT_TRUE(map.flush(kWholeFile, Durability::kAll));
  for (std::size_t at = 0; at < kBytes; at += 4096) {
    map.bytes()[at] = std::byte{'d'};
  }
  EXPECT_EQ(map.resident().value().dirty_bytes, kBytes);
  return map;
}

// Goal:   a flush of a range writes that range, and leaves the rest for later.
// Method: dirty pages further apart than the largest folio, which is what the kernel cleans at
//         once.
TEST(FlushTest, DataLevelCleansTheRangeAndNothingFarAway) {
  constexpr std::size_t kFarBytes = 6 << 20;
  const TempDir dir;
  WritableMapping map =
      quire::map(dir.write("f", pattern(kFarBytes + 8192)), {.access = Access::kReadWrite}).value();
  ASSERT_TRUE(map.flush(kWholeFile, Durability::kAll));
  map.bytes()[4095] = std::byte{'d'};
  map.bytes()[4096] = std::byte{'d'};
  map.bytes()[kFarBytes] = std::byte{'d'};
  EXPECT_GE(map.resident({0, 8192}).value().dirty_bytes, 4096U);
  // 4095..4097 touches two pages, whatever the alignment.
  ASSERT_TRUE(map.flush({4095, 2}, Durability::kData));
  EXPECT_EQ(map.resident({0, 8192}).value().dirty_bytes, 0U);
  EXPECT_GE(map.resident({kFarBytes, 1}).value().dirty_bytes, 1U);
  ASSERT_TRUE(map.flush());
  EXPECT_EQ(map.resident().value().dirty_bytes, 0U);
}

TEST(FlushTest, EachLevelMakesItsOwnCalls) {
  const TempDir dir;
  const WritableMapping map = open_dirty(dir);
  {
    const sys::FaultPlan counting({});
    ASSERT_TRUE(map.flush({0, 1}, Durability::kStarted));
    EXPECT_EQ(counting.count(sys::Call::kSyncRange), 1U);
    EXPECT_EQ(counting.count(sys::Call::kSyncMemory), 0U);
  }
  {
    const sys::FaultPlan counting({});
    ASSERT_TRUE(map.flush({0, 1}, Durability::kData));
    EXPECT_EQ(counting.count(sys::Call::kSyncMemory), 1U);
    EXPECT_EQ(counting.count(sys::Call::kSyncAll), 0U);
  }
  {
    const sys::FaultPlan counting({});
    ASSERT_TRUE(map.flush({0, 1}, Durability::kAll));
    EXPECT_EQ(counting.count(sys::Call::kSyncAll), 1U);
  }
}

TEST(FlushTest, CreatedFileGetsItsDirectoryEntryMadeDurableOnce) {
  const TempDir dir;
  const WritableMapping map =
      quire::map(dir.file("new"),
                 {.access = Access::kReadWrite, .create = true, .minimum_bytes = 4096})
          .value();
  const sys::FaultPlan counting({});
  ASSERT_TRUE(map.flush(kWholeFile, Durability::kAll));
  EXPECT_EQ(counting.count(sys::Call::kSyncAll), 2U) << "the file and its directory";
  ASSERT_TRUE(map.flush(kWholeFile, Durability::kAll));
  EXPECT_EQ(counting.count(sys::Call::kSyncAll), 3U) << "only the file";
}

TEST(FlushTest, RangesOutsideTheViewAreErrors) {
  const TempDir dir;
  const WritableMapping map = open_dirty(dir);
  EXPECT_EQ(map.flush({kBytes, 1}).error().code(), Errc::kOutOfRange);
  EXPECT_EQ(map.flush({1, kToEnd - 1}).error().code(), Errc::kOutOfRange);
  EXPECT_TRUE(map.flush({kBytes, 0}));
}

// Goal:   an error of the device is delivered, sticks, and is forgotten only on request.
TEST(FlushTest, DeviceErrorSticksUntilItIsAcknowledged) {
  const TempDir dir;
  WritableMapping map = open_dirty(dir);
  {
    const sys::FaultPlan plan({.call = sys::Call::kSyncMemory, .error = EIO});
    const Result<void> flushed = map.flush();
    ASSERT_FALSE(flushed);
    EXPECT_EQ(flushed.error().code(), std::errc::io_error);
    EXPECT_EQ(flushed.error().operation(), "flush");
  }
  EXPECT_EQ(map.flush().error().code(), std::errc::io_error) << "no fault any more, still failed";
  EXPECT_EQ(map.flush_async().error().code(), std::errc::io_error);
  map.acknowledge_error();
  EXPECT_TRUE(map.flush());
  EXPECT_TRUE(map.close());
}

TEST(FlushTest, CloseReturnsTheErrorOfABackgroundFlush) {
  const TempDir dir;
  WritableMapping map = open_dirty(dir);
  {
    const sys::FaultPlan plan({.call = sys::Call::kSyncData, .error = EIO});
    const Ticket ticket = map.flush_async().value();
    EXPECT_EQ(ticket.wait().error().code(), std::errc::io_error);
  }
  EXPECT_EQ(map.close().error().code(), std::errc::io_error);
  EXPECT_FALSE(map.is_open());
}

TEST(FlushTest, BackgroundFlushOutlivesItsMapping) {
  const TempDir dir;
  std::vector<Ticket> tickets;
  {
    const WritableMapping map = open_dirty(dir);
    for (const Durability level : {Durability::kStarted, Durability::kData, Durability::kAll}) {
      tickets.push_back(map.flush_async({4096, 4096}, level).value());
    }
  }
  for (const Ticket& ticket : tickets) {
    EXPECT_TRUE(ticket.wait());
    EXPECT_TRUE(ticket.is_done());
  }
  EXPECT_EQ(quire::map(dir.file("f"))->resident().value().dirty_bytes, 0U);
}

TEST(FlushTest, ManyThreadsFlushOneMapping) {
  const TempDir dir;
  const WritableMapping map = open_dirty(dir);
  std::vector<std::thread> threads;
  for (std::uint64_t i = 0; i < 8; ++i) {
    threads.emplace_back([&map, i] {
      EXPECT_TRUE(map.flush({i * 8192, 8192}));
      EXPECT_TRUE(map.flush_async({i * 8192, 8192}).value().wait());
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(map.resident().value().dirty_bytes, 0U);
}

TEST(FlushTest, ForkedChildHasItsOwnBackground) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "fork beside a thread: the sanitizers' allocators do not survive it";
#endif
  const TempDir dir;
  const WritableMapping map = open_dirty(dir);
  ASSERT_TRUE(map.flush_async().value().wait());  // The parent's thread exists now.
  testing::Child child([&] {
    const Result<Ticket> ticket = map.flush_async();
    return ticket && ticket->wait() ? 0 : 1;
  });
  EXPECT_EQ(child.join().exit_code, 0);
}

TEST(FlushTest, MemoryAndPrivateViewsHaveNoDisk) {
  const TempDir dir;
  const WritableMapping copy = quire::map(dir.write("f", "abc"), {.access = Access::kReadWrite,
                                                                  .sharing = Sharing::kPrivate})
                                   .value();
  EXPECT_EQ(copy.flush().error().code(), Errc::kUnsupported);
  const WritableMapping memory =
      map_anonymous({.size_bytes = 10, .sharing = Sharing::kShared}).value();
  EXPECT_EQ(memory.flush().error().code(), Errc::kUnsupported);
  EXPECT_EQ(memory.flush_async().error().code(), Errc::kUnsupported);
}

TEST(BackgroundTest, QueueIsBoundedAndSaysSo) {
  const testing::Signal started;
  const testing::Signal release;
  ASSERT_TRUE(internal::post_to_background([&] {
    started.raise();
    release.wait();
  }));
  started.wait();  // The thread is busy: nothing leaves the queue from here on.
  std::size_t accepted = 0;
  while (accepted <= internal::kBackgroundJobsMax && internal::post_to_background([] {})) {
    ++accepted;
  }
  EXPECT_EQ(accepted, internal::kBackgroundJobsMax);
  const TempDir dir;
  EXPECT_EQ(open_dirty(dir).flush_async().error().code(), Errc::kLimit);
  release.raise();
  const testing::Signal drained;
  while (!internal::post_to_background([&] { drained.raise(); })) {
    std::this_thread::yield();
  }
  drained.wait();
}

}  // namespace
}  // namespace quire
