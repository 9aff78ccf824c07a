// SPDX-License-Identifier: Apache-2.0
//
// The door: what is counted, what can be made to fail, and that every wrapper of descriptor.h,
// file.h and memory.h goes through it.
#include "quire/sys/call.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <functional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "quire/sys/descriptor.h"
#include "quire/sys/file.h"
#include "quire/sys/memory.h"
#include "quire/testing/temp_dir.h"

namespace quire::sys {
namespace {

TEST(CallTest, EveryKindHasANameOfItsOwn) {
  std::set<std::string> names;
  for (int value = 0; value < static_cast<int>(Call::kCount); ++value) {
    const char* name = name_of(static_cast<Call>(value));
    ASSERT_NE(name, nullptr) << value;
    EXPECT_STRNE(name, "") << value;
    EXPECT_TRUE(names.insert(name).second) << "twice: " << name;
  }
}

TEST(CallTest, NamesStandBesideTheirKinds) {
  EXPECT_STREQ(name_of(Call::kOpen), "open");
  EXPECT_STREQ(name_of(Call::kPunch), "fallocate(punch)");
  EXPECT_STREQ(name_of(Call::kSyncData), "fdatasync");
  EXPECT_STREQ(name_of(Call::kSyncAll), "fsync");
  EXPECT_STREQ(name_of(Call::kMap), "mmap");
  EXPECT_STREQ(name_of(Call::kResidency), "mincore");
  EXPECT_STREQ(name_of(Call::kMemfd), "memfd_create");
  EXPECT_STREQ(name_of(Call::kUnlink), "unlink");
}

TEST(CallDeathTest, KCountIsNoCall) {
  EXPECT_DEATH(static_cast<void>(name_of(Call::kCount)), "call < Call::kCount");
}

// --- plans --------------------------------------------------------------------------------------

bool status_works() {
  return file_status(STDERR_FILENO).has_value();
}

TEST(FaultPlanTest, APlanWithoutARuleOnlyCounts) {
  const FaultPlan plan({});
  EXPECT_TRUE(status_works());
  EXPECT_TRUE(status_works());
  EXPECT_EQ(plan.count(Call::kStatus), 2U);
  EXPECT_EQ(plan.count(Call::kOpen), 0U);
  EXPECT_EQ(plan.hits(), 0U);
}

TEST(FaultPlanTest, HitsTheNthCallOfItsKindAsOftenAsAsked) {
  for (std::uint64_t nth = 1; nth <= 4; ++nth) {
    for (std::uint64_t times = 0; times <= 3; ++times) {
      const FaultPlan plan({.call = Call::kStatus, .nth = nth, .times = times, .error = EIO});
      for (std::uint64_t number = 1; number <= 8; ++number) {
        const bool is_hit = number >= nth && number < nth + times;
        EXPECT_EQ(status_works(), !is_hit) << nth << " " << times << " " << number;
      }
      EXPECT_EQ(plan.hits(), times);
      EXPECT_EQ(plan.count(Call::kStatus), 8U) << "failed calls count too";
    }
  }
}

TEST(FaultPlanTest, OtherKindsAreLeftAlone) {
  const FaultPlan plan({.call = Call::kOpen, .times = UINT64_MAX, .error = EIO});
  EXPECT_TRUE(status_works());
  EXPECT_EQ(plan.hits(), 0U);
}

TEST(FaultPlanTest, EndsWithThePlan) {
  {
    const FaultPlan plan({.call = Call::kStatus, .times = UINT64_MAX, .error = EIO});
    EXPECT_FALSE(status_works());
  }
  EXPECT_TRUE(status_works());
  const FaultPlan next({});
  EXPECT_EQ(next.count(Call::kStatus), 0U) << "the count starts afresh";
}

TEST(FaultPlanTest, CountsEveryCallOfEveryThread) {
  constexpr std::uint64_t kThreads = 4;
  constexpr std::uint64_t kCallsEach = 1000;
  const FaultPlan plan({.call = Call::kStatus, .nth = 10, .times = 7, .error = EIO});
  std::atomic<std::uint64_t> failures = 0;
  std::vector<std::jthread> threads;
  for (std::uint64_t i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (std::uint64_t call = 0; call < kCallsEach; ++call) {
        failures += status_works() ? 0 : 1;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(plan.count(Call::kStatus), kThreads * kCallsEach);
  EXPECT_EQ(plan.hits(), 7U);
  EXPECT_EQ(failures, 7U);
}

TEST(FaultPlanDeathTest, ThereIsAtMostOnePlanAndCallsAreCountedFromOne) {
  EXPECT_DEATH(FaultPlan({.nth = 0}), "rule.nth >= 1");
  const FaultPlan plan({});
  EXPECT_DEATH(FaultPlan({}), "is_only");
}

// --- every wrapper ------------------------------------------------------------------------------

// What the wrappers work on: a file of four pages with a shared mapping of it, and anonymous
// memory.
struct Workbench {
  testing::TempDir directory;
  std::string path = directory.write("data", testing::pattern(kBytes));
  std::string spare = directory.write("spare", "spare");
  Descriptor file = open_file(path.c_str(), {.write = true}).value();
  Descriptor zero = open_file("/dev/zero", {.write = true}).value();
  Address view =
      map_pages({.length_bytes = kBytes, .protection = Protection::kReadWrite, .fd = file.get()})
          .value();
  std::array<std::byte, 100> buffer{};
  std::array<unsigned char, 4> residency{};

  static constexpr std::uint64_t kBytes = 4 * 4096;

  Workbench() = default;
  ~Workbench() { static_cast<void>(unmap_pages(view, kBytes)); }
  Workbench(const Workbench&) = delete;
  Workbench& operator=(const Workbench&) = delete;
};

struct WrapperRow {
  const char* name;
  Call call;
  std::function<Outcome<void>(Workbench&)> run;
};

template <typename T>
Outcome<void> forget_value(const Outcome<T>& outcome) {
  return outcome.map([](const auto&) {});
}

std::vector<WrapperRow> descriptor_rows() {
  return {
      {"open_file", Call::kOpen,
       [](Workbench& w) {
         return forget_value(open_file(w.path.c_str(), {}).map([](auto&&) { return 0; }));
       }},
      {"open_file_at", Call::kOpen,
       [](Workbench& w) {
         return forget_value(
             open_file_at(Descriptor(), w.path.c_str(), {}).map([](auto&&) { return 0; }));
       }},
      {"duplicate", Call::kDuplicate,
       [](Workbench& w) {
         return forget_value(duplicate(w.file.get()).map([](auto&&) { return 0; }));
       }},
      {"file_status", Call::kStatus,
       [](Workbench& w) { return forget_value(file_status(w.file.get())); }},
      {"path_status", Call::kStatus,
       [](Workbench& w) { return forget_value(path_status(w.path.c_str(), true)); }},
      {"is_writable", Call::kStatus,
       [](Workbench& w) { return forget_value(is_writable(w.file.get())); }},
  };
}

std::vector<WrapperRow> transfer_rows() {
  return {
      {"read_at", Call::kRead,
       [](Workbench& w) { return forget_value(read_at(w.file.get(), w.buffer, 0)); }},
      {"read_some", Call::kRead,
       [](Workbench& w) { return forget_value(read_some(w.zero.get(), w.buffer)); }},
      {"write_at", Call::kWrite, [](Workbench& w) { return write_at(w.file.get(), w.buffer, 0); }},
      {"write_all", Call::kWrite, [](Workbench& w) { return write_all(w.zero.get(), w.buffer); }},
      {"seek_data", Call::kSeek,
       [](Workbench& w) { return forget_value(seek_data(w.file.get(), 0)); }},
      {"seek_hole", Call::kSeek,
       [](Workbench& w) { return forget_value(seek_hole(w.file.get(), 0)); }},
      {"wait_readable", Call::kPoll,
       [](Workbench& w) { return forget_value(wait_readable(w.zero.get(), -1)); }},
      {"rename_path", Call::kRename,
       [](Workbench& w) {
         return rename_path(w.spare.c_str(), w.directory.file("renamed").c_str());
       }},
      {"unlink_path", Call::kUnlink, [](Workbench& w) { return unlink_path(w.spare.c_str()); }},
  };
}

std::vector<WrapperRow> space_rows() {
  return {
      {"truncate_file", Call::kTruncate,
       [](Workbench& w) { return truncate_file(w.file.get(), Workbench::kBytes); }},
      {"allocate_space", Call::kAllocate,
       [](Workbench& w) { return allocate_space(w.file.get(), {0, 4096}, Allocate::kKeepSize); }},
      {"punch_hole", Call::kPunch,
       [](Workbench& w) { return punch_hole(w.file.get(), {0, 4096}); }},
      {"sync_data", Call::kSyncData, [](Workbench& w) { return sync_data(w.file.get()); }},
      {"sync_all", Call::kSyncAll, [](Workbench& w) { return sync_all(w.file.get()); }},
      {"sync_range", Call::kSyncRange,
       [](Workbench& w) { return sync_range(w.file.get(), kWholeFile, SyncRange::kStartAndWait); }},
      {"advise_file", Call::kAdviseFile,
       [](Workbench& w) { return advise_file(w.file.get(), kWholeFile, FileAdvice::kRandom); }},
      {"read_ahead", Call::kReadAhead,
       [](Workbench& w) { return read_ahead(w.file.get(), kWholeFile); }},
  };
}

std::vector<WrapperRow> memory_rows() {
  return {
      {"map_pages", Call::kMap,
       [](Workbench& w) {
         return forget_value(map_pages({.length_bytes = Workbench::kBytes,
                                        .protection = Protection::kReadWrite,
                                        .fd = w.file.get(),
                                        .fixed_address = w.view}));
       }},
      {"unmap_pages", Call::kUnmap,
       [](Workbench& w) { return unmap_pages(w.view, Workbench::kBytes); }},
      {"protect_pages", Call::kProtect,
       [](Workbench& w) { return protect_pages(w.view, Workbench::kBytes, Protection::kRead); }},
      {"remap_in_place", Call::kRemap,
       [](Workbench& w) { return remap_in_place(w.view, Workbench::kBytes, 4096); }},
      {"advise_pages", Call::kAdviseMemory,
       [](Workbench& w) {
         return advise_pages(w.view, Workbench::kBytes, MemoryAdvice::kSequential);
       }},
      {"lock_pages", Call::kLock,
       [](Workbench& w) { return lock_pages(w.view, Workbench::kBytes, LockMode::kOnFault); }},
      {"unlock_pages", Call::kUnlock,
       [](Workbench& w) { return unlock_pages(w.view, Workbench::kBytes); }},
      {"sync_pages", Call::kSyncMemory,
       [](Workbench& w) { return sync_pages(w.view, Workbench::kBytes); }},
      {"page_residency", Call::kResidency,
       [](Workbench& w) { return page_residency(w.view, Workbench::kBytes, w.residency); }},
  };
}

std::vector<WrapperRow> all_rows() {
  std::vector<WrapperRow> rows;
  for (const auto& part : {descriptor_rows(), transfer_rows(), space_rows(), memory_rows()}) {
    rows.insert(rows.end(), part.begin(), part.end());
  }
  return rows;
}

TEST(WrapperTest, EveryWrapperPassesTheDoorOnceAndWorks) {
  for (const WrapperRow& row : all_rows()) {
    Workbench workbench;
    const FaultPlan plan({});
    const Outcome<void> outcome = row.run(workbench);
    EXPECT_TRUE(outcome.has_value()) << row.name << ": " << errno_name(outcome.error().value);
    EXPECT_EQ(plan.count(row.call), 1U) << row.name;
  }
}

// Goal:   an interrupted call is made again, by the wrapper.
TEST(WrapperTest, InterruptionsEndInTheWrapper) {
  for (const WrapperRow& row : all_rows()) {
    Workbench workbench;
    const FaultPlan plan({.call = row.call, .times = 3, .error = EINTR});
    const Outcome<void> outcome = row.run(workbench);
    EXPECT_TRUE(outcome.has_value()) << row.name << ": " << errno_name(outcome.error().value);
    EXPECT_EQ(plan.hits(), 3U) << row.name;
    EXPECT_EQ(plan.count(row.call), 4U) << row.name;
  }
}

TEST(WrapperTest, AnErrorComesBackAsItIsAndIsNotTriedAgain) {
  for (const WrapperRow& row : all_rows()) {
    Workbench workbench;
    const FaultPlan plan({.call = row.call, .times = UINT64_MAX, .error = EIO});
    const Outcome<void> outcome = row.run(workbench);
    ASSERT_FALSE(outcome.has_value()) << row.name;
    EXPECT_EQ(outcome.error(), Errno{EIO}) << row.name;
    EXPECT_EQ(plan.count(row.call), 1U) << row.name;
  }
}

}  // namespace
}  // namespace quire::sys
