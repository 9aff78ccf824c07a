// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/core/wake.h"

#include <gtest/gtest.h>

#include <array>
#include <optional>
#include <thread>

#include "quire/ipc/core/pace.h"
#include "quire/ipc/internal/shared_object_test.h"
#include "quire/ipc/segment.h"
#include "quire/ipc/spsc_ring.h"
#include "quire/testing/ipc_memory.h"
#include "quire/testing/process.h"

namespace quire::ipc::internal {
namespace {

using sys::Call;
using sys::FaultPlan;

constexpr WaitOptions kLook{.timeout = std::chrono::nanoseconds(0)};
constexpr std::uint64_t kAllCalls = UINT64_MAX / 2;

// --- No wake-up is lost --------------------------------------------------------------------------

// One number goes there, and the same comes back.
struct Shared {
  WakeWord wanted;
  WaitPoint point;
  alignas(64) std::atomic<std::uint64_t> published;
  alignas(64) std::atomic<std::uint64_t> read;
};

ObjectSpec shared_spec() {
  return {.name = "wake", .signature = "test", .size_bytes = sizeof(Shared)};
}

// Which side is refused the system call, as by a filter of system calls.
struct Refused {
  const char* name;
  bool publisher;
  bool waiter;
};

class WakeTest : public ::testing::TestWithParam<Refused> {
 protected:
  // The publisher goes on when the waiter has read all, so that a wake-up that is lost stops both
  // for ever: one number at a time, and now and then many at once, which the waiter finds without
  // waiting and takes its wish back.
  static constexpr std::uint64_t kRounds = 100;
  static constexpr std::uint64_t kSingles = 200;
  static constexpr std::uint64_t kAtOnce = 2 * std::uint64_t{kFindsPerWish};
  static constexpr std::uint64_t kLast = kRounds * (kSingles + kAtOnce);

  static int publish_all(const SharedObject& object, bool is_refused) {
    std::optional<FaultPlan> plan;
    if (is_refused) {
      plan.emplace(sys::FaultRule{.call = Call::kBarrier, .times = kAllCalls, .error = EPERM});
    }
    const ObjectRef ref = object.join();
    Shared& shared = *reinterpret_cast<Shared*>(ref.bytes().data());
    const Notifies notifies = how_to_notify();
    if ((notifies == Notifies::kAlways) != is_refused) {
      return 1;
    }
    const auto publish = [&](std::uint64_t number) {
      shared.published.store(number, std::memory_order_release);
      notify_if_wanted(shared.wanted, notifies, shared.point, ref.participants());
      while (shared.read.load(std::memory_order_acquire) != number) {
        sys::pause_processor();
      }
    };
    for (std::uint64_t number = 0; number != kLast; number += kAtOnce) {
      for (const std::uint64_t single_end = number + kSingles; number != single_end;) {
        publish(++number);
      }
      publish(number + kAtOnce);
    }
    return 0;
  }

  // Sleeps without a limit, unlike wait(): nothing but a wake-up ends it.
  static void await(Shared& shared, WakeWish& wish, std::uint64_t read, bool is_refused) {
    const auto ready = [&] { return shared.published.load(std::memory_order_acquire) != read; };
    while (!ready()) {
      if (wish.make(shared.wanted, ready) == Want::kReady) {
        return;
      }
      const std::uint32_t word = shared.point.word.fetch_or(kSleeping) | kSleeping;
      if (!ready()) {
        sys::shared_futex_wait(&shared.point.word, word, is_refused ? kSliceMax : kForever);
      }
    }
    wish.found(shared.wanted);
  }

