// SPDX-License-Identifier: Apache-2.0
#include "quire/io/background_io.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "quire/sys/call.h"
#include "quire/testing/io_requests.h"
#include "quire/testing/kernel_store.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::bytes_of;
using testing::content;
using testing::KernelStore;
using testing::pattern;
using testing::writable;

class BackgroundIoTest : public testing::IoQueueFixture {
 protected:
  [[nodiscard]] std::unique_ptr<BackgroundIo> make_io(std::uint32_t depth = 8) const {
    return BackgroundIo::make({.depth = depth, .engine = GetParam()}).value();
  }
};

INSTANTIATE_TEST_SUITE_P(Engines, BackgroundIoTest,
                         ::testing::Values(IoEngine::kRing, IoEngine::kThreads),
                         testing::name_of_engine);

TEST_P(BackgroundIoTest, ManyThreadsReadWhatIsThere) {
  KernelStore store(content());
  const auto io = make_io();
  std::vector<std::jthread> threads;
  for (std::uint64_t number = 0; number < 4; ++number) {
    threads.emplace_back([&, number] {
      for (std::uint64_t i = 0; i < 200; ++i) {
        const std::uint64_t offset = (number * 200 + i) * 450;
        std::string text(450, '?');
        ASSERT_TRUE(io->read(store, offset, writable(text)).wait().has_value());
        ASSERT_EQ(text, content().substr(offset, 450));
      }
    });
  }
}

TEST_P(BackgroundIoTest, RequestsAreUnderWayTogether) {
  KernelStore store(content());
  const auto io = make_io();
  std::vector<std::string> texts(500, std::string(800, '?'));
  std::vector<Ticket> tickets;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    tickets.push_back(io->read(store, i * 800, writable(texts[i])));
  }
  for (std::size_t i = 0; i < texts.size(); ++i) {
    EXPECT_TRUE(tickets[i].wait().has_value());
    EXPECT_EQ(texts[i], content().substr(i * 800, 800));
  }
}

// Goal:   a sync covers every write that was asked for before it.
TEST_P(BackgroundIoTest, ASyncComesAfterTheWritesBeforeIt) {
  KernelStore store("");
  const auto io = make_io();
  const std::string text = pattern(100'000);
  for (std::size_t i = 0; i < 100; ++i) {
    static_cast<void>(io->write(store, i * 1000, bytes_of(text).subspan(i * 1000, 1000)));
  }
  ASSERT_TRUE(io->sync(store).wait().has_value());
  EXPECT_EQ(store.content(), text);
  EXPECT_EQ(store.syncs, 1);
}

TEST_P(BackgroundIoTest, AReadThatMeetsTheEndFails) {
  KernelStore store(pattern(100));
  const auto io = make_io();
  std::string text(50, '?');
  const Result<void> outcome = io->read(store, 90, writable(text)).wait();
  ASSERT_FALSE(outcome.has_value());
  EXPECT_EQ(outcome.error().code(), Errc::kOutOfRange);
  EXPECT_NE(outcome.error().message().find("the store ends after 10 of them"), std::string::npos);
}

TEST_P(BackgroundIoTest, AnErrorIsItsTickets) {
  KernelStore store(content());
  const auto io = make_io();
  std::string text(50, '?');
  {
    const sys::FaultPlan plan(
        {.call = GetParam() == IoEngine::kRing ? sys::Call::kRingCompletion : sys::Call::kRead,
         .times = UINT64_MAX,
         .error = EIO});
    const Result<void> outcome = io->read(store, 0, writable(text)).wait();
    ASSERT_FALSE(outcome.has_value());
    EXPECT_EQ(outcome.error().code(), std::error_code(EIO, std::system_category()));
  }
  EXPECT_TRUE(io->read(store, 0, writable(text)).wait().has_value());
}

TEST_P(BackgroundIoTest, TicketsOutliveTheObjectAndAreResolved) {
  KernelStore store(content());
  std::vector<std::string> texts(300, std::string(1000, '?'));
  std::vector<Ticket> tickets;
  {
    const auto io = make_io(2);
    for (std::size_t i = 0; i < texts.size(); ++i) {
      tickets.push_back(io->read(store, i * 1000, writable(texts[i])));
    }
  }
  for (std::size_t i = 0; i < texts.size(); ++i) {
    ASSERT_TRUE(tickets[i].is_done());
    EXPECT_TRUE(tickets[i].wait().has_value());
    EXPECT_EQ(texts[i], content().substr(i * 1000, 1000));
  }
}

TEST_P(BackgroundIoTest, SaysWhatItRunsOnAlsoWhileItIsIdle) {
  const auto io = make_io(5);
  const std::string expected = GetParam() == IoEngine::kRing ? "io_uring, depth 5" : "5 threads";
  EXPECT_EQ(io->explain().rfind(expected, 0), 0U) << io->explain();
}

// Goal:   a producer that never waits is held back, and everything it asked for is done.
TEST_P(BackgroundIoTest, ARunawayProducerIsHeldBack) {
  KernelStore store(pattern(100));
  const auto io = make_io(32);
  std::string text(1, '?');
  std::optional<Ticket> last;
  for (std::size_t i = 0; i < BackgroundIo::kWaitingMax + 1000; ++i) {
    last = io->read(store, 0, writable(text));
  }
  EXPECT_TRUE(last->wait().has_value());
}

}  // namespace
}  // namespace quire
