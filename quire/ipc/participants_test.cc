// SPDX-License-Identifier: Apache-2.0
#include "quire/ipc/participants.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "quire/base/mutex.h"
#include "quire/ipc/segment.h"
#include "quire/testing/process.h"
#include "quire/testing/temp_dir.h"

namespace quire::ipc {
namespace {

using testing::Child;
using testing::Signal;
using testing::TempDir;

Layout layout_for(std::uint32_t participants = 8) {
  return Layout()
      .add({.name = "word", .signature = "word", .size_bytes = 8})
      .set_participants_max(participants);
}

Segment open_in(const TempDir& dir, std::uint32_t participants = 8) {
  return Segment::open("a", layout_for(participants), {.directory = dir.path()}).value();
}

// For tests that fork while quire's thread runs, which may be inside of malloc.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define QUIRE_SKIP_FORK_BESIDE_A_THREAD() \
  GTEST_SKIP() << "fork beside a thread: the sanitizer's own locks do not survive it"
#else
#define QUIRE_SKIP_FORK_BESIDE_A_THREAD() static_cast<void>(0)
#endif

// A process that attaches and stays until it is killed.
class Attached {
 public:
  explicit Attached(const TempDir& dir)
      : child_([&] {
          const Segment segment = open_in(dir);
          ready_.raise();
          return pause();
        }) {
    ready_.wait();
  }
  [[nodiscard]] pid_t pid() const { return child_.pid(); }
  void signal(int number) const { child_.kill(number); }
  void end() {
    child_.kill(SIGKILL);
    child_.join();
  }

