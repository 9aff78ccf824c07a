// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/wait_point.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <system_error>
#include <thread>
#include <vector>

#include "quire/ipc/internal/shared_object_test.h"
#include "quire/testing/process.h"

namespace quire::ipc {
namespace {

using internal::calls_of;
using internal::SharedObject;
using std::chrono::milliseconds;
using sys::Call;

// A wait point and a word that is waited for.
struct Shared {
  WaitPoint point;
  std::atomic<std::uint32_t> value;
};

ObjectSpec spec() {
  return {.name = "point", .signature = "test", .size_bytes = sizeof(Shared)};
}

class WaitPointTest : public ::testing::Test {
 protected:
  // One participant of this process.
  struct Member {
    explicit Member(const SharedObject& object) : ref(object.join()) {}

    [[nodiscard]] Shared& shared() const { return *reinterpret_cast<Shared*>(ref.bytes().data()); }
    void publish(std::uint32_t value) const {
      shared().value.store(value, std::memory_order_release);
      notify(shared().point, ref.participants());
    }
    [[nodiscard]] bool wait_for(std::uint32_t value, const WaitOptions& options) const {
      return wait(shared().point, options, [&] { return has(value); });
    }
    [[nodiscard]] bool has(std::uint32_t value) const {
      return shared().value.load(std::memory_order_acquire) >= value;
    }

    ObjectRef ref;
  };

  [[nodiscard]] static bool is_readable(const Doorbell& bell) {
    pollfd look{.fd = bell.fd(), .events = POLLIN, .revents = 0};
    return ::poll(&look, 1, 0) == 1;
  }

