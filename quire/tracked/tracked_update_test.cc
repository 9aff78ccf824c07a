// SPDX-License-Identifier: Apache-2.0
//
// Updates of a tracked mapping: stores that no commit cuts in two, and commits that threads share.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "quire/base/prng.h"
#include "quire/sys/call.h"
#include "quire/testing/process.h"
#include "quire/testing/seed.h"
#include "quire/testing/temp_dir.h"
#include "quire/tracked/tracked_mapping.h"

namespace quire {
namespace {

constexpr std::uint64_t kPage = 4096;

TrackedMapping open_state(const std::string& path, std::uint64_t size_bytes,
                          std::uint64_t log_bytes, std::uint64_t drop_past_bytes = kToEnd) {
  return quire::map(path,
                    {.access = Access::kReadWrite,
                     .commit = Commit::kAtomic,
                     .create = true,
                     .minimum_bytes = size_bytes,
                     .drop_past_bytes = drop_past_bytes,
                     .journal = {.log_bytes = log_bytes, .full_wait_max = std::chrono::hours(1)}})
      .value();
}

class TrackedUpdateTest : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kSizeBytes = 900_KiB;
  static constexpr std::uint64_t kLogBytes = 1_MiB;

  static void put(TrackedMapping& map, std::uint64_t offset, char text) {
    map.bytes()[offset] = static_cast<std::byte>(text);
  }
  // Nothing where the last commit has a zero there.
  static char committed_at(const TrackedMapping& map, std::uint64_t offset) {
    std::byte found{};
    EXPECT_EQ(map.snapshot().value().read(offset, {&found, 1}).value(), 1U);
    return std::to_integer<char>(found);
  }

  const testing::TempDir directory_;
  const std::string path_ = directory_.file("state");
};

// A thread that commits, and whose commit's write waits for room in the log until it is released.
class HeldCommit {
 public:
  // Changes, and commits, the first `bytes` bytes twice: 'a', then 'b', which is held.
  // REQUIRES: a new mapping; the log has room for one of the two, but not for both.
  HeldCommit(TrackedMapping& map, std::uint64_t bytes) : holds_the_log_(map.snapshot().value()) {
    std::ranges::fill(map.bytes().first(bytes), std::byte{'a'});
    EXPECT_TRUE(map.commit().has_value());
    std::ranges::fill(map.bytes().first(bytes), std::byte{'b'});
    const std::uint64_t waits = map.stats().journal.full_waits;
    thread_ = std::thread([&map] { EXPECT_TRUE(map.commit().has_value()); });
    while (map.stats().journal.full_waits == waits) {
      std::this_thread::yield();
    }
  }
  ~HeldCommit() { release(); }
  HeldCommit(const HeldCommit&) = delete;
  HeldCommit& operator=(const HeldCommit&) = delete;

  // Comes back when it has committed.
  void release() {
    holds_the_log_.reset();
    if (thread_.joinable()) {
      thread_.join();
    }
  }

