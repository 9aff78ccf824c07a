// SPDX-License-Identifier: Apache-2.0
#include "quire/policy/internal/page_queue.h"

#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <vector>

#include "quire/base/prng.h"
#include "quire/testing/seed.h"

namespace quire::internal {
namespace {

constexpr std::size_t kQueues = 3;

// A queue beside a deque that does the same, and a count for the watch line.
struct Pair {
  PageQueue queue;
  std::deque<PageId> model;
  std::size_t watched = 0;

  void push(PageId page) {
    queue.push_head(page);
    model.push_back(page);
  }
  PageId pop() {
    const PageId page = queue.pop_tail();
    EXPECT_EQ(page, model.front());
    model.pop_front();
    watched -= watched > 0 ? 1 : 0;
    return page;
  }
  void watch(std::size_t count) {
    std::vector<PageId> pages(count);
    pages.resize(queue.next_unwatched(pages));
    EXPECT_EQ(pages.size(), std::min(count, model.size() - watched));
    for (const PageId page : pages) {
      EXPECT_EQ(page, model[watched++]);
    }
  }
  void drop(std::uint64_t divisor, std::uint64_t rest) {
    const auto keep = [=](PageId page) { return page % divisor != rest; };
    queue.keep_if(keep);
    std::deque<PageId> kept;
    std::size_t kept_watched = 0;
    for (std::size_t i = 0; i < model.size(); ++i) {
      if (keep(model[i])) {
        kept.push_back(model[i]);
        kept_watched += i < watched ? 1 : 0;
      }
    }
    model = kept;
    watched = kept_watched;
  }
  void compare() const {
    ASSERT_EQ(queue.size(), model.size());
    ASSERT_EQ(queue.watched(), watched);
    std::size_t i = 0;
    PageId last = 0;
    queue.for_each([&](PageId page) {
      last = page;
      const bool is_same = page == model[i];
      ++i;
      return is_same;
    });
    ASSERT_EQ(i, model.size());
    ASSERT_TRUE(i == 0 || last == model.back());
  }
};

// Goal:   queues that share a pool keep their order and their watch lines, whatever is done to
//         them, and a pool made for so many entries is enough for them however they are spread.
// Method: random operations, filling up to the limit, beside deques.
TEST(PageQueueTest, SharedQueuesEqualDeques) {
  Prng random(testing::test_seed());
  for (const std::size_t entries_max : {1U, 64U, 500U}) {
    PagePool pool(entries_max, kQueues);
    std::array<Pair, kQueues> pairs{Pair{PageQueue(pool), {}}, Pair{PageQueue(pool), {}},
                                    Pair{PageQueue(pool), {}}};
    std::size_t entries = 0;
    PageId page = 0;
    for (int step = 0; step < 40'000; ++step) {
      Pair& pair = pairs[random.below(kQueues)];
      const bool is_growing = step / 2'000 % 2 == 0;
      const std::uint64_t choice = random.below(100);
      if (choice < (is_growing ? 60U : 30U)) {
        if (entries < entries_max) {
          pair.push(page++);
          ++entries;
        }
      } else if (choice < 80) {
        if (!pair.model.empty()) {
          pairs[random.below(kQueues)].push(pair.pop());  // From one to another, or round.
        }
      } else if (choice < 90) {
        if (!pair.model.empty()) {
          pair.pop();
          --entries;
        }
      } else if (choice < 98) {
        pair.watch(random.below(100));
      } else {
        const std::size_t before = pair.model.size();
        const std::uint64_t divisor = 1 + random.below(5);
        pair.drop(divisor, random.below(divisor));
        entries -= before - pair.model.size();
      }
      ASSERT_NO_FATAL_FAILURE(pair.compare()) << "step " << step;
    }
  }
}

TEST(PageQueueTest, APoolNeedsLittleMoreThanEightBytesAnEntry) {
  const PagePool pool(1 << 20, 4);
  EXPECT_LT(pool.bytes(), (1U << 20) * 8 * 102 / 100);
}

}  // namespace
}  // namespace quire::internal
