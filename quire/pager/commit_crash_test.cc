// SPDX-License-Identifier: Apache-2.0
//
// What a crash at any moment leaves of two areas: exactly the last commit that was acknowledged, or
// the next. The journal's own search is deeper (journal_crash_test.cc): this one is about what the
// pager hands to it, and when.
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "quire/base/prng.h"
#include "quire/testing/commit_fixture.h"
#include "quire/testing/crash_disk.h"
#include "quire/testing/soak.h"

namespace quire {
namespace {

using testing::CrashDisk;
using testing::kGranule;

constexpr std::size_t kAreas = 2;
constexpr std::uint64_t kBytesMax = 12 * kGranule;

const JournalOptions kOptions{.log_bytes = 512 * 1024,
                              .checkpointing = Checkpointing::kOnDemand,
                              .full_wait_max = std::chrono::milliseconds(0)};

class CommitCrashTest : public ::testing::TestWithParam<FaultPath> {
 protected:
  using Contents = CrashDisk::Contents;

  void SetUp() override {
    if (const std::string why = testing::why_no_paging(GetParam()); !why.empty()) {
      GTEST_SKIP() << why;
    }
  }

  static Contents first_contents() {
    testing::MemoryStore log;
    Journal::format(log, JournalUuid{std::byte{7}}, kOptions).value();
    Contents contents{log.image()};
    contents.resize(1 + kAreas, std::vector<std::byte>(7 * kGranule + 100, std::byte{1}));
    return contents;
  }

  static std::shared_ptr<Journal> open_on(CrashDisk& disk) {
    JournalParts parts{
        .log = disk.store(0), .durable_log = disk.durable_store(0), .files = {}, .guard = nullptr};
    for (std::size_t i = 0; i < kAreas; ++i) {
      parts.files.push_back(
          {.store = disk.store(1 + i), .identity = {std::byte{1}, static_cast<std::byte>(i)}});
    }
    return Journal::open(std::move(parts), kOptions).value();
  }

  static Contents committed_of(Journal& journal) {
    Contents contents;
    for (std::size_t i = 0; i < kAreas; ++i) {
      contents.emplace_back(journal.snapshot().size_bytes(i));
      EXPECT_TRUE(journal.file(i).read_committed(0, contents.back()).has_value());
    }
    return contents;
  }

  // Returns the generations; mark g: generation g was acknowledged.
  static std::vector<Contents> work(CrashDisk& disk, Prng& random, int steps) {
    const std::shared_ptr<Journal> journal = open_on(disk);
    std::vector<Contents> generations{committed_of(*journal)};
    Pager pager({.memory_bytes = 1_MiB, .fault_path = GetParam()});
    std::vector<WritablePagedArea> areas;
    for (std::size_t i = 0; i < kAreas; ++i) {
      areas.push_back(pager.map(journal, i, testing::kAtomic).value());
    }
    Contents now = generations.back();
    for (int step = 0; step < steps; ++step) {
      const std::size_t i = random.below(kAreas);
      const std::uint64_t choice = random.below(12);
      if (choice < 6 && !now[i].empty()) {
        const std::uint64_t at = random.below(now[i].size());
        const std::uint64_t length = 1 + random.below(now[i].size() - at);
        const int value = static_cast<int>(random.below(256));
        std::memset(areas[i].bytes().data() + at, value, length);
        std::memset(now[i].data() + at, value, length);
      } else if (choice < 8) {
        areas[i].evict().value();
      } else if (choice < 9) {
        const std::uint64_t size = random.below(kBytesMax);
        areas[i].resize(size).value();
        now[i].resize(size);
      } else if (choice < 10) {
        areas[i].rollback().value();
        now[i] = generations.back()[i];
      } else {
        Contents after = generations.back();
        const bool is_joint = random.below(2) == 0;
        after[i] = now[i];
        if (is_joint) {
          after = now;
        }
        generations.push_back(after);
        (is_joint ? pager.commit({&areas[0], &areas[1]}) : areas[i].commit()).value();
        disk.mark(generations.size() - 1);
        if (random.below(3) == 0) {
          journal->checkpoint().value();
        }
      }
    }
    return generations;
  }

  // Looks at what every crash of one random life leaves. Returns how many states that was.
  static std::uint64_t search(std::uint64_t seed) {
    Prng random(seed);
    CrashDisk disk(first_contents());
    const std::vector<Contents> generations = work(disk, random, 40);
    std::uint64_t states = 0;
    for (CrashDisk::Walk walk(disk); walk.advance() && !HasFailure();) {
      for (int repeat = 0; repeat < 3; ++repeat) {
        CrashDisk crashed(
            walk.crash(static_cast<CrashDisk::Loss>(random.below(CrashDisk::kLossCount)), random));
        const Contents found = committed_of(*open_on(crashed));
        const std::uint64_t mark = walk.mark();
        const bool is_last = found == generations[mark];
        EXPECT_TRUE(is_last || (mark + 1 < generations.size() && found == generations[mark + 1]))
            << walk.where() << ": neither generation " << mark << " nor the next";
        ++states;
      }
    }
    return states;
  }
};

TEST_P(CommitCrashTest, EveryCrashLeavesAnAllowedGeneration) {
  std::uint64_t states = 0;
  testing::soak(6, [&states](std::uint64_t seed) { states += search(seed); });
  RecordProperty("states", std::to_string(states));
  EXPECT_GT(states, 300U);
}

INSTANTIATE_TEST_SUITE_P(Paths, CommitCrashTest, testing::kFaultPaths, testing::path_name);

}  // namespace
}  // namespace quire