 private:
  Signal ready_;
  Child child_;
};

MemberId member_of(const Segment& segment, pid_t pid) {
  for (const Participant& one : segment.participants().list()) {
    if (one.pid == pid) {
      return one.id;
    }
  }
  return {};
}

// What hooks have told, to be waited for.
class Told {
 public:
  void add(MemberId id) {
    const MutexLock lock(mutex_);
    ids_.push_back(id);
    changed_.notify_all();
  }
  std::vector<MemberId> wait_for(std::size_t count) {
    const MutexLock lock(mutex_);
    while (ids_.size() < count) {
      changed_.wait(mutex_);
    }
    return ids_;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::vector<MemberId> ids_ QUIRE_GUARDED_BY(mutex_);
};

TEST(MemberId, KeepsSlotAndGenerationApartAndLeavesTwoBits) {
  const MemberId id(255, MemberId::kGenerationMax);
  EXPECT_EQ(id.slot(), 255);
  EXPECT_EQ(id.generation(), MemberId::kGenerationMax);
  EXPECT_EQ(id.word() >> 30, 0U);
  EXPECT_EQ(MemberId::from_word(id.word() | 0xc0000000U), id);
  EXPECT_TRUE(MemberId::from_word(17).is_nobody()) << "no generation is zero";
  EXPECT_FALSE(MemberId(0, 1).is_nobody());
}

TEST(Participants, EachOpenSegmentIsOneOfThem) {
  const TempDir dir;
  const Segment first = open_in(dir);
  const Segment second = open_in(dir);
  EXPECT_NE(first.participants().self(), second.participants().self());
  EXPECT_TRUE(first.participants().is_alive(second.participants().self()));
  const auto all = first.participants().list();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].pid, getpid());
  EXPECT_EQ(all[0].user, geteuid());
  EXPECT_EQ(first.participants().member_in(all[1].id.slot()), all[1].id);
}

TEST(Participants, WhoDetachedIsDeadAndItsSuccessorIsSomebodyElse) {
  const TempDir dir;
  const Segment stays = open_in(dir, 2);
  MemberId gone;
  {
    const Segment goes = open_in(dir, 2);
    gone = goes.participants().self();
    EXPECT_TRUE(stays.participants().is_alive(gone));
  }
  EXPECT_FALSE(stays.participants().is_alive(gone));
  const Segment next = open_in(dir, 2);
  EXPECT_EQ(next.participants().own_slot(), gone.slot());
  EXPECT_FALSE(stays.participants().is_alive(gone));
  EXPECT_TRUE(stays.participants().is_alive(next.participants().self()));
}

TEST(Participants, NobodyAndIdsThatNeverWereAreDead) {
  const TempDir dir;
  const Segment segment = open_in(dir);
  EXPECT_FALSE(segment.participants().is_alive(MemberId()));
  EXPECT_FALSE(segment.participants().is_alive(MemberId(7, 1)));
  EXPECT_FALSE(segment.participants().is_alive(MemberId(200, 1)));
  EXPECT_TRUE(segment.participants().member_in(9999).is_nobody());
}

TEST(Participants, AStoppedProcessLivesAndAZombieDoesNot) {
  const TempDir dir;
  const Segment segment = open_in(dir);
  Attached other(dir);
  const MemberId id = member_of(segment, other.pid());
  ASSERT_FALSE(id.is_nobody());
  other.signal(SIGSTOP);
  EXPECT_TRUE(segment.participants().is_alive(id));
  Told told;
  const DeathHook hook =
      segment.participants().add_recovery([&](MemberId dead) { told.add(dead); });
  other.signal(SIGKILL);
  EXPECT_EQ(told.wait_for(1).front(), id);  // Nobody has reaped it.
  EXPECT_FALSE(segment.participants().is_alive(id));
  EXPECT_EQ(segment.participants().list().back().liveness, Liveness::kDead);
}

TEST(Participants, TheSlotOfADeadProcessIsTakenByTheNext) {
  const TempDir dir;
  const Segment segment = open_in(dir, 2);
  {
    Child child([&] {
      const Segment dies = open_in(dir, 2);
      kill(getpid(), SIGKILL);
      return 0;
    });
    EXPECT_EQ(child.join().signal, SIGKILL);
  }
  const Segment next = open_in(dir, 2);
  EXPECT_EQ(next.participants().list().size(), 2U);
}

TEST(Participants, WhenAllSlotsAreTakenByTheLivingTheErrorSaysSo) {
  const TempDir dir;
  const Segment first = open_in(dir, 2);
  std::optional<Segment> second = open_in(dir, 2);
  const auto third = Segment::open("a", layout_for(2), {.directory = dir.path()});
  ASSERT_FALSE(third.has_value());
  EXPECT_EQ(third.error().code(), Errc::kLimit);
  EXPECT_NE(third.error().message().find("all 2 slots"), std::string::npos);
  second.reset();
  EXPECT_TRUE(Segment::open("a", layout_for(2), {.directory = dir.path()}));
}

TEST(Participants, RecoveriesRunBeforeCallbacksAndBothOnceForEachDeath) {
  QUIRE_SKIP_FORK_BESIDE_A_THREAD();
  const TempDir dir;
  const Segment segment = open_in(dir);
  Told told;
  std::atomic<int> recovered = 0;
  std::atomic<int> recovered_before = -1;
  const DeathHook callback = segment.participants().on_death([&](const Participant& dead) {
    recovered_before = recovered.load();
    EXPECT_EQ(dead.liveness, Liveness::kDead);
    told.add(dead.id);
  });
  const DeathHook recovery = segment.participants().add_recovery([&](MemberId) { ++recovered; });
  Attached one(dir);  // After the hooks: the watch finds it by itself.
  Attached two(dir);
  const MemberId first = member_of(segment, one.pid());
  const MemberId second = member_of(segment, two.pid());
  one.end();
  EXPECT_EQ(told.wait_for(1), std::vector{first});
  EXPECT_EQ(recovered_before, 1);
  two.end();
  EXPECT_EQ(told.wait_for(2), (std::vector{first, second}));
  EXPECT_EQ(segment.participants().look(), 0U);
  EXPECT_EQ(recovered, 2);
}

TEST(Participants, WhoDetachesBeforeItEndsHasNotDied) {
  QUIRE_SKIP_FORK_BESIDE_A_THREAD();
  const TempDir dir;
  const Segment segment = open_in(dir);
  std::atomic<int> deaths = 0;
  const DeathHook hook = segment.participants().add_recovery([&](MemberId) { ++deaths; });
  Signal detached;
  Signal leave;
  Child child([&] {
    {
      const Segment goes = open_in(dir);
    }
    detached.raise();
    leave.wait();
    return 0;
  });
  detached.wait();
  leave.raise();
  child.join();
  EXPECT_EQ(segment.participants().look(), 0U);
  EXPECT_EQ(deaths, 0);
}

TEST(Participants, WhoWasDeadBeforeTheFirstHookIsNoNews) {
  const TempDir dir;
  const Segment segment = open_in(dir);
  Attached other(dir);
  other.end();
  std::atomic<int> deaths = 0;
  const DeathHook hook = segment.participants().add_recovery([&](MemberId) { ++deaths; });
  EXPECT_EQ(segment.participants().look(), 0U);
  EXPECT_EQ(deaths, 0);
}

TEST(Participants, AHookMayDestroyItselfAndAfterwardsNothingRuns) {
  QUIRE_SKIP_FORK_BESIDE_A_THREAD();
  const TempDir dir;
  const Segment segment = open_in(dir);
  Told told;
  std::optional<DeathHook> hook;
  std::atomic<int> runs = 0;
  hook = segment.participants().add_recovery([&](MemberId) {
    ++runs;
    hook.reset();
  });
  const DeathHook last =
      segment.participants().on_death([&](const Participant& dead) { told.add(dead.id); });
  for (std::size_t i = 1; i <= 2; ++i) {
    Attached other(dir);
    other.end();
    told.wait_for(i);
  }
  EXPECT_EQ(runs, 1);
}

TEST(Participants, AHookMayCloseTheSegment) {
  QUIRE_SKIP_FORK_BESIDE_A_THREAD();
  const TempDir dir;
  std::optional<Segment> segment = open_in(dir);
  Told told;
  DeathHook hook = segment->participants().on_death([&](const Participant& dead) {
    segment.reset();
    told.add(dead.id);
  });
  {
    Attached other(dir);
    other.end();
    told.wait_for(1);
  }
  hook = {};
  EXPECT_EQ(open_in(dir).participants().list().size(), 2U) << "the dead one, and the new one";
}

// Goal:   hooks may come and go, and segments be opened and closed, while deaths are being told.
TEST(Participants, HooksComeAndGoWhileManyThreadsLook) {
  const TempDir dir;
  std::vector<std::unique_ptr<Attached>> others;
  for (int i = 0; i < 3; ++i) {
    others.push_back(std::make_unique<Attached>(dir));
  }
  const Segment segment = open_in(dir);
  std::atomic<int> deaths = 0;
  const DeathHook counting = segment.participants().add_recovery([&](MemberId) { ++deaths; });
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 100; ++round) {
        const DeathHook hook = segment.participants().on_death([](const Participant&) {});
        segment.participants().look();
        static_cast<void>(segment.participants().list());
      }
      const Segment own = open_in(dir);
      const DeathHook hook = own.participants().add_recovery([](MemberId) {});
      own.participants().look();
    });
  }
  for (const auto& other : others) {
    other->end();
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  segment.participants().look();
  EXPECT_EQ(deaths, 3);
}

TEST(Participants, AForkedChildDoesNotDetachItsParent) {
  QUIRE_SKIP_FORK_BESIDE_A_THREAD();
  const TempDir dir;
  const Segment outer = open_in(dir);
  Told told;
  const MemberId id = [&] {
    auto segment = std::make_unique<Segment>(open_in(dir));
    const DeathHook hook = segment->participants().add_recovery([](MemberId) {});
    Child child([&] {
      segment.reset();
      return 0;
    });
    EXPECT_EQ(child.join().exit_code, 0);
    EXPECT_TRUE(outer.participants().is_alive(segment->participants().self()));
    return segment->participants().self();
  }();
  EXPECT_FALSE(outer.participants().is_alive(id));
}

}  // namespace
}  // namespace quire::ipc
