// SPDX-License-Identifier: Apache-2.0
//
// Random work on a tracked mapping against two vectors: what is there, and what is committed. In a
// soak (testing/soak.h) on and on, on fresh seeds.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "quire/base/prng.h"
#include "quire/sys/call.h"
#include "quire/testing/soak.h"
#include "quire/testing/temp_dir.h"
#include "quire/tracked/tracked_mapping.h"

namespace quire {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kBytesMax = 24 * kPage;

class Model {
 public:
  explicit Model(std::uint64_t seed)
      : random_(seed), page_bytes_(random_.below(3) == 0 ? 16_KiB : 4_KiB) {
    open();
  }

  void run(int steps) {
    for (int i = 0; i < steps && !::testing::Test::HasFailure(); ++i) {
      SCOPED_TRACE("step " + std::to_string(i));
      step();
      compare();
    }
    snapshots_.clear();
    map_.reset();
    open();
    now_ = committed_;
    compare();
  }

 private:
  struct Snapshot {
    TrackedSnapshot snapshot;
    Bytes bytes;
  };

  void open() {
    TrackedOptions options{
        .access = Access::kReadWrite,
        .commit = Commit::kAtomic,
        .create = true,
        .reserve_bytes = 2 * kBytesMax,
        .journal = {.log_bytes = 512_KiB, .full_wait_max = std::chrono::milliseconds(0)}};
    options.drop_past_bytes = random_.below(2) == 0 ? kToEnd : random_.below(30) * kPage;
    options.journal.page_bytes = page_bytes_;
    options.journal.checkpointing =
        random_.below(2) == 0 ? Checkpointing::kBackground : Checkpointing::kOnDemand;
    map_.emplace(quire::map(path_, options).value());
  }

  void step() {
    const std::uint64_t choice = random_.below(20);
    if (choice < 8) {
      store();
    } else if (choice < 11) {
      resize();
    } else if (choice < 14) {
      commit();
    } else if (choice < 15) {
      ASSERT_TRUE(map_->rollback().has_value());
      now_ = committed_;
    } else if (choice < 17) {
      snapshots_.push_back({map_->snapshot().value(), committed_});
    } else if (choice < 19) {
      if (!snapshots_.empty()) {
        snapshots_.erase(snapshots_.begin() +
                         static_cast<std::ptrdiff_t>(random_.below(snapshots_.size())));
      }
    } else {
      reopen();
    }
  }

  void store() {
    for (std::uint64_t i = random_.below(4) + 1; i > 0 && !now_.empty(); --i) {
      const std::uint64_t at = random_.below(now_.size());
      const std::uint64_t length = std::min(random_.below(6000) + 1, now_.size() - at);
      for (std::uint64_t byte = at; byte < at + length; ++byte) {
        now_[byte] = map_->bytes()[byte] = static_cast<std::byte>(random_());
      }
    }
  }

  void resize() {
    const std::uint64_t size = random_.below(kBytesMax);
    ASSERT_TRUE(map_->resize(size).has_value());
    now_.resize(size);
  }

  // Snapshots can keep the log full: then nothing has happened, and it works without them.
  void commit() {
    const bool is_async = random_.below(3) == 0;
    Result<void> outcome;
    if (is_async) {
      outcome = map_->commit_async().value().wait();
    } else if (const auto receipt = map_->commit(); !receipt) {
      outcome = fail(receipt.error());
    }
    if (!outcome) {
      ASSERT_EQ(outcome.error().code(), Errc::kLimit) << outcome.error().message();
      snapshots_.clear();
      ASSERT_TRUE(map_->commit().has_value());
    }
    committed_ = now_;
  }

  void reopen() {
    snapshots_.clear();
    if (random_.below(2) == 0) {
      ASSERT_TRUE(map_->close().has_value());
    }
    map_.reset();
    open();
    now_ = committed_;
  }

  void compare() {
    ASSERT_EQ(map_->size_bytes(), now_.size());
    ASSERT_TRUE(std::ranges::equal(map_->bytes(), now_));
    Bytes bytes(committed_.size() + 1);
    const TrackedSnapshot last = map_->snapshot().value();
    bytes.resize(last.read(0, bytes).value());
    ASSERT_TRUE(bytes == committed_);
    if (snapshots_.empty()) {
      return;
    }
    const Snapshot& one = snapshots_[random_.below(snapshots_.size())];
    bytes.assign(one.bytes.size() + 1, std::byte{});
    bytes.resize(one.snapshot.read(0, bytes).value());
    ASSERT_TRUE(bytes == one.bytes) << "commit " << one.snapshot.commit_number();
  }

  const testing::TempDir directory_;
  const std::string path_ = directory_.file("state");
  Prng random_;
  const std::uint64_t page_bytes_;  // Of the journal.
  std::optional<TrackedMapping> map_;
  Bytes now_;
  Bytes committed_;
  std::deque<Snapshot> snapshots_;  // Gone before the mapping.
};

void run_models(std::uint64_t seeds, int steps) {
  testing::soak(seeds, [steps](std::uint64_t seed) { Model(seed).run(steps); });
}

TEST(TrackedModelTest, ItDoesWhatVectorsDo) {
  run_models(5, 200);
}

TEST(TrackedModelTest, ItDoesSoWhenTheKernelNotesNothing) {
  const sys::FaultPlan plan({.call = sys::Call::kUserFault, .times = 1'000'000, .error = EPERM});
  run_models(3, 150);
}

TEST(TrackedModelTest, ItDoesSoWithTheWordsOfPagemap) {
  const sys::FaultPlan plan(
      {.call = sys::Call::kPageScan, .times = 1'000'000'000, .error = ENOTTY});
  run_models(3, 150);
}

}  // namespace
}  // namespace quire