 private:
  std::optional<TrackedSnapshot> holds_the_log_;
  std::thread thread_;
};

// A thread that does something for which it sleeps now, until an update ends or may begin.
// REQUIRES: nobody else waits for such; the plan was installed for this.
template <typename Work>
std::thread sleeping_thread(const sys::FaultPlan& plan, Work work) {
  std::thread thread(std::move(work));
  while (plan.count(sys::Call::kFutex) == 0) {
    std::this_thread::yield();
  }
  return thread;
}

TEST_F(TrackedUpdateTest, WhoIsInsideOfAnUpdateMayAskWhileACommitWaitsForIt) {
  TrackedMapping map = open_state(path_, kSizeBytes, kLogBytes);
  const sys::FaultPlan plan({});
  Result<CommitReceipt> outcome;
  std::thread committer;
  {
    const Update update = map.begin_update();
    put(map, 0, 'x');
    committer = sleeping_thread(plan, [&] { outcome = map.commit(); });
    EXPECT_EQ(map.resident().value().size_bytes, kSizeBytes);
    EXPECT_NE(map.explain(), "");
    EXPECT_EQ(map.stats().commits, 1U);
    EXPECT_TRUE(map.check().has_value());
    EXPECT_EQ(committed_at(map, 0), '\0');
    EXPECT_TRUE(map.checkpoint().has_value());
  }
  committer.join();
  EXPECT_EQ(outcome.value().pages, 1U);
  EXPECT_EQ(committed_at(map, 0), 'x');
}

TEST_F(TrackedUpdateTest, InsideOfAnUpdateItsThreadCommitsAndChangesNothing) {
  TrackedMapping map = open_state(path_, kSizeBytes, kLogBytes);
  TrackedMapping other = open_state(directory_.file("other"), kPage, kLogBytes);
  put(map, 0, 'x');
  {
    const Update update = map.begin_update();
    const auto expect_refused = [](const auto& outcome) {
      ASSERT_FALSE(outcome.has_value());
      EXPECT_EQ(outcome.error().code(), Errc::kFailed) << outcome.error().message();
    };
    expect_refused(map.commit());
    expect_refused(map.commit_async());
    expect_refused(map.flush());
    expect_refused(map.rollback());
    expect_refused(map.resize(kPage));
    expect_refused(map.close());
    expect_refused(other.commit());
    EXPECT_EQ(map.flush(kWholeFile, Durability::kStarted).error().code(), Errc::kUnsupported);
  }
  EXPECT_EQ(map.size_bytes(), kSizeBytes);
  EXPECT_EQ(map.bytes()[0], std::byte{'x'});
  EXPECT_EQ(committed_at(map, 0), '\0');
  const TrackedStats stats = map.stats();
  EXPECT_EQ(stats.commits + stats.empty_commits + stats.failed_commits + stats.rollbacks, 1U);
  EXPECT_EQ(map.commit().value().pages, 1U);
  EXPECT_TRUE(other.commit().has_value());
  EXPECT_TRUE(map.close().has_value());
  const Update of_nothing = map.begin_update();
  EXPECT_TRUE(other.commit().has_value());
}

// Method: the commit waits for the update between its two stores.
TEST_F(TrackedUpdateTest, ACommitHasAllOfAnUpdateThatItWaitedFor) {
  for (const bool is_async : {false, true}) {
    TrackedMapping map = open_state(path_, kSizeBytes, kLogBytes);
    const sys::FaultPlan plan({});
    std::thread committer;
    {
      const Update update = map.begin_update();
      put(map, 0, is_async ? 'A' : 'a');
      committer = sleeping_thread(plan, [&] {
        EXPECT_TRUE(is_async ? map.commit_async().value().wait().has_value()
                             : map.commit().has_value());
      });
      put(map, kPage, is_async ? 'B' : 'b');
    }
    committer.join();
    EXPECT_EQ(committed_at(map, 0), is_async ? 'A' : 'a');
    EXPECT_EQ(committed_at(map, kPage), is_async ? 'B' : 'b');
    ASSERT_TRUE(map.close().has_value());
  }
}

TEST_F(TrackedUpdateTest, UpdatesGoOnWhileASmallCommitIsWritten) {
  TrackedMapping map = open_state(path_, kSizeBytes, kLogBytes);
  {
    const Update first = map.begin_update();
  }
  HeldCommit held(map, 600_KiB);
  {
    const Update update = map.begin_update();
    put(map, 0, 'x');
    put(map, 599_KiB, 'y');
  }
  EXPECT_EQ(committed_at(map, 0), 'a');
  held.release();
  EXPECT_EQ(committed_at(map, 0), 'b');
  EXPECT_EQ(committed_at(map, 599_KiB), 'b');
  EXPECT_EQ(map.commit().value().pages, 2U);
  EXPECT_EQ(committed_at(map, 599_KiB), 'y');
}

TEST_F(TrackedUpdateTest, UpdatesWaitWhileALargeCommitIsWritten) {
  constexpr std::uint64_t kLargeBytes = TrackedMapping::kCopiedBytesMax + kPage;
  const sys::FaultPlan plan({});
  TrackedMapping map = open_state(path_, kLargeBytes, kLargeBytes + 1_MiB);
  {
    const Update first = map.begin_update();
  }
  HeldCommit held(map, kLargeBytes);
  std::atomic<bool> has_begun{false};
  std::thread updater = sleeping_thread(plan, [&] {
    const Update update = map.begin_update();
    has_begun = true;
    put(map, 0, 'x');
  });
  EXPECT_FALSE(has_begun);
  held.release();
  updater.join();
  EXPECT_EQ(committed_at(map, 0), 'b');
  EXPECT_EQ(map.commit().value().pages, 1U);
}

// Method: a commit is held at the log; others line up behind it; then it goes on.
TEST_F(TrackedUpdateTest, CommitsThatWaitTogetherAreOne) {
  constexpr std::uint64_t kFollowers = 4;
  TrackedMapping map = open_state(path_, kSizeBytes, kLogBytes);
  {
    const Update first = map.begin_update();
  }
  HeldCommit held(map, 600_KiB);
  const TrackedStats before = map.stats();
  std::vector<std::thread> followers;
  for (std::uint64_t i = 0; i < kFollowers; ++i) {
    followers.emplace_back([&, i] {
      {
        const Update update = map.begin_update();
        put(map, i * kPage, 'x');
      }
      EXPECT_EQ(map.commit().value().pages, kFollowers);
      EXPECT_EQ(committed_at(map, i * kPage), 'x');
    });
  }
  while (map.stats().waiting_commits < kFollowers) {
    std::this_thread::yield();
  }
  EXPECT_EQ(committed_at(map, 0), 'a');
  held.release();
  std::ranges::for_each(followers, &std::thread::join);
  const TrackedStats after = map.stats();
  EXPECT_EQ(after.commits - before.commits, 2U);
  EXPECT_EQ(after.shared_commits - before.shared_commits, kFollowers - 1);
  EXPECT_EQ(after.journal.commits - before.journal.commits, 2U);
  EXPECT_EQ(after.waiting_commits, 0U);
}

// Goal:   the error of a commit is its caller's; those who waited behind it try themselves.
// Method: it waits for an update, and they for it; then it can't ask what was stored to.
TEST_F(TrackedUpdateTest, ACommitThatFailsLeavesThoseBehindItToTheNext) {
  constexpr std::uint64_t kFollowers = 3;
  TrackedMapping map = open_state(path_, kSizeBytes, kLogBytes);
  if (map.explain().find("compares") != std::string::npos) {
    GTEST_SKIP() << "notes about stores: " << map.explain();
  }
  const TrackedStats before = map.stats();
  const sys::FaultPlan plan({.call = sys::Call::kPageScan, .error = ENOMEM});
  Result<CommitReceipt> failed;
  std::vector<std::thread> threads;
  {
    const Update update = map.begin_update();
    put(map, 0, 'x');
    threads.push_back(sleeping_thread(plan, [&] { failed = map.commit(); }));
    for (std::uint64_t i = 0; i < kFollowers; ++i) {
      threads.emplace_back([&] {
        EXPECT_TRUE(map.commit().has_value());
        EXPECT_EQ(committed_at(map, 0), 'x');
      });
    }
    while (map.stats().waiting_commits < kFollowers) {
      std::this_thread::yield();
    }
  }
  std::ranges::for_each(threads, &std::thread::join);
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().code(), std::errc::not_enough_memory);
  const TrackedStats after = map.stats();
  EXPECT_EQ(after.commits - before.commits, 1U);
  EXPECT_EQ(after.shared_commits - before.shared_commits, kFollowers - 1);
}

