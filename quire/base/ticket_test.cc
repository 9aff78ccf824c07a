// SPDX-License-Identifier: Apache-2.0
#include "quire/base/ticket.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <thread>
#include <vector>

namespace quire {
namespace {

using std::chrono::nanoseconds;

Error trouble() {
  return make_error(Errc::kFailed, "flush", "log.bin");
}

TEST(TicketTest, IsPendingUntilResolved) {
  Ticket::Source source;
  const Ticket ticket = source.ticket();
  EXPECT_FALSE(ticket.is_done());
  source.resolve({});
  EXPECT_TRUE(ticket.is_done());
  EXPECT_TRUE(ticket.wait().has_value());
}

TEST(TicketTest, ResolvedBeforeTheWaitGivesTheSameAnswerEveryTime) {
  Ticket::Source source;
  source.resolve(fail(trouble()));
  const Ticket ticket = source.ticket();
  for (int i = 0; i < 3; ++i) {
    const Result<void> outcome = ticket.wait();
    ASSERT_FALSE(outcome.has_value());
    EXPECT_EQ(outcome.error().message(), trouble().message());
  }
}

TEST(TicketTest, EveryCopyInEveryThreadGetsTheOutcome) {
  constexpr int kThreads = 8;
  Ticket::Source source;
  std::atomic<int> waiting = 0;
  std::atomic<int> failures_seen = 0;
  std::vector<std::jthread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, ticket = source.ticket()] {
      ++waiting;
      failures_seen += ticket.wait().has_value() ? 0 : 1;
    });
  }
  while (waiting.load() < kThreads) {
    std::this_thread::yield();
  }
  EXPECT_EQ(failures_seen, 0);
  source.resolve(fail(trouble()));
  threads.clear();
  EXPECT_EQ(failures_seen, kThreads);
}

TEST(TicketTest, WaitForGivesNothingWhenTheTimeRunsOut) {
  const Ticket::Source source;
  const Ticket ticket = source.ticket();
  EXPECT_EQ(ticket.wait_for(nanoseconds(0)), std::nullopt);
  EXPECT_EQ(ticket.wait_for(nanoseconds(-1)), std::nullopt);
  EXPECT_EQ(ticket.wait_for(nanoseconds::min()), std::nullopt);
  EXPECT_EQ(ticket.wait_for(std::chrono::milliseconds(1)), std::nullopt);
  EXPECT_FALSE(ticket.is_done());
}

TEST(TicketTest, WaitForGivesTheOutcomeWhenThereIsOne) {
  Ticket::Source source;
  source.resolve({});
  const std::optional<Result<void>> outcome = source.ticket().wait_for(nanoseconds(0));
  ASSERT_TRUE(outcome.has_value());
  EXPECT_TRUE(outcome->has_value());
}

// Goal:   "for ever" as a number does not wrap around into the past.
// Method: the longest timeouts there are, with an outcome that arrives while they wait.
TEST(TicketTest, WaitForTheLongestTimeWaits) {
  for (const nanoseconds timeout : {nanoseconds::max(), nanoseconds::max() - nanoseconds(1),
                                    nanoseconds(std::chrono::hours(24 * 365 * 200))}) {
    Ticket::Source source;
    std::atomic<bool> is_waiting = false;
    std::optional<Result<void>> outcome;
    std::jthread waiter([&, ticket = source.ticket()] {
      is_waiting = true;
      outcome = ticket.wait_for(timeout);
    });
    while (!is_waiting.load()) {
      std::this_thread::yield();
    }
    source.resolve({});
    waiter.join();
    ASSERT_TRUE(outcome.has_value()) << timeout.count();
    EXPECT_TRUE(outcome->has_value());
  }
}

TEST(TicketTest, OutlivesItsSource) {
  std::optional<Ticket> ticket;
  {
    Ticket::Source source;
    ticket = source.ticket();
    source.resolve({});
  }
  EXPECT_TRUE(ticket->wait().has_value());
}

TEST(TicketTest, WorkThatIsGivenUpCancelsItsTickets) {
  std::optional<Ticket::Source> source(std::in_place);
  const Ticket ticket = source->ticket();
  {
    const Ticket::Source copy = *source;
    source.reset();
    EXPECT_FALSE(ticket.is_done()) << "a copy can still resolve it";
  }
  const Result<void> outcome = ticket.wait();
  ASSERT_FALSE(outcome.has_value());
  EXPECT_EQ(outcome.error().code(), Errc::kCancelled);
}

TEST(TicketDeathTest, ResolvingTwiceDies) {
  Ticket::Source source;
  source.resolve({});
  EXPECT_DEATH(source.resolve({}), "check failed: .*outcome.has_value");
}

}  // namespace
}  // namespace quire
