// SPDX-License-Identifier: Apache-2.0
//
// Processes that are killed while they commit. Each test forks; the parent has no mapping then.
// Soaks (testing/soak.h) kill on and on.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdio>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "quire/base/prng.h"
#include "quire/testing/process.h"
#include "quire/testing/shared_memory.h"
#include "quire/testing/soak.h"
#include "quire/testing/temp_dir.h"
#include "quire/tracked/tracked_mapping.h"

namespace quire {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kPages = 24;

TrackedOptions options() {
  return {
      .access = Access::kReadWrite,
      .commit = Commit::kAtomic,
      .create = true,
      .reserve_bytes = 16_MiB,
      .journal = {.log_bytes = 512_KiB}};  // A few commits fill it: checkpoints are killed, too.
}

// What the child has been told, in memory that outlives it.
struct Told {
  std::atomic<std::uint64_t> acknowledged{0};  // A generation that commit() came back for.
  std::atomic<std::uint64_t> attempted{0};
};

std::uint64_t& word_of(TrackedMapping& map, std::uint64_t page) {
  return *reinterpret_cast<std::uint64_t*>(map.bytes().data() + page * kPage + 8 * page);
}

// The one generation that all pages carry; nothing when they differ.
std::optional<std::uint64_t> generation_of(TrackedMapping& map) {
  if (map.size_bytes() == 0) {
    return 0;
  }
  const std::uint64_t generation = word_of(map, 0);
  for (std::uint64_t at = 0; at * kPage < map.size_bytes(); ++at) {
    if (word_of(map, at) != generation) {
      return std::nullopt;
    }
  }
  return generation;
}

// The size goes with the generation, too.
std::uint64_t size_of(std::uint64_t generation) {
  return generation == 0 ? 0 : (kPages - generation % 5) * kPage;
}

// Stores a new generation everywhere and commits it, until it is killed.
int work(const std::string& path, Told& told, std::uint64_t seed) {
  Prng random(seed);
  TrackedMapping map = quire::map(path, options()).value();
  const auto store = [&](std::uint64_t generation) {
    map.resize(size_of(generation)).value();
    for (std::uint64_t page = 0; page * kPage < map.size_bytes(); ++page) {
      word_of(map, page) = generation;
    }
  };
  for (std::uint64_t generation = generation_of(map).value() + 1;; ++generation) {
    if (random.below(4) == 0) {
      store(~generation);
      map.rollback().value();
    }
    store(generation);
    told.attempted.store(generation);
    if (random.below(3) == 0) {
      map.commit_async().value().wait().value();
    } else {
      map.commit().value();
    }
    told.acknowledged.store(generation);
  }
}

class TrackedKillTest : public ::testing::Test {
 protected:
  void SetUp() override {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "fork beside threads: gcc's sanitizers do not survive it";
#endif
  }