// Goal:   a child is refused at once, though the locks that it has got are held by threads that it
//         has not.
// Method: fork while a commit is being written that keeps updates waiting.
TEST_F(TrackedUpdateTest, AChildForkedDuringACommitIsRefusedAtOnce) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "fork beside threads: gcc's sanitizers do not survive it";
#endif
  TrackedMapping map = open_state(path_, kSizeBytes, kLogBytes);
  HeldCommit held(map, 600_KiB);
  const testing::ChildEnd end = testing::Child([&] {
                                  const auto is_refused = [](const auto& outcome) {
                                    return !outcome && outcome.error().code() == Errc::kUnsupported;
                                  };
                                  {
                                    const Update update = map.begin_update();
                                  }
                                  const bool are_all =
                                      is_refused(map.commit()) && is_refused(map.commit_async()) &&
                                      is_refused(map.flush()) && is_refused(map.resize(kPage)) &&
                                      is_refused(map.rollback()) && is_refused(map.check());
                                  ::_exit(are_all ? 0 : 1);
                                  return 1;
                                }).join();
  EXPECT_EQ(end.exit_code, 0);
  held.release();
  EXPECT_EQ(committed_at(map, 0), 'b');
}

// --- Threads that move amounts between accounts, all of them in updates --------------------------

enum class How : std::uint8_t { kCommit, kAsync, kByTurns };

struct Case {
  const char* name;
  How how = How::kCommit;
  std::uint64_t ballast_bytes = 0;  // Stored to before each commit.
  std::uint64_t drop_past_bytes = kToEnd;
};

class TrackedBankTest : public ::testing::TestWithParam<Case> {
 protected:
  static constexpr std::uint64_t kAccounts = 24;  // Each in a page of its own; ballast behind them.
  static constexpr std::uint64_t kThreads = 4;
  static constexpr std::uint64_t kAmount = 1000;  // In each account, at first.

  TrackedMapping open() const {
    return open_state(path_, size_bytes(), 4_MiB + 2 * GetParam().ballast_bytes,
                      GetParam().drop_past_bytes);
  }
  static std::uint64_t size_bytes() { return kAccounts * kPage + GetParam().ballast_bytes; }
  static std::atomic_ref<std::uint64_t> word_at(TrackedMapping& map, std::uint64_t page) {
    return std::atomic_ref(*reinterpret_cast<std::uint64_t*>(map.bytes().data() + page * kPage));
  }

