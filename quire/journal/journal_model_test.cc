// SPDX-License-Identifier: Apache-2.0
//
// Random work on a journal against vectors of bytes: what is written, what is committed, and what
// each snapshot holds. In a soak (testing/soak.h) on and on, on fresh seeds.
#include <gtest/gtest.h>

#include <deque>

#include "quire/base/prng.h"
#include "quire/journal/internal/journal_fixture_test.h"
#include "quire/testing/soak.h"

namespace quire {
namespace {

constexpr std::size_t kFiles = 2;
constexpr std::uint64_t kBytesMax = 12 * internal::kTestPageBytes;

class JournalModelTest : public internal::JournalFixture {
 protected:
  using Contents = std::vector<Bytes>;
  struct Snapshot {
    JournalSnapshot snapshot;
    Contents contents;
  };

  void run(std::uint64_t seed, int steps) {
    random_ = Prng(seed);
    make(kFiles);
    now_ = committed_ = Contents(kFiles);
    for (int i = 0; i < steps && !HasFailure(); ++i) {
      step();
      journal_->check_invariants();
      compare();
    }
    snapshots_.clear();
    ASSERT_TRUE(journal_->close().has_value());
    for (std::size_t number = 0; number < kFiles; ++number) {
      EXPECT_EQ(file_bytes_[number]->image(), committed_[number]);
    }
  }

 private:
  void step() {
    const std::uint64_t choice = random_.below(24);
    const std::size_t number = random_.below(kFiles);
    if (choice < 9) {
      write(number);
    } else if (choice < 11) {
      const std::uint64_t size = random_.below(kBytesMax);
      if (file(number).resize(size)) {
        now_[number].resize(size);
      }
    } else if (choice < 16) {
      commit(number);
    } else if (choice < 17) {
      ASSERT_TRUE(journal_->rollback({&number, 1}).has_value());
      now_[number] = committed_[number];
    } else if (choice < 19) {
      ASSERT_TRUE(journal_->checkpoint().has_value());
    } else if (choice < 21) {
      snapshots_.push_back({.snapshot = journal_->snapshot(), .contents = committed_});
    } else if (choice < 23) {
      if (!snapshots_.empty()) {
        snapshots_.erase(snapshots_.begin() +
                         static_cast<std::ptrdiff_t>(random_.below(snapshots_.size())));
      }
    } else {
      snapshots_.clear();
      if (random_.below(2) == 0) {
        ASSERT_TRUE(journal_->close().has_value());
      }
      open();
      now_ = committed_;
    }
  }

  void write(std::size_t number) {
    const std::uint64_t offset = random_.below(kBytesMax);
    const bool is_aligned = random_.below(2) == 0;
    const std::uint64_t at = is_aligned ? offset & ~(internal::kTestPageBytes - 1) : offset;
    Bytes bytes(is_aligned ? internal::kTestPageBytes * (1 + random_.below(3))
                           : 1 + random_.below(9000));
    for (std::byte& byte : bytes) {
      byte = static_cast<std::byte>(random_());
    }
    if (!file(number).write(at, bytes)) {
      give_way();
      return;
    }
    now_[number].resize(std::max<std::uint64_t>(now_[number].size(), at + bytes.size()));
    std::ranges::copy(bytes, now_[number].begin() + static_cast<std::ptrdiff_t>(at));
  }

  void commit(std::size_t number) {
    if (random_.below(2) == 0) {
      if (!journal_->commit()) {
        give_way();
        return;
      }
      committed_ = now_;
    } else if (file(number).sync(Durability::kData)) {
      committed_[number] = now_[number];
    }
  }

  // The log is full: of snapshots, or of what is uncommitted, in part.
  void give_way() {
    snapshots_.clear();
    for (std::size_t number = 0; number < kFiles; ++number) {
      ASSERT_TRUE(journal_->rollback({&number, 1}).has_value());
    }
    now_ = committed_;
  }

  void compare() {
    for (std::size_t number = 0; number < kFiles; ++number) {
      Bytes bytes(now_[number].size() + 1);
      bytes.resize(file(number).read(0, bytes).value());
      ASSERT_TRUE(bytes == now_[number]) << "file " << number;
      bytes.assign(committed_[number].size() + 1, std::byte{});
      bytes.resize(file(number).read_committed(0, bytes).value());
      ASSERT_TRUE(bytes == committed_[number]) << "file " << number;
    }
    if (snapshots_.empty()) {
      return;
    }
    const Snapshot& one = snapshots_[random_.below(snapshots_.size())];
    for (std::size_t number = 0; number < kFiles; ++number) {
      Bytes bytes(one.contents[number].size() + 1);
      bytes.resize(one.snapshot.read(number, 0, bytes).value());
      ASSERT_TRUE(bytes == one.contents[number])
          << "file " << number << " of commit " << one.snapshot.commit_number();
    }
  }

  Prng random_{0};
  Contents now_;
  Contents committed_;
  std::deque<Snapshot> snapshots_;
};

TEST_F(JournalModelTest, ItDoesWhatVectorsDo) {
  testing::soak(20, [this](std::uint64_t seed) { run(seed, 300); });
}

TEST_F(JournalModelTest, ItDoesSoWithACheckpointAtAnyMoment) {
  options_.checkpointing = Checkpointing::kBackground;
  testing::soak(10, [this](std::uint64_t seed) { run(seed, 300); });
}

}  // namespace
}  // namespace quire
