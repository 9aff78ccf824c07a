// SPDX-License-Identifier: Apache-2.0
//
// What is on the disk after a crash at any moment; see internal/crash_search_test.h. In a soak
// (testing/soak.h) the searches go on with fresh seeds.
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "quire/journal/internal/crash_search_test.h"
#include "quire/journal/internal/journal_fixture_test.h"
#include "quire/testing/seed.h"
#include "quire/testing/soak.h"

namespace quire {
namespace {

using internal::CrashSearch;
using internal::CrashSearchOptions;

// For everything at once, or for two pages at a time.
std::uint64_t memory_of(std::uint64_t seed) {
  return seed % 3 == 0 ? 1_MiB : 2 * internal::kTestPageBytes;
}

// Runs `search` on so many seeds, and on those of a soak. Returns how many states it has looked at.
std::uint64_t search_seeds(std::uint64_t seeds,
                           const std::function<std::uint64_t(std::uint64_t)>& search) {
  std::uint64_t states = 0;
  testing::soak(seeds, [&](std::uint64_t seed) { states += search(seed); });
  ::testing::Test::RecordProperty("states", std::to_string(states));
  return states;
}

// Goal:   whatever a crash leaves, the files hold the last acknowledged commit or the next, whole.
// Method: random commits, rollbacks, resizes, checkpoints and reopenings of two files; a crash
//         before and after every operation, losing, reordering and tearing what was not flushed.
TEST(JournalCrashTest, EveryCrashLeavesAnAllowedGeneration) {
  const std::uint64_t states = search_seeds(36, [](std::uint64_t seed) {
    CrashSearch search(
        {.seed = seed, .has_durable_log = seed % 2 == 0, .recovery_memory_bytes = memory_of(seed)});
    EXPECT_EQ(search.run(1000), "");
    EXPECT_GT(search.generation_count(), 5U);
    return search.state_count();
  });
  EXPECT_GT(states, 20'000U);
}

class CheckpointedRecordTest : public internal::JournalFixture {};

// Goal:   a record that is in the log only because an older one is needed does not undo what a
//         checkpoint has put into the file since.
// Method: an uncommitted image of one file holds the tail; the other one's image is committed, cut
//         off by the next commit, checkpointed, and its place comes back with a later one.
TEST_F(CheckpointedRecordTest, IsNotReplayed) {
  make(2);
  const auto commit_first = [&] {
    const FileCommit first{.file = 0};
    return journal_->commit({&first, 1});
  };
  ASSERT_TRUE(file(0).resize(8 * internal::kTestPageBytes).has_value());
  ASSERT_TRUE(commit_first().has_value());
  ASSERT_TRUE(journal_->checkpoint().has_value());
  write_page(1, 0x22);  // What the next checkpoint gives back, so that it moves the tail.
  ASSERT_TRUE(commit_first().has_value());
  write_page(0, 0x11, 1);
  write_page(3, 0x75);
  ASSERT_TRUE(commit_first().has_value());
  ASSERT_TRUE(file(0).resize(100).has_value());
  ASSERT_TRUE(commit_first().has_value());
  ASSERT_TRUE(journal_->checkpoint().has_value());
  write_page(7, 0xa4);
  ASSERT_TRUE(commit_first().has_value());
  open();
  EXPECT_EQ(value_at(3), 0);
  EXPECT_EQ(value_at(7), 0xa4);
  EXPECT_EQ(value_at(0, 1), -1);
}

TEST(JournalCrashTest, ACrashInTheMiddleOfRecoveryIsRecoveredFrom) {
  const std::uint64_t states = search_seeds(8, [](std::uint64_t seed) {
    CrashSearch search({.seed = seed,
                        .steps = 40,
                        .has_durable_log = seed % 2 == 0,
                        .recovery_memory_bytes = memory_of(seed)});
    EXPECT_EQ(search.run_nested(500), "");
    return search.state_count();
  });
  EXPECT_GT(states, 3'000U);
}

// --- Mutants: would the search notice? -----------------------------------------------------------

// How many of some seeds find something wrong.
int count_caught(CrashSearchOptions options) {
  int caught = 0;
  for (std::uint64_t i = 0; i < 6; ++i) {
    options.seed = testing::test_seed() + i;
    CrashSearch search(options);
    caught += search.run(1500).empty() ? 0 : 1;
  }
  return caught;
}

TEST(JournalCrashMutantTest, AJournalThatDoesNotFlushIsCaught) {
  EXPECT_GT(count_caught({.disk = {.forgets_flushes = true}}), 0);
  EXPECT_GT(count_caught({.has_durable_log = false, .disk = {.forgets_flushes = true}}), 0);
}

TEST(JournalCrashMutantTest, ASuperblockWrittenBeforeTheDataIsCaught) {
  EXPECT_GT(count_caught({.disk = {.hurries_below_bytes = 32 * 1024}}), 0);
}

TEST(JournalCrashMutantTest, ARecoveryThatIgnoresChecksumsIsCaught) {
  EXPECT_GT(count_caught({.verification = internal::Verification::kHeaders}), 0);
}

}  // namespace
}  // namespace quire
