// SPDX-License-Identifier: Apache-2.0
#include "quire/policy/cache_simulation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "quire/base/prng.h"
#include "quire/testing/seed.h"

namespace quire {
namespace {

// First in, first out, and what its host told it. `on_victim` may ask the host things first.
class ScriptedPolicy final : public Replacement {
 public:
  struct Log {
    std::vector<std::pair<PageId, Arrival>> inserted;
    std::vector<PageId> used;
    std::function<void(PageHost&, const std::deque<PageId>&)> on_victim;
    bool has_victims = true;
  };

  ScriptedPolicy(PageHost& host, Log& log) : host_(host), log_(log) {}

  void inserted(PageId page, Arrival arrival) override {
    log_.inserted.emplace_back(page, arrival);
    queue_.push_back(page);
  }
  void used(PageId page) override { log_.used.push_back(page); }
  void erased(PageId) override {}
  void purge(bool (*)(const void*, PageId), const void*) override {}
  std::size_t choose_victims(std::span<PageId> victims) override {
    if (log_.on_victim) {
      log_.on_victim(host_, queue_);
    }
    if (!log_.has_victims) {
      return 0;
    }
    victims[0] = queue_.front();
    queue_.pop_front();
    return 1;
  }
  void kept(PageId) override {}
  std::size_t peek_tail(std::span<PageId>) const override { return 0; }
  std::size_t queued() const noexcept override { return queue_.size(); }
  PolicyStats stats() const noexcept override { return {.ghost_hits = 7, .watched = 11}; }
  std::string_view name() const noexcept override { return "scripted"; }
  std::uint64_t metadata_bytes() const noexcept override { return 13; }
  void check_invariants() const override {}

 private:
  PageHost& host_;
  Log& log_;
  std::deque<PageId> queue_;
};

// Pages lie on the device as they are numbered, but for a gap of pages that are never accessed.
class PlacedPages final : public AccessSource {
 public:
  static constexpr std::uint32_t kGapPages = 50;

  PlacedPages(std::uint32_t page_span, std::uint32_t gap_before)
      : page_span_(page_span), gap_before_(gap_before) {}
  std::size_t next(std::span<PageAccess>) override { return 0; }
  void rewind() override {}
  std::uint64_t access_count() const noexcept override { return 0; }
  std::uint32_t page_span() const noexcept override { return page_span_; }
  std::uint64_t position_of(std::uint32_t page) const noexcept override {
    return page < gap_before_ ? page : page + kGapPages;
  }
  std::optional<std::uint32_t> page_at(std::uint64_t position) const noexcept override {
    if (position >= gap_before_ && position < gap_before_ + kGapPages) {
      return std::nullopt;
    }
    return static_cast<std::uint32_t>(position < gap_before_ ? position : position - kGapPages);
  }
  std::uint64_t end_of_area(std::uint32_t) const noexcept override {
    return position_of(page_span_ - 1) + 1;
  }

