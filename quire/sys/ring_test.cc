// SPDX-License-Identifier: Apache-2.0
//
// What a ring is: opening, queues, waiting. What its entries do is in ring_entry_test.cc; faults,
// overflow and the model are in ring_fault_test.cc.
#include "quire/sys/ring.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "quire/sys/call.h"
#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"
#include "quire/sys/probe.h"
#include "quire/testing/ring.h"
#include "quire/testing/temp_dir.h"

namespace quire::sys {
namespace {

using testing::count_open_descriptors;
using testing::finish_all;
using testing::finish_by_tag;
using testing::finish_one;
using testing::kTag;
using testing::open_ring;
using testing::pattern;
using testing::PatternFile;
using testing::Pipe;
using testing::writable;

// --- opening ------------------------------------------------------------------------------------

class RingOpenTest : public testing::RingFixture {};

TEST_F(RingOpenTest, TakesTheBestModeThatTheKernelAndTheThreadsAllow) {
  const bool has_deferred = probe_machine().has("io_uring.defer_taskrun");
  const bool has_cooperative = probe_machine().has("io_uring.coop_taskrun");
  const RingMode shared = has_cooperative ? RingMode::kCooperative : RingMode::kInterrupting;
  EXPECT_EQ(open_ring().mode(), has_deferred ? RingMode::kDeferred : shared);
  EXPECT_EQ(open_ring({.threads = RingThreads::kAny}).mode(), shared);
}

TEST_F(RingOpenTest, FlagsThatAreRefusedAreDoneWithout) {
  const std::array modes{RingMode::kCooperative, RingMode::kInterrupting};
  for (std::uint64_t refusals = 1; refusals <= modes.size(); ++refusals) {
    const FaultPlan plan({.call = Call::kRingSetup, .times = refusals, .error = EINVAL});
    Ring ring = open_ring();
    EXPECT_EQ(ring.mode(), modes.at(refusals - 1));
    EXPECT_EQ(plan.count(Call::kRingSetup), refusals + 1);
    ASSERT_TRUE(ring.prepare_nothing({.tag = kTag}));
    EXPECT_EQ(finish_one(ring), 0) << "it works in every mode";
  }
  const FaultPlan plan({.call = Call::kRingSetup, .times = 3, .error = EINVAL});
  EXPECT_EQ(Ring::open().map([](auto&&) {}).error(), Errno{EINVAL});
}

TEST(RingRefusalTest, WhatIsNotAboutFlagsIsNotTriedAgain) {
  for (const int error : {ENOSYS, EPERM, ENOMEM, EMFILE}) {
    const FaultPlan plan({.call = Call::kRingSetup, .times = UINT64_MAX, .error = error});
    EXPECT_EQ(Ring::open().map([](auto&&) {}).error(), Errno{error});
    EXPECT_EQ(plan.count(Call::kRingSetup), 1U);
  }
}

TEST(RingRefusalTest, EachRefusalIsExplainedByItsNameAndItsCause) {
  EXPECT_NE(explain_ring_refusal({ENOSYS}).find("ENOSYS: this kernel has no"), std::string::npos);
  EXPECT_NE(explain_ring_refusal({EPERM}).find("EPERM: "), std::string::npos);
  EXPECT_NE(explain_ring_refusal({ENOMEM}).find("RLIMIT_MEMLOCK"), std::string::npos);
  EXPECT_NE(explain_ring_refusal({ENOTSUP}).find("older than 5.11"), std::string::npos);
  EXPECT_NE(explain_ring_refusal({EMFILE}).find("EMFILE"), std::string::npos);
}

TEST_F(RingOpenTest, AFailureAfterSetupLeavesNoDescriptorBehind) {
  const int descriptors = count_open_descriptors();
  {
    const FaultPlan plan({.call = Call::kRingRegister, .error = ENOMEM});
    EXPECT_EQ(Ring::open().map([](auto&&) {}).error(), Errno{ENOMEM});
    EXPECT_EQ(plan.hits(), 1U);
  }
  EXPECT_EQ(count_open_descriptors(), descriptors);
  {
    const Ring ring = open_ring();
  }
  EXPECT_EQ(count_open_descriptors(), descriptors);
}

TEST_F(RingOpenTest, QueuesAreAtLeastAsLongAsAskedFor) {
  const Ring ring = open_ring({.submission_entries = 5});
  EXPECT_EQ(ring.submission_entries(), 8U);
  EXPECT_EQ(ring.completion_entries(), 16U);
  const Ring deep = open_ring({.submission_entries = 4, .completion_entries = 100});
  EXPECT_EQ(deep.submission_entries(), 4U);
  EXPECT_EQ(deep.completion_entries(), 128U);
}

TEST_F(RingOpenTest, TellsTheOperationsOfThisKernel) {
  const Ring ring = open_ring();
  for (const RingOperation operation :
       {RingOperation::kRead, RingOperation::kWrite, RingOperation::kReadVector,
        RingOperation::kWriteVector, RingOperation::kReadFixed, RingOperation::kWriteFixed,
        RingOperation::kSync, RingOperation::kAllocate, RingOperation::kSend, RingOperation::kPoll,
        RingOperation::kCancel, RingOperation::kTimeout, RingOperation::kNothing}) {
    EXPECT_TRUE(ring.supports(operation)) << static_cast<int>(operation);
  }
  EXPECT_EQ(ring.supports(RingOperation::kSendZeroCopy),
            probe_machine().has("io_uring.operations.zero_copy_send"));
}

TEST_F(RingOpenTest, MovesWithItsEntriesUnderWay) {
  PatternFile subject;
  std::string text(100, '?');
  Ring first = open_ring();
  ASSERT_TRUE(first.prepare_read(ring_file(subject.file.get()), writable(text), 5, {.tag = kTag}));
  Ring second = std::move(first);
  ASSERT_TRUE(second.submit().has_value());
  Ring third = open_ring();
  third = std::move(second);
  EXPECT_EQ(third.in_flight(), 1U);
  EXPECT_EQ(finish_one(third), 100);
  EXPECT_EQ(text, pattern(105).substr(5));
}

using RingDeathTest = RingOpenTest;

// Goal:   a ring never leaves the kernel writing into memory that its owner frees next.
TEST_F(RingDeathTest, ARingWithEntriesInTheKernelMustNotBeDestroyed) {
  EXPECT_DEATH(
      {
        Pipe pipe;
        std::string text(1, '?');
        Ring ring = open_ring();
        static_cast<void>(
            ring.prepare_read(ring_file(pipe.reader.get()), writable(text), kAtPosition, {}));
        static_cast<void>(ring.submit());
      },
      "in_flight == unsubmitted");
}

TEST_F(RingDeathTest, WaitingForMoreThanIsUnderWayIsABug) {
  Ring ring = open_ring();
  EXPECT_DEATH(static_cast<void>(ring.submit_and_wait(1)), "count <= state_->in_flight");
}

TEST_F(RingOpenTest, WhatWasNeverSubmittedIsForgottenWithTheRing) {
  PatternFile subject;
  std::string text(100, '?');
  {
    Ring ring = open_ring();
    ASSERT_TRUE(ring.prepare_read(ring_file(subject.file.get()), writable(text), 0, {}));
  }
  EXPECT_EQ(text, std::string(100, '?'));
}

TEST_F(RingOpenTest, AnotherThreadIsRefusedUnlessAnyThreadWasAskedFor) {
  Ring mine = open_ring();
  Ring anybodys = open_ring({.threads = RingThreads::kAny});
  ASSERT_TRUE(mine.prepare_nothing({.tag = kTag}));
  ASSERT_TRUE(anybodys.prepare_nothing({.tag = kTag}));
  std::jthread([&] {
    if (mine.mode() == RingMode::kDeferred) {
      EXPECT_EQ(mine.submit().map([](auto) {}).error(), Errno{EEXIST});
    }
    EXPECT_EQ(finish_one(anybodys), 0);
  }).join();
  EXPECT_EQ(finish_one(mine), 0);
}

// --- queues and waiting -------------------------------------------------------------------------

class RingWaitTest : public testing::OpenRingFixture {};

TEST_F(RingWaitTest, TheRingsDescriptorIsReadableWhenThereAreCompletions) {
  EXPECT_EQ(wait_readable(ring().descriptor(), 0), PollResult::kTimedOut);
  ASSERT_TRUE(ring().prepare_nothing({.tag = kTag}));
  ASSERT_TRUE(ring().submit().has_value());
  EXPECT_EQ(wait_readable(ring().descriptor(), -1), PollResult::kReadable);
  EXPECT_EQ(finish_one(ring()), 0);
}

TEST_F(RingWaitTest, AFullSubmissionQueueTakesNothingUntilItIsSubmitted) {
  Ring small = open_ring({.submission_entries = 2});
  EXPECT_TRUE(small.prepare_nothing({.tag = 0}));
  EXPECT_TRUE(small.prepare_nothing({.tag = 1}));
  EXPECT_FALSE(small.prepare_nothing({.tag = 2}));
  EXPECT_EQ(small.unsubmitted(), 2U);
  EXPECT_EQ(small.in_flight(), 2U);
  EXPECT_EQ(small.submit(), 2U);
  EXPECT_EQ(small.unsubmitted(), 0U);
  EXPECT_EQ(small.in_flight(), 2U);
  EXPECT_TRUE(small.prepare_nothing({.tag = 2}));
  EXPECT_EQ(finish_by_tag(small).size(), 3U);
  EXPECT_EQ(small.in_flight(), 0U);
}

TEST_F(RingWaitTest, OneSystemCallSubmitsAndWaits) {
  for (std::uint64_t i = 0; i < 10; ++i) {
    ASSERT_TRUE(ring().prepare_nothing({.tag = i}));
  }
  const FaultPlan plan({});
  const std::uint64_t calls = ring().system_calls();
  EXPECT_EQ(ring().submit_and_wait(10), 10U);
  EXPECT_EQ(ring().system_calls() - calls, 1U);
  std::array<Completion, 16> completions;
  EXPECT_EQ(ring().take(completions), 10U);
  EXPECT_EQ(ring().take(completions), 0U);
  EXPECT_EQ(plan.count(Call::kRingSubmit), 1U);
  EXPECT_EQ(plan.count(Call::kRingWait), 0U);
  EXPECT_EQ(plan.count(Call::kRingCompletion), 10U);
}

TEST_F(RingWaitTest, NothingToSubmitAndNothingToWaitForIsNoSystemCall) {
  const FaultPlan plan({});
  EXPECT_EQ(ring().submit(), 0U);
  EXPECT_EQ(ring().submit_and_wait(0), 0U);
  EXPECT_EQ(plan.count(Call::kRingSubmit) + plan.count(Call::kRingWait), 0U);
}

TEST_F(RingWaitTest, WaitingAloneSubmitsNothing) {
  ASSERT_TRUE(ring().prepare_nothing({.tag = 1}));
  ASSERT_TRUE(ring().submit().has_value());
  ASSERT_TRUE(ring().prepare_nothing({.tag = 2}));
  EXPECT_EQ(ring().wait(1), 1U);
  EXPECT_EQ(ring().unsubmitted(), 1U);
  EXPECT_DEATH(static_cast<void>(ring().wait(2)), "in_flight - unsubmitted");
  EXPECT_EQ(finish_by_tag(ring()).size(), 2U);
}

// Goal:   interruptions neither end a wait nor start its time anew. A failure may be a hang.
// Method: a signal every 2 ms, and a wait of 40 ms for something that never comes.
TEST_F(RingWaitTest, SignalsNeitherEndNorProlongAWait) {
  struct sigaction action{};
  struct sigaction old_action{};
  action.sa_handler = [](int) {};
  ASSERT_EQ(sigaction(SIGALRM, &action, &old_action), 0);
  const itimerval every_2_ms{.it_interval = {.tv_sec = 0, .tv_usec = 2000},
                             .it_value = {.tv_sec = 0, .tv_usec = 2000}};
  const Pipe pipe;
  ASSERT_TRUE(ring().prepare_poll(ring_file(pipe.reader.get()), PollFor::kReadable, {.tag = 1}));
  ASSERT_EQ(setitimer(ITIMER_REAL, &every_2_ms, nullptr), 0);
  const FaultPlan plan({});
  EXPECT_EQ(ring().submit_and_wait(1, std::chrono::milliseconds(40)), 0U);
  EXPECT_GT(plan.count(Call::kRingWait), 1U) << "no signal came while it waited";
  const itimerval never{};
  ASSERT_EQ(setitimer(ITIMER_REAL, &never, nullptr), 0);
  ASSERT_EQ(sigaction(SIGALRM, &old_action, nullptr), 0);
  ASSERT_TRUE(ring().prepare_cancel(1, {.tag = 2}));
  EXPECT_EQ(finish_by_tag(ring()).size(), 2U);
}

TEST_F(RingWaitTest, TimesOfAnyLengthAreWaitedFor) {
  ASSERT_TRUE(ring().prepare_nothing({.tag = kTag}));
  EXPECT_EQ(ring().submit_and_wait(1, std::chrono::nanoseconds::max()), 1U);
  EXPECT_EQ(finish_one(ring()), 0);
  const Pipe pipe;
  ASSERT_TRUE(ring().prepare_poll(ring_file(pipe.reader.get()), PollFor::kReadable, {.tag = 1}));
  EXPECT_EQ(ring().submit_and_wait(1, std::chrono::nanoseconds::min()), 0U);
  ASSERT_TRUE(ring().prepare_cancel(1, {.tag = 2}));
  EXPECT_EQ(finish_by_tag(ring()).size(), 2U);
}

TEST_F(RingWaitTest, EntriesThatACompletionAddsAreLeftToTheNextDrain) {
  ASSERT_TRUE(ring().prepare_nothing({.tag = 0}));
  ASSERT_TRUE(ring().submit_and_wait(1).has_value());
  std::uint64_t added = 0;
  const auto add = [&](const Completion&) {
    EXPECT_TRUE(ring().prepare_nothing({.tag = ++added}));
    EXPECT_TRUE(ring().submit().has_value());
  };
  for (std::uint64_t round = 1; round <= 5; ++round) {
    EXPECT_EQ(ring().drain(add), 1U);
    EXPECT_EQ(added, round);
  }
  EXPECT_EQ(finish_all(ring()).size(), 1U);
}

}  // namespace
}  // namespace quire::sys
