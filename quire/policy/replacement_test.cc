// SPDX-License-Identifier: Apache-2.0
#include "quire/policy/replacement.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "quire/base/prng.h"
#include "quire/testing/page_host.h"
#include "quire/testing/seed.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes);

namespace quire {
namespace {

using testing::FakePageHost;

// A policy, its host, and memory that is never overfull.
struct Memory {
  Memory(PolicyKind kind, std::size_t memory_pages, std::size_t page_count = 4096)
      : pages_max(memory_pages),
        host(page_count),
        policy(make_replacement({.kind = kind, .pages_max = memory_pages}, host)) {}

  std::vector<PageId> choose(std::size_t count) {
    std::vector<PageId> victims(count);
    victims.resize(policy->choose_victims(victims));
    return victims;
  }
  std::vector<PageId> evict(std::size_t count) {
    const std::vector<PageId> victims = choose(count);
    for (const PageId page : victims) {
      host.go(page);
    }
    return victims;
  }
  void come(PageId page, Arrival arrival = Arrival::kDemand) {
    if (host.here_count() == pages_max) {
      evict(1);
    }
    host.come(page, arrival);
    policy->inserted(page, arrival);
  }
  void come(PageId first, PageId end, Arrival arrival) {
    for (PageId page = first; page < end; ++page) {
      come(page, arrival);
    }
  }
  void erase(PageId page) {
    host.go(page);
    policy->erased(page);
  }

