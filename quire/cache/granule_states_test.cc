// SPDX-License-Identifier: Apache-2.0
//
// The states of GranuleTable: every step, and every step that is refused.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <thread>
#include <utility>
#include <vector>

#include "quire/base/check.h"
#include "quire/cache/granule_table.h"

namespace quire {
namespace {

using State = GranuleState;
using BeginWrite = GranuleTable::BeginWrite;

// Long enough that only a wake that was lost lets it run out.
constexpr std::uint64_t kForeverMs = 60'000;

// --- Refusals ------------------------------------------------------------------------------------

// Everything a granule can be.
enum class Situation : std::uint8_t {
  kAbsent,
  kFilling,
  kHeld,
  kClean,
  kCleanPinned,
  kCleanLocked,
  kDirty,
  kDirtyPinned,
  kWriteLocked,
  kWriting,
  kWritingPinned,
  kRedirtied,
  kStoreDuringWrite,
  kEvicting,
};
constexpr Situation kSituations[] = {
    Situation::kAbsent,
    Situation::kFilling,
    Situation::kHeld,
    Situation::kClean,
    Situation::kCleanPinned,
    Situation::kCleanLocked,
    Situation::kDirty,
    Situation::kDirtyPinned,
    Situation::kWriteLocked,
    Situation::kWriting,
    Situation::kWritingPinned,
    Situation::kRedirtied,
    Situation::kStoreDuringWrite,
    Situation::kEvicting,
};

// Granule 0 of a new table, brought there by legal steps, its leaf entered.
GranuleTable table_with(Situation situation) {
  GranuleTable table = GranuleTable::make(1).value();
  EXPECT_TRUE(table.enter_charged(0));
  if (situation == Situation::kAbsent) {
    return table;
  }
  EXPECT_TRUE(table.begin_fill(0));
  switch (situation) {
    case Situation::kAbsent:
    case Situation::kFilling: return table;
    case Situation::kHeld: table.finish_fill(0, State::kHeld); return table;
    case Situation::kClean:
    case Situation::kCleanPinned:
    case Situation::kCleanLocked:
    case Situation::kEvicting: table.finish_fill(0, State::kClean); break;
    default: table.finish_fill(0, State::kDirty); break;
  }
  switch (situation) {
    case Situation::kCleanPinned:
    case Situation::kDirtyPinned: EXPECT_TRUE(table.try_pin(0)); break;
    case Situation::kCleanLocked: EXPECT_TRUE(table.begin_store(0)); break;
    case Situation::kEvicting: EXPECT_TRUE(table.begin_evict(0)); break;
    case Situation::kWriteLocked: EXPECT_EQ(table.begin_write(0), BeginWrite::kProtect); break;
    case Situation::kWriting:
    case Situation::kWritingPinned:
    case Situation::kRedirtied:
    case Situation::kStoreDuringWrite:
      EXPECT_EQ(table.begin_write(0), BeginWrite::kProtect);
      table.written_protected(0);
      break;
    default: break;
  }
  if (situation == Situation::kWritingPinned) {
    EXPECT_TRUE(table.try_pin(0));
  }
  if (situation == Situation::kRedirtied || situation == Situation::kStoreDuringWrite) {
    EXPECT_TRUE(table.begin_store(0));
  }
  if (situation == Situation::kRedirtied) {
    table.finish_store(0);
  }
  return table;
}

struct Attempt {
  const char* name;
  bool (*run)(GranuleTable& table);
  std::vector<Situation> allowed;
};

const std::vector<Attempt>& attempts() {
  using S = Situation;
  static const std::vector<Attempt> all = {
      {"begin_fill", [](GranuleTable& t) { return t.begin_fill(0); }, {S::kAbsent}},
      {"take_held", [](GranuleTable& t) { return t.take_held(0); }, {S::kHeld}},
      {"begin_store",
       [](GranuleTable& t) { return t.begin_store(0); },
       {S::kClean, S::kCleanPinned, S::kWriting, S::kWritingPinned, S::kRedirtied}},
      {"begin_write",
       [](GranuleTable& t) { return t.begin_write(0) != BeginWrite::kRefused; },
       {S::kDirty, S::kDirtyPinned}},
      {"begin_evict", [](GranuleTable& t) { return t.begin_evict(0); }, {S::kClean}},
      {"begin_discard",
       [](GranuleTable& t) { return t.begin_discard(0); },
       {S::kClean, S::kDirty, S::kHeld}},
      {"try_pin",
       [](GranuleTable& t) { return t.try_pin(0); },
       {S::kClean, S::kCleanPinned, S::kDirty, S::kDirtyPinned, S::kWriting, S::kWritingPinned,
        S::kRedirtied}},
      {"mark_awaited",
       [](GranuleTable& t) { return t.mark_awaited(0); },
       {S::kFilling, S::kCleanLocked, S::kWriteLocked, S::kStoreDuringWrite, S::kEvicting}},
  };
  return all;
}

// Goal:   what the diagram does not show does not happen, and a refusal changes nothing.
// Method: every attempt in every situation.
TEST(GranuleStatesTest, WhatTheDiagramDoesNotShowIsRefused) {
  for (const Attempt& attempt : attempts()) {
    for (const Situation situation : kSituations) {
      GranuleTable table = table_with(situation);
      const std::uint32_t before = table.word(0).bits;
      const std::uint64_t dirty_before = table.dirty_count();
      const bool is_allowed =
          std::ranges::find(attempt.allowed, situation) != attempt.allowed.end();
      EXPECT_EQ(attempt.run(table), is_allowed)
          << attempt.name << " in situation " << static_cast<int>(situation);
      if (!is_allowed) {
        EXPECT_EQ(table.word(0).bits, before) << attempt.name;
        EXPECT_EQ(table.dirty_count(), dirty_before) << attempt.name;
      }
    }
  }
}

TEST(GranuleStatesDeathTest, EndingWhatHasNotBegunIsABug) {
  if (!kDebugChecks) {
    GTEST_SKIP() << "debug checks: not compiled in";
  }
  GranuleTable table = table_with(Situation::kClean);
  EXPECT_DEATH(table.finish_fill(0, State::kClean), "kFilling");
  EXPECT_DEATH(table.finish_evict(0), "kEvicting");
  EXPECT_DEATH(table.finish_store(0), "kLocked");
  EXPECT_DEATH(table.written_protected(0), "kWriting");
  EXPECT_DEATH(static_cast<void>(table.finish_write(0, true)), "kWriting");
  EXPECT_DEATH(static_cast<void>(table.word(1)), "granule < granule_count_");
}

TEST(GranuleStatesDeathTest, UnpinningWhatIsNotPinnedIsABug) {
  GranuleTable table = table_with(Situation::kClean);
  EXPECT_DEATH(table.unpin(0), "pins");
}

// --- Steps ---------------------------------------------------------------------------------------

TEST(GranuleStatesTest, AStoreDuringTheWriteKeepsTheGranuleDirty) {
  GranuleTable table = table_with(Situation::kStoreDuringWrite);
  table.finish_store(0);
  EXPECT_TRUE(table.word(0).has(GranuleWord::kRedirtied));
  EXPECT_EQ(table.finish_write(0, true), State::kDirty);
  EXPECT_EQ(table.word(0).bits, static_cast<std::uint32_t>(State::kDirty));
  EXPECT_EQ(table.dirty_count(), 1U);
}

TEST(GranuleStatesTest, AWriteThatFailedKeepsTheGranuleDirty) {
  GranuleTable table = table_with(Situation::kWriting);
  EXPECT_EQ(table.finish_write(0, false), State::kDirty);
  EXPECT_EQ(table.begin_write(0), BeginWrite::kProtect);
  table.written_protected(0);
  EXPECT_EQ(table.finish_write(0, true), State::kClean);
  EXPECT_EQ(table.dirty_count(), 0U);
  table.check_invariants();
}

TEST(GranuleStatesTest, APinnedGranuleIsWrittenWithoutBeingProtectedAndStaysDirty) {
  GranuleTable table = table_with(Situation::kDirtyPinned);
  EXPECT_EQ(table.begin_write(0), BeginWrite::kPinned);
  EXPECT_FALSE(table.word(0).has(GranuleWord::kLocked));
  EXPECT_EQ(table.finish_write(0, true), State::kDirty);
  EXPECT_EQ(table.word(0).pins(), 1U);
}

TEST(GranuleStatesTest, PinsSurviveEveryStepOfTheirGranule) {
  GranuleTable table = table_with(Situation::kCleanPinned);
  ASSERT_TRUE(table.try_pin(0));
  ASSERT_TRUE(table.begin_store(0));
  table.unpin(0);  // Also while it is locked.
  table.finish_store(0);
  EXPECT_EQ(table.word(0).state(), State::kDirty);
  EXPECT_EQ(table.word(0).pins(), 1U);
  EXPECT_FALSE(table.begin_discard(0));
  table.unpin(0);
  EXPECT_TRUE(table.begin_discard(0));
  table.finish_evict(0);
  EXPECT_EQ(table.dirty_count(), 0U);
  table.check_invariants();
}

TEST(GranuleStatesTest, PinsAreCountedUpToTheirLimit) {
  GranuleTable table = table_with(Situation::kClean);
  for (std::uint32_t i = 0; i < GranuleWord::kPinsMax; ++i) {
    ASSERT_TRUE(table.try_pin(0));
  }
  EXPECT_FALSE(table.try_pin(0));
  EXPECT_EQ(table.word(0).state(), State::kClean);
  for (std::uint32_t i = 0; i < GranuleWord::kPinsMax; ++i) {
    table.unpin(0);
  }
  EXPECT_TRUE(table.begin_evict(0));
}

TEST(GranuleStatesTest, AMovedTableTakesEverythingAlong) {
  GranuleTable table = table_with(Situation::kDirtyPinned);
  GranuleTable other = GranuleTable::make(5).value();
  other = std::move(table);
  EXPECT_EQ(other.granule_count(), 1U);
  EXPECT_EQ(other.dirty_count(), 1U);
  EXPECT_EQ(other.leaves_in_use(), 1U);
  EXPECT_EQ(other.word(0).pins(), 1U);
  other.unpin(0);
  other.check_invariants();
}

TEST(GranuleStatesTest, EveryStateHasAName) {
  EXPECT_STREQ(name_of(State::kAbsent), "absent");
  EXPECT_STREQ(name_of(State::kEvicting), "evicting");
}

// --- Waiting -------------------------------------------------------------------------------------

struct Calls {
  std::uint64_t count = 0;
  std::uint64_t granule = UINT64_MAX;
};
void remember(void* context, std::uint64_t granule) noexcept {
  auto* calls = static_cast<Calls*>(context);
  ++calls->count;
  calls->granule = granule;
}

TEST(GranuleStatesTest, TheEndOfEachTransitionTellsWhoeverAwaitedIt) {
  using S = Situation;
  const std::pair<Situation, void (*)(GranuleTable&)> ends[] = {
      {S::kFilling, [](GranuleTable& t) { t.finish_fill(0, State::kClean); }},
      {S::kFilling, [](GranuleTable& t) { t.finish_fill(0, State::kHeld); }},
      {S::kFilling, [](GranuleTable& t) { t.finish_fill(0, State::kAbsent); }},
      {S::kCleanLocked, [](GranuleTable& t) { t.finish_store(0); }},
      {S::kStoreDuringWrite, [](GranuleTable& t) { t.finish_store(0); }},
      {S::kWriteLocked, [](GranuleTable& t) { t.written_protected(0); }},
      {S::kEvicting, [](GranuleTable& t) { t.finish_evict(0); }},
  };
  for (const auto& [situation, end] : ends) {
    for (const bool is_awaited : {true, false}) {
      GranuleTable table = table_with(situation);
      Calls calls;
      table.set_on_awaited(&remember, &calls);
      if (is_awaited) {
        EXPECT_TRUE(table.mark_awaited(0));
        EXPECT_TRUE(table.mark_awaited(0));  // By the next one who waits.
      }
      end(table);
      EXPECT_EQ(calls.count, is_awaited ? 1U : 0U) << static_cast<int>(situation);
      EXPECT_EQ(calls.granule, is_awaited ? 0U : UINT64_MAX);
      EXPECT_FALSE(table.word(0).has(GranuleWord::kAwaited));
    }
  }
}

TEST(GranuleStatesTest, WaitingForWhatHasChangedAlreadyReturnsAtOnce) {
  GranuleTable table = table_with(Situation::kFilling);
  const GranuleWord seen = table.word(0);
  table.finish_fill(0, State::kClean);
  EXPECT_TRUE(table.await_change(0, seen, kForeverMs));
  EXPECT_FALSE(table.word(0).has(GranuleWord::kAwaited));
}

TEST(GranuleStatesTest, WaitingEndsWhenTheTimeIsOver) {
  GranuleTable table = table_with(Situation::kFilling);
  EXPECT_FALSE(table.await_change(0, table.word(0), 0));
}

TEST(GranuleStatesTest, AFillWakesTheThreadThatWaitsForIt) {
  GranuleTable table = table_with(Situation::kFilling);
  std::thread waiter([&] {
    GranuleWord seen = table.word(0);
    while (seen.is_in_transition()) {
      EXPECT_TRUE(table.await_change(0, seen, kForeverMs));
      seen = table.word(0);
    }
  });
  while (!table.word(0).has(GranuleWord::kAwaited)) {
    std::this_thread::yield();
  }
  table.finish_fill(0, State::kClean);
  waiter.join();
}

TEST(GranuleStatesTest, FinishingAWriteWaitsForTheStoreThatLiftsTheProtection) {
  GranuleTable table = table_with(Situation::kStoreDuringWrite);
  std::thread writer([&] { EXPECT_EQ(table.finish_write(0, true), State::kDirty); });
  while (!table.word(0).has(GranuleWord::kAwaited)) {
    std::this_thread::yield();
  }
  EXPECT_EQ(table.word(0).state(), State::kWriting);
  table.finish_store(0);
  writer.join();
}

// --- Leaves --------------------------------------------------------------------------------------

TEST(GranuleStatesTest, AGranuleThatIsNotAbsentKeepsItsLeaf) {
  for (const Situation situation : kSituations) {
    GranuleTable table = table_with(situation);
    table.leave(0);
    EXPECT_EQ(table.begin_give_back(0), situation == Situation::kAbsent);
  }
}

TEST(GranuleStatesTest, AFillThatFailedAndAnEvictionLeaveTheLeaf) {
  GranuleTable table = table_with(Situation::kFilling);
  table.leave(0);
  table.finish_fill(0, State::kAbsent);
  EXPECT_TRUE(table.begin_give_back(0));
  GranuleTable other = table_with(Situation::kEvicting);
  other.leave(0);
  EXPECT_FALSE(other.begin_give_back(0));
  other.finish_evict(0);
  EXPECT_TRUE(other.begin_give_back(0));
}

}  // namespace
}  // namespace quire
