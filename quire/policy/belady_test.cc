// SPDX-License-Identifier: Apache-2.0
#include "quire/policy/belady.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <vector>

#include "quire/base/prng.h"
#include "quire/policy/cache_simulation.h"
#include "quire/testing/seed.h"

namespace quire {
namespace {

using Trace = std::vector<PageAccess>;

Trace random_trace(Prng& random, std::size_t count, std::uint32_t pages) {
  Trace trace;
  for (std::size_t i = 0; i < count; ++i) {
    const auto page =
        static_cast<std::uint32_t>(std::min(random.below(pages), random.below(pages)));
    trace.emplace_back(page, random.below(4) == 0);
  }
  return trace;
}

// Every way to choose victims, tried: the fewest misses from access `at` on.
class Exhaustive {
 public:
  Exhaustive(const Trace& trace, std::size_t memory_pages)
      : trace_(trace), memory_pages_(memory_pages) {}

  std::uint64_t misses_from(std::size_t at, const std::set<std::uint32_t>& memory) {
    if (at == trace_.size()) {
      return 0;
    }
    const auto known = known_.find({at, memory});
    if (known != known_.end()) {
      return known->second;
    }
    const std::uint32_t page = trace_[at].page();
    std::uint64_t best = ~std::uint64_t{0};
    std::set<std::uint32_t> after = memory;
    if (!after.insert(page).second) {
      best = misses_from(at + 1, after);
    } else if (after.size() <= memory_pages_) {
      best = 1 + misses_from(at + 1, after);
    } else {
      for (const std::uint32_t victim : memory) {
        after.erase(victim);
        best = std::min(best, 1 + misses_from(at + 1, after));
        after.insert(victim);
      }
    }
    known_[{at, memory}] = best;
    return best;
  }

 private:
  const Trace& trace_;
  const std::size_t memory_pages_;
  std::map<std::pair<std::size_t, std::set<std::uint32_t>>, std::uint64_t> known_;
};

// The example of the paper's textbooks: three frames, nine misses.
TEST(BeladyTest, SolvesTheTextbookExample) {
  Trace trace;
  for (const std::uint32_t page :
       {7U, 0U, 1U, 2U, 0U, 3U, 0U, 4U, 2U, 3U, 0U, 3U, 2U, 1U, 2U, 0U, 1U, 7U, 0U, 1U}) {
    trace.emplace_back(page, false);
  }
  const BeladyStats stats = belady(trace, 8, 3);
  EXPECT_EQ(stats, (BeladyStats{.hits = 11, .misses = 9, .evictions = 6}));
}

TEST(BeladyTest, CountsWhatMustBeWritten) {
  const Trace trace{{0, true}, {1, false}, {2, true}, {1, false}, {0, false}, {2, false}};
  const BeladyStats stats = belady(trace, 3, 1);
  EXPECT_EQ(stats.misses, 6U);
  EXPECT_EQ(stats.dirty_evictions, 2U);
  EXPECT_EQ(stats.dirty_at_end, 0U);
  EXPECT_EQ(belady(trace, 3, 3).dirty_at_end, 2U);
  EXPECT_EQ(belady({}, 0, 1), BeladyStats{});
}

// Goal:   no choice of victims has fewer misses.
// Method: small traces, all choices tried.
TEST(BeladyTest, EqualsTheBestOfAllChoices) {
  Prng random(testing::test_seed());
  for (int run = 0; run < 200; ++run) {
    const Trace trace = random_trace(random, 24, 6);
    const std::size_t memory_pages = 1 + random.below(4);
    Exhaustive exhaustive(trace, memory_pages);
    EXPECT_EQ(belady(trace, 6, memory_pages).misses, exhaustive.misses_from(0, {})) << run;
  }
}

// Goal:   it is a bound for every policy, also where its heap is tidied many times.
TEST(BeladyTest, NoPolicyHasFewerMisses) {
  constexpr std::uint32_t kPages = 3000;
  const SyntheticSource source({.workload = {WorkloadPart{}}, .pages = kPages, .accesses = 1});
  Prng random(testing::test_seed());
  const Trace trace = random_trace(random, 100'000, kPages);
  for (const std::uint32_t memory_pages : {10U, 300U, 2000U}) {
    const BeladyStats best = belady(trace, kPages, memory_pages);
    EXPECT_EQ(best.hits + best.misses, trace.size());
    for (const PolicyKind kind :
         {PolicyKind::kFifo, PolicyKind::kClock, PolicyKind::kS3Fifo, PolicyKind::kLru}) {
      CacheSimulation simulation(
          {.memory_pages = memory_pages, .hits = HitReports::kEach}, source, [&](PageHost& host) {
            return make_replacement({.kind = kind, .pages_max = memory_pages}, host);
          });
      simulation.run(trace);
      EXPECT_LT(best.misses, simulation.stats().misses) << name_of(kind);
    }
  }
}

}  // namespace
}  // namespace quire
