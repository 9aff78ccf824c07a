// SPDX-License-Identifier: Apache-2.0
//
// What every Store promises (quire/io/store.h), as tests. A store joins with one line:
//
//   INSTANTIATE_TEST_SUITE_P(Mine, StoreConformanceTest, ::testing::Values(
//       StoreMaker{"Mine", [](const TempDir& directory) { return make_my_store(directory); }}),
//       store_maker_name);
//
// The tests of threads are in store_concurrency.h. Included by one source of a test program. Each
// test gets an empty store of its own.
//
// Thread-safety: one thread.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <string>
#include <vector>

#include "quire/base/page_window.h"
#include "quire/base/prng.h"
#include "quire/io/store.h"
#include "quire/testing/seed.h"
#include "quire/testing/store_concurrency.h"
#include "quire/testing/store_fixture.h"
#include "quire/testing/store_model.h"
#include "quire/testing/temp_dir.h"

namespace quire::testing {

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(StoreConformanceTest);

TEST_P(StoreConformanceTest, AnEmptyStoreReadsAsNothing) {
  EXPECT_EQ(store().size_bytes().value(), 0U);
  EXPECT_FALSE(store().name().empty());
  for (const std::uint64_t offset : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{4096},
                                     kFileOffsetMax, kFileOffsetMax + 1, kToEnd}) {
    EXPECT_TRUE(read_at(offset, 100).empty()) << offset;
    EXPECT_EQ(store().read(offset, {}).value(), 0U) << offset;
  }
}

TEST_P(StoreConformanceTest, AnEmptyWriteChangesNothing) {
  EXPECT_TRUE(store().write(12345, {}).has_value());
  EXPECT_TRUE(store().write_pieces(12345, {}).has_value());
  EXPECT_EQ(store().size_bytes().value(), 0U);
}

TEST_P(StoreConformanceTest, AWritePastWhatAFileCanBeIsAnError) {
  const Bytes two(2);
  const Result<void> written = store().write(kFileOffsetMax - 1, two);
  ASSERT_FALSE(written.has_value());
  EXPECT_EQ(written.error().code(), std::errc::file_too_large);
  EXPECT_FALSE(store().write(kToEnd, two).has_value());
  EXPECT_EQ(store().size_bytes().value(), 0U);
}

