// SPDX-License-Identifier: Apache-2.0
#include "quire/map/address_space.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>

#include "quire/base/units.h"
#include "quire/sys/call.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

constexpr AddressSpace::Backing kMemory{.protection = sys::Protection::kReadWrite,
                                        .visibility = sys::Visibility::kPrivate};

TEST(AddressSpaceTest, GrowsAndShrinksInPlaceAndZeroesWhatReturns) {
  AddressSpace space = AddressSpace::map(kMemory, 4096, 1_MiB).value();
  std::byte* first = space.address();
  ASSERT_TRUE(space.set_backed(kMemory, 1_MiB));
  first[1_MiB - 1] = std::byte{1};
  ASSERT_TRUE(space.set_backed(kMemory, 4096));
  ASSERT_TRUE(space.set_backed(kMemory, 1_MiB));
  EXPECT_EQ(space.address(), first);
  EXPECT_EQ(first[1_MiB - 1], std::byte{0});
  space.check_invariants();
}

TEST(AddressSpaceTest, ReservationCostsNoMemory) {
  const AddressSpace space = AddressSpace::map(kMemory, 0, 1_TiB).value();
  EXPECT_EQ(space.reserved_bytes(), 1_TiB);
  EXPECT_EQ(space.backed_bytes(), 0U);
}

TEST(AddressSpaceTest, FailedChangeLeavesItAsItWas) {
  AddressSpace space = AddressSpace::map(kMemory, 4096, 1_MiB).value();
  const sys::FaultPlan plan({.call = sys::Call::kMap, .times = 2, .error = ENOMEM});
  EXPECT_FALSE(space.set_backed(kMemory, 8192));
  EXPECT_FALSE(space.set_backed(kMemory, 0));
  EXPECT_EQ(space.backed_bytes(), 4096U);
  space.address()[4095] = std::byte{1};
  space.check_invariants();
}

TEST(AddressSpaceTest, TrimGivesTheRestBack) {
  AddressSpace space = AddressSpace::map(kMemory, 8192, 1_MiB).value();
  space.trim(4096);
  EXPECT_EQ(space.reserved_bytes(), 4096U);
  EXPECT_EQ(space.backed_bytes(), 4096U);
  space.address()[4095] = std::byte{1};
  space.check_invariants();
}

TEST(AddressSpaceTest, MovedFromIsEmptyAndReleasedOnce) {
  const sys::FaultPlan counting({});
  {
    AddressSpace first = AddressSpace::map(kMemory, 4096, 4096).value();
    AddressSpace second = std::move(first);
    first = std::move(second);
    first.check_invariants();
    second.check_invariants();  // NOLINT(bugprone-use-after-move): that is the claim.
    EXPECT_FALSE(second.is_open());
  }
  EXPECT_EQ(counting.count(sys::Call::kUnmap), 1U);
}

}  // namespace
}  // namespace quire
