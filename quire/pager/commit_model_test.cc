// SPDX-License-Identifier: Apache-2.0
//
// Random work on atomic areas against vectors of bytes: what is stored, what is committed, what a
// snapshot holds; much more dirty than the memory holds. In a soak (testing/soak.h) on and on, on
// fresh seeds.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "quire/base/prng.h"
#include "quire/testing/commit_fixture.h"
#include "quire/testing/soak.h"

namespace quire {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::size_t kAreas = 2;
constexpr std::uint64_t kBytesMax = 3_MiB;

class CommitModelTest : public testing::CommitTest {
 protected:
  struct View {
    PagedArea area;
    Bytes expected;
  };

  void run(std::uint64_t seed, int steps) {
    random_ = Prng(seed);
    journal_options_.log_bytes = 64_MiB;
    make(1_MiB + 100, kAreas);
    now_.assign(kAreas, Bytes(1_MiB + 100));
    committed_ = now_;
    pager_.emplace(PagerOptions{.memory_bytes = 1_MiB,
                                .fault_path = GetParam(),
                                .granule_bytes = random_.below(3) == 0 ? 16_KiB : 4_KiB,
                                .dirty_start_percent = random_.below(2) == 0 ? 20U : 80U,
                                .dirty_max_percent = 90});
    map_all();
    for (int i = 0; i < steps && !HasFailure(); ++i) {
      step();
      look();
      if (i % 15 == 14) {
        look_at_all();
      }
    }
    views_.clear();
    areas_.clear();
    EXPECT_LE(pager_->stats().taken_bytes_max, 1_MiB);
    pager_.reset();
    for (std::size_t i = 0; i < kAreas && !HasFailure(); ++i) {
      EXPECT_TRUE(committed(i) == committed_[i]) << "area " << i;
    }
  }

  [[nodiscard]] std::uint64_t spilled_bytes() const { return spilled_bytes_; }

 private:
  void map_all() {
    for (std::size_t i = 0; i < kAreas; ++i) {
      areas_.push_back(map(*pager_, i));
      ASSERT_EQ(areas_.back().size_bytes(), committed_[i].size());
    }
  }

  void step() {
    const std::size_t i = random_.below(kAreas);
    const std::uint64_t choice = random_.below(40);
    if (choice < 20) {
      store_some(i);
    } else if (choice < 26) {
      commit(i);
    } else if (choice < 28) {
      ASSERT_TRUE(areas_[i].rollback().has_value());
      now_[i] = committed_[i];
      ASSERT_EQ(areas_[i].size_bytes(), now_[i].size());
    } else if (choice < 31) {
      const std::uint64_t size = random_.below(kBytesMax);
      ASSERT_TRUE(areas_[i].resize(size).has_value());
      now_[i].resize(size);
    } else if (choice < 33) {
      views_.push_back({areas_[i].snapshot().value(), committed_[i]});
    } else if (choice < 35) {
      ASSERT_TRUE(areas_[i].evict().has_value());
    } else if (choice < 37) {
      ASSERT_TRUE(areas_[i].prefetch(kWholeFile).wait().has_value());
    } else if (choice < 38) {
      views_.clear();
      ASSERT_TRUE(journal_->checkpoint().has_value());
    } else {
      map_again(i);
    }
    if (views_.size() > 3) {
      views_.pop_front();
    }
  }

  void store_some(std::size_t i) {
    if (now_[i].empty()) {
      return;
    }
    const std::uint64_t at = random_.below(now_[i].size());
    const std::uint64_t most = random_.below(4) == 0 ? kBytesMax : 20'000;
    const std::uint64_t length =
        std::min<std::uint64_t>(random_.below(most) + 1, now_[i].size() - at);
    const auto value = static_cast<std::byte>(random_());
    std::memset(areas_[i].bytes().data() + at, static_cast<int>(value), length);
    std::memset(now_[i].data() + at, static_cast<int>(value), length);
  }

  void commit(std::size_t i) {
    if (random_.below(2) == 0) {
      const Result<void> done = areas_[i].commit();
      ASSERT_TRUE(done.has_value()) << done.error().message();
      committed_[i] = now_[i];
    } else {
      const Result<void> done = pager_->commit({&areas_[0], &areas_[1]});
      ASSERT_TRUE(done.has_value()) << done.error().message();
      committed_ = now_;
    }
    if (random_.below(4) == 0) {
      ASSERT_TRUE(committed(i) == committed_[i]);
      areas_[i].check_invariants();
      pager_->check_invariants();
    }
  }

  void map_again(std::size_t i) {
    spilled_bytes_ += areas_[i].stats().spilled_bytes;
    if (random_.below(2) == 0) {
      ASSERT_TRUE(areas_[i].close().has_value());
    }
    areas_[i] = WritablePagedArea();
    areas_[i] = map(*pager_, i);
    now_[i] = committed_[i];
    ASSERT_EQ(areas_[i].size_bytes(), now_[i].size());
  }

  // Some bytes here and there.
  void look() {
    for (std::size_t i = 0; i < kAreas; ++i) {
      look_at(areas_[i], now_[i]);
    }
    for (const View& view : views_) {
      look_at(view.area, view.expected);
    }
  }
  // Every byte, of what is committed and what is not, read anew.
  void look_at_all() {
    for (std::size_t i = 0; i < kAreas; ++i) {
      ASSERT_TRUE(areas_[i].evict().has_value());
      ASSERT_TRUE(std::ranges::equal(std::as_const(areas_[i]).bytes(), now_[i])) << "area " << i;
      ASSERT_TRUE(committed(i) == committed_[i]) << "area " << i;
    }
  }
  void look_at(const PagedArea& area, const Bytes& expected) {
    ASSERT_EQ(area.size_bytes(), expected.size());
    for (int i = 0; i < 12 && !expected.empty(); ++i) {
      const std::uint64_t at = random_.below(expected.size());
      ASSERT_EQ(testing::load_byte(area.bytes().data() + at), expected[at])
          << area.name() << ", offset " << at;
    }
  }

  Prng random_{0};
  std::optional<Pager> pager_;
  std::vector<WritablePagedArea> areas_;
  std::deque<View> views_;
  std::vector<Bytes> now_;
  std::vector<Bytes> committed_;
  std::uint64_t spilled_bytes_ = 0;
};

TEST_P(CommitModelTest, RandomWorkGivesTheBytesOfTheModel) {
  testing::soak(6, [this](std::uint64_t seed) { run(seed, 150); });
  EXPECT_GT(spilled_bytes(), 1_MiB) << "the memory held it all";
}

INSTANTIATE_TEST_SUITE_P(Paths, CommitModelTest, testing::kFaultPaths, testing::path_name);

}  // namespace
}  // namespace quire