  SharedObject object_{spec()};
};

TEST_F(WaitPointTest, ATimeThatIsOverIsNotWaitedFor) {
  const Member member(object_);
  for (const WaitPolicy policy :
       {WaitPolicy::kSpin, WaitPolicy::kSpinThenSleep, WaitPolicy::kSleep}) {
    for (const auto timeout : {milliseconds(-5), milliseconds(0), milliseconds(1)}) {
      EXPECT_FALSE(member.wait_for(1, {.policy = policy, .timeout = timeout}));
    }
    EXPECT_TRUE(member.wait_for(0, {.policy = policy, .timeout = milliseconds(-5)}));
    EXPECT_TRUE(member.wait_for(0, {.policy = policy}));
  }
}

TEST_F(WaitPointTest, NotifyMakesNoSystemCallWhenNobodySleeps) {
  const Member member(object_);
  const std::uint64_t futexes = calls_of(Call::kFutex);
  const std::uint64_t sends = calls_of(Call::kSend);
  for (std::uint32_t value = 1; value <= 100; ++value) {
    member.publish(value);
    ASSERT_TRUE(member.wait_for(value, {}));
  }
  EXPECT_EQ(calls_of(Call::kFutex), futexes);
  EXPECT_EQ(calls_of(Call::kSend), sends);
}

TEST_F(WaitPointTest, OneWhoSpinsMakesNoSystemCallAndCostsNone) {
  const Member member(object_);
  const std::uint64_t futexes = calls_of(Call::kFutex);
  EXPECT_FALSE(member.wait_for(1, {.policy = WaitPolicy::kSpin, .timeout = milliseconds(1)}));
  member.publish(1);
  EXPECT_EQ(calls_of(Call::kFutex), futexes);
}

// Goal:   one wake-up for all who sleep, and none for those who did.
TEST_F(WaitPointTest, SleepersCostOneSystemCallOnce) {
  const Member member(object_);
  EXPECT_FALSE(member.wait_for(1, {.policy = WaitPolicy::kSleep, .timeout = milliseconds(1)}));
  EXPECT_FALSE(member.wait_for(1, {.policy = WaitPolicy::kSleep, .timeout = milliseconds(1)}));
  const std::uint64_t futexes = calls_of(Call::kFutex);
  member.publish(1);
  EXPECT_EQ(calls_of(Call::kFutex), futexes + 1);
  member.publish(2);
  EXPECT_EQ(calls_of(Call::kFutex), futexes + 1);
}

// Goal:   nothing that is published is missed.
// Method: each round one process publishes and two wait; a lost wake-up would cost a slice of
//         100 ms each time, and the watchdog's patience in all.
TEST_F(WaitPointTest, EveryValueReachesEverySleeperInOtherProcesses) {
  constexpr std::uint32_t kRounds = 2000;
  const auto body = [&] {
    const Member member(object_);
    for (std::uint32_t value = 1; value <= kRounds; ++value) {
      if (!member.wait_for(value, {.policy = WaitPolicy::kSleep})) {
        return 1;
      }
    }
    return 0;
  };
  testing::Child one(body);
  testing::Child two(body);
  const Member member(object_);
  for (std::uint32_t value = 1; value <= kRounds; ++value) {
    member.publish(value);
  }
  EXPECT_EQ(one.join().exit_code, 0);
  EXPECT_EQ(two.join().exit_code, 0);
}

// Goal:   data before notify() is seen after wait(), by memory order alone (ThreadSanitizer).
TEST_F(WaitPointTest, PlainDataGoesThroughBothWays) {
  constexpr std::uint32_t kRounds = 1000;
  const SharedObject back(spec());
  std::uint32_t plain = 0;
  const Member there(object_);
  const Member answers(back);
  std::thread echo([&] {
    const Member told(object_);
    const Member tell(back);
    for (std::uint32_t round = 1; round <= kRounds; ++round) {
      ASSERT_TRUE(told.wait_for(round, {.policy = WaitPolicy::kSleep}));
      ++plain;
      tell.publish(round);
    }
  });
  for (std::uint32_t round = 1; round <= kRounds; ++round) {
    ++plain;
    there.publish(round);
    ASSERT_TRUE(answers.wait_for(round, {}));
    ASSERT_EQ(plain, 2 * round);
  }
  echo.join();
}

TEST_F(WaitPointTest, EachSliceRunsAfterEverySleepAndMayBeWhatMakesItReady) {
  const Member member(object_);
  int slices = 0;
  EXPECT_TRUE(wait(
      member.shared().point, {.policy = WaitPolicy::kSleep}, [&] { return slices == 2; },
      [&] { ++slices; }));
  EXPECT_EQ(slices, 2);
}

TEST_F(WaitPointTest, AnArmedBellRingsOnceUntilItIsArmedAgain) {
  const Member member(object_);
  const Member other(object_);
  const Doorbell bell = Doorbell::open(member.ref.participants()).value();
  EXPECT_TRUE(arm(member.shared().point, bell, [&] { return member.has(1); }));
  EXPECT_FALSE(is_readable(bell));
  other.publish(1);
  EXPECT_TRUE(is_readable(bell));
  bell.drain();
  EXPECT_FALSE(is_readable(bell));
  other.publish(2);
  EXPECT_FALSE(is_readable(bell));
  EXPECT_FALSE(arm(member.shared().point, bell, [&] { return member.has(2); }));
}

TEST_F(WaitPointTest, BellsRingForTheirOwnersAndForNobodyElse) {
  const Member members[] = {Member(object_), Member(object_), Member(object_)};
  std::vector<Doorbell> bells;
  for (const Member& member : members) {
    bells.push_back(Doorbell::open(member.ref.participants()).value());
  }
  const auto never = [] { return false; };
  EXPECT_TRUE(arm(members[0].shared().point, bells[0], never));
  EXPECT_TRUE(arm(members[0].shared().point, bells[2], never));
  members[1].publish(1);
  EXPECT_TRUE(is_readable(bells[0]));
  EXPECT_FALSE(is_readable(bells[1]));
  EXPECT_TRUE(is_readable(bells[2]));
}

// Goal:   a bell crosses processes, and one sleeper does not keep another's bell from ringing.
TEST_F(WaitPointTest, ABellIsRungByAnotherProcess) {
  const Member member(object_);
  const Doorbell bell = Doorbell::open(member.ref.participants()).value();
  ASSERT_TRUE(arm(member.shared().point, bell, [&] { return member.has(1); }));
  testing::Child other([&] {
    Member(object_).publish(1);
    return 0;
  });
  pollfd look{.fd = bell.fd(), .events = POLLIN, .revents = 0};
  EXPECT_EQ(::poll(&look, 1, -1), 1);
  EXPECT_TRUE(member.has(1));
  EXPECT_EQ(other.join().exit_code, 0);
}

// Goal:   who dies between taking note of sleepers and bells and waking them keeps nobody waiting.
// Method: the first half of a notify() is done and the second is not, as by one who was killed; an
//         ordinary notify() then finds nothing to do, and that of a recovery does all of it.
TEST_F(WaitPointTest, ADeathBetweenTakingNoteAndWakingIsMadeGoodByARecovery) {
  const Member member(object_);
  const Doorbell bell = Doorbell::open(member.ref.participants()).value();
  EXPECT_FALSE(member.wait_for(1, {.policy = WaitPolicy::kSleep, .timeout = milliseconds(1)}));
  ASSERT_TRUE(arm(member.shared().point, bell, [&] { return member.has(1); }));
  EXPECT_NE(internal::wake_sleepers(member.shared().point), 0U);  // And nobody rings.
  const std::uint64_t futexes = calls_of(Call::kFutex);
  member.publish(1);
  EXPECT_EQ(calls_of(Call::kFutex), futexes);
  EXPECT_FALSE(is_readable(bell));
  notify_after_death(member.shared().point, member.ref.participants());
  EXPECT_EQ(calls_of(Call::kFutex), futexes + 1);
  EXPECT_TRUE(is_readable(bell));
}

TEST_F(WaitPointTest, AMemberHasOneBell) {
  const Member member(object_);
  {
    const Doorbell bell = Doorbell::open(member.ref.participants()).value();
    const Result<Doorbell> second = Doorbell::open(member.ref.participants());
    ASSERT_FALSE(second.has_value());
    EXPECT_EQ(second.error().code(), std::errc::address_in_use);
  }
  EXPECT_TRUE(Doorbell::open(member.ref.participants()).has_value());
}

// Goal:   no descriptors are an error of the bell, and of nothing else.
// Method: a process that may not have any more opens a bell, and rings those of everybody.
TEST_F(WaitPointTest, NoDescriptorsAreAnErrorOfTheBellAlone) {
  testing::Child child([&] {
    const Member member(object_);
    const rlimit none{.rlim_cur = 0, .rlim_max = 0};
    ::setrlimit(RLIMIT_NOFILE, &none);
    const Result<Doorbell> bell = Doorbell::open(member.ref.participants());
    if (bell.has_value() || bell.error().code() != std::errc::too_many_files_open) {
      return 1;
    }
    member.shared().point.bells = ~std::uint64_t{0};
    member.shared().point.word = ~std::uint32_t{0};
    member.publish(1);
    return member.shared().point.bells == 0 ? 0 : 2;
  });
  EXPECT_EQ(child.join().exit_code, 0);
}

}  // namespace
}  // namespace quire::ipc