  static void move_amount(TrackedMapping& map, Prng& random) {
    const Update update = map.begin_update();
    const std::uint64_t amount = random.below(100);
    word_at(map, random.below(kAccounts)).fetch_sub(amount);
    if (random.below(16) == 0) {
      std::this_thread::yield();  // In the middle.
    }
    word_at(map, random.below(kAccounts)).fetch_add(amount);
  }
  static void store_to_ballast(TrackedMapping& map) {
    const Update update = map.begin_update();
    for (std::uint64_t page = kAccounts; page < size_bytes() / kPage; ++page) {
      word_at(map, page).fetch_add(1);
    }
  }
  static void commit(TrackedMapping& map, std::uint64_t turn) {
    const How how = GetParam().how;
    if (how == How::kCommit || (how == How::kByTurns && turn % 2 == 0)) {
      EXPECT_TRUE(map.commit().has_value());
    } else {
      EXPECT_TRUE(map.commit_async().value().wait().has_value());
    }
  }
  // What was committed as a whole is still whole.
  static void expect_whole(std::span<const std::byte> bytes) {
    std::uint64_t sum = 0;
    std::optional<std::uint64_t> ballast;
    for (std::uint64_t page = 0; page < bytes.size() / kPage; ++page) {
      std::uint64_t word = 0;
      std::memcpy(&word, bytes.data() + page * kPage, sizeof word);
      if (page < kAccounts) {
        sum += word;
      } else {
        EXPECT_EQ(word, ballast.value_or(word)) << page;
        ballast = word;
      }
    }
    EXPECT_EQ(sum, kAccounts * kAmount);
  }
  static void expect_whole_commit(const TrackedMapping& map) {
    const Mapping committed = map.snapshot().value().copy().value();
    ASSERT_EQ(committed.size_bytes(), size_bytes());
    expect_whole(committed.bytes());
  }

  static void work(TrackedMapping& map, std::uint64_t thread) {
    const std::uint64_t commits = GetParam().ballast_bytes > 0 ? 5 : 40;
    Prng random(testing::test_seed() + thread);
    for (std::uint64_t turn = 0; turn < commits && !HasFailure(); ++turn) {
      for (std::uint64_t moves = 1 + random.below(30); moves > 0; --moves) {
        move_amount(map, random);
      }
      store_to_ballast(map);
      commit(map, turn + thread);
      expect_whole_commit(map);
    }
  }

  const testing::TempDir directory_;
  const std::string path_ = directory_.file("accounts");
};

// Goal:   whatever is committed when, by whom and how: no coin is lost or made.
TEST_P(TrackedBankTest, EachCommitHasWholeUpdates) {
  {
    TrackedMapping map = open();
    for (std::uint64_t account = 0; account < kAccounts; ++account) {
      word_at(map, account).store(kAmount);
    }
    ASSERT_TRUE(map.commit().has_value());
    std::vector<std::thread> threads;
    for (std::uint64_t thread = 0; thread < kThreads; ++thread) {
      threads.emplace_back([&, thread] { work(map, thread); });
    }
    std::ranges::for_each(threads, &std::thread::join);
    for (std::uint64_t account = 0; account < kAccounts; ++account) {
      const Update update = map.begin_update();
      word_at(map, account).fetch_add(0);
    }
    ASSERT_TRUE(map.commit().has_value());
    EXPECT_EQ(map.stats().drops > 0, GetParam().drop_past_bytes != kToEnd);
    expect_whole(map.bytes());
  }
  const TrackedMapping map = open();
  expect_whole(map.bytes());
}

constexpr std::uint64_t kLarge = TrackedMapping::kCopiedBytesMax;
constexpr std::uint64_t kSoon = 8 * kPage;

INSTANTIATE_TEST_SUITE_P(
    Commits, TrackedBankTest,
    ::testing::Values(Case{"Small", How::kCommit}, Case{"SmallAsync", How::kAsync},
                      Case{"SmallByTurns", How::kByTurns}, Case{"Large", How::kCommit, kLarge},
                      Case{"LargeAsync", How::kAsync, kLarge},
                      Case{"LargeByTurns", How::kByTurns, kLarge},
                      Case{"Dropping", How::kCommit, 0, kSoon},
                      Case{"DroppingByTurns", How::kByTurns, 0, kSoon},
                      Case{"LargeDroppingByTurns", How::kByTurns, kLarge, kSoon}),
    [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace quire
