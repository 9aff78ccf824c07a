// SPDX-License-Identifier: Apache-2.0
#include "quire/testing/sim_store.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <string>

#include "quire/testing/seed.h"

namespace quire::testing {
namespace {

using Bytes = std::vector<std::byte>;

constexpr std::size_t kSector = 512;

Bytes filled(std::size_t length_bytes, int value) {
  return Bytes(length_bytes, static_cast<std::byte>(value));
}

TEST(SimStoreTest, WhatWasSyncedSurvives) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    SimStore store({.seed = seed, .tears_sectors = true});
    ASSERT_TRUE(store.write(100, filled(5'000, 1)).has_value());
    ASSERT_TRUE(store.punch({200, 10}).has_value());
    ASSERT_TRUE(store.sync(Durability::kData).has_value());
    const Bytes before = store.image();
    store.crash();
    EXPECT_EQ(store.image(), before);
  }
}

// A set of vectors of bytes does not compile with gcc 12 at -O3: it warns about their comparison.
std::string text_of(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(SimStoreTest, StartedIsNotDurable) {
  std::set<std::string> images;
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    SimStore store({.seed = seed});
    ASSERT_TRUE(store.write(0, filled(kSector, 1)).has_value());
    ASSERT_TRUE(store.sync(Durability::kStarted).has_value());
    store.crash();
    images.insert(text_of(store.image()));
  }
  // Nothing; the size without the bytes; all of it.
  EXPECT_EQ(images,
            (std::set<std::string>{"", text_of(filled(kSector, 0)), text_of(filled(kSector, 1))}));
}

// Goal:   a power cut loses, reorders and tears what was not synced, and invents nothing.
// Method: two versions over a synced one; each sector ends as one of the three, and over many
//         seeds every combination of two sectors comes up.
TEST(SimStoreTest, APowerCutTakesAnyVersionOfEachSector) {
  std::set<std::pair<int, int>> seen;
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    SimStore store({.seed = test_seed() + seed});
    for (int version = 1; version <= 3; ++version) {
      ASSERT_TRUE(store.write(0, filled(2 * kSector, version)).has_value());
      if (version == 1) {
        ASSERT_TRUE(store.sync(Durability::kData).has_value());
      }
    }
    EXPECT_EQ(store.unsynced_sectors(), 2U);
    store.crash();
    const Bytes image = store.image();
    ASSERT_EQ(image.size(), 2 * kSector);
    for (const std::size_t sector : {std::size_t{0}, kSector}) {
      const Bytes bytes(image.begin() + static_cast<std::ptrdiff_t>(sector),
                        image.begin() + static_cast<std::ptrdiff_t>(sector + kSector));
      ASSERT_EQ(bytes, filled(kSector, static_cast<int>(bytes[0]))) << "a sector is torn";
    }
    seen.emplace(static_cast<int>(image[0]), static_cast<int>(image[kSector]));
  }
  EXPECT_EQ(seen.size(), 9U);
  EXPECT_TRUE(std::ranges::all_of(seen, [](const auto& pair) {
    return pair.first >= 1 && pair.first <= 3 && pair.second >= 1 && pair.second <= 3;
  }));
}

TEST(SimStoreTest, SectorsAreTornWhereThatIsAskedFor) {
  int torn = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    SimStore store({.seed = seed, .tears_sectors = true});
    ASSERT_TRUE(store.write(0, filled(kSector, 1)).has_value());
    ASSERT_TRUE(store.sync(Durability::kData).has_value());
    ASSERT_TRUE(store.write(0, filled(kSector, 2)).has_value());
    store.crash();
    const Bytes image = store.image();
    // New at the front, old behind.
    EXPECT_TRUE(std::ranges::is_sorted(image, std::ranges::greater()));
    torn += image.front() != image.back() ? 1 : 0;
  }
  EXPECT_GT(torn, 0);
}

TEST(SimStoreTest, ASeedReplays) {
  const auto run = [](std::uint64_t seed) {
    SimStore store({.seed = seed, .fail_nth_operation = 4, .tears_sectors = true});
    for (int i = 0; i < 6; ++i) {
      static_cast<void>(store.write(static_cast<std::uint64_t>(i) * 300, filled(4'000, i + 1)));
    }
    store.crash();
    return store.image();
  };
  EXPECT_EQ(run(7), run(7));
  EXPECT_NE(run(7), run(8));
}

TEST(SimStoreTest, AFailedWriteLeavesAMixture) {
  std::set<std::size_t> written;
  for (std::uint64_t seed = 0; seed < 30; ++seed) {
    SimStore store({.seed = seed, .fail_nth_operation = 2});
    ASSERT_TRUE(store.write(0, filled(8 * kSector, 1)).has_value());
    const Result<void> failed = store.write(0, filled(8 * kSector, 2));
    ASSERT_FALSE(failed.has_value());
    EXPECT_EQ(failed.error().code(), std::errc::io_error);
    EXPECT_EQ(store.fault_count(), 1U);
    const Bytes image = store.image();
    written.insert(static_cast<std::size_t>(std::ranges::count(image, std::byte{2})) / kSector);
    EXPECT_TRUE(store.write(0, filled(1, 3)).has_value());  // A failed write does not stick.
  }
  EXPECT_GT(written.size(), 3U);
}

TEST(SimStoreTest, AFailedSyncSticksUntilThePowerCut) {
  SimStore store({.fail_nth_operation = 2});
  ASSERT_TRUE(store.write(0, filled(100, 1)).has_value());
  EXPECT_EQ(store.sync(Durability::kData).error().code(), std::errc::io_error);
  EXPECT_EQ(store.sync(Durability::kData).error().code(), Errc::kFailed);
  EXPECT_EQ(store.write(0, filled(1, 1)).error().code(), Errc::kFailed);
  EXPECT_EQ(store.resize(0).error().code(), Errc::kFailed);
  EXPECT_EQ(store.punch({0, 1}).error().code(), Errc::kFailed);
  Bytes bytes(100);
  EXPECT_EQ(store.read(0, bytes).value(), 100U);
  store.crash();
  EXPECT_TRUE(store.sync(Durability::kData).has_value());
}

TEST(SimStoreTest, AFullStoreIsFull) {
  SimStore store({.capacity_bytes = 1'000});
  EXPECT_TRUE(store.write(0, filled(1'000, 1)).has_value());
  EXPECT_EQ(store.write(999, filled(2, 2)).error().code(), std::errc::no_space_on_device);
  EXPECT_EQ(store.allocate({0, 1'001}).error().code(), std::errc::no_space_on_device);
  EXPECT_EQ(store.image(), filled(1'000, 1));
  EXPECT_TRUE(store.write(999, filled(1, 2)).has_value());
}

TEST(SimStoreTest, WhatWasCutOffIsZeroInAnyCase) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    SimStore store({.seed = seed});
    ASSERT_TRUE(store.write(0, filled(4 * kSector, 1)).has_value());
    ASSERT_TRUE(store.resize(700).has_value());
    ASSERT_TRUE(store.resize(4 * kSector).has_value());
    ASSERT_TRUE(store.sync(Durability::kData).has_value());
    store.crash();
    Bytes expected = filled(700, 1);
    expected.resize(4 * kSector);
    EXPECT_EQ(store.image(), expected);
  }
}

}  // namespace
}  // namespace quire::testing