  // One child, killed at an instant that nobody chooses: after so many commits and a while more.
  void kill_one() {
    const std::uint64_t before = told_->acknowledged.load();
    const testing::Child child([&] { return work(path_, *told_, random_()); });
    const std::uint64_t commits = random_.below(12);
    while (told_->acknowledged.load() < before + commits) {
      ASSERT_FALSE(child.has_ended()) << "it died before it was killed";
      std::this_thread::yield();
    }
    testing::kill_soon(child, random_, 200'000);
  }

  void expect_whole() {
    TrackedMapping map = quire::map(path_, options()).value();
    const std::optional<std::uint64_t> generation = generation_of(map);
    ASSERT_TRUE(generation.has_value()) << "pages of different generations";
    EXPECT_GE(*generation, told_->acknowledged.load());
    EXPECT_LE(*generation, told_->attempted.load());
    EXPECT_EQ(map.size_bytes(), size_of(*generation));
    told_->acknowledged.store(*generation);
    if (random_.below(4) == 0) {
      ASSERT_TRUE(map.close().has_value());
    }
  }

  Prng random_{0};  // Anew in each round.
  const testing::TempDir directory_;
  const std::string path_ = directory_.file("state");
  const testing::SharedMemory<Told> told_;
};

// Goal:   whoever is killed leaves one whole generation, at or after the last acknowledged one.
TEST_F(TrackedKillTest, EachKillLeavesOneGeneration) {
  testing::soak(100, [this](std::uint64_t seed) {
    random_ = Prng(seed);
    kill_one();
    expect_whole();
  });
  EXPECT_GT(told_->acknowledged.load(), 100u);
  std::printf("%llu commits\n", static_cast<unsigned long long>(told_->acknowledged.load()));
}

// --- Threads, each with a pair of words that only updates of its own store to --------------------

constexpr std::size_t kThreads = 3;

struct ToldToThreads {
  std::array<std::atomic<std::uint64_t>, kThreads> acknowledged{};
  std::array<std::atomic<std::uint64_t>, kThreads> attempted{};
  std::atomic<std::uint64_t> commits{0};
};

TrackedMapping map_pairs(const std::string& path) {
  TrackedOptions with_size = options();
  with_size.minimum_bytes = kPages * kPage;
  return quire::map(path, with_size).value();
}

std::uint64_t& first_of(TrackedMapping& map, std::size_t thread) {
  return word_of(map, thread);
}
std::uint64_t& second_of(TrackedMapping& map, std::size_t thread) {
  return word_of(map, kPages - 1 - thread);
}

// Stores new generations to a pair and commits some of them, until it is killed. The first thread
// commits all the time, so that the others are in the middle of something when it does.
void work_on_pair(TrackedMapping& map, ToldToThreads& told, std::size_t thread, Prng random) {
  for (std::uint64_t generation = first_of(map, thread) + 1;; ++generation) {
    told.attempted[thread].store(generation);
    {
      const Update update = map.begin_update();
      first_of(map, thread) = generation;
      std::this_thread::yield();  // In the middle.
      second_of(map, thread) = generation;
    }
    if (random.below(1 + 1000 * thread) > 0) {
      continue;  // Its next commit, or another thread's, takes it along.
    }
    if (random.below(3) == 0) {
      map.commit_async().value().wait().value();
    } else {
      map.commit().value();
    }
    told.acknowledged[thread].store(generation);
    ++told.commits;
  }
}

int work_on_pairs(const std::string& path, ToldToThreads& told, std::uint64_t seed) {
  TrackedMapping map = map_pairs(path);
  std::vector<std::thread> threads;
  for (std::size_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] { work_on_pair(map, told, thread, Prng(seed + thread)); });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  return 0;
}

void expect_whole_pairs(const std::string& path, ToldToThreads& told) {
  TrackedMapping map = map_pairs(path);
  for (std::size_t thread = 0; thread < kThreads; ++thread) {
    const std::uint64_t found = first_of(map, thread);
    ASSERT_EQ(found, second_of(map, thread)) << "an update was cut in two";
    EXPECT_GE(found, told.acknowledged[thread].load());
    EXPECT_LE(found, told.attempted[thread].load());
    told.acknowledged[thread].store(found);
  }
}

// Goal:   whoever is killed leaves whole updates of all threads, at or after the last acknowledged
//         ones.
TEST_F(TrackedKillTest, EachKillLeavesWholeUpdatesOfAllThreads) {
  const testing::SharedMemory<ToldToThreads> told;
  testing::soak(60, [&](std::uint64_t seed) {
    Prng random(seed);
    const std::uint64_t enough = told->commits.load() + random.below(24);
    {
      const testing::Child child([&] { return work_on_pairs(path_, *told, seed); });
      while (told->commits.load() < enough) {
        ASSERT_FALSE(child.has_ended()) << "it died before it was killed";
        std::this_thread::yield();
      }
      testing::kill_soon(child, random, 200'000);
    }
    expect_whole_pairs(path_, *told);
  });
  EXPECT_GT(told->commits.load(), 60u);
}

}  // namespace
}  // namespace quire
