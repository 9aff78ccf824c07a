// SPDX-License-Identifier: Apache-2.0
//
// What becomes of a tracked mapping when system calls fail, and when the kernel lacks what it
// wants.
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <string>

#include "quire/sys/call.h"
#include "quire/testing/nth_fault.h"
#include "quire/testing/temp_dir.h"
#include "quire/tracked/tracked_mapping.h"

namespace quire {
namespace {

using sys::Call;

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kPages = 8;

TrackedOptions options() {
  return {.access = Access::kReadWrite,
          .commit = Commit::kAtomic,
          .create = true,
          .minimum_bytes = kPages * kPage,
          .reserve_bytes = 1_MiB,
          .journal = {.log_bytes = 256_KiB,
                      .checkpointing = Checkpointing::kOnDemand,
                      .full_wait_max = std::chrono::milliseconds(0)}};
}

void fill(TrackedMapping& map, int round) {
  std::ranges::fill(map.bytes(), static_cast<std::byte>(round));
}

// The one value of all bytes; -1: a mixture.
int round_of(const TrackedMapping& map) {
  const std::span<const std::byte> bytes = map.bytes();
  const bool is_one = std::ranges::all_of(bytes, [&](std::byte b) { return b == bytes[0]; });
  return is_one ? std::to_integer<int>(bytes[0]) : -1;
}

// Rounds of commits, rollbacks and resizes, until something fails.
struct Work {
  int attempted = 0;
  int acknowledged = 0;

