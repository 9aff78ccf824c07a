// SPDX-License-Identifier: Apache-2.0
#include "quire/sys/poller.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <deque>
#include <string>
#include <vector>

#include "quire/sys/call.h"
#include "quire/sys/file.h"
#include "quire/testing/ring.h"
#include "quire/testing/temp_dir.h"

namespace quire::sys {
namespace {

using std::chrono::hours;
using std::chrono::nanoseconds;
using testing::bytes_of;
using testing::Pipe;

class PollerTest : public ::testing::Test {
 protected:
  // In ascending order.
  std::vector<std::uint64_t> ready(std::size_t tags_max = 16) {
    std::vector<std::uint64_t> tags(tags_max);
    tags.resize(poller_.ready(tags).value());
    std::ranges::sort(tags);
    return tags;
  }

  Poller poller_ = Poller::open().value();
};

using Tags = std::vector<std::uint64_t>;

TEST_F(PollerTest, TellsWhatIsReadableUntilItIsTaken) {
  const Pipe first;
  const Pipe second;
  ASSERT_TRUE(poller_.add(first.reader.get(), 1));
  ASSERT_TRUE(poller_.add(second.reader.get(), UINT64_MAX));
  EXPECT_EQ(ready(), Tags{});
  EXPECT_EQ(wait_readable(poller_.fd(), 0), PollResult::kTimedOut);
  ASSERT_TRUE(write_all(second.writer.get(), bytes_of("x")));
  EXPECT_EQ(wait_readable(poller_.fd(), -1), PollResult::kReadable);
  EXPECT_EQ(ready(), Tags{UINT64_MAX});
  EXPECT_EQ(ready(), Tags{UINT64_MAX}) << "nobody has read it";
  ASSERT_TRUE(write_all(first.writer.get(), bytes_of("x")));
  EXPECT_EQ(ready(), (Tags{1, UINT64_MAX}));
  std::string text(1, '?');
  ASSERT_EQ(read_some(second.reader.get(), testing::writable(text)), 1U);
  EXPECT_EQ(ready(), Tags{1});
}

TEST_F(PollerTest, APeerThatHangsUpIsTold) {
  Pipe pipe;
  ASSERT_TRUE(poller_.add(pipe.reader.get(), 7));
  ASSERT_TRUE(pipe.writer.close());
  EXPECT_EQ(ready(), Tags{7});
}

TEST_F(PollerTest, WhatIsRemovedIsNotToldAnyMore) {
  const Pipe pipe;
  ASSERT_TRUE(write_all(pipe.writer.get(), bytes_of("x")));
  ASSERT_TRUE(poller_.add(pipe.reader.get(), 1));
  EXPECT_EQ(poller_.add(pipe.reader.get(), 2).error(), Errno{EEXIST});
  EXPECT_EQ(ready(), Tags{1});
  ASSERT_TRUE(poller_.remove(pipe.reader.get()));
  EXPECT_EQ(ready(), Tags{});
  EXPECT_EQ(poller_.remove(pipe.reader.get()).error(), Errno{ENOENT});
  ASSERT_TRUE(poller_.add(pipe.reader.get(), 2)) << "and may come back";
  EXPECT_EQ(ready(), Tags{2});
}

TEST_F(PollerTest, NobodyStarvesWhereTheTagsDoNotFit) {
  std::deque<Descriptor> events;
  Tags expected;
  for (std::uint64_t tag = 0; tag < Poller::kReadyMax + 5; ++tag) {
    events.push_back(create_event().value());
    ASSERT_TRUE(poller_.add(events.back().get(), tag));
    signal_event(events.back());
    expected.push_back(tag);
  }
  EXPECT_EQ(ready(0), Tags{});
  Tags told = ready(3);
  EXPECT_EQ(told.size(), 3U);
  Tags others = ready(1000);
  EXPECT_EQ(others.size(), Poller::kReadyMax);
  told.insert(told.end(), others.begin(), others.end());
  others = ready(2);
  told.insert(told.end(), others.begin(), others.end());
  std::ranges::sort(told);
  EXPECT_EQ(told, expected) << "everybody once before anybody twice";
}

TEST_F(PollerTest, WhatCannotBePolledIsRefused) {
  const testing::TempDir directory;
  const std::string path = directory.write("data", "text");
  Descriptor file = open_file(path.c_str(), {}).value();
  EXPECT_EQ(poller_.add(file.get(), 1).error(), Errno{EPERM});
  const int number = file.get();
  ASSERT_TRUE(file.close());
  EXPECT_EQ(poller_.add(number, 1).error(), Errno{EBADF});
}

TEST_F(PollerTest, ErrorsComeBackAndInterruptionsDoNot) {
  const Pipe pipe;
  std::array<std::uint64_t, 1> tags{};
  {
    const FaultPlan plan({.call = Call::kPoller, .times = 4, .error = ENOMEM});
    EXPECT_EQ(Poller::open().map([](auto&&) {}).error(), Errno{ENOMEM});
    EXPECT_EQ(poller_.add(pipe.reader.get(), 1).error(), Errno{ENOMEM});
    EXPECT_EQ(poller_.remove(pipe.reader.get()).error(), Errno{ENOMEM});
    EXPECT_EQ(poller_.ready(tags).error(), Errno{ENOMEM});
  }
  const FaultPlan plan({.call = Call::kPoller, .times = 2, .error = EINTR});
  EXPECT_EQ(poller_.ready(tags), 0U);
  EXPECT_EQ(plan.count(Call::kPoller), 3U);
}

// --- timers -------------------------------------------------------------------------------------

bool has_expired(const Descriptor& timer) {
  return wait_readable(timer.get(), 0) == PollResult::kReadable;
}

TEST_F(PollerTest, ATimerIsReadableFromItsTimeUntilItIsCleared) {
  const Descriptor timer = create_timer().value();
  ASSERT_TRUE(poller_.add(timer.get(), 9));
  EXPECT_EQ(ready(), Tags{});
  ASSERT_TRUE(set_timer(timer, nanoseconds(1)));
  ASSERT_EQ(wait_readable(poller_.fd(), -1), PollResult::kReadable);
  EXPECT_EQ(ready(), Tags{9});
  clear_signals(timer);
  EXPECT_EQ(ready(), Tags{}) << "it expires once";
  clear_signals(timer);  // Nothing is there: it does not block.
}

TEST(TimerTest, SettingATimerForgetsWhatItWasSetTo) {
  const Descriptor timer = create_timer().value();
  for (const nanoseconds later : {nanoseconds(0), nanoseconds(hours(1000))}) {
    ASSERT_TRUE(set_timer(timer, nanoseconds(1)));
    ASSERT_EQ(wait_readable(timer.get(), -1), PollResult::kReadable);
    ASSERT_TRUE(set_timer(timer, later));
    EXPECT_FALSE(has_expired(timer));
  }
  ASSERT_TRUE(set_timer(timer, nanoseconds(-5)));
  EXPECT_EQ(wait_readable(timer.get(), -1), PollResult::kReadable) << "a time that is over";
}

TEST(TimerTest, DescriptorsAreCloseOnExec) {
  const Descriptor timer = create_timer().value();
  const Descriptor event = create_event(EventReads::kNeverBlock).value();
  const Poller poller = Poller::open().value();
  for (const int fd : {timer.get(), event.get(), poller.fd()}) {
    EXPECT_EQ(::fcntl(fd, F_GETFD), FD_CLOEXEC);
  }
}

TEST(TimerTest, ErrorsComeBack) {
  const Descriptor timer = create_timer().value();
  const FaultPlan plan({.call = Call::kTimer, .times = 2, .error = EMFILE});
  EXPECT_EQ(create_timer().map([](auto&&) {}).error(), Errno{EMFILE});
  EXPECT_EQ(set_timer(timer, nanoseconds(1)).error(), Errno{EMFILE});
  EXPECT_EQ(plan.hits(), 2U);
}

// --- events -------------------------------------------------------------------------------------

TEST(EventTest, ClearingTakesAllSignalsAndNeverBlocks) {
  const Descriptor event = create_event(EventReads::kNeverBlock).value();
  clear_signals(event);
  signal_event(event);
  signal_event(event);
  EXPECT_EQ(wait_readable(event.get(), 0), PollResult::kReadable);
  clear_signals(event);
  EXPECT_EQ(wait_readable(event.get(), 0), PollResult::kTimedOut);
}

TEST(EventTest, SignalsThatCannotBeTakenNowAreSeenAgain) {
  const Descriptor event = create_event(EventReads::kNeverBlock).value();
  signal_event(event);
  const FaultPlan plan({.call = Call::kEvent, .error = EIO});
  clear_signals(event);
  EXPECT_EQ(wait_readable(event.get(), 0), PollResult::kReadable);
  clear_signals(event);
  EXPECT_EQ(wait_readable(event.get(), 0), PollResult::kTimedOut);
}

const Descriptor* handlers_event = nullptr;

TEST(EventTest, ASignalHandlerMaySignalAndKeepsErrno) {
  const Descriptor event = create_event(EventReads::kNeverBlock).value();
  handlers_event = &event;
  struct sigaction action{};
  struct sigaction before{};
  action.sa_handler = [](int) { signal_event(*handlers_event); };
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &before), 0);
  errno = EXDEV;
  ASSERT_EQ(::raise(SIGUSR1), 0);
  EXPECT_EQ(errno, EXDEV);
  ASSERT_EQ(::sigaction(SIGUSR1, &before, nullptr), 0);
  EXPECT_EQ(wait_readable(event.get(), 0), PollResult::kReadable);
}

}  // namespace
}  // namespace quire::sys
