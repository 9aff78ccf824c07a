// SPDX-License-Identifier: Apache-2.0
#include "quire/sim/page_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>

#include "quire/base/prng.h"
#include "quire/sim/sim_file.h"
#include "quire/testing/seed.h"

namespace quire::sim {
namespace {

constexpr std::uint64_t kPage = kSimPageBytes;

// A disk without surprises: each request takes 100 us or so, whatever it asks for.
DiskModel steady_disk() {
  return parse_disk_model("nvme,units=64,read_us=100,program_us=100,flush_us=0").value();
}

struct Fixture {
  explicit Fixture(std::uint64_t file_pages, std::uint64_t memory_pages = 100'000,
                   const DiskModel& disk = steady_disk())
      : host(disk, HostModel{}), cache(host, {0, file_pages * kPage}, memory_pages * kPage) {}

  [[nodiscard]] std::uint64_t pages_read() const {
    return host.disk().counters().read_bytes / kPage;
  }
  [[nodiscard]] std::uint64_t requests() const { return host.disk().counters().reads; }
  // Lets everything under way end.
  void settle() {
    while (host.is_busy()) {
      host.wait_next();
    }
  }

  SimHost host;
  PageCache cache;
  SimReader reader;
};

TEST(PageCacheTest, ASmallRandomReadBringsWhatItAskedForAndNoMore) {
  Fixture fixture(10'000);
  fixture.cache.bring(5000, 1, fixture.reader);
  fixture.cache.bring(8000, 1, fixture.reader);
  fixture.settle();
  EXPECT_EQ(fixture.pages_read(), 2U);
  EXPECT_EQ(fixture.cache.resident_pages(), 2U);
}

// Goal:   Linux's windows for 4 KiB reads from the start with 128 KiB of read-ahead: 4, 8, 16, 32,
//         32, ... pages, each asked for when the one before is reached at its mark.
TEST(PageCacheTest, WindowsDoubleUpToTheReadAheadSetting) {
  Fixture fixture(10'000);
  const std::vector<std::pair<std::uint64_t, std::uint64_t>> held_after{
      {0, 4}, {1, 12}, {4, 28}, {12, 60}, {28, 92}, {60, 124}};
  for (std::uint64_t page = 0; page < 100; ++page) {
    fixture.cache.bring(page, 1, fixture.reader);
    for (const auto& [read, held] : held_after) {
      if (read == page) {
        EXPECT_EQ(fixture.cache.resident_pages(), held) << "after page " << page;
      }
    }
  }
}

TEST(PageCacheTest, AStreamWaitsForTheFirstWindowAlone) {
  Fixture fixture(10'000);
  std::uint64_t waits = 0;
  for (std::uint64_t page = 0; page < 10'000; ++page) {
    const SimTime before = fixture.host.now();
    fixture.cache.bring(page, 1, fixture.reader);
    const std::uint64_t passed_ns = fixture.host.now().ns - before.ns;
    waits += passed_ns > 10'000 ? 1 : 0;  // More than giving a request.
    fixture.host.spend(30'000);           // 30 us of work with each page.
  }
  EXPECT_LE(waits, 3U);
  EXPECT_EQ(fixture.pages_read(), 10'000U);
}

TEST(PageCacheTest, ALargeReadAsksForAllOfItAtOnce) {
  Fixture fixture(10'000);
  for (std::uint64_t i = 0; i < 256; ++i) {
    fixture.cache.bring(1000 + i, 256 - i, fixture.reader);
  }
  fixture.settle();
  EXPECT_EQ(fixture.requests(), 2U);  // 1 MiB, and half as much ahead.
}

TEST(PageCacheTest, AFaultReadsAroundUntilThatHelpedTooSeldom) {
  Fixture fixture(1'000'000);
  fixture.cache.bring_for_fault(5000, fixture.reader);
  EXPECT_EQ(fixture.cache.resident_pages(), 32U);  // 128 KiB around it.
  for (std::uint64_t i = 1; i < PageCache::kAroundMissesMax; ++i) {
    fixture.cache.bring_for_fault(10'000 + i * 5000, fixture.reader);
  }
  EXPECT_EQ(fixture.cache.resident_pages(), 32 * PageCache::kAroundMissesMax);
  fixture.cache.bring_for_fault(999'000, fixture.reader);
  EXPECT_EQ(fixture.cache.resident_pages(), 32 * PageCache::kAroundMissesMax + 1);
}

TEST(PageCacheTest, RandomAdviceStopsReadingAround) {
  Fixture fixture(10'000);
  fixture.reader.advice = SimAdvice::kRandom;
  fixture.cache.bring_for_fault(5000, fixture.reader);
  EXPECT_EQ(fixture.cache.resident_pages(), 1U);
}

TEST(PageCacheTest, SequentialAdviceReadsOnFromAnyFault) {
  Fixture fixture(10'000);
  fixture.reader.advice = SimAdvice::kSequential;
  fixture.cache.bring_for_fault(5000, fixture.reader);
  EXPECT_EQ(fixture.cache.resident_pages(), 32U);
  fixture.cache.bring_for_fault(5016, fixture.reader);  // The mark, in the middle of the window.
  EXPECT_EQ(fixture.cache.resident_pages(), 64U);
}

TEST(PageCacheTest, SequentialAdviceForReadsDoublesTheWindow) {
  Fixture fixture(10'000);
  BufferedFile file(fixture.cache, 10'000 * kPage);
  file.advise(SimAdvice::kSequential);
  file.read({0, 256_KiB});
  EXPECT_EQ(fixture.cache.resident_pages(), 128U);  // The next window, asked for on the way.
}

TEST(PageCacheTest, MemoryIsNeverExceededAndTheOldestUnusedGoesFirst) {
  Fixture fixture(10'000, 100);
  fixture.reader.advice = SimAdvice::kRandom;
  for (std::uint64_t page = 0; page < 100; ++page) {
    fixture.cache.bring(page, 1, fixture.reader);
  }
  EXPECT_EQ(fixture.cache.resident_pages(), 100U);
  fixture.cache.bring(5000, 1, fixture.reader);  // All were used: the oldest after a full round.
  EXPECT_EQ(fixture.cache.resident_pages(), 100U);
  const std::uint64_t before = fixture.requests();
  fixture.cache.bring(1, 1, fixture.reader);
  EXPECT_EQ(fixture.requests(), before);
  fixture.cache.bring(0, 1, fixture.reader);
  EXPECT_EQ(fixture.requests(), before + 1);
  fixture.cache.check_invariants();
}

TEST(PageCacheTest, DirtyPagesAreWrittenInTheBackgroundAboveATenth) {
  Fixture fixture(10'000, 1000);
  for (std::uint64_t page = 0; page < 100; ++page) {
    fixture.cache.bring_empty(page);
    fixture.cache.mark_dirty(page);
    fixture.cache.balance();
  }
  EXPECT_FALSE(fixture.host.is_busy());
  fixture.cache.bring_empty(100);
  fixture.cache.mark_dirty(100);
  fixture.cache.balance();
  EXPECT_TRUE(fixture.host.is_busy());
}

TEST(PageCacheTest, AWriterWaitsAboveAFifth) {
  Fixture fixture(10'000, 1000);
  for (std::uint64_t page = 0; page < 5000; ++page) {
    fixture.cache.bring_empty(page);
    fixture.cache.mark_dirty(page);
    fixture.cache.balance();
    ASSERT_LE(fixture.cache.dirty_pages(), 200U);
  }
  fixture.cache.check_invariants();
}

TEST(PageCacheTest, SyncWritesEachDirtyPageOnceInFewRequestsAndFlushes) {
  Fixture fixture(10'000);
  for (std::uint64_t page = 0; page < 1000; ++page) {
    fixture.cache.bring_empty(page);
    fixture.cache.mark_dirty(page);
    fixture.cache.mark_dirty(page);
  }
  fixture.cache.sync();
  const DiskCounters counters = fixture.host.disk().counters();
  EXPECT_EQ(counters.written_bytes, 1000 * kPage);
  EXPECT_EQ(counters.writes, 4U);  // 1000 pages in requests of 256.
  EXPECT_EQ(counters.flushes, 1U);
  EXPECT_EQ(fixture.host.disk().unflushed_bytes(), 0U);
  EXPECT_EQ(fixture.cache.dirty_pages(), 0U);
}

TEST(PageCacheTest, APageChangedWhileItIsWrittenIsWrittenAgain) {
  Fixture fixture(100);
  fixture.cache.bring_empty(7);
  fixture.cache.mark_dirty(7);
  fixture.cache.write_back(0, 100, PageCache::Written::kKeep);
  fixture.cache.mark_dirty(7);
  EXPECT_EQ(fixture.cache.dirty_pages(), 2U);  // Once under way, once to come.
  fixture.cache.sync();
  EXPECT_EQ(fixture.host.disk().counters().writes, 2U);
}

TEST(PageCacheTest, WarmHoldsWhatTheMemoryHoldsAndAsksForNothing) {
  Fixture fixture(1000, 300);
  fixture.cache.warm_all();
  EXPECT_EQ(fixture.cache.resident_pages(), 300U);
  EXPECT_FALSE(fixture.cache.warm(999));
  for (std::uint64_t page = 0; page < 300; ++page) {
    fixture.cache.bring(page, 1, fixture.reader);
  }
  EXPECT_EQ(fixture.requests(), 0U);
}

TEST(PageCacheTest, DropTakesCleanPagesAlone) {
  Fixture fixture(1000);
  fixture.cache.warm_all();
  fixture.cache.mark_dirty(10);
  fixture.cache.drop(0, 1000);
  EXPECT_EQ(fixture.cache.resident_pages(), 1U);
  fixture.cache.sync();
  fixture.cache.drop(0, 1000);
  EXPECT_EQ(fixture.cache.resident_pages(), 0U);
}

// Goal:   whatever is done in whatever order, what is held is counted, linked and within the limit.
// Method: random calls on small files with little memory, on three disks.
TEST(PageCachePropertyTest, AnySequenceOfCallsKeepsTheInvariants) {
  Prng prng(testing::test_seed());
  for (const char* disk : {"hdd", "ssd,write_cache=off", "nvme"}) {
    for (int round = 0; round < 20; ++round) {
      const std::uint64_t file_pages = 1 + prng.below(2000);
      const std::uint64_t memory_pages = PageCache::kMemoryPagesMin + prng.below(1000);
      Fixture fixture(file_pages, memory_pages, parse_disk_model(disk).value());
      BufferedFile file(fixture.cache, prng.below(file_pages + 1) * kPage);
      MappedFile map(fixture.cache, prng.below(file_pages + 1) * kPage);
      file.advise(static_cast<SimAdvice>(prng.below(3)));
      map.advise(static_cast<SimAdvice>(prng.below(3)));
      for (int call = 0; call < 100; ++call) {
        const std::uint64_t offset = prng.below(file_pages * kPage);
        const std::uint64_t length = 1 + prng.below(std::min(file_pages * kPage - offset, 1_MiB));
        const ByteRange range{offset, length};
        switch (prng.below(12)) {
          case 0: file.read(range); break;
          case 1: file.write(range); break;
          case 2: file.read_and_drop(range); break;
          case 3: file.write_and_drop(range); break;
          case 4: map.load(range); break;
          case 5: map.store(range); break;
          case 6: map.populate(range); break;
          case 7: fixture.cache.drop(offset / kPage, length / kPage); break;
          case 8:
            fixture.cache.write_back(offset / kPage, length / kPage,
                                     static_cast<PageCache::Written>(prng.below(2)));
            break;
          case 9: file.ask(range); break;
          case 10: map.populate_for_store(range); break;
          default:
            if (prng.below(10) == 0) {
              file.sync();
              ASSERT_EQ(fixture.cache.dirty_pages(), 0U);
              ASSERT_EQ(fixture.host.disk().unflushed_bytes(), 0U);
            }
        }
        fixture.cache.check_invariants();
        ASSERT_LE(fixture.host.cpu_ns(), fixture.host.now().ns);
      }
    }
  }
}

}  // namespace
}  // namespace quire::sim