 private:
  std::uint32_t page_span_;
  std::uint32_t gap_before_;
};

constexpr std::uint32_t kPages = 1000;
constexpr std::uint32_t kNoGap = kPages;

class CacheSimulationTest : public ::testing::Test {
 protected:
  CacheSimulation make(const SimulationOptions& options) {
    return CacheSimulation(options, source_, [this](PageHost& host) {
      return std::make_unique<ScriptedPolicy>(host, log_);
    });
  }
  static void load(CacheSimulation& simulation, std::initializer_list<std::uint32_t> pages) {
    for (const std::uint32_t page : pages) {
      const PageAccess access(page, false);
      simulation.run({&access, 1});
    }
    simulation.check_invariants();
  }
  static void scan(CacheSimulation& simulation, std::uint32_t from, std::uint32_t to) {
    for (std::uint32_t page = from; page < to; ++page) {
      load(simulation, {page});
    }
  }
  // Pages that make no stream, because they lie too far apart: from 10,000 on.
  static std::uint32_t far_page(std::uint32_t i) { return 10'000 + 2 * 1024 * i; }
  static_assert(StreamDetector::kStrideMax < 2 * 1024);
  static void store(CacheSimulation& simulation, std::uint32_t page) {
    const PageAccess access(page, true);
    simulation.run({&access, 1});
  }

  PlacedPages source_{kPages, kNoGap};
  ScriptedPolicy::Log log_;
};

TEST_F(CacheSimulationTest, WhatFitsIsReadOnce) {
  CacheSimulation simulation = make({.memory_pages = 3});
  load(simulation, {1, 2, 3, 1, 2, 3, 3});
  const SimulationStats stats = simulation.stats();
  EXPECT_EQ(stats.accesses, 7U);
  EXPECT_EQ(stats.hits, 4U);
  EXPECT_EQ(stats.misses, 3U);
  EXPECT_EQ(stats.device_read_pages, 3U);
  EXPECT_EQ(stats.evictions, 0U);
  EXPECT_EQ(stats.device_write_pages, 0U);
  EXPECT_DOUBLE_EQ(stats.hit_ratio(), 4.0 / 7);
}

TEST_F(CacheSimulationTest, APageThatWentIsReadAgain) {
  CacheSimulation simulation = make({.memory_pages = 2});
  load(simulation, {1, 2, 3, 1});
  EXPECT_FALSE(simulation.is_resident(2));
  EXPECT_TRUE(simulation.is_resident(1));
  EXPECT_EQ(simulation.stats().misses, 4U);
  EXPECT_EQ(simulation.stats().evictions, 2U);
}

TEST_F(CacheSimulationTest, ADirtyPageIsWrittenWhenItGoesOrAtTheEndAndOnce) {
  CacheSimulation simulation = make({.memory_pages = 2});
  store(simulation, 1);
  store(simulation, 1);
  load(simulation, {2, 3});  // 1 goes.
  store(simulation, 3);
  const SimulationStats stats = simulation.stats();
  EXPECT_EQ(stats.stores, 3U);
  EXPECT_EQ(stats.dirty_at_end, 1U);
  EXPECT_EQ(stats.device_write_pages, 2U);
  load(simulation, {1, 4});  // Back, and clean: it goes without a write.
  load(simulation, {5, 6});
  EXPECT_EQ(simulation.stats().device_write_pages, 2U);
}

// Goal:   a policy sees what a pager would: uses after watch(), and nothing of pages not watched.
// Method: the policy looks at its queue when a victim is wanted; used before, watched, used after.
TEST_F(CacheSimulationTest, OnlyUsesOfWatchedPagesAreSeen) {
  std::vector<std::vector<bool>> seen;
  log_.on_victim = [&seen](PageHost& host, const std::deque<PageId>& queue) {
    const std::vector<PageId> pages(queue.begin(), queue.end());
    std::array<bool, 3> used{};
    host.look(pages, used);
    seen.emplace_back(used.begin(), used.end());
    host.watch(pages);
  };
  CacheSimulation simulation = make({.memory_pages = 3});
  load(simulation, {1, 2, 3, 2, 2, 4});  // Nothing was watched. 1 goes.
  load(simulation, {3, 3, 3, 5});        // 2 and 3 are watched; 3 was used. 2 goes.
  load(simulation, {4, 5, 6});           // Looked at 2 3 4; now 3 4 5: 4 was used, 3 not again.
  EXPECT_EQ(seen, (std::vector<std::vector<bool>>{
                      {false, false, false}, {false, true, false}, {false, true, false}}));
  // 3 once, though it was used three times; 4 once; 5 was never watched.
  EXPECT_EQ(simulation.stats().soft_faults, 2U);
}

TEST_F(CacheSimulationTest, NotesOutliveTheStayInMemory) {
  log_.on_victim = [](PageHost& host, const std::deque<PageId>& queue) {
    if (queue.front() == 1) {
      EXPECT_EQ(host.note(1), 0U);
      host.set_note(1, 42);
      EXPECT_EQ(host.standing(1), PageHost::Standing::kEvictable);
    } else {
      EXPECT_EQ(host.note(1), 42U);
      EXPECT_EQ(host.standing(1), PageHost::Standing::kGone);
    }
  };
  CacheSimulation simulation = make({.memory_pages = 1});
  load(simulation, {1, 2, 3});
  EXPECT_EQ(simulation.stats().evictions, 2U);
}

TEST_F(CacheSimulationTest, HitsAreReportedToThosePoliciesOnlyThatAskForThem) {
  CacheSimulation silent = make({.memory_pages = 3});
  load(silent, {1, 1, 2, 1});
  EXPECT_TRUE(log_.used.empty());
  CacheSimulation told = make({.memory_pages = 3, .hits = HitReports::kEach});
  load(told, {1, 1, 2, 1});
  EXPECT_EQ(log_.used, (std::vector<PageId>{1, 1}));
}

TEST_F(CacheSimulationTest, WithoutAVictimThePageIsReadAndNotKept) {
  log_.has_victims = false;
  CacheSimulation simulation = make({.memory_pages = 1});
  load(simulation, {1, 2, 2});
  store(simulation, 3);
  load(simulation, {1});
  const SimulationStats stats = simulation.stats();
  EXPECT_EQ(stats.not_kept, 3U);
  EXPECT_EQ(stats.misses, 4U);
  EXPECT_EQ(stats.hits, 1U);
  EXPECT_EQ(stats.device_write_pages, 1U);  // What was stored to 3 is not lost.
}

TEST_F(CacheSimulationTest, ThePolicysOwnCountsAreHandedOn) {
  const CacheSimulation simulation = make({.memory_pages = 1});
  EXPECT_EQ(simulation.stats().ghost_hits, 7U);
  EXPECT_EQ(simulation.stats().watched, 11U);
  EXPECT_EQ(simulation.stats().policy_bytes, 13U);
}

// --- Read-ahead ----------------------------------------------------------------------------------

TEST_F(CacheSimulationTest, AScanIsReadAheadOfItsReader) {
  CacheSimulation simulation = make({.memory_pages = 500, .read_ahead_pages_max = 16});
  scan(simulation, 0, kPages);
  const SimulationStats stats = simulation.stats();
  EXPECT_EQ(stats.misses, 3U);  // The third in a row makes it a stream, and it never stops.
  EXPECT_EQ(stats.device_read_pages, kPages);
  EXPECT_EQ(stats.read_ahead_hits, kPages - 3);
  EXPECT_EQ(stats.read_ahead_wasted, 0U);
  // A window for each 16 pages, and the smaller ones at the beginning; its tripwire traps.
  EXPECT_GE(stats.device_read_requests, 3 + kPages / 16);
  EXPECT_LE(stats.device_read_requests, 8 + kPages / 16);
  EXPECT_GT(stats.soft_faults, 0U);
  EXPECT_LE(stats.soft_faults, stats.device_read_requests);
}

TEST_F(CacheSimulationTest, RandomAccessReadsNothingAhead) {
  CacheSimulation simulation = make({.memory_pages = 500, .read_ahead_pages_max = 8});
  load(simulation, {900, 10, 500, 300, 700, 100, 20});
  EXPECT_EQ(simulation.stats().device_read_pages, 7U);
  EXPECT_EQ(simulation.stats().device_read_requests, 7U);
}

TEST_F(CacheSimulationTest, WithoutReadAheadAScanMissesEachPage) {
  CacheSimulation simulation = make({.memory_pages = 500});
  scan(simulation, 0, 100);
  EXPECT_EQ(simulation.stats().misses, 100U);
}

TEST_F(CacheSimulationTest, SeveralStreamsAreToldApart) {
  CacheSimulation simulation = make({.memory_pages = 500, .read_ahead_pages_max = 4});
  for (std::uint32_t i = 0; i < 100; ++i) {
    load(simulation, {i, 300 + i, 800 - i});  // The last one goes backwards.
  }
  EXPECT_EQ(simulation.stats().misses, 3U * 3);
}

TEST_F(CacheSimulationTest, WhatIsReadAheadArrivesAsAGuessAndIsWastedWhenItGoesUnused) {
  source_ = PlacedPages(1'000'000, 1'000'000);
  CacheSimulation simulation = make({.memory_pages = 200, .read_ahead_pages_max = 4});
  load(simulation, {0, 1, 2});
  ASSERT_GT(log_.inserted.size(), 3U);
  for (std::size_t i = 0; i < log_.inserted.size(); ++i) {
    EXPECT_EQ(log_.inserted[i].first, i);
    EXPECT_EQ(log_.inserted[i].second, i < 3 ? Arrival::kDemand : Arrival::kReadAhead);
  }
  const std::size_t guesses = log_.inserted.size() - 3;
  for (std::uint32_t i = 0; i < 250; ++i) {
    load(simulation, {far_page(i)});
  }
  EXPECT_EQ(simulation.stats().read_ahead_wasted, guesses);
  EXPECT_EQ(simulation.stats().read_ahead_hits, 0U);
}

// Goal:   a page read ahead is watched from the start, as a pager sees who was touched.
// Method: guesses of which one is used; the policy looks when a victim is wanted.
TEST_F(CacheSimulationTest, UsesOfPagesReadAheadAreSeenWithoutAWatch) {
  std::vector<bool> seen;
  log_.on_victim = [&seen](PageHost& host, const std::deque<PageId>&) {
    std::array<bool, 3> used{};
    host.look(std::array<PageId, 3>{3, 4, 5}, used);
    seen.assign(used.begin(), used.end());
  };
  source_ = PlacedPages(1'000'000, 1'000'000);
  CacheSimulation simulation = make({.memory_pages = 100, .read_ahead_pages_max = 4});
  load(simulation, {0, 1, 2, 4});
  for (std::uint32_t i = 0; seen.empty(); ++i) {
    load(simulation, {far_page(i)});
  }
  EXPECT_EQ(seen, (std::vector<bool>{false, true, false}));
  EXPECT_EQ(simulation.stats().read_ahead_hits, 1U);
}

TEST_F(CacheSimulationTest, WindowsEndWithTheArea) {
  CacheSimulation simulation = make({.memory_pages = 500, .read_ahead_pages_max = 8});
  scan(simulation, kPages - 10, kPages);
  EXPECT_EQ(simulation.stats().device_read_pages, 10U);
  EXPECT_EQ(simulation.stats().read_ahead_wasted, 0U);
}

TEST_F(CacheSimulationTest, PagesOfAWindowThatAreNeverAccessedAreReadAndTakeNoRoom) {
  source_ = PlacedPages(kPages, 40);
  CacheSimulation simulation = make({.memory_pages = 500, .read_ahead_pages_max = 8});
  scan(simulation, 0, 40);
  const SimulationStats stats = simulation.stats();
  EXPECT_EQ(stats.read_ahead_hits, 37U);
  EXPECT_GT(stats.read_ahead_wasted, 0U);
  EXPECT_LE(stats.read_ahead_wasted, PlacedPages::kGapPages);
  EXPECT_EQ(stats.device_read_pages, 40 + stats.read_ahead_wasted);
}

TEST_F(CacheSimulationTest, WindowsShrinkWithTheMemory) {
  for (const std::uint32_t memory_pages : {1U, 15U, 16U, 64U}) {
    CacheSimulation simulation = make({.memory_pages = memory_pages, .read_ahead_pages_max = 512});
    scan(simulation, 0, kPages);
    EXPECT_EQ(simulation.stats().read_ahead_wasted, 0U) << memory_pages;
    EXPECT_EQ(simulation.stats().device_read_pages, kPages) << memory_pages;
  }
}

// Goal:   a store is not forgotten when the windows it starts push its page out at once.
// Method: all stores, in a memory of few windows; every page is written exactly once.
TEST_F(CacheSimulationTest, AStoreToATripwireIsWritten) {
  CacheSimulation simulation = make({.memory_pages = 16, .read_ahead_pages_max = 512});
  for (std::uint32_t page = 0; page < kPages; ++page) {
    store(simulation, page);
  }
  simulation.check_invariants();
  EXPECT_GT(simulation.stats().read_ahead_hits, 0U);
  EXPECT_EQ(simulation.stats().device_write_pages, kPages);
}

// Goal:   the simulation of FIFO is that of a set and a queue, and its invariants hold throughout.
// Method: random accesses of changing locality against ten obvious lines.
TEST_F(CacheSimulationTest, AgreesWithAnObviousModelOfFifo) {
  Prng random(testing::test_seed());
  CacheSimulation simulation = make({.memory_pages = 50});
  std::deque<std::uint32_t> order;
  std::set<std::uint32_t> resident;
  std::set<std::uint32_t> dirty;
  std::uint64_t misses = 0;
  std::uint64_t writes = 0;
  for (int i = 0; i < 30'000; ++i) {
    const auto page = static_cast<std::uint32_t>(random.below(random.below(3) == 0 ? kPages : 60));
    const bool is_store = random.below(5) == 0;
    if (!resident.contains(page)) {
      ++misses;
      if (order.size() == 50) {
        writes += dirty.erase(order.front());
        resident.erase(order.front());
        order.pop_front();
      }
      order.push_back(page);
      resident.insert(page);
    }
    if (is_store) {
      dirty.insert(page);
    }
    const PageAccess access(page, is_store);
    simulation.run({&access, 1});
    if (i % 1000 == 0) {
      simulation.check_invariants();
    }
  }
  EXPECT_EQ(simulation.stats().misses, misses);
  EXPECT_EQ(simulation.stats().device_write_pages, writes + dirty.size());
  EXPECT_EQ(simulation.stats().hits + misses, 30'000U);
}

}  // namespace
}  // namespace quire