  Result<void> run(const std::string& path) {
    TrackedMapping map = QUIRE_TRY(quire::map(path, options()));
    for (int round = 1; round <= 4; ++round) {
      fill(map, 100 + round);
      QUIRE_TRY(map.rollback());
      EXPECT_EQ(round_of(map), acknowledged);
      QUIRE_TRY(map.resize(kPage * (round % 2 == 0 ? kPages : kPages + 3)));
      fill(map, round);
      attempted = round;
      if (round == 3) {
        QUIRE_TRY(QUIRE_TRY(map.commit_async()).wait());
      } else {
        QUIRE_TRY(map.commit());
      }
      acknowledged = round;
    }
    return map.close();
  }
};

class TrackedFaultTest : public ::testing::TestWithParam<Call> {};

// Goal:   whichever call fails, and whenever: the error is named, and what was acknowledged is
//         there when the file is opened again, whole.
// Method: fail the 1st, 2nd, 3rd ... call of a kind until a run meets no fault.
TEST_P(TrackedFaultTest, WhatWasAcknowledgedIsThereWhicheverCallFails) {
  testing::fail_each_nth(sys::name_of(GetParam()), [](testing::NthFault& fault) {
    const testing::TempDir directory;
    const std::string path = directory.file("state");
    Work work;
    {
      const sys::FaultPlan plan({.call = GetParam(), .nth = fault.nth, .error = EIO});
      const Result<void> outcome = work.run(path);
      fault.was_hit = plan.hits() > 0;
      if (!outcome) {
        EXPECT_FALSE(outcome.error().message().empty());
        EXPECT_TRUE(fault.was_hit) << outcome.error().message();
      }
    }
    const TrackedMapping map = quire::map(path, options()).value();
    const int found = round_of(map);
    EXPECT_TRUE(found == work.acknowledged || found == work.attempted)
        << found << " of " << work.acknowledged << " acknowledged";
  });
}

INSTANTIATE_TEST_SUITE_P(Calls, TrackedFaultTest,
                         ::testing::Values(Call::kPageScan, Call::kUserFault, Call::kWrite,
                                           Call::kSyncData, Call::kSyncAll, Call::kRead, Call::kMap,
                                           Call::kAdviseMemory, Call::kTruncate, Call::kOpen,
                                           Call::kStatus),
                         [](const auto& test) {
                           std::string name = sys::name_of(test.param);
                           std::erase_if(name, [](char c) { return std::isalnum(c) == 0; });
                           return name + std::to_string(static_cast<int>(test.param));
                         });

// Commits, rolls back, resizes; each time the right pages.
void expect_works(TrackedMapping& map) {
  const auto put = [&](std::uint64_t page, int value) {
    map.bytes()[page * kPage + 7] = static_cast<std::byte>(value);
  };
  const auto value_at = [&](std::uint64_t page) {
    return std::to_integer<int>(map.bytes()[page * kPage + 7]);
  };
  put(0, 1);
  put(5, 2);
  EXPECT_EQ(map.commit().value().pages, 2u);
  EXPECT_EQ(map.commit().value().pages, 0u);
  put(5, 3);
  EXPECT_EQ(map.commit().value().pages, 1u);
  put(5, 4);
  put(6, 5);
  EXPECT_TRUE(map.rollback().has_value());
  EXPECT_EQ(value_at(5), 3);
  EXPECT_EQ(value_at(6), 0);
  put(5, 4);  // The very bytes that were rolled back.
  put(6, 5);
  EXPECT_GE(map.commit().value().pages, 2u);
  EXPECT_TRUE(map.resize(2 * kPage).has_value());
  EXPECT_TRUE(map.resize(kPages * kPage).has_value());
  EXPECT_EQ(value_at(5), 0);
  put(5, 4);  // The very bytes that were cut.
  EXPECT_TRUE(map.commit().has_value());
  put(0, 9);
  EXPECT_TRUE(map.rollback().has_value());
  EXPECT_EQ(value_at(0), 1);
  EXPECT_EQ(value_at(5), 4);
  EXPECT_EQ(value_at(6), 0);
  EXPECT_TRUE(map.close().has_value());
}

struct Lack {
  const char* name;
  sys::FaultRule rule;
  const char* announced;
};

class TrackedFallbackTest : public ::testing::TestWithParam<Lack> {};

// Goal:   a kernel without what tracking wants is answered by comparing, which explain() says.
TEST_P(TrackedFallbackTest, ComparingIsAnnouncedAndRight) {
  const testing::TempDir directory;
  const std::string path = directory.file("state");
  const sys::FaultPlan plan(GetParam().rule);
  TrackedMapping map = quire::map(path, options()).value();
  EXPECT_NE(map.explain().find("compares"), std::string::npos) << map.explain();
  EXPECT_NE(map.explain().find(GetParam().announced), std::string::npos) << map.explain();
  expect_works(map);
  const TrackedMapping again = quire::map(path, options()).value();
  EXPECT_EQ(again.bytes()[5 * kPage + 7], std::byte{4});
  EXPECT_EQ(again.bytes()[6 * kPage + 7], std::byte{0});
}

// Goal:   bytes that were rolled back and stored again count as changed, also where rolling back
//         only gave their page back.
TEST_P(TrackedFallbackTest, WhatWasRolledBackAndStoredAgainIsCommitted) {
  const testing::TempDir directory;
  const std::string path = directory.file("state");
  const sys::FaultPlan plan(GetParam().rule);
  ASSERT_TRUE(quire::map(path, options()).value().close().has_value());
  {
    TrackedMapping map = quire::map(path, options()).value();
    fill(map, 7);
    ASSERT_TRUE(map.rollback().has_value());
    EXPECT_EQ(round_of(map), 0);
    fill(map, 7);
    EXPECT_EQ(map.commit().value().pages, kPages);
  }
  EXPECT_EQ(round_of(quire::map(path, options()).value()), 7);
}

constexpr std::uint64_t kEver = 1'000'000;

INSTANTIATE_TEST_SUITE_P(
    Lacks, TrackedFallbackTest,
    ::testing::Values(
        Lack{"NoUserFault", {.call = Call::kUserFault, .times = kEver, .error = EPERM}, "EPERM"},
        Lack{"NoWpAsync", {.call = Call::kUserFault, .times = kEver, .error = EINVAL}, "6.7"},
        Lack{"NoPageScan",
             {.call = Call::kPageScan, .times = kEver, .error = ENOTTY},
             "PAGEMAP_SCAN"},
        // Opening and shaking hands come before.
        Lack{"NotWatched",
             {.call = Call::kUserFault, .nth = 3, .times = kEver, .error = ENOMEM},
             "ENOMEM"}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(TrackedLackTest, TheKernelsNotesDoTheSame) {
  const testing::TempDir directory;
  TrackedMapping map = quire::map(directory.file("state"), options()).value();
  if (map.explain().find("compares") != std::string::npos) {
    GTEST_SKIP() << "notes about stores: " << map.explain();
  }
  expect_works(map);
}

TEST(TrackedLackTest, WithoutPagemapThereIsNoTrackedMapping) {
  const testing::TempDir directory;
  const std::string path = directory.file("state");
  ASSERT_TRUE(quire::map(path, options()).value().close().has_value());
  bool is_refused = false;
  for (std::uint64_t nth = 1; nth < 40 && !is_refused; ++nth) {
    const sys::FaultPlan plan({.call = Call::kOpen, .nth = nth, .error = EACCES});
    const auto map = quire::map(path, options());
    is_refused = !map && map.error().code() == Errc::kUnsupported &&
                 map.error().message().find("/proc/self/pagemap") != std::string::npos;
  }
  EXPECT_TRUE(is_refused);
}

// Goal:   what the kernel had told before it failed is not forgotten.
// Method: several runs of pages, so that it fails between two of them, too.
TEST(TrackedLackTest, ChangesSurviveAScanThatFailsHalfWay) {
  const testing::TempDir directory;
  const std::string path = directory.file("state");
  std::uint64_t failures = 0;
  for (std::uint64_t nth = 1; nth < 20; ++nth) {
    TrackedMapping map = quire::map(path, options()).value();
    // All pages are there, and noted, ...
    ASSERT_EQ(std::ranges::count(map.bytes(), std::byte{0xee}), 0);
    ASSERT_TRUE(map.commit().has_value());
    for (std::uint64_t page = 0; page < kPages; page += 2) {  // ... but for these.
      map.bytes()[page * kPage] = static_cast<std::byte>(nth);
    }
    {
      const sys::FaultPlan plan({.call = Call::kPageScan, .nth = nth, .error = ENOMEM});
      failures += map.commit() ? 0 : 1;
    }
    ASSERT_TRUE(map.commit().has_value());
    map.rollback().value();
    for (std::uint64_t page = 0; page < kPages; page += 2) {
      ASSERT_EQ(map.bytes()[page * kPage], static_cast<std::byte>(nth)) << page << ", " << nth;
    }
    const Mapping committed = map.snapshot().value().copy().value();
    EXPECT_TRUE(std::ranges::equal(committed.bytes(), map.bytes())) << nth;
  }
  EXPECT_GT(failures, 1u);
}

// Goal:   after a rollback that failed half-way there is no commit until one has worked.
TEST(TrackedLackTest, AHalfRollbackAllowsNoCommit) {
  const testing::TempDir directory;
  TrackedMapping map = quire::map(directory.file("state"), options()).value();
  fill(map, 1);
  ASSERT_TRUE(map.commit().has_value());
  fill(map, 2);
  {
    const sys::FaultPlan plan({.call = Call::kRead, .times = kEver, .error = EIO});
    ASSERT_FALSE(map.rollback().has_value());
  }
  EXPECT_EQ(map.commit().error().code(), Errc::kFailed);
  EXPECT_EQ(map.check().error().code(), Errc::kFailed);
  ASSERT_TRUE(map.rollback().has_value());
  EXPECT_EQ(round_of(map), 1);
  EXPECT_TRUE(map.commit().has_value());
}

// Goal:   after a write of the journal that failed, nobody is told that anything is durable.
TEST(TrackedLackTest, AnErrorOfTheDiskSticks) {
  const testing::TempDir directory;
  const std::string path = directory.file("state");
  {
    TrackedMapping map = quire::map(path, options()).value();
    fill(map, 1);
    ASSERT_TRUE(map.commit().has_value());
    fill(map, 2);
    {
      const sys::FaultPlan plan({.call = Call::kWrite, .error = EIO});
      ASSERT_FALSE(map.commit().has_value());
      ASSERT_EQ(plan.hits(), 1u);
    }
    EXPECT_EQ(map.commit().error().code(), Errc::kFailed);
    EXPECT_EQ(map.commit_async().value().wait().error().code(), Errc::kFailed);
    EXPECT_EQ(map.check().error().code(), Errc::kFailed);
    EXPECT_EQ(round_of(map), 2);  // Still to be saved elsewhere.
  }
  EXPECT_EQ(round_of(quire::map(path, options()).value()), 1);
}

}  // namespace
}  // namespace quire
