// SPDX-License-Identifier: Apache-2.0
//
// What the cache costs and holds at its largest: memory before the first touch, and after the last.
#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "quire/base/units.h"
#include "quire/cache/frames.h"
#include "quire/cache/granule_table.h"
#include "quire/cache/range_registry.h"

namespace quire {
namespace {

using Entry = GranuleTable::Entry;

void enter(GranuleTable& table, std::uint64_t granule) {
  if (table.enter(granule) == Entry::kMustCharge) {
    EXPECT_TRUE(table.enter_charged(granule));
  }
}

// A field of a file of /proc that counts in KiB.
std::uint64_t field_bytes(const char* path, const std::string& name) {
  std::ifstream file(path);
  for (std::string word; file >> word;) {
    std::uint64_t kib = 0;
    if (word == name && file >> kib) {
      return kib * 1024;
    }
  }
  ADD_FAILURE() << path << " has no " << name;
  return 0;
}

std::uint64_t page_table_bytes() {
  return field_bytes("/proc/self/status", "VmPTE:");
}

// The process's memory and page tables, as the kernel counts when it walks them.
std::uint64_t memory_bytes() {
  return field_bytes("/proc/self/smaps_rollup", "Rss:") + page_table_bytes();
}

TEST(CacheSizesTest, ATableOfATebibyteCostsNextToNothingUntilItIsTouched) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "memory of the process: a sanitizer's shadow is part of it";
#endif
  const std::uint64_t before = memory_bytes();
  GranuleTable table = GranuleTable::make(1_TiB / 4_KiB).value();
  for (std::uint64_t granule = 0; granule < table.granule_count(); granule += 99'991) {
    ASSERT_EQ(table.word(granule).bits, 0U);
    ASSERT_EQ(table.note(granule), 0U);
    ASSERT_EQ(table.enter(granule), Entry::kMustCharge);
  }
  EXPECT_EQ(table.next_in_use(0), table.granule_count());
  EXPECT_LT(memory_bytes() - before, 128_KiB);
  enter(table, table.granule_count() - 1);
  EXPECT_EQ(table.next_in_use(0), table.granule_count() - GranuleTable::kLeafGranules);
  table.check_invariants();
  EXPECT_LT(memory_bytes() - before, 256_KiB);
}

// Goal:   what is charged is what is taken, and it comes back.
// Method: 2048 leaves, far apart, are 8 MiB of cells. Then all of them are given back.
TEST(CacheSizesTest, LeavesGivenBackAreMemoryGivenBack) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "memory of the process: a sanitizer's shadow is part of it";
#endif
  constexpr std::uint64_t kLeaves = 2048;
  GranuleTable table = GranuleTable::make(kLeaves * GranuleTable::kLeafGranules).value();
  const std::uint64_t before = memory_bytes();
  for (std::uint64_t i = 0; i < kLeaves; ++i) {
    enter(table, i * GranuleTable::kLeafGranules + i % GranuleTable::kLeafGranules);
    table.set_note(i * GranuleTable::kLeafGranules, 1);
  }
  const std::uint64_t full = memory_bytes();
  EXPECT_EQ(table.metadata_bytes(), kLeaves * 4_KiB);
  EXPECT_GE(full - before, kLeaves * 4_KiB);
  EXPECT_LT(full - before, kLeaves * 4_KiB + 128_KiB);
  for (std::uint64_t i = 0; i < kLeaves; ++i) {
    table.leave(i * GranuleTable::kLeafGranules);
    ASSERT_TRUE(table.begin_give_back(i * GranuleTable::kLeafGranules));
    table.finish_give_back(i * GranuleTable::kLeafGranules);
  }
  EXPECT_LT(memory_bytes() - before, 128_KiB);
  EXPECT_EQ(table.metadata_bytes(), 0U);
}

TEST(CacheSizesTest, FramesOfATebibyteCostNextToNothingUntilTheyAreTouched) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "memory of the process: a sanitizer's shadow is part of it";
#endif
  const std::uint64_t before = memory_bytes();
  const auto frames = Frames::make({.name = "sparse",
                                    .size_bytes = 1_TiB,
                                    .reserve_bytes = 2_TiB,
                                    .granule_bytes = 4_KiB,
                                    .is_writable = true});
  if (!frames) {
    GTEST_SKIP() << "userfaultfd: " << frames.error().message();
  }
  EXPECT_LT(memory_bytes() - before, 128_KiB);
  const std::vector<std::byte> page(4_KiB, std::byte{7});
  ASSERT_TRUE((*frames)->install(1_TiB - 4_KiB, page, sys::Installed::kProtected));
  EXPECT_EQ((*frames)->view()[1_TiB - 1], std::byte{7});
  EXPECT_EQ((*frames)->resident_bytes().value(), 4_KiB);
  EXPECT_LT(memory_bytes() - before, 128_KiB);
}

// Goal:   the page tables of what went are given back, too.
// Method: markers in 64 MiB build 32 page tables of 2 MiB each. An unmapping alone keeps them.
TEST(CacheSizesTest, ForgottenRangesGiveTheirPageTablesBack) {
  constexpr std::uint64_t kLength = 64_MiB;
  const auto frames = Frames::make({.name = "tables",
                                    .size_bytes = kLength,
                                    .reserve_bytes = kLength,
                                    .granule_bytes = 4_KiB,
                                    .is_writable = true});
  if (!frames) {
    GTEST_SKIP() << "userfaultfd: " << frames.error().message();
  }
  const std::uint64_t before = page_table_bytes();
  ASSERT_TRUE((*frames)->protect(0, kLength));
  EXPECT_GE(page_table_bytes() - before, kLength / 512);
  ASSERT_TRUE((*frames)->forget_page_tables(0, kLength / 2));
  const std::uint64_t half = page_table_bytes() - before;
  if (half >= kLength / 512) {
    GTEST_SKIP() << "page tables: this kernel frees them with the mapping only (before 6.14)";
  }
  EXPECT_LT(half, kLength / 512 * 6 / 10);
  ASSERT_TRUE((*frames)->forget_page_tables(kLength / 2, 2_MiB));  // One leaf of 4 KiB granules.
  EXPECT_EQ(page_table_bytes() - before, half - 4_KiB);
}

// Addresses are only compared: nothing is mapped there.
const std::byte* address(std::uintptr_t number) {
  // NOLINTNEXTLINE(performance-no-int-to-ptr): no object of ours has the addresses a test wants.
  return reinterpret_cast<const std::byte*>(number);
}

TEST(CacheSizesTest, TheRegistryTakesAllItsRangesAndNoMore) {
  auto registry = std::make_unique<RangeRegistry>();
  constexpr std::uint32_t kMax = RangeRegistry::kRangesMax;
  std::vector<int> owners(kMax + 1);  // Only their addresses matter.
  for (std::uint32_t i = 0; i < kMax; ++i) {
    ASSERT_EQ(registry->add(address((i + 1) * std::uintptr_t{0x1000}), 0x1000, &owners[i]).value(),
              i);
  }
  const auto refused = registry->add(address(0x1), 0x10, &owners[kMax]);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code(), Errc::kLimit);
  registry->check_invariants();
  for (std::uint32_t i = 0; i < kMax; ++i) {
    ASSERT_EQ(registry->find(address((i + 2) * 0x1000U - 1)).owner(), &owners[i]);
  }
  registry->remove(kMax / 2);
  EXPECT_EQ(registry->add(address(0x1), 0x10, &owners[kMax]).value(), kMax / 2);
}

}  // namespace
}  // namespace quire