// Goal:   any offset, any length and any address of memory give exactly the bytes asked for.
// Method: all combinations of numbers around what devices and buffers are made of. Each round
//         writes into one file that grows, and reads back more than was written.
TEST_P(StoreConformanceTest, AnyOffsetLengthAndMemoryDoes) {
  constexpr std::array<std::uint64_t, 9> kOffsets{0, 1, 511, 512, 513, 4095, 4096, 70'000, 266'240};
  constexpr std::array<std::size_t, 9> kLengths{1,    2,      511,    512,    4096,
                                                4097, 65'536, 70'001, 300'000};
  constexpr std::array<std::size_t, 4> kSkews{0, 1, 512, 4095};
  alignas(4096) static std::array<std::byte, 320 * 1024> memory;
  Bytes model;
  std::uint64_t round = 0;
  for (const std::uint64_t offset : kOffsets) {
    for (const std::size_t length : kLengths) {
      const std::size_t skew = kSkews.at(round % kSkews.size());
      ++round;
      const Bytes bytes = pattern_bytes(offset * round, length);
      const std::span<std::byte> from = std::span(memory).subspan(skew, length);
      std::ranges::copy(bytes, from.begin());
      ASSERT_TRUE(store().write(offset, from).has_value()) << offset << ", " << length;
      model.resize(std::max<std::uint64_t>(model.size(), offset + length));
      std::ranges::copy(bytes, model.begin() + static_cast<std::ptrdiff_t>(offset));
      ASSERT_EQ(store().size_bytes().value(), model.size()) << offset << ", " << length;
      std::ranges::fill(from, std::byte{0xee});
      ASSERT_EQ(store().read(offset, from).value(), length);
      ASSERT_TRUE(std::ranges::equal(from, bytes)) << offset << ", " << length << ", " << skew;
    }
  }
  EXPECT_EQ(read_all(), model);
}

TEST_P(StoreConformanceTest, AReadThatMeetsTheEndGivesWhatThereIs) {
  constexpr std::size_t kLength = 10'000;
  const Bytes bytes = pattern_bytes(0, kLength);
  ASSERT_TRUE(store().write(0, bytes).has_value());
  for (const std::size_t offset : {std::size_t{0}, std::size_t{1}, std::size_t{4096},
                                   std::size_t{8192}, kLength - 1, kLength}) {
    const Bytes got = read_at(offset, 3 * kLength);
    ASSERT_EQ(got.size(), kLength - offset);
    EXPECT_EQ(got, Bytes(bytes.begin() + static_cast<std::ptrdiff_t>(offset), bytes.end()));
  }
  EXPECT_TRUE(read_at(kLength + 1, 100).empty());
}

TEST_P(StoreConformanceTest, AGapReadsAsZeros) {
  const Bytes bytes = pattern_bytes(7, 10);
  ASSERT_TRUE(store().write(5'000, bytes).has_value());
  ASSERT_TRUE(store().write(100'001, bytes).has_value());
  Bytes model(100'011);
  std::ranges::copy(bytes, model.begin() + 5'000);
  std::ranges::copy(bytes, model.begin() + 100'001);
  EXPECT_EQ(read_all(), model);
}

// Goal:   pieces are one range, however many there are and however they are cut.
// Method: 700 pieces, more than one system call takes, of every size from 0 up; then few that are
//         larger than any buffer in between.
TEST_P(StoreConformanceTest, PiecesAreOneRange) {
  for (const std::size_t count : {std::size_t{700}, std::size_t{3}}) {
    const std::size_t step = count > 100 ? 1 : 250'001;
    Bytes memory;
    std::vector<std::size_t> lengths;
    for (std::size_t i = 0; i < count; ++i) {
      lengths.push_back(i * step % 300'000);
      const Bytes piece = pattern_bytes(memory.size(), lengths.back());
      memory.insert(memory.end(), piece.begin(), piece.end());
    }
    Bytes read_back(memory.size());
    std::vector<std::span<const std::byte>> from;
    std::vector<std::span<std::byte>> into;
    std::size_t at = 0;
    for (const std::size_t length : lengths) {
      from.push_back(std::span<const std::byte>(memory).subspan(at, length));
      into.push_back(std::span<std::byte>(read_back).subspan(at, length));
      at += length;
    }
    ASSERT_TRUE(store().write_pieces(333, from).has_value());
    ASSERT_EQ(store().read_pieces(333, into).value(), memory.size());
    EXPECT_EQ(read_back, memory) << count;
  }
}

TEST_P(StoreConformanceTest, WhatResizeTakesIsGone) {
  const Bytes bytes = pattern_bytes(0, 9'000);
  ASSERT_TRUE(store().write(0, bytes).has_value());
  ASSERT_TRUE(store().resize(4'500).has_value());
  EXPECT_EQ(store().size_bytes().value(), 4'500U);
  ASSERT_TRUE(store().resize(20'000).has_value());
  Bytes model(bytes.begin(), bytes.begin() + 4'500);
  model.resize(20'000);
  EXPECT_EQ(read_all(), model);
  ASSERT_TRUE(store().resize(0).has_value());
  EXPECT_TRUE(read_all().empty());
}

TEST_P(StoreConformanceTest, AllocatedSpaceReadsAsZerosAndKeepsWhatIsThere) {
  const Bytes bytes = pattern_bytes(0, 1'000);
  ASSERT_TRUE(store().write(0, bytes).has_value());
  const Result<void> allocated = store().allocate({500, 10'000});
  if (!allocated && allocated.error().code() == Errc::kUnsupported) {
    GTEST_SKIP() << "allocate: " << allocated.error().message();
  }
  ASSERT_TRUE(allocated.has_value()) << allocated.error().message();
  Bytes model = bytes;
  model.resize(10'500);
  EXPECT_EQ(read_all(), model);
  ASSERT_TRUE(store().allocate({0, 0}).has_value());
  ASSERT_TRUE(store().allocate({100, kToEnd}).has_value());
  EXPECT_EQ(read_all(), model);
}

TEST_P(StoreConformanceTest, PunchedBytesAreZerosAndTheirNeighboursStay) {
  Bytes model = pattern_bytes(0, 50'000);
  ASSERT_TRUE(store().write(0, model).has_value());
  constexpr std::array<ByteRange, 5> kHoles{
      {{0, 1}, {4'000, 200}, {8'192, 4'096}, {20'000, 10'001}, {49'000, 5'000}}};
  for (const ByteRange hole : kHoles) {
    ASSERT_TRUE(store().punch(hole).has_value());
    const ByteRange inside = intersect(hole, {0, model.size()});
    std::fill_n(model.begin() + static_cast<std::ptrdiff_t>(inside.offset_bytes),
                inside.length_bytes, std::byte{0});
    EXPECT_EQ(read_all(), model) << hole.offset_bytes;
  }
  ASSERT_TRUE(store().punch({60'000, 100}).has_value());
  EXPECT_EQ(store().size_bytes().value(), 50'000U);
}

TEST_P(StoreConformanceTest, SyncTakesEveryLevelAndRange) {
  ASSERT_TRUE(store().write(0, pattern_bytes(0, 10'000)).has_value());
  for (const Durability durability : {Durability::kStarted, Durability::kData, Durability::kAll}) {
    EXPECT_TRUE(store().sync(durability).has_value());
    EXPECT_TRUE(store().sync(durability, {1, 1}).has_value());
    EXPECT_TRUE(store().sync(durability, {0, 0}).has_value());
    EXPECT_TRUE(store().sync(durability, {1'000'000, 1}).has_value());
  }
  EXPECT_EQ(read_all(), pattern_bytes(0, 10'000));
}

TEST_P(StoreConformanceTest, WhatTheKernelIsToldMakesSense) {
  const KernelTarget* target = store().kernel_target();
  if (target == nullptr) {
    return;  // Then only the store itself does its requests.
  }
  EXPECT_GE(target->fd, 0);
  for (const std::uint32_t alignment :
       {target->memory_alignment_bytes, target->read_alignment_bytes,
        target->write_alignment_bytes}) {
    EXPECT_TRUE(std::has_single_bit(alignment)) << alignment;
  }
}

// Goal:   a store is a vector of bytes.
// Method: random requests, done to both; the seed is printed at the start of the program.
TEST_P(StoreConformanceTest, ItDoesWhatAVectorDoes) {
  constexpr int kRounds = 12;
  constexpr std::size_t kProgramBytes = 600;  // Some fifty requests.
  Prng random(test_seed());
  for (int round = 0; round < kRounds; ++round) {
    std::vector<std::uint8_t> program(kProgramBytes);
    for (std::uint8_t& byte : program) {
      byte = static_cast<std::uint8_t>(random());
    }
    ASSERT_TRUE(store().resize(0).has_value());
    ASSERT_EQ(differ_from_model(store(), program), "") << "round " << round;
  }
}

}  // namespace quire::testing
