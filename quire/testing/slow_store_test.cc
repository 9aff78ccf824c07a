// SPDX-License-Identifier: Apache-2.0
#include "quire/testing/slow_store.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <thread>
#include <vector>

#include "quire/testing/temp_dir.h"

namespace quire::testing {
namespace {

using std::chrono::microseconds;

struct Stores {
  explicit Stores(const SlowStoreOptions& options = {})
      : memory(std::make_shared<MemoryStore>(pattern_bytes(0, 10'000))), slow(memory, options) {}

  std::shared_ptr<MemoryStore> memory;
  SlowStore slow;
};

TEST(SlowStoreTest, ShortPiecesAddUpToWholeRequests) {
  Stores stores({.seed = 1, .read_latency_max = microseconds(1), .transfer_bytes_max = 7});
  std::vector<std::byte> bytes(1000);
  EXPECT_EQ(stores.slow.read(9'500, bytes).value(), 500u);
  bytes.resize(500);
  EXPECT_EQ(bytes, pattern_bytes(9'500, 500));
  const std::vector<std::byte> other = pattern_bytes(77, 1000);
  ASSERT_TRUE(stores.slow.write(9'900, other).has_value());
  bytes.resize(1000);
  EXPECT_EQ(stores.memory->read(9'900, bytes).value(), 1000u);
  EXPECT_EQ(bytes, other);
  EXPECT_EQ(stores.slow.bytes(StoreOperation::kRead), 1000u);
  EXPECT_EQ(stores.slow.count(StoreOperation::kWrite), 1u);
}

TEST(SlowStoreTest, FailsTheNthOperationOfItsKindAndNoOther) {
  Stores stores;
  stores.slow.fail({.operation = StoreOperation::kWrite, .nth = 2, .times = 2, .error = ENOSPC});
  std::vector<std::byte> bytes(8, std::byte{1});
  EXPECT_TRUE(stores.slow.write(0, bytes).has_value());
  EXPECT_TRUE(stores.slow.read(0, bytes).has_value());
  EXPECT_EQ(stores.slow.write(100, bytes).error().code(), std::errc::no_space_on_device);
  EXPECT_FALSE(stores.slow.write(100, bytes).has_value());
  EXPECT_TRUE(stores.slow.write(100, bytes).has_value());
  EXPECT_EQ(stores.slow.fault_count(), 2u);
}

TEST(SlowStoreTest, FailedWriteLeavesItsFirstHalf) {
  Stores stores;
  stores.slow.fail({.operation = StoreOperation::kWrite});
  EXPECT_FALSE(stores.slow.write(0, std::vector<std::byte>(100)).has_value());
  std::vector<std::byte> expected = pattern_bytes(0, 10'000);
  std::fill_n(expected.begin(), 50, std::byte{0});
  EXPECT_EQ(stores.memory->image(), expected);
}

TEST(SlowStoreTest, ErrorsStickToChangesUntilItIsHealed) {
  Stores stores({.do_errors_stick = true});
  stores.slow.fail({.operation = StoreOperation::kSync});
  std::vector<std::byte> bytes(8);
  EXPECT_EQ(stores.slow.sync(Durability::kData).error().code(), std::errc::io_error);
  EXPECT_EQ(stores.slow.write(0, bytes).error().code(), Errc::kFailed);
  EXPECT_EQ(stores.slow.sync(Durability::kData).error().code(), Errc::kFailed);
  EXPECT_TRUE(stores.slow.read(0, bytes).has_value());
  stores.slow.heal();
  EXPECT_TRUE(stores.slow.write(0, bytes).has_value());
}

TEST(SlowStoreTest, CapacityEndsWritingAndAllocating) {
  MemoryStore store(100);
  store.set_capacity(50);
  EXPECT_EQ(store.write(40, std::vector<std::byte>(20)).error().code(),
            std::errc::no_space_on_device);
  EXPECT_EQ(store.allocate({0, 51}).error().code(), std::errc::no_space_on_device);
  EXPECT_TRUE(store.write(30, std::vector<std::byte>(20)).has_value());
  EXPECT_EQ(store.size_bytes().value(), 100u);
}

TEST(SlowStoreTest, GateHoldsRequestsOfItsRangeOnly) {
  Stores stores;
  std::vector<std::byte> bytes(100);
  std::vector<std::byte> held(100);
  SlowStore::Gate gate(stores.slow, StoreOperation::kRead, {1000, 1000});
  std::jthread reader([&] { EXPECT_TRUE(stores.slow.read(1950, held).has_value()); });
  gate.await_arrivals(1);
  EXPECT_TRUE(stores.slow.read(2000, bytes).has_value());
  EXPECT_TRUE(stores.slow.write(1000, bytes).has_value());
  EXPECT_EQ(held, std::vector<std::byte>(100));
  gate.open();
  reader.join();
  EXPECT_EQ(held, pattern_bytes(1950, 100));
}

}  // namespace
}  // namespace quire::testing
