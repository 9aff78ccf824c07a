// SPDX-License-Identifier: Apache-2.0
#include "quire/cache/range_registry.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <thread>
#include <vector>

#include "quire/base/prng.h"
#include "quire/testing/seed.h"

namespace quire {
namespace {

// Addresses are only compared: nothing is mapped there.
const std::byte* address(std::uintptr_t number) {
  // NOLINTNEXTLINE(performance-no-int-to-ptr): no object of ours has the addresses a test wants.
  return reinterpret_cast<const std::byte*>(number);
}

struct Owner {
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
};

class RangeRegistryTest : public ::testing::Test {
 protected:
  std::uint32_t add(Owner& owner) {
    return registry_->add(address(owner.begin), owner.end - owner.begin, &owner).value();
  }
  const void* owner_of(std::uintptr_t number) { return registry_->find(address(number)).owner(); }

  std::unique_ptr<RangeRegistry> registry_ = std::make_unique<RangeRegistry>();
};

TEST_F(RangeRegistryTest, AnAddressBelongsToTheRangeAroundIt) {
  Owner low{.begin = 0x1000, .end = 0x3000};
  Owner next{.begin = 0x3000, .end = 0x4000};
  Owner high{.begin = 0x9000, .end = 0xa000};
  add(high);
  add(low);
  add(next);
  EXPECT_EQ(registry_->count(), 3U);
  registry_->check_invariants();
  EXPECT_EQ(owner_of(0), nullptr);
  EXPECT_EQ(owner_of(0xfff), nullptr);
  EXPECT_EQ(owner_of(0x1000), &low);
  EXPECT_EQ(owner_of(0x2fff), &low);
  EXPECT_EQ(owner_of(0x3000), &next);
  EXPECT_EQ(owner_of(0x4000), nullptr);
  EXPECT_EQ(owner_of(0x9fff), &high);
  EXPECT_EQ(owner_of(0xa000), nullptr);
  EXPECT_EQ(owner_of(UINTPTR_MAX), nullptr);
}

TEST_F(RangeRegistryTest, WhatWasRemovedIsNotFoundAndItsSlotIsUsedAgain) {
  Owner first{.begin = 0x1000, .end = 0x2000};
  Owner second{.begin = 0x2000, .end = 0x3000};
  const std::uint32_t slot = add(first);
  add(second);
  registry_->remove(slot);
  EXPECT_EQ(owner_of(0x1000), nullptr);
  EXPECT_EQ(owner_of(0x2000), &second);
  EXPECT_EQ(add(first), slot);
  EXPECT_EQ(owner_of(0x1000), &first);
  registry_->check_invariants();
}

TEST_F(RangeRegistryTest, AMovedClaimIsReleasedOnce) {
  Owner owner{.begin = 0x1000, .end = 0x2000};
  const std::uint32_t slot = add(owner);
  {
    RangeRegistry::Claim claim = registry_->find(address(0x1800));
    const RangeRegistry::Claim moved = std::move(claim);
    EXPECT_EQ(moved.owner(), &owner);
    EXPECT_EQ(moved.slot(), slot);
  }
  registry_->remove(slot);  // Would never return if a claim were left.
  EXPECT_EQ(registry_->count(), 0U);
}

TEST_F(RangeRegistryTest, RemoveWaitsForTheLastClaim) {
  Owner owner{.begin = 0x1000, .end = 0x2000};
  const std::uint32_t slot = add(owner);
  bool is_released = false;  // Plain: the wait must order it.
  auto claim = std::make_unique<RangeRegistry::Claim>(registry_->find(address(0x1000)));
  std::thread remover([&] {
    registry_->remove(slot);
    EXPECT_TRUE(is_released);
  });
  while (registry_->find(address(0x1000))) {
    std::this_thread::yield();  // Until remove() has taken it out of sight.
  }
  is_released = true;
  claim.reset();
  remover.join();
}

TEST_F(RangeRegistryTest, OverlappingRangesAreABug) {
  Owner owner{.begin = 0x2000, .end = 0x4000};
  const std::uint32_t slot = add(owner);
  for (const Owner wrong : {Owner{0x1000, 0x2001}, Owner{0x3fff, 0x5000}, Owner{0x2000, 0x3000},
                            Owner{0x1000, 0x9000}}) {
    Owner other = wrong;
    EXPECT_DEATH(add(other), "begin|end");
  }
  EXPECT_DEATH(registry_->remove(slot + 1), "above|slot_index");
}

TEST(RangeRegistryProcessTest, TheProcessHasOne) {
  Owner owner{.begin = 0x1000, .end = 0x2000};
  RangeRegistry& registry = RangeRegistry::of_process();
  const std::uint32_t slot = registry.add(address(owner.begin), 0x1000, &owner).value();
  EXPECT_EQ(RangeRegistry::of_process().find(address(0x1fff)).owner(), &owner);
  registry.remove(slot);
}

// Adds and removes ranges of one stretch of addresses at random; owners die when they are removed.
void churn(RangeRegistry& registry, std::uintptr_t base, std::uint64_t seed) {
  constexpr std::size_t kPlaces = 4;  // Few, so that readers meet what changes.
  struct Place {
    std::unique_ptr<Owner> owner;
    std::uint32_t slot = 0;
  };
  std::vector<Place> places(kPlaces);
  Prng prng(seed);
  for (int step = 0; step < 60'000; ++step) {
    const std::size_t i = prng.below(kPlaces);
    Place& place = places[i];
    if (place.owner == nullptr) {
      const std::uintptr_t begin = base + i * 0x1000;
      place.owner = std::make_unique<Owner>(Owner{begin, begin + 1 + prng.below(0x1000)});
      place.slot =
          registry.add(address(begin), place.owner->end - place.owner->begin, place.owner.get())
              .value();
    } else {
      registry.remove(place.slot);
      place.owner.reset();
    }
  }
  for (Place& place : places) {
    if (place.owner != nullptr) {
      registry.remove(place.slot);
    }
  }
}

// Goal:   a claimed owner is alive and is the one that owns the address, whatever is added and
//         removed meanwhile.
// Method: two threads change, three look. Owners are plain objects that are freed when their range
//         is removed: the sanitizers see who is too late, and everybody sees a wrong one.
TEST_F(RangeRegistryTest, ReadersFindLivingOwnersUnderChurn) {
  constexpr std::uintptr_t kBase = 0x100000;
  constexpr std::uintptr_t kStretch = 0x4000;
  std::atomic<bool> is_over{false};
  std::atomic<std::uint64_t> found{0};
  std::atomic<std::uint64_t> wrong{0};
  std::vector<std::thread> readers;
  for (std::uint64_t i = 0; i < 3; ++i) {
    readers.emplace_back([&, seed = testing::test_seed() + i] {
      Prng prng(seed);
      while (!is_over) {
        const std::uintptr_t wanted = kBase + prng.below(2 * kStretch);
        const RangeRegistry::Claim claim = registry_->find(address(wanted));
        if (claim) {
          const auto* owner = static_cast<const Owner*>(claim.owner());
          found.fetch_add(1);
          wrong.fetch_add(owner->begin <= wanted && wanted < owner->end ? 0 : 1);
        }
      }
    });
  }
  std::thread low([&] { churn(*registry_, kBase, testing::test_seed()); });
  std::thread high([&] { churn(*registry_, kBase + kStretch, testing::test_seed() + 9); });
  low.join();
  high.join();
  is_over = true;
  std::ranges::for_each(readers, &std::thread::join);
  EXPECT_EQ(wrong.load(), 0U);
  EXPECT_GT(found.load(), 0U);
  EXPECT_EQ(registry_->count(), 0U);
  registry_->check_invariants();
}

}  // namespace
}  // namespace quire