  std::size_t pages_max;
  FakePageHost host;
  std::unique_ptr<Replacement> policy;
};

std::vector<PageId> pages_from(PageId first, std::size_t count) {
  std::vector<PageId> pages(count);
  std::iota(pages.begin(), pages.end(), first);
  return pages;
}

constexpr PolicyKind kKinds[] = {PolicyKind::kFifo, PolicyKind::kClock, PolicyKind::kS3Fifo,
                                 PolicyKind::kLru};

// --- Every policy --------------------------------------------------------------------------------

class EveryPolicyTest : public ::testing::TestWithParam<PolicyKind> {};
INSTANTIATE_TEST_SUITE_P(All, EveryPolicyTest, ::testing::ValuesIn(kKinds),
                         [](const auto& param) { return std::string(name_of(param.param)); });

TEST_P(EveryPolicyTest, HasItsName) {
  const Memory memory(GetParam(), 10);
  EXPECT_EQ(memory.policy->name(), name_of(GetParam()));
}

TEST_P(EveryPolicyTest, EvictsInOrderWhatNobodyUsesAgain) {
  Memory memory(GetParam(), 100);
  memory.come(0, 100, Arrival::kDemand);
  EXPECT_EQ(memory.evict(30), pages_from(0, 30));
  EXPECT_EQ(memory.evict(70), pages_from(30, 70));
  EXPECT_TRUE(memory.evict(1).empty());
  EXPECT_EQ(memory.policy->stats().evicted, 100U);
  EXPECT_EQ(memory.policy->stats().inserted, 100U);
}

TEST_P(EveryPolicyTest, TouchesNoPageTableWhileTheSetFits) {
  Memory memory(GetParam(), 100);
  memory.come(0, 100, Arrival::kDemand);
  for (PageId page = 0; page < 100; ++page) {
    memory.host.use(page);
    memory.policy->used(page);
  }
  EXPECT_EQ(memory.host.watch_calls() + memory.host.look_calls(), 0U);
}

TEST_P(EveryPolicyTest, PassesOverPinnedPagesAndComesBackToThem) {
  Memory memory(GetParam(), 100);
  memory.come(0, 100, Arrival::kDemand);
  for (PageId page = 0; page < 100; ++page) {
    memory.host.pin(page, page != 40 && page != 80);
  }
  EXPECT_EQ(memory.evict(10), (std::vector<PageId>{40, 80}));
  EXPECT_TRUE(memory.evict(10).empty()) << "everything is pinned, and the call comes back";
  memory.host.pin(7, false);
  EXPECT_EQ(memory.evict(10), std::vector<PageId>{7});
  memory.policy->check_invariants();
}

TEST_P(EveryPolicyTest, MakesRoomThoughEverythingIsInUse) {
  Memory memory(GetParam(), 100);
  memory.come(0, 100, Arrival::kDemand);
  memory.host.draw_use_bits(0, 100);
  for (int round = 0; round < 10; ++round) {
    EXPECT_GT(memory.evict(10).size(), 0U) << round;
  }
}

TEST_P(EveryPolicyTest, AVictimThatWasKeptIsInTheQueuesAgain) {
  Memory memory(GetParam(), 10);
  memory.come(0, 10, Arrival::kDemand);
  const std::vector<PageId> chosen = memory.choose(3);
  ASSERT_EQ(chosen.size(), 3U);
  EXPECT_EQ(memory.policy->queued(), 7U);
  memory.policy->kept(chosen[1]);
  EXPECT_EQ(memory.policy->queued(), 8U);
  EXPECT_EQ(memory.policy->stats().evicted, 2U);
  std::vector<PageId> rest = memory.choose(10);
  EXPECT_EQ(std::count(rest.begin(), rest.end(), chosen[1]), 1);
  EXPECT_EQ(rest.size(), 8U);
}

TEST_P(EveryPolicyTest, AnErasedPageIsNoVictimAndComesBackOnce) {
  Memory memory(GetParam(), 10);
  memory.come(0, 10, Arrival::kDemand);
  memory.erase(2);
  memory.erase(3);
  memory.come(3);
  std::vector<PageId> victims = memory.evict(20);
  std::sort(victims.begin(), victims.end());
  EXPECT_EQ(victims, (std::vector<PageId>{0, 1, 3, 4, 5, 6, 7, 8, 9}));
  EXPECT_EQ(memory.policy->queued(), 0U);
}

// Goal:   pages that come and are erased for ever, without a single eviction, do not fill the
//         queues.
TEST_P(EveryPolicyTest, ErasuresAloneDoNotFillIt) {
  Memory memory(GetParam(), 100);
  memory.come(0, 50, Arrival::kDemand);
  for (PageId page = 100; page < 4000; ++page) {
    memory.come(page);
    memory.erase(page);
    ASSERT_LE(memory.policy->queued(), 100U + 100 / 8 + 64);
  }
  memory.policy->check_invariants();
  std::vector<PageId> victims = memory.evict(100);
  std::sort(victims.begin(), victims.end());
  EXPECT_EQ(victims, pages_from(0, 50));
}

// Goal:   a host that forgets the notes of pages that are gone makes a policy enter them twice, and
//         that must not fill its queues, nor make a page a victim twice.
// Method: each page comes, goes, is forgotten, and comes again, until memory is full.
TEST_P(EveryPolicyTest, ForgottenNotesDoNotFillIt) {
  Memory memory(GetParam(), 1000);
  for (PageId page = 0; page < 1000; ++page) {
    memory.come(page);
    memory.erase(page);
    memory.host.forget_note(page);
    memory.come(page);
  }
  memory.policy->check_invariants();
  std::vector<PageId> victims = memory.evict(1000);
  std::sort(victims.begin(), victims.end());
  EXPECT_EQ(victims, pages_from(0, 1000));
}

TEST_P(EveryPolicyTest, PurgeForgetsAnAreaAndNothingElse) {
  Memory memory(GetParam(), 100);
  memory.come(0, 100, Arrival::kDemand);
  for (PageId page = 0; page < 50; ++page) {
    memory.host.go(page);
  }
  memory.policy->purge([](const void* /*context*/, PageId page) { return page < 50; }, nullptr);
  for (PageId page = 0; page < 50; ++page) {
    memory.host.forget_note(page);
  }
  EXPECT_EQ(memory.policy->queued(), 50U);
  memory.come(10);  // Another area's page, under the same number.
  std::vector<PageId> victims = memory.evict(100);
  EXPECT_EQ(victims.size(), 51U);
}

TEST_P(EveryPolicyTest, PeeksAtWhatGoesNextAndChangesNothing) {
  Memory memory(GetParam(), 100);
  memory.come(0, 100, Arrival::kDemand);
  memory.host.pin(1, true);
  std::vector<PageId> next(5);
  ASSERT_EQ(memory.policy->peek_tail(next), 5U);
  EXPECT_EQ(next, (std::vector<PageId>{0, 2, 3, 4, 5}));
  EXPECT_EQ(memory.evict(5), next);
}

TEST_P(EveryPolicyTest, WorksWithASinglePage) {
  Memory memory(GetParam(), 1);
  for (PageId page = 0; page < 300; ++page) {
    memory.come(page);
    EXPECT_EQ(memory.host.here_count(), 1U);
    memory.policy->check_invariants();
  }
}

// 8 bytes for each page, an eighth for entries that are stale, and a fixed few KiB; LRU has 16.
TEST_P(EveryPolicyTest, HoldsFewBytesAPage) {
  constexpr std::size_t kPages = 1 << 20;
  const Memory memory(GetParam(), kPages, 1);
  const std::uint64_t per_page = GetParam() == PolicyKind::kLru ? 16 : 9;
  EXPECT_LE(memory.policy->metadata_bytes(), kPages * per_page * 102 / 100);
}

// --- Watching and looking ------------------------------------------------------------------------

class WatchingPolicyTest : public ::testing::TestWithParam<PolicyKind> {};
INSTANTIATE_TEST_SUITE_P(All, WatchingPolicyTest,
                         ::testing::Values(PolicyKind::kClock, PolicyKind::kS3Fifo),
                         [](const auto& param) { return std::string(name_of(param.param)); });

// Goal:   a page in use survives, though its uses are seen on probation only.
// Method: one page is used after each eviction, all others once.
TEST_P(WatchingPolicyTest, APageInUseStays) {
  Memory memory(GetParam(), 200);
  memory.come(0, 200, Arrival::kDemand);
  for (PageId page = 200; page < 4000; ++page) {
    memory.come(page);
    ASSERT_TRUE(memory.host.use(150)) << "after page " << page;
  }
}

// A system call and a TLB flush for each page would cost more than the policy is worth.
TEST_P(WatchingPolicyTest, WatchesAndLooksInBatches) {
  constexpr std::size_t kMemory = 4096;
  Memory memory(GetParam(), kMemory, 100'000);
  memory.come(0, kMemory, Arrival::kDemand);
  for (PageId page = kMemory; page < 100'000; page += 64) {
    ASSERT_EQ(memory.evict(64).size(), 64U);
    memory.come(page, std::min<PageId>(page + 64, 100'000), Arrival::kDemand);
  }
  const std::uint64_t evicted = memory.policy->stats().evicted;
  EXPECT_LE(memory.host.look_calls(), evicted / 32);
  EXPECT_LE(memory.host.watch_calls(), evicted / 32);
  EXPECT_LE(memory.policy->stats().watched, evicted + kMemory);
}

// Goal:   a call for one victim looks at few pages, although everything is in use.
TEST_P(WatchingPolicyTest, OneVictimCostsABoundedNumberOfLooks) {
  constexpr std::size_t kMemory = 100'000;
  Memory memory(GetParam(), kMemory, kMemory);
  memory.come(0, kMemory, Arrival::kDemand);
  memory.host.draw_use_bits(0, 100);
  ASSERT_EQ(memory.evict(1).size(), 1U);
  EXPECT_LE(memory.host.looked_at(), 4096U);
}

// --- S3-FIFO: what comes in how ------------------------------------------------------------------

TEST(S3FifoTest, AScanDoesNotDriveOutWhatIsUsedAgain) {
  Memory memory(PolicyKind::kS3Fifo, 1000, 40'000);
  for (int round = 0; round < 6; ++round) {  // 500 pages are used while others pass by.
    for (PageId page = 0; page < 500; ++page) {
      if (!memory.host.use(page)) {
        memory.come(page);
      }
      memory.come(1000 + static_cast<PageId>(round) * 500 + page);
    }
  }
  memory.come(10'000, 20'000, Arrival::kDemand);  // Nothing else is used meanwhile.
  std::size_t kept = 0;
  for (PageId page = 0; page < 500; ++page) {
    kept += memory.host.is_here(page) ? 1U : 0U;
  }
  EXPECT_GE(kept, 450U);
}

TEST(S3FifoTest, AMissOfAGhostEntersMainAndOutlastsNewPages) {
  Memory memory(PolicyKind::kS3Fifo, 100);
  memory.come(0, 100, Arrival::kDemand);
  ASSERT_EQ(memory.evict(1), std::vector<PageId>{0});
  memory.come(0);
  EXPECT_EQ(memory.policy->stats().ghost_hits, 1U);
  memory.come(100, 250, Arrival::kDemand);
  EXPECT_TRUE(memory.host.is_here(0));
}

// The list has as many entries as main has pages: 90 of 100.
TEST(S3FifoTest, AGhostIsForgottenAfterNinetyMore) {
  for (const std::size_t more : {89U, 90U}) {
    Memory memory(PolicyKind::kS3Fifo, 100);
    memory.come(0, 100, Arrival::kDemand);
    ASSERT_EQ(memory.evict(1), std::vector<PageId>{0});
    ASSERT_EQ(memory.evict(more).size(), more);
    memory.come(0);
    EXPECT_EQ(memory.policy->stats().ghost_hits, more < 90 ? 1U : 0U) << more;
  }
}

TEST(S3FifoTest, ReadAheadThatNobodyTouchedGoesFirstAndLeavesNoGhost) {
  Memory memory(PolicyKind::kS3Fifo, 80);  // An eighth: 10.
  memory.come(0, 50, Arrival::kDemand);
  memory.come(100, 130, Arrival::kReadAhead);
  EXPECT_EQ(memory.evict(20), pages_from(100, 20)) << "what is more than its share";
  memory.come(100, Arrival::kDemand);
  EXPECT_EQ(memory.policy->stats().ghost_hits, 0U);
}

TEST(S3FifoTest, ReadAheadThatWasTouchedOnceIsAPageUsedOnce) {
  Memory memory(PolicyKind::kS3Fifo, 800, 8000);
  memory.come(0, 600, Arrival::kDemand);
  memory.come(1000, 1200, Arrival::kReadAhead);
  for (PageId page = 1000; page < 1200; ++page) {
    memory.host.use(page);
  }
  const std::vector<PageId> victims = memory.evict(100);
  EXPECT_EQ(victims, pages_from(1000, 100)) << "one use is no reason to stay";
  memory.come(1000, Arrival::kDemand);
  EXPECT_EQ(memory.policy->stats().ghost_hits, 1U) << "but to be remembered";
}

TEST(S3FifoTest, AGuessThatTakesOverAnOldEntryIsAGuess) {
  Memory memory(PolicyKind::kS3Fifo, 10);
  memory.come(0, 10, Arrival::kDemand);
  memory.erase(0);
  memory.come(0, Arrival::kReadAhead);
  EXPECT_EQ(memory.evict(1), std::vector<PageId>{0});
  memory.come(0, Arrival::kDemand);
  EXPECT_EQ(memory.policy->stats().ghost_hits, 0U);
}

// Goal:   read-ahead of a page that went not long ago is, once touched, a page used again.
TEST(S3FifoTest, AGhostThatIsReadAheadAndTouchedEntersMain) {
  for (const bool is_touched : {true, false}) {
    Memory memory(PolicyKind::kS3Fifo, 800, 8000);
    memory.come(0, 800, Arrival::kDemand);
    ASSERT_EQ(memory.evict(1), std::vector<PageId>{0});
    memory.come(0, Arrival::kReadAhead);
    if (is_touched) {
      memory.host.use(0);
    }
    memory.come(1000, 1500, Arrival::kReadAhead);
    memory.come(2000, 5000, Arrival::kDemand);
    EXPECT_EQ(memory.host.is_here(0), is_touched);
  }
}

// Goal:   read-ahead that is used again and again stays; its first touch alone does not count.
TEST(S3FifoTest, ReadAheadThatIsUsedAgainStays) {
  Memory memory(PolicyKind::kS3Fifo, 800, 20'000);
  memory.come(0, 700, Arrival::kDemand);
  memory.come(1000, 1050, Arrival::kReadAhead);
  for (PageId page = 2000; page < 19'000; ++page) {
    memory.host.use(1010);
    memory.come(page, page % 3 == 0 ? Arrival::kReadAhead : Arrival::kDemand);
  }
  EXPECT_TRUE(memory.host.is_here(1010));
  EXPECT_FALSE(memory.host.is_here(1011));
}

TEST(S3FifoTest, PagesBehindAStreamGoBeforeAllOthers) {
  Memory memory(PolicyKind::kS3Fifo, 640, 8000);  // A sixty-fourth: 10.
  memory.come(0, 500, Arrival::kDemand);
  memory.come(1000, 1050, Arrival::kStream);
  EXPECT_EQ(memory.evict(40), pages_from(1000, 40));
  memory.come(1000, Arrival::kDemand);
  EXPECT_EQ(memory.policy->stats().ghost_hits, 0U);
}

TEST(S3FifoTest, AStreamOfAnyLengthTakesNoRoomFromOthers) {
  Memory memory(PolicyKind::kS3Fifo, 640, 8000);
  memory.come(0, 600, Arrival::kDemand);
  memory.come(1000, 8000, Arrival::kStream);
  std::size_t kept = 0;
  for (PageId page = 0; page < 600; ++page) {
    kept += memory.host.is_here(page) ? 1U : 0U;
  }
  EXPECT_EQ(kept, 600U);
}

// Goal:   the fuzzer's property holds over a seeded corpus, with every compiler.
TEST(ReplacementFuzzTest, TheCorpusHolds) {
  Prng random(testing::test_seed());
  for (int run = 0; run < 120; ++run) {
    std::vector<std::uint8_t> input(2 + 4 * random.below(3000));
    std::generate(input.begin(), input.end(), [&] { return static_cast<std::uint8_t>(random()); });
    input[0] = static_cast<std::uint8_t>(run);
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
}

}  // namespace
}  // namespace quire
