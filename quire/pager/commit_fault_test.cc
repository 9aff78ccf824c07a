// SPDX-License-Identifier: Apache-2.0
//
// Whatever fails of the journal's disk, and whenever: what was acknowledged is there when it is
// opened again, the error names the cause, and the area goes on, or says that it cannot.
#include <gtest/gtest.h>

#include <cerrno>
#include <string>

#include "quire/testing/commit_fixture.h"
#include "quire/testing/nth_fault.h"

namespace quire {
namespace {

using testing::kGranule;

constexpr std::uint64_t kGranules = 24;  // Several windows of images.

class CommitFaultTest : public testing::CommitTest {
 protected:
  // Commits round after round, until something fails. What it was promised is counted.
  Result<void> work() {
    Pager pager({.memory_bytes = 1_MiB, .fault_path = GetParam()});
    WritablePagedArea area = QUIRE_TRY(pager.map(journal_, 0, testing::kAtomic));
    for (int round = 1; round <= 4; ++round) {
      store_all(area, round);
      if (round % 2 == 0) {
        QUIRE_TRY(area.evict());  // Spilled.
      }
      ++attempted_;
      QUIRE_TRY(area.commit());
      ++acknowledged_;
      EXPECT_EQ(committed_at(0), round);
      if (round == 3) {
        QUIRE_TRY(journal_->checkpoint());
        store_all(area, 99);
        QUIRE_TRY(area.rollback());
        EXPECT_EQ(load(area, kGranule), round);
      }
    }
    store_all(area, 99);
    return area.close();
  }

  // The round whose bytes the file holds, whole; -1: a mixture.
  int round_of_file() {
    const int round = committed_at(0);
    for (std::uint64_t i = 0; i < kGranules; ++i) {
      if (committed_at(i * kGranule) != round) {
        return -1;
      }
    }
    return round;
  }

  void fail_each(Kind kind, int error) {
    testing::fail_each_nth(testing::name_of(kind), [&](testing::NthFault& fault) {
      make(kGranules * kGranule);
      attempted_ = acknowledged_ = 0;
      log_->fail({.operation = kind, .nth = fault.nth, .times = 1, .error = error});
      const Result<void> worked = work();
      fault.was_hit = log_->fault_count() > 0;
      log_->heal();
      if (!worked) {
        EXPECT_TRUE(fault.was_hit);
        EXPECT_NE(worked.error().message().find(errno_name(error)), std::string::npos)
            << worked.error().message();
      }
      open();
      const int round = round_of_file();
      EXPECT_TRUE(round == acknowledged_ || round == attempted_)
          << round << ", acknowledged " << acknowledged_;
    });
  }

  int attempted_ = 0;
  int acknowledged_ = 0;
};

TEST_P(CommitFaultTest, NothingAcknowledgedIsLostWhicheverWriteOrFlushFails) {
  fail_each(Kind::kWrite, EIO);
  fail_each(Kind::kWrite, ENOSPC);
  fail_each(Kind::kSync, EIO);
}

// Goal:   after a failed flush nobody knows what is on the disk: no later commit may pretend.
TEST_P(CommitFaultTest, AFailedFlushFailsTheAreaButNotWhatIsInMemory) {
  make(kGranules * kGranule);
  Pager pager({.memory_bytes = 1_MiB, .fault_path = GetParam()});
  WritablePagedArea area = map(pager);
  store_all(area, 1);
  log_->fail({.operation = Kind::kSync, .error = EIO});
  const Result<void> failed = area.commit();
  ASSERT_FALSE(failed.has_value());
  log_->heal();
  const Result<void> again = area.commit();
  ASSERT_FALSE(again.has_value());
  EXPECT_EQ(again.error().code(), Errc::kFailed);
  EXPECT_FALSE(area.check().has_value());
  for (std::uint64_t i = 0; i < kGranules; ++i) {
    EXPECT_EQ(load(area, i * kGranule), 1) << "can still be saved";
  }
  store(area, 0, 2);
  EXPECT_EQ(load(area, 0), 2);
  area.check_invariants();
}

INSTANTIATE_TEST_SUITE_P(Paths, CommitFaultTest, testing::kFaultPaths, testing::path_name);

}  // namespace
}  // namespace quire
