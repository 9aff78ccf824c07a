// SPDX-License-Identifier: Apache-2.0
//
// Threads that store and commit at the same time: no store is lost, and what a thread stored before
// its commit() is in that commit.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "quire/base/prng.h"
#include "quire/testing/seed.h"
#include "quire/testing/temp_dir.h"
#include "quire/tracked/tracked_mapping.h"

namespace quire {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kPages = 16;
constexpr std::size_t kThreads = 3;

class TrackedRaceTest : public ::testing::Test {
 protected:
  TrackedMapping open() const {
    return quire::map(path_, {.access = Access::kReadWrite,
                              .commit = Commit::kAtomic,
                              .create = true,
                              .minimum_bytes = kPages * kPage,
                              .journal = {.log_bytes = 2_MiB}})
        .value();
  }

  // A word of each thread in each page.
  static std::uint64_t offset_of(std::uint64_t page, std::size_t thread) {
    return page * kPage + 512 * thread;
  }
  static std::uint64_t load(std::span<const std::byte> bytes, std::uint64_t page,
                            std::size_t thread) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + offset_of(page, thread), sizeof word);
    return word;
  }
  static void store(TrackedMapping& map, std::uint64_t page, std::size_t thread,
                    std::uint64_t value) {
    *reinterpret_cast<volatile std::uint64_t*>(map.bytes().data() + offset_of(page, thread)) =
        value;
  }

  const testing::TempDir directory_;
  const std::string path_ = directory_.file("state");
};

// Goal:   stores that race with commits land in one or in the next; those before it are in it.
// Method: each thread counts up in all pages; before each commit the counts are noted, and the
//         commit must hold at least those. In the end everything must be there.
TEST_F(TrackedRaceTest, NoStoreIsLostToACommitUnderWay) {
  using Counts = std::array<std::array<std::atomic<std::uint64_t>, kThreads>, kPages>;
  Counts counts{};
  {
    TrackedMapping map = open();
    std::atomic<bool> is_over{false};
    std::vector<std::thread> threads;
    for (std::size_t thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] {
        Prng random(testing::test_seed() + thread);
        while (!is_over.load()) {
          const std::uint64_t page = random.below(kPages);
          const std::uint64_t next = counts[page][thread].load() + 1;
          store(map, page, thread, next);
          counts[page][thread].store(next);
        }
      });
    }
    for (int i = 0; i < 60; ++i) {
      std::array<std::array<std::uint64_t, kThreads>, kPages> before{};
      for (std::uint64_t page = 0; page < kPages; ++page) {
        for (std::size_t thread = 0; thread < kThreads; ++thread) {
          before[page][thread] = counts[page][thread].load();
        }
      }
      if (i % 3 == 0) {
        EXPECT_TRUE(map.commit_async().value().wait().has_value());
      } else {
        EXPECT_TRUE(map.commit().has_value());
      }
      const Mapping committed = map.snapshot().value().copy().value();
      for (std::uint64_t page = 0; page < kPages; ++page) {
        for (std::size_t thread = 0; thread < kThreads; ++thread) {
          EXPECT_GE(load(committed.bytes(), page, thread), before[page][thread]);
        }
      }
    }
    is_over.store(true);
    for (std::thread& thread : threads) {
      thread.join();
    }
    ASSERT_TRUE(map.commit().has_value());
  }
  const TrackedMapping map = open();
  for (std::uint64_t page = 0; page < kPages; ++page) {
    for (std::size_t thread = 0; thread < kThreads; ++thread) {
      EXPECT_EQ(load(map.bytes(), page, thread), counts[page][thread].load());
    }
  }
}

TEST_F(TrackedRaceTest, EveryCommitterFindsItsStoresCommitted) {
  TrackedMapping map = open();
  constexpr std::uint64_t kCommits = 40;
  std::vector<std::thread> threads;
  for (std::size_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (std::uint64_t i = 1; i <= kCommits; ++i) {
        store(map, thread, thread, i);
        EXPECT_TRUE(map.commit().has_value());
        std::array<std::byte, sizeof i> found{};
        EXPECT_TRUE(map.snapshot().value().read(offset_of(thread, thread), found).has_value());
        std::uint64_t word = 0;
        std::memcpy(&word, found.data(), sizeof word);
        EXPECT_GE(word, i);
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  const TrackedStats stats = map.stats();
  EXPECT_EQ(stats.commits + stats.empty_commits + stats.shared_commits, 1 + kThreads * kCommits);
}

}  // namespace
}  // namespace quire
