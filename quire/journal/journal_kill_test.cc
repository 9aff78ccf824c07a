// SPDX-License-Identifier: Apache-2.0
//
// Processes that are killed while several threads commit through one journal. Each thread counts in
// a page of its own in each of two files, always both with one commit; one of them does not wait,
// one writes before it commits, and all of them go round a log that needs checkpoints. Soaks
// (testing/soak.h) kill on and on.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <string>
#include <thread>
#include <vector>

#include "quire/base/prng.h"
#include "quire/journal/journal_file.h"
#include "quire/journal/journaled_store.h"
#include "quire/testing/process.h"
#include "quire/testing/shared_memory.h"
#include "quire/testing/soak.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

constexpr std::uint64_t kPageBytes = 4096;
constexpr std::size_t kThreads = 4;
constexpr std::size_t kWriter = kThreads - 1;  // Has files of its own: it writes before it commits.
constexpr std::size_t kFiles = 4;              // Two of them of the writer.
constexpr std::uint64_t kFileBytes = kThreads * kPageBytes;

JournalFileOptions options() {
  return {.create = true, .journal = {.log_bytes = 256 * 1024}};
}

// What the threads have been told, in memory that outlives their process.
struct Told {
  std::array<std::atomic<std::uint64_t>, kThreads> acknowledged{};
  std::array<std::atomic<std::uint64_t>, kThreads> attempted{};
  std::atomic<std::uint64_t> commits{0};
};

struct Place {
  std::size_t file = 0;
  std::uint64_t offset_bytes = 0;
};

std::array<Place, 2> places_of(std::size_t thread) {
  const std::size_t first = thread == kWriter ? 2 : 0;
  return {Place{first, thread * kPageBytes}, Place{first + 1, (kWriter - thread) * kPageBytes}};
}

std::uint64_t count_at(Journal& journal, Place place) {
  std::uint64_t count = 0;
  journal.file(place.file)
      .read(place.offset_bytes, std::as_writable_bytes(std::span(&count, 1)))
      .value();
  return count;
}

// Every word of the page has the count, so that a torn one shows.
using Page = std::array<std::uint64_t, kPageBytes / sizeof(std::uint64_t)>;

Result<void> commit_images(Journal& journal, const std::array<Place, 2>& places, const Page& page,
                           bool waits) {
  std::array<PageImages, 2> images{};
  std::array<FileCommit, 2> parts{};
  for (std::size_t i = 0; i < 2; ++i) {
    images.at(i) = {.offset_bytes = places.at(i).offset_bytes,
                    .bytes = std::as_bytes(std::span(page))};
    parts.at(i) = {.file = places.at(i).file, .images = {&images.at(i), 1}};
  }
  if (!waits) {
    return QUIRE_TRY(journal.commit_async(parts)).wait();
  }
  QUIRE_TRY(journal.commit(parts));
  return {};
}

Result<void> commit_written(Journal& journal, const std::array<Place, 2>& places,
                            const Page& page) {
  std::array<FileCommit, 2> parts{};
  for (std::size_t i = 0; i < 2; ++i) {
    parts.at(i) = {.file = places.at(i).file};
    QUIRE_TRY(journal.file(places.at(i).file)
                  .write(places.at(i).offset_bytes, std::as_bytes(std::span(page))));
  }
  QUIRE_TRY(journal.commit(parts));
  return {};
}

void count_until_killed(Journal& journal, std::size_t thread, Told& told) {
  const std::array<Place, 2> places = places_of(thread);
  for (std::uint64_t count = count_at(journal, places[0]) + 1;; ++count) {
    Page page{};
    page.fill(count);
    told.attempted.at(thread).store(count);
    const Result<void> done = thread == kWriter ? commit_written(journal, places, page)
                                                : commit_images(journal, places, page, thread != 0);
    done.value();
    told.acknowledged.at(thread).store(count);
    told.commits.fetch_add(1);
  }
}

int work(const std::vector<std::string>& paths, Told& told) {
  const auto journal = open_journal(paths, options()).value();
  for (std::size_t file = 0; file < kFiles; ++file) {
    journal->file(file).resize(kFileBytes).value();
  }
  journal->commit().value();
  std::vector<std::jthread> threads;
  for (std::size_t thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] { count_until_killed(*journal, thread, told); });
  }
  return 1;  // Never: its threads do not end.
}

class JournalKillTest : public ::testing::Test {
 protected:
  JournalKillTest() {
    for (const char* name : {"a", "b", "c", "d"}) {
      paths_.push_back(directory_.file(name));
    }
  }

  void SetUp() override {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GTEST_SKIP() << "fork beside threads: gcc's sanitizers do not survive it";
#endif
  }

  // One child, killed at an instant that nobody chooses: after so many commits and a while more.
  void kill_one() {
    const std::uint64_t before = told_->commits.load();
    const testing::Child child([&] { return work(paths_, *told_); });
    const std::uint64_t commits = random_.below(40);
    while (told_->commits.load() < before + commits) {
      ASSERT_FALSE(child.has_ended()) << "it died before it was killed";
      std::this_thread::yield();
    }
    testing::kill_soon(child, random_, 400'000);
  }

  void expect_whole() {
    const auto journal = open_journal(paths_, options()).value();
    for (std::size_t thread = 0; thread < kThreads; ++thread) {
      const auto [first, second] = places_of(thread);
      const std::uint64_t count = count_at(*journal, first);
      ASSERT_EQ(count_at(*journal, second), count) << "thread " << thread;
      EXPECT_GE(count, told_->acknowledged.at(thread).load()) << "thread " << thread;
      EXPECT_LE(count, told_->attempted.at(thread).load()) << "thread " << thread;
      told_->acknowledged.at(thread).store(count);
      for (const Place& place : {first, second}) {
        Page page{};
        journal->file(place.file)
            .read(place.offset_bytes, std::as_writable_bytes(std::span(page)))
            .value();
        Page whole{};
        whole.fill(count);
        ASSERT_EQ(page, whole) << "thread " << thread;
      }
    }
    if (random_.below(4) == 0) {
      ASSERT_TRUE(journal->close().has_value());
    }
  }

  Prng random_{0};  // Anew in each round.
  const testing::TempDir directory_;
  std::vector<std::string> paths_;
  const testing::SharedMemory<Told> told_;
};

// Goal:   each thread's last acknowledged count is in both of its files, or the next in both.
TEST_F(JournalKillTest, KillsOfSeveralThreadsLoseNothing) {
  testing::soak(100, [this](std::uint64_t seed) {
    random_ = Prng(seed);
    kill_one();
    expect_whole();
  });
  EXPECT_GT(told_->commits.load(), 1000U);
  std::printf("%llu commits\n", static_cast<unsigned long long>(told_->commits.load()));
}

}  // namespace
}  // namespace quire