  static int read_all(const SharedObject& object, bool is_refused) {
    const FaultPlan plan(
        is_refused ? sys::FaultRule{.call = Call::kBarrier, .times = kAllCalls, .error = EPERM}
                   : sys::FaultRule{});
    const ObjectRef ref = object.join();
    Shared& shared = *reinterpret_cast<Shared*>(ref.bytes().data());
    WakeWish wish;
    for (std::uint64_t read = 0; read != kLast;) {
      await(shared, wish, read, is_refused);
      shared.read.store(++read, std::memory_order_release);
    }
    return 0;
  }
};

// Goal:   whoever sleeps is woken, in every state of the word, and on either side without the
//         barrier.
// Method: two processes; the waiter's sleep has no limit, so that a lost wake-up would never end
//         (where it is refused the barrier, the limit is part of the promise).
TEST_P(WakeTest, NoWakeUpIsLost) {
  if (!sys::barrier_in_all()) {
    GTEST_SKIP() << "membarrier: refused";
  }
  const SharedObject object(shared_spec());
  testing::Child publisher([&] { return publish_all(object, GetParam().publisher); });
  testing::Child waiter([&] { return read_all(object, GetParam().waiter); });
  EXPECT_EQ(waiter.join().exit_code, 0);
  EXPECT_EQ(publisher.join().exit_code, 0);
}

INSTANTIATE_TEST_SUITE_P(Barriers, WakeTest,
                         ::testing::Values(Refused{"Both", false, false},
                                           Refused{"NoPublisher", true, false},
                                           Refused{"NoWaiter", false, true},
                                           Refused{"None", true, true}),
                         [](const auto& refused) { return refused.param.name; });

// --- The barrier ---------------------------------------------------------------------------------

struct Race {
  std::array<std::atomic<std::uint64_t>, 64> message;  // Eight lines.
  alignas(64) std::atomic<std::uint64_t> published;
  alignas(64) WakeWord wanted;
  alignas(64) std::atomic<std::uint64_t> begun;
  alignas(64) std::atomic<std::uint64_t> ended;  // Twice the round, and 1: it saw the wish.
};

constexpr std::uint64_t kRaces = 20'000;

void delay(std::uint64_t pauses) {
  for (std::uint64_t pause = 0; pause < pauses; ++pause) {
    sys::pause_processor();
  }
}

// Gives way when the other side is not on a processor.
template <typename Ready>
void await_other(Ready ready) {
  constexpr int kSpinsMax = 10'000;
  for (int spin = 0; !ready(); ++spin) {
    if (spin > kSpinsMax) {
      std::this_thread::yield();
    }
  }
}

int publish_in_races(Race& race) {
  if (how_to_notify() != Notifies::kIfWanted) {
    return 1;
  }
  for (std::uint64_t round = 1; round <= kRaces; ++round) {
    await_other([&] { return race.begun.load(std::memory_order_acquire) == round; });
    delay(round % 8);
    for (auto& word : race.message) {
      word.store(round, std::memory_order_relaxed);
    }
    race.published.store(round, std::memory_order_release);
    const bool is_seen = is_wanted(race.wanted, Notifies::kIfWanted);
    race.ended.store(2 * round + (is_seen ? 1 : 0), std::memory_order_release);
  }
  return 0;
}

// Goal:   of two who meet, one who publishes and one who is about to sleep, one sees the other.
// Method: let them meet again and again, with a message whose lines the publisher has to fetch
//         from the waiter before it can publish, so that it looks at the word long before.
TEST(WakeWordTest, APublisherSeesTheWishOrTheWaiterSeesTheMessage) {
  if (!sys::barrier_in_all()) {
    GTEST_SKIP() << "membarrier: refused";
  }
  const testing::SharedMemory memory(sizeof(Race));
  Race& race = memory.as<Race>();
  testing::Child publisher([&] { return publish_in_races(race); });
  std::uint64_t missed = 0;
  for (std::uint64_t round = 1; round <= kRaces; ++round) {
    for (auto& word : race.message) {
      word.store(0, std::memory_order_relaxed);
    }
    race.wanted.store(kUnwanted);
    race.begun.store(round, std::memory_order_release);
    delay(round / 8 % 32);
    const auto is_published = [&] {
      return race.published.load(std::memory_order_acquire) == round;
    };
    want_wake_ups(race.wanted, is_published);
    const bool is_seen = is_published();
    await_other([&] { return race.ended.load(std::memory_order_acquire) / 2 == round; });
    missed += !is_seen && race.ended.load(std::memory_order_relaxed) % 2 == 0 ? 1 : 0;
  }
  EXPECT_EQ(missed, 0U);
  EXPECT_EQ(publisher.join().exit_code, 0);
}

// --- The states of the word ----------------------------------------------------------------------

TEST(WakeWordTest, APublisherThatCannotJoinNotifiesAlways) {
  const WakeWord unwanted{kUnwanted};
  EXPECT_FALSE(is_wanted(unwanted, Notifies::kIfWanted));
  EXPECT_TRUE(is_wanted(unwanted, Notifies::kAlways));
  EXPECT_TRUE(is_wanted(WakeWord{kWanting}, Notifies::kIfWanted));
  EXPECT_TRUE(is_wanted(WakeWord{kWanted}, Notifies::kIfWanted));
  const FaultPlan plan({.call = Call::kBarrier, .error = ENOSYS});
  EXPECT_EQ(how_to_notify(), Notifies::kAlways);
  EXPECT_EQ(how_to_notify(), Notifies::kIfWanted);
}

TEST(WakeWordTest, AWaiterHasABarrierUnlessSomebodyHadItToTheEnd) {
  const auto never = [] { return false; };
  const FaultPlan plan({});
  WakeWord word{kUnwanted};
  EXPECT_EQ(want_wake_ups(word, never), Want::kAsked);
  EXPECT_EQ(plan.count(Call::kBarrier), 1U);
  EXPECT_EQ(word, kWanted);
  EXPECT_EQ(want_wake_ups(word, never), Want::kAsked);
  EXPECT_EQ(plan.count(Call::kBarrier), 1U);
  word = kWanting;  // Another one is at it.
  EXPECT_EQ(want_wake_ups(word, never), Want::kAsked);
  EXPECT_EQ(plan.count(Call::kBarrier), 2U);
}

TEST(WakeWordTest, AWishIsTakenBackAfterManyFindsUnlessTheBarrierWasRefused) {
  const auto never = [] { return false; };
  for (const bool is_refused : {false, true}) {
    const FaultPlan plan({.call = is_refused ? Call::kBarrier : Call::kCount, .error = EPERM});
    WakeWord word{kUnwanted};
    WakeWish wish;
    EXPECT_EQ(wish.make(word, never), is_refused ? Want::kRefused : Want::kAsked);
    for (std::uint32_t find = 1; find < kFindsPerWish; ++find) {
      wish.found(word);
      ASSERT_EQ(word, kWanted) << find;
    }
    wish.found(word);
    EXPECT_EQ(word, is_refused ? kWanted : kUnwanted);
  }
}

// Goal:   a ring that somebody has slept at is again published to by plain stores.
// Method: the word of the control, whose place docs/ipc.md promises.
TEST(WakeWordTest, AStreamAfterASleepIsPublishedWithoutNotifying) {
  using Ring = SpscRing<std::uint64_t>;
  Layout layout;
  layout.add(Ring::object("ring", {.capacity = 16, .type = "number"}));
  const Segment segment = Segment::make_anonymous(layout).value();
  const ObjectSpec spec = Ring::object("ring", {.capacity = 16, .type = "number"});
  const ObjectRef object = segment.find("ring", spec.kind, spec.signature).value();
  const auto& wakes = reinterpret_cast<const WakeWord&>(object.bytes()[12]);
  auto writer = Ring::writer(segment, "ring").value();
  auto reader = Ring::reader(segment, "ring").value();
  EXPECT_EQ(wakes, kUnwanted);
  EXPECT_FALSE(reader.wait({.policy = WaitPolicy::kSpin, .timeout = std::chrono::milliseconds(1)}));
  EXPECT_EQ(wakes, kUnwanted);  // Who only spins wants nothing.
  EXPECT_FALSE(reader.wait({.timeout = std::chrono::milliseconds(1)}));
  EXPECT_EQ(wakes, kWanted);
  for (std::uint64_t number = 0; number < kFindsPerWish; ++number) {
    EXPECT_EQ(wakes, kWanted) << number;
    ASSERT_TRUE(writer.try_push(number));
    EXPECT_EQ(reader.pop(kLook).value(), number);
  }
  EXPECT_EQ(wakes, kUnwanted);
}

// --- Pace ----------------------------------------------------------------------------------------

TEST(ReaderPaceTest, WhoIsAskedAndAnswersNeverLingers) {
  ReaderPace pace;
  for (int trip = 0; trip < 100; ++trip) {
    pace.found(1, 1);
    EXPECT_EQ(pace.pauses(), 0U);
    pace.found(3 * 64, 64);  // Bytes: three records, as large as the last one.
    EXPECT_EQ(pace.pauses(), 0U);
  }
}

TEST(ReaderPaceTest, AStreamIsLingeredForAsLongAsItPaysAndNotLonger) {
  ReaderPace pace;
  for (int look = 0; look < 100; ++look) {
    pace.found(4096, 1);
    ASSERT_LE(pace.pauses(), ReaderPace::kPausesMax);
  }
  EXPECT_EQ(pace.pauses(), ReaderPace::kPausesMax);
  for (int look = 0; look < 100; ++look) {
    pace.found(4, 1);  // Four on the way at a time: no pause makes more of them.
  }
  EXPECT_LE(pace.pauses(), 4U);
  for (int look = 0; look < 10; ++look) {
    pace.found(1, 1);
  }
  EXPECT_EQ(pace.pauses(), 0U);
}

}  // namespace
}  // namespace quire::ipc::internal
