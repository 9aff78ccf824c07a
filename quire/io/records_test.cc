// SPDX-License-Identifier: Apache-2.0
#include "quire/io/records.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "quire/base/prng.h"
#include "quire/io/file.h"
#include "quire/sys/call.h"
#include "quire/testing/nth_fault.h"
#include "quire/testing/seed.h"
#include "quire/testing/sim_store.h"
#include "quire/testing/temp_dir.h"

namespace quire {
namespace {

using testing::pattern_bytes;
using testing::SimStore;
using Bytes = std::vector<std::byte>;

Bytes copy(std::span<const std::byte> bytes) {
  return {bytes.begin(), bytes.end()};
}

constexpr std::size_t kSmallBuffer = 8192;

TEST(RecordWriterTest, SmallRecordsAreGatheredIntoFewWrites) {
  SimStore store;
  RecordWriter writer = RecordWriter::make(store, {.buffer_bytes = 64 * 1024}).value();
  constexpr std::size_t kRecords = 10'000;
  for (std::size_t i = 0; i < kRecords; ++i) {
    ASSERT_TRUE(writer.append(pattern_bytes(i * 64, 64)).has_value());
    ASSERT_EQ(writer.position_bytes(), (i + 1) * 64);
  }
  EXPECT_LT(store.image().size(), kRecords * 64);  // The last part is still gathered ...
  ASSERT_TRUE(writer.close().has_value());
  EXPECT_EQ(store.image(), pattern_bytes(0, kRecords * 64));  // ... and now is not.
  EXPECT_EQ(store.operation_count(), kRecords * 64 / (64 * 1024) + 1);
}

// Goal:   any sizes of records, flushes between them, and any place to begin give the bytes in
//         order.
// Method: random records against a vector; some are larger than the buffer.
TEST(RecordWriterTest, AnySizesGiveTheSameBytes) {
  Prng random(testing::test_seed());
  for (int round = 0; round < 50; ++round) {
    SimStore store;
    const std::uint64_t start = random.below(3) == 0 ? 0 : random.below(10'000);
    Bytes model = pattern_bytes(99, start);
    ASSERT_TRUE(store.write(0, model).has_value());
    RecordWriter writer = RecordWriter::make(store, {.buffer_bytes = kSmallBuffer}).value();
    for (int i = 0; i < 40; ++i) {
      const std::size_t length = random.below(4) == 0 ? random.below(40'000) : random.below(100);
      const Bytes record = pattern_bytes(model.size(), length);
      ASSERT_TRUE(writer.append(record).has_value());
      model.insert(model.end(), record.begin(), record.end());
      ASSERT_EQ(writer.position_bytes(), model.size());
      if (random.below(8) == 0) {
        ASSERT_TRUE(writer.flush(std::nullopt).has_value());
        ASSERT_EQ(store.image(), model);
      }
    }
    ASSERT_TRUE(writer.flush(Durability::kData).has_value());
    EXPECT_EQ(store.image(), model);
    EXPECT_EQ(store.unsynced_sectors(), 0U);
  }
}

TEST(RecordWriterTest, ItBeginsWhereItIsTold) {
  SimStore store;
  ASSERT_TRUE(store.write(0, Bytes(100)).has_value());
  RecordWriter writer = RecordWriter::make(store, {.offset_bytes = 10}).value();
  ASSERT_TRUE(writer.append(pattern_bytes(0, 5)).has_value());
  ASSERT_TRUE(writer.close().has_value());
  Bytes model(100);
  std::ranges::copy(pattern_bytes(0, 5), model.begin() + 10);
  EXPECT_EQ(store.image(), model);
}

TEST(RecordWriterTest, AClosedOrMovedWriterTakesNothing) {
  SimStore store;
  RecordWriter writer = RecordWriter::make(store).value();
  ASSERT_TRUE(writer.append(pattern_bytes(0, 5)).has_value());
  RecordWriter moved = std::move(writer);
  // NOLINTNEXTLINE(bugprone-use-after-move): what is left is what the test is about.
  EXPECT_EQ(writer.append(pattern_bytes(0, 5)).error().code(), Errc::kClosed);
  ASSERT_TRUE(moved.append(pattern_bytes(5, 5)).has_value());
  ASSERT_TRUE(moved.close().has_value());
  EXPECT_EQ(store.image(), pattern_bytes(0, 10));
  for (const std::size_t length : {std::size_t{0}, std::size_t{1}, std::size_t{1'000'000}}) {
    EXPECT_EQ(moved.append(Bytes(length)).error().code(), Errc::kClosed);
  }
  EXPECT_EQ(moved.flush(std::nullopt).error().code(), Errc::kClosed);
  EXPECT_EQ(moved.close().error().code(), Errc::kClosed);
  EXPECT_EQ(store.image(), pattern_bytes(0, 10));
}

// Goal:   whichever operation of the store fails, the writer tells it, and tells it for ever.
// Method: fail operation 1, 2, 3 ... until a run meets no fault.
TEST(RecordWriterTest, AnErrorStaysWhicheverOperationFails) {
  testing::fail_each_nth("operation", [](testing::NthFault& fault) {
    SimStore store({.seed = fault.nth, .fail_nth_operation = fault.nth, .fail_errno = ENOSPC});
    RecordWriter writer = RecordWriter::make(store, {.buffer_bytes = kSmallBuffer}).value();
    Result<void> result;
    for (int i = 0; i < 500 && result; ++i) {
      result = writer.append(pattern_bytes(0, 100));
    }
    if (result) {
      result = writer.flush(Durability::kData);
    }
    fault.was_hit = store.fault_count() > 0;
    ASSERT_EQ(result.has_value(), !fault.was_hit);
    if (result) {
      return;
    }
    EXPECT_EQ(result.error().code(), std::errc::no_space_on_device);
    const std::uint64_t operations = store.operation_count();
    EXPECT_EQ(writer.append(Bytes(1)).error().message(), result.error().message());
    EXPECT_EQ(writer.flush(Durability::kData).error().message(), result.error().message());
    EXPECT_EQ(writer.close().error().message(), result.error().message());
    EXPECT_EQ(store.operation_count(), operations) << "it was tried again";
  });
}

// Full buffers end at pages, and lie in memory as they lie in the file: nothing is copied twice.
TEST(RecordWriterTest, ADirectFileTakesFullBuffersAsTheyAre) {
  const testing::TempDir directory;
  const auto file = open_file(directory.file("log"),
                              {.writable = true, .create = true, .cache = CacheUse::kBypass})
                        .value();
  if (!file->is_direct()) {
    GTEST_SKIP() << "direct I/O: " << file->explain();
  }
  RecordWriter writer = RecordWriter::make(*file).value();
  ASSERT_TRUE(writer.append(pattern_bytes(0, 1000)).has_value());
  ASSERT_TRUE(writer.flush(std::nullopt).has_value());
  const std::uint64_t bounced_bytes = file->stats().bounced_bytes;
  Bytes model = pattern_bytes(0, 1000);
  while (model.size() < 3_MiB) {
    const Bytes record = pattern_bytes(model.size(), 64);
    ASSERT_TRUE(writer.append(record).has_value());
    model.insert(model.end(), record.begin(), record.end());
  }
  // Only the block that the flush left unfinished.
  EXPECT_LE(file->stats().bounced_bytes - bounced_bytes, 4096U);
  ASSERT_TRUE(writer.close().has_value());
  Bytes read(model.size());
  ASSERT_EQ(file->read(0, read).value(), model.size());
  EXPECT_EQ(read, model);
}

// --- RecordReader --------------------------------------------------------------------------------

TEST(RecordReaderTest, RecordsOfAnySizeComeInOrder) {
  Prng random(testing::test_seed());
  for (int round = 0; round < 50; ++round) {
    SimStore store;
    const Bytes model = pattern_bytes(0, 30'000 + random.below(5'000));
    ASSERT_TRUE(store.write(0, model).has_value());
    std::size_t at = random.below(2) == 0 ? 0 : random.below(6'000);
    RecordReader reader(store, {.offset_bytes = at, .buffer_bytes = kSmallBuffer});
    while (true) {
      // Some need a larger buffer, or the rest of it.
      const std::size_t length = random.below(8) == 0 ? random.below(20'000) : random.below(300);
      const Bytes record = copy(reader.next(length).value());
      ASSERT_EQ(record.size(), std::min(length, model.size() - at));
      const auto begin = model.begin() + static_cast<std::ptrdiff_t>(at);
      ASSERT_TRUE(std::equal(record.begin(), record.end(), begin));
      at += record.size();
      ASSERT_EQ(reader.position_bytes(), at);
      if (record.size() < length) {
        break;
      }
    }
    EXPECT_EQ(at, model.size());
  }
}

TEST(RecordReaderTest, SmallRecordsAreReadInLargePieces) {
  SimStore store;
  ASSERT_TRUE(store.write(0, Bytes(640'000)).has_value());
  const std::uint64_t before = store.operation_count();
  RecordReader reader(store, {.buffer_bytes = 64 * 1024});
  for (int i = 0; i < 10'000; ++i) {
    ASSERT_EQ(reader.next(64).value().size(), 64U);
  }
  EXPECT_LE(store.operation_count() - before, 640'000U / (64 * 1024) + 2);
  EXPECT_TRUE(reader.next(64).value().empty());
}

// A length that comes from a damaged file must not take all memory.
TEST(RecordReaderTest, AnAbsurdLengthTakesNoMoreMemoryThanThereIsToRead) {
  SimStore store;
  ASSERT_TRUE(store.write(0, pattern_bytes(0, 50'000)).has_value());
  RecordReader reader(store, {.buffer_bytes = kSmallBuffer});
  ASSERT_EQ(reader.next(10).value().size(), 10U);
  EXPECT_EQ(copy(reader.next(SIZE_MAX).value()), pattern_bytes(10, 49'990));
  EXPECT_TRUE(reader.next(SIZE_MAX).value().empty());
}

TEST(RecordReaderTest, AGrowingStoreIsReadOn) {
  SimStore store;
  RecordReader reader(store);
  EXPECT_TRUE(reader.next(10).value().empty());
  ASSERT_TRUE(store.write(0, pattern_bytes(0, 25)).has_value());
  EXPECT_EQ(copy(reader.next(10).value()), pattern_bytes(0, 10));
  EXPECT_EQ(reader.next(20).value().size(), 15U);
  ASSERT_TRUE(store.write(25, pattern_bytes(25, 5)).has_value());
  EXPECT_EQ(copy(reader.next(10).value()), pattern_bytes(25, 5));
}

TEST(RecordReaderTest, AfterAnErrorTheSameRecordIsReadAgain) {
  SimStore store({.fail_nth_operation = 3});
  ASSERT_TRUE(store.write(0, pattern_bytes(0, 20'000)).has_value());
  RecordReader reader(store, {.buffer_bytes = kSmallBuffer});
  ASSERT_EQ(reader.next(3'000).value().size(), 3'000U);
  ASSERT_EQ(reader.next(3'000).value().size(), 3'000U);
  EXPECT_EQ(reader.next(3'000).error().code(), std::errc::io_error);
  EXPECT_EQ(reader.position_bytes(), 6'000U);
  EXPECT_EQ(copy(reader.next(3'000).value()), pattern_bytes(6'000, 3'000));
}

}  // namespace
}  // namespace quire
